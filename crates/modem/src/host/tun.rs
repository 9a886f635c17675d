//! A TUN interface of the host in either of its modes.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use uwwan_tun::coalesce::Merge;
use uwwan_tun::{Error, ErrorKind, Interface as _, Offload, Offloads, Tun};

use super::data::{HostData, Large};
use super::fair;
use crate::options::TunMode;
use crate::status;

/// Returns the kinds of packets that are cut and merged.
fn offloads(mode: TunMode) -> Offloads {
    match mode {
        TunMode::Plain => Offloads::empty(),
        TunMode::OffloadTcp => Offloads::TCP,
        TunMode::Offload => Offloads::TCP | Offloads::UDP,
    }
}

/// A TUN interface in either mode.
#[derive(Debug)]
pub enum HostTun {
    /// Interface whose system calls carry one packet each.
    Plain {
        /// The interface.
        tun: Tun,
        /// Error that kept the interface from carrying large packets, if these were wanted.
        why: Option<String>,
    },
    /// Interface that carries large packets.
    Offload(Offload),
}

impl HostTun {
    /// Opens a TUN interface as [`Tun::open`] does. Where the kernel supports no large packets, the
    /// interface is a plain one, and [`HostTun::about`] says so.
    ///
    /// # Errors
    /// Those of [`Tun::open`].
    pub fn open(mode: TunMode, name: Option<&str>) -> Result<Self, Error> {
        Self::open_with(
            mode,
            || Offload::open(name, offloads(mode)),
            || Tun::open(name),
        )
    }

    fn open_with(
        mode: TunMode,
        offload: impl FnOnce() -> Result<Offload, Error>,
        plain: impl FnOnce() -> Result<Tun, Error>,
    ) -> Result<Self, Error> {
        let why = match mode {
            TunMode::Plain => None,
            TunMode::Offload | TunMode::OffloadTcp => match offload() {
                Ok(tun) => return Ok(Self::Offload(tun)),
                Err(error) if error.kind == ErrorKind::NoOffload => {
                    tracing::warn!("{error}");
                    Some(error.why)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self::Plain { tun: plain()?, why })
    }

    /// Turns the interface into the half of a host interface that moves packets.
    #[must_use]
    pub fn into_data(self) -> HostData {
        match self {
            Self::Plain { tun, .. } => fair::packets(tun),
            Self::Offload(tun) => fair::large(tun),
        }
    }

    /// Returns what the status tells of the interface itself.
    #[must_use]
    pub fn about(&self) -> status::Interface {
        status::Interface {
            name: self.name().to_owned(),
            offload: matches!(self, Self::Offload(_)),
            mode: self.describe(),
            ..status::Interface::default()
        }
    }

    /// Returns the mode and its properties in words.
    fn describe(&self) -> String {
        match self {
            Self::Plain { why, .. } => Self::words(TunMode::Plain, why.as_ref()),
            Self::Offload(tun) => {
                let queues = match tun.queues() {
                    1 => String::new(),
                    count => format!(", {count} queues"),
                };
                let more = format!("{}{queues}", tun.offloads());
                Self::words(TunMode::Offload, Some(more))
            }
        }
    }

    fn words(mode: TunMode, more: Option<impl std::fmt::Display>) -> String {
        more.map_or(mode.to_string(), |more| format!("{mode}: {more}"))
    }
}

impl uwwan_tun::Interface for HostTun {
    fn name(&self) -> &str {
        match self {
            Self::Plain { tun, .. } => tun.name(),
            Self::Offload(tun) => tun.name(),
        }
    }

    fn index(&self) -> u32 {
        match self {
            Self::Plain { tun, .. } => tun.index(),
            Self::Offload(tun) => tun.index(),
        }
    }

    fn attached(&self) -> bool {
        match self {
            Self::Plain { tun, .. } => tun.attached(),
            Self::Offload(tun) => tun.attached(),
        }
    }
}

impl Large for Offload {
    fn writable(&self) -> BorrowedFd<'_> {
        Self::writable(self)
    }

    fn merge(&self) -> Merge {
        Merge::accepted_with(self.offloads())
    }

    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Self::receive(self, buffers)
    }

    fn receive_other(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Self::receive_other(self, buffers)
    }

    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::send(self, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_offload_gets_a_plain_interface_and_says_so() {
        let error = |kind: ErrorKind| Error {
            kind,
            what: "open".into(),
            why: "no IFF_VNET_HDR".into(),
            next: String::new(),
            source: None,
        };
        let plain = || Err(error(ErrorKind::NoPermission));
        let open = |mode, kind: ErrorKind| {
            let result = HostTun::open_with(mode, || Err(error(kind)), plain);
            result.unwrap_err().kind
        };
        // A plain interface is tried after this error alone.
        assert_eq!(
            open(TunMode::Offload, ErrorKind::NoOffload),
            ErrorKind::NoPermission
        );
        assert_eq!(open(TunMode::Offload, ErrorKind::Busy), ErrorKind::Busy);
        assert_eq!(
            open(TunMode::Plain, ErrorKind::Busy),
            ErrorKind::NoPermission
        );
        let words = HostTun::words(TunMode::Plain, Some("no IFF_VNET_HDR"));
        assert_eq!(words, "plain: no IFF_VNET_HDR");
        assert_eq!(HostTun::words(TunMode::Plain, None::<&str>), "plain");
    }
}
