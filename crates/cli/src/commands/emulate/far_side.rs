//! The network behind the emulated modem, as the command line chooses it.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::str::FromStr;

use uwwan_emulator::{FarSide, far_side};
use uwwan_tun::{
    Address, Change, Configuration, ErrorKind, Offload, Plan, Prefix, Route, Tun, plan::Ipv6,
};

use super::far_offload::OffloadNetwork;
use crate::failure::{Failure, FailureKind};

/// The far side's own IPv6 address. The modem hands out no gateway, so any link-local address
/// serves.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// MTU of the network, in bytes.
const MTU: u32 = 1500;

/// The choice of a network: `builtin`, `tun:NAME` or `offload:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FarSideChoice {
    /// The built-in network.
    BuiltIn,
    /// A TUN interface of that name, one packet a call.
    Tun(String),
    /// A TUN interface of that name with segmentation and receive offload.
    Offload(String),
}

impl FromStr for FarSideChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "builtin" => Ok(Self::BuiltIn),
            Some(("tun", name)) if !name.is_empty() => Ok(Self::Tun(name.to_owned())),
            Some(("offload", name)) if !name.is_empty() => Ok(Self::Offload(name.to_owned())),
            _ => Err("expected builtin, tun:NAME or offload:NAME".to_owned()),
        }
    }
}

/// The far side's interface. Dropping it removes the addresses, and the interface unless it was
/// there before.
pub struct Interface {
    // Fields are dropped in this order: the addresses go while the interface is still there.
    configuration: Configuration,
    _tun: Option<Tun>,
}

impl Interface {
    /// Returns what was set up.
    pub fn changes(&self) -> Vec<Change> {
        self.configuration.changes()
    }
}

impl FarSideChoice {
    /// Opens the far side. A TUN interface gets the addresses of the gateway that the modem gives
    /// to its host.
    ///
    /// # Errors
    /// Fails when the interface cannot be made or configured.
    pub fn open(&self) -> Result<(FarSide, Option<Interface>), Failure> {
        let refuse = |error: uwwan_tun::Error| {
            let exit = match error.kind {
                ErrorKind::NoPermission => FailureKind::Permission,
                ErrorKind::Busy => FailureKind::Busy,
                ErrorKind::Invalid => FailureKind::Usage,
                _ => FailureKind::Host,
            };
            Failure::new(exit, format!("cannot {}", error.what))
                .at(format!("--far-side {self}"))
                .because(&error.why)
                .next(error.next.clone())
        };
        let (far_side, tun, configuration) = match self {
            Self::BuiltIn => return Ok((FarSide::BuiltIn, None)),
            Self::Tun(name) => {
                let tun = Tun::open(Some(name)).map_err(refuse)?;
                let configuration = Configuration::apply(plan(), &tun).map_err(refuse)?;
                let descriptor = tun.as_fd().try_clone_to_owned().map_err(|error| {
                    Failure::new(FailureKind::Host, "cannot use the far side's interface")
                        .because(error)
                })?;
                (FarSide::Descriptor(descriptor), Some(tun), configuration)
            }
            Self::Offload(name) => {
                let offload = Offload::open(Some(name), OffloadNetwork::WANTED).map_err(refuse)?;
                let configuration = Configuration::apply(plan(), &offload).map_err(refuse)?;
                let network = Box::new(OffloadNetwork::new(offload));
                (FarSide::Network(network), None, configuration)
            }
        };
        let interface = Interface {
            configuration,
            _tun: tun,
        };
        Ok((far_side, Some(interface)))
    }
}

impl std::fmt::Display for FarSideChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("builtin"),
            Self::Tun(name) => write!(f, "tun:{name}"),
            Self::Offload(name) => write!(f, "offload:{name}"),
        }
    }
}

/// Returns the addresses, the routes and the MTU of the gateway's end of data session 0.
fn plan() -> Plan {
    let four = far_side::v4(0);
    let six = far_side::v6(0);
    let hosts = Prefix::new(IpAddr::V6(six.address), six.prefix).map(|destination| Route {
        destination,
        gateway: None,
        metric: None,
    });
    Plan {
        mtu: MTU,
        tx_queue_length: None,
        addresses: vec![
            Address::new(four.gateway, four.prefix),
            Address::new(LINK_LOCAL, 64),
        ],
        routes: hosts.into_iter().collect(),
        ipv6: Ipv6::Static,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        assert_eq!("builtin".parse(), Ok(FarSideChoice::BuiltIn));
        for choice in ["builtin", "tun:far0", "offload:far0"] {
            let parsed: FarSideChoice = choice.parse().unwrap();
            assert_eq!(parsed.to_string(), choice);
        }
        for wrong in ["", "tun", "tun:", "offload:", "tap:far0", "Builtin"] {
            assert!(wrong.parse::<FarSideChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_gateway_is_where_the_modem_says() {
        let plan = plan();
        assert_eq!(plan.addresses[0].to_string(), "10.169.198.78/30");
        assert_eq!(
            plan.routes[0].destination.to_string(),
            "2a02:2121:2c4:7105::/64"
        );
    }
}
