//! Measures the whole program: the `demo` of the release program, run several times in turn. It has
//! the driver, the emulated modem, a real TUN where the system grants one, and TCP with every byte
//! verified.
//!
//! ```sh
//! cargo bench -p uwwan-benches --bench demo                # 7 runs of 200 MB each way
//! UWWAN_DEMO_RUNS=11 UWWAN_DEMO_BYTES=1G cargo bench -p uwwan-benches --bench demo
//! ```

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;
use uwwan_figures::{Better, Figures, Kind, table};

fn main() -> ExitCode {
    match measure() {
        Ok(figures) => {
            print!("{}", table::of(&figures));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Figures, String> {
    let runs = env::var("UWWAN_DEMO_RUNS").map_or(Ok(7), |text| text.parse());
    let runs: usize = runs.map_err(|_| "UWWAN_DEMO_RUNS is no number")?;
    let bytes = env::var("UWWAN_DEMO_BYTES").unwrap_or_else(|_| "200M".into());
    let program = program()?;

    let mut figures = Figures::new("uwwan demo");
    figures.fact("payload each way", &bytes);
    figures.fact("runs", runs.to_string());
    let kinds = [
        ("/download/mbit_s", "TCP", "download", "Mbit/s", 1.0),
        ("/upload/mbit_s", "TCP", "upload", "Mbit/s", 1.0),
        ("/ping/rtt_ms_median", "Latency", "round trip", "µs", 1e3),
        ("/online", "Bring-up", "online after", "s", 1.0),
    ];
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        let mut outcome = demo(&program, &bytes)?;
        let rungs = outcome["rungs"].as_array().into_iter().flatten();
        let online: f64 = rungs.filter_map(|rung| rung["seconds"].as_f64()).sum();
        outcome["online"] = online.into();
        for (pointer, group, name, unit, scale) in kinds {
            let better = match group {
                "TCP" => Better::Higher,
                _ => Better::Lower,
            };
            let value = outcome.pointer(pointer).and_then(Value::as_f64);
            let value = value.ok_or_else(|| format!("the outcome has no {pointer}"))?;
            figures.record(&Kind::new(group, name, unit, better), "demo", value * scale);
        }
    }
    Ok(figures)
}

/// Returns the path of the release program, freshly built, or of the one that UWWAN_PROGRAM names.
fn program() -> Result<PathBuf, String> {
    if let Some(program) = env::var_os("UWWAN_PROGRAM") {
        return Ok(program.into());
    }
    // Cargo reports where it put the program.
    let build = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "uwwan", "--bin", "uwwan"])
        .args(["--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !build.status.success() {
        return Err("the program does not build".into());
    }
    String::from_utf8_lossy(&build.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "uwwan")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo does not tell where the program is".into())
}

fn demo(program: &PathBuf, bytes: &str) -> Result<Value, String> {
    let output = Command::new(program)
        .args(["demo", "--json", "--bytes", bytes])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let last = String::from_utf8_lossy(&output.stdout);
    let last = last.lines().last().unwrap_or_default();
    let outcome: Value = serde_json::from_str(last).map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(outcome)
    } else {
        Err(format!("the demo failed: {}", outcome["error"]))
    }
}
