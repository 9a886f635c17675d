//! Captures are shown: one that tcpdump recorded of the kernel's drivers and mbimcli, and broken
//! ones.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::forms;
use crate::running::{self, KERNEL};

fn uwwan(arguments: &[&str]) -> Output {
    running::uwwan(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn objects(command: &str, output: &Output) -> Vec<Value> {
    forms::lines(command, lines(output).join("\n"))
}

#[test]
fn a_story_of_the_kernel_is_understood() {
    let entries = objects(
        "capture show",
        &uwwan(&["capture", "show", "--json", KERNEL]),
    );
    for kind in ["mbim", "ntb", "at", "control", "interrupt"] {
        assert!(entries.iter().any(|entry| entry["kind"] == kind), "{kind}");
    }
    let opened = entries
        .iter()
        .find(|entry| entry["message"]["type"] == "open_done")
        .unwrap();
    let asked = &opened["answers"];
    let open = entries
        .iter()
        .find(|entry| entry["packet"] == *asked)
        .unwrap();
    assert_eq!(open["message"]["type"], "open");
    assert!(opened["after_ms"].as_f64().unwrap() >= 0.0);
    // Every answer has its request.
    for entry in &entries {
        let kind = entry["message"]["type"].as_str().unwrap_or_default();
        assert!(
            !kind.ends_with("_done") || entry["answers"].is_u64(),
            "{entry}"
        );
        assert_eq!(entry["message"]["errors"].as_array().map_or(0, Vec::len), 0);
    }
    let at = uwwan(&["capture", "show", "--kind", "at", KERNEL]);
    assert!(lines(&at).iter().any(|line| line.contains("OK")));
}

#[test]
fn messages_and_ntbs_are_chosen_and_decoded() {
    let connects = objects(
        "mbim decode",
        &uwwan(&[
            "mbim",
            "decode",
            KERNEL,
            "--json",
            "--service",
            "basic_connect",
            "--cid",
            "12",
        ]),
    );
    assert_eq!(connects.len(), 4, "two requests, two answers");
    assert_eq!(
        connects[0]["message"]["fields"]["access_string"],
        "telenor.smart"
    );
    assert_eq!(connects[1]["answers"], connects[0]["packet"]);
    let all = objects("mbim decode", &uwwan(&["mbim", "decode", KERNEL, "--json"])).len();
    let bad = uwwan(&["mbim", "decode", KERNEL, "--status", "bad", "--json"]);
    let bad = String::from_utf8(bad.stdout).unwrap().lines().count();
    assert!(bad < all && all > connects.len());
    let out = objects(
        "ntb decode",
        &uwwan(&["ntb", "decode", "--json", "--direction", "out", KERNEL]),
    );
    assert!(
        out.iter()
            .all(|ntb| ntb["direction"] == "out" && ntb["packet"].is_u64())
    );
    let pings = out
        .iter()
        .flat_map(|ntb| ntb["datagrams"].as_array().unwrap())
        .filter(|datagram| datagram["about"].as_str().unwrap().ends_with(" ICMP"));
    assert_eq!(pings.count(), 5);
    // No identity of a person is shown without a request.
    let caps = ["mbim", "decode", KERNEL, "--json", "--cid", "device_caps"];
    let shown = objects(
        "mbim decode",
        &uwwan(&[&caps[..], &["--show-personal"]].concat()),
    );
    let id = shown[1]["message"]["fields"]["device_id"].as_str().unwrap();
    assert_eq!(id.len(), 15);
    assert!(!lines(&uwwan(&caps)).concat().contains(id));
}

#[test]
fn two_stories_part_where_they_do() {
    let same = uwwan(&["capture", "show", "--diff", KERNEL, KERNEL]);
    assert!(lines(&same)[0].starts_with("the same:"));
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pcap");
    let mut bytes = std::fs::read(KERNEL).unwrap();
    let apn: Vec<u8> = "telenor"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let at = bytes
        .windows(apn.len())
        .position(|window| window == apn)
        .unwrap();
    bytes[at] = b'T';
    std::fs::write(&other, bytes).unwrap();
    let parted = uwwan(&["capture", "show", "--diff", KERNEL, other.to_str().unwrap()]);
    assert_eq!(parted.status.code(), Some(1));
    let told = String::from_utf8(parted.stdout).unwrap();
    assert!(
        told.contains("telenor.smart") && told.contains("Telenor.smart"),
        "{told}"
    );
    let compared = |other: &str| {
        let output = uwwan(&["capture", "show", "--json", "--diff", KERNEL, other]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1);
        (output.status.code(), forms::json("capture show", text))
    };
    let (status, same) = compared(KERNEL);
    assert_eq!((status, same["a"].as_array().unwrap().len()), (Some(0), 0));
    let (status, parted) = compared(other.to_str().unwrap());
    assert_eq!(status, Some(1));
    assert!(parted["same"].as_u64() < same["same"].as_u64());
    let name = |side: &str| {
        assert_eq!(parted[side].as_array().unwrap().len(), 3);
        parted[side][0]["message"]["fields"]["access_string"].clone()
    };
    assert_eq!(
        (name("a"), name("b")),
        ("telenor.smart".into(), "Telenor.smart".into())
    );
}

#[test]
fn broken_and_endless_captures_end_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pcap");
    let bytes = std::fs::read(KERNEL).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    for arguments in [["capture", "show"], ["mbim", "decode"], ["ntb", "decode"]] {
        let [first, second] = arguments;
        let output = uwwan(&[first, second, cut.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("at byte"), "{told}");
        assert!(!output.stdout.is_empty(), "what came before is shown");
    }
    assert!(!Path::new("/dev/zero").is_file());
    let endless = uwwan(&["capture", "show", "/dev/zero"]);
    assert_eq!(endless.status.code(), Some(2));
    let text = uwwan(&["capture", "show", file!()]);
    assert_eq!(text.status.code(), Some(2));
}
