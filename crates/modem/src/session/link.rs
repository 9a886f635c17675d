//! Addresses over the link of a data session whose modem tells none: DHCP for IPv4 (RFC 2131), and
//! router advertisements for IPv6 (RFC 4861 and 4862), as ModemManager and OpenWrt do it.
//!
//! The link is one of raw IP. A client without link-layer address asks for broadcast answers and
//! names itself by a random one (RFC 2131, 4.1).

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};
use uwwan_mbim::services::basic_connect::ContextIpType;

use crate::addresses::Given;
use crate::packet::{ICMPV6, UDP, fold, pseudo6, sum};

/// Pause before an unanswered request is repeated for the first time; each repetition doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between repetitions while the session waits for an address.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Longest pause between repetitions once the session has one (RFC 7559, section 2).
const LONGEST_IDLE_PAUSE: Duration = Duration::from_secs(3600);
/// Pause after a server has refused an address.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// Number of times an offer is asked for before another one is looked for.
const MOST_REQUESTS: u32 = 4;
/// Time for which a second family is waited for once the first has come.
const GRACE: Duration = Duration::from_secs(3);
/// Lease in seconds where the server tells none.
const USUAL_LEASE: u32 = 3600;
/// Ports of DHCP's server and client.
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Options asked for: mask, router, name servers, MTU (RFC 2132).
const WANTED: [u8; 4] = [1, 3, 6, 26];
/// Option of the MTU, which smoltcp leaves to its caller.
const OPTION_MTU: u8 = 26;
/// Types of router solicitation and advertisement (RFC 4861, 4.1 and 4.2).
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Options of a router advertisement (RFC 4861, 4.6; RFC 8106, 5.1).
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const NAME_SERVERS: u8 = 25;
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Returns whether a datagram from the network is about the configuration of the link: an answer of
/// a DHCP server, or a router advertisement.
pub(crate) fn is_configuration(datagram: &[u8]) -> bool {
    match datagram.first().map(|byte| byte >> 4) {
        Some(4) => dhcp_part(datagram).is_some(),
        Some(6) => {
            datagram.get(6) == Some(&ICMPV6) && datagram.get(40) == Some(&ROUTER_ADVERTISEMENT)
        }
        _ => false,
    }
}

/// Returns the DHCP message in a datagram to a client.
fn dhcp_part(datagram: &[u8]) -> Option<&[u8]> {
    if datagram.get(9) != Some(&UDP) {
        return None;
    }
    let udp = datagram.get(usize::from(datagram[0] & 0x0f) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    (port(0)? == SERVER_PORT && port(2)? == CLIENT_PORT)
        .then(|| udp.get(8..))
        .flatten()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dhcp {
    /// An offer is looked for.
    Discovering,
    /// The offer was taken, and the server's word is waited for.
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
        /// Whether a renewal has been asked for, so that an answer is to be expected.
        renewing: bool,
    },
    /// IPv4 is not wanted.
    Off,
}

/// Configuration of one link; see the [module](self).
#[derive(Debug)]
pub(crate) struct Link {
    begun: Instant,
    /// Random number that makes the host's interface identifier. Others on the network see it.
    number: u64,
    /// Secret from which the transaction ids are made, which nobody may guess.
    secret: RandomState,
    /// Number of exchanges with DHCP servers that were begun.
    exchanges: u64,
    dhcp: Dhcp,
    /// Whether IPv6 is wanted.
    slaac: bool,
    /// Times of the next DHCP message and router solicitation, and the pauses after them.
    next: [Option<Instant>; 2],
    pauses: [Duration; 2],
    given: Given,
    first_given: Option<Instant>,
}

/// What an answer has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Nothing,
    /// Addresses have come or changed.
    Addresses,
    /// The address is leased no more.
    Lost,
}

const V4: usize = 0;
const V6: usize = 1;

impl Link {
    /// Begins to configure a link of a session that was activated with `family`; `number` and
    /// `secret` are random.
    pub(crate) fn new(
        now: Instant,
        family: ContextIpType,
        number: u64,
        secret: RandomState,
    ) -> Self {
        let v4 = family != ContextIpType::IPV6;
        let v6 = family != ContextIpType::IPV4;
        Self {
            begun: now,
            number,
            secret,
            exchanges: 0,
            dhcp: if v4 { Dhcp::Discovering } else { Dhcp::Off },
            slaac: v6,
            next: [v4.then_some(now), v6.then_some(now)],
            pauses: [FIRST_PAUSE; 2],
            given: Given::default(),
            first_given: None,
        }
    }

    /// Returns what the link has given so far.
    pub(crate) fn given(&self) -> &Given {
        &self.given
    }

    /// Returns whether everything asked for has come, or one family has and the other had its time.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        let v4 = self.dhcp == Dhcp::Off || !self.given.ipv4.is_empty();
        let v6 = !self.slaac || !self.given.ipv6.is_empty();
        (v4 && v6) || self.grace().is_some_and(|at| now >= at)
    }

    fn grace(&self) -> Option<Instant> {
        self.first_given.map(|at| at + GRACE)
    }

    /// Returns the time at which [`Link::timeout`] is to be called.
    pub(crate) fn poll_timeout(&self, settled: bool) -> Option<Instant> {
        let grace = self.grace().filter(|_| !settled);
        self.next.into_iter().flatten().chain(grace).min()
    }

    /// Returns the datagrams due, and whether the lease has run out.
    pub(crate) fn timeout(&mut self, now: Instant) -> (Vec<Vec<u8>>, Change) {
        let mut out = Vec::new();
        let mut change = Change::Nothing;
        if self.next[V4].is_some_and(|at| now >= at) {
            match &mut self.dhcp {
                Dhcp::Bound { until, .. } if now >= *until => {
                    self.forget4(now);
                    change = Change::Lost;
                }
                Dhcp::Bound { renewing, .. } if !*renewing => {
                    *renewing = true;
                    self.exchanges += 1;
                }
                Dhcp::Requesting { tries, .. } if *tries >= MOST_REQUESTS => self.forget4(now),
                Dhcp::Requesting { tries, .. } => *tries += 1,
                _ => {}
            }
            out.extend(self.dhcp_request(now));
            self.rest(V4, now);
        }
        if self.next[V6].is_some_and(|at| now >= at) {
            out.push(self.solicitation());
            self.rest(V6, now);
        }
        (out, change)
    }

    fn rest(&mut self, family: usize, now: Instant) {
        if let Dhcp::Bound { rebind, until, .. } = self.dhcp
            && family == V4
        {
            // Half of the time that is left (RFC 2131, 4.4.5).
            let end = if now < rebind { rebind } else { until };
            let half = end.saturating_duration_since(now) / 2;
            self.next[V4] = Some(end.min(now + half.max(LONGEST_PAUSE)));
            return;
        }
        self.next[family] = Some(now + self.pauses[family]);
        let longest = if self.is_settled(now) {
            LONGEST_IDLE_PAUSE
        } else {
            LONGEST_PAUSE
        };
        self.pauses[family] = longest.min(self.pauses[family] * 2);
    }

    /// Gives the IPv4 address up and begins to look for an offer at once.
    fn forget4(&mut self, now: Instant) {
        self.given.ipv4.clear();
        self.given.gateway4 = None;
        self.given.dns4.clear();
        self.given.mtu4 = 0;
        if self.given.ipv6.is_empty() {
            self.first_given = None;
        }
        self.dhcp = Dhcp::Discovering;
        self.exchanges += 1;
        self.next[V4] = Some(now);
        self.pauses[V4] = FIRST_PAUSE;
    }

    /// Returns the id that ties answers to the requests of the present exchange.
    fn transaction(&self) -> u32 {
        self.secret.hash_one(self.exchanges) as u32
    }

    /// Returns the DHCP message of the state.
    fn dhcp_request(&self, now: Instant) -> Option<Vec<u8>> {
        let ours = self.given.ipv4.first().map(|(address, _)| *address);
        let (message_type, requested, server, client) = match self.dhcp {
            Dhcp::Discovering => (DhcpMessageType::Discover, None, None, None),
            Dhcp::Requesting {
                offered, server, ..
            } => (DhcpMessageType::Request, Some(offered), Some(server), None),
            Dhcp::Bound { .. } => (DhcpMessageType::Request, None, None, ours),
            Dhcp::Off => return None,
        };
        // The server that leased the address renews it, and later any (RFC 2131, 4.4.5).
        let to = match (self.dhcp, client) {
            (Dhcp::Bound { server, rebind, .. }, Some(_)) if now < rebind => server,
            _ => Ipv4Addr::BROADCAST,
        };
        let mut hardware = [0; 6];
        hardware.copy_from_slice(&self.number.to_be_bytes()[2..]);
        // Locally administered, of a single station.
        hardware[0] = hardware[0] & 0xfc | 0x02;
        let from = client.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let message = DhcpRepr {
            message_type,
            transaction_id: self.transaction(),
            secs: now.duration_since(self.begun).as_secs().min(0xffff) as u16,
            client_hardware_address: EthernetAddress(hardware),
            client_ip: from,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: client.is_none(),
            requested_ip: requested,
            client_identifier: Some(EthernetAddress(hardware)),
            server_identifier: server,
            parameter_request_list: Some(&WANTED),
            dns_servers: None,
            max_size: Some(1432),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        Some(datagram(&message, from, to))
    }

    /// Returns a router solicitation (RFC 4861, 4.1) from the host's link-local address.
    fn solicitation(&self) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, ICMPV6, 255];
        packet.extend(self.address_in([0xfe, 0x80, 0, 0, 0, 0, 0, 0]).octets());
        packet.extend(ALL_ROUTERS.octets());
        packet.extend([ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
        let checksum =
            fold(pseudo6(&packet[8..24], &packet[24..40], 8, ICMPV6) + sum(&packet[40..]));
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// Returns the host's address in a prefix of 64 bits.
    fn address_in(&self, prefix: [u8; 8]) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&prefix);
        octets[8..].copy_from_slice(&self.number.to_be_bytes());
        // An identifier that is not made from a hardware address (RFC 4291, 2.5.1).
        octets[8] &= 0xfd;
        octets.into()
    }

    /// Takes a datagram for which [`is_configuration`] holds.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Change {
        let before = self.given.clone();
        let lost = match datagram.first().map(|byte| byte >> 4) {
            Some(4) => self.dhcp_answer(now, datagram).is_some_and(|lost| lost),
            _ => {
                if self.slaac && self.advertisement(datagram).is_some() {
                    self.next[V6] = None;
                }
                false
            }
        };
        if lost {
            return Change::Lost;
        }
        if self.given == before {
            return Change::Nothing;
        }
        if !(self.given.ipv4.is_empty() && self.given.ipv6.is_empty()) {
            self.first_given.get_or_insert(now);
        }
        Change::Addresses
    }

    /// Takes an answer of a DHCP server. Returns whether the lease is lost by it.
    fn dhcp_answer(&mut self, now: Instant, datagram: &[u8]) -> Option<bool> {
        let message = dhcp_part(datagram)?;
        let packet = DhcpPacket::new_checked(message).ok()?;
        let answer = DhcpRepr::parse(&packet).ok()?;
        if answer.transaction_id != self.transaction() {
            return None;
        }
        let server = answer.server_identifier;
        match (self.dhcp, answer.message_type) {
            (Dhcp::Discovering, DhcpMessageType::Offer) if is_usable4(answer.your_ip) => {
                self.dhcp = Dhcp::Requesting {
                    offered: answer.your_ip,
                    server: server?,
                    tries: 0,
                };
                self.next[V4] = Some(now);
                self.pauses[V4] = FIRST_PAUSE;
            }
            (Dhcp::Requesting { .. } | Dhcp::Bound { .. }, DhcpMessageType::Ack)
                if is_usable4(answer.your_ip) && self.awaits(now, server?, true) =>
            {
                let length = answer
                    .subnet_mask
                    .map_or(32, |mask| mask.to_bits().leading_ones());
                let mut options = packet.options();
                let mtu = options.find(|option| option.kind == OPTION_MTU);
                let mtu =
                    mtu.and_then(|option| option.data.try_into().ok().map(u16::from_be_bytes));
                self.given.ipv4 = vec![(answer.your_ip, length)];
                self.given.gateway4 = answer.router;
                self.given.dns4 = answer.dns_servers.iter().flatten().copied().collect();
                self.given.mtu4 = mtu.map_or(0, u32::from);
                let lease = answer.lease_duration.unwrap_or(USUAL_LEASE).max(60);
                let renew = answer.renew_duration.unwrap_or(lease / 2);
                let renew = renew.clamp(30, lease / 2);
                self.dhcp = Dhcp::Bound {
                    server: server?,
                    rebind: now + Duration::from_secs((lease - lease / 8).into()),
                    renewing: false,
                    until: now + Duration::from_secs(lease.into()),
                };
                self.next[V4] = Some(now + Duration::from_secs(renew.into()));
            }
            (Dhcp::Requesting { .. } | Dhcp::Bound { .. }, DhcpMessageType::Nak)
                if self.awaits(now, server?, false) =>
            {
                let lost = matches!(self.dhcp, Dhcp::Bound { .. });
                self.forget4(now);
                self.next[V4] = Some(now + REFUSED_PAUSE);
                return Some(lost);
            }
            _ => return None,
        }
        Some(false)
    }

    /// Returns whether an answer of this server is waited for. Any server may grant what was asked
    /// of all.
    fn awaits(&self, now: Instant, from: Ipv4Addr, grants: bool) -> bool {
        match self.dhcp {
            Dhcp::Requesting { server, .. } => from == server,
            Dhcp::Bound {
                server,
                rebind,
                renewing,
                ..
            } => renewing && (from == server || grants && now >= rebind),
            Dhcp::Discovering | Dhcp::Off => false,
        }
    }

    /// Takes a router advertisement (RFC 4861, 6.1.2 and 6.3.4; RFC 4862, 5.5.3).
    fn advertisement(&mut self, datagram: &[u8]) -> Option<()> {
        let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
        let message = datagram.get(40..40 + length)?;
        let (source, destination) = (&datagram[8..24], &datagram[24..40]);
        let checksum = fold(pseudo6(source, destination, length, ICMPV6) + sum(message));
        // No router beyond the link can have sent it.
        if datagram[7] != 255
            || message.get(1) != Some(&0)
            || checksum != 0
            || !source.starts_with(&[0xfe, 0x80])
        {
            return None;
        }
        let mut prefix = None;
        let mut mtu = None;
        let mut servers = Vec::new();
        let mut ended = Vec::new();
        let mut options = message.get(16..)?;
        while let [kind, units, ..] = *options {
            let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
            if option.is_empty() {
                return None;
            }
            match kind {
                // 64 bits, for addresses of the host's own making, and valid.
                PREFIX if option.len() == 32 && option[2] == 64 && option[3] & 0x40 != 0 => {
                    let valid = option[4..8] != [0; 4];
                    let octets = <[u8; 8]>::try_from(&option[16..24]).ok()?;
                    if valid && is_usable6(octets) && prefix.is_none() {
                        prefix = Some(octets);
                    }
                }
                MTU if option.len() == 8 => {
                    mtu = Some(u32::from_be_bytes(option[4..8].try_into().ok()?));
                }
                NAME_SERVERS if option.len() >= 24 => {
                    let list = option[8..].chunks_exact(16);
                    let list = list.filter_map(|octets| <[u8; 16]>::try_from(octets).ok());
                    // A lifetime of 0 ends the use of the servers (RFC 8106, 5.1).
                    let over = option[4..8] == [0; 4];
                    let known = if over { &mut ended } else { &mut servers };
                    known.extend(list.map(Ipv6Addr::from));
                }
                _ => {}
            }
            options = rest;
        }
        match prefix {
            Some(prefix) => self.given.ipv6 = vec![(self.address_in(prefix), 64)],
            // One without a prefix adds to what is known (RFC 4861, 6.3.4).
            None if self.given.ipv6.is_empty() => return None,
            None => {}
        }
        if let Some(mtu) = mtu {
            self.given.mtu6 = mtu;
        }
        if !servers.is_empty() {
            self.given.dns6 = servers;
        }
        self.given.dns6.retain(|server| !ended.contains(server));
        Some(())
    }
}

/// Returns whether a host can have this address.
fn is_usable4(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast())
}

/// Returns whether a host can make an address of more than the link in this prefix of 64 bits:
/// those of multicast, of the link, and of the unspecified and the loopback address are not for
/// that.
fn is_usable6(prefix: [u8; 8]) -> bool {
    let on_link = prefix[0] == 0xfe && prefix[1] & 0xc0 == 0x80;
    !on_link && prefix[0] != 0xff && prefix != [0; 8]
}

/// Returns a DHCP message to a server as a datagram.
fn datagram(message: &DhcpRepr<'_>, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr {
        src_port: CLIENT_PORT,
        dst_port: SERVER_PORT,
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

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: u64 = 0x0123_4567_89ab_cdef;

    fn link(family: ContextIpType) -> (Link, Instant) {
        let now = Instant::now();
        (Link::new(now, family, NUMBER, RandomState::new()), now)
    }

    /// Returns a link whose address is leased for 100 s, and the server's last answer.
    fn leased(family: ContextIpType) -> (Link, Instant, Vec<u8>) {
        let (mut link, now) = link(family);
        let discover = link.timeout(now).0.remove(0);
        link.handle(now, &answer(&discover, DhcpMessageType::Offer));
        let request = link.timeout(now).0.remove(0);
        let ack = answer(&request, DhcpMessageType::Ack);
        assert_eq!(link.handle(now, &ack), Change::Addresses);
        (link, now, ack)
    }

    /// Returns an advertisement with this ICMP code and these options.
    fn advertisement(code: u8, options: &[u8]) -> Vec<u8> {
        let mut message = vec![ROUTER_ADVERTISEMENT, code, 0, 0, 64, 0, 7, 8];
        message.extend([0; 8]);
        message.extend(options);
        let router = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
        let everybody = "ff02::1".parse::<Ipv6Addr>().unwrap().octets();
        let mut packet = vec![0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255];
        packet.extend(router);
        packet.extend(everybody);
        let checksum = fold(pseudo6(&router, &everybody, message.len(), ICMPV6) + sum(&message));
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(message);
        packet
    }

    fn prefix_option(prefix: &str) -> Vec<u8> {
        let mut option = vec![PREFIX, 4, 64, 0x40, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        option.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
        option
    }

    fn servers_option(lifetime: u8, server: &str) -> Vec<u8> {
        let mut option = vec![NAME_SERVERS, 3, 0, 0, 0, 0, 0, lifetime];
        option.extend(server.parse::<Ipv6Addr>().unwrap().octets());
        option
    }

    /// Returns the server's answer to a request, as a datagram.
    fn answer(request: &[u8], kind: DhcpMessageType) -> Vec<u8> {
        let message = &request[28..];
        let packet = DhcpPacket::new_checked(message).unwrap();
        let asked = DhcpRepr::parse(&packet).unwrap();
        let server = Ipv4Addr::new(10, 0, 0, 1);
        let mut bytes = datagram(
            &DhcpRepr {
                message_type: kind,
                your_ip: Ipv4Addr::new(10, 0, 0, 2),
                router: Some(server),
                subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 252)),
                server_identifier: Some(server),
                dns_servers: Some([Ipv4Addr::new(9, 9, 9, 9)].into_iter().collect()),
                lease_duration: Some(100),
                client_identifier: None,
                parameter_request_list: None,
                max_size: None,
                requested_ip: None,
                client_ip: Ipv4Addr::UNSPECIFIED,
                broadcast: false,
                ..asked
            },
            server,
            Ipv4Addr::BROADCAST,
        );
        bytes[28] = 2;
        bytes[20..24].copy_from_slice(&[0, 67, 0, 68]);
        bytes
    }

    #[test]
    fn an_address_is_leased_and_renewed() {
        let (mut link, now) = link(ContextIpType::IPV4);
        let (discover, _) = link.timeout(now);
        assert_eq!(discover.len(), 1);
        assert_eq!(discover[0][12..20], [0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(fold(sum(&discover[0][..20])), 0);
        // Unanswered it is repeated, ever more slowly.
        let mut at = now;
        for pause in [1, 2, 4, 8, 8] {
            let next = link.poll_timeout(false).unwrap();
            assert_eq!((next - at).as_secs(), pause);
            at = next;
            assert_eq!(link.timeout(at).0.len(), 1);
        }
        let offer = answer(&discover[0], DhcpMessageType::Offer);
        assert!(is_configuration(&offer));
        assert_eq!(link.handle(at, &offer), Change::Nothing);
        let (request, _) = link.timeout(at);
        let ack = answer(&request[0], DhcpMessageType::Ack);
        assert_eq!(link.handle(at, &ack), Change::Addresses);
        assert!(link.is_settled(at));
        assert_eq!(link.given().ipv4, [(Ipv4Addr::new(10, 0, 0, 2), 30)]);
        assert_eq!(link.given().gateway4, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(link.given().dns4, [Ipv4Addr::new(9, 9, 9, 9)]);
        let renewal = link.poll_timeout(true).unwrap();
        assert_eq!((renewal - at).as_secs(), 50);
        let (request, _) = link.timeout(renewal);
        assert_eq!(request[0][12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
        let ack = answer(&request[0], DhcpMessageType::Ack);
        assert_eq!(link.handle(renewal, &ack), Change::Nothing);
        // A lease that nobody renews runs out.
        let mut now = renewal;
        let mut change = Change::Nothing;
        while change == Change::Nothing {
            now = link.poll_timeout(true).unwrap();
            change = link.timeout(now).1;
        }
        assert_eq!(change, Change::Lost);
        assert!((100..=108).contains(&(now - renewal).as_secs()));
    }

    #[test]
    fn an_advertisement_makes_an_address() {
        let (mut link, now) = link(ContextIpType::IPV6);
        let (solicitation, _) = link.timeout(now);
        let bytes = &solicitation[0];
        assert_eq!(bytes[24..40], ALL_ROUTERS.octets());
        assert_eq!(
            fold(pseudo6(&bytes[8..24], &bytes[24..40], 8, ICMPV6) + sum(&bytes[40..])),
            0
        );
        let mut options = prefix_option("2001:db8:1:2::");
        options.extend([MTU, 1, 0, 0, 0, 0, 5, 0xb4]);
        options.extend(servers_option(1, "2001:db8::53"));
        let packet = advertisement(0, &options);
        assert!(is_configuration(&packet));
        for cut in 0..packet.len() {
            assert_eq!(link.handle(now, &packet[..cut]), Change::Nothing, "{cut}");
        }
        for at in 0..packet.len() {
            let mut broken = packet.clone();
            broken[at] ^= 0x10;
            link.handle(now, &broken);
        }
        let mut forwarded = packet.clone();
        forwarded[7] = 64;
        let (mut link, now) = self::link(ContextIpType::IPV4V6);
        assert_eq!(link.handle(now, &forwarded), Change::Nothing);
        assert_eq!(link.handle(now, &packet), Change::Addresses);
        let address: Ipv6Addr = "2001:db8:1:2:123:4567:89ab:cdef".parse().unwrap();
        assert_eq!(link.given().ipv6, [(address, 64)]);
        assert_eq!(link.given().mtu6, 1460);
        assert_eq!(
            link.given().dns6,
            ["2001:db8::53".parse::<Ipv6Addr>().unwrap()]
        );
        // IPv4 may still come for a while.
        assert!(!link.is_settled(now));
        assert!(link.is_settled(now + GRACE));
    }

    #[test]
    fn what_others_ask_for_is_not_ours() {
        let (mut link, now) = link(ContextIpType::IPV4V6);
        let (sent, _) = link.timeout(now);
        let mut offer = answer(&sent[0], DhcpMessageType::Offer);
        offer[32] ^= 1;
        link.handle(now, &offer);
        assert_eq!(link.dhcp, Dhcp::Discovering);
        assert!(!is_configuration(&sent[0]) && !is_configuration(&sent[1]));
        assert!(!is_configuration(&[]) && !is_configuration(&[0x45; 9]));
    }

    #[test]
    fn addresses_that_no_host_can_have_are_refused() {
        for bad in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            let (mut link, now) = link(ContextIpType::IPV4);
            let discover = link.timeout(now).0.remove(0);
            let with = |mut bytes: Vec<u8>| {
                bytes[44..48].copy_from_slice(&bad);
                bytes
            };
            let offer = answer(&discover, DhcpMessageType::Offer);
            link.handle(now, &with(offer.clone()));
            assert_eq!(link.dhcp, Dhcp::Discovering);
            link.handle(now, &offer);
            let request = link.timeout(now).0.remove(0);
            let ack = answer(&request, DhcpMessageType::Ack);
            assert_eq!(link.handle(now, &with(ack.clone())), Change::Nothing);
            assert!(link.given().ipv4.is_empty() && !link.is_settled(now + GRACE));
            assert_eq!(link.handle(now, &ack), Change::Addresses);
            let renewal = link.poll_timeout(true).unwrap();
            let request = link.timeout(renewal).0.remove(0);
            let ack = answer(&request, DhcpMessageType::Ack);
            assert_eq!(link.handle(renewal, &with(ack)), Change::Nothing);
            assert_eq!(link.given().ipv4.len(), 1);
        }
        for bad in ["ff0e:1::", "::", "fe80::"] {
            let (mut link, now) = link(ContextIpType::IPV6);
            let packet = advertisement(0, &prefix_option(bad));
            assert_eq!(link.handle(now, &packet), Change::Nothing, "{bad}");
            assert!(!link.is_settled(now + GRACE));
        }
    }

    #[test]
    fn only_what_was_asked_of_the_server_is_taken() {
        let (mut link, now, ack) = leased(ContextIpType::IPV4V6);
        let with = |bytes: &[u8], option: u8, at: usize, to: u8| {
            let mut bytes = bytes.to_vec();
            let found = bytes.windows(2).rposition(|two| two == [option, 4]);
            let found = found.unwrap_or_else(|| panic!("no option {option}"));
            bytes[found + 2 + at] = to;
            bytes
        };
        let as_nak = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let kind = bytes.windows(3).position(|three| three == [53, 1, 5]);
            bytes[kind.unwrap() + 2] = 6;
            bytes
        };
        // The exchange is over: nothing is waited for.
        assert_eq!(link.handle(now, &as_nak(&ack)), Change::Nothing);
        let mut moved = ack.clone();
        moved[47] = 9;
        assert_eq!(link.handle(now, &moved), Change::Nothing);
        let renewal = now + Duration::from_secs(50);
        let request = link.timeout(renewal).0.remove(0);
        assert_ne!(request[32..36], ack[32..36], "each exchange has its own id");
        assert_ne!(request[32..36], NUMBER.to_be_bytes()[4..], "no id is known");
        assert_eq!(link.handle(renewal, &moved), Change::Nothing);
        let renewed = answer(&request, DhcpMessageType::Ack);
        let forged = with(&as_nak(&renewed), 54, 3, 66);
        assert_eq!(link.handle(renewal, &forged), Change::Nothing);
        let mut stranger = with(&renewed, 54, 3, 66);
        stranger[47] = 9;
        assert_eq!(link.handle(renewal, &stranger), Change::Nothing);
        assert_eq!(link.handle(renewal, &as_nak(&renewed)), Change::Lost);
        // The time for the other family begins anew with the next address.
        assert!(!link.is_settled(renewal + GRACE));
        assert_eq!(link.next[V4], Some(renewal + REFUSED_PAUSE));
    }

    #[test]
    fn requests_end_and_renewals_reach_any_server() {
        let (mut link, now) = link(ContextIpType::IPV4);
        let discover = link.timeout(now).0.remove(0);
        link.handle(now, &answer(&discover, DhcpMessageType::Offer));
        for _ in 0..MOST_REQUESTS {
            assert!(matches!(link.dhcp, Dhcp::Requesting { .. }));
            link.timeout(link.poll_timeout(false).unwrap());
        }
        link.timeout(link.poll_timeout(false).unwrap());
        assert_eq!(link.dhcp, Dhcp::Discovering);

        let (mut link, now, _) = leased(ContextIpType::IPV4);
        let mut to = Vec::new();
        loop {
            let at = link.poll_timeout(true).unwrap();
            let (sent, change) = link.timeout(at);
            if change == Change::Lost {
                assert_eq!((at - now).as_secs(), 100);
                break;
            }
            to.push(((at - now).as_secs(), sent[0][16]));
        }
        // To the server's 10.0.0.1 up to 7/8 of the lease, then to all.
        assert_eq!(to[0], (50, 10));
        for (seconds, first) in to {
            assert_eq!(first, if seconds < 88 { 10 } else { 255 }, "{seconds}");
        }
    }

    #[test]
    fn a_family_that_never_comes_is_asked_for_ever_more_slowly() {
        let (mut link, now) = link(ContextIpType::IPV4V6);
        link.handle(now, &advertisement(0, &prefix_option("2001:db8::")));
        let mut sent = 0;
        let end = now + Duration::from_secs(24 * 3600);
        while let Some(at) = link.poll_timeout(true).filter(|at| *at < end) {
            sent += link.timeout(at).0.len();
        }
        assert!((30..45).contains(&sent), "{sent}");
    }

    #[test]
    fn a_later_advertisement_keeps_what_it_does_not_tell() {
        let (mut link, now) = link(ContextIpType::IPV6);
        let prefix = prefix_option("2001:db8::");
        assert_eq!(
            link.handle(now, &advertisement(1, &prefix)),
            Change::Nothing
        );
        let (one, other) = ("2001:db8::53", "2001:db8::54");
        let mut options = [prefix.clone(), servers_option(9, one)].concat();
        options.extend(servers_option(9, other));
        options.extend([MTU, 1, 0, 0, 0, 0, 5, 0xb4]);
        link.handle(now, &advertisement(0, &options));
        let servers = |list: &[&str]| -> Vec<Ipv6Addr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(link.given().dns6, servers(&[one, other]));
        let again = advertisement(0, &prefix);
        assert_eq!(link.handle(now, &again), Change::Nothing);
        assert_eq!(link.given().mtu6, 1460);
        let removal = advertisement(0, &servers_option(0, one));
        assert_eq!(link.handle(now, &removal), Change::Addresses);
        assert_eq!(link.given().dns6, servers(&[other]));
    }
}
