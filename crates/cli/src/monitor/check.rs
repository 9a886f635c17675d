//! Checks of a request, made before the monitor acts on it.

use std::net::IpAddr;

use super::request::Network;
use crate::failure::{Failure, FailureKind};

/// Shortest prefixes in bits that an interface may have on its link, for IPv4 and IPv6. A shorter one
/// would draw traffic that no user has routed through the modem.
const SHORTEST: (u8, u8) = (8, 16);

/// Returns the failure for a request that is not carried out.
pub(super) fn refused(why: &str) -> Failure {
    Failure::new(FailureKind::Host, "the monitor refuses a request")
        .because(why)
        .next("look at what the modem reported; report it with the log")
}

/// Checks the addresses that the driver reports as given by the network.
///
/// # Errors
/// The reason in words why they are refused.
pub(super) fn network(network: &Network) -> Result<(), String> {
    let given = &network.addresses;
    if let Some(prefix) = given.ipv4 {
        host(prefix.address.into())?;
        length(prefix.prefix, SHORTEST.0, 32)?;
    }
    if let Some(prefix) = given.ipv6 {
        host(prefix.address.into())?;
        length(prefix.prefix, SHORTEST.1, 128)?;
    }
    let gateways = given.gateway4.into_iter().map(IpAddr::from);
    gateways
        .chain(given.gateway6.map(IpAddr::from))
        .chain(given.dns4.iter().copied().map(IpAddr::from))
        .chain(given.dns6.iter().copied().map(IpAddr::from))
        .try_for_each(host)
}

/// Checks that an address is that of one host elsewhere.
fn host(address: IpAddr) -> Result<(), String> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let address = address.to_canonical();
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || broadcast {
        return Err(format!("{address} is no address of a host"));
    }
    Ok(())
}

fn length(prefix: u8, least: u8, most: u8) -> Result<(), String> {
    if (least..=most).contains(&prefix) {
        return Ok(());
    }
    Err(format!(
        "a prefix of {prefix} bits is not from {least} to {most}"
    ))
}

/// Returns the notification, if it consists of messages that the driver may send.
pub(super) fn notification(text: &str) -> Option<&str> {
    let known = ["READY=1", "STOPPING=1", "WATCHDOG=1"];
    text.lines()
        .all(|line| known.contains(&line) || line.starts_with("STATUS="))
        .then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::status::{Addresses, Prefix4, Prefix6};

    fn given(change: impl FnOnce(&mut Addresses)) -> Network {
        let mut addresses = Addresses {
            ipv4: Some(Prefix4 {
                address: [10, 169, 198, 77].into(),
                prefix: 30,
            }),
            gateway4: Some([10, 169, 198, 78].into()),
            ipv6: Some(Prefix6 {
                address: "fe80::1".parse().unwrap(),
                prefix: 64,
            }),
            dns4: vec![[193, 213, 112, 4].into()],
            mtu: 1500,
            ..Addresses::default()
        };
        change(&mut addresses);
        Network {
            addresses,
            ethernet: None,
        }
    }

    #[test]
    fn what_networks_give_passes() {
        assert_eq!(network(&given(|_| ())), Ok(()));
        assert_eq!(network(&Network::default()), Ok(()));
    }

    #[test]
    fn what_would_catch_other_traffic_is_refused() {
        let refused = |change: fn(&mut Addresses)| network(&given(change)).unwrap_err();
        for change in [
            (|a| a.ipv4.as_mut().unwrap().prefix = 1) as fn(&mut Addresses),
            |a| a.ipv4.as_mut().unwrap().prefix = 33,
            |a| a.ipv6.as_mut().unwrap().prefix = 3,
            |a| a.ipv4.as_mut().unwrap().address = [127, 0, 0, 53].into(),
            |a| a.ipv4.as_mut().unwrap().address = [224, 0, 0, 1].into(),
            |a| a.ipv6.as_mut().unwrap().address = "::1".parse().unwrap(),
            |a| a.ipv6.as_mut().unwrap().address = "::ffff:127.0.0.1".parse().unwrap(),
            |a| a.gateway4 = Some([255; 4].into()),
            |a| a.gateway6 = Some("ff02::1".parse().unwrap()),
            |a| a.dns4.push([127, 0, 0, 1].into()),
            |a| a.dns6.push("::1".parse().unwrap()),
        ] {
            assert!(!refused(change).is_empty());
        }
    }

    #[test]
    fn the_service_manager_hears_of_states_only() {
        assert!(notification("READY=1\nSTATUS=online through uwwan0").is_some());
        assert!(notification("WATCHDOG=1").is_some());
        for bad in ["MAINPID=1", "STATUS=x\nFDSTORE=1", "READY=0", "READY=1\n\n"] {
            assert!(notification(bad).is_none(), "{bad}");
        }
    }
}
