//! `uwwan bench` as a user runs it, for a moment: the figures are there and positive. How large
//! they are depends on the machine.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::forms;
use crate::running::NOBODY;

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .arg("bench")
        .args(arguments)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("UWWAN_LOG")
        .stdin(Stdio::null());
    command
}

fn bench(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_uwwan"));
    command(program, arguments).output().expect("it runs")
}

fn figures(output: &Output) -> Value {
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "one line of JSON:\n{text}");
    let value = forms::json("bench", text.as_bytes());
    assert_eq!(value["failures"], serde_json::json!([]), "{why}");
    value
}

/// Returns the names of the metrics of a group, after checking that every value is positive.
fn names(figures: &Value, group: &str, contender: &str) -> Vec<String> {
    let metrics = figures["metrics"].as_array().expect("metrics");
    let mut names = Vec::new();
    for metric in metrics.iter().filter(|metric| metric["group"] == group) {
        let rows = metric["rows"].as_array().expect("rows");
        let Some(row) = rows.iter().find(|row| row["contender"] == contender) else {
            continue;
        };
        let median = row["median"].as_f64().expect("a median");
        assert!(median > 0.0, "{metric}");
        names.push(metric["name"].as_str().expect("a name").to_owned());
    }
    names
}

/// Measures everything that can be measured with the emulated modem, as an ordinary user or as this
/// one.
fn everything(ordinary: bool) {
    // The ordinary user may have no access to the directory in which the program was built.
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("uwwan");
    std::fs::copy(env!("CARGO_BIN_EXE_uwwan"), &program).unwrap();
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path(), mode).unwrap();
    let report = place.path().join("report.html");
    let mut command = command(&program, &["--seconds", "0.2", "--rounds", "1", "--json"]);
    command.arg("--report").arg(&report);
    command.args(["--block-size", "4096,16384"]);
    if ordinary && rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let figures = figures(&command.output().expect("it runs"));
    for contender in ["block-size 4096", "block-size 16384"] {
        for group in ["Throughput", "Processor time of the driver"] {
            let names = names(&figures, group, contender);
            assert_eq!(names[..2], ["TCP down", "TCP up"], "{group}");
        }
        let small = names(&figures, "Small packets", contender);
        assert_eq!(small, ["UDP down", "UDP up"]);
        // There are three kinds of round trips, with a median and a late one each.
        assert_eq!(names(&figures, "Round trip", contender).len(), 6);
        assert_eq!(names(&figures, "Resident memory", contender).len(), 1);
        assert_eq!(names(&figures, "NTBs", contender).len(), 2);
    }
    assert_eq!(names(&figures, "Throughput", "veth, no modem").len(), 2);
    assert_eq!(names(&figures, "Round trip", "veth, no modem").len(), 6);
    assert_eq!(names(&figures, "Throughput", "memcpy").len(), 2);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("<svg") && page.contains("block-size 4096"));
    for fact in [
        "<dt>begun</dt><dd>20",
        "<dt>command</dt><dd>uwwan bench --seconds 0.2 --rounds 1 --json --report ",
        "<dt>agreed, block-size 4096</dt><dd>NTB16, NDP at the end, up to 4096 bytes out",
        "<dt>agreed, block-size 16384</dt><dd>NTB16, NDP at the end, up to 16384 bytes out",
    ] {
        assert!(page.contains(fact), "{fact}");
    }
}

#[test]
fn the_emulated_modem_as_root_or_whoever_runs_this() {
    everything(false);
}

#[test]
fn the_emulated_modem_as_an_ordinary_user() {
    everything(true);
}

/// Both modes of the TUN interface are measured in turn, each with figures of its own. A kernel
/// without offload fails this, because nothing is measured under that name there.
#[test]
fn both_modes_of_the_tun_interface() {
    let output = bench(&[
        "--tun-mode",
        "offload,plain",
        "--test",
        "down,ping",
        "--seconds",
        "0.2",
        "--rounds",
        "2",
        "--no-ceiling",
        "--json",
    ]);
    let figures = figures(&output);
    let contenders = ["tun-mode offload", "tun-mode plain"];
    let said = String::from_utf8_lossy(&output.stderr);
    let visited: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("round "))
        .filter_map(|line| line.split_once(": ").map(|(_, contender)| contender))
        .map(|contender| contender.split(", about ").next().unwrap())
        .collect();
    assert_eq!(visited, [contenders, contenders].concat(), "{said}");
    for contender in contenders {
        assert_eq!(names(&figures, "Throughput", contender), ["TCP down"]);
        assert_eq!(names(&figures, "Round trip", contender).len(), 2);
    }
    for metric in figures["metrics"].as_array().expect("metrics") {
        let rows = metric["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 2, "{metric}");
        for row in rows {
            assert_eq!(row["values"].as_array().map(Vec::len), Some(2), "{metric}");
        }
    }
}

/// The cost of a capture is measured: each visit has a file of its own, and the figures stand side
/// by side.
#[test]
fn with_and_without_a_capture() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bench.pcapng");
    let path = file.to_str().unwrap();
    let arguments = |rest: &[&'static str]| {
        let mut all = vec!["--capture", path, "--capture-compare", "--snap", "128"];
        all.extend(rest.iter().copied());
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let few = ["--test", "down", "--seconds", "0.2", "--rounds", "2"];
    let all = arguments(&[&few[..], &["--no-ceiling", "--json"]].concat());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let figures = figures(&bench(&all));
    let (without, with) = ("uwwan, not captured", "uwwan, captured");
    for contender in [without, with] {
        let driver = names(&figures, "Processor time of the driver", contender);
        assert_eq!(driver, ["TCP down"], "{contender}");
    }
    let writer = "Processor time of the capture's writer";
    assert_eq!(names(&figures, writer, with), ["TCP down"]);
    assert!(names(&figures, writer, without).is_empty());
    assert_eq!(names(&figures, "Captured", with).len(), 2);
    assert!(std::fs::metadata(&file).unwrap().len() > 100_000);
    // The existing file is not replaced without a request.
    let refused = bench(&all);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn ntbs_alone() {
    let arguments = [
        "--device",
        "loopback",
        "--seconds",
        "0.1",
        "--rounds",
        "2",
        "--ntb",
        "16,32",
        "--json",
    ];
    let figures = figures(&bench(&arguments));
    for contender in ["ntb 16", "ntb 32"] {
        assert_eq!(
            names(&figures, "Throughput", contender),
            ["packets of 1500 bytes"]
        );
        assert_eq!(names(&figures, "Small packets", contender).len(), 1);
    }
    let rows = &figures["metrics"][0]["rows"];
    assert_eq!(
        rows[0]["values"].as_array().map(Vec::len),
        Some(2),
        "{rows}"
    );
}

#[test]
fn a_table_for_people() {
    let output = bench(&["--device", "loopback", "--seconds", "0.1", "--rounds", "1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for part in ["round 1 of 1", "Throughput", "Mbit/s", "memcpy"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    // The first visit has none before it by which the time left could be told.
    let visits: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("round"))
        .collect();
    let told = |visit: &&str| visit.contains(", about ") && visit.ends_with(" left");
    assert!(visits.len() > 1, "{text}");
    assert!(!told(&visits[0]) && visits[1..].iter().all(told), "{text}");
}

/// A contender through which no traffic gets is reported, and the others are measured.
#[test]
fn a_black_hole_is_no_figure() {
    let output = bench(&[
        "--ndp",
        "front,end",
        "--test",
        "ping",
        "--seconds",
        "0.1",
        "--rounds",
        "1",
        "--json",
        "--no-ceiling",
    ]);
    assert_eq!(output.status.code(), Some(8), "nothing comes through");
    let value = forms::json("bench", &output.stdout);
    assert_eq!(value["failures"][0]["contender"], "ndp front");
    let rows = value["metrics"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["contender"], "ndp end");
}

/// An option that makes no sense is reported before any work, with exit status 2.
#[test]
fn wrong_usage_is_told_at_once() {
    for (arguments, told) in [
        (&["--report", "/nowhere/at/all.html"][..], "--report"),
        (
            &["--server", "no-such-host.invalid"],
            "no-such-host.invalid",
        ),
        (&["--server", ":5201"], "HOST"),
        (&["--device", "1-4.2"], "--server"),
        (&["--usb", "nusb"], "--usb"),
        (
            &["--server", "192.0.2.1", "--device", "emulator"],
            "--server",
        ),
        (&["--device", "loopback", "--test", "ping"], "ping"),
        (&["--device", "loopback", "--knob", "ipv6=on"], "--knob"),
        (
            &["--device", "loopback", "--tun-mode", "plain"],
            "--tun-mode",
        ),
        (&["--tun-mode", "both"], "offload, offload-tcp, plain"),
        (&["--knob", "colour=red"], "colour"),
        (&["--block-size", "7"], "block-size"),
        (&["--ndp", "middle"], "middle"),
        (&["--seconds", "0"], "--seconds"),
        (&["--seconds", "nan"], "--seconds"),
        (&["--rounds", "0"], "--rounds"),
        (&["--", "--apn", "internet"], "uwwan up"),
        (
            &[
                "--in-flight",
                "1,2,3,4,5,6",
                "--block-size",
                "2048,4096,8192,16384,32768",
            ],
            "30 combinations",
        ),
    ] {
        let output = bench(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_was_measured_is_kept_when_it_is_interrupted() {
    let arguments = [
        "--device",
        "loopback",
        "--rounds",
        "100",
        "--seconds",
        "0.05",
        "--json",
    ];
    let mut child = command(Path::new(env!("CARGO_BIN_EXE_uwwan")), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().starts_with("round 2 of 100")));
    let pid = Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let said: Vec<String> = told.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{said:?}");
    let figures = forms::json("bench", &output.stdout);
    assert!(figures.to_string().contains("in round "), "{figures}");
    assert!(
        said.iter()
            .any(|line| line.contains("\"what\":\"interrupted\"")),
        "{said:?}"
    );
}
