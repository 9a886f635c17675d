//! Captures, read by Wireshark's own dissectors (tshark).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::running::{PATIENCE, Up, succeeds, text, uwwan};

/// Returns the output of tshark for the packets that `filter` matches, a line each.
fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    // A datagram that stands in the file as an IP packet as well looks like a retransmission.
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-r"]);
    command.arg(file).args(["-Y", filter]);
    if !fields.is_empty() {
        command.args(["-T", "fields"]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs (tools/setup)");
    let lines = succeeds(&output);
    lines.lines().map(str::to_owned).collect()
}

/// Checks that Wireshark finds nothing malformed in a file that belongs to its owner alone.
fn is_sound(file: &Path) {
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!tshark(file, "usb", &["frame.number"]).is_empty());
    let malformed = tshark(
        file,
        "_ws.malformed || _ws.expert.group == \"Malformed\"",
        &[],
    );
    assert_eq!(malformed, [""; 0]);
}

/// Returns the names of the MBIM messages in the file, in order.
fn messages(file: &Path) -> Vec<String> {
    tshark(file, "mbim.control.header.message_type", &["_ws.col.Info"])
}

fn has_in_order(messages: &[String], wanted: &[&str]) {
    let mut rest = messages.iter();
    for name in wanted {
        assert!(
            rest.any(|message| message.contains(name)),
            "no {name} in {messages:#?}"
        );
    }
}

const BRING_UP: [&str; 6] = [
    "OPEN_MSG",
    "OPEN_DONE",
    "DEVICE_CAPS (Query)",
    "REGISTER_STATE",
    "CONNECT (Set)",
    "IP_CONFIGURATION (Query)",
];

#[test]
fn wireshark_understands_a_bring_up_with_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.pcapng");
    let output = uwwan(&["demo", "--bytes", "300k", "--capture"])
        .arg(&whole)
        .output()
        .unwrap();
    let told = succeeds(&output);
    assert!(told.contains("everything worked"), "{told}");
    is_sound(&whole);
    let names = messages(&whole);
    has_in_order(&names, &BRING_UP);
    assert!(!tshark(&whole, "mbim && icmp", &["frame.number"]).is_empty());
    assert!(!tshark(&whole, "mbim && tcp", &["frame.number"]).is_empty());
    // The file has both directions of every kind, and Wireshark matches the answers.
    for filter in [
        "usb.transfer_type == 1 && usb.urb_type == 'C'",
        "usb.transfer_type == 2 && usb.urb_type == 'C' && usb.time",
        "usb.transfer_type == 3 && usb.endpoint_address.direction == 0 && usb.urb_type == 'S'",
        "usb.transfer_type == 3 && usb.endpoint_address.direction == 1 && usb.urb_type == 'C'",
    ] {
        assert!(
            !tshark(&whole, filter, &["frame.number"]).is_empty(),
            "{filter}"
        );
    }
    // Without --capture-force the file is not replaced.
    let again = uwwan(&["info", "--device", "emulator", "--capture"])
        .arg(&whole)
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--capture-force"));
    assert_eq!(messages(&whole), names);
}

#[test]
fn what_is_shortened_is_still_understood() {
    let folder = tempfile::tempdir().unwrap();
    let mut lengths = Vec::new();
    for name in ["short.pcapng", "short.pcapng.zst"] {
        let file = folder.path().join(name);
        let options = ["--snap", "64", "--capture-ip", "--capture"];
        let output = uwwan(&["demo", "--bytes", "600k"])
            .args(options)
            .arg(&file)
            .output()
            .unwrap();
        succeeds(&output);
        is_sound(&file);
        has_in_order(&messages(&file), &BRING_UP);
        // The NTBs' datagrams keep their length, the IP packets are cut.
        let framed = tshark(&file, "mbim && tcp.len > 1000", &["frame.number"]);
        assert!(!framed.is_empty());
        let cut = tshark(&file, "!usb && tcp.len > 1000", &["frame.cap_len"]);
        assert!(
            !cut.is_empty() && cut.iter().all(|length| length == "64"),
            "{cut:?}"
        );
        let shown = uwwan(&["capture", "show", "--json", "--cid", "connect"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(succeeds(&shown).contains("\"cid\":\"connect\""));
        lengths.push(std::fs::metadata(&file).unwrap().len());
    }
    // Bytes that are left out take room in the plain file alone.
    assert!(lengths[1] * 2 < lengths[0], "{lengths:?}");
}

/// With CDC ECM each transfer is a frame without an NTB around it.
#[test]
fn frames_without_ntbs_are_shortened_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ecm.pcapng");
    let output = uwwan(&["lab", "sweep", "--device", "emulator", "--tries", "1"])
        .args(["--wait", "5", "--snap", "64", "--capture-ip", "--capture"])
        .arg(&file)
        .args(["--", "--mode", "ecm"])
        .output()
        .unwrap();
    assert!(succeeds(&output).contains("delivered"));
    is_sound(&file);
    let long = "!usb && icmp && frame.len > 1000";
    let lengths = tshark(&file, long, &["frame.cap_len", "ip.len"]);
    assert!(!lengths.is_empty());
    assert!(lengths.iter().all(|line| line == "64\t1400"), "{lengths:?}");
    let frames = tshark(&file, "usb.capdata && frame.len > 1000", &["usb.capdata"]);
    assert!(!frames.is_empty());
    for frame in frames {
        assert!(frame[128..].bytes().all(|digit| digit == b'0'), "{frame}");
    }
}

#[test]
fn secrets_stay_out_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin");
    std::fs::write(&pin, "87654321\n").unwrap();
    std::fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
    let wanted: Vec<u8> = "87654321"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, further, there) in [("a", None, false), ("b", Some("--capture-secrets"), true)] {
        let file = folder.path().join(format!("{name}.pcapng"));
        let output = uwwan(&[
            "pin",
            "enter",
            "--device",
            "emulator",
            "--knob",
            "pin=87654321",
        ])
        .arg("--pin-file")
        .arg(&pin)
        .arg("--capture")
        .arg(&file)
        .args(further)
        .env("UWWAN_STATE_DIR", folder.path())
        .output()
        .unwrap();
        succeeds(&output);
        has_in_order(&messages(&file), &["PIN (Set)"]);
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(wanted.len()).any(|window| window == wanted);
        assert_eq!(found, there, "{further:?}");
        assert!(tshark(&file, "_ws.malformed", &[]).is_empty());
    }
}

/// Begins a capture of a running `up`. Returns the client that writes it, and the unread rest of
/// its standard error.
fn begin(up: &Up, file: &Path) -> (Child, BufReader<ChildStderr>) {
    let mut capture = up
        .command(&["capture", "start"])
        .arg(file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(capture.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("capturing"), "{line}");
    (capture, told)
}

#[test]
fn wireshark_understands_what_begins_late() {
    let up = Up::online(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late.pcapng");
    let (mut capture, _told) = begin(&up, &file);
    succeeds(&up.ask(&["signal"]));
    // The datagrams go to an address beyond the modem.
    let sent = up.inside(&["ping", "-c", "2", "-i", "0.2", "10.169.198.78"]);
    succeeds(&up.ask(&["capture", "stop"]));
    assert!(capture.wait().unwrap().success());
    is_sound(&file);
    has_in_order(&messages(&file), &["SIGNAL_STATE (Query)", "SIGNAL_STATE"]);
    assert!(
        !tshark(&file, "mbim && icmp", &["frame.number"]).is_empty(),
        "{sent}"
    );
}

#[test]
fn an_interrupt_ends_a_capture_with_its_statistics() {
    let up = Up::online(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("interrupted.pcapng");
    let (mut capture, _told) = begin(&up, &file);
    succeeds(&up.ask(&["signal"]));
    let id = rustix::process::Pid::from_child(&capture);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match capture.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                capture.kill().unwrap();
                panic!("the interrupt is not heard");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}");
    is_sound(&file);
    let bytes = std::fs::read(&file).unwrap();
    // The Interface Statistics Block (pcapng, 4.6) is the last one of the file.
    let length = bytes
        .last_chunk::<4>()
        .map(|word| u32::from_le_bytes(*word) as usize);
    let block = length
        .and_then(|length| bytes.get(bytes.len() - length..))
        .unwrap();
    assert_eq!(block[..4], 5u32.to_le_bytes());
}

/// A USB/IP host that can do just enough to open the control session
/// (Documentation/usb/usbip_protocol.rst).
struct Host {
    stream: TcpStream,
    sequence: u32,
}

impl Host {
    fn import(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = vec![0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0];
        request.extend(b"1-1");
        request.resize(8 + 32, 0);
        stream.write_all(&request).unwrap();
        let mut answer = [0; 8 + 312];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[4..8], [0; 4], "imported");
        Self {
            stream,
            sequence: 0,
        }
    }

    /// Makes a control request and returns its status and the received data.
    fn control(&mut self, setup: [u8; 8], sent: &[u8]) -> (i32, Vec<u8>) {
        self.sequence += 1;
        let is_in = setup[0] & 0x80 != 0;
        let length = u32::from(u16::from_le_bytes([setup[6], setup[7]]));
        let mut request = Vec::new();
        for word in [
            1,
            self.sequence,
            0x0001_0002,
            u32::from(is_in),
            0,
            0,
            length,
            0,
            0,
            0,
        ] {
            request.extend(word.to_be_bytes());
        }
        request.extend(setup);
        request.extend(sent);
        self.stream.write_all(&request).unwrap();
        let mut head = [0; 48];
        self.stream.read_exact(&mut head).unwrap();
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let mut came = vec![0; if is_in { word(24) as usize } else { 0 }];
        self.stream.read_exact(&mut came).unwrap();
        (word(20).cast_signed(), came)
    }
}

#[test]
fn wireshark_understands_a_host_of_the_emulated_modem() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("usbip.pcapng");
    let mut emulate = uwwan(&["emulate", "--listen", "127.0.0.1:0", "--capture"])
        .args([&file])
        .env("UWWAN_RUNTIME_DIR", folder.path())
        .args(["--knob", "silent_after_direct_switch=off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(emulate.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(rest) = line.strip_prefix("listening on ") {
            break rest.split(';').next().unwrap().to_owned();
        }
    };
    let mut host = Host::import(&address);
    let (status, descriptor) = host.control([0x80, 6, 0, 1, 0, 0, 18, 0], &[]);
    assert_eq!((status, descriptor.len()), (0, 18));
    assert_eq!(host.control([0x00, 9, 3, 0, 0, 0, 0, 0], &[]).0, 0);
    let open = [1u32, 16, 1, 4096].map(u32::to_le_bytes).concat();
    assert_eq!(host.control([0x21, 0, 0, 0, 0, 0, 16, 0], &open).0, 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, came) = host.control([0xa1, 1, 0, 0, 0, 0, 0, 16], &[]);
        if status == 0 && came.starts_with(&[1, 0, 0, 0x80]) {
            break;
        }
        assert!(Instant::now() < deadline, "OPEN is not answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    let id = rustix::process::Pid::from_raw(emulate.id().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    lines.for_each(drop);
    assert!(emulate.wait().unwrap().success());
    is_sound(&file);
    has_in_order(&messages(&file), &["OPEN_MSG", "OPEN_DONE"]);
    let asked = tshark(&file, "usb.idVendor == 0x03f0", &["usb.idProduct"]);
    assert!(asked.iter().any(|product| product == "0xa31d"), "{asked:?}");
}

#[test]
fn questions_to_the_network_are_captured() {
    let folder = tempfile::tempdir().unwrap();
    let ping = |capture: &str, further: &[&str]| {
        let mut command = uwwan(&["ping", "--device", "emulator", "--settle", "0.2"]);
        command.args(["--count", "1", "192.0.2.77", "--capture", capture]);
        command.args(further).current_dir(folder.path());
        command.env("UWWAN_RUNTIME_DIR", folder.path());
        command.output().unwrap()
    };
    // The capture alone is on standard output, and the text on standard error.
    let output = ping("-", &[]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 of 1 answered"), "{told}");
    let file = folder.path().join("ping.pcapng");
    ping(file.to_str().unwrap(), &["--capture-ip"]);
    is_sound(&file);
    let pinged = "mbim && icmp && ip.addr == 192.0.2.77";
    let piped = folder.path().join("piped.pcapng");
    std::fs::write(&piped, &output.stdout).unwrap();
    for file in [&file, &piped] {
        has_in_order(&messages(file), &BRING_UP);
        assert!(!tshark(file, pinged, &["frame.number"]).is_empty());
    }
}

#[test]
fn a_program_that_has_standard_output_is_not_captured_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut exec = uwwan(&["exec", "--device", "emulator", "--capture", "-"]);
    exec.env("UWWAN_RUNTIME_DIR", folder.path());
    let output = exec.args(["--", "echo", "said"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    assert!(told.contains("standard output is the program's"), "{told}");
}
