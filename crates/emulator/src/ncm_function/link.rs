//! Packets of the network on the link of a data session: address configuration by router
//! advertisements (RFC 4861) and DHCPv4 (RFC 2131), and packets that some networks send
//! unsolicited.
//!
//! An MBIM link carries raw IP without link-layer addresses, and both configurations work on it
//! nevertheless: the router is solicited at a group address, and a DHCP broadcast is a datagram
//! like any other. On an Ethernet link the router answers for every address, too.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ethernet::{self, Address, Ends};
use super::routes::version;
use crate::descriptors::NetworkKind;
use crate::far_side;
use crate::knobs::{ArpManner, DhcpManner, Knobs};

/// Number of the protocol ICMPv6 (RFC 4443), and its types router solicitation, neighbour
/// solicitation and neighbour advertisement (RFC 4861, 4.1, 4.3 and 4.4).
const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Number of the protocol UDP, and the ports of DHCP's server and client (RFC 2131, 4.1).
const UDP: u8 = 17;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

/// Offsets in bytes of the fields of a DHCP message (RFC 2131, 2), and the cookie before its
/// options (RFC 2132, 2).
const FLAGS: usize = 10;
const CLIENT_ADDRESS: usize = 12;
const YOUR_ADDRESS: usize = 16;
const GATEWAY_ADDRESS: usize = 24;
const COOKIE_AT: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Codes of the options (RFC 2132).
const OPTION_MASK: u8 = 1;
const OPTION_ROUTER: u8 = 3;
const OPTION_DNS: u8 = 6;
const OPTION_MTU: u8 = 26;
const OPTION_REQUESTED: u8 = 50;
const OPTION_LEASE: u8 = 51;
const OPTION_TYPE: u8 = 53;
const OPTION_SERVER: u8 = 54;
const OPTION_END: u8 = 255;
/// Message types (RFC 2132, 9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;
/// Time for which an address is leased, in seconds.
const LEASE: u32 = 7200;
/// Address that a faulty DHCP server leases. It is one that a host gives itself where it finds no
/// server (RFC 3927).
const WRONG_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 7, 7);

/// Address of the router on the link.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Address of all nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Returns the ICMPv6 type of an IPv6 packet without extension headers.
pub(super) fn icmpv6_type(packet: &[u8]) -> Option<u8> {
    (version(packet) == 6 && packet.get(6) == Some(&ICMPV6))
        .then(|| packet.get(40).copied())
        .flatten()
}

/// Returns the DHCP message in a packet to a DHCP server.
fn dhcp_message(packet: &[u8]) -> Option<&[u8]> {
    if version(packet) != 4 || packet.get(9) != Some(&UDP) {
        return None;
    }
    let udp = packet.get(usize::from(packet[0] & 0x0f) * 4..)?;
    let to = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    (to == DHCP_SERVER).then(|| udp.get(8..)).flatten()
}

/// Returns whether a packet of the host, on a link of that kind, asks the link itself for
/// something.
pub(super) fn is_asked(packet: &[u8], kind: NetworkKind) -> bool {
    let resolves = version(packet) == 0 || icmpv6_type(packet) == Some(NEIGHBOUR_SOLICITATION);
    icmpv6_type(packet) == Some(ROUTER_SOLICITATION)
        || dhcp_message(packet).is_some()
        || (kind.is_ethernet() && resolves)
}

/// Returns the link's answer to a packet of the host, if there is one. Beside IP packets, questions
/// and answers may be bare ARP packets.
pub(super) fn answer(
    session: u8,
    packet: &[u8],
    knobs: &Knobs,
    kind: NetworkKind,
    ends: Ends,
) -> Option<Vec<u8>> {
    let ethernet = kind.is_ethernet();
    let over_link = |told: bool| ethernet || !told;
    let resolves = knobs.arp != ArpManner::Silent;
    let (told4, told6) = (
        knobs.ip_configuration.tells_v4(),
        knobs.ip_configuration.tells_v6(),
    );
    match icmpv6_type(packet) {
        Some(ROUTER_SOLICITATION) => {
            return (over_link(told6) || knobs.ipv6_link_local)
                .then(|| router_advertisement(session, knobs));
        }
        Some(NEIGHBOUR_SOLICITATION) if ethernet => {
            return neighbour_advertisement(packet, ends.router).filter(|_| resolves);
        }
        _ => {}
    }
    if ethernet && version(packet) == 0 {
        return arp_reply(packet, ends.router).filter(|_| resolves);
    }
    over_link(told4)
        .then(|| dhcp(session, dhcp_message(packet)?, knobs))
        .flatten()
}

/// Returns the answer to an ARP request for an address that is not the host's own (RFC 826), with
/// the router's Ethernet address. A host that probes whether its own address is free (RFC 5227)
/// sends from 0.0.0.0.
fn arp_reply(request: &[u8], router: Address) -> Option<Vec<u8>> {
    let request: &[u8; 28] = request.first_chunk()?;
    let (sender, target) = (&request[14..18], &request[24..28]);
    if request[..8] != [0, 1, 8, 0, 6, 4, 0, 1] || sender == [0; 4] || sender == target {
        return None;
    }
    let mut reply = request[..8].to_vec();
    reply[7] = 2;
    reply.extend(router);
    reply.extend(target);
    reply.extend(&request[8..18]);
    Some(reply)
}

/// Returns the answer to a neighbour solicitation for an address that is not the host's own (RFC
/// 4861, 4.4), with the router's Ethernet address. A host that probes whether its own address is
/// free sends from `::`.
fn neighbour_advertisement(solicitation: &[u8], router: Address) -> Option<Vec<u8>> {
    let source: [u8; 16] = *solicitation.get(8..24)?.first_chunk()?;
    let target: [u8; 16] = *solicitation.get(48..64)?.first_chunk()?;
    if source == [0; 16] {
        return None;
    }
    // The flags say: from a router, solicited, and overriding what was known before.
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0xe0, 0, 0, 0];
    message.extend(target);
    message.extend([2, 1]);
    message.extend(router);
    Some(icmpv6(target, source, message))
}

/// Returns whether a packet of the host is addressed to the DHCP server.
pub(super) fn is_dhcp(packet: &[u8]) -> bool {
    dhcp_message(packet).is_some()
}

/// Returns whether a packet of the host is the answer to [`arp_request`].
pub(super) fn answers_arp(packet: &[u8], session: u8, knobs: &Knobs) -> bool {
    let address = far_side::v4_of(session, knobs).address.octets();
    packet.starts_with(&[0, 1, 8, 0, 6, 4, 0, 2]) && packet.get(14..18) == Some(&address)
}

/// Returns the DHCP server's answer to a message (RFC 2131, 4.3).
fn dhcp(session: u8, message: &[u8], knobs: &Knobs) -> Option<Vec<u8>> {
    let (head, rest) = message.split_at_checked(COOKIE_AT)?;
    let options = rest.strip_prefix(&COOKIE)?;
    // The value 1 is BOOTREQUEST.
    if head[0] != 1 {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
    let mut v4 = far_side::v4_of(session, knobs);
    match knobs.dhcp {
        DhcpManner::Silent => return None,
        // The far side has no route to this address.
        DhcpManner::Wrong => v4.address = WRONG_ADDRESS,
        DhcpManner::Right | DhcpManner::Refuses => {}
    }
    if option(options, OPTION_SERVER).is_some_and(|server| server != v4.gateway.octets()) {
        return None;
    }
    let client = address(CLIENT_ADDRESS);
    let wanted = match option(options, OPTION_REQUESTED) {
        Some(&[a, b, c, d]) => Ipv4Addr::new(a, b, c, d),
        _ => client,
    };
    let kind = match *option(options, OPTION_TYPE)? {
        [DISCOVER] => OFFER,
        [REQUEST] if wanted == v4.address && knobs.dhcp != DhcpManner::Refuses => ACK,
        [REQUEST] => NAK,
        [INFORM] => ACK,
        _ => return None,
    };
    let informs = option(options, OPTION_TYPE) == Some(&[INFORM]);

    let mut answer = head.to_vec();
    answer[0] = 2;
    answer[YOUR_ADDRESS..GATEWAY_ADDRESS + 4].fill(0);
    if kind != NAK && !informs {
        answer[YOUR_ADDRESS..YOUR_ADDRESS + 4].copy_from_slice(&v4.address.octets());
    }
    // The fields for the names of a server and of a boot file are empty.
    answer[44..].fill(0);
    answer.extend(COOKIE);
    let mut add = |code: u8, value: &[u8]| {
        answer.extend([code, value.len() as u8]);
        answer.extend(value);
    };
    add(OPTION_TYPE, &[kind]);
    add(OPTION_SERVER, &v4.gateway.octets());
    if kind != NAK {
        let mask = u32::MAX << (32 - u32::from(v4.prefix));
        add(OPTION_MASK, &mask.to_be_bytes());
        add(OPTION_ROUTER, &v4.gateway.octets());
        add(OPTION_DNS, &v4.dns.map(|server| server.octets()).concat());
        add(OPTION_MTU, &knobs.mtu.to_be_bytes());
        if !informs {
            add(OPTION_LEASE, &LEASE.to_be_bytes());
        }
    }
    answer.push(OPTION_END);

    let broadcast = head[FLAGS] & 0x80 != 0;
    let to = if kind == NAK || (client.is_unspecified() && broadcast) {
        Ipv4Addr::BROADCAST
    } else if client.is_unspecified() {
        v4.address
    } else {
        client
    };
    Some(udp(v4.gateway, to, &answer))
}

/// Returns the value of an option (RFC 2132, 2).
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match *options {
            [0, ..] => options = &options[1..],
            [OPTION_END, ..] | [] | [_] => return None,
            [code, length, ..] => {
                let (value, rest) = options[2..].split_at_checked(length.into())?;
                if code == wanted {
                    return Some(value);
                }
                options = rest;
            }
        }
    }
}

/// Returns a packet from the DHCP server's port to the client's.
fn udp(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = (8 + message.len()) as u16;
    let mut packet = vec![0x45, 0xc0];
    packet.extend((20 + length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut datagram = Vec::new();
    for word in [DHCP_SERVER, DHCP_CLIENT, length, 0] {
        datagram.extend(word.to_be_bytes());
    }
    datagram.extend(message);
    let pseudo = [
        0,
        UDP,
        0,
        0,
        length.to_be_bytes()[0],
        length.to_be_bytes()[1],
    ];
    let sum = match checksum(&[&packet[12..20], &pseudo[..2], &pseudo[4..], &datagram]) {
        // The value 0 would mean that there is no checksum (RFC 768).
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend(datagram);
    packet
}

/// Returns a bare ARP request, as a Vodafone K5160 sends it, without an Ethernet header.
pub(super) fn arp_request(session: u8, knobs: &Knobs) -> Vec<u8> {
    let addresses = far_side::v4_of(session, knobs);
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(ethernet::ROUTER);
    packet.extend(addresses.gateway.octets());
    packet.extend([0; 6]);
    packet.extend(addresses.address.octets());
    packet.resize(46, 0);
    packet
}

/// Returns a neighbour solicitation for the data session's address (RFC 4861, 4.3).
pub(super) fn neighbour_solicitation(session: u8, knobs: &Knobs) -> Vec<u8> {
    let target = far_side::v6_of(session, knobs).address;
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(ethernet::ROUTER);
    icmpv6(ROUTER.octets(), group, message)
}

/// Returns a router advertisement with the data session's prefix and name servers (RFC 4861, 4.2;
/// RFC 8106, 5.1). It announces a default router for half an hour, and a prefix for autonomous
/// configuration that is not on-link.
pub(super) fn router_advertisement(session: u8, knobs: &Knobs) -> Vec<u8> {
    let v6 = far_side::v6_of(session, knobs);
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    // The prefix information is for 64 bits, autonomous, valid for a day and preferred for four
    // hours.
    message.extend([3, 4, 64, 0x40]);
    message.extend(86_400u32.to_be_bytes());
    message.extend(14_400u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend(&v6.address.octets()[..8]);
    message.extend([0; 8]);
    // The option lists recursive DNS servers, for half an hour.
    message.extend([25, 5, 0, 0]);
    message.extend(1800u32.to_be_bytes());
    message.extend(v6.dns.map(|server| server.octets()).concat());
    icmpv6(ROUTER.octets(), ALL_NODES.octets(), message)
}

/// Returns the packet with an ICMPv6 message.
fn icmpv6(source: [u8; 16], destination: [u8; 16], mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() as u8;
    let pseudo = [0, ICMPV6, 0, length];
    // The checksum covers pseudo-header and message (RFC 8200, 8.1).
    let sum = checksum(&[&source, &destination, &pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0, 0, length, ICMPV6, 255];
    packet.extend(source);
    packet.extend(destination);
    packet.extend(message);
    packet
}

/// Returns the Internet checksum over parts, each of which but the last has an even number of bytes
/// (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        host: None,
        router: ethernet::ROUTER,
    };

    /// Returns a DHCP message of a client in the layout of RFC 2131, 2, in a packet from 0.0.0.0 to
    /// the broadcast address.
    fn asking(kind: u8, flags: u8, requested: Option<Ipv4Addr>) -> Vec<u8> {
        let mut message = vec![0; COOKIE_AT];
        message[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        message[FLAGS] = flags;
        message[28..34].copy_from_slice(&[2, 0x50, 0xf3, 0, 0, 1]);
        message.extend(COOKIE);
        message.extend([0, OPTION_TYPE, 1, kind]);
        if let Some(address) = requested {
            message.extend([OPTION_REQUESTED, 4]);
            message.extend(address.octets());
        }
        message.push(OPTION_END);
        let mut packet = udp(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &message);
        packet[20..24].copy_from_slice(&[0, 68, 0, 67]);
        packet
    }

    fn over_link() -> Knobs {
        "ip_configuration=empty".parse().unwrap()
    }

    #[test]
    fn an_address_is_offered_and_leased() {
        let told = answer(
            2,
            &asking(DISCOVER, 0x80, None),
            &over_link(),
            NetworkKind::Mbim,
            ENDS,
        )
        .unwrap();
        assert_eq!(told[16..20], [255; 4]);
        assert_eq!(checksum(&[&told[..20]]), 0);
        let message = &told[28..];
        assert_eq!(message[..8], [2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(message[YOUR_ADDRESS..YOUR_ADDRESS + 4], [10, 169, 198, 85]);
        let options = &message[COOKIE_AT + 4..];
        assert_eq!(option(options, OPTION_TYPE), Some(&[OFFER][..]));
        assert_eq!(
            option(options, OPTION_MASK),
            Some(&[255, 255, 255, 252][..])
        );
        assert_eq!(
            option(options, OPTION_ROUTER),
            Some(&[10, 169, 198, 86][..])
        );
        assert_eq!(
            option(options, OPTION_DNS),
            Some(&[193, 213, 112, 4, 130, 67, 15, 198][..])
        );

        let own = far_side::v4(2).address;
        let told = answer(
            2,
            &asking(REQUEST, 0, Some(own)),
            &over_link(),
            NetworkKind::Mbim,
            ENDS,
        )
        .unwrap();
        assert_eq!(told[16..20], own.octets());
        let options = &told[28 + COOKIE_AT + 4..];
        assert_eq!(option(options, OPTION_TYPE), Some(&[ACK][..]));
        assert_eq!(
            option(options, OPTION_LEASE),
            Some(&LEASE.to_be_bytes()[..])
        );
        let told = answer(
            1,
            &asking(REQUEST, 0, Some(own)),
            &over_link(),
            NetworkKind::Mbim,
            ENDS,
        )
        .unwrap();
        let options = &told[28 + COOKIE_AT + 4..];
        assert_eq!(option(options, OPTION_TYPE), Some(&[NAK][..]));
    }

    #[test]
    fn a_server_may_be_silent_refuse_or_be_wrong() {
        let kinds = |knobs: &str, packet: &[u8]| {
            let knobs: Knobs = knobs.parse().unwrap();
            let told = answer(0, packet, &knobs, NetworkKind::Ecm, ENDS)?;
            let message = &told[28..];
            let kind = option(&message[COOKIE_AT + 4..], OPTION_TYPE)?[0];
            Some((kind, message[YOUR_ADDRESS..YOUR_ADDRESS + 4].to_vec()))
        };
        let own = far_side::v4(0).address;
        let discover = asking(DISCOVER, 0x80, None);
        let request = asking(REQUEST, 0x80, Some(own));
        assert_eq!(kinds("dhcp=silent", &discover), None);
        let offered = own.octets().to_vec();
        assert_eq!(kinds("dhcp=refuses", &discover), Some((OFFER, offered)));
        assert_eq!(kinds("dhcp=refuses", &request), Some((NAK, vec![0; 4])));
        let wrong = WRONG_ADDRESS.octets().to_vec();
        assert_eq!(kinds("dhcp=wrong", &discover), Some((OFFER, wrong)));
        assert_eq!(kinds("dhcp=wrong", &request), Some((NAK, vec![0; 4])));
    }

    #[test]
    fn the_link_is_silent_where_the_modem_tells_addresses() {
        let discover = asking(DISCOVER, 0, None);
        assert!(is_asked(&discover, NetworkKind::Mbim));
        assert_eq!(
            answer(0, &discover, &Knobs::default(), NetworkKind::Mbim, ENDS),
            None
        );
    }

    #[test]
    fn a_solicited_router_has_prefix_and_name_servers() {
        let mut solicitation = vec![0x60, 0, 0, 0, 0, 8, ICMPV6, 255];
        solicitation.extend([0; 32]);
        solicitation.extend([ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            answer(0, &solicitation, &Knobs::default(), NetworkKind::Mbim, ENDS),
            None
        );
        let packet = answer(1, &solicitation, &over_link(), NetworkKind::Mbim, ENDS).unwrap();
        let message = &packet[40..];
        let pseudo = [0, ICMPV6, 0, message.len() as u8];
        assert_eq!(checksum(&[&packet[8..40], &pseudo, message]), 0);
        assert_eq!(usize::from(packet[5]), message.len());
        assert_eq!(message[32..40], far_side::v6(1).address.octets()[..8]);
        assert_eq!(message[48..50], [25, 5]);
        assert_eq!(message[56..72], far_side::v6(1).dns[0].octets());
    }

    #[test]
    fn the_link_gives_the_family_that_the_modem_does_not_tell() {
        let mut solicitation = vec![0x60, 0, 0, 0, 0, 8, ICMPV6, 255];
        solicitation.extend([0; 32]);
        solicitation.extend([ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
        let discover = asking(DISCOVER, 0x80, None);
        for (told, v4, v6) in [("ipv4", false, true), ("ipv6", true, false)] {
            let knobs = format!("ip_configuration={told}").parse().unwrap();
            let answered = |packet| answer(0, packet, &knobs, NetworkKind::Mbim, ENDS).is_some();
            assert_eq!((answered(&discover), answered(&solicitation)), (v4, v6));
        }
    }

    #[test]
    fn whatever_else_comes_is_not_answered() {
        let whole = asking(DISCOVER, 0, None);
        for cut in 0..whole.len() {
            let _ = answer(0, &whole[..cut], &over_link(), NetworkKind::Mbim, ENDS);
        }
        let mut reply = whole.clone();
        reply[28] = 2;
        assert_eq!(
            answer(0, &reply, &over_link(), NetworkKind::Mbim, ENDS),
            None
        );
        for packet in [&[][..], &[0x45], &[0x60; 39], &[0; 28]] {
            assert!(!is_asked(packet, NetworkKind::Mbim));
        }
    }

    #[test]
    fn on_ethernet_the_router_answers_for_every_address_but_the_hosts_own() {
        let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 5];
        request.extend([0; 6]);
        request.extend([10, 0, 0, 1]);
        let kind = NetworkKind::Ncm;
        assert!(is_asked(&request, kind));
        let reply = answer(0, &request, &Knobs::default(), kind, ENDS).unwrap();
        assert_eq!(reply[7..18], [2, 2, 0x50, 0xf3, 0, 0, 0, 10, 0, 0, 1]);
        assert_eq!(reply[18..28], [2, 0, 0, 0, 0, 1, 10, 0, 0, 5]);
        request[24..28].copy_from_slice(&[10, 0, 0, 5]);
        assert_eq!(answer(0, &request, &Knobs::default(), kind, ENDS), None);
        request[14..18].fill(0);
        assert_eq!(answer(0, &request, &Knobs::default(), kind, ENDS), None);

        let mut solicitation = vec![0x60, 0, 0, 0, 0, 24, ICMPV6, 255];
        solicitation.extend([7; 32]);
        solicitation.extend([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
        solicitation.extend([9; 16]);
        let packet = answer(0, &solicitation, &Knobs::default(), kind, ENDS).unwrap();
        assert_eq!((packet[8], packet[24], packet[48]), (9, 7, 9));
        assert_eq!(packet[40], NEIGHBOUR_ADVERTISEMENT);
        solicitation[8..24].fill(0);
        assert_eq!(
            answer(0, &solicitation, &Knobs::default(), kind, ENDS),
            None
        );
    }
}
