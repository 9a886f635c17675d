//! The host's end of the data path: where datagrams come from and go to.
//!
//! The driver asks a [`HostProvider`] for a [`HostEnd`] when the first addresses are known and
//! keeps it over losses of the modem, so that flows survive a modem reset; when the addresses
//! change it is told with [`HostEnd::reconfigure`]. Dropping the end undoes what it did to the host.

mod tap;
mod tun;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use uwwan_tun::coalesce::Merge;

use crate::failure::{Failure, FailureKind};
use crate::options::{Dns, Routes, TunMode};
use crate::status::{Addresses, Interface};

pub use tap::TAP_MODE;
pub use tun::{HostTun, TunProvider};

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
    /// Whether the device has a link. Later changes come with [`HostEnd::set_carrier`].
    pub carrier: bool,
}

/// The device has changed its kind.
fn other_kind(end: &str, device: &str) -> Failure {
    Failure::new(FailureKind::Host, format!("go on with {end}"))
        .because(format!("the device has become {device}"))
        .next("nothing: another interface is made")
}

/// Makes the host's end.
pub trait HostProvider: Send {
    /// Sets up the host's end with its first configuration.
    ///
    /// # Errors
    /// [`Failure`] with what the user can do about it.
    fn bring_up(&mut self, config: &HostConfig) -> Result<Box<dyn HostEnd>, Failure>;
}

/// The host's end: a pollable, non-blocking descriptor that carries IP packets, or Ethernet frames
/// where [`HostConfig::ethernet`] asks for it.
///
/// The reactor polls the descriptor for reading, [`HostEnd::writable`] for writing, and moves packets
/// from one thread; the other methods are called from another.
pub trait HostEnd: AsFd + Send + Sync {
    /// What is polled for writing.
    fn writable(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    /// What crosses it; the same for as long as it lives.
    fn packets(&self) -> Packets<'_>;

    /// Changes addresses, routes, MTU and name servers.
    ///
    /// # Errors
    /// [`Failure`] with what the user can do about it.
    fn reconfigure(&self, config: &HostConfig) -> Result<(), Failure>;

    /// The device's link came up or went down. Only ends for Ethernet frames are told.
    fn set_carrier(&self, _up: bool) {}

    /// The interface's name and what was changed on the host.
    fn interface(&self) -> Interface;
}

/// What crosses a host's end.
#[derive(Clone, Copy)]
pub enum Packets<'a> {
    /// One datagram a call.
    Single(&'a dyn Single),
    /// Large packets, each standing for many datagrams.
    Large(&'a dyn Large),
}

/// A host's end that carries one datagram a call.
pub trait Single {
    /// Reads one datagram from the host into `buffer` and returns its length; what does not fit is
    /// cut off.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none; anything else ends the data path.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes one datagram to the host.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the host has no room yet. Any other error drops this
    /// datagram.
    fn send(&self, datagram: &[u8]) -> io::Result<usize>;
}

/// A host's end that carries packets behind a virtio header, large ones among them (see
/// [`uwwan_tun::offload`]).
pub trait Large {
    /// Which datagrams the host takes as one packet.
    fn merge(&self) -> Merge;

    /// Reads one packet with its header into buffers one after the other and returns the bytes read,
    /// header included.
    ///
    /// # Errors
    /// As [`Single::receive`].
    fn receive(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes one packet, gathered from buffers of which the first begins with the header.
    ///
    /// # Errors
    /// As [`Single::send`]; of a large packet that is refused the datagrams are tried one by one.
    fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
}
