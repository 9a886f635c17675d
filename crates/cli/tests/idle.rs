//! An `up` that has nothing to do sleeps.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_uwwan");
/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time over which wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Threads that a real modem would not have.
const OF_THE_EMULATOR: [&str; 2] = ["emulated-modem", "uwwan-far-side"];

/// Returns how often each thread of a process has gone to sleep, but for those of the emulated modem.
fn sleeps(pid: u64) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let mut fields = status.lines().filter_map(|line| line.split_once(":\t"));
            fields
                .find(|(of, _)| *of == name)
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let name = field("Name");
        if OF_THE_EMULATOR.iter().all(|own| !name.starts_with(own)) {
            let name = format!("{name} {}", task.file_name().to_string_lossy());
            all.insert(name, field("voluntary_ctxt_switches").parse().unwrap());
        }
    }
    all
}

/// What goes to sleep has been awake: at most once a second, in all threads of driver and monitor
/// together.
#[test]
fn nothing_wakes_up_where_nothing_is_to_do() {
    let base = tempfile::tempdir().unwrap();
    // From util-linux: root in a user and network namespace of its own.
    let mut up = Command::new("unshare")
        .args(["--map-root-user", "--net", "--", PROGRAM, "up"])
        .args(["--device", "emulator", "--settle", "0.2"])
        // What the modem says by itself is something to do.
        .args(["--knob", "signal_interval_ms=3600000"])
        .env("UWWAN_RUNTIME_DIR", base.path())
        .env_remove("UWWAN_LOG")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare (util-linux) runs");
    let begun = Instant::now();
    let status = || -> Option<Value> {
        let output = Command::new(PROGRAM)
            .args(["status", "--json"])
            .env("UWWAN_RUNTIME_DIR", base.path())
            .output()
            .ok()?;
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["online"] == true).then_some(status)
    };
    let online = loop {
        if let Some(status) = status() {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE || up.try_wait().unwrap().is_some() {
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let mut seen = Vec::new();
    let quiet = online.as_ref().is_some_and(|status| {
        let processes = status["processes"].as_array().unwrap();
        let pids: Vec<u64> = processes
            .iter()
            .filter_map(|it| it["pid"].as_u64())
            .collect();
        assert!(!pids.is_empty(), "{status}");
        let count =
            || -> BTreeMap<String, u64> { pids.iter().flat_map(|pid| sleeps(*pid)).collect() };
        // What coming online leaves to do is over after a while.
        (0..6).any(|_| {
            let before = count();
            std::thread::sleep(WINDOW);
            let mut woken: Vec<(u64, String)> = count()
                .into_iter()
                .map(|(name, after)| (after - before.get(&name).unwrap_or(&0), name))
                .filter(|(count, _)| *count > 0)
                .collect();
            woken.sort();
            let all: u64 = woken.iter().map(|(count, _)| count).sum();
            seen.push(format!("{all}: {woken:?}"));
            all <= WINDOW.as_secs()
        })
    });
    let _ = Command::new(PROGRAM)
        .args(["down", "--timeout", "20"])
        .env("UWWAN_RUNTIME_DIR", base.path())
        .output();
    let _ = up.kill();
    let _ = up.wait();
    assert!(online.is_some(), "it is not online");
    assert!(quiet, "wake-ups in {WINDOW:?}: {seen:#?}");
}
