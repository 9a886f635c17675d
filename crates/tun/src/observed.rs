//! State of an interface, read back over netlink.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Error;
use crate::netlink::Netlink;
use crate::plan::{Address, Prefix, Route};

/// State of an interface, whichever program set it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the interface is up.
    pub up: bool,
    /// MTU of the interface, in bytes.
    pub mtu: u32,
    /// Addresses of the interface.
    pub addresses: Vec<Address>,
    /// Unicast routes of the main table through the interface, including the kernel's own for the
    /// prefixes of addresses, with explicit metrics.
    pub routes: Vec<Route>,
}

/// Reads back the state of the interface of this index.
///
/// # Errors
/// [`crate::ErrorKind::Gone`] when there is no such interface, or the kernel's error.
pub fn observe(index: u32) -> Result<Observed, Error> {
    observe_with(&mut Netlink::open()?, index)
}

pub(crate) fn observe_with(netlink: &mut Netlink, index: u32) -> Result<Observed, Error> {
    let link = netlink.link("", index)?;
    let mut observed = Observed {
        up: link.header.flags.contains(LinkFlags::Up),
        ..Observed::default()
    };
    for attribute in &link.attributes {
        if let LinkAttribute::Mtu(mtu) = attribute {
            observed.mtu = *mtu;
        }
    }
    let failed = |source| Error::system("read the network configuration", source);

    let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    for message in netlink.dump(&query).map_err(failed)? {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && message.header.index == index
        {
            let of = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
                message.attributes.iter().find_map(wanted)
            };
            // On a point-to-point link IFA_ADDRESS is the peer; without a peer only IFA_ADDRESS is
            // present.
            let local = of(|attribute| match attribute {
                AddressAttribute::Local(ip) => Some(*ip),
                _ => None,
            });
            let ip = local.or_else(|| {
                of(|attribute| match attribute {
                    AddressAttribute::Address(ip) => Some(*ip),
                    _ => None,
                })
            });
            observed.addresses.extend(ip.map(|ip| Address {
                ip,
                prefix: message.header.prefix_len,
            }));
        }
    }

    let query = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    for message in netlink.dump(&query).map_err(failed)? {
        if let RouteNetlinkMessage::NewRoute(message) = message {
            let route = read_route(&message).filter(|(through, _)| *through == index);
            observed.routes.extend(route.map(|(_, route)| route));
        }
    }
    Ok(observed)
}

/// A default route of another interface.
pub(crate) struct OtherDefault {
    /// Index of the interface.
    pub(crate) index: u32,
    pub(crate) route: Route,
    /// Name of the program that set the route, by the route's protocol: `dhcp`, `static`.
    pub(crate) origin: String,
}

/// Returns the default routes of the main table through other interfaces.
pub(crate) fn other_defaults(
    netlink: &mut Netlink,
    index: u32,
) -> Result<Vec<OtherDefault>, Error> {
    let query = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let messages = netlink
        .dump(&query)
        .map_err(|source| Error::system("read the network configuration", source))?;
    let defaults = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewRoute(message) => {
            let (through, route) = read_route(&message)?;
            (through != index && route.destination.is_default()).then(|| OtherDefault {
                index: through,
                route,
                origin: format!("{:?}", message.header.protocol).to_lowercase(),
            })
        }
        _ => None,
    });
    Ok(defaults.collect())
}

/// Returns a unicast route of the main table with the index of its interface.
fn read_route(message: &RouteMessage) -> Option<(u32, Route)> {
    if message.header.kind != RouteType::Unicast
        || message.header.table != RouteHeader::RT_TABLE_MAIN
        || message.header.flags.contains(RouteFlags::Cloned)
    {
        return None;
    }
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => Prefix::ALL_V4.address(),
        AddressFamily::Inet6 => Prefix::ALL_V6.address(),
        _ => return None,
    };
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    };
    let mut destination = unspecified;
    let (mut interface, mut gateway, mut metric) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(oif) => interface = Some(*oif),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let destination = Prefix::new(destination, message.header.destination_prefix_length)?;
    let route = Route {
        destination,
        gateway,
        metric: Some(metric),
    };
    Some((interface?, route))
}
