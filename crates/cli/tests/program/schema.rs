//! What commands print with `--json` is what their schemas say.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::running;

fn uwwan(state: &Path, arguments: &[&str]) -> Output {
    running::uwwan(arguments)
        .env("UWWAN_STATE_DIR", state)
        .env("UWWAN_RUNTIME_DIR", state)
        .output()
        .unwrap()
}

/// Checks every line against a schema, and returns the values.
fn checked(state: &Path, schema: &[&str], text: &[u8]) -> Vec<Value> {
    let printed = uwwan(state, &[&["schema"], schema].concat());
    assert!(printed.status.success(), "{printed:?}");
    let schema: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let values: Vec<Value> = String::from_utf8_lossy(text)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for value in &values {
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}: {value}");
    }
    assert!(!values.is_empty());
    values
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
        let values = checked(state.path(), &["error"], &output.stderr);
        assert_eq!(values.len(), 1);
        assert_eq!(values[0]["exit"], exit, "{arguments:?}");
        assert_eq!(values[0]["kind"], kind, "{arguments:?}");
        assert_eq!(values[0]["version"], 1);
    }
    // A form that is none is seen to be none.
    let schema = uwwan(state.path(), &["schema", "error"]).stdout;
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    assert!(!jsonschema::is_valid(
        &schema,
        &serde_json::json!({ "kind": 7 })
    ));
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
    let values = checked(state.path(), &["usage"], &output.stdout);
    assert_eq!(values[0]["months"][0]["downlink_bytes"], 9);
    let none = uwwan(state.path(), &["usage", "--json", "--month", "2026-10"]);
    let values = checked(state.path(), &["usage"], &none.stdout);
    assert_eq!(values[0]["months"], serde_json::json!([]));

    let output = uwwan(state.path(), &["doctor", "--json"]);
    checked(state.path(), &["doctor"], &output.stdout);

    let file = state.path().join("modem.toml");
    for (text, ok) in [("apn = 'internet'", true), ("mtu = 1", false)] {
        std::fs::write(&file, text).unwrap();
        let output = uwwan(
            state.path(),
            &["config", "check", file.to_str().unwrap(), "--json"],
        );
        let values = checked(state.path(), &["config", "check"], &output.stdout);
        assert_eq!(values[0]["ok"], ok);
        assert_eq!(values[0]["failure"].is_null(), ok);
    }
}
