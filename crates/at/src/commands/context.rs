//! Contexts (PDP contexts of 3GPP TS 27.007): which are defined, which are active, and with what
//! addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AnswerError, MOST_ITEMS, Query, all, first};
use crate::values::Value;

/// Address family of a context, `PDP type` in 3GPP TS 27.007, 10.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    /// `IP`: addresses of IPv4.
    Ipv4,
    /// `IPV6`: addresses of IPv6.
    Ipv6,
    /// `IPV4V6`: addresses of both families.
    Ipv4v6,
    /// Any other kind, such as `PPP`, as the modem writes it.
    Other(String),
}

impl ContextKind {
    fn new(text: &str) -> Self {
        match text {
            "IP" | "IPV4" => Self::Ipv4,
            "IPV6" => Self::Ipv6,
            "IPV4V6" => Self::Ipv4v6,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A defined context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Number of the context (`<cid>`).
    pub id: u8,
    /// Address family of the context.
    pub kind: ContextKind,
    /// Access point name.
    pub apn: String,
}

/// Answer to `AT+CGDCONT?`: the defined contexts (3GPP TS 27.007, 10.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts(pub Vec<Context>);

impl Query for Contexts {
    const COMMAND: &'static str = "AT+CGDCONT?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        all(lines, "+CGDCONT")
            .take(MOST_ITEMS)
            .map(|mut values| {
                Some(Context {
                    id: values.number()?,
                    kind: ContextKind::new(values.text()),
                    apn: values.text().to_owned(),
                })
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(AnswerError::Unreadable("+CGDCONT"))
    }
}

/// Answer to `AT+CGDCONT=?`: the kinds of contexts that can be defined. A modem locked to IPv4
/// names only [`ContextKind::Ipv4`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextKinds(pub Vec<ContextKind>);

impl Query for ContextKinds {
    const COMMAND: &'static str = "AT+CGDCONT=?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let kinds: Vec<_> = all(lines, "+CGDCONT")
            .take(MOST_ITEMS)
            .filter_map(|mut values| values.nth(1))
            .map(|kind| ContextKind::new(kind.text()))
            .collect();
        if kinds.is_empty() {
            return Err(AnswerError::Missing("+CGDCONT"));
        }
        Ok(Self(kinds))
    }
}

/// An active context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveContext {
    /// Number of the context (`<cid>`).
    pub id: u8,
    /// Identity of the bearer the context runs on, if given.
    pub bearer: Option<u8>,
    /// Access point name as the network writes it, such as `internet.mnc001.mcc240.gprs`.
    pub apn: String,
    /// Address the network gave to the host.
    pub address: Option<IpAddr>,
    /// Subnet mask of that address, if given.
    pub mask: Option<IpAddr>,
    /// Address of the gateway.
    pub gateway: Option<IpAddr>,
    /// Addresses of the DNS servers.
    pub dns: Vec<IpAddr>,
}

/// Answer to `AT+CGCONTRDP`: the active contexts as the network set them up (3GPP TS 27.007,
/// 10.1.23). A context with addresses of both families has a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveContexts(pub Vec<ActiveContext>);

impl Query for ActiveContexts {
    const COMMAND: &'static str = "AT+CGCONTRDP";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        all(lines, "+CGCONTRDP")
            .take(MOST_ITEMS)
            .map(|mut values| {
                let id = values.number()?;
                let bearer = values.number();
                let apn = values.text().to_owned();
                let (address, mask) = address_and_mask(values.text());
                let gateway = address_and_mask(values.text()).0;
                let dns = values
                    .take(2)
                    .filter_map(|value| address_and_mask(value.text()).0)
                    .collect();
                Some(ActiveContext {
                    id,
                    bearer,
                    apn,
                    address,
                    mask,
                    gateway,
                    dns,
                })
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(AnswerError::Unreadable("+CGCONTRDP"))
    }
}

/// Reads an address in any form that answers have: dotted decimal for both families (4 or 16
/// numbers), with a mask of the same length behind it or without, or with colons. An address or a
/// mask that is missing is `None`.
fn address_and_mask(text: &str) -> (Option<IpAddr>, Option<IpAddr>) {
    if text.contains(':') {
        let address = text.split('/').next().unwrap_or(text);
        return (address.parse().ok().map(IpAddr::V6), None);
    }
    let octets: Option<Vec<u8>> = text.split('.').map(|octet| octet.parse().ok()).collect();
    let octets = octets.unwrap_or_default();
    let v4 = |octets: &[u8]| {
        <[u8; 4]>::try_from(octets)
            .ok()
            .map(|o| IpAddr::V4(o.into()))
    };
    let v6 = |octets: &[u8]| {
        <[u8; 16]>::try_from(octets)
            .ok()
            .map(|o| IpAddr::V6(o.into()))
    };
    match octets.len() {
        4 => (v4(&octets), None),
        8 => (v4(&octets[..4]), v4(&octets[4..])),
        16 => (v6(&octets), None),
        32 => (v6(&octets[..16]), v6(&octets[16..])),
        _ => (None, None),
    }
}

/// Answer to `AT+CGPADDR`: the number and the addresses of each context (3GPP TS 27.007, 10.1.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextAddresses(pub Vec<(u8, Vec<IpAddr>)>);

impl Query for ContextAddresses {
    const COMMAND: &'static str = "AT+CGPADDR";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        all(lines, "+CGPADDR")
            .take(MOST_ITEMS)
            .map(|mut values| {
                let id = values.number()?;
                let addresses = values
                    .take(2)
                    .filter_map(|value| address_and_mask(value.text()).0)
                    .filter(|address| !address.is_unspecified())
                    .collect();
                Some((id, addresses))
            })
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(AnswerError::Unreadable("+CGPADDR"))
    }
}

/// Answer to `AT^DHCP?`: the IPv4 configuration of the connection made with `^NDISDUP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dhcp {
    /// Address the network gave to the host.
    pub address: Ipv4Addr,
    /// Subnet mask of that address.
    pub mask: Ipv4Addr,
    /// Address of the gateway.
    pub gateway: Ipv4Addr,
    /// Address of the DHCP server, mostly that of the gateway again.
    pub server: Ipv4Addr,
    /// Addresses of the DNS servers; unspecified where there is none.
    pub dns: [Ipv4Addr; 2],
}

/// Reads an address as `^DHCP` writes it: hexadecimal, with the last octet first and without
/// leading zeros.
fn little_endian(value: Value<'_>) -> Option<Ipv4Addr> {
    let number = u32::try_from(value.hex()?).ok()?;
    Some(Ipv4Addr::from(number.swap_bytes()))
}

impl Query for Dhcp {
    const COMMAND: &'static str = "AT^DHCP?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let mut values = first(lines, "^DHCP")?;
        let mut next = || {
            values
                .next()
                .and_then(little_endian)
                .ok_or(AnswerError::Unreadable("^DHCP"))
        };
        Ok(Self {
            address: next()?,
            mask: next()?,
            gateway: next()?,
            server: next()?,
            dns: [next()?, next()?],
        })
    }
}

/// Answer to `AT^DHCPV6?`: the IPv6 configuration of the connection made with `^NDISDUP`. The
/// values are in the order of [`Dhcp`], with addresses as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dhcpv6 {
    /// Address the network gave to the host.
    pub address: Ipv6Addr,
    /// Length of the address's prefix in bits, which firmware writes as a number or as a mask; 64
    /// where it writes neither.
    pub prefix: u8,
    /// Address of the gateway; unspecified where there is none.
    pub gateway: Ipv6Addr,
    /// Addresses of the DNS servers; unspecified where there is none.
    pub dns: [Ipv6Addr; 2],
}

impl Query for Dhcpv6 {
    const COMMAND: &'static str = "AT^DHCPV6?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let unreadable = AnswerError::Unreadable("^DHCPV6");
        let values: Vec<_> = first(lines, "^DHCPV6")?.take(8).collect();
        let address = |index: usize| -> Option<Ipv6Addr> {
            match values.get(index)?.text() {
                "" => Some(Ipv6Addr::UNSPECIFIED),
                text => text.parse().ok(),
            }
        };
        let prefix = values.get(1).and_then(|value| {
            let mask =
                || Some(u128::from(value.text().parse::<Ipv6Addr>().ok()?).leading_ones() as u8);
            value.number::<u8>().or_else(mask)
        });
        Ok(Self {
            address: address(0).ok_or(unreadable)?,
            prefix: prefix
                .filter(|length| (1..=128).contains(length))
                .unwrap_or(64),
            gateway: address(2).unwrap_or(Ipv6Addr::UNSPECIFIED),
            dns: [4, 5].map(|index| address(index).unwrap_or(Ipv6Addr::UNSPECIFIED)),
        })
    }
}

/// Answer to `AT^NDISSTATQRY?`: whether a connection made with `^NDISDUP` is up, by address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkInterface {
    /// Whether the connection is up for IPv4; `None` when the modem does not say.
    pub ipv4: Option<bool>,
    /// Whether the connection is up for IPv6; `None` when the modem does not say.
    pub ipv6: Option<bool>,
}

impl Query for NetworkInterface {
    const COMMAND: &'static str = "AT^NDISSTATQRY?";

    fn parse(lines: &[String]) -> Result<Self, AnswerError> {
        let values: Vec<_> = first(lines, "^NDISSTATQRY")?.take(32).collect();
        let mut state = Self::default();
        // Each group has the state, the error, an unused value and the address family. A state
        // alone is that of IPv4.
        for group in values.chunks(4) {
            let connected = group[0]
                .number::<u8>()
                .map(|state| state == 1)
                .ok_or(AnswerError::Unreadable("^NDISSTATQRY"))?;
            match group.get(3).map_or("", |kind| kind.text()) {
                "IPV6" => state.ipv6 = Some(connected),
                _ => state.ipv4 = Some(connected),
            }
        }
        if values.is_empty() {
            return Err(AnswerError::Unreadable("^NDISSTATQRY"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refuses};
    use super::*;

    fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }

    #[test]
    fn kinds_before_and_after_the_unlock() {
        let locked = "+CGDCONT: (0-11),\"IP\",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)\nOK";
        assert_eq!(parse::<ContextKinds>(locked).0, [ContextKind::Ipv4]);
        let unlocked = "+CGDCONT: (0-11),\"IP\",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)\n\
             +CGDCONT: (0-11),\"IPV6\",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)\n\
             +CGDCONT: (0-11),\"IPV4V6\",,,(0-2),(0-3),(0,1),(0,1),(0-2),(0,1)\nOK";
        assert_eq!(
            parse::<ContextKinds>(unlocked).0,
            [ContextKind::Ipv4, ContextKind::Ipv6, ContextKind::Ipv4v6]
        );
        refuses::<ContextKinds>("OK");
    }

    #[test]
    fn defined_contexts() {
        let contexts: Contexts = parse(
            "+CGDCONT: 0,\"IP\",\"telenor.smart\",\"\",0,0\n\
             +CGDCONT: 1,\"IPV4V6\",\"\",\"0.0.0.0\",0,0",
        );
        assert_eq!(contexts.0[0].apn, "telenor.smart");
        assert_eq!(contexts.0[1].kind, ContextKind::Ipv4v6);
        assert_eq!(parse::<Contexts>("OK").0, [], "none defined");
        refuses::<Contexts>("+CGDCONT: x,\"IP\"");
    }

    #[test]
    fn active_contexts_in_both_families() {
        let contexts: ActiveContexts = parse(
            "+CGCONTRDP: 1,5,internet.mnc001.mcc240.gprs,10.169.198.77.255.255.255.252,10.169.198.78,193.213.112.4,130.67.15.198\n\
             +CGCONTRDP: 1,5,\"apn\",\"42.2.33.33.2.196.113.5.90.44.128.255.254.19.146.8\",,\"32.1.70.0.0.4.15.255.0.0.0.0.0.0.0.82\"",
        );
        let first = &contexts.0[0];
        assert_eq!(first.address, Some(v4(10, 169, 198, 77)));
        assert_eq!(first.mask, Some(v4(255, 255, 255, 252)));
        assert_eq!(first.gateway, Some(v4(10, 169, 198, 78)));
        assert_eq!(first.dns, [v4(193, 213, 112, 4), v4(130, 67, 15, 198)]);
        let second = &contexts.0[1];
        assert_eq!(
            second.address,
            Some("2a02:2121:2c4:7105:5a2c:80ff:fe13:9208".parse().unwrap())
        );
        assert_eq!(second.gateway, None);
        assert_eq!(
            second.dns,
            ["2001:4600:4:fff::52".parse::<IpAddr>().unwrap()]
        );
        refuses::<ActiveContexts>("+CGCONTRDP: ?");
    }

    #[test]
    fn addresses() {
        let addresses: ContextAddresses = parse(
            "+CGPADDR: 1,\"10.169.198.77\",\"2a02:2121::1\"\n+CGPADDR: 2,\"0.0.0.0\"\n+CGPADDR: 3",
        );
        assert_eq!(addresses.0[0].1.len(), 2);
        assert!(addresses.0[1].1.is_empty());
        assert!(addresses.0[2].1.is_empty());
        for odd in ["", "1.2.3", "1.2.3.256", "a.b.c.d", "::g", "1.2.3.4.5"] {
            assert_eq!(address_and_mask(odd), (None, None), "{odd}");
        }
    }

    #[test]
    fn dhcp() {
        let dhcp: Dhcp =
            parse("^DHCP: CCDB080A,F8FFFFFF,C9DB080A,C9DB080A,E67B59C0,E77B59C0,85600,85600\nOK");
        assert_eq!(dhcp.address, Ipv4Addr::new(10, 8, 219, 204));
        assert_eq!(dhcp.mask, Ipv4Addr::new(255, 255, 255, 248));
        assert_eq!(dhcp.gateway, Ipv4Addr::new(10, 8, 219, 201));
        assert_eq!(
            dhcp.dns,
            [
                Ipv4Addr::new(192, 89, 123, 230),
                Ipv4Addr::new(192, 89, 123, 231)
            ]
        );
        let short: Dhcp = parse("^DHCP: 1010A0A,0xFFFFFF,1,1,0,0,1,1");
        assert_eq!(short.address, Ipv4Addr::new(10, 10, 1, 1));
        assert_eq!(short.mask, Ipv4Addr::new(255, 255, 255, 0));
        refuses::<Dhcp>("^DHCP: CCDB080A");
        refuses::<Dhcp>("^DHCP: 1CCDB080A,0,0,0,0,0");
    }

    #[test]
    fn dhcp_of_ipv6() {
        let dhcp: Dhcpv6 = parse(
            "^DHCPV6: 2001:db8::2,ffff:ffff:ffff:ffff::,fe80::1,::,2001:db8::53,::,150000000,50000000\nOK",
        );
        assert_eq!(dhcp.address, "2001:db8::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(
            (dhcp.prefix, dhcp.gateway),
            (64, "fe80::1".parse().unwrap())
        );
        assert_eq!(
            dhcp.dns,
            ["2001:db8::53".parse().unwrap(), Ipv6Addr::UNSPECIFIED]
        );
        assert_eq!(parse::<Dhcpv6>("^DHCPV6: \"2001:db8::2\",56").prefix, 56);
        assert_eq!(parse::<Dhcpv6>("^DHCPV6: ::,,,").prefix, 64);
        refuses::<Dhcpv6>("^DHCPV6: CCDB080A");
        refuses::<Dhcpv6>("^DHCPV6");
    }

    #[test]
    fn network_interface() {
        let both: NetworkInterface = parse("^NDISSTATQRY: 1,,,\"IPV4\",0,,,\"IPV6\"");
        assert_eq!((both.ipv4, both.ipv6), (Some(true), Some(false)));
        let short: NetworkInterface = parse("^NDISSTATQry:1");
        assert_eq!((short.ipv4, short.ipv6), (Some(true), None));
        refuses::<NetworkInterface>("^NDISSTATQRY: x");
    }
}
