//! What identifies a person, or belongs to one, stays out of the log however much is logged: on the
//! emulated modem, with a running `up` and without.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_uwwan");
/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the emulated modem knows and what is sent through it: PIN, IMEI, IMSI, card number, numbers
/// and texts, and an AT command of each kind of dialogue. None so short that a time of day has it.
const SECRETS: &[&str] = &[
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

/// Commands that touch each of them.
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

/// Runs a command with everything logged; its log.
fn logged(arguments: &[&str], directory: &std::path::Path) -> String {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .arg("-vvv")
        .env("UWWAN_LOG", "trace")
        .env("UWWAN_RUNTIME_DIR", directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
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
        // AT commands go past the control session, about which there is more to log.
        if command[0] == "at" {
            quiet(&command.join(" "), &log);
        } else {
            clean(&command.join(" "), &log);
        }
    }
}

/// Ends it however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_personal_is_logged_by_up() {
    let base = tempfile::tempdir().unwrap();
    let pin = base.path().join("pin");
    std::fs::write(&pin, "47110815\n").unwrap();
    let log = base.path().join("log");
    let runtime = base.path().join("run");
    // From util-linux: root in a user and network namespace of its own.
    let mut up = Running(
        Command::new("unshare")
            .args(["--map-root-user", "--net", "--", PROGRAM, "up", "-vvv"])
            .args([
                "--device",
                "emulator",
                "--settle",
                "0.2",
                "--knob",
                "pin=47110815",
            ])
            .args(["--pin-file", pin.to_str().unwrap(), "--proxy", "private"])
            .env("UWWAN_LOG", "trace")
            .env("UWWAN_RUNTIME_DIR", &runtime)
            .env("UWWAN_STATE_DIR", base.path().join("state"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("unshare (util-linux) runs"),
    );
    let status = || {
        Command::new(PROGRAM)
            .args(["status", "--json"])
            .env("UWWAN_RUNTIME_DIR", &runtime)
            .output()
            .unwrap()
            .stdout
    };
    let deadline = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&status()).contains("\"online\":true") {
        assert!(Instant::now() < deadline, "it did not come online");
        std::thread::sleep(Duration::from_millis(50));
    }
    for command in COMMANDS {
        quiet(&command.join(" "), &logged(command, &runtime));
    }
    logged(&["down"], &runtime);
    assert!(up.0.wait().unwrap().success());
    clean("up", &std::fs::read_to_string(&log).unwrap());
}
