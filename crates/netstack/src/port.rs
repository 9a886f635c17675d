//! smoltcp's device over a packet link, with the inspection of received packets.

use std::collections::HashSet;

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{IpEndpoint, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};

use crate::inspect::{Verdict, inspect};
use crate::link::{MAX_PACKET, PacketLink};
use crate::router::RouterAdvertisement;

/// Largest number of packets dropped in a row before the poll continues.
const MAX_DROPS: usize = 256;

/// Counters of the packets that crossed a link, and of those that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkCounters {
    /// Number of packets given to the stack.
    pub received: u64,
    /// Number of bytes of the packets given to the stack.
    pub received_bytes: u64,
    /// Number of packets sent.
    pub sent: u64,
    /// Number of bytes of the packets sent.
    pub sent_bytes: u64,
    /// Number of packets dropped because they are not IP, or because their lengths do not fit.
    pub malformed: u64,
    /// Number of packets dropped because their source is unspecified, loopback, multicast or
    /// broadcast.
    pub bad_source: u64,
    /// Number of packets dropped because their destination is a group, broadcast or loopback
    /// address.
    pub not_for_hosts: u64,
    /// Number of SYNs dropped because the connection that they would open exists.
    pub repeated_syns: u64,
    /// Number of router solicitations answered.
    pub solicitations: u64,
    /// Number of replies lost because the link had no room.
    pub no_room: u64,
}

/// The two ends of a TCP connection: that of the peer, and that of this stack.
pub(crate) type Connection = (IpEndpoint, IpEndpoint);

/// Connections that peers have opened. smoltcp gives a SYN to the first socket that takes it. That
/// may be a listening one although another socket has the connection, so that the peer would have
/// two at once.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) open: HashSet<Connection>,
    /// Whether a SYN has been passed since the owner of the sockets last checked.
    pub(crate) asked: bool,
}

pub(crate) struct Port<L> {
    pub(crate) link: L,
    pub(crate) counters: LinkCounters,
    pub(crate) router: Option<RouterAdvertisement>,
    /// Connections of the sockets that listen; `None` where no socket listens.
    pub(crate) connections: Option<Connections>,
    /// Whether [`Device::receive`] stopped at [`MAX_DROPS`], so that more packets may wait.
    pub(crate) interrupted: bool,
    mtu: usize,
    checksum: ChecksumCapabilities,
    incoming: Box<[u8]>,
    outgoing: Box<[u8]>,
}

impl<L: PacketLink> Port<L> {
    pub(crate) fn new(link: L, mtu: usize, checksum: ChecksumCapabilities) -> Port<L> {
        Port {
            link,
            counters: LinkCounters::default(),
            router: None,
            connections: None,
            interrupted: false,
            mtu,
            checksum,
            incoming: vec![0; MAX_PACKET].into_boxed_slice(),
            outgoing: vec![0; MAX_PACKET].into_boxed_slice(),
        }
    }

    /// Returns whether a packet is a SYN for a connection that exists, and otherwise notes the
    /// connection.
    fn is_repeated(&mut self, length: usize) -> bool {
        let Some(connections) = &mut self.connections else {
            return false;
        };
        let Some(opened) = opens(&self.incoming[..length]) else {
            return false;
        };
        connections.asked = true;
        !connections.open.insert(opened)
    }

    fn solicited(&mut self, length: usize) {
        let answer = self
            .router
            .as_ref()
            .and_then(|router| router.answer(&self.incoming[..length]));
        match answer {
            Some(packet) if self.link.send(&packet) => {
                self.counters.solicitations += 1;
                self.counters.sent += 1;
                self.counters.sent_bytes += packet.len() as u64;
            }
            Some(_) => self.counters.no_room += 1,
            None => self.counters.not_for_hosts += 1,
        }
    }
}

/// Returns the connection that a packet opens, if it is a SYN.
fn opens(packet: &[u8]) -> Option<Connection> {
    let (source, target, protocol, payload) = match packet.first()? >> 4 {
        4 => {
            let packet = Ipv4Packet::new_checked(packet).ok()?;
            if packet.frag_offset() != 0 {
                return None;
            }
            let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
            (source, target, packet.next_header(), packet.payload())
        }
        _ => {
            let packet = Ipv6Packet::new_checked(packet).ok()?;
            let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
            (source, target, packet.next_header(), packet.payload())
        }
    };
    if protocol != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(payload).ok()?;
    let peer = IpEndpoint::new(source, segment.src_port());
    let own = IpEndpoint::new(target, segment.dst_port());
    (segment.syn() && !segment.ack()).then_some((peer, own))
}

impl<L: PacketLink> Device for Port<L> {
    type RxToken<'a>
        = Incoming<'a>
    where
        L: 'a;
    type TxToken<'a>
        = Outgoing<'a, L>
    where
        L: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_, L>)> {
        let mut dropped = 0;
        let length = loop {
            let length = self.link.receive(&mut self.incoming)?;
            match inspect(&self.incoming[..length]) {
                Verdict::Pass if self.is_repeated(length) => self.counters.repeated_syns += 1,
                Verdict::Pass => break length,
                Verdict::RouterSolicitation => self.solicited(length),
                Verdict::Malformed => self.counters.malformed += 1,
                Verdict::BadSource => self.counters.bad_source += 1,
                Verdict::NotForHosts => self.counters.not_for_hosts += 1,
            }
            dropped += 1;
            if dropped == MAX_DROPS {
                self.interrupted = true;
                return None;
            }
        };
        self.counters.received += 1;
        self.counters.received_bytes += length as u64;
        // A packet is received even when there is no room to answer: if both ends waited for room
        // first, neither would ever make any.
        Some((
            Incoming(&self.incoming[..length]),
            Outgoing {
                link: &mut self.link,
                buffer: &mut self.outgoing,
                counters: &mut self.counters,
            },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_, L>> {
        self.link.ready().then_some(Outgoing {
            link: &mut self.link,
            buffer: &mut self.outgoing,
            counters: &mut self.counters,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities.checksum = self.checksum.clone();
        capabilities
    }
}

pub(crate) struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Outgoing<'a, L> {
    link: &'a mut L,
    buffer: &'a mut [u8],
    counters: &'a mut LinkCounters,
}

impl<L: PacketLink> TxToken for Outgoing<'_, L> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        // smoltcp never builds a packet longer than the MTU, which is at most MAX_PACKET.
        let packet = &mut self.buffer[..length];
        let result = f(packet);
        if self.link.send(packet) {
            self.counters.sent += 1;
            self.counters.sent_bytes += length as u64;
        } else {
            self.counters.no_room += 1;
        }
        result
    }
}
