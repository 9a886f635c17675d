//! The little of packets that the driver looks at: version, length, and what deserves an answer.

use std::net::IpAddr;

use uwwan_ncm::Stream;

use crate::kind::ETHERNET_HEADER;

/// IP protocol numbers (IANA).
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Whether the datagram starts like IPv4 or IPv6 and is at least as long as the header.
#[must_use]
pub(crate) fn is_ip(datagram: &[u8]) -> bool {
    match datagram.first().map(|byte| byte >> 4) {
        Some(4) => datagram.len() >= 20,
        Some(6) => datagram.len() >= 40,
        _ => false,
    }
}

/// Whether a packet from the host is what its stream carries.
#[must_use]
pub(crate) fn fits(stream: Stream, packet: &[u8]) -> bool {
    match stream {
        Stream::Ethernet { .. } => packet.len() >= usize::from(ETHERNET_HEADER),
        _ => is_ip(packet),
    }
}

/// Whether a packet that may have up to `longest` bytes is longer, or was cut off. An Ethernet frame
/// does not say how long it is: it must be read into more room than `longest`.
#[must_use]
pub(crate) fn is_too_long(stream: Stream, packet: &[u8], longest: usize) -> bool {
    packet.len() > longest || (!is_ethernet(stream) && is_cut(packet))
}

/// Whether the stream carries Ethernet frames.
#[must_use]
pub(crate) const fn is_ethernet(stream: Stream) -> bool {
    matches!(stream, Stream::Ethernet { .. })
}

/// Length the IP header gives the datagram, in bytes; `None` when it gives none (jumbograms).
fn declared_len(datagram: &[u8]) -> Option<usize> {
    let field = |at: usize| usize::from(u16::from_be_bytes([datagram[at], datagram[at + 1]]));
    match datagram[0] >> 4 {
        4 => Some(field(2)),
        _ => Some(field(4)).filter(|len| *len != 0).map(|len| len + 40),
    }
}

/// Whether an IP datagram was cut off: its header says it is longer than it is.
#[must_use]
pub(crate) fn is_cut(datagram: &[u8]) -> bool {
    declared_len(datagram).is_some_and(|len| len > datagram.len())
}

/// Whether a host that sent this expects something back: an opening TCP segment, a name query or
/// an echo request. Extension headers count as "no".
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

/// Returns source and destination of an IP datagram.
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

/// The Internet checksum's running sum over `bytes` (RFC 1071), not yet folded.
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

/// The running sum of an IPv6 pseudo header (RFC 8200 section 8.1).
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
        // An ARP request without an Ethernet header, as the K5160 sends it.
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
    fn checksum_of_rfc_1071() {
        // The worked example of RFC 1071 section 3: the sum folds to ddf2.
        assert_eq!(
            fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
            !0xddf2
        );
        assert_eq!(sum(&[1, 2, 3]), 0x0102 + 0x0300);
    }
}
