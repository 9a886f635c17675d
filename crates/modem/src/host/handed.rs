//! Interfaces that one process opens and another moves packets through.
//!
//! The process that opened the interface keeps it open, and puts the host back when it drops its
//! own half. The other gets the descriptors, and what the kernel does not tell of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uwwan_tun::{NoWait, Offload, Offloads, Tap, Tun};

use super::data::HostData;
use super::tun::HostTun;

/// An interface of the host that is open.
pub enum HostInterface {
    /// For IP packets.
    Tun(HostTun),
    /// For Ethernet frames.
    Tap(Arc<Tap>),
}

/// The facts that the process that gets the descriptors has to know.
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
    /// Makes the half of a host's end that moves packets of it.
    #[must_use]
    pub fn into_data(self) -> HostData {
        match self {
            Self::Tun(tun) => tun.into_data(),
            Self::Tap(tap) => HostData::Single(Box::new(tap)),
        }
    }

    /// Returns what the process that gets the descriptors has to know.
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

    /// Returns the descriptors to hand over.
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
    /// Makes the half that moves packets of descriptors that were handed over. `waiting` is what keeps
    /// calls on them from waiting.
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
            return Ok(Self::Large(Box::new(offload)));
        }
        let (Some(descriptor), true) = (descriptors.pop(), descriptors.is_empty()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        Ok(match kind.carries {
            Carries::Frame => Self::Single(Box::new(Arc::new(Tap::handed(
                descriptor, name, kind.index, waiting,
            )))),
            _ => Self::Single(Box::new(Tun::handed(descriptor, name, kind.index, waiting))),
        })
    }
}
