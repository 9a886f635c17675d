//! Neighbour solicitations on a link without neighbours.
//!
//! MBIM carries bare IP datagrams and a TUN interface answers no neighbour discovery, yet some
//! modems solicit the host's address and stop routing to it when no station advertises it (Linux
//! `cdc_mbim.c`, `do_neigh_solicit`). So the driver answers, for the host's own addresses only,
//! after the checks of RFC 4861 section 7.1.1, which the kernel leaves out. The solicitation still
//! goes up to the host.

use std::net::Ipv6Addr;

use crate::packet::{ICMPV6, fold, icmpv6, pseudo6, sum};

/// Length of the advertisement in bytes: IPv6 header, message, target link-layer address.
pub const ADVERTISEMENT: usize = 72;

/// Link-layer address of the host on a link that has none; locally administered.
pub(crate) const LINK_LAYER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Returns the advertisement that answers `datagram`, when it is a valid solicitation for one of
/// `addresses`. It names the link-layer address `host`.
#[must_use]
pub fn answer(
    datagram: &[u8],
    addresses: &[Ipv6Addr],
    host: [u8; 6],
) -> Option<[u8; ADVERTISEMENT]> {
    // The checks are for version 6, next header ICMPv6 and hop limit 255: no router can have
    // forwarded it.
    if datagram.len() < 64 || datagram[0] >> 4 != 6 || datagram[6] != ICMPV6 || datagram[7] != 255 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    let message = datagram.get(40..40 + length)?;
    if length < 24 || message[0] != icmpv6::NEIGHBOUR_SOLICITATION || message[1] != 0 {
        return None;
    }
    let (source, destination) = (&datagram[8..24], &datagram[24..40]);
    if fold(pseudo6(source, destination, length, ICMPV6) + sum(message)) != 0 {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).ok()?);
    if !addresses.iter().any(|ours| is_ours(target, *ours)) {
        return None;
    }
    let mut options = &message[24..];
    let mut has_source_link_layer = false;
    while !options.is_empty() {
        let size = usize::from(*options.get(1)?) * 8;
        if size == 0 || size > options.len() {
            return None;
        }
        has_source_link_layer |= options[0] == 1;
        options = &options[size..];
    }
    let from = Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?);
    let to = Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?);
    let octets = target.octets();
    let node = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(octets[13]),
        u16::from_be_bytes([octets[14], octets[15]]),
    );
    let probing = from.is_unspecified();
    if from.is_multicast()
        || (to != node && (to != target || probing))
        || (probing && has_source_link_layer)
    {
        return None;
    }
    // A station that asks whether the address is free has no address yet: the answer goes to all
    // nodes.
    let reply_to = if probing {
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
    } else {
        from
    };

    let mut reply = [0u8; ADVERTISEMENT];
    reply[0] = 0x60;
    reply[5] = 32;
    reply[6] = ICMPV6;
    reply[7] = 255;
    reply[8..24].copy_from_slice(&octets);
    reply[24..40].copy_from_slice(&reply_to.octets());
    reply[40] = icmpv6::NEIGHBOUR_ADVERTISEMENT;
    // The flags are: solicited, unless the answer is to such a question; neither router nor
    // override.
    reply[44] = if probing { 0x20 } else { 0x40 };
    reply[48..64].copy_from_slice(&octets);
    reply[64] = 2;
    reply[65] = 1;
    reply[66..72].copy_from_slice(&host);
    let checksum = fold(pseudo6(&reply[8..24], &reply[24..40], 32, ICMPV6) + sum(&reply[40..]));
    reply[42..44].copy_from_slice(&checksum.to_be_bytes());
    Some(reply)
}

/// Returns whether an address is the host's. A link-local address of the host also stands for the
/// addresses that the host makes with its interface identifier (RFC 4862 section 5.5.3).
fn is_ours(target: Ipv6Addr, ours: Ipv6Addr) -> bool {
    let made = ours.is_unicast_link_local() && target.octets()[8..] == ours.octets()[8..];
    target == ours || made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(datagram: &[u8], addresses: &[Ipv6Addr]) -> Option<[u8; ADVERTISEMENT]> {
        super::answer(datagram, addresses, LINK_LAYER)
    }

    const OURS: Ipv6Addr = Ipv6Addr::new(
        0x2a02, 0x2121, 0x2c4, 0x7105, 0x5a2c, 0x80ff, 0xfe13, 0x9208,
    );

    fn solicitation(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        target: Ipv6Addr,
        options: &[u8],
    ) -> Vec<u8> {
        let mut packet = vec![0u8; 64];
        packet.extend_from_slice(options);
        let length = packet.len() - 40;
        packet[0] = 0x60;
        packet[5] = length as u8;
        packet[6] = ICMPV6;
        packet[7] = 255;
        packet[8..24].copy_from_slice(&source.octets());
        packet[24..40].copy_from_slice(&destination.octets());
        packet[40] = icmpv6::NEIGHBOUR_SOLICITATION;
        packet[48..64].copy_from_slice(&target.octets());
        seal(&mut packet);
        packet
    }

    fn seal(packet: &mut [u8]) {
        packet[42..44].fill(0);
        let checksum = fold(
            pseudo6(&packet[8..24], &packet[24..40], packet.len() - 40, ICMPV6)
                + sum(&packet[40..]),
        );
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
    }

    fn node() -> Ipv6Addr {
        "ff02::1:ff13:9208".parse().unwrap()
    }

    fn router() -> Ipv6Addr {
        "fe80::1".parse().unwrap()
    }

    #[test]
    fn answers_for_our_address() {
        let link_layer = [1, 1, 2, 0, 0, 0, 0, 9];
        let reply = answer(&solicitation(router(), node(), OURS, &link_layer), &[OURS]).unwrap();
        assert_eq!(reply[8..24], OURS.octets());
        assert_eq!(reply[24..40], router().octets());
        assert_eq!((reply[7], reply[40], reply[44]), (255, 136, 0x40));
        assert_eq!(reply[48..64], OURS.octets());
        // The sum over pseudo-header and message, checksum included, is all ones.
        assert_eq!(
            fold(pseudo6(&reply[8..24], &reply[24..40], 32, ICMPV6) + sum(&reply[40..])),
            0
        );
    }

    #[test]
    fn answers_a_probe_to_all_nodes() {
        let reply = answer(
            &solicitation(Ipv6Addr::UNSPECIFIED, node(), OURS, &[]),
            &[OURS],
        )
        .unwrap();
        assert_eq!(
            reply[24..40],
            "ff02::1".parse::<Ipv6Addr>().unwrap().octets()
        );
        assert_eq!(reply[44] & 0x40, 0);
    }

    #[test]
    fn ignores_what_is_not_for_us_or_not_valid() {
        let good = solicitation(router(), node(), OURS, &[]);
        assert!(answer(&good, &[OURS]).is_some());
        assert!(answer(&good, &[]).is_none(), "no address of ours");
        let other = "2001:db8::1".parse().unwrap();
        assert!(answer(&solicitation(router(), node(), other, &[]), &[OURS]).is_none());
        assert!(
            answer(&solicitation(router(), other, OURS, &[]), &[OURS]).is_none(),
            "odd destination"
        );
        let link_local = "fe80::5a2c:80ff:fe13:9208".parse().unwrap();
        assert!(
            answer(&good, &[link_local]).is_some(),
            "made from our interface identifier"
        );
        let mut forwarded = good.clone();
        forwarded[7] = 254;
        assert!(answer(&forwarded, &[OURS]).is_none(), "hop limit");
        let mut corrupt = good.clone();
        corrupt[43] ^= 1;
        assert!(answer(&corrupt, &[OURS]).is_none(), "checksum");
        let probing = solicitation(
            Ipv6Addr::UNSPECIFIED,
            node(),
            OURS,
            &[1, 1, 2, 0, 0, 0, 0, 9],
        );
        assert!(
            answer(&probing, &[OURS]).is_none(),
            "a probe names no link-layer address"
        );
        assert!(
            answer(
                &solicitation(router(), node(), OURS, &[1, 0, 0, 0]),
                &[OURS]
            )
            .is_none(),
            "empty option"
        );
        for len in 0..good.len() {
            assert!(answer(&good[..len], &[OURS]).is_none(), "cut to {len}");
        }
    }
}
