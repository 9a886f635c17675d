//! `--like CAPTURE`: the emulated modem is the modem in a capture.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::forms;
use crate::running::{KERNEL, Up, succeeds, uwwan};

/// Descriptors of a Sierra Wireless EM7455.
const SIERRA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../usb/tests/vectors/descriptors/lsusb_1199_c081_82da32_1.bin"
);

/// Starts an `up` that is online by IPv4, and returns it with its status.
fn online(options: &[&str]) -> (Up, Value) {
    let fixed = [
        "--ip-type",
        "ipv4",
        "--apn",
        "internet",
        "--route",
        "192.0.2.0/24",
    ];
    let up = Up::online(&[&fixed, options].concat());
    let status = up.status();
    (up, status)
}

/// Sends datagrams to an address beyond the modem, and returns the output of ping.
fn pings(up: &Up) -> String {
    up.inside(&["ping", "-c", "3", "-i", "0.2", "192.0.2.1"])
}

/// The facts that a capture shows of a modem.
#[derive(Debug)]
struct Told {
    /// The device descriptor and the configurations that were read.
    descriptors: Vec<String>,
    parameters: String,
    addresses: Value,
    firmware: Value,
    /// Whether the NDPs of the modem's NTBs follow the datagrams.
    ndp_at_end: bool,
}

fn told(capture: &Path) -> Told {
    let shown = uwwan(&["capture", "show", "--json", "--show-personal"])
        .arg(capture)
        .output()
        .unwrap();
    let entries = forms::lines("capture show", succeeds(&shown));
    let answer = |cid: &str| {
        let mut messages = entries.iter().filter(|entry| {
            let message = &entry["message"];
            message["cid"] == cid
                && message["type"] == "command_done"
                && message["status"] == "none"
        });
        messages.next().expect(cid)["message"].clone()
    };
    let mut descriptors: Vec<String> = entries
        .iter()
        .filter(|entry| {
            let request = entry["request"].as_str().unwrap_or_default();
            request.starts_with("GET_DESCRIPTOR value 0x01")
                || request.starts_with("GET_DESCRIPTOR value 0x02")
        })
        .map(|entry| entry["data"].as_str().unwrap().to_owned())
        .filter(|data| data.len() > 36 || data.starts_with("1201"))
        .collect();
    descriptors.sort();
    descriptors.dedup();
    let parameters = entries.iter().find(|entry| {
        let request = entry["request"].as_str().unwrap_or_default();
        request.starts_with("GET_NTB_PARAMETERS")
    });
    let mut caps = answer("device_caps");
    let mut addresses = answer("ip_configuration");
    for message in [&mut caps, &mut addresses] {
        message["transaction_id"] = Value::Null;
    }
    let blocks = uwwan(&["ntb", "decode", "--direction", "in", "--json"])
        .arg(capture)
        .output()
        .unwrap();
    let blocks = String::from_utf8_lossy(&blocks.stdout).into_owned();
    let (mut front, mut end) = (0, 0);
    for block in forms::lines("ntb decode", &blocks) {
        front += u64::from(block["direction"] == "in" && block["ndp"] == "front");
        end += u64::from(block["direction"] == "in" && block["ndp"] == "end");
    }
    assert!(front + end > 0, "no NTB: {blocks}");
    Told {
        descriptors,
        parameters: parameters.unwrap()["data"].as_str().unwrap().to_owned(),
        addresses,
        firmware: caps,
        ndp_at_end: end > front,
    }
}

fn assert_same(first: &Told, again: &Told) {
    assert!(again.descriptors.len() > 1, "{:?}", again.descriptors);
    for descriptor in &again.descriptors {
        assert!(first.descriptors.contains(descriptor), "{descriptor}");
    }
    assert_eq!(first.parameters, again.parameters);
    assert_eq!(first.addresses, again.addresses);
    assert_eq!(first.firmware, again.firmware);
    assert_eq!(first.ndp_at_end, again.ndp_at_end);
}

/// Brings the modem in a capture online, sends datagrams through it, and returns the facts that a
/// capture of that shows.
fn again(capture: &str, folder: &Path) -> Told {
    let file: PathBuf = folder.join("again.pcapng");
    let (up, status) = online(&["--like", capture, "--capture", file.to_str().unwrap()]);
    let pings = pings(&up);
    assert!(pings.contains(" 3 received"), "{pings}\n{status}");
    up.down();
    told(&file)
}

#[test]
fn a_modem_that_uwwan_captured_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.pcapng");
    let file = file.to_str().unwrap();
    let mut options = vec!["--descriptors", SIERRA, "--capture", file];
    for knob in [
        "ndp_place=front",
        "black_hole_ndp_front=off",
        "ntb_remainder=2",
        "ntb_in_divisor=8",
        "ntb_in_max=32768",
        "ntb_out_max=8192",
        "ntb_max_datagrams=5",
        "ipv4_address=100.64.7.9",
        "ipv4_prefix=29",
        "ipv4_gateway=100.64.7.10",
        "mtu=1420",
        "firmware_info=LAB_01.02",
        "connect_ms=120",
    ] {
        options.extend(["--knob", knob]);
    }
    let (up, status) = online(&options);
    assert!(status.to_string().contains("100.64.7.9"), "{status}");
    let pings = pings(&up);
    assert!(pings.contains(" 3 received"), "{pings}");
    up.down();
    let first = told(Path::new(file));
    assert!(!first.ndp_at_end);
    assert!(
        first.parameters.starts_with("1c000300"),
        "{}",
        first.parameters
    );
    assert_same(&first, &again(file, folder.path()));
}

#[test]
fn a_further_session_has_its_captured_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.pcapng");
    let file = file.to_str().unwrap();
    let session = ["--session", "1:apn=lab,ip-type=ipv4"];
    let addresses = "session_addresses=1:100.65.0.9-100.65.0.10";
    let has_both = |options: &[&str]| {
        let (up, _) = online(&[&session, options].concat());
        up.until("the address of session 1", |status| {
            status["sessions"][0]["addresses"]["ipv4"]["address"] == "100.65.0.9"
        });
        up.down();
    };
    has_both(&["--knob", addresses, "--capture", file]);
    has_both(&["--like", file]);
}

#[test]
fn a_modem_that_tcpdump_captured_from_the_kernel_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    assert_same(&told(Path::new(KERNEL)), &again(KERNEL, folder.path()));
}

#[test]
fn what_a_capture_does_not_hold_is_told() {
    let output = uwwan(&["info", "--device", "emulator", "--like", KERNEL, "--json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let info = forms::json("info", succeeds(&output));
    assert!(info.to_string().contains("11.617.13.00.00"), "{info}");
    assert!(errors.contains("like 03f0:a31d"), "{errors}");
    // This capture begins when everything runs: it is a part of the same one.
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late.pcap");
    let whole = std::fs::read(KERNEL).unwrap();
    std::fs::write(&late, &whole[..24]).unwrap();
    let output = uwwan(&["info", "--device", "emulator", "--like"])
        .arg(&late)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("there is no modem in the capture"),
        "{errors}"
    );
    std::fs::write(&late, &whole[..whole.len() - 5]).unwrap();
    let output = uwwan(&["info", "--device", "emulator", "--like"])
        .arg(&late)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(
        errors.contains("is not used to its end: at byte"),
        "{errors}"
    );
    let output = uwwan(&["info", "--like", KERNEL, "--device", "1-99"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("--device emulator"), "{errors}");
}

#[test]
fn a_signal_ends_a_command_that_waits_for_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let commands: [&[&str]; 4] = [
        &["info"],
        &["at", "--nmea"],
        &["ipv6", "enable", "--yes"],
        &["record", "recorded.pcapng"],
    ];
    for (words, option) in
        commands
            .into_iter()
            .zip(["--like", "--rules", "--descriptors", "--like"])
    {
        let mut child = uwwan(words)
            .args(["--device", "emulator", option])
            .arg(&pipe)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The other end can be opened once the command waits for its own. Nothing is written.
        let begun = Instant::now();
        let end = loop {
            let open = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match rustix::fs::open(&pipe, open, Mode::empty()) {
                Err(Errno::NXIO) if begun.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                end => break end.unwrap(),
            }
        };
        rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(Signal::TERM.as_raw()), "{words:?}");
        drop(end);
    }
}
