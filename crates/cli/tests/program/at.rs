//! `uwwan at` and `uwwan ipv6` as programs call them, on the emulated modem.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::forms;
use crate::running;

fn uwwan(arguments: &[&str]) -> Command {
    let mut command = running::uwwan(arguments);
    command
        .args(["--device", "emulator"])
        .env("UWWAN_RUNTIME_DIR", "/nonexistent");
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    told(uwwan(arguments).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn commands_give_their_answers_and_their_status() {
    let (status, said, _) = run(&["at", "AT^IPV6CAP?", "AT+CSQ"]);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "^IPV6CAP: 1\n+CSQ: 21,99\n")
    );

    let (status, said, error) = run(&["at", "AT+NONSENSE", "AT+CSQ"]);
    assert_eq!((status, said.as_str()), (Some(7), ""));
    assert!(
        error.contains("AT+NONSENSE") && error.contains("ERROR"),
        "{error}"
    );

    let (status, said, _) = run(&["at", "--keep-going", "--json", "AT+NONSENSE", "AT+CSQ"]);
    assert_eq!(status, Some(7));
    let answers = forms::lines("at", &said);
    assert_eq!(
        (&answers[0]["ok"], &answers[1]["ok"]),
        (&false.into(), &true.into())
    );
    assert_eq!(answers[1]["lines"][0], "+CSQ: 21,99");

    for wrong in ["ATV0", "hello"] {
        let (status, _, error) = run(&["at", wrong]);
        assert_eq!(status, Some(2), "{wrong}: {error}");
    }
}

#[test]
fn a_script_comes_from_standard_input_and_the_log_hides_what_is_personal() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = uwwan(&["at", "--log", log.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = child.stdin.take().unwrap();
    script.write_all(b"# who\nAT+CIMI\n\nAT+CSQ\n").unwrap();
    drop(script);
    let (status, said, error) = told(child.wait_with_output().unwrap());
    assert_eq!(status, Some(0), "{error}");
    let imsi = said.lines().next().unwrap();
    assert!(
        imsi.len() >= 14 && said.ends_with("+CSQ: 21,99\n"),
        "{said}"
    );
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("AT+CIMI") && log.contains("+CSQ: 21,99"),
        "{log}"
    );
    assert!(!log.contains(imsi), "{log}");
}

#[test]
fn descriptors_of_another_modem_are_answered_at_its_port() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../usb/tests/vectors/descriptors/lsusb_1e2d_0065_ce7a4f_1.bin"
    );
    // The Gemalto modem has CDC ACM ports, whose numbers differ from those of the lt4132.
    let (status, said, error) = run(&["at", "--descriptors", file, "AT+CGMM"]);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(said, "ME906s-158\n");
    let (status, said, error) = run(&["info", "--json", "--descriptors", file]);
    assert_eq!(status, Some(0), "{error}");
    assert!(said.contains("1e2d:0065"), "{said}");
    let (status, _, error) = run(&["info", "--descriptors", "/nonexistent"]);
    assert_eq!(status, Some(2), "{error}");
}

#[test]
fn a_silent_modem_is_told_in_time() {
    let begun = std::time::Instant::now();
    let (status, _, error) = run(&["at", "--knob", "at_silent=on", "AT"]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("did not answer AT"), "{error}");
    assert!(begun.elapsed().as_secs() < 60);
}

#[test]
fn ipv6_is_explained_unlocked_and_locked() {
    let (status, said, _) = run(&["ipv6", "status"]);
    assert_eq!(status, Some(0));
    assert!(
        said.contains("IPv6 cannot work") && said.contains("24201"),
        "{said}"
    );

    let (status, said, _) = run(&["ipv6", "enable", "--show"]);
    assert_eq!(status, Some(0));
    assert!(said.contains("AT^PLMNLIST=1,\"99999\",\"24201\""), "{said}");

    let (status, said, error) = run(&["ipv6", "enable", "--yes", "--json"]);
    assert_eq!(status, Some(0), "{error}");
    let outcome = forms::json("ipv6 enable", &said);
    assert_eq!(outcome["findings"]["verdict"], "works");
    assert_eq!(outcome["findings"]["capability"], 7);

    let (status, said, error) = run(&["ipv6", "disable", "--yes", "--knob", "ipv6=on"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(said.contains("^IPV6CAP: 1"), "{said}");
    let (status, said, _) = run(&["ipv6", "disable", "--yes"]);
    assert_eq!(status, Some(0));
    assert!(said.contains("nothing to do"), "{said}");

    let (status, _, error) = run(&["ipv6", "enable", "--yes", "--knob", "pin=1234"]);
    assert_eq!(status, Some(7), "{error}");
    assert!(error.contains("PIN"), "{error}");
    let (status, _, error) = run(&["ipv6", "enable", "--json"]);
    assert_eq!(status, Some(2), "{error}");
}
