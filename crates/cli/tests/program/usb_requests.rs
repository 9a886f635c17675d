//! `uwwan usb control`, `bulk` and `interrupt` on the emulated modem.

use std::process::Output;

use serde_json::Value;

use crate::running::uwwan;

use crate::forms;

fn usb(arguments: &[&str]) -> Output {
    uwwan(&["usb"])
        .args(arguments)
        .args(["--device", "emulator"])
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = usb(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    forms::lines(&format!("usb {}", arguments[0]), &text)
}

fn refuses(arguments: &[&str], status: i32, told: &str) {
    let output = usb(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {errors}"
    );
    assert!(errors.contains(told), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn descriptors_are_read() {
    let told = json(&[
        "control",
        "standard,device",
        "6",
        "--value",
        "0x0100",
        "--length",
        "18",
    ]);
    let hex = told[0]["hex"].as_str().unwrap();
    // The device descriptor of the HP lt4132 begins so: USB 2.0, 64 bytes on endpoint 0 (lsusb).
    assert!(hex.starts_with("12 01 00 02"), "{hex}");
    assert!(hex.contains("f0 03 1d a3"), "{hex}");
    assert_eq!(told[0]["length"], 18);
    let by_number = json(&["control", "0x80", "6", "--value", "256", "--length", "18"]);
    assert_eq!(by_number[0]["hex"], hex);
    let text = usb(&["control", "0x80", "6", "--value", "256", "--length", "18"]);
    assert_eq!(String::from_utf8_lossy(&text.stdout).lines().count(), 2);
}

#[test]
fn what_changes_something_needs_force() {
    let clear = ["control", "standard,device,out", "1", "--value", "1"];
    refuses(&clear, 2, "add --force");
    refuses(
        &["control", "standard,device", "8"],
        2,
        "--length to ask for data",
    );
    refuses(
        &["control", "class,device,out", "1", "--length", "4"],
        2,
        "the data stage goes to the device",
    );
    refuses(
        &["control", "class,device", "1", "--data", "0102"],
        2,
        "the data stage goes to the host",
    );
    refuses(
        &["control", "class,device", "1", "--length", "5000"],
        2,
        "4096",
    );
    refuses(&["control", "class,sky", "1"], 2, "none of its words");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    refuses(
        &[
            "control",
            "class,interface",
            "0x80",
            "--index",
            "77",
            "--length",
            "28",
        ],
        2,
        "the active configuration has 0, 1",
    );
    // The vendor request is one that no firmware knows.
    refuses(
        &["control", "vendor,device", "0xee", "--length", "4"],
        1,
        "STALL",
    );
    refuses(&["bulk", "0x8f"], 2, "bulk endpoint 0x8f");
    refuses(&["interrupt", "0x8f"], 2, " interrupt in ");
    refuses(&["bulk", "0x01"], 2, "takes data");
    refuses(&["bulk", "0x81", "--send", "00"], 2, "brings data");
    refuses(
        &["bulk", "0x01", "--send", "00", "--read", "0x02"],
        2,
        "brings no data",
    );
}

/// The port `ff/06/12` of configuration 2 takes AT commands.
#[test]
fn a_serial_port_answers_over_its_endpoints() {
    let told = json(&[
        "bulk", "0x04", "--send", "41540d", "--read", "0x86", "--count", "2", "--wait", "1",
        "--detach",
    ]);
    assert_eq!(
        (&told[0]["endpoint"], &told[0]["sent"]),
        (&4.into(), &3.into())
    );
    let heard: Vec<&str> = told[1..]
        .iter()
        .filter_map(|come| come["hex"].as_str())
        .collect();
    // The bytes are "OK", or the echo of the command in front of it. An unsolicited result code may
    // come first.
    let heard = heard.join(" ");
    assert!(
        heard.contains("4f 4b") || heard.contains("41 54 0d"),
        "{told:?}"
    );
}
