//! Status of the host's interface of a data session.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Host's interface of a data session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Interface {
    /// Name of the interface, or a description where it has none.
    pub name: String,
    /// Kind of the interface.
    pub kind: InterfaceType,
    /// Whether large packets cross the interface and are cut and merged by the driver.
    pub offload: bool,
    /// Way in which packets cross the interface, for people: the mode of a TUN interface with its
    /// offloads, or why it is plain.
    pub mode: String,
    /// Changes that were made on the host and are there.
    pub changes: Vec<HostChange>,
    /// Commands that root has still to give, where this user may not configure the interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_to_root: Vec<String>,
    /// Changes, listeners for other programs, and what could not be done, a line each for people.
    pub applied: Vec<String>,
}

/// Kind of the host's interface of a data session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceType {
    /// A TUN interface, whose packets are IP datagrams.
    #[default]
    Tun,
    /// A TAP interface, whose packets are Ethernet frames.
    Tap,
    /// The network stack in this process.
    BuiltIn,
    /// An interface of another program, which configures it itself.
    OtherProgram,
}

/// Change that was made on the host for a data session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HostChange {
    /// The interface is up.
    Link {
        /// MTU in bytes.
        mtu: u32,
    },
    /// The interface has an address.
    Address {
        /// Address.
        address: IpAddr,
        /// Length of the on-link prefix in bits.
        prefix: u8,
    },
    /// A route leads through the interface.
    Route {
        /// First address of the destination.
        address: IpAddr,
        /// Length of the destination's prefix in bits; 0 for a default route.
        prefix: u8,
        /// Next hop; `None` for a route on the link.
        gateway: Option<IpAddr>,
        /// Metric; `None` for the kernel's default.
        metric: Option<u32>,
    },
    /// The kernel takes IPv6 addresses from router advertisements.
    RouterAdvertisements {
        /// Whether it takes a default route from them, too.
        default_route: bool,
    },
    /// The host's resolver has the network's name servers.
    NameServers {
        /// Their addresses.
        servers: Vec<IpAddr>,
    },
}

impl From<uwwan_tun::Change> for HostChange {
    fn from(change: uwwan_tun::Change) -> Self {
        use uwwan_tun::Change;
        match change {
            Change::Link { mtu, .. } => Self::Link { mtu },
            Change::Address(uwwan_tun::Address { ip, prefix }) => Self::Address {
                address: ip,
                prefix,
            },
            Change::Route(route) => Self::Route {
                address: route.destination.address(),
                prefix: route.destination.length(),
                gateway: route.gateway,
                metric: route.metric,
            },
            Change::RouterAdvertisements { default_route } => {
                Self::RouterAdvertisements { default_route }
            }
        }
    }
}
