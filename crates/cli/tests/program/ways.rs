//! The modem's other modes, NCM and ECM: commands through a running `up` whose control session is
//! answered by AT commands.

use serde_json::Value;

use crate::forms;
use crate::running::{Up, emulated, succeeds, text, uwwan};

#[track_caller]
fn value(up: &Up, arguments: &[&str]) -> Value {
    let output = up.ask(&[arguments, &["--json"]].concat());
    forms::json(&forms::command_of(arguments), succeeds(&output))
}

#[test]
fn commands_are_answered_by_at() {
    for (mode, configuration, format) in [("ncm", 1, "32"), ("ecm", 2, "none")] {
        let up = Up::online(&["--mode", mode]);
        let status = up.status();
        assert_eq!(status["configuration"]["after"], configuration, "{mode}");
        assert_eq!(status["framing"]["format"], format, "{mode}");
        assert_eq!(status["network"]["provider_id"], "24201", "{mode}");
        let info = value(&up, &["info"]);
        assert_eq!(info["hardware"], "ME906s-158", "{mode}: {info}");
        assert_eq!(info["firmware"], "11.617.13.00.00", "{mode}");
        assert_eq!(info["network"]["state"], "home", "{mode}");
        let found = value(&up, &["operator", "scan"]);
        assert_eq!(found[0]["plmn"], "24201", "{mode}: {found}");
        let home = value(&up, &["operator", "home"]);
        assert_eq!(
            (&home["plmn"], &home["name"]),
            (&"24201".into(), &"Telenor".into()),
            "{mode}: {home}"
        );
        let signal = value(&up, &["signal"]);
        assert_eq!(signal["dbm"], -71, "{mode}: {signal}");
        assert_eq!(value(&up, &["sim"])["state"], "initialized", "{mode}");
        let messages = value(&up, &["sms", "list"]);
        assert_eq!(messages[0]["peer"], "+4722334455", "{mode}: {messages}");
        ussd(&up, mode);
        // What cannot be done by AT says so.
        let refused = up.ask(&["phonebook", "list"]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(7), "{mode}: {told}");
        assert!(told.contains("no_device_support"), "{mode}: {told}");
        // The AT port is shared with the driver, and the driver's connection is not taken from it.
        assert!(
            succeeds(&up.ask(&["at", "ATI"])).contains("ME906s-158"),
            "{mode}"
        );
        let taken = up.ask(&["at", "AT^NDISDUP=1,0"]);
        assert!(!taken.status.success(), "{mode}");
        let devices = up.inside(&["cat", "/proc/net/dev"]);
        assert!(devices.contains("uwwan"), "{mode}: {devices}");
        assert_eq!(up.status()["online"], true, "{mode}");
        up.down();
    }
}

/// Asks the network by `+CUSD`, in both of its alphabets, and answers its questions.
#[track_caller]
fn ussd(up: &Up, mode: &str) {
    let told = value(up, &["ussd", "*100#"]);
    assert_eq!(
        told[0]["text"], "Your balance is 99,00 kr.\r\nValid until 31.12.",
        "{mode}: {told}"
    );
    let told = value(up, &["ussd", "*102#"]);
    assert_eq!(told[0]["text"], "Ваш баланс: 99,00", "{mode}");
    let told = value(up, &["ussd", "*101#", "--reply", "3", "--reply", "1"]);
    let texts: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["text"])
        .collect();
    assert_eq!(
        texts,
        [
            "1 Balance\r\n2 Data left\r\n3 More",
            "1 Balance\r\n0 Back",
            "Your balance is 99,00 kr."
        ],
        "{mode}"
    );
    // A dialogue that is left is ended.
    assert!(
        succeeds(&up.ask(&["ussd", "*101#"])).contains("2 Data left"),
        "{mode}"
    );
    for (code, why) in [
        ("*103#", "network_timeout"),
        ("*999#", "does not know this"),
    ] {
        let refused = up.ask(&["ussd", code]);
        let told = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(7), "{mode} {code}: {told}");
        assert!(told.contains(why), "{mode} {code}: {told}");
    }
    assert!(
        succeeds(&up.ask(&["ussd", "--cancel"])).is_empty(),
        "{mode}"
    );
    // No network answers an empty code.
    assert_eq!(up.ask(&["ussd", ""]).status.code(), Some(2), "{mode}");
}

#[test]
fn ussd_is_said_in_the_form_that_the_modem_takes() {
    for form in ["text", "text_always"] {
        let form_knob = format!("ussd_form={form}");
        let knobs = ["--knob", &form_knob, "--knob", "ussd_ms=20"];
        let up = Up::online(&[&["--mode", "ncm"][..], &knobs].concat());
        ussd(&up, form);
        up.down();
    }
}

/// Starts `up` with a dialogue whose answer never comes, interrupts the command that waits for it, and
/// waits for the modem to be told.
#[test]
fn an_interrupted_dialogue_is_ended_by_at() {
    let base = tempfile::tempdir().unwrap();
    let (rules, log) = (base.path().join("rules.toml"), base.path().join("log"));
    // The signal tells that the command has reached the modem.
    std::fs::write(
        &rules,
        "[[rule]]\nat = 'AT+CUSD=2'\nset = { signal = 22 }\n",
    )
    .unwrap();
    let mut command = emulated(base.path());
    command
        .args([
            "--mode",
            "ncm",
            "-vvv",
            "--knob",
            "ussd_ms=600000",
            "--rules",
        ])
        .arg(&rules)
        .stderr(std::fs::File::create(&log).unwrap());
    let mut up = Up::spawn(base, command);
    up.event("online");
    let child = up
        .command(&["ussd", "*100#"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !std::fs::read_to_string(&log)
        .unwrap()
        .contains("ussd/ussd set")
    {
        assert!(std::time::Instant::now() < deadline, "the code is sent");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert_eq!(value(&up, &["signal"])["dbm"], -69);
    up.down();
}

#[test]
fn without_a_carrier_the_format_of_ntbs_is_not_to_blame() {
    let mut up = Up::start(&["--mode", "ncm", "--knob", "dial=no_carrier"]);
    let diagnosis = up.event("diagnosis");
    let said = diagnosis["text"].as_str().unwrap();
    assert!(
        said.contains("Ethernet link") && !said.contains("--ntb"),
        "{said}"
    );
    up.down();
}

#[test]
fn what_a_modem_lacks_is_said() {
    let base = tempfile::tempdir().unwrap();
    let mut command = emulated(base.path());
    let output = command
        .args(["--mode", "ncm", "--function", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    // MBIM has no frames for a TAP interface, whatever the modem is.
    let refused = uwwan(&["up", "--device", "1-99", "--mode", "mbim", "--tap"]);
    let output = { refused }.output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--tap"), "{told}");
    let list = uwwan(&["list", "--emulator", "--json"]).output().unwrap();
    let list = forms::json("list", succeeds(&list));
    let ways: Vec<_> = list[0]["dialled"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| (way["kind"].as_str().unwrap(), way["configuration"].as_u64()))
        .collect();
    assert_eq!(ways, [("huawei-ncm", Some(1)), ("ecm", Some(2))]);
}

/// A row of a quirk file selects each mode of the emulated modem in turn.
#[test]
fn a_quirk_row_names_the_way() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("uwwan/quirks.d");
    std::fs::create_dir_all(&folder).unwrap();
    let row =
        |mode: &str| format!("[[modem]]\nvendor = 0x03f0\nproduct = 0xa31d\nmode = \"{mode}\"\n");
    let ask = |arguments: &[&str]| {
        let output = uwwan(arguments)
            .arg("--json")
            .env("XDG_CONFIG_HOME", home.path())
            .output()
            .unwrap();
        forms::json(&forms::command_of(arguments), succeeds(&output))
    };
    for (mode, configuration, hardware) in [
        ("ncm", 1, "ME906s-158"),
        ("ecm", 2, "ME906s-158"),
        ("mbim", 3, "ML1ME906SM"),
    ] {
        std::fs::write(folder.join("a.toml"), row(mode)).unwrap();
        let list = ask(&["list", "--emulator"]);
        assert_eq!(list[0]["quirks"]["mode"], mode);
        assert_eq!(list[0]["configuration"]["wanted"], configuration, "{mode}");
        // The answer is that of MBIM or that of AT+CGMM.
        let info = ask(&["info", "--device", "emulator"]);
        assert_eq!(info["hardware"], hardware, "{mode}: {info}");
    }
}
