//! `uwwan emulate knobs` and `set`, and rules, as their users meet them.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::forms;
use crate::running;

fn uwwan(base: &Path, arguments: &[&str]) -> Command {
    let mut command = running::uwwan(arguments);
    command.env("UWWAN_RUNTIME_DIR", base);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A running `uwwan emulate`.
struct Emulate {
    child: Child,
}

impl Emulate {
    fn start(base: &Path, options: &[&str]) -> Self {
        let mut child = uwwan(base, &["emulate", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines
            .next()
            .expect("it goes on")
            .unwrap()
            .contains("Ctrl-C")
        {}
        std::thread::spawn(move || lines.for_each(drop));
        Self { child }
    }
}

impl Drop for Emulate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn knobs_are_listed_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let output = uwwan(folder.path(), &["emulate", "knobs", "--json"])
        .output()
        .unwrap();
    let (out, errors) = text(&output);
    assert!(output.status.success(), "{errors}");
    let all = forms::json("emulate knobs", &out);
    let all = all.as_array().unwrap();
    let knob = |name: &str| all.iter().find(|knob| knob["name"] == name).unwrap();
    let signal = knob("signal");
    assert_eq!(signal["type"], "number");
    assert_eq!(signal["range"], serde_json::json!([0, 99]));
    assert_eq!(signal["family"], "MBIM");
    assert_eq!(signal["effect"], "now");
    assert_eq!(
        knob("ndp_place")["choices"],
        serde_json::json!(["end", "front"])
    );
    assert_eq!(knob("settle_ms")["unit"], "ms");
    let seen = knob("black_hole_ndp_front")["seen"].as_str().unwrap();
    assert!(seen.contains("cdc_mbim"), "{seen}");
    assert_eq!(knob("host_drivers")["effect"], "start");
    let output = uwwan(folder.path(), &["emulate", "knobs", "host-drivers"])
        .output()
        .unwrap();
    let (out, _) = text(&output);
    assert!(
        out.contains("host_drivers=bound    bound, late, none"),
        "{out}"
    );
    assert!(out.contains("switched on only"), "{out}");
}

#[test]
fn a_running_one_is_told_by_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    let set = |arguments: &[&str]| {
        let output = uwwan(base, &["emulate", "set"])
            .args(arguments)
            .output()
            .unwrap();
        let (out, errors) = text(&output);
        (output.status.code(), out, errors)
    };
    let (code, _, errors) = set(&["signal=3"]);
    assert_eq!(code, Some(3), "{errors}");
    let mut first = Emulate::start(base, &["--knob", "pin=1234"]);
    let socket = base
        .join(format!("emulate-{}", first.child.id()))
        .join("emulate");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, out, errors) = set(&["signal=3", "ntb_in_max=8192"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("signal=3: at once"), "{out}");
    assert!(
        out.contains("ntb_in_max=8192: from the next selection"),
        "{out}"
    );
    let (_, out, _) = set(&[]);
    assert_eq!(out, "ntb_in_max=8192\npin=1234\nsignal=3\n");
    for (wrong, why) in [
        (
            "host_drivers=none",
            "cannot be changed while the modem runs",
        ),
        ("signal=100", "a number from 0 to 99"),
        ("colour=red", "no knob named"),
    ] {
        let (code, _, errors) = set(&["signal=9", wrong]);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(why), "{errors}");
    }
    let (_, out, _) = set(&["--json"]);
    let told = forms::json("emulate set", &out);
    assert_eq!(told["knobs"]["signal"], "3");
    // With a second modem, one has to be chosen.
    let second = Emulate::start(base, &[]);
    let (code, _, errors) = set(&["signal=5"]);
    assert_eq!(code, Some(4), "{errors}");
    let name = format!("emulate-{}", second.child.id());
    let (code, _, errors) = set(&["signal=5", "--device", &name]);
    assert_eq!(code, Some(0), "{errors}");
    // A modem that ends leaves no file.
    let pid = Pid::from_raw(first.child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(first.child.wait().unwrap().success());
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn a_rule_file_is_used_and_its_faults_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.toml");
    let at = |rules: &str, line: &str| {
        std::fs::write(&file, rules).unwrap();
        uwwan(folder.path(), &["at", "--device", "emulator", "--rules"])
            .arg(&file)
            .arg(line)
            .output()
            .unwrap()
    };
    let rules =
        "[knobs]\nsignal = 7\n\n[[rule]]\nat = \"AT+TEST\"\nanswer = [\"+TEST: 1\", \"OK\"]\n";
    let (out, errors) = text(&at(rules, "AT+TEST"));
    assert!(out.contains("+TEST: 1"), "{out}{errors}");
    let (out, errors) = text(&at(rules, "AT+CSQ"));
    assert!(out.contains("+CSQ: 7,99"), "{out}{errors}");
    let output = at(
        "[knobs]\nsignal = 7\n\n[[rule]]\nat = \"AT\"\ntimes = 0\nsilent = true\n",
        "AT",
    );
    let (_, errors) = text(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(&format!("{}:6:9", file.display())),
        "{errors}"
    );
    assert!(errors.contains("at least once"), "{errors}");
    let output = uwwan(folder.path(), &["info", "--device", "1-99", "--rules"])
        .arg(&file)
        .output();
    let (_, errors) = text(&output.unwrap());
    assert!(errors.contains("--device emulator"), "{errors}");
}
