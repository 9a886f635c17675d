//! Datagrams: addresses are replaced, the payload becomes zeros, and checksums are computed anew.
//!
//! Lengths, ports, flags, sequence numbers and the types of ICMP stay. Bytes that follow a header of a
//! protocol that is not known here are payload.

use std::ops::Range;

use uwwan_tun::checksum::Sum;

use super::identities::{Identities, Kind};
use super::report::Report;
use crate::packet::{ICMP, ICMPV6, TCP, UDP, discovery, icmpv6};

/// Ethernet types (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const IPV6: u16 = 0x86dd;

/// Ports of the protocols whose payload names hosts or gives addresses, and never stays: DNS, DHCP,
/// DHCPv6, multicast DNS, LLMNR.
const NAMING: [u16; 7] = [53, 67, 68, 546, 547, 5353, 5355];
/// Largest number of IPv6 extension headers that are walked.
const MOST_EXTENSIONS: usize = 8;

/// Scrubs datagrams, all by the same rules.
pub struct Scrubber<'a> {
    /// The identities that are replaced.
    pub identities: &'a mut Identities,
    /// The account in which what was replaced is counted.
    pub report: &'a mut Report,
    /// Whether the payload stays.
    pub keep_payload: bool,
}

impl Scrubber<'_> {
    /// Scrubs an Ethernet frame without its check sequence.
    pub fn frame(&mut self, frame: &mut [u8]) {
        for at in [0, 6] {
            if let Some(address) = array_at(frame, at)
                && self.identities.ethernet(address)
            {
                self.report.replaced(Kind::Ethernet);
            }
        }
        let mut at = 12;
        let mut kind = word(frame, at);
        while let Some(tag) = kind
            && VLAN.contains(&tag)
        {
            at += 4;
            kind = word(frame, at);
        }
        let body = frame.get_mut(at + 2..).unwrap_or_default();
        match kind {
            Some(IPV4 | IPV6) => self.packet(body),
            Some(ARP) => self.arp(body),
            _ => self.payload(body),
        }
    }

    /// Scrubs an IP packet.
    pub fn packet(&mut self, packet: &mut [u8]) {
        self.ip(packet, 0);
    }

    fn ip(&mut self, packet: &mut [u8], depth: usize) {
        match packet.first().map(|first| first >> 4) {
            Some(4) => self.ipv4(packet, depth),
            Some(6) => self.ipv6(packet, depth),
            _ => self.payload(packet),
        }
    }

    /// Zeroes the payload, unless payload is kept.
    pub fn payload(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() && !self.keep_payload {
            bytes.fill(0);
            self.report.replaced(Kind::Payload);
        }
    }

    fn v4(&mut self, bytes: &mut [u8], at: usize) {
        if let Some(address) = array_at(bytes, at)
            && self.identities.ipv4(address)
        {
            self.report.replaced(Kind::Address);
        }
    }

    fn v6(&mut self, bytes: &mut [u8], at: usize) {
        if let Some(address) = array_at(bytes, at)
            && self.identities.ipv6(address)
        {
            self.report.replaced(Kind::Address);
        }
    }

    /// Scrubs ARP (RFC 826) for Ethernet and IPv4.
    fn arp(&mut self, packet: &mut [u8]) {
        if packet.get(..6) != Some(&[0, 1, 8, 0, 6, 4]) {
            packet.fill(0);
            return;
        }
        for at in [8, 18] {
            if let Some(address) = array_at(packet, at)
                && self.identities.ethernet(address)
            {
                self.report.replaced(Kind::Ethernet);
            }
            self.v4(packet, at + 6);
        }
        packet.get_mut(28..).unwrap_or_default().fill(0);
    }

    fn ipv4(&mut self, packet: &mut [u8], depth: usize) {
        let header = usize::from(packet[0] & 15) * 4;
        if header < 20 || packet.len() < header {
            packet.fill(0);
            self.report
                .blanked("IP packets that end inside their header", 1);
            return;
        }
        let stated = usize::from(word(packet, 2).unwrap_or(0));
        let whole = (header..=packet.len()).contains(&stated);
        // Bytes behind the packet are padding, or were left in a buffer. A total length of 0 is that
        // of a segment that is still to be cut.
        if whole {
            packet[stated..].fill(0);
        }
        self.v4(packet, 12);
        self.v4(packet, 16);
        // Options hold routes and time stamps: each byte becomes a "no operation".
        packet[20..header].fill(1);
        let fragment = word(packet, 6).unwrap_or(0);
        let (protocol, first, last) = (packet[9], fragment & 0x1fff == 0, fragment & 0x2000 == 0);
        let end = if whole { stated } else { packet.len() };
        let pseudo = Sum::of(&packet[12..20]) + Sum::of_u16(protocol.into());
        self.transport(
            &mut packet[header..end],
            protocol,
            pseudo,
            first,
            whole && first && last,
            depth,
        );
        packet[10..12].fill(0);
        let sum = Sum::of(&packet[..header]).checksum();
        packet[10..12].copy_from_slice(&sum);
    }

    fn ipv6(&mut self, packet: &mut [u8], depth: usize) {
        if packet.len() < 40 {
            packet.fill(0);
            self.report
                .blanked("IP packets that end inside their header", 1);
            return;
        }
        let stated = 40 + usize::from(word(packet, 4).unwrap_or(0));
        let whole = stated <= packet.len();
        if whole {
            packet[stated..].fill(0);
        }
        self.v6(packet, 8);
        self.v6(packet, 24);
        let mut next = packet[6];
        let mut at = 40;
        let (mut first, mut alone) = (true, true);
        let end = stated.min(packet.len());
        for _ in 0..MOST_EXTENSIONS {
            // Hop-by-hop options, routing, fragment, destination options (RFC 8200).
            if !matches!(next, 0 | 43 | 44 | 60) {
                break;
            }
            let Some(head) = packet.get(at..at + 8) else {
                break;
            };
            let (after, length) = (head[0], usize::from(head[1]) * 8 + 8);
            let length = if next == 44 { 8 } else { length };
            let extension = packet.get_mut(at..(at + length).min(end));
            let Some(extension) = extension.filter(|extension| extension.len() >= 8) else {
                break;
            };
            match next {
                44 => {
                    let offset = word(extension, 2).unwrap_or(0);
                    first = offset & 0xfff8 == 0;
                    alone = offset & 0xfff9 == 0;
                }
                // A router alert identifies nobody; every other option becomes Pad1.
                0 if extension[2..6] == [5, 2, 0, 0] => extension[6..].fill(0),
                43 => extension[4..].fill(0),
                _ => extension[2..].fill(0),
            }
            next = after;
            at += length;
        }
        let at = at.min(end);
        let pseudo = Sum::of(&packet[8..40]) + Sum::of_u16(next.into());
        self.transport(
            &mut packet[at..end],
            next,
            pseudo,
            first,
            whole && first && alone,
            depth,
        );
    }

    /// Scrubs the payload of an IP packet. `first` says whether it begins in this packet, `whole`
    /// whether it ends there too. `pseudo` is the sum of the pseudo-header without the length.
    fn transport(
        &mut self,
        body: &mut [u8],
        protocol: u8,
        pseudo: Sum,
        first: bool,
        whole: bool,
        depth: usize,
    ) {
        if !first {
            self.payload(body);
            return;
        }
        let sum = match protocol {
            TCP => self.tcp(body),
            UDP => self.udp(body),
            ICMP => self.icmp(body, depth),
            ICMPV6 => self.icmpv6(body, depth),
            _ => {
                self.payload(body);
                return;
            }
        };
        let Some(field) = sum.and_then(|at| body.get_mut(at..at + 2)) else {
            return;
        };
        let unused = protocol == UDP && field == [0, 0];
        field.fill(0);
        if !whole {
            // A reader that has a part of a datagram cannot check the checksum either.
            self.report.checksum_left();
            return;
        }
        if unused {
            return;
        }
        let length = Sum::of_u16(body.len() as u16);
        let sum = match protocol {
            ICMP => Sum::of(body),
            _ => Sum::of(body) + pseudo + length,
        };
        let value = sum.checksum_not_zero();
        if let Some(field) = sum_place(protocol).and_then(|at| body.get_mut(at..at + 2)) {
            field.copy_from_slice(&value);
        }
    }

    fn tcp(&mut self, body: &mut [u8]) -> Option<usize> {
        let header = usize::from(body.get(12).copied().unwrap_or(0) >> 4) * 4;
        if header < 20 || body.len() < header {
            body.fill(0);
            return None;
        }
        let naming = [0, 2].iter().any(|at| is_naming(word(body, *at)));
        let (head, data) = body.split_at_mut(header);
        let mut options = &mut head[20..];
        while let Some(&kind) = options.first() {
            let length = match kind {
                0 | 1 => 1,
                _ => usize::from(options.get(1).copied().unwrap_or(0)),
            };
            if length == 0 || length > options.len() || kind > 1 && length < 2 {
                options.fill(0);
                break;
            }
            let (option, rest) = options.split_at_mut(length);
            // The options for segment size, window, selective acknowledgement and time stamps
            // identify nobody; any other may.
            if !matches!(kind, 0..=5 | 8) {
                option[2..].fill(0);
            }
            options = rest;
        }
        self.content(data, naming);
        sum_place(TCP)
    }

    fn udp(&mut self, body: &mut [u8]) -> Option<usize> {
        if body.len() < 8 {
            body.fill(0);
            return None;
        }
        let naming = [0, 2].iter().any(|at| is_naming(word(body, *at)));
        self.content(&mut body[8..], naming);
        sum_place(UDP)
    }

    fn content(&mut self, data: &mut [u8], naming: bool) {
        if naming && self.keep_payload {
            if !data.is_empty() {
                data.fill(0);
                self.report.replaced(Kind::Payload);
            }
        } else {
            self.payload(data);
        }
    }

    fn icmp(&mut self, body: &mut [u8], depth: usize) -> Option<usize> {
        let kind = *body.first()?;
        if body.len() < 8 {
            body.fill(0);
            return None;
        }
        let (head, data) = body.split_at_mut(8);
        match kind {
            // ICMP errors carry the packet they are about (RFC 792).
            3 | 4 | 5 | 11 | 12 => {
                if kind == 5 {
                    self.v4(head, 4);
                }
                self.inner(data, depth);
            }
            _ => self.payload(data),
        }
        sum_place(ICMP)
    }

    /// Scrubs the packet that an error is about. An error about an error is payload.
    fn inner(&mut self, data: &mut [u8], depth: usize) {
        if depth == 0 {
            self.ip(data, 1);
        } else {
            self.payload(data);
        }
    }

    fn icmpv6(&mut self, body: &mut [u8], depth: usize) -> Option<usize> {
        let kind = *body.first()?;
        if body.len() < 8 {
            body.fill(0);
            return None;
        }
        match kind {
            1..=4 => self.inner(&mut body[8..], depth),
            // Multicast listener queries, reports and dones (RFC 2710) carry a group's address.
            icmpv6::LISTENER_QUERY..=icmpv6::LISTENER_DONE if body.len() >= 24 => {
                self.v6(body, 8);
                body[24..].fill(0);
            }
            // Reports of MLDv2 (RFC 3810) carry addresses of groups and sources.
            icmpv6::LISTENER_REPORT_2 => self.listener_report(&mut body[8..]),
            icmpv6::ROUTER_SOLICITATION => self.options(&mut body[8..]),
            icmpv6::ROUTER_ADVERTISEMENT => {
                self.options(body.get_mut(16..).unwrap_or_default());
            }
            icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => {
                self.v6(body, 8);
                self.options(body.get_mut(24..).unwrap_or_default());
            }
            icmpv6::REDIRECT => {
                self.v6(body, 8);
                self.v6(body, 24);
                self.options(body.get_mut(40..).unwrap_or_default());
            }
            _ => self.payload(&mut body[8..]),
        }
        sum_place(ICMPV6)
    }

    fn listener_report(&mut self, mut records: &mut [u8]) {
        while records.len() >= 20 {
            let sources = usize::from(word(records, 2).unwrap_or(0));
            let more = usize::from(records[1]) * 4;
            let length = 20 + sources * 16 + more;
            if length > records.len() {
                break;
            }
            let (record, rest) = records.split_at_mut(length);
            for address in 0..=sources {
                self.v6(record, 4 + 16 * address);
            }
            record[20 + sources * 16..].fill(0);
            records = rest;
        }
        records.fill(0);
    }

    /// Scrubs the options of neighbour discovery (RFC 4861, RFC 8106).
    fn options(&mut self, mut options: &mut [u8]) {
        while options.len() >= 8 {
            let length = usize::from(options[1]) * 8;
            if length == 0 || length > options.len() {
                break;
            }
            let (option, rest) = options.split_at_mut(length);
            match option[0] {
                discovery::SOURCE_LINK_LAYER | discovery::TARGET_LINK_LAYER => {
                    if let Some(address) = array_at(option, 2)
                        && self.identities.ethernet(address)
                    {
                        self.report.replaced(Kind::Ethernet);
                    }
                    option[8..].fill(0);
                }
                discovery::PREFIX => self.v6(option, 16),
                discovery::REDIRECTED => option[2..].fill(0),
                discovery::MTU => {}
                discovery::NAME_SERVERS => {
                    for at in (8..option.len()).step_by(16) {
                        self.v6(option, at);
                    }
                }
                _ => option[2..].fill(0),
            }
            options = rest;
        }
        options.fill(0);
    }
}

fn is_naming(port: Option<u16>) -> bool {
    port.is_some_and(|port| NAMING.contains(&port))
}

/// Returns the offset of the checksum in a protocol's header.
const fn sum_place(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let range: Range<usize> = at..at + 2;
    Some(u16::from_be_bytes(bytes.get(range)?.try_into().ok()?))
}

fn array_at<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        Icmpv4Packet, Icmpv4Repr, IpAddress, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpPacket,
        UdpPacket,
    };

    use super::*;

    const SOURCE: Ipv4Address = Ipv4Address::new(10, 169, 198, 78);
    const TARGET: Ipv4Address = Ipv4Address::new(8, 8, 4, 4);

    fn scrub(packet: &[u8], keep_payload: bool) -> Vec<u8> {
        let mut new = packet.to_vec();
        let mut report = Report::default();
        Scrubber {
            identities: &mut Identities::default(),
            report: &mut report,
            keep_payload,
        }
        .packet(&mut new);
        assert_eq!(new.len(), packet.len());
        new
    }

    fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let repr = Ipv4Repr {
            src_addr: SOURCE,
            dst_addr: TARGET,
            next_header: protocol.into(),
            payload_len: body.len(),
            hop_limit: 64,
        };
        let mut packet = vec![0; 20 + body.len()];
        let mut view = Ipv4Packet::new_unchecked(&mut packet);
        repr.emit(&mut view, &ChecksumCapabilities::default());
        packet[20..].copy_from_slice(body);
        packet
    }

    fn tcp(payload: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 32];
        body[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        body[12] = 0x80;
        // The TCP options are time stamps, and a cookie of TCP Fast Open.
        body[20..32].copy_from_slice(&[34, 6, 0xde, 0xad, 0xbe, 0xef, 1, 1, 3, 3, 7, 1]);
        body.extend(payload);
        body
    }

    #[test]
    fn addresses_and_payload_go_and_checksums_are_right() {
        let mut udp = vec![0x30, 0x39, 0, 7, 0, 20, 0, 1];
        udp.extend(b"personal, it");
        for (protocol, body) in [(TCP, tcp(b"GET /me")), (UDP, udp)] {
            for keep in [false, true] {
                let packet = ipv4(protocol, &body);
                let new = scrub(&packet, keep);
                let view = Ipv4Packet::new_checked(&new[..]).unwrap();
                assert!(view.verify_checksum());
                let (from, to) = (view.src_addr(), view.dst_addr());
                assert_eq!(from, Ipv4Address::new(192, 0, 2, 1));
                assert_eq!(to, Ipv4Address::new(198, 51, 100, 1));
                let (from, to) = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
                let inside = view.payload();
                let kept = if protocol == TCP {
                    let segment = TcpPacket::new_checked(inside).unwrap();
                    assert!(segment.verify_checksum(&from, &to));
                    assert_eq!((segment.src_port(), segment.dst_port()), (12_345, 80));
                    assert_eq!(segment.options()[..8], [34, 6, 0, 0, 0, 0, 1, 1]);
                    segment.payload().to_vec()
                } else {
                    let datagram = UdpPacket::new_checked(inside).unwrap();
                    assert!(datagram.verify_checksum(&from, &to));
                    datagram.payload().to_vec()
                };
                assert_eq!(kept.iter().any(|byte| *byte != 0), keep);
            }
        }
    }

    #[test]
    fn names_go_even_from_payload_that_is_kept() {
        let mut udp = vec![0x30, 0x39, 0, 53, 0, 20, 0, 0];
        udp.extend(b"secret.where");
        let new = scrub(&ipv4(UDP, &udp), true);
        assert_eq!(new[28..], [0; 12]);
    }

    #[test]
    fn the_packet_inside_an_error_is_scrubbed_too() {
        let inner = ipv4(TCP, &tcp(b"hidden"));
        let header = Ipv4Repr::parse(
            &Ipv4Packet::new_checked(&inner[..]).unwrap(),
            &ChecksumCapabilities::default(),
        )
        .unwrap();
        let repr = Icmpv4Repr::DstUnreachable {
            reason: smoltcp::wire::Icmpv4DstUnreachable::PortUnreachable,
            header,
            data: &inner[20..],
        };
        let mut body = vec![0; repr.buffer_len()];
        repr.emit(
            &mut Icmpv4Packet::new_unchecked(&mut body),
            &ChecksumCapabilities::default(),
        );
        let new = scrub(&ipv4(ICMP, &body), false);
        let wanted = SOURCE.octets();
        assert!(!new.windows(4).any(|four| four == wanted));
        assert!(!new.windows(6).any(|six| six == b"hidden"));
        let message = Icmpv4Packet::new_checked(&new[20..]).unwrap();
        assert!(message.verify_checksum());
    }

    #[test]
    fn nobody_is_told_by_ipv6() {
        // The packet is a neighbour advertisement with a link-layer address, behind a hop-by-hop
        // option.
        let mut packet = vec![0x60, 0, 0, 0, 0, 40, 0, 255];
        let of = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        packet.extend(of("2a02:2121:1:2:aaaa:bbbb:cccc:dddd"));
        packet.extend(of("ff02::1:ffcc:dddd"));
        packet.extend([58, 0, 0x3e, 4, 1, 2, 3, 4]);
        packet.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
        packet.extend(of("2a02:2121:1:2:aaaa:bbbb:cccc:dddd"));
        packet.extend([2, 1, 0x58, 0x11, 0x22, 0x33, 0x44, 0x55]);
        let new = scrub(&packet, false);
        for telling in [
            &[0xcc, 0xdd][..],
            &[0x58, 0x11],
            &[0x2a, 0x02],
            &[1, 2, 3, 4],
        ] {
            assert!(
                !new.windows(telling.len()).any(|part| part == telling),
                "{telling:02x?} in {new:02x?}"
            );
        }
        assert_eq!(new[40..48], [58, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(new[72..], [2, 1, 2, 0, 0, 0, 0, 1]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, version in 0u8..16, protocol: u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | 5;
            }
            if let Some(at) = bytes.get_mut(if version == 6 { 6 } else { 9 }) {
                *at = protocol;
            }
            scrub(&bytes, false);
        }
    }
}
