//! Interfaces that one process opens and another moves packets through.
//!
//! The process that opened the interface keeps it open, and undoes the changes of the host when it
//! drops its own half. The other process gets the descriptors, and the facts that the kernel does
//! not report.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uwwan_tun::{NoWait, Offload, Offloads, Tap, Tun};

use super::data::HostData;
use super::fair;
use super::tun::HostTun;

/// An open interface of the host.
pub enum HostInterface {
    /// TUN interface for IP packets.
    Tun(HostTun),
    /// TAP interface for Ethernet frames.
    Tap(Arc<Tap>),
}

/// The facts about an interface that the process with its descriptors needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceKind {
    /// Name of the interface.
    pub name: String,
    /// Index of the interface in its network namespace.
    pub index: u32,
    /// Unit that crosses the interface in one call.
    pub carries: Carries,
}

/// The amount that crosses an interface in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carries {
    /// One IP packet.
    Packet,
    /// One Ethernet frame.
    Frame,
    /// A packet behind a virtio header, with these offloads in force ([`Offloads`]).
    Large(u32),
}

impl HostInterface {
    /// Returns the half of a host interface that moves packets.
    #[must_use]
    pub fn into_data(self) -> HostData {
        match self {
            Self::Tun(tun) => tun.into_data(),
            Self::Tap(tap) => fair::frames(tap),
        }
    }

    /// Returns the facts that the process with the descriptors needs.
    #[must_use]
    pub fn kind(&self) -> InterfaceKind {
        let (interface, carries): (&dyn uwwan_tun::Interface, _) = match self {
            Self::Tap(tap) => (&**tap, Carries::Frame),
            Self::Tun(tun @ HostTun::Plain { .. }) => (tun, Carries::Packet),
            Self::Tun(tun @ HostTun::Offload(offload)) => {
                (tun, Carries::Large(offload.offloads().bits()))
            }
        };
        InterfaceKind {
            name: interface.name().to_owned(),
            index: interface.index(),
            carries,
        }
    }

    /// Returns the descriptors that are handed over.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Tap(tap) => vec![tap.as_fd()],
            Self::Tun(HostTun::Plain { tun, .. }) => vec![tun.as_fd()],
            Self::Tun(HostTun::Offload(offload)) => offload.descriptors(),
        }
    }
}

impl HostData {
    /// Makes the half that moves packets from descriptors that were handed over. `waiting` is the flag
    /// that keeps calls on them from blocking.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a number of descriptors that does not fit the kind,
    /// otherwise those of [`Offload::handed`].
    pub fn handed(
        kind: &InterfaceKind,
        mut descriptors: Vec<OwnedFd>,
        waiting: NoWait,
    ) -> io::Result<Self> {
        let name = kind.name.clone();
        if let Carries::Large(offloads) = kind.carries {
            let offloads = Offloads::from_bits_truncate(offloads);
            let offload = Offload::handed(descriptors, name, kind.index, offloads, waiting)?;
            return Ok(fair::large(offload));
        }
        let (Some(descriptor), true) = (descriptors.pop(), descriptors.is_empty()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(match kind.carries {
            Carries::Frame => {
                fair::frames(Arc::new(Tap::handed(descriptor, name, kind.index, waiting)))
            }
            _ => fair::packets(Tun::handed(descriptor, name, kind.index, waiting)),
        })
    }
}
