//! The network behind the modem: the built-in server, and the far ends of numbered flows.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uwwan_emulator::Network;
use uwwan_emulator::far_side::v4;
use uwwan_netstack::memory::{self, Capacity, MemoryLink};
use uwwan_netstack::server::{Server, ServerConfig, ServerThread};

use crate::flows::{Ledger, payload};

/// Address of the far machine.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Port of the flow towards the far machine, and of the flow from it.
pub const UP: u16 = 7001;
pub const DOWN: u16 = 7002;

type Notify = Arc<dyn Fn() + Send + Sync>;

/// Numbers of packets that the flow from the far machine may send, and has sent.
#[derive(Default)]
struct Down {
    allowed: u64,
    sent: u64,
}

/// State that the test and the network share.
#[derive(Default)]
pub struct Far {
    /// Record of the flow towards the far machine.
    up: Mutex<Ledger>,
    down: Mutex<Down>,
    /// Whether the network takes nothing.
    closed: AtomicBool,
    notify: Mutex<Option<Notify>>,
}

impl Far {
    /// Returns the record of the flow towards the far machine.
    pub fn up(&self) -> Ledger {
        *self.ledger()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many packets the flow from the far machine has sent.
    pub fn sent(&self) -> u64 {
        self.flow().sent
    }

    fn flow(&self) -> MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the flow from the far machine continue until that number of packets was sent.
    pub fn allow(&self, packets: u64) {
        let mut flow = self.flow();
        flow.allowed = flow.allowed.max(packets);
        drop(flow);
        self.wake();
    }

    /// Stops the flow from the far machine where it is.
    pub fn halt(&self) {
        let mut flow = self.flow();
        flow.allowed = flow.sent;
    }

    /// Makes the network take nothing any more, or everything again.
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let notify = self.notify.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = &*notify {
            notify();
        }
    }
}

/// The network itself.
pub struct FarNetwork {
    far: Arc<Far>,
    link: MemoryLink,
    _server: ServerThread,
    /// Whether it is the flow's turn to send, or else the server's.
    turn: bool,
}

impl FarNetwork {
    pub fn start() -> (Arc<Far>, Self) {
        let (link, other) = memory::pair(Capacity::default());
        let server = Server::spawn(ServerConfig::default(), other).expect("the built-in server");
        let far = Arc::<Far>::default();
        let network = Self {
            far: Arc::clone(&far),
            link,
            _server: server,
            turn: false,
        };
        (far, network)
    }

    fn next_of_flow(&self, room: &mut [u8]) -> Option<usize> {
        let mut flow = self.far.flow();
        if flow.sent >= flow.allowed {
            return None;
        }
        let number = flow.sent;
        flow.sent += 1;
        drop(flow);
        let packet = udp(ADDRESS, v4(0).address, DOWN, &payload(number));
        room[..packet.len()].copy_from_slice(&packet);
        Some(packet.len())
    }
}

impl Network for FarNetwork {
    fn send(&mut self, packet: &[u8]) -> bool {
        if self.far.closed.load(Ordering::SeqCst) {
            return false;
        }
        // The packet is UDP behind an IPv4 header without options, to the port of the flow.
        if packet.len() >= 28
            && packet[0] == 0x45
            && packet[9] == 17
            && packet[22..24] == UP.to_be_bytes()
        {
            self.far.ledger().note(&packet[28..]);
            return true;
        }
        Network::send(&mut self.link, packet)
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        self.turn = !self.turn;
        if self.turn {
            self.next_of_flow(room)
                .or_else(|| Network::receive(&mut self.link, room))
        } else {
            Network::receive(&mut self.link, room).or_else(|| self.next_of_flow(room))
        }
    }

    fn on_event(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        let notify: Notify = notify.into();
        *self
            .far
            .notify
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&notify));
        self.link.on_event(move || notify());
    }

    fn advance(&mut self) -> Option<Duration> {
        None
    }
}

/// Returns a UDP datagram (RFC 768) in its IPv4 packet, with the same port at both ends.
fn udp(from: Ipv4Addr, to: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((20 + length).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let header = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&header.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let pseudo = [&[0, 17][..], &length.to_be_bytes()].concat();
    let sum = match checksum(&[&packet[12..20], &pseudo, &packet[20..]]) {
        0 => 0xffff,
        sum => sum,
    };
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Returns the Internet checksum (RFC 1071) of pieces, each of which but the last has an even
/// length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
