//! The parts of packets that the driver examines: version, length, and whether a packet asks for an
//! answer.

use std::net::IpAddr;

use uwwan_ncm::Stream;

use crate::kind::ETHERNET_HEADER;

/// IP protocol numbers (IANA).
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Types of ICMPv6 messages (RFC 2710, RFC 3810, RFC 4861).
pub(crate) mod icmpv6 {
    pub(crate) const LISTENER_QUERY: u8 = 130;
    pub(crate) const LISTENER_DONE: u8 = 132;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub(crate) const REDIRECT: u8 = 137;
    pub(crate) const LISTENER_REPORT_2: u8 = 143;
}

/// Types of the options of neighbour discovery (RFC 4861, 4.6; RFC 8106, 5.1).
pub(crate) mod discovery {
    pub(crate) const SOURCE_LINK_LAYER: u8 = 1;
    pub(crate) const TARGET_LINK_LAYER: u8 = 2;
    pub(crate) const PREFIX: u8 = 3;
    pub(crate) const REDIRECTED: u8 = 4;
    pub(crate) const MTU: u8 = 5;
    pub(crate) const NAME_SERVERS: u8 = 25;
}

/// Returns whether the datagram starts like IPv4 or IPv6 and is at least as long as the header.
#[must_use]
pub(crate) fn is_ip(datagram: &[u8]) -> bool {
    match datagram.first().map(|byte| byte >> 4) {
        Some(4) => datagram.len() >= 20,
        Some(6) => datagram.len() >= 40,
        _ => false,
    }
}

/// Returns whether a packet from the host is of the kind that its stream carries.
#[must_use]
pub(crate) fn fits(stream: Stream, packet: &[u8]) -> bool {
    match stream {
        Stream::Ethernet { .. } => packet.len() >= usize::from(ETHERNET_HEADER),
        _ => is_ip(packet),
    }
}

/// Returns whether a packet that may have up to `longest` bytes is longer, or was cut off. An
/// Ethernet frame does not hold its length: it must be read into more room than `longest`.
#[must_use]
pub(crate) fn is_too_long(stream: Stream, packet: &[u8], longest: usize) -> bool {
    packet.len() > longest || (!is_ethernet(stream) && is_cut(packet))
}

/// Returns whether the stream carries Ethernet frames.
#[must_use]
pub(crate) const fn is_ethernet(stream: Stream) -> bool {
    matches!(stream, Stream::Ethernet { .. })
}

/// Returns the length in bytes that the IP header gives the datagram; `None` when it gives none
/// (jumbograms).
fn declared_len(datagram: &[u8]) -> Option<usize> {
    let field = |at: usize| usize::from(u16::from_be_bytes([datagram[at], datagram[at + 1]]));
    match datagram[0] >> 4 {
        4 => Some(field(2)),
        _ => Some(field(4)).filter(|len| *len != 0).map(|len| len + 40),
    }
}

/// Returns whether an IP datagram was cut off: its header gives a greater length than it has.
#[must_use]
pub(crate) fn is_cut(datagram: &[u8]) -> bool {
    declared_len(datagram).is_some_and(|len| len > datagram.len())
}

/// Returns whether a host that sent this datagram expects an answer: it is an opening TCP segment,
/// a name query or an echo request. Datagrams with extension headers count as "no".
#[must_use]
pub(crate) fn deserves_answer(datagram: &[u8]) -> bool {
    if !is_ip(datagram) {
        return false;
    }
    let (protocol, at) = if datagram[0] >> 4 == 4 {
        (datagram[9], usize::from(datagram[0] & 0x0f) * 4)
    } else {
        (datagram[6], 40)
    };
    let byte = |offset: usize| datagram.get(at + offset).copied();
    match protocol {
        ICMP => byte(0) == Some(8),
        ICMPV6 => byte(0) == Some(128),
        TCP => byte(13).is_some_and(|flags| flags & 0x17 == 0x02),
        UDP => byte(2) == Some(0) && byte(3) == Some(53),
        _ => false,
    }
}

/// Ethertypes (IEEE 802 numbers) and the operations of ARP (RFC 826).
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
/// Head of an ARP packet for IPv4 on Ethernet, up to the operation's low byte (RFC 826).
const ARP_HEAD: [u8; 7] = [0, 1, 0x08, 0x00, 6, 4, 0];
/// UDP ports of DHCP's server and client (RFC 2131, 4.1).
pub(crate) const DHCP_SERVER: u16 = 67;
pub(crate) const DHCP_CLIENT: u16 = 68;

/// Content of an Ethernet frame without VLAN tag, as far as the driver examines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// IP datagram, perhaps with the frame's padding behind it.
    Ip(&'a [u8]),
    /// ARP packet: operation, sender's and target's IPv4 address.
    Arp {
        operation: u8,
        sender: [u8; 4],
        target: [u8; 4],
    },
}

/// Returns the content of an Ethernet frame; `None` for contents that the driver does not examine.
#[must_use]
pub(crate) fn content(frame: &[u8]) -> Option<Content<'_>> {
    let (header, rest) = frame.split_at_checked(ETHERNET_HEADER.into())?;
    match [header[12], header[13]] {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => is_ip(rest).then_some(Content::Ip(rest)),
        ETHERTYPE_ARP => {
            let (packet, _) = rest.split_first_chunk::<28>()?;
            let (head, rest) = packet.split_first_chunk::<7>()?;
            (*head == ARP_HEAD).then(|| Content::Arp {
                operation: rest[0],
                sender: [rest[7], rest[8], rest[9], rest[10]],
                target: [rest[17], rest[18], rest[19], rest[20]],
            })
        }
        _ => None,
    }
}

/// Returns whether a host that sent this Ethernet frame expects an answer: it is an ARP request for
/// another address than its own, a message to a DHCP server, or an IP datagram for which
/// [`deserves_answer`] holds. Solicitations of routers and neighbours count as "no": a host on an idle
/// link sends them, too, and no station may be there to answer.
#[must_use]
pub(crate) fn frame_deserves_answer(frame: &[u8]) -> bool {
    match content(frame) {
        Some(Content::Ip(datagram)) => {
            deserves_answer(datagram) || udp_ports(datagram) == Some((DHCP_CLIENT, DHCP_SERVER))
        }
        Some(Content::Arp {
            operation: ARP_REQUEST,
            sender,
            target,
        }) => sender != [0; 4] && sender != target,
        _ => false,
    }
}

/// Returns whether the frame is an ARP reply of this address.
#[must_use]
pub(crate) fn is_arp_reply(frame: &[u8], of: [u8; 4]) -> bool {
    matches!(content(frame), Some(Content::Arp { operation: ARP_REPLY, sender, .. }) if sender == of)
}

/// Returns the ports of a UDP datagram over IPv4: source and destination.
#[must_use]
pub(crate) fn udp_ports(datagram: &[u8]) -> Option<(u16, u16)> {
    let udp = udp_over_ipv4(datagram)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    Some((port(0)?, port(2)?))
}

/// Returns header and content of a UDP datagram over IPv4.
#[must_use]
pub(crate) fn udp_over_ipv4(datagram: &[u8]) -> Option<&[u8]> {
    (datagram.first()? >> 4 == 4 && datagram.get(9) == Some(&UDP))
        .then(|| datagram.get(usize::from(datagram[0] & 0x0f) * 4..))
        .flatten()
}

/// Returns the IP datagram in an Ethernet frame, without the frame's padding.
#[must_use]
pub(crate) fn datagram_in(frame: &[u8]) -> Option<&[u8]> {
    match content(frame)? {
        Content::Ip(datagram) => {
            let length = declared_len(datagram).unwrap_or(datagram.len());
            Some(datagram.get(..length).unwrap_or(datagram))
        }
        Content::Arp { .. } => None,
    }
}

/// Returns the address of the station that sent an Ethernet frame; `None` where it is no station's.
#[must_use]
pub(crate) fn frame_source(frame: &[u8]) -> Option<[u8; 6]> {
    let source: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    (source[0] & 1 == 0 && source != [0; 6]).then_some(source)
}

/// Length of an ARP packet for IPv4 on Ethernet in bytes (RFC 826).
pub(crate) const ARP: usize = 28;

/// Returns the ARP packet in an Ethernet frame.
#[must_use]
pub(crate) fn arp_in(frame: &[u8]) -> Option<[u8; ARP]> {
    match content(frame)? {
        Content::Arp { .. } => frame
            .get(usize::from(ETHERNET_HEADER)..)?
            .first_chunk::<ARP>()
            .copied(),
        Content::Ip(_) => None,
    }
}

/// Returns the ARP packet that answers a request for the address `ours` of the station `host`. A station
/// that asks for its own address announces itself, or has the same; neither expects an answer.
#[must_use]
pub(crate) fn arp_answer(request: &[u8; ARP], host: [u8; 6], ours: [u8; 4]) -> Option<[u8; ARP]> {
    let (sender, target) = (&request[8..18], &request[24..28]);
    if request[7] != ARP_REQUEST || target != ours || sender[6..] == ours {
        return None;
    }
    let mut reply = *request;
    reply[7] = ARP_REPLY;
    reply[8..14].copy_from_slice(&host);
    reply[14..18].copy_from_slice(&ours);
    reply[18..28].copy_from_slice(sender);
    Some(reply)
}

/// Returns an Ethernet frame to all stations with an ARP request of `host` for `target` (RFC 826).
#[must_use]
pub(crate) fn arp_request(host: [u8; 6], ours: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = broadcast(host, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.push(ARP_REQUEST);
    frame.extend(host);
    frame.extend(ours);
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}

/// Returns the header of an Ethernet frame with an IPv4 datagram of `host` to all stations.
#[must_use]
pub(crate) fn broadcast_ipv4(host: [u8; 6]) -> Vec<u8> {
    broadcast(host, ETHERTYPE_IPV4)
}

fn broadcast(host: [u8; 6], ethertype: [u8; 2]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(host);
    frame.extend(ethertype);
    frame
}

/// Returns the IP addresses of the source and the destination of an Ethernet frame's content.
#[must_use]
pub(crate) fn frame_ends(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match content(frame)? {
        Content::Ip(datagram) => ends(datagram),
        Content::Arp { sender, target, .. } => Some((sender.into(), target.into())),
    }
}

/// Returns the addresses of the source and the destination of an IP datagram.
#[must_use]
pub(crate) fn ends(datagram: &[u8]) -> Option<(IpAddr, IpAddr)> {
    fn address<const N: usize>(datagram: &[u8], at: usize) -> Option<IpAddr>
    where
        IpAddr: From<[u8; N]>,
    {
        let octets: [u8; N] = datagram.get(at..at + N)?.try_into().ok()?;
        Some(octets.into())
    }
    match datagram.first()? >> 4 {
        4 => Some((address::<4>(datagram, 12)?, address::<4>(datagram, 16)?)),
        6 => Some((address::<16>(datagram, 8)?, address::<16>(datagram, 24)?)),
        _ => None,
    }
}

/// Returns the Internet checksum's running sum over `bytes` (RFC 1071), not yet folded.
#[must_use]
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let mut pairs = bytes.chunks_exact(2);
    let sum: u32 = pairs
        .by_ref()
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    sum + pairs
        .remainder()
        .first()
        .map_or(0, |last| u32::from(*last) << 8)
}

/// Folds a running sum into the checksum field's value.
#[must_use]
pub(crate) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Returns the running sum of an IPv6 pseudo-header (RFC 8200 section 8.1).
#[must_use]
pub(crate) fn pseudo6(source: &[u8], destination: &[u8], length: usize, protocol: u8) -> u32 {
    sum(source) + sum(destination) + length as u32 + u32::from(protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let mut v4 = [0u8; 28];
        v4[0] = 0x45;
        v4[3] = 28;
        assert!(is_ip(&v4) && !is_cut(&v4));
        v4[3] = 29;
        assert!(is_cut(&v4));
        let mut v6 = [0u8; 41];
        v6[0] = 0x60;
        v6[5] = 2;
        assert!(is_ip(&v6) && is_cut(&v6));
        assert!(!is_ip(&[]) && !is_ip(b"CONNECT 21600000") && !is_ip(&[0x45; 19]));
        // This is an ARP request without an Ethernet header, as the K5160 sends it.
        assert!(!is_ip(&[0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01]));
    }

    #[test]
    fn answers() {
        let mut echo = [0u8; 28];
        echo[0] = 0x45;
        echo[9] = ICMP;
        echo[20] = 8;
        assert!(deserves_answer(&echo));
        echo[20] = 0;
        assert!(!deserves_answer(&echo), "a reply expects nothing");
        let mut syn = [0u8; 40];
        syn[0] = 0x45;
        syn[9] = TCP;
        syn[33] = 0x02;
        assert!(deserves_answer(&syn));
        syn[33] = 0x10;
        assert!(!deserves_answer(&syn));
        let mut query = [0u8; 48];
        query[0] = 0x60;
        query[6] = UDP;
        query[43] = 53;
        assert!(deserves_answer(&query));
        assert!(!deserves_answer(&query[..42]));
    }

    #[test]
    fn answers_to_frames() {
        let host = [2, 0, 0, 0, 0, 1];
        let (ours, router) = ([10, 0, 0, 2], [10, 0, 0, 1]);
        let mut frame = arp_request(host, ours, router);
        assert!(frame_deserves_answer(&frame) && !is_arp_reply(&frame, ours));
        let ends = (IpAddr::from(ours), IpAddr::from(router));
        assert_eq!(frame_ends(&frame), Some(ends));
        frame[21] = 2;
        assert!(is_arp_reply(&frame, ours) && !frame_deserves_answer(&frame));
        assert!(!is_arp_reply(&frame[..41], ours));
        let probes = arp_request(host, [0; 4], router);
        let announces = arp_request(host, ours, ours);
        assert!(!frame_deserves_answer(&probes) && !frame_deserves_answer(&announces));

        let mut frame = broadcast_ipv4(host);
        let mut datagram = [0; 28];
        datagram[0] = 0x45;
        datagram[9] = UDP;
        datagram[20..24].copy_from_slice(&[0, 68, 0, 67]);
        frame.extend(datagram);
        assert!(frame_deserves_answer(&frame));
        frame[37] = 68;
        assert!(!frame_deserves_answer(&frame));
        frame[14] = 0x4f;
        assert!(!frame_deserves_answer(&frame) && !frame_deserves_answer(&frame[..14]));
    }

    #[test]
    fn checksum_of_rfc_1071() {
        // These are the values of the worked example of RFC 1071 section 3: the sum folds to ddf2.
        assert_eq!(
            fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
            !0xddf2
        );
        assert_eq!(sum(&[1, 2, 3]), 0x0102 + 0x0300);
    }
}
