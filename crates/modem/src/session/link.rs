//! Addresses over the link of a data session whose modem tells none: DHCP for IPv4 (RFC 2131), and
//! router advertisements for IPv6 (RFC 4861 and 4862), as ModemManager and OpenWrt do it.
//!
//! The link is one of raw IP. A client without link-layer address asks for broadcast answers and
//! names itself by a random one (RFC 2131, 4.1).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};

use crate::addresses::Given;
use crate::options::IpType;
use crate::packet::{ICMPV6, UDP, fold, pseudo6, sum};

/// Pause before an unanswered request is repeated for the first time; each repetition doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between repetitions.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
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
    Requesting { offered: Ipv4Addr, server: Ipv4Addr },
    /// The address is leased.
    Bound { server: Ipv4Addr, until: Instant },
    /// IPv4 is not wanted.
    Off,
}

/// Configuration of one link; see the [module](self).
#[derive(Debug)]
pub(crate) struct Link {
    begun: Instant,
    /// Random number that ties answers to requests, and makes the host's interface identifier.
    number: u64,
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
    /// Begins to configure a link; `number` is random.
    pub(crate) fn new(now: Instant, ip_type: IpType, number: u64) -> Self {
        let v4 = ip_type != IpType::Ipv6;
        let v6 = ip_type != IpType::Ipv4;
        Self {
            begun: now,
            number,
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
            if let Dhcp::Bound { until, .. } = self.dhcp
                && now >= until
            {
                self.forget4(now);
                change = Change::Lost;
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
        self.next[family] = Some(now + self.pauses[family]);
        self.pauses[family] = LONGEST_PAUSE.min(self.pauses[family] * 2);
    }

    fn forget4(&mut self, now: Instant) {
        self.given.ipv4.clear();
        self.given.gateway4 = None;
        self.given.dns4.clear();
        self.dhcp = Dhcp::Discovering;
        self.next[V4] = Some(now);
        self.pauses[V4] = FIRST_PAUSE;
    }

    fn transaction(&self) -> u32 {
        self.number as u32
    }

    /// Returns the DHCP message of the state.
    fn dhcp_request(&self, now: Instant) -> Option<Vec<u8>> {
        let ours = self.given.ipv4.first().map(|(address, _)| *address);
        let (message_type, requested, server, client) = match self.dhcp {
            Dhcp::Discovering => (DhcpMessageType::Discover, None, None, None),
            Dhcp::Requesting { offered, server } => {
                (DhcpMessageType::Request, Some(offered), Some(server), None)
            }
            Dhcp::Bound { .. } => (DhcpMessageType::Request, None, None, ours),
            Dhcp::Off => return None,
        };
        // The server that leased the address renews it (RFC 2131, 4.4.5).
        let to = match (self.dhcp, client) {
            (Dhcp::Bound { server, .. }, Some(_)) => server,
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
        self.first_given.get_or_insert(now);
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
            (Dhcp::Discovering, DhcpMessageType::Offer) => {
                self.dhcp = Dhcp::Requesting {
                    offered: answer.your_ip,
                    server: server?,
                };
                self.next[V4] = Some(now);
                self.pauses[V4] = FIRST_PAUSE;
            }
            (Dhcp::Requesting { server: asked, .. }, DhcpMessageType::Ack)
            | (Dhcp::Bound { server: asked, .. }, DhcpMessageType::Ack)
                if server.is_none_or(|server| server == asked) =>
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
                let renew = answer.renew_duration.unwrap_or(lease / 2).clamp(30, lease);
                self.dhcp = Dhcp::Bound {
                    server: asked,
                    until: now + Duration::from_secs(lease.into()),
                };
                self.next[V4] = Some(now + Duration::from_secs(renew.into()));
                self.pauses[V4] = LONGEST_PAUSE;
            }
            (Dhcp::Requesting { .. }, DhcpMessageType::Nak) => self.forget4(now),
            (Dhcp::Bound { .. }, DhcpMessageType::Nak) => {
                self.forget4(now);
                return Some(true);
            }
            _ => return None,
        }
        Some(false)
    }

    /// Takes a router advertisement (RFC 4861, 6.1.2 and 6.3.4; RFC 4862, 5.5.3).
    fn advertisement(&mut self, datagram: &[u8]) -> Option<()> {
        let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
        let message = datagram.get(40..40 + length)?;
        let (source, destination) = (&datagram[8..24], &datagram[24..40]);
        let checksum = fold(pseudo6(source, destination, length, ICMPV6) + sum(message));
        // No router beyond the link can have sent it.
        if datagram[7] != 255 || checksum != 0 || !source.starts_with(&[0xfe, 0x80]) {
            return None;
        }
        let mut prefix = None;
        let mut mtu = 0;
        let mut servers = Vec::new();
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
                    let on_link = option[16] == 0xfe && option[17] & 0xc0 == 0x80;
                    if valid && !on_link && prefix.is_none() {
                        prefix = Some(<[u8; 8]>::try_from(&option[16..24]).ok()?);
                    }
                }
                MTU if option.len() == 8 => {
                    mtu = u32::from_be_bytes(option[4..8].try_into().ok()?);
                }
                NAME_SERVERS if option.len() >= 24 => {
                    servers = option[8..]
                        .chunks_exact(16)
                        .filter_map(|octets| <[u8; 16]>::try_from(octets).ok())
                        .map(Ipv6Addr::from)
                        .collect();
                }
                _ => {}
            }
            options = rest;
        }
        self.given.ipv6 = vec![(self.address_in(prefix?), 64)];
        self.given.mtu6 = mtu;
        self.given.dns6 = servers;
        Some(())
    }
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

    fn link(ip_type: IpType) -> (Link, Instant) {
        let now = Instant::now();
        (Link::new(now, ip_type, NUMBER), now)
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
        let (mut link, now) = link(IpType::Ipv4);
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
        let (mut link, now) = link(IpType::Ipv6);
        let (solicitation, _) = link.timeout(now);
        let bytes = &solicitation[0];
        assert_eq!(bytes[24..40], ALL_ROUTERS.octets());
        assert_eq!(
            fold(pseudo6(&bytes[8..24], &bytes[24..40], 8, ICMPV6) + sum(&bytes[40..])),
            0
        );
        let mut message = vec![
            ROUTER_ADVERTISEMENT,
            0,
            0,
            0,
            64,
            0,
            7,
            8,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        message.extend([PREFIX, 4, 64, 0x40, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        message.extend("2001:db8:1:2::".parse::<Ipv6Addr>().unwrap().octets());
        message.extend([MTU, 1, 0, 0, 0, 0, 5, 0xb4]);
        message.extend([NAME_SERVERS, 3, 0, 0, 0, 0, 1, 0]);
        message.extend("2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        let router = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
        let everybody = "ff02::1".parse::<Ipv6Addr>().unwrap().octets();
        let mut packet = vec![0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255];
        packet.extend(router);
        packet.extend(everybody);
        let checksum = fold(pseudo6(&router, &everybody, message.len(), ICMPV6) + sum(&message));
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(message);
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
        let (mut link, now) = self::link(IpType::Ipv4v6);
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
        let (mut link, now) = link(IpType::Ipv4v6);
        let (sent, _) = link.timeout(now);
        let mut offer = answer(&sent[0], DhcpMessageType::Offer);
        offer[32] ^= 1;
        link.handle(now, &offer);
        assert_eq!(link.dhcp, Dhcp::Discovering);
        assert!(!is_configuration(&sent[0]) && !is_configuration(&sent[1]));
        assert!(!is_configuration(&[]) && !is_configuration(&[0x45; 9]));
    }
}
