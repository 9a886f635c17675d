//! Scrubbed captures: no identity of the emulated modem is left, and the dialogue is the same.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::forms;
use crate::running::{KERNEL, Up, succeeds, text, uwwan};

/// Identities of the emulated modem and its network, and those that the test gives them.
const TOLD: [&str; 23] = [
    // IMEI, IMSI, ICCID and serial number.
    "001000000000016",
    "242010000000001",
    "89470000000000000014",
    "0123456789ABCDEF",
    // Telephone numbers: of the card, of its message centre, of its phonebook, and those that the
    // test gives.
    "4790000001",
    "4790002100",
    "4722334455",
    "4712345678",
    // Names and messages, of the card and those that the test gives.
    "Message centre",
    "Førstelinje",
    "Ingeborg",
    "See you at 8?",
    "Welcome to Telenor",
    "Meet me at the bridge",
    "Your balance",
    // PINs and passwords.
    "87654321",
    "someone.private",
    "open sesame",
    // Addresses and places.
    "10.169.198.77",
    "193.213.112.4",
    "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208",
    "8DA7",
    "01A2D101",
];

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns digits in half octets, the first the low one.
fn half_octets(digits: &str) -> Vec<u8> {
    let mut values: Vec<u8> = digits.bytes().map(|digit| digit - b'0').collect();
    if values.len() % 2 == 1 {
        values.push(15);
    }
    values
        .chunks(2)
        .map(|pair| pair[0] | pair[1] << 4)
        .collect()
}

/// Returns every form in which an identity may be written.
fn forms(told: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    let mut put = |name: &str, bytes: Vec<u8>| forms.push((format!("{told} in {name}"), bytes));
    let units = || told.encode_utf16();
    let ucs2 = hexadecimal(&units().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    put("UTF-8", told.as_bytes().to_vec());
    put("UTF-16LE", units().flat_map(u16::to_le_bytes).collect());
    put("UCS-2, capitals", ucs2.to_uppercase().into_bytes());
    put("UCS-2", ucs2.into_bytes());
    if told.len() >= 10 && told.bytes().all(|byte| byte.is_ascii_digit()) {
        for front in ["", "1", "9"] {
            let octets = half_octets(&format!("{front}{told}"));
            let text = hexadecimal(&octets);
            put("half octets", octets);
            put("PDU, capitals", text.to_uppercase().into_bytes());
            put("PDU", text.into_bytes());
        }
    }
    if let Ok(address) = told.parse::<Ipv4Addr>() {
        put("bytes", address.octets().to_vec());
        let number = u32::from_le_bytes(address.octets());
        put("a number", format!("{number:08X}").into_bytes());
    }
    if let Ok(address) = told.parse::<Ipv6Addr>() {
        let octets = address.octets();
        put("bytes of its prefix", octets[..8].to_vec());
        put("bytes of its interface", octets[8..].to_vec());
    }
    forms
}

fn found(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    let forms = TOLD.iter().flat_map(|told| forms(told));
    forms
        .filter(|(_, wanted)| has(&bytes, wanted))
        .map(|(name, _)| name)
        .collect()
}

/// Returns the content of a capture without its identities: kinds, services, commands, statuses,
/// lengths and times.
fn story(file: &Path) -> Vec<Value> {
    let output = uwwan(&["capture", "show", "--json", "--show-personal"])
        .arg(file)
        .output();
    let text = succeeds(&output.unwrap());
    let mut entries = forms::lines("capture show", &text);
    for entry in &mut entries {
        let message = &entry["message"];
        let kept: Vec<Value> = ["type", "service", "cid", "command_type", "status", "errors"]
            .iter()
            .map(|field| message[field].clone())
            .collect();
        entry["message"] = Value::from(kept);
        let object = entry.as_object_mut().unwrap();
        if let Some(Value::String(text)) = object.get_mut("text") {
            // The commands of AT lines are compared without their arguments.
            let words = text.split_whitespace().map(|word| {
                let word = &word[word.find("AT").unwrap_or(0)..];
                let end = word.find(['=', ':', ',']).unwrap_or(word.len());
                if word.starts_with(['A', '+', '^']) {
                    &word[..end]
                } else {
                    ""
                }
            });
            *text = words.collect();
        }
        object.remove("data");
    }
    entries
}

/// Checks that two captures have the same dialogue.
fn same_story(one: &Path, other: &Path) {
    let (one, other) = (story(one), story(other));
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one, other);
    }
    assert_eq!(one.len(), other.len());
}

/// Returns the frames that Wireshark finds malformed, and the number of all frames.
fn wireshark(file: &Path) -> (Vec<String>, usize) {
    let frames = |filter: &str| -> Vec<String> {
        let mut command = Command::new("tshark");
        command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-r"]);
        command.arg(file).args(["-Y", filter]);
        command.args(["-T", "fields", "-e", "frame.number"]);
        let output = command.output().expect("tshark runs (tools/setup)");
        succeeds(&output).lines().map(str::to_owned).collect()
    };
    let malformed = frames("_ws.malformed || _ws.expert.group == \"Malformed\"");
    (malformed, frames("frame").len())
}

/// Returns the checksums that Wireshark finds wrong.
fn wrong_checksums(file: &Path) -> String {
    let mut command = Command::new("tshark");
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    command.arg("-r").arg(file).args([
        "-Y",
        "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
         || icmp.checksum.status == 0 || icmpv6.checksum.status == 0",
    ]);
    succeeds(&command.output().expect("tshark runs (tools/setup)"))
}

/// Starts an `up` that is online and leaves a capture with all secrets.
fn capturing(capture: &Path) -> Up {
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, content: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    Up::online(&[
        "--knob",
        "pin=87654321",
        "--knob",
        "ipv6=on",
        "--ip-type",
        "ipv4v6",
        "--apn",
        "internet",
        "--auth",
        "chap",
        "--user",
        "someone.private",
        "--pin-file",
        &secret("pin", "87654321\n"),
        "--password-file",
        &secret("password", "open sesame\n"),
        "--capture-secrets",
        "--capture-ip",
        "--capture",
        capture.to_str().unwrap(),
    ])
}

#[test]
fn nothing_that_the_modem_was_told_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (told, clean) = (file("told.pcapng"), file("clean.pcapng"));
    let up = capturing(&told);
    let write = ["phonebook", "write", "Ingeborg", "+4712345678"];
    let send = ["sms", "send", "+4712345678", "Meet me at the bridge"];
    for command in [
        &write[..],
        &send,
        &["sms", "list"],
        &["ussd", "*100#"],
        &["info"],
    ] {
        succeeds(&up.ask(command));
    }
    succeeds(&up.ask(&["phonebook", "list"]));
    let asked = [
        "at",
        "ATI",
        "AT+CGSN",
        "AT+CIMI",
        "AT^ICCID?",
        "AT+CMGL=4",
        "AT+CSCA?",
        "AT+CGPADDR",
        "AT+CGCONTRDP",
        "AT+CEREG=2",
        "AT+CEREG?",
        "AT+CGDCONT?",
    ];
    succeeds(&up.ask(&asked));
    // The datagrams go to an address beyond the modem.
    up.inside(&["ping", "-c", "2", "-i", "0.2", "10.169.198.78"]);
    up.down();

    // The search finds the identities in the unscrubbed capture, in the forms in which they were
    // used.
    let before = found(&told);
    for form in [
        "001000000000016 in UTF-8",
        "242010000000001 in UTF-16LE",
        "4722334455 in half octets",
        "4722334455 in PDU, capitals",
        "87654321 in UTF-16LE",
        "someone.private in UTF-16LE",
        "10.169.198.77 in bytes",
        "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208 in bytes of its prefix",
        "01A2D101 in UTF-8",
    ] {
        assert!(
            before.iter().any(|found| found == form),
            "{form}: {before:?}"
        );
    }

    let scrub = |further: &[&str]| {
        let mut command = uwwan(&["capture", "scrub"]);
        command.arg(&told).arg(&clean).args(further);
        command.output().unwrap()
    };
    let account = succeeds(&scrub(&[]));
    for kind in [
        "IMEI",
        "IMSI",
        "ICCID",
        "telephone numbers",
        "names",
        "PINs",
        "IP addresses",
    ] {
        assert!(account.contains(kind), "{account}");
    }
    assert_eq!(found(&clean), [""; 0]);
    same_story(&clean, &told);
    assert_eq!(wireshark(&clean), wireshark(&told));
    assert_eq!(wrong_checksums(&clean), "");
    let mode = std::fs::metadata(&clean).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Access strings, operators, models and versions stay.
    let show = uwwan(&["capture", "show", "--show-personal", "--kind", "at"])
        .arg(&clean)
        .output()
        .unwrap();
    let shown = succeeds(&show);
    for kept in [
        "ME906s-158",
        "11.617.13.00.00",
        "\"internet\"",
        "IMEI: 00101700",
    ] {
        assert!(shown.contains(kept), "{kept}: {shown}");
    }

    // An existing file is not replaced without --force, and no file is replaced by itself.
    let refused = scrub(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    let account = succeeds(&scrub(&["--force", "--json"]));
    let account = forms::json("capture scrub", &account);
    assert_eq!(account["replaced"]["device"]["different"], 1);
    let itself = uwwan(&["capture", "scrub", "--force"])
        .args([&clean, &clean])
        .output()
        .unwrap();
    assert_eq!(itself.status.code(), Some(2));
    assert_eq!(found(&clean), [""; 0]);
    // Payload that is kept holds no identity either.
    succeeds(&scrub(&["--force", "--payload", "keep"]));
    assert_eq!(found(&clean), [""; 0]);
    assert_eq!(wireshark(&clean), wireshark(&told));
    assert_eq!(wrong_checksums(&clean), "");
}

#[test]
fn a_capture_of_the_kernel_is_scrubbed_too() {
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path().join("clean.pcapng");
    let scrubbed = |input: &Path| {
        let mut command = uwwan(&["capture", "scrub", "--force"]);
        command.arg(input).arg(&clean).output().unwrap()
    };
    succeeds(&scrubbed(Path::new(KERNEL)));
    assert_eq!(found(&clean), [""; 0]);
    same_story(&clean, Path::new(KERNEL));
    assert_eq!(wireshark(&clean), wireshark(Path::new(KERNEL)));
    // A packed file has the same content and can be read in the same way.
    let packed = folder.path().join("clean.pcapng.zst");
    let again = uwwan(&["capture", "scrub"])
        .args([&clean, &packed])
        .output();
    succeeds(&again.unwrap());
    assert_eq!(
        std::fs::read(&packed).unwrap()[..4],
        [0x28, 0xb5, 0x2f, 0xfd]
    );
    same_story(&packed, &clean);
    assert_eq!(wireshark(&packed), wireshark(&clean));
    // A capture that cannot be scrubbed leaves an output in place that is no regular file.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
    std::fs::write(folder.path().join("no-capture"), "text").unwrap();
    let refused = uwwan(&["capture", "scrub", "--force"])
        .args([&folder.path().join("no-capture"), &link])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(link.is_symlink());
    // The part before a break is written, and the break is reported.
    let cut = folder.path().join("cut.pcap");
    let bytes = std::fs::read(KERNEL).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    let broken = scrubbed(&cut);
    assert_eq!(broken.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("at byte"));
    assert!(wireshark(&clean).1 > 100);
    for wrong in [
        Path::new("/dev/zero"),
        Path::new(file!()),
        Path::new("/nowhere"),
    ] {
        assert_eq!(scrubbed(wrong).status.code(), Some(2));
    }
}

/// Returns the MBIM commands that set something, and the AT lines that were sent.
fn orders(file: &Path) -> (Vec<Value>, Vec<String>) {
    let entries = uwwan(&["capture", "show", "--json", "--show-personal"])
        .arg(file)
        .output()
        .unwrap();
    let text = succeeds(&entries);
    let (mut orders, mut lines) = (Vec::new(), Vec::new());
    for entry in forms::lines("capture show", &text) {
        if entry["direction"] != "out" {
            continue;
        }
        // The subscription to indications ends with the control session, so each session sends it.
        let subscribes = entry["message"]["cid"] == "device_service_subscribe_list";
        let sets = entry["message"]["command_type"] != "query" && !subscribes;
        if entry["message"]["type"] == "command" && sets {
            orders.push(entry["message"].clone());
        }
        lines.extend(entry["text"].as_str().map(str::to_owned));
    }
    (orders, lines)
}

/// Checks that only queries were sent.
fn only_asks(file: &Path) {
    let (sets, lines) = orders(file);
    assert_eq!(sets, [Value::Null; 0]);
    assert!(lines.iter().any(|line| line == "ATI"), "{lines:?}");
    for line in lines {
        // The port itself sends these lines to prepare its dialogue.
        let dialogue = ["ATE0", "ATV1", "AT+CMEE"]
            .iter()
            .any(|start| line.contains(start));
        assert!(dialogue || line == "AT" || !line.contains('='), "{line}");
    }
}

#[test]
fn a_record_asks_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("modem.pcapng");
    let record = |up: Option<&Up>, further: &[&str]| {
        let mut command = uwwan(&["record", "--json"]);
        command.arg(&file).args(further);
        if let Some(up) = up {
            command.env("UWWAN_RUNTIME_DIR", up.base.path());
        }
        let output = command.output().unwrap();
        // The raw capture is in a folder that is deleted: nobody is told its name.
        assert!(!text(&output.stderr).contains("captured"), "{output:?}");
        forms::json("record", succeeds(&output))
    };
    let account = record(None, &["--device", "emulator"]);
    assert!(account["strings_answered"].as_u64() > Some(2), "{account}");
    assert!(account["mbim_answers"].as_u64() > Some(15), "{account}");
    assert!(account["at_answers"].as_u64() > Some(15), "{account}");
    only_asks(&file);
    assert_eq!(found(&file), [""; 0]);
    let again = uwwan(&["record", "--device", "emulator"])
        .arg(&file)
        .output();
    assert_eq!(again.unwrap().status.code(), Some(2));
    // The same is recorded through a running `up`.
    let other = folder.path().join("up.pcapng");
    let up = capturing(&other);
    let account = record(Some(&up), &["--force"]);
    assert!(account["mbim_answers"].as_u64() > Some(15), "{account}");
    assert!(account["at_answers"].as_u64() > Some(15), "{account}");
    only_asks(&file);
    assert_eq!(found(&file), [""; 0]);
    up.down();
}

#[test]
fn a_capture_from_a_pipe_is_scrubbed_as_one_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (told, one, other) = (
        file("told.pcapng"),
        file("one.pcapng"),
        file("other.pcapng"),
    );
    let mut record = uwwan(&["info", "--device", "emulator", "--capture"]);
    succeeds(&record.arg(&told).output().unwrap());
    let scrub = |from: &Path, to: &Path| {
        let mut command = uwwan(&["capture", "scrub"]);
        command
            .arg(from)
            .arg(to)
            .stdin(std::fs::File::open(&told).unwrap());
        command.output().unwrap()
    };
    succeeds(&scrub(&told, &one));
    succeeds(&scrub(Path::new("-"), &other));
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
}
