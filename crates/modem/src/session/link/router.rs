//! Router advertisements: the IPv6 address, the MTU and the name servers (RFC 4861, RFC 4862 and
//! RFC 8106).

use std::net::Ipv6Addr;
use std::time::Instant;

use super::repeat::Repeat;
use crate::addresses::Given;
use crate::packet::discovery::{MTU, NAME_SERVERS, PREFIX};
use crate::packet::icmpv6::{ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION};
use crate::packet::{ICMPV6, fold, pseudo6, sum};

/// Address of all routers on the link (RFC 4291, 2.7.1).
pub(super) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Returns whether an IPv6 datagram is a router advertisement.
pub(super) fn is_advertisement(datagram: &[u8]) -> bool {
    datagram.get(6) == Some(&ICMPV6) && datagram.get(40) == Some(&ROUTER_ADVERTISEMENT)
}

/// The host's part in neighbour discovery: it solicits routers for advertisements until one has
/// come, and keeps their content.
#[derive(Debug)]
pub(super) struct Router {
    /// Random number that makes the host's interface identifier. Other hosts of the network see it.
    number: u64,
    repeat: Repeat,
    /// Address that the host makes in the advertised prefix.
    address: Option<Ipv6Addr>,
    /// MTU in bytes, 0 when no router gave one.
    mtu: u32,
    servers: Vec<Ipv6Addr>,
}

impl Router {
    pub(super) fn new(now: Instant, number: u64) -> Self {
        Self {
            number,
            repeat: Repeat::from(now),
            address: None,
            mtu: 0,
            servers: Vec::new(),
        }
    }

    /// Returns whether an address is known.
    pub(super) fn is_settled(&self) -> bool {
        self.address.is_some()
    }

    /// Puts the routers' configuration in place of the modem's.
    pub(super) fn give(&self, given: &mut Given) {
        if let Some(address) = self.address {
            given.ipv6 = vec![(address, 64)];
        }
        if self.mtu != 0 {
            given.mtu6 = self.mtu;
        }
        if !self.servers.is_empty() {
            given.dns6.clone_from(&self.servers);
        }
    }

    /// Returns the time at which [`Router::timeout`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.repeat.next
    }

    /// Returns the router solicitation that is due.
    pub(super) fn timeout(&mut self, now: Instant, settled: bool) -> Option<Vec<u8>> {
        self.repeat.is_due(now).then(|| {
            self.repeat.sent(now, settled);
            self.solicitation()
        })
    }

    /// Handles a router advertisement, which ends the solicitations if it is valid.
    pub(super) fn handle(&mut self, datagram: &[u8]) {
        if self.advertisement(datagram).is_some() {
            self.repeat.next = None;
        }
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
        // The identifier is not made from a hardware address (RFC 4291, 2.5.1).
        octets[8] &= 0xfd;
        octets.into()
    }

    /// Handles a router advertisement (RFC 4861, 6.1.2 and 6.3.4; RFC 4862, 5.5.3).
    fn advertisement(&mut self, datagram: &[u8]) -> Option<()> {
        let length = usize::from(u16::from_be_bytes([*datagram.get(4)?, *datagram.get(5)?]));
        let message = datagram.get(40..40 + length)?;
        let (source, destination) = (&datagram[8..24], &datagram[24..40]);
        let checksum = fold(pseudo6(source, destination, length, ICMPV6) + sum(message));
        // No router beyond the link can have sent an advertisement with hop limit 255.
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
                // The prefix has 64 bits, is meant for addresses that hosts make themselves, and is
                // valid.
                PREFIX if option.len() == 32 && option[2] == 64 && option[3] & 0x40 != 0 => {
                    let valid = option[4..8] != [0; 4];
                    let octets = <[u8; 8]>::try_from(&option[16..24]).ok()?;
                    if valid && is_usable(octets) && prefix.is_none() {
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
            Some(prefix) => self.address = Some(self.address_in(prefix)),
            // An advertisement without a prefix adds to the earlier ones (RFC 4861, 6.3.4).
            None if self.address.is_none() => return None,
            None => {}
        }
        if let Some(mtu) = mtu {
            self.mtu = mtu;
        }
        if !servers.is_empty() {
            self.servers = servers;
        }
        self.servers.retain(|server| !ended.contains(server));
        Some(())
    }
}

/// Returns whether a host can make an address that reaches beyond the link in this prefix of 64
/// bits. Prefixes of multicast, link-local, unspecified and loopback addresses are not usable.
fn is_usable(prefix: [u8; 8]) -> bool {
    let on_link = prefix[0] == 0xfe && prefix[1] & 0xc0 == 0x80;
    !on_link && prefix[0] != 0xff && prefix != [0; 8]
}
