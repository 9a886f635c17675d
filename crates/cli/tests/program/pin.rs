//! `uwwan pin` on an emulated SIM: codes from files alone, and never the last attempt unasked.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::forms;

fn pin(arguments: &[&str], knobs: &[&str], code: &str, option: &str) -> Output {
    let state = tempfile::tempdir().unwrap();
    run(
        &[&["pin"], arguments].concat(),
        knobs,
        code,
        option,
        state.path(),
    )
}

/// Runs a command without a terminal.
fn run(arguments: &[&str], knobs: &[&str], code: &str, option: &str, state: &Path) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{code}").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let mut command = Command::new("setsid");
    command
        .args(["--wait", env!("CARGO_BIN_EXE_uwwan")])
        .args(arguments)
        .args(["--device", "emulator", "--json"])
        .env("UWWAN_RUNTIME_DIR", "/nonexistent")
        .env("UWWAN_STATE_DIR", state)
        .env("UWWAN_LOG", "trace")
        .stdin(Stdio::null());
    for knob in knobs {
        command.args(["--knob", knob]);
    }
    if !code.is_empty() {
        command.args([option, &path]);
    }
    command.output().expect("setsid (util-linux) runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn value(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    // The output of a change is the part that is always there.
    forms::json("pin status", &output.stdout)
}

#[test]
fn the_right_pin_unlocks_and_is_logged_nowhere() {
    let output = pin(&["enter"], &["pin=47110815"], "47110815", "--pin-file");
    assert_eq!(value(&output)["locked"], false);
    assert!(!told(&output).contains("47110815"), "{}", told(&output));
    assert!(
        told(&output).contains("DEBUG"),
        "the log is on: {}",
        told(&output)
    );
}

#[test]
fn a_modem_that_answers_pin_required_alone_takes_its_pin() {
    let knobs = ["pin=4711", "pin_query_status=5"];
    let shown = value(&pin(&["status"], &knobs, "", ""));
    assert_eq!(
        shown["type"].as_str().zip(shown["locked"].as_bool()),
        Some(("pin1", true)),
        "{shown}"
    );
    let output = pin(&["enter"], &knobs, "4711", "--pin-file");
    assert_eq!(value(&output)["locked"], false, "{}", told(&output));
}

#[test]
fn a_wrong_pin_tells_what_is_left() {
    let output = pin(&["enter"], &["pin=4711"], "0000", "--pin-file");
    assert_eq!(output.status.code(), Some(7));
    let told = told(&output);
    assert!(
        told.contains("the PIN was not accepted")
            && told.contains("it is wrong")
            && told.contains("2 attempts remaining"),
        "{told}"
    );
    let output = pin(&["disable"], &["pin=4711"], "4711", "--pin-file");
    assert_eq!(output.status.code(), Some(7));
    let told = self::told(&output);
    assert!(
        told.contains("the SIM is locked") && told.contains("uwwan pin enter"),
        "{told}"
    );
}

#[test]
fn the_last_attempt_is_not_made_without_force() {
    let knobs = ["pin=4711", "pin_attempts=1"];
    let output = pin(&["enter"], &knobs, "4711", "--pin-file");
    assert_eq!(output.status.code(), Some(7));
    let text = told(&output);
    assert!(
        text.contains("a single attempt remains") && text.contains("--force"),
        "{text}"
    );
    let output = pin(&["enter", "--force"], &knobs, "4711", "--pin-file");
    assert_eq!(value(&output)["remaining_attempts"], 3);
    let output = pin(&["enter", "--force"], &knobs, "0000", "--pin-file");
    assert_eq!(output.status.code(), Some(7));
    assert!(
        told(&output).contains("uwwan pin unblock"),
        "{}",
        told(&output)
    );
    // The same holds where nothing is locked at the moment.
    let output = pin(&["disable"], &["pin_attempts=1"], "4711", "--pin-file");
    assert!(
        told(&output).contains("a single attempt remains"),
        "{}",
        told(&output)
    );
}

#[test]
fn codes_that_cannot_be_right_are_never_sent() {
    for code in ["12", "123456789", "abcd", "12 34"] {
        let output = pin(&["enter"], &["pin=4711"], code, "--pin-file");
        assert_eq!(output.status.code(), Some(2), "{code}");
        let text = told(&output);
        assert!(text.contains("no attempt was used up"), "{text}");
    }
    let output = pin(&["enter"], &["pin=4711"], "", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("no terminal to ask on"),
        "{}",
        told(&output)
    );
    let output = Command::new(env!("CARGO_BIN_EXE_uwwan"))
        .args(["pin", "enter", "4711"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "no PIN on the command line");
}

#[test]
fn the_pin_is_enabled_changed_and_disabled() {
    let output = pin(&["enable"], &[], "4711", "--pin-file");
    assert_eq!(value(&output)["locked"], false);
    let output = pin(&["disable"], &[], "4711", "--pin-file");
    assert!(output.status.success(), "{}", told(&output));
    let mut new = tempfile::NamedTempFile::new().unwrap();
    new.write_all(b"1234").unwrap();
    let path = new.path().to_str().unwrap();
    // A PIN that is switched off cannot be changed.
    let output = pin(
        &["change", "--new-pin-file", path],
        &[],
        "4711",
        "--pin-file",
    );
    assert!(told(&output).contains("pin_disabled"), "{}", told(&output));
    let output = pin(&["enter"], &[], "", "");
    assert_eq!(
        value(&output)["locked"],
        false,
        "nothing to enter is no failure"
    );
}

#[test]
fn a_blocked_sim_wants_its_puk() {
    let knobs = ["pin=4711", "pin_attempts=0"];
    let output = pin(&["status"], &knobs, "", "");
    assert_eq!(
        (
            &value(&output)["type"],
            &value(&output)["remaining_attempts"]
        ),
        (&json!("puk1"), &json!(10))
    );
    assert_eq!(value(&output)["pins"]["pin1"]["mode"], "enabled");
    let output = pin(&["enter"], &knobs, "4711", "--pin-file");
    assert!(told(&output).contains("wants its PUK"), "{}", told(&output));
    let mut new = tempfile::NamedTempFile::new().unwrap();
    new.write_all(b"1234").unwrap();
    let path = new.path().to_str().unwrap();
    let unblock = ["unblock", "--new-pin-file", path];
    let output = pin(&unblock, &knobs, "12345678", "--puk-file");
    assert_eq!(value(&output)["locked"], false);
    let output = pin(&unblock, &knobs, "00000000", "--puk-file");
    assert!(
        told(&output).contains("9 attempts remaining"),
        "{}",
        told(&output)
    );
    let output = pin(
        &unblock,
        &["pin=4711", "pin_attempts=0", "puk_attempts=1"],
        "12345678",
        "--puk-file",
    );
    assert!(told(&output).contains("dead for good"), "{}", told(&output));
}

#[test]
fn a_pin_typed_on_the_terminal_is_not_echoed() {
    let knobs = "--device emulator --knob pin=4711";
    let command = format!("{} pin enter {knobs}", env!("CARGO_BIN_EXE_uwwan"));
    // script(1) of util-linux gives the program a terminal, whose input and output are piped here.
    let mut child = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--echo",
            "always",
            "--command",
            &command,
            "/dev/null",
        ])
        .env("UWWAN_RUNTIME_DIR", "/nonexistent")
        .env_remove("UWWAN_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (util-linux) runs");
    let mut output = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(b"PIN: ") {
        let count = std::io::Read::read(&mut output, &mut byte).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&byte);
    }
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"4711\n").unwrap();
    std::io::Read::read_to_end(&mut output, &mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(child.wait().unwrap().success(), "{shown}");
    assert!(
        shown.contains("3 attempts remaining"),
        "before it is asked: {shown}"
    );
    assert!(shown.contains("accepted"), "{shown}");
    assert!(!shown.contains("4711"), "{shown}");
}

/// Runs `up` with a PIN and a state directory, until it ends by itself.
fn up(code: &str, knobs: &[&str], state: &Path) -> Output {
    let runtime = tempfile::tempdir().unwrap();
    let directory = runtime.path().to_str().unwrap();
    let options = [
        "up",
        "--settle",
        "0.2",
        "--runtime-dir",
        directory,
        "--proxy",
        "off",
    ];
    run(&options, knobs, code, "--pin-file", state)
}

#[test]
fn a_refused_pin_is_never_sent_again_whoever_runs() {
    let state = tempfile::tempdir().unwrap();
    let knobs = ["pin=4711"];
    let output = up("0000", &knobs, state.path());
    assert_eq!(output.status.code(), Some(7));
    assert!(
        told(&output).contains("2 attempts remaining"),
        "{}",
        told(&output)
    );
    // The emulated SIM is a different one each time and has all its attempts, but the PIN is
    // refused all the same:
    for _ in 0..2 {
        let output = up("0000", &knobs, state.path());
        assert_eq!(output.status.code(), Some(7));
        let text = told(&output);
        assert!(
            text.contains("refused on an earlier run") && text.contains("3 attempts remaining"),
            "{text}"
        );
    }
    let enter = ["pin", "enter"];
    let output = run(&enter, &knobs, "0000", "--pin-file", state.path());
    assert_eq!(output.status.code(), Some(7));
    let text = told(&output);
    assert!(
        text.contains("has refused this PIN before") && text.contains("nothing was sent"),
        "{text}"
    );
    // The right PIN is accepted, and so is a forced one; an accepted PIN is not kept as refused.
    let output = run(&enter, &knobs, "4711", "--pin-file", state.path());
    assert_eq!(value(&output)["locked"], false);
    let forced = ["pin", "enter", "--force"];
    let output = run(&forced, &["pin=0000"], "0000", "--pin-file", state.path());
    assert_eq!(value(&output)["locked"], false);
    let output = run(&enter, &["pin=0000"], "0000", "--pin-file", state.path());
    assert_eq!(value(&output)["locked"], false);
    let kept = std::fs::read_to_string(state.path().join("pins.json")).unwrap();
    assert!(!kept.contains("4711") && !kept.contains("89470"), "{kept}");
}

#[test]
fn a_pin_that_cannot_be_remembered_is_not_sent() {
    let state = tempfile::tempdir().unwrap();
    // A directory stands in the place of the file: it can be neither read nor replaced.
    let place = state.path().join("pins.json");
    std::fs::create_dir(&place).unwrap();
    let refused = pin_kept_in(state.path(), &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    let said = told(&refused);
    for part in [
        "cannot be remembered",
        "pins.json",
        "nothing was sent",
        "--force",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let forced = pin_kept_in(state.path(), &["--force"]);
    assert_eq!(value(&forced)["locked"], false);
    let said = told(&forced);
    assert!(said.contains("next run"), "{said}");
}

#[test]
fn a_pin_is_not_sent_where_no_state_can_be_kept() {
    // A file stands in the place of the directory.
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = pin_kept_in(file.path(), &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    let forced = pin_kept_in(file.path(), &["--force"]);
    assert_eq!(value(&forced)["locked"], false);
}

/// Enters the right PIN with its memory in that place.
fn pin_kept_in(state: &Path, more: &[&str]) -> Output {
    let arguments = [&["pin", "enter"], more].concat();
    run(&arguments, &["pin=4711"], "4711", "--pin-file", state)
}
