//! A virtual cable between two network namespaces, with every offload of the kernel. Benches
//! compare the modem's path with it.
//!
//! System calls: those of netlink.rs.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};

use crate::device::Interface;
use crate::error::Error;
use crate::netlink::{Mode, Netlink};

/// One end of a cable. The cable vanishes with its addresses when the end that laid it is dropped.
pub struct Veth {
    netlink: Netlink,
    name: String,
    index: u32,
    laid: bool,
}

impl Veth {
    /// Lays a cable from the calling thread's network namespace, where its end gets `name`, to
    /// `far` (`/proc/…/ns/net`, open), where it gets `far_name`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoPermission`], [`crate::ErrorKind::Busy`] when a name is taken.
    pub fn lay(name: &str, far: impl AsFd, far_name: &str) -> Result<Veth, Error> {
        let mut netlink = Netlink::open()?;
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(far_name.to_owned()),
            LinkAttribute::NetNsFd(far.as_fd().as_raw_fd()),
        ];
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        netlink
            .request(RouteNetlinkMessage::NewLink(link), Mode::Create)
            .map_err(|source| {
                Error::system(format!("lay a cable from {name} to {far_name}"), source)
            })?;
        let index = netlink.index(name)?;
        Ok(Veth {
            netlink,
            name: name.to_owned(),
            index,
            laid: true,
        })
    }

    /// Finds the end of that name in the calling thread's network namespace, laid from elsewhere.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Gone`] when there is none.
    pub fn find(name: &str) -> Result<Veth, Error> {
        let mut netlink = Netlink::open()?;
        let index = netlink.index(name)?;
        Ok(Veth {
            netlink,
            name: name.to_owned(),
            index,
            laid: false,
        })
    }
}

impl Interface for Veth {
    fn name(&self) -> &str {
        &self.name
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn attached(&self) -> bool {
        !self.laid
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        if !self.laid {
            return;
        }
        let mut link = LinkMessage::default();
        link.header.index = self.index;
        // The cable may have gone with the other end's namespace.
        let _ = self
            .netlink
            .request(RouteNetlinkMessage::DelLink(link), Mode::Plain);
    }
}
