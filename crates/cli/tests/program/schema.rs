//! The output of commands with `--json` has the form of their schemas.

use std::path::Path;
use std::process::Output;

use crate::{forms, running};

fn uwwan(state: &Path, arguments: &[&str]) -> Output {
    running::uwwan(arguments)
        .env("UWWAN_STATE_DIR", state)
        .env("UWWAN_RUNTIME_DIR", state)
        .output()
        .unwrap()
}

#[test]
fn errors_are_one_line_of_json() {
    let state = tempfile::tempdir().unwrap();
    for (arguments, exit, kind) in [
        (&["status", "--json"][..], 3, "missing"),
        (&["usage", "--json"], 3, "missing"),
        (&["usage", "--json", "--nonsense"], 2, "usage"),
        (&["list", "--json", "--device"], 2, "usage"),
        (
            &["up", "--json", "--device", "emulator", "--mtu", "1"],
            2,
            "usage",
        ),
        (&["info", "--json", "--device", "99-9"], 3, "missing"),
    ] {
        let output = uwwan(state.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{arguments:?}: {output:?}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        let values = forms::lines("error", &output.stderr);
        assert_eq!(values.len(), 1);
        assert_eq!(values[0]["exit"], exit, "{arguments:?}");
        assert_eq!(values[0]["kind"], kind, "{arguments:?}");
    }
}

#[test]
fn help_stays_help() {
    let state = tempfile::tempdir().unwrap();
    let output = uwwan(state.path(), &["status", "--json", "--help"]);
    assert!(
        output.status.success() && output.stdout.starts_with(b"Show"),
        "{output:?}"
    );
}

#[test]
fn usage_doctor_and_config_check_print_what_their_schemas_say() {
    let state = tempfile::tempdir().unwrap();
    let kept = r#"{"entries":[{"month":"2026-11","device":"03f0:a31d at 1-4","uplink_bytes":7,"downlink_bytes":9}]}"#;
    std::fs::write(state.path().join("usage.json"), kept).unwrap();
    let output = uwwan(state.path(), &["usage", "--json"]);
    let values = forms::lines("usage", &output.stdout);
    assert_eq!(values[0]["months"][0]["downlink_bytes"], 9);
    let none = uwwan(state.path(), &["usage", "--json", "--month", "2026-10"]);
    let values = forms::lines("usage", &none.stdout);
    assert_eq!(values[0]["months"], serde_json::json!([]));

    let output = uwwan(state.path(), &["doctor", "--json"]);
    forms::json("doctor", &output.stdout);

    let file = state.path().join("modem.toml");
    for (text, ok) in [("apn = 'internet'", true), ("mtu = 1", false)] {
        std::fs::write(&file, text).unwrap();
        let output = uwwan(
            state.path(),
            &["config", "check", file.to_str().unwrap(), "--json"],
        );
        let values = forms::lines("config check", &output.stdout);
        assert_eq!(values[0]["ok"], ok);
        assert_eq!(values[0]["failure"].is_null(), ok);
    }
}
