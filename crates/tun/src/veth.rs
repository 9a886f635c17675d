//! A virtual cable between two network namespaces, with every offload of the kernel. Benchmarks
//! compare the modem's path with it.
//!
//! The system calls are those of netlink.rs.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};

use crate::device::Interface;
use crate::error::Error;
use crate::netlink::{Mode, Netlink};

/// End of a cable. The cable vanishes with its addresses when the end that made it is dropped.
pub struct Veth {
    netlink: Netlink,
    name: String,
    index: u32,
    laid: bool,
}

impl Veth {
    /// Makes a cable from the calling thread's network namespace, in which its end gets the name
    /// `name`, to the namespace `far` (an open `/proc/…/ns/net`), in which the other end gets the
    /// name `far_name`.
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

    /// Finds the end with that name in the calling thread's network namespace, made from another
    /// one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Gone`] when there is no such end.
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
        // The cable may have vanished with the namespace of the other end.
        let _ = self
            .netlink
            .request(RouteNetlinkMessage::DelLink(link), Mode::Plain);
    }
}
