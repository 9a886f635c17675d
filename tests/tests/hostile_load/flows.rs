//! Flows of numbered datagrams, and streams whose every byte is verified.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uwwan_netstack::pattern;
use uwwan_netstack::server::HTTP_PORT;

use crate::bench::PATIENCE;
use crate::far::{ADDRESS, DOWN, Far, UP};

/// Number of datagrams under way at once. It is less than any queue on the path holds.
pub const WINDOW: u64 = 64;
/// Time without any progress after which the datagrams under way count as lost.
const LOST: Duration = Duration::from_millis(300);

/// Returns the payload of datagram `number`: the number, then bytes derived from it, 8 to 1191 in
/// all.
pub fn payload(number: u64) -> Vec<u8> {
    let length = 8 + (number * 37 % 1184) as usize;
    let mut bytes = vec![0; length];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    pattern::fill(number, &mut bytes[8..]);
    bytes
}

/// Record of the datagrams of a flow that have arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One more than the highest number.
    pub end: u64,
    /// Number of datagrams that were the next or a later one.
    pub good: u64,
    /// Number of datagrams that should have come before another, or came twice.
    pub out_of_order: u64,
    /// Number of datagrams that are not what was sent.
    pub damaged: u64,
}

impl Ledger {
    pub fn note(&mut self, bytes: &[u8]) {
        let number = bytes
            .first_chunk()
            .map(|number| u64::from_be_bytes(*number));
        match number {
            Some(number) if number < 1 << 40 && payload(number) == bytes => {
                if number < self.end {
                    self.out_of_order += 1;
                } else {
                    self.end = number + 1;
                    self.good += 1;
                }
            }
            _ => self.damaged += 1,
        }
    }

    /// Returns the number of datagrams that never came.
    pub fn missing(&self) -> u64 {
        self.end - self.good
    }

    /// Checks that the datagrams came in order, each once, unchanged.
    pub fn assert_sound(&self, which: &str) {
        assert_eq!(
            (self.out_of_order, self.damaged),
            (0, 0),
            "{which}: {self:?}"
        );
    }
}

/// Starts both flows, which run until they are stopped.
pub fn both(far: &Arc<Far>, stop: &Arc<AtomicBool>) -> Running {
    let (up_far, up_stop) = (Arc::clone(far), Arc::clone(stop));
    let (down_far, down_stop) = (Arc::clone(far), Arc::clone(stop));
    Running {
        up: std::thread::spawn(move || send_up(&up_far, &up_stop)),
        down: std::thread::spawn(move || receive_down(&down_far, &down_stop)),
        stop: Arc::clone(stop),
    }
}

/// Flows that are running.
pub struct Running {
    up: std::thread::JoinHandle<u64>,
    down: std::thread::JoinHandle<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Ends both flows. Returns how many datagrams were sent up, and the record of those that came
    /// down.
    pub fn end(self) -> (u64, Ledger) {
        self.stop.store(true, Ordering::SeqCst);
        (
            self.up.join().expect("the flow up"),
            self.down.join().expect("the flow down"),
        )
    }
}

/// Sends until `stop` is set, and then until the last datagram has arrived. Returns how many there
/// were.
fn send_up(far: &Far, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, UP)).expect("a socket");
    let mut number = 0;
    let mut progress = (0, Instant::now());
    let mut ending: Option<Instant> = None;
    loop {
        let seen = far.up().end;
        if seen != progress.0 {
            progress = (seen, Instant::now());
        }
        if stop.load(Ordering::SeqCst) {
            let begun = *ending.get_or_insert_with(Instant::now);
            if seen == number {
                return number;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the flow up has dried up at {seen} of {number}"
            );
        }
        let stuck = progress.1.elapsed() >= LOST;
        let room = number < seen + WINDOW && ending.is_none();
        if !room && !stuck {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        if stuck {
            progress.1 = Instant::now();
        }
        match socket.send_to(&payload(number), (ADDRESS, UP)) {
            Ok(_) => number += 1,
            // There is no route while the interface is down, or no room in its queue.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Receives until `stop` is set, and then until the last datagram has arrived.
fn receive_down(far: &Far, stop: &AtomicBool) -> Ledger {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DOWN)).expect("a socket");
    socket.set_read_timeout(Some(LOST)).expect("a timeout");
    let mut ledger = Ledger::default();
    let mut buffer = [0; 2048];
    let mut ending: Option<Instant> = None;
    loop {
        if stop.load(Ordering::SeqCst) {
            let begun = *ending.get_or_insert_with(|| {
                far.halt();
                Instant::now()
            });
            if ledger.end == far.sent() {
                return ledger;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the flow down has dried up: {ledger:?}"
            );
        } else {
            far.allow(ledger.end + WINDOW);
        }
        match socket.recv(&mut buffer) {
            Ok(length) => ledger.note(&buffer[..length]),
            // The datagrams under way are lost; one more shows how many they were.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                far.allow(far.sent() + 1);
            }
            Err(error) => panic!("receiving: {error}"),
        }
    }
}

fn connect() -> TcpStream {
    let target = SocketAddr::from((ADDRESS, HTTP_PORT));
    let stream = TcpStream::connect_timeout(&target, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Reads up to the empty line behind the head.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
        assert!(head.len() < 4096, "no end of the answer's head");
    }
    String::from_utf8(head).expect("text")
}

/// Downloads and verifies every byte.
pub fn download(bytes: u64) {
    let mut stream = connect();
    let request = format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: far\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    while received < bytes {
        let count = stream.read(&mut buffer).expect("data");
        assert!(count > 0, "cut off after {received} bytes");
        assert_eq!(
            pattern::mismatch(received, &buffer[..count]),
            None,
            "behind byte {received}"
        );
        received += count as u64;
    }
    assert_eq!(received, bytes);
}

/// Uploads. The far side must report the same checksum.
pub fn upload(bytes: u64) {
    let mut stream = connect();
    let request = format!(
        "PUT /upload HTTP/1.1\r\nHost: far\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut buffer = vec![0; 64 * 1024];
    let mut sum = crc32fast::Hasher::new();
    let mut sent = 0;
    while sent < bytes {
        let length = (bytes - sent).min(buffer.len() as u64) as usize;
        pattern::fill(sent, &mut buffer[..length]);
        sum.update(&buffer[..length]);
        stream.write_all(&buffer[..length]).expect("sent");
        sent += length as u64;
    }
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let expected = format!("{{\"bytes\":{bytes},\"crc32\":\"{:08x}\"}}", sum.finalize());
    assert_eq!(answer.trim(), expected);
}
