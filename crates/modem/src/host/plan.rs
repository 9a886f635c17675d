//! What a host's end is to be configured with, and what that means for an interface.

use std::net::IpAddr;

use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Error, Plan, Prefix};

use crate::options::{Dns, Routes, TunMode};
use crate::status::Addresses;

/// What the host's end is to be configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Addresses, gateways, name servers, MTU.
    pub addresses: Addresses,
    /// Wanted interface name.
    pub name: Option<String>,
    /// How packets are to cross a TUN interface.
    pub tun_mode: TunMode,
    /// Routes through the modem.
    pub routes: Routes,
    /// Metric of these routes; `None` is the kernel's default.
    pub route_metric: Option<u32>,
    /// What to do with name servers.
    pub dns: Dns,
    /// With a plain network device: frames go to and fro, not IP datagrams.
    pub ethernet: Option<Ethernet>,
}

/// What a host's end for Ethernet frames is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// Its address; `None` leaves it to the host.
    pub address: Option<[u8; 6]>,
    /// Whether the device has a link. Later changes come with [`HostControl::set_carrier`](super::HostControl::set_carrier).
    pub carrier: bool,
}

/// Returns what an interface should have.
///
/// # Errors
/// [`uwwan_tun::ErrorKind::Invalid`] for a route that is none.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Prefix4, Prefix6};

    fn config(routes: Routes) -> HostConfig {
        HostConfig {
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
