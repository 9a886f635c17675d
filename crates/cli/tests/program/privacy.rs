//! Identities and property of persons stay out of the log at every level: on the emulated modem,
//! with a running `up` and without.

use std::fs::File;
use std::path::Path;

use crate::running::{Up, emulated, text, uwwan};

/// Secrets of the emulated modem and of the commands: PIN, IMEI, IMSI, card number, telephone
/// numbers and texts, and an AT command of each kind of dialogue. None is so short that it could be
/// part of a time of day.
pub const SECRETS: &[&str] = &[
    "47110815",
    "00100000000001",
    "242010000000001",
    "8947000000000000001",
    "4722334455",
    "4790002100",
    "4799887766",
    "See you at 8",
    "for nobody else",
    "balance",
    "AT+CIMI",
    "AT^ICCID",
];

/// Commands that touch each of the secrets.
const COMMANDS: &[&[&str]] = &[
    &["info"],
    &["sim", "--show-personal"],
    &["sms", "list"],
    &["sms", "read", "1"],
    &["sms", "send", "+4799887766", "for nobody else"],
    &["phonebook", "list"],
    &["ussd", "*100#"],
    &["at", "ATI", "AT+CIMI", "AT+CGSN", "AT^ICCID?"],
    &["ipv6", "status"],
    &[
        "mbim",
        "send",
        "--service",
        "basic_connect",
        "--cid",
        "subscriber_ready_status",
        "--query",
    ],
];

fn clean(what: &str, log: &str) {
    assert!(log.contains("DEBUG"), "{what}: the log is on: {log}");
    quiet(what, log);
}

fn quiet(what: &str, log: &str) {
    for secret in SECRETS {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{what}: {secret} is in the log");
    }
}

/// Runs a command at the highest log level, and returns its log.
fn logged(arguments: &[&str], directory: &Path) -> String {
    let output = uwwan(arguments)
        .arg("-vvv")
        .env("UWWAN_LOG", "trace")
        .env("UWWAN_RUNTIME_DIR", directory)
        .output()
        .unwrap();
    let log = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {log}");
    log
}

#[test]
fn nothing_personal_is_logged_by_commands() {
    let nowhere = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let log = logged(
            &[command, &["--device", "emulator"][..]].concat(),
            nowhere.path(),
        );
        // AT commands bypass the control session, about which there is more to log.
        if command[0] == "at" {
            quiet(&command.join(" "), &log);
        } else {
            clean(&command.join(" "), &log);
        }
    }
}

#[test]
fn nothing_personal_is_logged_by_up() {
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin");
    std::fs::write(&pin, "47110815\n").unwrap();
    let log = folder.path().join("log");
    let base = tempfile::tempdir().unwrap();
    let mut command = emulated(base.path());
    command
        .args(["-vvv", "--knob", "pin=47110815", "--pin-file"])
        .arg(&pin)
        .env("UWWAN_LOG", "trace")
        .stderr(File::create(&log).unwrap());
    let mut up = Up::spawn(base, command);
    up.until("online", |status| status["online"] == true);
    for command in COMMANDS {
        quiet(&command.join(" "), &logged(command, up.base.path()));
    }
    logged(&["down"], up.base.path());
    assert!(up.end().success());
    clean("up", &std::fs::read_to_string(&log).unwrap());
}
