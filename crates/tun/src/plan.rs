//! Plan of an interface: the addresses, routes and properties it should have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// Smallest MTU with which IPv6 works, in bytes (RFC 8200 section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// Address of an interface with the length of its on-link prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length in bits of the prefix that is on the link.
    pub prefix: u8,
}

impl Address {
    /// Makes an address with the length of its prefix in bits.
    #[must_use]
    pub fn new(ip: impl Into<IpAddr>, prefix: u8) -> Address {
        Address {
            ip: ip.into(),
            prefix,
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        masked(self.ip, self.prefix) == masked(ip, self.prefix) && self.ip.is_ipv4() == ip.is_ipv4()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// A range of addresses, given by its first address and the length of the prefix in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Range of all IPv4 addresses.
    pub const ALL_V4: Prefix = Prefix {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
    };
    /// Range of all IPv6 addresses.
    pub const ALL_V6: Prefix = Prefix {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        length: 0,
    };

    /// Makes the range of addresses that begin with the first `length` bits of `address`. Returns
    /// `None` when an address has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        (length <= bits(address)).then(|| Prefix {
            address: masked(address, length),
            length,
        })
    }

    /// Returns the first address of the range.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the length of the prefix in bits.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Returns whether the range is the whole of a family.
    #[must_use]
    pub fn is_default(self) -> bool {
        self.length == 0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl From<Prefix> for (IpAddr, u8) {
    fn from(prefix: Prefix) -> Self {
        (prefix.address, prefix.length)
    }
}

impl TryFrom<(IpAddr, u8)> for Prefix {
    type Error = &'static str;

    fn try_from((address, length): (IpAddr, u8)) -> Result<Self, Self::Error> {
        Prefix::new(address, length).ok_or("the prefix is longer than an address")
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// Reads a range such as `192.0.2.0/24` or `2001:db8::/32`. An address without a length is a
    /// range of one address.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for any other text.
    fn from_str(text: &str) -> Result<Prefix, Error> {
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(a, l)| (a, Some(l)));
        let parse = || {
            let address: IpAddr = address.trim().parse().ok()?;
            let length = match length {
                Some(length) => length.trim().parse().ok()?,
                None => bits(address),
            };
            Prefix::new(address, length)
        };
        parse().ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("read {text:?} as a range of addresses"),
                "it is neither an address nor an address with a prefix length",
                "write it like 192.0.2.0/24 or 2001:db8::/32",
            )
        })
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(length.into()))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(length.into()))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// Route through the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The range of addresses that the route leads to.
    pub destination: Prefix,
    /// Next hop, which need not be in the prefix of any address; `None` for a route on the link.
    pub gateway: Option<IpAddr>,
    /// Metric of the route: among routes to the same destination the lowest wins. `None` stands for
    /// the kernel's default, 0 for IPv4 and 1024 for IPv6.
    pub metric: Option<u32>,
}

impl Route {
    pub(crate) fn effective_metric(&self) -> u32 {
        self.metric.unwrap_or(match self.destination.address {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => 1024,
        })
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        match self.metric {
            Some(metric) => write!(f, " metric {metric}"),
            None => Ok(()),
        }
    }
}

/// One thing that a configuration has made so on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The interface is up.
    Link {
        /// Name of the interface.
        name: String,
        /// MTU in bytes.
        mtu: u32,
    },
    /// The interface has an address.
    Address(Address),
    /// A route leads through the interface.
    Route(Route),
    /// The kernel takes IPv6 addresses from router advertisements (RFC 4862).
    RouterAdvertisements {
        /// Whether it takes a default route from them, too.
        default_route: bool,
    },
}

/// Describes the change for people, in one line.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { name, mtu } => write!(f, "interface {name} up, MTU {mtu}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Route(route) => write!(f, "route {route}"),
            Self::RouterAdvertisements { default_route } => {
                let with = if *default_route { "with" } else { "without" };
                write!(f, "IPv6 from router advertisements, {with} default route")
            }
        }
    }
}

/// Source of the interface's IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ipv6 {
    /// The plan has all addresses. The kernel makes no link-local address of its own and ignores
    /// router advertisements.
    #[default]
    Static,
    /// The plan has addresses, and the host may add others as its settings for an Ethernet
    /// interface say.
    Host,
    /// The plan has a link-local address, and the kernel makes a global address from router
    /// advertisements (RFC 4862) with the same interface identifier.
    Slaac {
        /// Whether the advertising router becomes the default route.
        default_route: bool,
        /// Metric of that route, where the kernel can set it (Linux 5.11); `None` stands for its
        /// default of 1024.
        metric: Option<u32>,
    },
}

/// Addresses, routes and properties that an interface should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Length of the longest IP packet, in bytes.
    pub mtu: u32,
    /// Number of packets the kernel queues before the interface; `None` stands for its default of
    /// 500.
    pub tx_queue_length: Option<u32>,
    /// Addresses of the interface.
    pub addresses: Vec<Address>,
    /// Routes beside those that come with the prefixes of the addresses.
    pub routes: Vec<Route>,
    /// Source of the IPv6 addresses.
    pub ipv6: Ipv6,
}

/// Destinations whose traffic should go through the modem.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Through {
    /// Only destinations on the link of the addresses.
    #[default]
    Nothing,
    /// All destinations, in each family that has an address.
    Everything,
    /// Destinations in these ranges, in families that have an address.
    Ranges(Vec<Prefix>),
}

impl Plan {
    /// Makes the plan for the addresses and gateways that a network has given to a modem.
    ///
    /// A gateway that is unspecified (`::`, as the lt4132 reports), is the interface's own address,
    /// or is of the wrong family counts as none, and the routes are on the link. Where all IPv6
    /// addresses are link-local, SLAAC must complete them.
    #[must_use]
    pub fn for_modem(
        addresses: Vec<Address>,
        gateways: &[IpAddr],
        through: &Through,
        metric: Option<u32>,
        mtu: u32,
    ) -> Plan {
        let link_local = |address: &Address| match address.ip {
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let mut v6 = addresses
            .iter()
            .filter(|address| address.ip.is_ipv6())
            .peekable();
        let slaac = v6.peek().is_some() && v6.all(link_local);
        let ranges = match through {
            Through::Nothing => Vec::new(),
            Through::Everything => vec![Prefix::ALL_V4, Prefix::ALL_V6],
            Through::Ranges(ranges) => ranges.clone(),
        };
        let gateway = |family_of: IpAddr| {
            gateways.iter().copied().find(|gateway| {
                gateway.is_ipv4() == family_of.is_ipv4()
                    && !gateway.is_unspecified()
                    && !gateway.is_multicast()
                    && !addresses.iter().any(|own| own.ip == *gateway)
            })
        };
        let mut routes: Vec<Route> = Vec::new();
        for destination in ranges {
            let family_of = destination.address();
            if !addresses
                .iter()
                .any(|own| own.ip.is_ipv4() == family_of.is_ipv4())
            {
                tracing::debug!(%destination, "no route: the network gave no address of its family");
                continue;
            }
            // The router's advertisement brings this route.
            if slaac && destination == Prefix::ALL_V6 {
                continue;
            }
            let route = Route {
                destination,
                gateway: gateway(family_of),
                metric,
            };
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        let ipv6 = if slaac {
            let default_route = match through {
                Through::Everything => true,
                Through::Nothing => false,
                Through::Ranges(ranges) => ranges.contains(&Prefix::ALL_V6),
            };
            Ipv6::Slaac {
                default_route,
                metric,
            }
        } else {
            Ipv6::Static
        };
        Plan {
            mtu,
            tx_queue_length: None,
            addresses,
            routes,
            ipv6,
        }
    }

    /// Returns whether `gateway` is in the prefix of an address, so that it can be reached without
    /// a route of its own.
    pub(crate) fn on_link(&self, gateway: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|own| own.contains(gateway) && own.prefix < bits(own.ip))
    }

    /// Checks the plan for values that the kernel would refuse with an unexplained `EINVAL`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] that names the value.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |what: String, why: &str, next: &str| {
            Err(Error::new(ErrorKind::Invalid, what, why, next))
        };
        if !(68..=65_535).contains(&self.mtu) {
            return invalid(
                format!("set an MTU of {}", self.mtu),
                "it is out of range",
                "use 68 to 65535 bytes; 1500 is usual",
            );
        }
        let has_v6 = self.addresses.iter().any(|address| address.ip.is_ipv6());
        if has_v6 && self.mtu < IPV6_MIN_MTU {
            return invalid(
                format!("set an MTU of {} with IPv6", self.mtu),
                "IPv6 needs 1280 bytes",
                "raise the MTU, or connect with IPv4 only",
            );
        }
        for address in &self.addresses {
            if address.prefix > bits(address.ip)
                || address.ip.is_unspecified()
                || address.ip.is_multicast()
            {
                return invalid(
                    format!("give the interface the address {address}"),
                    "it is no host's address",
                    "look at what the modem reported",
                );
            }
        }
        for route in &self.routes {
            if route
                .gateway
                .is_some_and(|gateway| gateway.is_ipv4() != route.destination.address.is_ipv4())
            {
                return invalid(
                    format!("add the route {route}"),
                    "its gateway is of the other family",
                    "look at what the modem reported",
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_read_and_masked() {
        let range: Prefix = "192.0.2.77/24".parse().unwrap();
        assert_eq!(range.to_string(), "192.0.2.0/24");
        assert_eq!(
            "10.0.0.1".parse::<Prefix>().unwrap().to_string(),
            "10.0.0.1/32"
        );
        assert_eq!(
            "2001:db8:ffff::1/33".parse::<Prefix>().unwrap().to_string(),
            "2001:db8:8000::/33"
        );
        assert_eq!("0.0.0.0/0".parse::<Prefix>().unwrap(), Prefix::ALL_V4);
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(
                bad.parse::<Prefix>().unwrap_err().kind,
                ErrorKind::Invalid,
                "{bad}"
            );
        }
    }

    /// The addresses are those that the lt4132 was seen to report.
    #[test]
    fn the_modems_own_gateways_become_routes() {
        let addresses = vec![
            Address::new(ip("10.169.198.77"), 30),
            Address::new(ip("2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"), 64),
        ];
        let gateways = [ip("10.169.198.78"), ip("::")];
        let plan = Plan::for_modem(
            addresses.clone(),
            &gateways,
            &Through::Everything,
            None,
            1500,
        );
        assert_eq!(plan.ipv6, Ipv6::Static);
        let routes: Vec<_> = plan.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["0.0.0.0/0 via 10.169.198.78", "::/0"]);
        assert!(plan.on_link(ip("10.169.198.78")));

        let plan = Plan::for_modem(addresses, &gateways, &Through::Nothing, None, 1500);
        assert_eq!(plan.routes, []);
    }

    #[test]
    fn a_family_without_address_gets_no_route() {
        let addresses = vec![Address::new(ip("10.0.0.2"), 32)];
        let ranges = Through::Ranges(vec![
            "198.51.100.0/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]);
        let plan = Plan::for_modem(addresses, &[ip("10.0.0.2")], &ranges, Some(7), 1500);
        let routes: Vec<_> = plan.routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            routes,
            ["198.51.100.0/24 metric 7"],
            "its own address is no gateway"
        );
        assert!(!plan.on_link(ip("10.0.0.2")));
    }

    #[test]
    fn a_link_local_address_alone_is_completed_by_slaac() {
        let addresses = vec![Address::new(ip("fe80::5a2c:80ff:fe13:9208"), 64)];
        let plan = Plan::for_modem(
            addresses.clone(),
            &[],
            &Through::Everything,
            Some(700),
            1500,
        );
        assert_eq!(
            plan.ipv6,
            Ipv6::Slaac {
                default_route: true,
                metric: Some(700),
            }
        );
        assert_eq!(plan.routes, []);
        let plan = Plan::for_modem(addresses, &[], &Through::Nothing, None, 1500);
        assert_eq!(
            plan.ipv6,
            Ipv6::Slaac {
                default_route: false,
                metric: None,
            }
        );
    }

    #[test]
    fn what_the_kernel_would_refuse_is_explained() {
        let plan = |addresses: &[(&str, u8)], mtu| Plan {
            mtu,
            tx_queue_length: None,
            addresses: addresses
                .iter()
                .map(|&(a, p)| Address::new(ip(a), p))
                .collect(),
            routes: Vec::new(),
            ipv6: Ipv6::Static,
        };
        assert!(plan(&[("10.0.0.2", 30)], 576).check().is_ok());
        for bad in [
            plan(&[("10.0.0.2", 30)], 0),
            plan(&[("2001:db8::2", 64)], 1279),
            plan(&[("10.0.0.2", 33)], 1500),
            plan(&[("224.0.0.1", 24)], 1500),
            plan(&[("::", 64)], 1500),
        ] {
            assert_eq!(bad.check().unwrap_err().kind, ErrorKind::Invalid, "{bad:?}");
        }
    }
}
