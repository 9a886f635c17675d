//! DHCP client: the IPv4 address, its gateway, the MTU and the name servers (RFC 2131 and RFC 2132).
//!
//! The link carries raw IP. A client without link-layer address asks for broadcast answers and
//! identifies itself by a random one (RFC 2131, 4.1).

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};

use super::repeat::{LONGEST_PAUSE, Repeat};
use crate::addresses::Given;
use crate::packet::{self, DHCP_CLIENT, DHCP_SERVER};

/// Pause after a server has refused an address.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// Number of times that an offer is requested before another one is looked for.
pub(super) const MOST_REQUESTS: u32 = 4;
/// Lease time in seconds where the server gives none.
const USUAL_LEASE: u32 = 3600;
/// Options that are requested: mask, router, name servers, MTU (RFC 2132).
const WANTED: [u8; 4] = [1, 3, 6, 26];
/// Option of the MTU, which smoltcp leaves to its caller.
const OPTION_MTU: u8 = 26;

/// Returns whether an IPv4 datagram is a server's message to a client.
pub(super) fn is_answer(datagram: &[u8]) -> bool {
    message(datagram).is_some()
}

/// Returns the DHCP message in a datagram to a client.
fn message(datagram: &[u8]) -> Option<&[u8]> {
    let udp = packet::udp_over_ipv4(datagram)?;
    (packet::udp_ports(datagram)? == (DHCP_SERVER, DHCP_CLIENT))
        .then(|| udp.get(8..))
        .flatten()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The client looks for an offer.
    Discovering,
    /// The client has requested an offer, and waits for the server's answer.
    Requesting {
        offered: Ipv4Addr,
        server: Ipv4Addr,
        tries: u32,
    },
    /// The address is leased.
    Bound {
        server: Ipv4Addr,
        /// Time from which any server is asked to renew the lease.
        rebind: Instant,
        until: Instant,
        /// Whether a renewal has been requested, so that an answer may come.
        renewing: bool,
    },
}

/// Lease of a server.
#[derive(Debug)]
struct Lease {
    address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    prefix: u32,
    gateway: Option<Ipv4Addr>,
    servers: Vec<Ipv4Addr>,
    /// MTU in bytes, 0 when the server gave none.
    mtu: u32,
}

/// DHCP client of one link.
#[derive(Debug)]
pub(super) struct Dhcp {
    begun: Instant,
    /// Random Ethernet address by which the client identifies itself.
    hardware: [u8; 6],
    /// Secret from which the transaction ids are made, so that no other station can guess them.
    secret: RandomState,
    /// Number of exchanges with servers that were begun.
    exchanges: u64,
    pub(super) state: State,
    repeat: Repeat,
    lease: Option<Lease>,
}

impl Dhcp {
    /// Begins to look for an offer; `number` and `secret` are random.
    pub(super) fn new(now: Instant, number: u64, secret: RandomState) -> Self {
        let [_, _, mut hardware @ ..] = number.to_be_bytes();
        // The address is locally administered, and that of a single station.
        hardware[0] = hardware[0] & 0xfc | 0x02;
        Self {
            begun: now,
            hardware,
            secret,
            exchanges: 0,
            state: State::Discovering,
            repeat: Repeat::from(now),
            lease: None,
        }
    }

    /// Returns whether an address is leased.
    pub(super) fn is_settled(&self) -> bool {
        self.lease.is_some()
    }

    /// Puts the leased configuration in place of the modem's.
    pub(super) fn give(&self, given: &mut Given) {
        if let Some(lease) = &self.lease {
            given.ipv4 = vec![(lease.address, lease.prefix)];
            given.gateway4 = lease.gateway;
            if !lease.servers.is_empty() {
                given.dns4.clone_from(&lease.servers);
            }
            if lease.mtu != 0 {
                given.mtu4 = lease.mtu;
            }
        }
    }

    /// Returns the time at which [`Dhcp::timeout`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.repeat.next
    }

    /// Returns the message that is due, and whether the lease has run out.
    pub(super) fn timeout(&mut self, now: Instant, settled: bool) -> Option<(Vec<u8>, bool)> {
        if !self.repeat.is_due(now) {
            return None;
        }
        let mut lost = false;
        match &mut self.state {
            State::Bound { until, .. } if now >= *until => {
                self.forget(now);
                lost = true;
            }
            State::Bound { renewing, .. } if !*renewing => {
                *renewing = true;
                self.exchanges += 1;
            }
            State::Requesting { tries, .. } if *tries >= MOST_REQUESTS => self.forget(now),
            State::Requesting { tries, .. } => *tries += 1,
            State::Bound { .. } | State::Discovering => {}
        }
        let message = self.request(now);
        if let State::Bound { rebind, until, .. } = self.state {
            // The next request is after half of the remaining time (RFC 2131, 4.4.5).
            let end = if now < rebind { rebind } else { until };
            let half = end.saturating_duration_since(now) / 2;
            self.repeat.next = Some(end.min(now + half.max(LONGEST_PAUSE)));
        } else {
            self.repeat.sent(now, settled);
        }
        Some((message, lost))
    }

    /// Gives the address up and begins to look for an offer at `next`.
    fn forget(&mut self, next: Instant) {
        self.lease = None;
        self.state = State::Discovering;
        self.exchanges += 1;
        self.repeat = Repeat::from(next);
    }

    /// Handles a datagram for which [`is_answer`] holds. Returns whether the lease is lost by it.
    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8]) -> bool {
        self.answer(now, datagram).unwrap_or(false)
    }

    /// Returns the id that ties answers to the requests of the present exchange.
    fn transaction(&self) -> u32 {
        self.secret.hash_one(self.exchanges) as u32
    }

    /// Returns the DHCP message of the state.
    fn request(&self, now: Instant) -> Vec<u8> {
        let ours = self.lease.as_ref().map(|lease| lease.address);
        let (message_type, requested, server, client) = match self.state {
            State::Discovering => (DhcpMessageType::Discover, None, None, None),
            State::Requesting {
                offered, server, ..
            } => (DhcpMessageType::Request, Some(offered), Some(server), None),
            State::Bound { .. } => (DhcpMessageType::Request, None, None, ours),
        };
        // The server that leased the address renews it, and later any server (RFC 2131, 4.4.5).
        let to = match (self.state, client) {
            (State::Bound { server, rebind, .. }, Some(_)) if now < rebind => server,
            _ => Ipv4Addr::BROADCAST,
        };
        let hardware = EthernetAddress(self.hardware);
        let from = client.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let message = DhcpRepr {
            message_type,
            transaction_id: self.transaction(),
            secs: now.duration_since(self.begun).as_secs().min(0xffff) as u16,
            client_hardware_address: hardware,
            client_ip: from,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: client.is_none(),
            requested_ip: requested,
            client_identifier: Some(hardware),
            server_identifier: server,
            parameter_request_list: Some(&WANTED),
            dns_servers: None,
            max_size: Some(1432),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        datagram(&message, from, to)
    }

    /// Does as [`Dhcp::handle`]; `None` means that the answer is ignored.
    fn answer(&mut self, now: Instant, datagram: &[u8]) -> Option<bool> {
        let message = message(datagram)?;
        let packet = DhcpPacket::new_checked(message).ok()?;
        let answer = DhcpRepr::parse(&packet).ok()?;
        if answer.transaction_id != self.transaction() {
            return None;
        }
        let server = answer.server_identifier;
        match (self.state, answer.message_type) {
            (State::Discovering, DhcpMessageType::Offer) if is_usable(answer.your_ip) => {
                self.state = State::Requesting {
                    offered: answer.your_ip,
                    server: server?,
                    tries: 0,
                };
                self.repeat = Repeat::from(now);
            }
            (State::Requesting { .. } | State::Bound { .. }, DhcpMessageType::Ack)
                if is_usable(answer.your_ip) && self.awaits(now, server?, true) =>
            {
                let length = answer
                    .subnet_mask
                    .map_or(32, |mask| mask.to_bits().leading_ones());
                let mut options = packet.options();
                let mtu = options.find(|option| option.kind == OPTION_MTU);
                let mtu =
                    mtu.and_then(|option| option.data.try_into().ok().map(u16::from_be_bytes));
                self.lease = Some(Lease {
                    address: answer.your_ip,
                    prefix: length,
                    gateway: answer.router,
                    servers: answer.dns_servers.iter().flatten().copied().collect(),
                    mtu: mtu.map_or(0, u32::from),
                });
                let lease = answer.lease_duration.unwrap_or(USUAL_LEASE).max(60);
                let renew = answer.renew_duration.unwrap_or(lease / 2);
                let renew = renew.clamp(30, lease / 2);
                self.state = State::Bound {
                    server: server?,
                    rebind: now + Duration::from_secs((lease - lease / 8).into()),
                    renewing: false,
                    until: now + Duration::from_secs(lease.into()),
                };
                self.repeat.next = Some(now + Duration::from_secs(renew.into()));
            }
            (State::Requesting { .. } | State::Bound { .. }, DhcpMessageType::Nak)
                if self.awaits(now, server?, false) =>
            {
                let lost = matches!(self.state, State::Bound { .. });
                self.forget(now + REFUSED_PAUSE);
                return Some(lost);
            }
            _ => return None,
        }
        Some(false)
    }

    /// Returns whether an answer of this server is expected. Any server may grant a request that
    /// went to all.
    fn awaits(&self, now: Instant, from: Ipv4Addr, grants: bool) -> bool {
        match self.state {
            State::Requesting { server, .. } => from == server,
            State::Bound {
                server,
                rebind,
                renewing,
                ..
            } => renewing && (from == server || grants && now >= rebind),
            State::Discovering => false,
        }
    }
}

/// Returns whether a host can have this address.
fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast())
}

/// Returns a DHCP message to a server as a datagram.
pub(super) fn datagram(message: &DhcpRepr<'_>, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr {
        src_port: DHCP_CLIENT,
        dst_port: DHCP_SERVER,
    };
    let length = message.buffer_len();
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + length,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + ip.payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(from),
        &IpAddress::Ipv4(to),
        length,
        // The buffer has the message's own length.
        |payload| {
            message
                .emit(&mut DhcpPacket::new_unchecked(payload))
                .unwrap_or_default()
        },
        &checksums,
    );
    bytes
}
