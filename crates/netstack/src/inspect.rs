//! The inspection of packets before the stack receives them.
//!
//! smoltcp trusts its input more than a stack that answers for every address can afford: an echo
//! request from the unspecified address, or fragments that add up to more than an IP packet can
//! hold, would end in a failed assertion. Such packets are dropped here.

/// Verdict on a packet from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The packet is for the stack.
    Pass,
    /// The packet is an ICMPv6 router solicitation, of which everything but the checksum was
    /// checked (RFC 4861 section 6.1.1).
    RouterSolicitation,
    /// The packet is neither IPv4 nor IPv6, or its lengths do not fit.
    Malformed,
    /// The source is an address to which no answer can be sent: unspecified, loopback, multicast,
    /// broadcast.
    BadSource,
    /// The destination is a group, a broadcast or a loopback address, which no host of the stack
    /// has.
    NotForHosts,
}

/// ICMPv6 message type of a router solicitation.
const ROUTER_SOLICITATION: u8 = 133;

/// Returns the verdict on one packet, judged by its headers.
#[must_use]
pub(crate) fn inspect(packet: &[u8]) -> Verdict {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => inspect_v4(packet),
        Some(6) => inspect_v6(packet),
        _ => Verdict::Malformed,
    }
}

fn inspect_v4(packet: &[u8]) -> Verdict {
    let Some(header) = packet.first_chunk::<20>() else {
        return Verdict::Malformed;
    };
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment_offset = usize::from(u16::from_be_bytes([header[6], header[7]]) & 0x1fff) * 8;
    if header_length < 20
        || total < header_length
        || total > packet.len()
        || fragment_offset + total > usize::from(u16::MAX)
    {
        return Verdict::Malformed;
    }
    // Special are 0/8 (this network), 127/8 (loopback), 224/4 (groups) and 240/4 (reserved,
    // broadcast).
    let special = |first: u8| first == 0 || first == 127 || first >= 224;
    if special(header[12]) {
        Verdict::BadSource
    } else if special(header[16]) {
        Verdict::NotForHosts
    } else {
        Verdict::Pass
    }
}

fn inspect_v6(packet: &[u8]) -> Verdict {
    let Some(header) = packet.first_chunk::<40>() else {
        return Verdict::Malformed;
    };
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if 40 + payload > packet.len() {
        return Verdict::Malformed;
    }
    let (next_header, hop_limit) = (header[6], header[7]);
    let (source, destination) = (&header[8..24], &header[24..40]);
    // `::` and `::1` differ in the last byte only.
    let near_zero =
        |address: &[u8]| address[..15].iter().all(|&byte| byte == 0) && address[15] <= 1;
    if source[0] != 0xff
        && next_header == 58
        && hop_limit == 255
        && payload >= 8
        && packet[40] == ROUTER_SOLICITATION
        && packet[41] == 0
    {
        return Verdict::RouterSolicitation;
    }
    if near_zero(source) || source[0] == 0xff {
        Verdict::BadSource
    } else if near_zero(destination) || destination[0] == 0xff {
        Verdict::NotForHosts
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
        packet.extend(source);
        packet.extend(destination);
        packet.extend([0; 8]);
        packet
    }

    fn v6(source: &str, destination: &str, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, hops];
        packet.extend(
            source
                .parse::<std::net::Ipv6Addr>()
                .expect("an address")
                .octets(),
        );
        packet.extend(
            destination
                .parse::<std::net::Ipv6Addr>()
                .expect("an address")
                .octets(),
        );
        packet.extend(payload);
        packet
    }

    #[test]
    fn ordinary_packets_pass() {
        assert_eq!(inspect(&v4([10, 0, 0, 2], [1, 1, 1, 1])), Verdict::Pass);
        assert_eq!(
            inspect(&v6("2001:db8::1", "2001:db8::2", 58, 64, &[128; 8])),
            Verdict::Pass
        );
        let mut padded = v4([10, 0, 0, 2], [1, 1, 1, 1]);
        padded.extend([0; 9]);
        assert_eq!(inspect(&padded), Verdict::Pass);
    }

    #[test]
    fn nobody_is_answered_who_cannot_be() {
        for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            assert_eq!(
                inspect(&v4(source, [1, 1, 1, 1])),
                Verdict::BadSource,
                "{source:?}"
            );
        }
        assert_eq!(inspect(&v4([10, 0, 0, 2], [255; 4])), Verdict::NotForHosts);
        assert_eq!(
            inspect(&v4([10, 0, 0, 2], [224, 0, 0, 251])),
            Verdict::NotForHosts
        );
        for source in ["::", "::1", "ff02::1"] {
            assert_eq!(
                inspect(&v6(source, "2001:db8::2", 17, 64, &[0; 8])),
                Verdict::BadSource
            );
        }
        assert_eq!(
            inspect(&v6("fe80::1", "ff02::16", 58, 1, &[143; 8])),
            Verdict::NotForHosts
        );
    }

    #[test]
    fn lengths_that_lie_are_malformed() {
        assert_eq!(inspect(&[]), Verdict::Malformed);
        assert_eq!(inspect(&[0x45; 10]), Verdict::Malformed);
        let mut packet = v4([10, 0, 0, 2], [1, 1, 1, 1]);
        packet[3] = 29;
        assert_eq!(inspect(&packet), Verdict::Malformed);
        packet[3] = 28;
        packet[0] = 0x44;
        assert_eq!(inspect(&packet), Verdict::Malformed);
        packet[0] = 0x45;
        (packet[6], packet[7]) = (0x1f, 0xff);
        assert_eq!(
            inspect(&packet),
            Verdict::Malformed,
            "it would end past 65535"
        );
        let mut packet = v6("fe80::1", "fe80::2", 17, 64, &[0; 8]);
        packet[5] = 9;
        assert_eq!(inspect(&packet), Verdict::Malformed);
    }

    #[test]
    fn router_solicitations_are_recognised() {
        let solicitation = [133, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            inspect(&v6("fe80::1", "ff02::2", 58, 255, &solicitation)),
            Verdict::RouterSolicitation
        );
        assert_eq!(
            inspect(&v6("::", "ff02::2", 58, 255, &solicitation)),
            Verdict::RouterSolicitation
        );
        // A packet with a hop limit below 255 came through a router (RFC 4861 section 6.1.1).
        assert_eq!(
            inspect(&v6("fe80::1", "ff02::2", 58, 254, &solicitation)),
            Verdict::NotForHosts
        );
    }

    proptest! {
        #[test]
        fn anything_gets_a_verdict(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let verdict = inspect(&packet);
            if packet.len() < 20 {
                prop_assert_eq!(verdict, Verdict::Malformed);
            }
        }
    }
}
