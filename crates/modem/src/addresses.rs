//! Turns the network's IP configuration into the addresses, gateways, name servers and MTU of the
//! host's interface.

use std::net::{Ipv4Addr, Ipv6Addr};

use uwwan_mbim::services::basic_connect::IpConfiguration;

use crate::status::{Addresses, Prefix4, Prefix6};

/// The addresses that the network handed out, as decoded (MBIM 1.0 section 10.5.20).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// IPv4 addresses with prefix lengths.
    pub ipv4: Vec<(Ipv4Addr, u32)>,
    /// IPv6 addresses with prefix lengths.
    pub ipv6: Vec<(Ipv6Addr, u32)>,
    /// IPv4 gateway.
    pub gateway4: Option<Ipv4Addr>,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// IPv4 name servers.
    pub dns4: Vec<Ipv4Addr>,
    /// IPv6 name servers.
    pub dns6: Vec<Ipv6Addr>,
    /// MTU for IPv4 in bytes, 0 when not given.
    pub mtu4: u32,
    /// MTU for IPv6 in bytes, 0 when not given.
    pub mtu6: u32,
}

impl From<&IpConfiguration> for Given {
    fn from(configuration: &IpConfiguration) -> Self {
        Self {
            ipv4: configuration
                .ipv4_address
                .iter()
                .map(|element| (element.ipv4_address, element.on_link_prefix_length))
                .collect(),
            ipv6: configuration
                .ipv6_address
                .iter()
                .map(|element| (element.ipv6_address, element.on_link_prefix_length))
                .collect(),
            gateway4: configuration.ipv4_gateway,
            gateway6: configuration.ipv6_gateway,
            dns4: configuration.ipv4_dns_server.clone(),
            dns6: configuration.ipv6_dns_server.clone(),
            mtu4: configuration.ipv4_mtu,
            mtu6: configuration.ipv6_mtu,
        }
    }
}

/// Sizes that bear on the MTU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// MTU that the user has chosen.
    pub chosen: Option<u16>,
    /// `wMTU` of the extended functional descriptor.
    pub operator: Option<u16>,
    /// `wMaxSegmentSize` of the functional descriptor.
    pub segment: Option<u16>,
    /// Length of the longest datagram that fits into an NTB both ways.
    pub ntb: Option<u16>,
    /// Length of the longest datagram that fits into a frame, on an Ethernet link.
    pub frame: Option<u16>,
}

impl Sizes {
    /// Returns whether the link can carry IPv6, which wants 1280 bytes of every link (RFC 8200 section 5).
    #[must_use]
    pub fn carry_ipv6(&self) -> bool {
        let carries = |frame: u16| u32::from(frame) >= LEAST_MTU6;
        self.frame.is_none_or(carries)
    }
}

/// MTU in bytes that applies where neither the user, the network nor the device gives one.
const USUAL_MTU: u32 = 1500;
/// Least MTU of a link with IPv6, in bytes (RFC 8200 section 5).
const LEAST_MTU6: u32 = 1280;
const LEAST_MTU4: u32 = 576;

/// Returns the addresses that the host gets. IPv6 prefixes of 128 become 64: the network routes the
/// whole prefix and a gateway outside it could not be reached. A link-local IPv6 address is taken
/// only where there is no other: the host then makes a global one from router advertisements. A
/// gateway of all zeros means that everything is on-link. Name servers of all zeros are left out,
/// and each is listed once.
///
/// A link that cannot carry IPv6 gets no address and no name server of it.
///
/// The MTU is the user's choice; else the smaller of the network's; else the operator's wish in
/// the descriptor; else 1500. Segment and NTB size bound all of them.
#[must_use]
pub fn settle(given: &Given, sizes: Sizes) -> Addresses {
    let ipv4 = given
        .ipv4
        .iter()
        .find(|(address, _)| !address.is_unspecified());
    let usable = |address: &Ipv6Addr| !address.is_unspecified() && !address.is_multicast();
    let ipv6 = given
        .ipv6
        .iter()
        .find(|(address, _)| usable(address) && !address.is_unicast_link_local())
        .or_else(|| given.ipv6.iter().find(|(address, _)| usable(address)))
        .filter(|_| sizes.carry_ipv6());
    let ipv4 = ipv4.map(|(address, prefix)| Prefix4 {
        address: *address,
        prefix: match *prefix {
            0 | 33.. => 32,
            good => good as u8,
        },
    });
    let ipv6 = ipv6.map(|(address, prefix)| Prefix6 {
        address: *address,
        prefix: match *prefix {
            0 | 128.. => 64,
            good => good as u8,
        },
    });
    Addresses {
        gateway4: given
            .gateway4
            .filter(|gateway| ipv4.is_some() && !gateway.is_unspecified()),
        gateway6: given
            .gateway6
            .filter(|gateway| ipv6.is_some() && !gateway.is_unspecified()),
        dns4: once(&given.dns4, |server| !server.is_unspecified()),
        dns6: once(&given.dns6, |server| {
            !server.is_unspecified() && sizes.carry_ipv6()
        }),
        mtu: mtu(given, sizes, ipv6.is_some()),
        ipv4,
        ipv6,
    }
}

/// Returns whether there is an IPv6 address that only reaches the link: a global one may still
/// come.
#[must_use]
pub fn awaits_global(given: &Given) -> bool {
    let global = |address: &Ipv6Addr| !address.is_unspecified() && !address.is_unicast_link_local();
    !given.ipv6.is_empty() && !given.ipv6.iter().any(|(address, _)| global(address))
}

fn once<T: Copy + PartialEq>(servers: &[T], good: impl Fn(&T) -> bool) -> Vec<T> {
    let mut list = Vec::new();
    for server in servers.iter().filter(|server| good(server)) {
        if !list.contains(server) {
            list.push(*server);
        }
    }
    list
}

fn mtu(given: &Given, sizes: Sizes, has_ipv6: bool) -> u16 {
    let network = [given.mtu4, given.mtu6]
        .into_iter()
        .filter(|mtu| *mtu >= LEAST_MTU4)
        .min();
    let wanted = match sizes.chosen {
        Some(chosen) => u32::from(chosen),
        None => network
            .or(sizes.operator.map(u32::from))
            .unwrap_or(USUAL_MTU),
    };
    let bound = [sizes.segment, sizes.ntb]
        .into_iter()
        .flatten()
        .filter(|bound| *bound > 0);
    let most = bound.map(u32::from).min().unwrap_or(u32::from(u16::MAX));
    let least = if has_ipv6 { LEAST_MTU6 } else { LEAST_MTU4 };
    // A device that takes less than the least is wrong about it or of no use either way. A frame cannot be
    // longer than it can, though.
    let mtu = wanted.min(most).clamp(least, u32::from(u16::MAX)) as u16;
    sizes.frame.map_or(mtu, |frame| mtu.min(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Given {
        // The answer of an lt4132 with IPv6 unlocked (T. Anderson, 2018-12).
        Given {
            ipv4: vec![([10, 169, 198, 77].into(), 30)],
            ipv6: vec![(
                "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208".parse().unwrap(),
                64,
            )],
            gateway4: Some([10, 169, 198, 78].into()),
            gateway6: Some(Ipv6Addr::UNSPECIFIED),
            dns4: vec![[193, 213, 112, 4].into(), [130, 67, 15, 198].into()],
            dns6: vec![
                "2001:4600:4:fff::52".parse().unwrap(),
                "2001:4600:4:1fff::52".parse().unwrap(),
            ],
            mtu4: 1500,
            mtu6: 1500,
        }
    }

    #[test]
    fn the_answer_seen() {
        let addresses = settle(&seen(), Sizes::default());
        assert_eq!(
            addresses.list(),
            [
                "10.169.198.77/30",
                "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208/64"
            ]
        );
        assert_eq!(addresses.gateway4, Some([10, 169, 198, 78].into()));
        assert_eq!(addresses.gateway6, None, "all zeros: on-link");
        assert_eq!(
            (addresses.dns4.len(), addresses.dns6.len(), addresses.mtu),
            (2, 2, 1500)
        );
    }

    #[test]
    fn odd_answers() {
        let given = Given {
            ipv4: vec![(Ipv4Addr::UNSPECIFIED, 0), ([10, 0, 0, 1].into(), 0)],
            ipv6: vec![
                ("fe80::1".parse().unwrap(), 64),
                ("2001:db8::1".parse().unwrap(), 128),
            ],
            gateway4: Some(Ipv4Addr::UNSPECIFIED),
            dns4: vec![
                Ipv4Addr::UNSPECIFIED,
                [1, 1, 1, 1].into(),
                [1, 1, 1, 1].into(),
            ],
            ..Given::default()
        };
        let addresses = settle(&given, Sizes::default());
        assert_eq!(addresses.list(), ["10.0.0.1/32", "2001:db8::1/64"]);
        assert_eq!(addresses.gateway4, None);
        assert_eq!(addresses.dns4, [Ipv4Addr::new(1, 1, 1, 1)]);
        assert!(!awaits_global(&given));
        let local = Given {
            ipv6: vec![("fe80::1".parse().unwrap(), 64)],
            ..Given::default()
        };
        assert!(awaits_global(&local));
        assert_eq!(settle(&local, Sizes::default()).list(), ["fe80::1/64"]);
        assert!(!awaits_global(&Given::default()));
    }

    #[test]
    fn mtu_precedence() {
        let mtu = |mtu4, mtu6, sizes| {
            settle(
                &Given {
                    mtu4,
                    mtu6,
                    ..seen()
                },
                sizes,
            )
            .mtu
        };
        let sizes = Sizes {
            operator: Some(1430),
            segment: Some(2048),
            ..Sizes::default()
        };
        assert_eq!(mtu(0, 0, Sizes::default()), 1500);
        assert_eq!(mtu(0, 0, sizes), 1430);
        assert_eq!(mtu(1420, 1400, sizes), 1400);
        assert_eq!(mtu(1420, 0, sizes), 1420);
        assert_eq!(
            mtu(
                1420,
                1400,
                Sizes {
                    chosen: Some(1300),
                    ..sizes
                }
            ),
            1300
        );
        assert_eq!(mtu(9000, 0, sizes), 2048, "no more than a segment");
        assert_eq!(
            mtu(
                9000,
                0,
                Sizes {
                    ntb: Some(1900),
                    ..sizes
                }
            ),
            1900
        );
        assert_eq!(
            mtu(
                0,
                0,
                Sizes {
                    chosen: Some(600),
                    ..sizes
                }
            ),
            1280,
            "IPv6 needs 1280"
        );
        assert_eq!(mtu(1, 1, Sizes::default()), 1500, "nonsense is not given");
    }

    #[test]
    fn frames_below_the_least_of_ipv6_carry_ipv4_alone() {
        let sizes = |frame: u16| Sizes {
            frame: Some(frame),
            segment: Some(frame),
            ..Sizes::default()
        };
        let addresses = settle(&seen(), sizes(1279));
        assert_eq!(addresses.list(), ["10.169.198.77/30"]);
        assert_eq!((addresses.mtu, addresses.gateway6), (1279, None));
        assert!(addresses.dns6.is_empty() && !addresses.dns4.is_empty());
        let addresses = settle(&seen(), sizes(1280));
        assert_eq!((addresses.list().len(), addresses.mtu), (2, 1280));
        // Nor can the user's choice be longer than a frame.
        let chosen = Sizes {
            chosen: Some(1500),
            ..sizes(600)
        };
        assert_eq!(settle(&seen(), chosen).mtu, 600);
    }
}
