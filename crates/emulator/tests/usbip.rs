//! The USB/IP server, used as `usbip` and `vhci_hcd` use it.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::emulator;
use uwwan_emulator::Server;
use uwwan_emulator::usbip::listen;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The request is OP_REQ_DEVLIST, version 1.1.1.
const DEVLIST: [u8; 8] = [1, 0x11, 0x80, 5, 0, 0, 0, 0];

/// Returns OP_REQ_IMPORT for "1-1".
fn import_request() -> Vec<u8> {
    let mut bytes = vec![1, 0x11, 0x80, 3, 0, 0, 0, 0];
    bytes.extend(b"1-1");
    bytes.resize(8 + 32, 0);
    bytes
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address().unwrap()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A host that has imported the device.
struct Host {
    stream: TcpStream,
    sequence: u32,
}

impl Host {
    fn import(server: &Server) -> Self {
        let mut stream = connect(server);
        stream.write_all(&import_request()).unwrap();
        let answer = read(&mut stream, 8 + 312);
        assert_eq!(answer[..8], [1, 0x11, 0, 3, 0, 0, 0, 0]);
        assert_eq!(answer[8 + 300..8 + 304], [0x03, 0xf0, 0xa3, 0x1d]);
        Self {
            stream,
            sequence: 0,
        }
    }

    fn submit(&mut self, endpoint: u32, is_in: bool, setup: [u8; 8], length: u32, data: &[u8]) {
        self.sequence += 1;
        let mut bytes = Vec::new();
        for word in [
            1,
            self.sequence,
            0x0001_0002,
            u32::from(is_in),
            endpoint,
            0,
            length,
            0,
            0,
            0,
        ] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(setup);
        bytes.extend(data);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Returns command, sequence, status and actual length in the header of the next answer.
    fn answer(&mut self) -> (u32, u32, i32, u32) {
        let header = read(&mut self.stream, 48);
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        (word(0), word(4), word(20) as i32, word(24))
    }

    fn control_in(&mut self, setup: [u8; 8]) -> Result<Vec<u8>, i32> {
        let length = u16::from_le_bytes([setup[6], setup[7]]);
        self.submit(0, true, setup, length.into(), &[]);
        let (command, sequence, status, actual) = self.answer();
        assert_eq!((command, sequence), (3, self.sequence));
        if status != 0 {
            return Err(status);
        }
        Ok(read(&mut self.stream, actual as usize))
    }

    fn control_out(&mut self, setup: [u8; 8], data: &[u8]) -> i32 {
        self.submit(0, false, setup, data.len() as u32, data);
        let (command, sequence, status, _) = self.answer();
        assert_eq!((command, sequence), (3, self.sequence));
        status
    }
}

#[test]
fn the_list_has_the_modem_and_its_interfaces() {
    let emulator = emulator("");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    let mut stream = connect(&server);
    stream.write_all(&DEVLIST).unwrap();
    let answer = read(&mut stream, 12 + 312 + 7 * 4);
    assert_eq!(answer[..12], [1, 0x11, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(answer[12 + 311], 7);
    assert_eq!(answer[12 + 312..12 + 316], [2, 6, 0, 0]);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the server hangs up");
}

#[test]
fn an_import_gives_the_device() {
    let emulator = emulator("settle_ms=0");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    let mut host = Host::import(&server);
    assert!(emulator.wait_exported(true, TIMEOUT));
    assert!(emulator.backend().devices().unwrap().is_empty());
    let device = host.control_in([0x80, 6, 0, 1, 0, 0, 64, 0]).unwrap();
    assert_eq!(device.len(), 18);
    assert_eq!(host.control_in([0x80, 6, 0, 0x0f, 0, 0, 5, 0]), Err(-32));
    assert_eq!(host.control_out([0, 9, 3, 0, 0, 0, 0, 0], &[]), 0);
    assert_eq!(host.control_out([1, 11, 1, 0, 1, 0, 0, 0], &[]), 0);
    // The host sends OPEN of MBIM, and gets its notification and its answer.
    host.submit(2, true, [0; 8], 16, &[]);
    let interrupt = host.sequence;
    let setup = [0x21, 0, 0, 0, 0, 0, 16, 0];
    host.submit(0, false, setup, 16, &common::OPEN);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_, sequence, status, actual) = host.answer();
        assert_eq!(status, 0);
        if sequence == interrupt {
            assert_eq!(actual, 8);
            assert_eq!(read(&mut host.stream, 8), [0xa1, 1, 0, 0, 0, 0, 0, 0]);
        }
        seen.push(sequence);
    }
    assert!(seen.contains(&interrupt));
    let done = host.control_in([0xa1, 1, 0, 0, 0, 0, 0, 4]).unwrap();
    assert_eq!(done[..4], [1, 0, 0, 0x80]);
    // A second host gets the answer that the device is busy.
    let mut other = connect(&server);
    other.write_all(&import_request()).unwrap();
    assert_eq!(read(&mut other, 8), [1, 0x11, 0, 3, 0, 0, 0, 2]);
    // A pending transfer is taken back.
    host.submit(1, true, [0; 8], 16384, &[]);
    let pending = host.sequence;
    host.sequence += 1;
    let mut unlink = Vec::new();
    for word in [2, host.sequence, 0, 0, 0, pending, 0, 0, 0, 0, 0, 0] {
        unlink.extend(word.to_be_bytes());
    }
    host.stream.write_all(&unlink).unwrap();
    assert_eq!(host.answer(), (4, host.sequence, -104, 0));
    assert_eq!(emulator.report().total_violations(), 0);
    drop(host);
    assert!(emulator.wait_exported(false, TIMEOUT));
    assert_eq!(emulator.backend().devices().unwrap().len(), 1);
    Host::import(&server);
}

/// An unlink comes with its transfer, too late to take it back: the transfer is answered first.
#[test]
fn a_late_unlink_is_answered_behind_its_transfer() {
    let emulator = emulator("");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    let mut host = Host::import(&server);
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_be_bytes()).collect() };
    for round in 0..20 {
        let (transfer, unlink) = (2 * round + 1, 2 * round + 2);
        // The transfer is GET_DESCRIPTOR of the device, which is answered at once.
        let mut bytes = words(&[1, transfer, 0x0001_0002, 1, 0, 0, 18, 0, 0, 0]);
        bytes.extend([0x80, 6, 0, 1, 0, 0, 18, 0]);
        bytes.extend(words(&[2, unlink, 0, 0, 0, transfer, 0, 0, 0, 0, 0, 0]));
        host.stream.write_all(&bytes).unwrap();
        assert_eq!(host.answer(), (3, transfer, 0, 18));
        assert_eq!(read(&mut host.stream, 18)[..2], [18, 1]);
        assert_eq!(host.answer(), (4, unlink, 0, 0));
    }
}

/// Requests that come as fast as possible neither keep the device from its owner nor exceed the
/// bounds of its memory.
#[test]
fn a_flood_does_not_keep_the_owner_out() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    // The requests are unlinks of transfers that do not exist, bulk IN transfers that wait, and
    // control transfers that are answered at once.
    let words = |words: [u32; 12]| words.map(u32::to_be_bytes).concat();
    let setup = [0x8006_0001, 0x0000_1200];
    let floods = [
        words([2, 9, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0]),
        words([1, 9, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
        words([1, 9, 0, 1, 0, 0, 18, 0, 0, 0, setup[0], setup[1]]),
    ];
    for (flood, read) in floods.iter().zip([true, true, false]) {
        let emulator = emulator("");
        let server = listen(&emulator, "127.0.0.1:0").unwrap();
        let mut host = Host::import(&server);
        assert!(emulator.wait_exported(true, TIMEOUT));
        let before = resident();
        let mut reader = host.stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut room = vec![0; 1 << 16];
            while read && reader.read(&mut room).is_ok_and(|length| length > 0) {}
        });
        let many = flood.repeat(1000);
        let (started, flooding) = std::sync::mpsc::channel();
        let writing = std::thread::spawn(move || {
            let mut sent = 0u64;
            while host.stream.write_all(&many).is_ok() {
                sent += 1;
                if sent == if read { 100 } else { 1 } {
                    let _ = started.send(());
                }
            }
        });
        flooding.recv_timeout(TIMEOUT).unwrap();
        // Orders are executed, and end the flood.
        emulator.unplug();
        assert!(!emulator.is_present());
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes more than before");
        drop(emulator);
        writing.join().unwrap();
        reading.join().unwrap();
    }
}

#[test]
fn a_firmware_reset_hangs_up() {
    let emulator = emulator("absent_ms=20");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    let mut host = Host::import(&server);
    assert!(emulator.wait_exported(true, TIMEOUT));
    emulator.reset_firmware();
    assert_eq!(host.stream.read(&mut [0]).unwrap_or(0), 0);
    assert!(emulator.wait_exported(false, TIMEOUT));
}

#[test]
fn strange_clients_are_survived() {
    let emulator = emulator("");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0; 8],
        &[0xff; 100],
        &DEVLIST[..3],
        &[1, 0x11, 0x80, 3, 0, 0, 0, 0, b'x'],
    ] {
        let mut stream = connect(&server);
        stream.write_all(bytes).unwrap();
        drop(stream);
    }
    let mut wrong = import_request();
    wrong[8] = b'9';
    let mut stream = connect(&server);
    stream.write_all(&wrong).unwrap();
    assert_eq!(read(&mut stream, 8), [1, 0x11, 0, 3, 0, 0, 0, 4]);
    // A host that sends nonsense after the import is cut off, and the next one is served.
    for nonsense in [vec![0xff; 4096], vec![0; 48]] {
        let mut host = loop {
            let mut stream = connect(&server);
            stream.write_all(&import_request()).unwrap();
            if read(&mut stream, 8)[7] == 0 {
                read(&mut stream, 312);
                break Host {
                    stream,
                    sequence: 0,
                };
            }
        };
        host.stream.write_all(&nonsense).unwrap();
        assert_eq!(host.stream.read(&mut [0]).unwrap_or(0), 0);
        assert!(emulator.wait_exported(false, TIMEOUT));
    }
    let mut host = Host::import(&server);
    assert!(host.control_in([0x80, 6, 0, 1, 0, 0, 18, 0]).is_ok());
}

#[test]
fn dropping_the_server_or_the_emulator_first_is_fine() {
    let emulator = emulator("");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    let host = Host::import(&server);
    drop(server);
    drop(emulator);
    drop(host);
    let emulator = common::emulator("");
    let server = listen(&emulator, "127.0.0.1:0").unwrap();
    drop(emulator);
    drop(server);
}
