//! Configuration of a host interface, and the plan of addresses and routes that follows from it.

use std::net::IpAddr;

use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Configuration, Error, Plan, Prefix};

use crate::options::{Dns, Routes, SessionOptions, TunMode};
use crate::status::{Addresses, HostChange, Interface};

/// Configuration of a host interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// MBIM session id of the data session.
    pub session: u8,
    /// Addresses, gateways, name servers and MTU.
    pub addresses: Addresses,
    /// Name wanted for the interface; `None` leaves it to the kernel.
    pub name: Option<String>,
    /// Mode in which packets are to cross a TUN interface.
    pub tun_mode: TunMode,
    /// Routes through the modem.
    pub routes: Routes,
    /// Metric of these routes; `None` stands for the kernel's default.
    pub route_metric: Option<u32>,
    /// Whether and how the modem's name servers are set on the host.
    pub dns: Dns,
    /// Properties of an interface for Ethernet frames, with a plain network device or a modem whose
    /// Ethernet link the host has; `None` when the interface carries IP datagrams.
    pub ethernet: Option<Ethernet>,
}

impl HostConfig {
    /// Returns the configuration that follows from the options of a data session, before the network
    /// has given addresses.
    #[must_use]
    pub fn for_session(options: &SessionOptions) -> Self {
        Self {
            session: options.id,
            addresses: Addresses::default(),
            name: options.tun_name.clone(),
            tun_mode: options.tun_mode,
            routes: options.routes.clone(),
            route_metric: options.route_metric,
            dns: options.dns,
            ethernet: None,
        }
    }
}

/// Properties of a host interface for Ethernet frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// MAC address of the interface; `None` leaves it to the kernel.
    pub address: Option<[u8; 6]>,
    /// Whether the device has a link. [`HostControl::set_carrier`](super::HostControl::set_carrier)
    /// reports later changes.
    pub carrier: bool,
}

/// Returns the addresses, routes and MTU an interface should have.
///
/// # Errors
/// [`uwwan_tun::ErrorKind::Invalid`] for a route that cannot be read.
pub(super) fn plan(config: &HostConfig) -> Result<Plan, Error> {
    let given = &config.addresses;
    let v4 = given
        .ipv4
        .iter()
        .map(|prefix| Address::new(prefix.address, prefix.prefix));
    let v6 = given
        .ipv6
        .iter()
        .map(|prefix| Address::new(prefix.address, prefix.prefix));
    let gateway4 = given.gateway4.map(IpAddr::from);
    let gateways: Vec<IpAddr> = gateway4
        .into_iter()
        .chain(given.gateway6.map(IpAddr::from))
        .collect();
    let through = match &config.routes {
        Routes::None => Through::Nothing,
        Routes::Default => Through::Everything,
        Routes::Prefixes(list) => {
            let ranges: Result<Vec<Prefix>, Error> = list.iter().map(|text| text.parse()).collect();
            Through::Ranges(ranges?)
        }
    };
    let addresses = v4.chain(v6).collect();
    Ok(Plan::for_modem(
        addresses,
        &gateways,
        &through,
        config.route_metric,
        given.mtu.into(),
    ))
}

/// Returns the status of an interface with what was changed on the host and is there, for programs and for
/// people. `about` tells the rest.
pub(super) fn configured(configuration: &Configuration, about: Interface) -> Interface {
    let changes = configuration.changes();
    Interface {
        applied: changes.iter().map(ToString::to_string).collect(),
        changes: changes.into_iter().map(HostChange::from).collect(),
        ..about
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Prefix4, Prefix6};

    fn config(routes: Routes) -> HostConfig {
        HostConfig {
            session: 0,
            addresses: Addresses {
                ipv4: Some(Prefix4 {
                    address: [10, 169, 198, 77].into(),
                    prefix: 30,
                }),
                gateway4: Some([10, 169, 198, 78].into()),
                ipv6: Some(Prefix6 {
                    address: "2001:db8::77".parse().unwrap(),
                    prefix: 64,
                }),
                mtu: 1500,
                ..Addresses::default()
            },
            name: None,
            tun_mode: TunMode::default(),
            routes,
            route_metric: Some(700),
            dns: Dns::None,
            ethernet: None,
        }
    }

    #[test]
    fn what_the_network_gave_becomes_a_plan() {
        let bare = plan(&config(Routes::None)).unwrap();
        assert_eq!(
            (bare.addresses.len(), bare.routes.len(), bare.mtu),
            (2, 0, 1500)
        );
        let all = plan(&config(Routes::Default)).unwrap();
        assert!(all.routes.iter().all(|route| route.metric == Some(700)));
        let gateways: Vec<_> = all.routes.iter().map(|route| route.gateway).collect();
        assert_eq!(gateways, [Some([10, 169, 198, 78].into()), None]);
        let some = plan(&config(Routes::Prefixes(vec!["192.0.2.0/24".into()]))).unwrap();
        assert_eq!(some.routes.len(), 1);
        let bad = plan(&config(Routes::Prefixes(vec!["nonsense".into()]))).unwrap_err();
        assert!(
            bad.what.contains("nonsense") && !bad.next.is_empty(),
            "{bad}"
        );
    }
}
