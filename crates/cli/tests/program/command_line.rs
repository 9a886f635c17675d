//! The program as a user meets it: texts, exit statuses, and the streams that are written.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::forms;
use crate::running;

fn uwwan(arguments: &[&str]) -> Output {
    running::uwwan(arguments)
        .output()
        .expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts exit status and standard error, and that standard output is empty.
fn refuses(arguments: &[&str], status: i32, text: &str) {
    let output = uwwan(arguments);
    assert_eq!(stderr(&output), text, "{arguments:?}");
    assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
}

#[test]
fn help_goes_to_standard_output_and_shows_examples() {
    for arguments in [
        &["--help"][..],
        &["up", "--help"],
        &["demo", "--help"],
        &["status", "-h"],
        &["help", "emulate"],
        &["usb", "config", "--help"],
        &["mbim", "decode", "--help"],
    ] {
        let output = uwwan(arguments);
        assert!(output.status.success(), "{arguments:?}");
        let text = stdout(&output);
        assert!(
            text.contains("Examples:") || text.contains("Exit status:"),
            "{text}"
        );
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn a_bad_option_is_refused_with_its_values() {
    refuses(
        &["up", "--ndp", "sideways"],
        2,
        "error: invalid value 'sideways' for '--ndp <PLACE>'\n  \
         [possible values: end, front]\n\n\
         For more information, try '--help'.\n",
    );
    refuses(
        &["up", "--mtu", "100"],
        2,
        "error: an option makes no sense\n  where: --mtu\n  why:   100 is not between 576 and 65535\n",
    );
    refuses(
        &["up", "--user", "me"],
        2,
        "error: an option makes no sense\n  where: --auth\n  \
         why:   a user name or password is given, but no way to send it\n  \
         next:  add --auth chap, or --auth pap where the operator asks for it\n",
    );
    refuses(
        &["up", "--knob", "pin=1"],
        2,
        "error: an option makes no sense\n  where: --knob\n  why:   real firmware has no knobs\n  \
         next:  add --device emulator\n",
    );
    refuses(
        &["demo", "--knob", "colour=red"],
        2,
        "error: a knob makes no sense\n  where: --knob colour=red\n  \
         why:   there is no knob named \"colour\"; the list of knobs has them all\n  \
         next:  uwwan emulate knobs lists them with their defaults\n",
    );
}

#[test]
fn an_unreadable_pin_file_is_refused_before_anything_is_touched() {
    refuses(
        &["up", "--pin-file", "/nonexistent/pin"],
        2,
        "error: cannot read the PIN file\n  where: /nonexistent/pin (--pin-file)\n  \
         why:   No such file or directory (os error 2)\n  \
         next:  put the PIN alone on the first line of a file only you can read:\n         \
         install -m 600 /dev/null FILE, then write it there with an editor\n",
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"my secret pin\n").unwrap();
    let output = uwwan(&["up", "--pin-file", &file.path().to_string_lossy()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("does not hold a PIN"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_bad_configuration_file_is_told_with_its_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"apn = \"internet\"\nroaming = \"maybe\"\n")
        .unwrap();
    let output = uwwan(&["up", "--config", &file.path().to_string_lossy()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("line 2"), "{text}");
    assert!(text.contains("roaming"), "{text}");
}

#[test]
fn no_device_has_its_own_exit_status() {
    // No bus has that number, whatever devices this machine has.
    let runtime = tempfile::tempdir().unwrap();
    let base = runtime.path().to_string_lossy().into_owned();
    let output = uwwan(&["up", "--device", "99-1", "--runtime-dir", &base]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: no modem is "));
    assert!(stderr(&output).contains("\n  next:  "));
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 0);
}

#[test]
fn nothing_running_has_its_own_exit_status() {
    let runtime = tempfile::tempdir().unwrap();
    let base = runtime.path().to_string_lossy().into_owned();
    for command in ["status", "down"] {
        let text = "error: uwwan is not running\n  why:   no control socket answers\n  \
                    next:  uwwan list   shows the modems present\n  \
                    next:  uwwan up     brings one online\n";
        refuses(&[command, "--runtime-dir", &base], 3, text);
    }
}

#[test]
fn an_empty_list_is_no_failure() {
    let output = uwwan(&["list", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list = forms::json("list", &output.stdout);
    assert!(list.is_array());
}

#[test]
fn the_emulated_modem_is_listed() {
    let output = uwwan(&["list", "--emulator", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list = forms::json("list", &output.stdout);
    assert_eq!(list[0]["id"], "03f0:a31d");
    assert_eq!(list[0]["configuration"]["active"], 2);
    assert_eq!(list[0]["configuration"]["wanted"], 3);
    assert_eq!(list[0]["ready"], true);
    assert_eq!(list[0]["quirks"]["ndp"], "end");
}

#[test]
fn the_configuration_switch_works_on_its_own() {
    let output = uwwan(&["usb", "config", "mbim", "--device", "emulator", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let done = forms::json("usb config", &output.stdout);
    assert_eq!((&done["before"], &done["after"]), (&2.into(), &3.into()));
    assert_eq!(done["via_zero"], true);
    let output = uwwan(&["usb", "config", "9", "--device", "emulator"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn descriptors_are_shown_as_the_device_has_them() {
    let output = uwwan(&["usb", "descriptors", "--raw", "--device", "emulator"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("configuration 3\n  09 02 89 00 03 03 00 a0 01"),
        "{text}"
    );
    let output = uwwan(&["usb", "descriptors", "--device", "emulator"]);
    assert!(stdout(&output).contains("MBIM function in configuration 3"));
}

#[test]
fn an_ntb_is_decoded_from_hexadecimal() {
    // The NTB is an NTB16 with sequence 5, one 20-byte IPv4 packet at 12 and the NDP at 32 (CDC NCM
    // 1.0, tables 3-1 to 3-3).
    let ntb = "4e434d48 0c00 0500 3000 2000 \
                 4500001400000000400100000a000001c6336401 \
                 49505300 1000 0000 0c00 1400 0000 0000";
    let output = uwwan(&["ntb", "decode", "--json", ntb]);
    assert!(output.status.success(), "{}", stderr(&output));
    let decoded = forms::json("ntb decode", &output.stdout);
    assert_eq!(decoded["format"], 16);
    assert_eq!(decoded["sequence"], 5);
    assert_eq!(decoded["ndp"], "end");
    assert_eq!(decoded["datagrams"][0]["offset"], 12);
    assert_eq!(decoded["datagrams"][0]["length"], 20);
    assert_eq!(
        decoded["datagrams"][0]["about"],
        "10.0.0.1 > 198.51.100.1 ICMP"
    );
    let faulty = ntb.replace("0c00 1400", "0c00 ff00");
    let output = uwwan(&["ntb", "decode", &faulty]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("datagram_outside: 1"),
        "{}",
        stderr(&output)
    );
}

/// An NTB with its NDP in front, and one with a chain that goes backwards and a `wLength` of 18,
/// are judged by their direction.
#[test]
fn an_ntb_is_judged_by_its_direction() {
    let packet = "4500001400000000400100000a000001c6336401";
    let front =
        format!("4e434d48 0c00 0500 3000 0c00 49505300 1000 0000 1c00 1400 0000 0000 {packet}");
    let decode = |ntb: &str, direction: &[&str]| {
        let output = uwwan(&[&["ntb", "decode", ntb], direction].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    for direction in [&[][..], &["--direction", "out"]] {
        assert!(decode(&front, direction).contains("Huawei firmware"));
    }
    let from_device = decode(&front, &["--direction", "in"]);
    assert!(!from_device.contains("Huawei firmware"), "{from_device}");
    assert!(from_device.contains("do not apply"), "{from_device}");

    // The NDP at 52 comes first, then the one at 32 with room for an entry, a terminator and two
    // bytes.
    let backwards = format!(
        "4e434d48 0c00 0500 4400 3400 {packet} \
         49505300 1200 0000 0c00 1400 0000 0000 00000000 \
         49505301 1000 2000 0c00 1400 0000 0000"
    );
    let told = decode(&backwards, &["--direction", "in"]);
    assert!(told.contains("backwards"), "{told}");
    assert!(told.contains("wLength 18 of the NDP at 32"), "{told}");
    let told = decode(&backwards, &["--direction", "out"]);
    assert!(told.contains("strict firmware would refuse it"), "{told}");
    let output = uwwan(&["ntb", "decode", "--json", "--direction", "in", &backwards]);
    let decoded = forms::json("ntb decode", &output.stdout);
    assert_eq!(decoded["direction"], "in");
    assert_eq!(decoded["strict"], serde_json::Value::Null);
    assert_eq!(decoded["datagrams"].as_array().unwrap().len(), 2);
    assert_eq!(decoded["notes"].as_array().unwrap().len(), 2);
}

#[test]
fn garbage_is_no_ntb_and_no_message() {
    for command in [["ntb", "decode"], ["mbim", "decode"]] {
        let output = uwwan(&[command[0], command[1], "ffffffffffffffffffffffff"]);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(stderr(&output).starts_with("error: "), "{command:?}");
        let output = uwwan(&[command[0], command[1], "/dev/zero"]);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_crash() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_uwwan"))
        .args(["emulate", "knobs"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert!(!text.contains("panicked"), "{text}");
    assert!(
        matches!(output.status.code(), Some(0 | 141)),
        "{:?}",
        output.status
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told_first() {
    let output = uwwan(&[
        "emulate",
        "--listen",
        "127.0.0.1:0",
        "--report",
        "/nonexistent/report.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/report.json (--report)"));
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn a_quirk_file_adds_a_row_and_its_faults_have_a_place() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("uwwan/quirks.d");
    std::fs::create_dir_all(&folder).unwrap();
    let list = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_uwwan"))
            .args(["list", "--emulator", "--json"])
            .env("XDG_CONFIG_HOME", home.path())
            .output()
            .unwrap()
    };
    let row = || -> serde_json::Value {
        let output = list();
        assert!(output.status.success());
        forms::json("list", &output.stdout)[0]["quirks"].clone()
    };
    assert_eq!(row()["from"], "built in");
    let file = folder.join("mine.toml");
    std::fs::write(
        &file,
        "\n[[modem]]\nvendor = 0x03f0\nproduct = 0xa31d\nname = \"mine\"\npadding = \"full\"\n",
    )
    .unwrap();
    let row = row();
    assert_eq!(row["row"], "mine");
    assert_eq!(row["from"], format!("{}, line 2", file.display()));
    assert_eq!(
        (&row["padding"], &row["ndp"]),
        (&"full".into(), &"end".into())
    );
    std::fs::write(&file, "[[modem]]\nvendor = \"HP\"\n").unwrap();
    let output = list();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("mine.toml") && told.contains("line 2, column 10"),
        "{told}"
    );
}

#[test]
fn every_function_of_a_device_is_listed() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_uwwan"))
        .args(["list", "--emulator", "--json"])
        .output()
        .unwrap();
    let list = forms::json("list", &output.stdout);
    let modem = &list[0];
    assert_eq!(modem["functions"][0]["kind"], "mbim", "{modem}");
    assert_eq!(modem["functions"][0]["configuration"], 3, "{modem}");
    let others: Vec<&str> = modem["other_functions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|other| other["kind"].as_str())
        .collect();
    assert_eq!(others, ["NCM of Huawei's own", "ECM"]);
    assert!(
        modem["way_to_mbim"]["text"]
            .as_str()
            .unwrap()
            .contains("configuration 3")
    );
}

/// Runs the program with a folder as the user's configuration directory.
fn configured(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_uwwan"))
        .args(arguments)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

#[test]
fn configurations_are_checked_by_name_and_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("uwwan");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("good.toml"), "apn = \"internet\"\n").unwrap();
    std::fs::write(own.join("bad.toml"), "apn = \"internet\"\nmtu = 5\n").unwrap();
    let check = |arguments: &[&str]| {
        let output = configured(folder.path(), &[&["config", "check"], arguments].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (status, told, _) = check(&["good"]);
    assert_eq!(
        (status, told.contains("good.toml: good")),
        (Some(0), true),
        "{told}"
    );
    let (status, _, told) = check(&["bad"]);
    assert_eq!(status, Some(2));
    assert!(
        told.contains("--mtu") && told.contains("bad.toml"),
        "{told}"
    );
    let file = own.join("bad.toml");
    assert_eq!(check(&[file.to_str().unwrap()]).0, Some(2));
    // All files are checked: the good one is reported although another is not.
    let (status, told, _) = check(&["--json"]);
    assert_eq!(status, Some(2));
    let own = |line: &&str| line.contains(folder.path().to_str().unwrap());
    assert_eq!(told.lines().filter(own).count(), 2, "{told}");
    assert!(told.contains("\"ok\":true"), "{told}");
    let (status, _, told) = check(&["absent"]);
    assert_eq!(status, Some(2));
    assert!(
        told.contains("absent.toml") && told.contains("bad, good"),
        "{told}"
    );
    // `up` takes the same names, and finds the same mistakes.
    let output = configured(folder.path(), &["up", "bad"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--mtu"), "{}", stderr(&output));
}

#[test]
fn the_doctor_tells_what_it_has_looked_at() {
    let output = uwwan(&["doctor", "--json"]);
    let findings = forms::json("doctor", &output.stdout);
    let findings = findings.as_array().expect("an array");
    let of = |check: &str| findings.iter().any(|one| one["check"] == check);
    assert!(
        of("modem") && of("TUN device") && of("udev rule"),
        "{findings:?}"
    );
    let tun = |one: &serde_json::Value| one["kind"].as_str().unwrap().starts_with("tun-");
    assert!(findings.iter().any(tun), "{findings:?}");
    let bad = findings.iter().any(|one| one["verdict"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{findings:?}");
    let said = stdout(&uwwan(&["doctor"]));
    assert!(
        said.lines().any(|line| line.contains("TUN device")),
        "{said}"
    );
}
