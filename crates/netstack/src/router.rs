//! Router advertisements, for hosts that have only a link-local address and wait for SLAAC
//! (RFC 4861 section 4.2, RFC 4862, RFC 8106 for name servers).

use std::net::Ipv6Addr;

use smoltcp::wire::{IpProtocol, checksum};

/// Router advertisement with which solicitations are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Link-local address of the router.
    pub router: Ipv6Addr,
    /// Prefix from which hosts form their addresses.
    pub prefix: Ipv6Addr,
    /// Length of the prefix in bits, which must be 64 for SLAAC.
    pub prefix_length: u8,
    /// Time in seconds for which the prefix is valid and preferred.
    pub prefix_lifetime: u32,
    /// Time in seconds for which the router is a default router; 0 when it is none.
    pub router_lifetime: u16,
    /// MTU of the link in bytes, if it is announced.
    pub mtu: Option<u32>,
    /// Recursive name servers, of which the first eight are announced.
    pub name_servers: Vec<Ipv6Addr>,
}

impl RouterAdvertisement {
    /// Makes the advertisement of a default router for half an hour, with a /64 prefix for two
    /// hours.
    #[must_use]
    pub fn new(router: Ipv6Addr, prefix: Ipv6Addr) -> RouterAdvertisement {
        RouterAdvertisement {
            router,
            prefix,
            prefix_length: 64,
            prefix_lifetime: 7200,
            router_lifetime: 1800,
            mtu: None,
            name_servers: Vec::new(),
        }
    }

    /// Returns the answer to a router solicitation as a whole IPv6 packet; `None` when the checksum
    /// of the solicitation is wrong. [`crate::inspect::inspect`] must have found the packet to be a
    /// solicitation.
    #[must_use]
    pub(crate) fn answer(&self, solicitation: &[u8]) -> Option<Vec<u8>> {
        let header = solicitation.first_chunk::<40>()?;
        let source = address(&header[8..24])?;
        let destination = address(&header[24..40])?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = solicitation.get(40..40 + length)?;
        if icmpv6_sum(source, destination, message) != 0xffff {
            return None;
        }
        // A host without an address can only receive at a group (RFC 4861 section 6.2.6).
        let to = if source.is_unspecified() {
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
        } else {
            source
        };
        Some(self.packet(to))
    }

    /// Returns the advertisement as a whole IPv6 packet with the destination `to`.
    #[must_use]
    pub(crate) fn packet(&self, to: Ipv6Addr) -> Vec<u8> {
        let mut message = Vec::with_capacity(128);
        message.extend([134, 0, 0, 0]);
        // The hop limit for hosts is 64, and neither the managed nor the other-configuration flag
        // is set.
        message.extend([64, 0]);
        message.extend(self.router_lifetime.to_be_bytes());
        message.extend([0; 8]);
        // The prefix information is on-link and autonomous. A raw IP link has no neighbours, so
        // hosts that take the prefix as on-link still reach it through the link.
        message.extend([3, 4, self.prefix_length, 0xc0]);
        message.extend(self.prefix_lifetime.to_be_bytes());
        message.extend(self.prefix_lifetime.to_be_bytes());
        message.extend([0; 4]);
        message.extend(self.prefix.octets());
        if let Some(mtu) = self.mtu {
            message.extend([5, 1, 0, 0]);
            message.extend(mtu.to_be_bytes());
        }
        let servers = &self.name_servers[..self.name_servers.len().min(8)];
        if !servers.is_empty() {
            message.extend([25, 1 + 2 * servers.len() as u8, 0, 0]);
            message.extend(self.prefix_lifetime.to_be_bytes());
            for server in servers {
                message.extend(server.octets());
            }
        }
        let sum = !icmpv6_sum(self.router, to, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());

        let mut packet = Vec::with_capacity(40 + message.len());
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((message.len() as u16).to_be_bytes());
        packet.extend([58, 255]);
        packet.extend(self.router.octets());
        packet.extend(to.octets());
        packet.append(&mut message);
        packet
    }
}

/// Reads an IPv6 address of 16 bytes.
fn address(octets: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from)
}

/// Returns the one's complement sum over pseudo-header and message (RFC 8200 section 8.1).
fn icmpv6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    checksum::combine(&[
        checksum::pseudo_header_v6(
            &source,
            &destination,
            IpProtocol::Icmpv6,
            message.len() as u32,
        ),
        checksum::data(message),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::{Icmpv6Packet, Ipv6Packet};

    fn advertisement() -> RouterAdvertisement {
        let mut advertisement =
            RouterAdvertisement::new("fe80::1".parse().unwrap(), "2001:db8:7::".parse().unwrap());
        advertisement.mtu = Some(1428);
        advertisement.name_servers = vec!["2001:db8::53".parse().unwrap()];
        advertisement
    }

    fn solicitation(source: Ipv6Addr) -> Vec<u8> {
        let routers = "ff02::2".parse().unwrap();
        let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
        let sum = !icmpv6_sum(source, routers, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 58, 255];
        packet.extend(source.octets());
        packet.extend(routers.octets());
        packet.extend(message);
        packet
    }

    #[test]
    fn the_advertisement_has_every_option_in_its_place() {
        let packet = advertisement()
            .answer(&solicitation("fe80::2".parse().unwrap()))
            .unwrap();
        let ip = Ipv6Packet::new_checked(&packet[..]).unwrap();
        assert_eq!(
            (ip.hop_limit(), ip.dst_addr()),
            (255, "fe80::2".parse().unwrap())
        );
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
        let mut want = vec![134, 0, packet[42], packet[43], 64, 0, 0x07, 0x08];
        want.extend([0; 8]);
        want.extend([
            3, 4, 64, 0xc0, 0, 0, 0x1c, 0x20, 0, 0, 0x1c, 0x20, 0, 0, 0, 0,
        ]);
        want.extend([0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        want.extend([5, 1, 0, 0, 0, 0, 0x05, 0x94]);
        want.extend([25, 3, 0, 0, 0, 0, 0x1c, 0x20]);
        want.extend([
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
        ]);
        assert_eq!(ip.payload(), want);
    }

    #[test]
    fn a_host_without_address_is_answered_at_all_nodes() {
        let packet = advertisement()
            .answer(&solicitation(Ipv6Addr::UNSPECIFIED))
            .unwrap();
        assert_eq!(
            packet[24..40],
            "ff02::1".parse::<Ipv6Addr>().unwrap().octets()
        );
    }

    #[test]
    fn a_damaged_solicitation_is_not_answered() {
        let mut packet = solicitation("fe80::2".parse().unwrap());
        packet[44] ^= 1;
        assert_eq!(advertisement().answer(&packet), None);
        assert_eq!(advertisement().answer(&packet[..44]), None);
    }
}
