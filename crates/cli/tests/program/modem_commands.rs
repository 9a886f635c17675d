//! The commands that query a modem, each on an emulated one of its own: their output, their JSON,
//! their exit statuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::forms;
use crate::running;

fn program(arguments: &[&str]) -> Command {
    let mut command = running::uwwan(arguments);
    command
        .args(["--device", "emulator"])
        // The directory is empty, so that the `up` of no other test is found.
        .env("UWWAN_RUNTIME_DIR", "/nonexistent")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn uwwan(arguments: &[&str]) -> Output {
    program(arguments).output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the standard output of a command that succeeds.
fn text(arguments: &[&str]) -> String {
    let output = uwwan(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    out(&output)
}

/// Returns the standard output of a command that succeeds, as one line of JSON.
fn value(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let text = text(&all);
    assert_eq!(text.lines().count(), 1, "{text}");
    forms::json(&forms::command_of(arguments), &text)
}

/// Returns the standard error of a command that fails, after checking its form.
fn refused(arguments: &[&str], status: i32) -> String {
    let output = uwwan(arguments);
    let told = err(&output);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
    assert!(told.contains("error: "), "{told}");
    told
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn info_is_one_page_without_what_identifies_anybody() {
    let page = text(&["info"]);
    for part in [
        "ML1ME906SM",
        "11.617.13.00.00",
        "Telenor (24201)",
        "-71 dBm",
        "NTB16",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let hidden = value(&["info"]);
    let shown = value(&["info", "--show-personal"]);
    assert_eq!(shown["imei"], "001000000000016");
    assert_eq!(shown["sim"]["imsi"], "242010000000001");
    for secret in ["001000000000016", "242010000000001", "89470000000000000014"] {
        assert!(!page.contains(secret) && !hidden.to_string().contains(secret));
    }
    assert_eq!(
        keys(&hidden),
        [
            "device",
            "hardware",
            "firmware",
            "firmware_id",
            "imei",
            "data_class_names",
            "data_classes",
            "max_sessions",
            "sim",
            "pin",
            "operator",
            "radio",
            "network",
            "packet_service",
            "signal",
            "framing",
            "blocks",
            "at",
            "services",
            "not_told"
        ]
    );
    assert_eq!(hidden["framing"]["format"], "16");
    assert_eq!(hidden["framing"]["ndp"], "end");
    assert_eq!(hidden["not_told"], json!({}));
}

#[test]
fn info_tells_what_is_missing() {
    let told = value(&["info", "--knob", "sim=absent"]);
    assert_eq!(told["sim"]["state"], "sim_not_inserted");
    assert_eq!(told["not_told"]["pin"], "sim_not_inserted");
    assert!(told["operator"].is_null());
}

#[test]
fn services_are_listed_by_name() {
    let told = value(&["services"]);
    let names: Vec<&str> = told["services"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|service| service["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "basic_connect",
            "sms",
            "ussd",
            "phonebook",
            "ms_host_shutdown"
        ]
    );
    assert_eq!(
        told["services"][0]["cids"][0],
        json!({"number": 1, "name": "device_caps"})
    );
}

#[test]
fn the_sim_is_shown() {
    let told = value(&["sim"]);
    assert_eq!(
        (&told["ready"], &told["imsi"]),
        (&json!(true), &json!("<hidden>"))
    );
    assert_eq!(
        told["operator"],
        json!({"plmn": "24201", "name": "Telenor"})
    );
    let told = value(&["sim", "--knob", "pin=1234"]);
    assert_eq!(told["state"], "device_locked");
    assert_eq!(
        told["pin"],
        json!({"type": "pin1", "locked": true, "remaining_attempts": 3})
    );
}

#[test]
fn the_radio_is_turned() {
    assert_eq!(
        value(&["radio"]),
        json!({"on": true, "hardware": true, "software": true})
    );
    assert_eq!(value(&["radio", "off"])["software"], false);
    let told = refused(&["radio", "on", "--knob", "hardware_radio_on=off"], 7);
    assert!(told.contains("the hardware switch is off"), "{told}");
    refused(&["radio", "maybe"], 2);
}

#[test]
fn an_fcc_lock_is_lifted_by_that_command_alone() {
    let locked = ["--knob", "fcc_lock=on"];
    let told = refused(&[&["radio", "on"][..], &locked].concat(), 7);
    assert!(
        told.contains("operation_not_allowed") || told.contains("uwwan radio unlock"),
        "{told}"
    );
    assert_eq!(
        value(&[&["radio", "unlock"][..], &locked].concat()),
        json!({"unlocked": true, "way": "quectel"})
    );
    // The lock is lifted by QMI over MBIM as well, as with modems of Sierra Wireless.
    assert_eq!(
        value(&[&["radio", "unlock", "--way", "qmi"][..], &locked].concat()),
        json!({"unlocked": true, "way": "qmi"})
    );
    let told = refused(&["radio", "unlock", "--way", "qmi"], 7);
    assert!(told.contains("the FCC lock is not lifted"), "{told}");
    let told = refused(&["radio", "unlock"], 7);
    assert!(
        told.contains("no way to unlock this modem is known"),
        "{told}"
    );
}

#[test]
fn operators_are_listed_and_registered_with() {
    assert_eq!(value(&["operator", "home"])["plmn"], "24201");
    assert_eq!(value(&["operator", "preferred"])[0]["plmn"], "24001");
    let scan = value(&["operator", "scan"]);
    assert_eq!(scan[0]["state"], json!(["home", "visible", "registered"]));
    assert_eq!(scan[1]["name"], "NetCom");
    let told = value(&["operator", "register", "--knob", "registration_ms=700"]);
    assert_eq!(
        (&told["state"], &told["mode"]),
        (&json!("home"), &json!("automatic"))
    );
    assert_eq!(value(&["operator", "register", "24201"])["mode"], "manual");
    let told = refused(&["operator", "register", "99999"], 7);
    assert!(told.contains("provider_not_visible"), "{told}");
    let told = refused(
        &["operator", "register", "--knob", "registration=denied"],
        7,
    );
    assert!(told.contains("plmn_not_allowed"), "{told}");
    refused(&["operator", "register", "Telenor"], 2);
}

#[test]
fn the_packet_service_is_attached_and_detached() {
    assert_eq!(
        value(&["attach", "--knob", "packet_detached=on"])["state"],
        "attached"
    );
    assert_eq!(value(&["detach"])["state"], "detached");
    let told = refused(&["attach", "--knob", "radio_on=off"], 7);
    assert!(told.contains("radio_power_off"), "{told}");
}

#[test]
fn a_session_is_connected_with_its_addresses() {
    let told = value(&["connect", "--session", "3", "--apn", "internet"]);
    assert_eq!(
        (&told["session"], &told["state"]),
        (&json!(3), &json!("activated"))
    );
    assert_eq!(told["addresses"], json!(["10.169.198.89/30"]));
    assert_eq!(told["gateways"], json!(["10.169.198.90"]));
    let told = refused(&["connect", "--ip-type", "ipv6"], 7);
    assert!(told.contains("uwwan ipv6 status"), "{told}");
    let told = refused(
        &["connect", "--apn", "nonsense", "--knob", "apn=internet"],
        7,
    );
    assert!(told.contains("missing_or_unknown_apn"), "{told}");
    let told = refused(&["connect", "--user", "me"], 2);
    assert!(told.contains("--auth"), "{told}");
    assert_eq!(
        value(&["disconnect", "3"]),
        json!({"session": 3, "was_active": false})
    );
    assert_eq!(value(&["sessions"]), json!([]));
    let all = value(&["sessions", "--all", "--knob", "max_sessions=3"]);
    assert_eq!(all.as_array().unwrap().len(), 3);
}

#[test]
fn the_signal_is_shown_with_bars_and_thresholds() {
    let told = value(&["signal"]);
    assert_eq!((&told["dbm"], &told["bars"]), (&json!(-71), &json!(4)));
    let told = value(&["signal", "--interval", "9", "--rssi-threshold", "2"]);
    assert_eq!(
        (&told["interval_seconds"], &told["rssi_threshold"]),
        (&json!(9), &json!(2))
    );
    let told = value(&["signal", "--knob", "mbim_signal_unknown=on"]);
    assert!(told["dbm"].is_null() && told["bars"].is_null());
}

#[test]
fn the_signal_is_watched_until_interrupted() {
    let mut child = program(&[
        "signal",
        "--watch",
        "--json",
        "--knob",
        "signal_interval_ms=100",
    ])
    .spawn()
    .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    for line in lines.by_ref().take(4) {
        let told = forms::json("signal", line.unwrap());
        assert_eq!(told["dbm"], -71);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let end = child.wait_with_output().unwrap();
    assert!(end.status.success(), "{}", err(&end));
}

#[test]
fn contexts_and_counters_are_shown() {
    let told = value(&["contexts"]);
    assert_eq!(
        (&told[0]["id"], &told[0]["purpose"]),
        (&json!(1), &json!("internet"))
    );
    assert_eq!(told[0]["apn"], "telenor.smart");
    let told = value(&["stats"]);
    assert_eq!(told["sent"]["packets"], 0);
    assert_eq!(
        keys(&told["received"]),
        ["packets", "bytes", "errors", "discards"]
    );
}

#[test]
fn messages_are_listed_read_sent_and_deleted() {
    let told = value(&["sms", "list"]);
    assert_eq!(told.as_array().unwrap().len(), 3);
    assert_eq!(told[0]["text"], "See you at 8? {bring €5}");
    assert_eq!(told[1]["text"], "Привет, 世界 😀");
    assert_eq!(
        (&told[2]["indexes"], &told[2]["parts"]),
        (&json!([3, 4]), &json!(2))
    );
    assert!(told[2]["text"].as_str().unwrap().ends_with("came in."));
    assert_eq!(
        value(&["sms", "list", "--new"]).as_array().unwrap().len(),
        1
    );
    assert_eq!(value(&["sms", "list", "--sent"]), json!([]));
    // Any part of a long message selects the message.
    let page = text(&["sms", "read", "4"]);
    assert!(
        page.contains("3, 4") && page.contains("1300") && page.contains("came in."),
        "{page}"
    );
    assert_eq!(
        value(&["sms", "read", "3", "4", "1"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(refused(&["sms", "read", "9"], 2).contains("no message 9"));
    assert_eq!(value(&["sms", "delete", "4"]), json!({"deleted": 1}));
    assert_eq!(value(&["sms", "delete", "--all"]), json!({"deleted": 3}));
    assert_eq!(value(&["sms", "delete", "--sent"]), json!({"deleted": 0}));
    refused(&["sms", "delete"], 2);
    let told = value(&["sms", "send", "+4790000002", "hello"]);
    assert_eq!(told, json!({"parts": 1, "references": [1]}));
    let long = "x".repeat(200);
    assert_eq!(
        value(&["sms", "send", "90000002", &long])["references"],
        json!([1, 2])
    );
    assert!(refused(&["sms", "send", "mum", "hello"], 2).contains("no telephone number"));
    let told = refused(
        &["sms", "send", "1300", "hello", "--knob", "radio_on=off"],
        7,
    );
    assert!(told.contains("not_registered"), "{told}");
}

#[test]
fn a_text_comes_from_standard_input() {
    let mut child = program(&["sms", "send", "+4790000002", "--json"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all("жжж\n".as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("\"parts\":1"));
}

#[test]
fn ussd_codes_are_asked_and_answered() {
    let told = value(&["ussd", "*100#"]);
    assert_eq!(told[0]["response"], "no_action_required");
    assert_eq!(
        told[0]["text"],
        "Your balance is 99,00 kr.\r\nValid until 31.12."
    );
    assert_eq!(value(&["ussd", "*102#"])[0]["text"], "Ваш баланс: 99,00");
    let told = value(&["ussd", "*101#", "--reply", "3", "--reply", "1"]);
    assert_eq!(told.as_array().unwrap().len(), 3);
    assert_eq!(told[2]["text"], "Your balance is 99,00 kr.");
    assert!(text(&["ussd", "*101#"]).contains("2 Data left"));
    assert!(refused(&["ussd", "*999#"], 7).contains("the network does not know this"));
    assert!(refused(&["ussd", "*103#"], 7).contains("network_timeout"));
    assert!(text(&["ussd", "--cancel"]).is_empty());
    refused(&["ussd"], 2);
}

#[test]
fn the_phonebook_is_read_and_written() {
    let told = value(&["phonebook", "list"]);
    assert_eq!((&told["places"], &told["used"]), (&json!(250), &json!(3)));
    assert_eq!(
        told["entries"][2],
        json!({"index": 3, "number": "+4722334455", "name": "Ola"})
    );
    assert_eq!(
        value(&["phonebook", "list", "2"])["entries"][0]["name"],
        "Førstelinje"
    );
    assert_eq!(
        value(&["phonebook", "write", "Kari", "+4799887766"]),
        json!({"done": true})
    );
    assert_eq!(
        value(&["phonebook", "delete", "1", "2"]),
        json!({"done": true})
    );
    assert_eq!(
        value(&["phonebook", "delete", "--all"]),
        json!({"done": true})
    );
    let told = refused(&["phonebook", "delete", "9"], 7);
    assert!(told.contains("invalid_memory_index"), "{told}");
    let told = refused(&["phonebook", "write", "A name far too long", "1"], 2);
    assert!(told.contains("this SIM takes 18"), "{told}");
}

#[test]
fn packet_filters_are_shown_and_replaced() {
    assert_eq!(value(&["ip-filters"]), json!({"session": 0, "filters": []}));
    let told = value(&[
        "ip-filters",
        "--session",
        "2",
        "--set",
        "4500/f000",
        "--set",
        "60/f0",
    ]);
    assert_eq!(
        told["filters"][0],
        json!({"filter": "4500", "mask": "f000"})
    );
    assert_eq!(told["filters"].as_array().unwrap().len(), 2);
    assert_eq!(value(&["ip-filters", "--clear"])["filters"], json!([]));
    refused(&["ip-filters", "--set", "45/f"], 2);
    refused(&["ip-filters", "--session", "9", "--set", "45/f0"], 7);
}

#[test]
fn any_command_can_be_sent() {
    let told = value(&[
        "mbim",
        "send",
        "--service",
        "basic-connect",
        "--cid",
        "1",
        "--query",
    ]);
    assert_eq!(
        (&told["type"], &told["cid"]),
        (&json!("command_done"), &json!("device_caps"))
    );
    assert_eq!(told["status"], "none");
    assert_eq!(told["fields"]["device_id"], "<hidden>");
    assert_eq!(told["fields"]["max_sessions"], 8);
    let send = |rest: &[&str]| {
        let mut all = vec!["mbim", "send", "--service", "basic_connect"];
        all.extend(rest);
        value(&all)
    };
    let told = send(&["--cid", "connect", "--query", "--field", "session_id=5"]);
    assert_eq!(told["fields"]["session_id"], 5);
    let told = send(&["--cid", "radio_state", "--set", "--hex", "00000000"]);
    assert_eq!(told["fields"]["sw_radio_state"], "off");
    let told = send(&["--cid", "device_caps", "--query", "--show-personal"]);
    assert_eq!(told["fields"]["device_id"], "001000000000016");

    let base = ["mbim", "send", "--service", "basic_connect", "--cid"];
    let with = |rest: &[&'static str]| [&base[..], rest].concat();
    let output = uwwan(&with(&["99", "--query", "--json"]));
    assert_eq!(output.status.code(), Some(7));
    let told = forms::json("mbim send", out(&output));
    assert_eq!(
        (&told["cid"], &told["status"]),
        (&json!(99), &json!("no_device_support"))
    );
    let told = refused(&with(&["connect", "--query", "--field", "sesion_id=5"]), 2);
    assert!(told.contains("session_id, "), "{told}");
    let told = refused(
        &with(&["connect", "--query", "--field", "session_id=many"]),
        2,
    );
    assert!(told.contains("expected a number"), "{told}");
    refused(&with(&["connect", "--query", "--set"]), 2);
    refused(&with(&["connect"]), 2);
    refused(
        &[
            "mbim",
            "send",
            "--service",
            "nonsense",
            "--cid",
            "1",
            "--query",
        ],
        2,
    );
    let unknown = [
        "mbim",
        "send",
        "--service",
        "11223344-0000-0000-0000-000000000000",
        "--cid",
        "7",
    ];
    refused(&[&unknown[..], &["--set", "--hex", "01"]].concat(), 7);
    refused(&[&unknown[..], &["--set", "--field", "a=1"]].concat(), 2);
}

#[test]
fn a_command_with_a_pin_in_it_comes_from_files_only() {
    let base = ["mbim", "send", "--service", "basic_connect", "--cid"];
    let with = |rest: &[&'static str]| [&base[..], rest].concat();
    // The content is PinSet: PIN1, enter, the PIN's offset and size, no new PIN, and "5847" in
    // UTF-16LE.
    let content = "02000000 00000000 18000000 08000000 00000000 00000000 3500380034003700";
    for rest in [
        &["pin", "--set", "--field", "pin=5847"][..],
        &["pin", "--set", "--field", "new_pin=5847"],
        &["pin", "--set", "--hex", content],
        &["connect", "--set", "--field", "password=5847"],
        &["pin", "--set", "--field", "5847"],
        &["99", "--set", "--field", "pin=5847"],
        &["pin", "--set", "--hex", "5847x"],
    ] {
        let told = refused(&with(rest), 2);
        assert!(!told.contains("5847"), "{rest:?}: {told}");
    }
    // The PIN stands in an APDU (VERIFY PIN), a QMI message of DMS (UIM Verify PIN) and an AT
    // command.
    let apdu = "00 20 00 01 08 35 38 34 37 ff ff ff ff";
    let qmi = "01 15 00 00 02 01 00 01 00 28 00 09 00 01 06 00 01 04 35 38 34 37";
    let at = "41 54 2b 43 50 49 4e 3d 35 38 34 37";
    for (service, cid, rest) in [
        (
            "ms_uicc_low_level_access",
            "apdu",
            ["--field", &format!("command={}", apdu.replace(' ', ""))],
        ),
        ("qmi", "msg", ["--hex", qmi]),
        (
            "qmi",
            "msg",
            ["--field", &format!("qmi_msg={}", qmi.replace(' ', ""))],
        ),
        ("intel_at_tunnel", "at_command", ["--hex", at]),
    ] {
        let told = refused(
            &[
                &["mbim", "send", "--service", service, "--cid", cid, "--set"],
                &rest[..],
            ]
            .concat(),
            2,
        );
        assert!(told.contains("holds a secret"), "{service}: {told}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // A PIN from a file is sent. The SIM of the modem has no PIN to enter.
    let (pin, content) = (
        format!("pin={}", file("pin", "5847\n")),
        file("hex", content),
    );
    for rest in [&["--field-file", &pin][..], &["--file", &content]] {
        let sent = [&with(&["pin", "--set"])[..], rest].concat();
        let told = refused(&sent, 7);
        assert!(!told.contains("5847"), "{told}");
    }
    // A PIN that does not fit is not repeated either.
    let number = format!("pin_type={}", file("number", "5847x\n"));
    let told = refused(
        &[&with(&["pin", "--set", "--field-file"])[..], &[&number]].concat(),
        2,
    );
    assert!(!told.contains("5847"), "{told}");
}

#[test]
fn a_reset_is_done_by_what_the_modem_offers() {
    assert_eq!(value(&["reset"]), json!({"reset": true, "by": "AT^RESET"}));
    let told = refused(&["reset", "--how", "mbim"], 7);
    assert!(told.contains("--how at"), "{told}");
    assert_eq!(value(&["reset", "--how", "usb"])["by"], "usb");
}

/// Returns the exit status and the last output of a command that gets Ctrl-C once the log shows
/// that `asked` was sent to the modem.
fn interrupted_after(asked: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = program(&[arguments, &["-vvv"]].concat()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(asked) {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "{asked} is sent");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut words = String::new();
    told.read_to_string(&mut words).unwrap();
    (child.wait().unwrap().code(), words)
}

#[test]
fn a_scan_is_cancelled_by_ctrl_c() {
    let (status, words) = interrupted_after(
        "visible_providers query",
        &["operator", "scan", "--knob", "scan_ms=600000"],
    );
    assert_eq!(status, Some(130), "{words}");
    assert!(
        words.contains("interrupted: looking for networks"),
        "{words}"
    );
}

#[test]
fn a_connect_is_cancelled_by_ctrl_c() {
    let (status, words) =
        interrupted_after("/connect set", &["connect", "--knob", "connect_ms=600000"]);
    assert_eq!(status, Some(130), "{words}");
    assert!(words.contains("interrupted: connecting"), "{words}");
}

#[test]
fn a_dialogue_is_ended_by_ctrl_c() {
    let rules = tempfile::NamedTempFile::new().unwrap();
    for times in ["times = 1\n", ""] {
        let rule =
            "[[rule]]\nmbim = { service = 'ussd', cid = 'ussd', kind = 'set' }\nsilent = true\n";
        std::fs::write(rules.path(), [rule, times].concat()).unwrap();
        let rules = rules.path().to_str().unwrap();
        let (status, words) =
            interrupted_after("ussd/ussd set", &["ussd", "*100#", "--rules", rules]);
        assert_eq!(status, Some(130), "{words}");
        assert!(words.contains("interrupted: asking"), "{words}");
        // A modem that does not end it is left after a time.
        let left = ["the dialogue is not ended", "ussd/ussd answered"];
        assert!(words.contains("ussd/ussd set"), "{words}");
        assert!(
            words.contains(left[usize::from(!times.is_empty())]),
            "{words}"
        );
    }
}

#[test]
fn no_modem_has_its_own_exit_status() {
    for command in [&["info"][..], &["sms", "list"], &["pin", "status"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_uwwan"))
            .args(command)
            .args(["--device", "99-1"])
            .env("UWWAN_RUNTIME_DIR", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{command:?}");
        assert!(
            err(&output).starts_with("error: no modem is "),
            "{}",
            err(&output)
        );
    }
    let told = String::from_utf8(
        Command::new(env!("CARGO_BIN_EXE_uwwan"))
            .args(["info", "--knob", "pin=1"])
            .output()
            .unwrap()
            .stderr,
    )
    .unwrap();
    assert!(told.contains("add --device emulator"), "{told}");
}

#[test]
fn hostile_answers_cost_no_more_than_an_error() {
    // Every other message is garbage of its length, notifications come in storms, and indications
    // by the thousand: commands are still answered.
    let knobs = [
        "--knob",
        "garbage_response_every=2",
        "--knob",
        "notification_storm=50",
        "--knob",
        "indication_storm_hz=10000",
    ];
    for command in [
        &["info"][..],
        &["signal"],
        &["sms", "list"],
        &["sessions", "--all"],
    ] {
        let told = value(&[command, &knobs[..]].concat());
        assert!(!told.is_null());
    }
}
