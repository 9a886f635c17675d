//! A driver with several data sessions on an emulated modem; datagram sockets as host's ends, told
//! apart by the names of the interfaces asked for.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::options::SessionOptions;
use uwwan_modem::status::SessionStatus;
use uwwan_modem::{Event, Handle, Modem, Options, Selector};
use uwwan_tests::host::Sockets;

/// Long enough for any step on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A driver on an emulated modem.
pub struct Bench {
    pub emulator: Arc<Emulator>,
    pub handle: Handle,
    events: Receiver<Event>,
    seen: Vec<Event>,
    sockets: Sockets,
    sequence: u16,
}

/// A session beside session 0; its interface is named after it.
pub fn session(id: u8) -> SessionOptions {
    SessionOptions {
        id,
        apn: format!("apn{id}"),
        tun_name: Some(format!("s{id}")),
        ..SessionOptions::default()
    }
}

/// Options that keep tests short, with these sessions beside session 0.
pub fn options(others: Vec<SessionOptions>) -> Options {
    let first = SessionOptions {
        tun_name: Some("s0".into()),
        ..SessionOptions::default()
    };
    Options {
        settle: Some(Duration::from_millis(60)),
        probe: false,
        sessions: [vec![first], others].concat(),
        ..Options::default()
    }
}

impl Bench {
    pub fn start(knobs: &str, options: Options) -> Self {
        let knobs: Knobs = format!("settle_ms=20,absent_ms=200,{knobs}")
            .parse()
            .unwrap();
        let emulator = Arc::new(Emulator::new(knobs, FarSide::BuiltIn).unwrap());
        let (sender, events) = mpsc::channel();
        let sockets = Sockets::default();
        let handle = Modem::start(
            emulator.backend(),
            Selector::Any,
            options,
            Box::new(sockets.clone()),
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )
        .unwrap();
        Self {
            emulator,
            handle,
            events,
            seen: Vec::new(),
            sockets,
            sequence: 0,
        }
    }

    /// Waits for an event that fits.
    pub fn until(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!(
                    "{what} did not happen; status {:#?}; events {:#?}",
                    self.handle.status(),
                    self.seen
                );
            };
            self.seen.push(event.clone());
            if fits(&event) {
                return event;
            }
        }
    }

    /// Waits until session 0 and these are online.
    pub fn online(&mut self, sessions: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.handle.status();
            let up = |id: &u8| {
                let found = status.sessions.iter().find(|one| one.session == *id);
                found.is_some_and(|one| one.online)
            };
            if status.online && sessions.iter().all(up) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn session(&self, id: u8) -> SessionStatus {
        let status = self.handle.status();
        let found = status.sessions.into_iter().find(|one| one.session == id);
        found.expect("no such session")
    }

    /// How many host's ends were made.
    pub fn host_ends(&self) -> usize {
        self.sockets.told().theirs.len()
    }

    fn with_socket<T>(&self, id: u8, act: impl FnOnce(&UnixDatagram) -> T) -> T {
        act(&self.sockets.named(&format!("s{id}")))
    }

    /// Sends an echo request from a session's address; returns its number.
    pub fn send_echo(&mut self, id: u8, length: usize) -> u16 {
        self.sequence += 1;
        let from = uwwan_emulator::far_side::v4(id).address;
        let packet = echo(from, self.sequence, length);
        self.with_socket(id, |socket| socket.send(&packet)).unwrap();
        self.sequence
    }

    /// The number of the next echo answered on a session, and whether it is for its address.
    pub fn answer(&self, id: u8, timeout: Duration) -> Option<u16> {
        let to = uwwan_emulator::far_side::v4(id).address.octets();
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            let length = self.with_socket(id, |socket| {
                socket
                    .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                    .unwrap();
                socket.recv(&mut buffer).ok()
            });
            let Some(length) = length else { continue };
            let packet = &buffer[..length];
            if length >= 28 && packet[0] == 0x45 && packet[9] == 1 && packet[20] == 0 {
                assert_eq!(packet[16..20], to, "a datagram of another session");
                return Some(u16::from_be_bytes([packet[26], packet[27]]));
            }
        }
    }

    /// Pings until one comes back: after a change the first may be lost.
    pub fn ping_through(&mut self, id: u8) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent = self.send_echo(id, 100);
            if self.answer(id, Duration::from_secs(1)) == Some(sent) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "nothing comes back on session {id}"
            );
        }
    }

    /// Stops, and looks at what the device saw.
    pub fn stop(self) {
        self.handle.stop();
        assert_eq!(self.handle.wait(), Ok(()));
        let report = self.emulator.report();
        assert_eq!(report.total_violations(), 0, "{:#?}", report.violations);
    }
}

/// An ICMP echo request (RFC 792), `length` bytes with the IPv4 header.
fn echo(from: Ipv4Addr, sequence: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![0u8; length.max(28)];
    packet[0] = 0x45;
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = 64;
    packet[9] = 1;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&[9, 9, 9, 9]);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[20] = 8;
    packet[26..28].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(&packet[20..]);
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
