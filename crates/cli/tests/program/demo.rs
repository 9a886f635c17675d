//! The demo as a user runs it, as root and as an ordinary user.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::forms;
use crate::running::{NOBODY, uwwan};

fn demo(arguments: &[&str], ordinary: bool) -> Output {
    // The ordinary user may have no access to the directory in which the program was built.
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("uwwan");
    std::fs::copy(env!("CARGO_BIN_EXE_uwwan"), &program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), mode).unwrap();
    let mut command = Command::new(&program);
    command
        .arg("demo")
        .args(arguments)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("UWWAN_LOG")
        .stdin(Stdio::null());
    if ordinary && rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("the program runs")
}

fn result(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with('{'),
        "{text}\nstandard error:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    forms::json("demo", last)
}

/// Checks that every figure is there and plausible.
fn check(output: &Output, bytes: u64) {
    let value = result(output);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{value}\n{why}");
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "configuration",
            "ndp",
            "ip",
            "addresses",
            "ping",
            "download",
            "upload",
            "rungs",
            "seconds",
            "tun_mode",
            "host_calls"
        ]
    );
    assert_eq!(
        value["configuration"],
        serde_json::json!({"before": 2, "after": 3})
    );
    assert_eq!(value["ndp"], "end");
    assert_eq!(value["addresses"][0], "10.169.198.77/30");
    assert_eq!(value["ping"]["sent"], value["ping"]["received"]);
    assert!(value["ping"]["sent"].as_u64().unwrap() > 0);
    assert!(value["ping"]["rtt_ms_median"].as_f64().unwrap() > 0.0);
    for direction in ["download", "upload"] {
        assert_eq!(value[direction]["bytes"], bytes);
        assert!(value[direction]["mbit_s"].as_f64().unwrap() > 0.0);
    }
    let rungs = value["rungs"].as_array().unwrap();
    assert!(rungs.len() > 10, "{rungs:?}");
    for rung in rungs {
        assert!(rung["rung"].is_string() && rung["seconds"].as_f64().unwrap() >= 0.0);
    }
    assert!(value["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn an_ordinary_user_gets_everything() {
    let output = demo(&["--json", "--bytes", "2M"], true);
    check(&output, 2_000_000);
}

#[test]
fn so_does_whoever_runs_the_tests_in_either_mode() {
    for mode in ["offload", "plain"] {
        let output = demo(&["--json", "--bytes", "2M", "--tun-mode", mode], false);
        check(&output, 2_000_000);
        let value = result(&output);
        assert!(value["tun_mode"].as_str().unwrap().starts_with(mode));
        let merged = value["host_calls"]["merged"].as_u64().unwrap();
        assert_eq!(merged > 0, mode == "offload", "{value}");
    }
}

#[test]
fn the_built_in_stack_does_as_well() {
    let output = demo(&["--json", "--bytes", "2M", "--net", "userspace"], true);
    check(&output, 2_000_000);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("built-in network stack"), "{told}");
}

#[test]
fn where_namespaces_are_forbidden_it_says_so_and_works() {
    // unshare(1) of util-linux makes a user namespace with root, which has limits of its own.
    let forbidding = "echo 0 >/proc/sys/user/max_net_namespaces
        echo 0 >/proc/sys/user/max_user_namespaces
        exec \"$0\" demo --json --bytes 2M";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--", "sh", "-ec", forbidding])
        .arg(env!("CARGO_BIN_EXE_uwwan"))
        .stdin(Stdio::null())
        .output()
        .expect("unshare (util-linux) runs");
    check(&output, 2_000_000);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("no private network namespace can be had")
            && told.contains("built-in network stack takes the kernel's place"),
        "{told}"
    );
}

#[test]
fn people_are_told_the_same() {
    let output = demo(&["--bytes", "1M"], true);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for part in [
        "configuration",
        "online through",
        "every byte verified",
        "10 of 10 answered",
        "everything worked",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let short = |line: &&str| line.contains(" µs  waiting for ");
    let waits: Vec<&str> = text.lines().filter(short).collect();
    assert!(waits.is_empty(), "short waits are told: {waits:?}");
    assert!(
        !text.contains('\u{1b}'),
        "colour or movement in a pipe: {text:?}"
    );
}

#[test]
fn both_families_work_where_the_firmware_lets_them() {
    let output = demo(&["--json", "--bytes", "1M", "--knob", "ipv6=on"], true);
    check(&output, 1_000_000);
    assert_eq!(result(&output)["addresses"].as_array().unwrap().len(), 2);
}

#[test]
fn the_black_hole_is_diagnosed_and_fails() {
    let output = demo(&["--json", "--ndp", "front"], true);
    assert_eq!(output.status.code(), Some(8));
    let value = result(&output);
    assert_eq!(value["ping"]["received"], 0);
    assert_eq!(value["ndp"], "front");
    let error = value["error"].as_str().unwrap();
    assert!(error.contains("nothing comes back"), "{error}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("NDP"), "{told}");
}

#[test]
fn refused_ipv6_is_explained_and_fails() {
    let output = demo(&["--json", "--ip-type", "ipv6"], true);
    assert_eq!(output.status.code(), Some(7));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("no_device_support"), "{told}");
    assert!(told.contains("PLMN"), "{told}");
}

/// Sends SIGINT once a line of the demonstration was printed, and checks for a clean end.
#[track_caller]
fn interrupted_after(row: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_uwwan"))
        .args(["demo", "--net", "userspace", "--bytes", "900G"])
        .env_remove("UWWAN_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().starts_with(row)));
    rustix::process::kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let told: Vec<String> = told.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{row}: {told:?}");
    assert!(
        told.iter().any(|line| line.contains("given back")),
        "{row}: {told:?}"
    );
}

#[test]
fn interrupted_it_stops_cleanly_and_says_so_by_its_status() {
    interrupted_after("online");
}

/// After the pings only transfers are left, which take for ever.
#[test]
fn an_interrupted_transfer_is_no_failure_either() {
    interrupted_after("ping");
}

#[test]
fn the_pause_and_the_size_of_ndps_can_be_chosen() {
    let output = demo(
        &[
            "--net",
            "userspace",
            "--bytes",
            "1M",
            "--settle",
            "0.3",
            "--table",
            "full",
            "--json",
        ],
        false,
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let refused = demo(&["--settle", "nan"], false);
    assert_eq!(refused.status.code(), Some(2));
}

/// Only the time shows that the modem does not answer, so this takes the five seconds.
#[test]
fn a_mute_modem_is_told_to_need_settle() {
    let mut child = uwwan(&["demo", "--knob", "settle_ms=5000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find(|line| line.contains("--settle"));
    let _ = child.kill();
    let _ = child.wait();
    let told = told.expect("a line that names the option");
    assert!(told.contains("MBIM_OPEN"), "{told}");
}
