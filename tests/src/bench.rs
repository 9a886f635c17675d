//! A driver on an emulated modem, with a datagram socket as the host end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::host::Sockets;
use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::options::SessionOptions;
use uwwan_modem::status::Addresses;
use uwwan_modem::{Event, Failure, Handle, HostConfig, Modem, Options, Selector};
use uwwan_usb::device::Backend;

/// Time that is long enough for any step on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A driver on an emulated modem.
pub struct Bench {
    /// The modem.
    pub emulator: Arc<Emulator>,
    /// The driver.
    pub handle: Handle,
    /// Events that nobody has waited for yet.
    pub events: Receiver<Event>,
    /// Events so far that were waited for or passed over.
    pub seen: Vec<Event>,
    /// The hosts' ends.
    pub sockets: Sockets,
    sequence: u16,
}

/// Returns options that keep tests short; the emulator's settling time is set to match.
pub fn quick() -> Options {
    Options {
        settle: Some(Duration::from_millis(60)),
        probe: false,
        ..Options::default()
    }
}

/// Returns the same options, with choices for session 0.
pub fn quick_session(session: SessionOptions) -> Options {
    Options {
        sessions: vec![session],
        ..quick()
    }
}

/// An emulated modem that settles and comes back soon.
pub fn emulator(knobs: &str) -> Arc<Emulator> {
    let knobs: Knobs = format!("settle_ms=20,absent_ms=200,{knobs}")
        .parse()
        .unwrap();
    Arc::new(Emulator::new(knobs, FarSide::BuiltIn).unwrap())
}

impl Bench {
    /// Starts on an emulated modem with these knobs.
    pub fn start(knobs: &str, options: Options) -> Self {
        Self::on(emulator(knobs), options, |_, _| {}).unwrap()
    }

    /// Starts a driver on an emulator. `watch` is called with each event on a thread of its own.
    pub fn on(
        emulator: Arc<Emulator>,
        options: Options,
        watch: impl FnMut(&Emulator, &Event) + Send + 'static,
    ) -> Result<Self, Failure> {
        let backend = emulator.backend();
        Self::through(emulator, backend, options, watch)
    }

    /// Starts a driver on an emulator that is reached through `backend`.
    pub fn through(
        emulator: Arc<Emulator>,
        backend: Arc<dyn Backend>,
        options: Options,
        mut watch: impl FnMut(&Emulator, &Event) + Send + 'static,
    ) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel();
        let (relay, relayed) = mpsc::channel::<Event>();
        let watched = Arc::clone(&emulator);
        std::thread::spawn(move || {
            for event in relayed {
                watch(&watched, &event);
                let _ = sender.send(event);
            }
        });
        let sockets = Sockets::default();
        let handle = Modem::start(
            backend,
            Selector::Any,
            options,
            Box::new(sockets.clone()),
            Box::new(move |event| {
                let _ = relay.send(event);
            }),
        )?;
        Ok(Self {
            emulator,
            handle,
            events,
            seen: Vec::new(),
            sockets,
            sequence: 0,
        })
    }

    /// Waits for an event that `fits` accepts.
    pub fn until(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!(
                    "{what} did not happen; status {:#?}; events {:#?}; violations {:#?}",
                    self.handle.status(),
                    self.seen,
                    self.emulator.report().violations
                );
            };
            self.seen.push(event.clone());
            if fits(&event) {
                return event;
            }
            if let Event::Stopped { failure } = &event {
                panic!(
                    "stopped before {what}: {failure:?}; events {:#?}",
                    self.seen
                );
            }
        }
    }

    /// Waits until the driver is online.
    pub fn online(&mut self) {
        self.until("online", |event| event.is_online());
        let status = self.handle.status();
        assert!(
            status.interface().is_some() || !status.online,
            "{status:#?}"
        );
    }

    /// The addresses of session 0.
    pub fn addresses(&self) -> Addresses {
        self.handle
            .status()
            .addresses()
            .expect("no addresses")
            .clone()
    }

    /// Waits for the end of the driver, and returns the failure with which it ended.
    pub fn failure(&mut self) -> Failure {
        let end = self.until("the end", |event| matches!(event, Event::Stopped { .. }));
        let Event::Stopped { failure } = end else {
            unreachable!()
        };
        let failure = failure.expect("no failure");
        assert_eq!(self.handle.wait(), Err(failure.clone()));
        failure
    }

    /// Returns the settings and the test's side of the host end that was made last.
    pub fn host(&self) -> (HostConfig, Arc<UnixDatagram>) {
        let config = self.sockets.told().configs.last().cloned();
        (config.expect("a host's end"), self.sockets.last())
    }

    /// Returns whether the host end that was made last has a carrier.
    pub fn has_carrier(&self) -> bool {
        let told = self.sockets.told();
        let made = told.configs.last().and_then(|one| one.ethernet.as_ref());
        let later = told.carriers.last().copied();
        later.unwrap_or_else(|| made.is_some_and(|ethernet| ethernet.carrier))
    }

    /// Returns the number of host ends that were made.
    pub fn host_ends(&self) -> usize {
        self.sockets.told().theirs.len()
    }

    /// Sends an echo request of `length` bytes, and returns its sequence number.
    fn send_echo(&mut self, length: usize) -> u16 {
        let from = self.addresses().ipv4.expect("no IPv4").address;
        let socket = self.sockets.last();
        self.send_echo_from(from, &socket, length)
    }

    /// Sends an echo request of `length` bytes from an address through a host end, and returns its sequence
    /// number.
    pub fn send_echo_from(&mut self, from: Ipv4Addr, host: &UnixDatagram, length: usize) -> u16 {
        self.sequence += 1;
        let packet = echo(from, Ipv4Addr::new(9, 9, 9, 9), self.sequence, length);
        host.send(&packet).unwrap();
        self.sequence
    }

    /// Returns whether an answer with this sequence number comes within `timeout`. Others are
    /// skipped.
    fn answered(&self, sequence: u16, timeout: Duration) -> bool {
        let socket = self.sockets.last();
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            socket.set_read_timeout(Some(left)).unwrap();
            let Ok(length) = socket.recv(&mut buffer) else {
                continue;
            };
            if echo_reply(&buffer[..length]) == Some(sequence) {
                return true;
            }
        }
    }

    /// Sends a numbered UDP datagram to the echo service of the far side.
    pub fn send_numbered(&self, number: u32) {
        let from = self.addresses().ipv4.expect("no IPv4").address;
        let mut packet = echo(from, Ipv4Addr::new(9, 9, 9, 9), 0, 600);
        packet[9] = 17;
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        // These are the ports, the length, and no checksum (RFC 768).
        packet[20..28].copy_from_slice(&[0x30, 0x39, 0, 7, 2, 68, 0, 0]);
        packet[28..32].copy_from_slice(&number.to_be_bytes());
        self.sockets.last().send(&packet).unwrap();
    }

    /// Returns the number of the next numbered datagram that comes back within `timeout`.
    pub fn receive_numbered(&self, timeout: Duration) -> Option<u32> {
        let socket = self.sockets.last();
        socket.set_read_timeout(Some(timeout)).unwrap();
        let mut buffer = [0; 2048];
        loop {
            let length = socket.recv(&mut buffer).ok()?;
            if length == 600 && buffer[9] == 17 {
                return buffer[28..].first_chunk().map(|n| u32::from_be_bytes(*n));
            }
        }
    }

    /// Returns whether one echo request is answered.
    pub fn ping(&mut self, length: usize, timeout: Duration) -> bool {
        let sequence = self.send_echo(length);
        self.answered(sequence, timeout)
    }

    /// Returns whether an address answers an ICMPv6 echo request from the host's address within
    /// `timeout`.
    pub fn answers_ipv6(&mut self, to: Ipv6Addr, timeout: Duration) -> bool {
        let from = self.addresses().ipv6.expect("no IPv6").address;
        let request = icmpv6(from, to, 64, &[128, 0, 0, 0, 0, 1, 0, 1]);
        self.exchange6(&request, timeout, |packet| {
            (packet[40] == 129 && packet[8..24] == to.octets()).then_some(())
        })
        .is_some()
    }

    /// Solicits a router from the host's link-local address, and returns the prefix in its
    /// advertisement.
    pub fn solicit_router(&mut self, timeout: Duration) -> Option<Ipv6Addr> {
        let from = self.addresses().ipv6.expect("no IPv6").address;
        let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let solicitation = icmpv6(from, routers, 255, &[133, 0, 0, 0, 0, 0, 0, 0]);
        self.exchange6(&solicitation, timeout, |packet| {
            // The message has type, flags and lifetimes, then a prefix option with its prefix at
            // offset 16.
            let prefix = packet.get(56 + 16..56 + 32)?;
            (packet[40] == 134 && packet[56] == 3)
                .then(|| Ipv6Addr::from(<[u8; 16]>::try_from(prefix).unwrap()))
        })
    }

    /// Sends an ICMPv6 message again and again until an answer fits.
    fn exchange6<T>(
        &self,
        request: &[u8],
        timeout: Duration,
        fits: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let socket = self.sockets.last();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            socket.send(request).unwrap();
            while let Ok(length) = socket.recv(&mut buffer) {
                let packet = &buffer[..length];
                let icmpv6 = packet.len() > 40 && packet[0] >> 4 == 6 && packet[6] == 58;
                if let Some(found) = icmpv6.then(|| fits(packet)).flatten() {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Pings until one is answered, because after a reset the first may be lost.
    pub fn ping_through(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ping(100, Duration::from_secs(1)) {
            assert!(
                Instant::now() < deadline,
                "nothing comes back: {:#?}",
                self.handle.status()
            );
        }
    }

    /// Sends many pings of all sizes, some at once; none may be lost.
    pub fn ping_many(&mut self) {
        for round in 0..20 {
            let sent: Vec<u16> = (0..8)
                .map(|n| self.send_echo(28 + (round * 8 + n) * 9))
                .collect();
            let last = *sent.last().unwrap();
            for sequence in sent {
                assert!(
                    self.answered(sequence, PATIENCE),
                    "ping {sequence} of {last} was lost"
                );
            }
        }
    }

    /// Stops the driver, and checks that the device has seen no violation.
    pub fn stop(mut self) {
        self.handle.stop();
        self.until("the stop", |event| {
            matches!(event, Event::Stopped { failure: None })
        });
        assert_eq!(self.handle.wait(), Ok(()));
        let report = self.emulator.report();
        assert_eq!(report.total_violations(), 0, "{:#?}", report.violations);
    }
}

/// Returns an ICMP echo request (RFC 792) of `length` bytes with its IPv4 header.
pub fn echo(from: Ipv4Addr, to: Ipv4Addr, sequence: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![0u8; length.max(28)];
    packet[0] = 0x45;
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = 64;
    packet[9] = 1;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[20] = 8;
    packet[26..28].copy_from_slice(&sequence.to_be_bytes());
    for (index, byte) in packet[28..].iter_mut().enumerate() {
        *byte = index as u8;
    }
    let sum = checksum(&packet[20..]);
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The sequence number of a packet that is an ICMP echo reply.
pub fn echo_reply(packet: &[u8]) -> Option<u16> {
    let reply = packet.len() >= 28 && packet[0] == 0x45 && packet[9] == 1 && packet[20] == 0;
    reply.then(|| u16::from_be_bytes([packet[26], packet[27]]))
}

/// An ICMPv6 message (RFC 4443) in its packet.
fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let length = message.len() as u8;
    let mut packet = vec![0x60, 0, 0, 0, 0, length, 58, hop_limit];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    let mut summed = packet[8..40].to_vec();
    summed.extend([0, 0, 0, length, 0, 0, 0, 58]);
    summed.extend(message);
    let sum = checksum(&summed);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
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

/// Returns whether there are addresses of IPv4 and of IPv6; every address must be usable.
pub fn families(addresses: &Addresses) -> (bool, bool) {
    let list = addresses.list();
    let parse = |text: &String| text.split('/').next().unwrap().parse::<IpAddr>().unwrap();
    let any = |v4: bool| list.iter().any(|text| parse(text).is_ipv4() == v4);
    (any(true), any(false))
}
