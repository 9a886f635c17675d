//! Whatever arrives over the link, the stack goes on.

mod support;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use support::{PATIENCE, connected, host};
use uwwan_netstack::client::Client;
use uwwan_netstack::link::PacketLink;
use uwwan_netstack::memory::{self, MemoryLink};
use uwwan_netstack::router::RouterAdvertisement;
use uwwan_netstack::server::{Server, ServerConfig};

/// Returns a valid packet of each kind that the stack knows, as the host stack sends it for ping,
/// TCP, UDP and DNS.
fn specimens() -> Vec<Vec<u8>> {
    let (mut far, near) = memory::pair(memory::Capacity::default());
    let client = Client::start(host(), near).expect("a client");
    let soon = Duration::from_millis(20);
    for to in ["8.8.8.8", "2001:db8::8"] {
        let to = support::address(to);
        let _ = client.ping(to, 20, soon);
        let _ = client.connect((to, 80).into(), soon);
        let _ = client
            .udp()
            .and_then(|socket| socket.send_to(b"1234567890", (to, 7).into()));
    }
    let _ = client.resolve_v4("test.uwwan", soon);
    let _ = client.ping(support::address("8.8.8.8"), 3000, soon);
    let mut specimens = Vec::new();
    let mut buffer = vec![0; 2000];
    while let Some(length) = far.receive(&mut buffer) {
        specimens.push(buffer[..length].to_vec());
    }
    assert!(specimens.len() >= 9, "{}", specimens.len());
    specimens
}

/// Polls until the server has nothing left to do at once.
fn settle(server: &mut Server<MemoryLink>, near: &mut MemoryLink) {
    let now = Instant::now();
    let mut buffer = vec![0; 70_000];
    for _ in 0..100 {
        let next = server.poll(now);
        while near.receive(&mut buffer).is_some() {}
        if next.is_none_or(|at| at > now) {
            return;
        }
    }
    panic!("the stack found work a hundred times without any time passing");
}

/// Returns a TCP segment to port 80 without data or checksums.
fn segment(port: u16, flags: u8, sequence: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    packet.extend([10, 0, 0, 2, 198, 51, 100, 1]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 80]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// Returns the sequence numbers of the SYNs that the server sends to a port.
fn syns(server: &mut Server<MemoryLink>, near: &mut MemoryLink, port: u16) -> Vec<[u8; 4]> {
    const SYN_ACK: u8 = 0x12;
    let mut syns = Vec::new();
    let mut packet = vec![0; 2000];
    server.poll(Instant::now());
    while near.receive(&mut packet).is_some() {
        if packet[22..24] == port.to_be_bytes() && packet[33] & SYN_ACK == SYN_ACK {
            syns.push([packet[24], packet[25], packet[26], packet[27]]);
        }
    }
    syns
}

#[test]
fn a_repeated_syn_opens_no_second_connection() {
    const SYN: u8 = 2;
    const RST: u8 = 4;
    let (mut server, mut near) = server();
    assert!(near.send(&segment(5001, SYN, 7)) && near.send(&segment(5002, SYN, 7)));
    let first = syns(&mut server, &mut near, 5002);
    assert_eq!(first.len(), 1);
    // The reset makes a socket listen again that comes before the one with the connection.
    assert!(near.send(&segment(5001, RST, 8)));
    syns(&mut server, &mut near, 5002);
    assert!(near.send(&segment(5002, SYN, 7)));
    let again = syns(&mut server, &mut near, 5002);
    assert!(
        again.iter().all(|sequence| *sequence == first[0]),
        "{first:?}, {again:?}"
    );
    assert_eq!(server.report().link.repeated_syns, 1);
    // A connection that has gone may be opened anew.
    assert!(near.send(&segment(5002, RST, 8)));
    syns(&mut server, &mut near, 5002);
    assert!(near.send(&segment(5002, SYN, 70)));
    assert_eq!(syns(&mut server, &mut near, 5002).len(), 1);
}

fn server() -> (Server<MemoryLink>, MemoryLink) {
    let (far, near) = memory::pair(memory::Capacity::default());
    // Checksums are off, so that every change gets past them to the code behind.
    let mut config = ServerConfig::default();
    config.stack.checksums = uwwan_netstack::Checksums::None;
    config.stack.tcp_buffer = 8192;
    config.router = Some(RouterAdvertisement::new(
        "fe80::1".parse().expect("an address"),
        "2001:db8:5::".parse().expect("an address"),
    ));
    (
        Server::new(config, far, Instant::now()).expect("a server"),
        near,
    )
}

#[test]
fn mutated_packets_never_stop_the_server() {
    let specimens = specimens();
    let strategy = (
        0..specimens.len(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
        proptest::bool::weighted(0.2),
    );
    let (mut server, mut near) = server();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20_000));
    let server = std::cell::RefCell::new((&mut server, &mut near));
    runner
        .run(&strategy, |(which, changes, cut, truncated)| {
            let mut packet = specimens[which].clone();
            for (at, value) in changes {
                let at = at.index(packet.len());
                packet[at] = value;
            }
            if truncated {
                packet.truncate(cut.index(packet.len()));
            }
            let mut both = server.borrow_mut();
            let (server, near) = &mut *both;
            near.send(&packet);
            settle(server, near);
            Ok(())
        })
        .expect("no packet is too much");
    let (server, near) = server.into_inner();
    settle(server, near);
    let report = server.report();
    assert!(
        report.link.received > 1000 && report.link.malformed > 100,
        "{report:?}"
    );
}

#[test]
fn noise_does_not_keep_others_from_being_served() {
    let (far, near) = memory::pair(memory::Capacity::default());
    let server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let client = Client::start(
        host(),
        Noisy {
            inner: near,
            state: 1,
        },
    )
    .expect("a client");
    for _ in 0..20 {
        client
            .ping(support::address("8.8.8.8"), 56, PATIENCE)
            .expect("a ping amid noise");
    }
    assert!(server.stop().link.malformed > 0);
}

/// A link that sends a few random bytes before each packet.
struct Noisy<L> {
    inner: L,
    state: u64,
}

impl<L: PacketLink> PacketLink for Noisy<L> {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.inner.receive(buffer)
    }
    fn ready(&mut self) -> bool {
        self.inner.ready()
    }
    fn send(&mut self, packet: &[u8]) -> bool {
        for _ in 0..10 {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let noise: Vec<u8> = (0..8)
                .flat_map(|i| (self.state >> i).to_le_bytes())
                .collect();
            self.inner.send(&noise[..(self.state >> 58) as usize]);
        }
        self.inner.send(packet)
    }
    fn closed(&self) -> bool {
        self.inner.closed()
    }
    fn waiter(&self) -> std::sync::Arc<dyn uwwan_netstack::link::Wait> {
        self.inner.waiter()
    }
}

#[test]
fn echo_from_nowhere_is_not_answered() {
    let (mut server, mut near) = server();
    // The packet is an ICMP echo request from 0.0.0.0.
    let mut packet = vec![
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8,
    ];
    packet.extend([8, 0, 0, 0, 0, 1, 0, 1]);
    near.send(&packet);
    server.poll(Instant::now());
    assert_eq!(near.receive(&mut [0; 100]), None);
    assert_eq!(server.report().link.bad_source, 1);
}

#[test]
fn router_solicitations_are_answered_when_configured() {
    let (far, mut near) = memory::pair(memory::Capacity::default());
    let mut server = Server::new(ServerConfig::default(), far, Instant::now()).expect("a server");
    let mut solicitation = vec![0x60, 0, 0, 0, 0, 8, 58, 255];
    solicitation.extend(
        "fe80::2"
            .parse::<std::net::Ipv6Addr>()
            .expect("an address")
            .octets(),
    );
    solicitation.extend(
        "ff02::2"
            .parse::<std::net::Ipv6Addr>()
            .expect("an address")
            .octets(),
    );
    // The checksum was calculated by hand: fe80 + 2 + ff02 + 2 + 8 + 58 + 8500, folded and
    // inverted.
    solicitation.extend([133, 0, 0x7d, 0x35, 0, 0, 0, 0]);
    let mut buffer = [0; 200];
    near.send(&solicitation);
    server.poll(Instant::now());
    assert_eq!(near.receive(&mut buffer), None, "nothing was configured");

    let router = RouterAdvertisement::new(
        "fe80::1".parse().expect("an address"),
        "2001:db8:5::".parse().expect("an address"),
    );
    let (mut near, far) = memory::pair(memory::Capacity::default());
    let config = ServerConfig {
        router: Some(router),
        ..ServerConfig::default()
    };
    let mut server = Server::new(config, far, Instant::now()).expect("a server");
    near.send(&solicitation);
    server.poll(Instant::now());
    let length = near
        .receive(&mut buffer)
        .expect("a solicited advertisement");
    assert_eq!(
        (buffer[40], &buffer[24..26]),
        (134, &[0xfe, 0x80][..]),
        "{length}"
    );
    assert_eq!(server.report().link.solicitations, 1);
}

#[test]
fn a_flood_of_connections_stays_bounded() {
    let specimens = specimens();
    let opening = specimens
        .iter()
        .find(|packet| packet[0] == 0x45 && packet[9] == 6)
        .expect("a TCP SYN among the specimens");
    let (mut server, mut near) = server();
    let mut packet = opening.clone();
    for port in 1..5000_u16 {
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        near.send(&packet);
        settle(&mut server, &mut near);
    }
    assert!(
        server.report().open_connections <= 256,
        "{:?}",
        server.report()
    );
}

#[test]
fn the_specimens_themselves_are_served() {
    let (server, client) = connected();
    client
        .ping(support::address("8.8.8.8"), 20, PATIENCE)
        .expect("a ping");
    assert_eq!(server.stop().link.malformed, 0);
}
