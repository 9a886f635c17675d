//! The host's end as a TAP interface: an Ethernet whose link is the device's.
//!
//! It has the addresses the user gave. Everything else is the host's affair: its own IPv6 settings
//! stay as they are, and whoever configures Ethernets here (a DHCP client, a bridge) sees one more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uwwan_tun::plan::Ipv6;
use uwwan_tun::{Configuration, Interface as _, Plan, Tap};

use super::{Ethernet, HostConfig, HostEnd, Packets, Single, tun};
use crate::failure::Failure;
use crate::status::Interface;

/// How frames cross a TAP interface, as `status` tells it: one a call.
pub const TAP_MODE: &str = "plain, frames";

/// Makes the interface.
pub(super) fn bring_up(
    config: &HostConfig,
    ethernet: &Ethernet,
) -> Result<Box<dyn HostEnd>, Failure> {
    let plan = plan(config)?;
    let tap = Tap::open(config.name.as_deref(), ethernet.address)?;
    set_carrier(&tap, ethernet.carrier);
    let configuration = Configuration::apply(plan, &tap)?;
    Ok(Box::new(TapEnd {
        configuration: Mutex::new(configuration),
        tap,
    }))
}

fn plan(config: &HostConfig) -> Result<Plan, Failure> {
    Ok(Plan {
        ipv6: Ipv6::Host,
        ..tun::plan(config)?
    })
}

fn set_carrier(tap: &Tap, up: bool) {
    // The link works without; only whoever looks at the interface is told nothing.
    if let Err(error) = tap.set_carrier(up) {
        tracing::warn!("{error}");
    }
}

impl Single for Tap {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::receive(self, buffer)
    }

    fn send(&self, frame: &[u8]) -> io::Result<usize> {
        Self::send(self, frame)
    }
}

/// A TAP with what was done for it. The fields' order is that of undoing.
struct TapEnd {
    configuration: Mutex<Configuration>,
    tap: Tap,
}

impl TapEnd {
    fn configuration(&self) -> MutexGuard<'_, Configuration> {
        self.configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for TapEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }
}

impl HostEnd for TapEnd {
    fn packets(&self) -> Packets<'_> {
        Packets::Single(&self.tap)
    }

    fn reconfigure(&self, config: &HostConfig) -> Result<(), Failure> {
        let Some(ethernet) = &config.ethernet else {
            return Err(super::other_kind("a TAP interface", "a modem"));
        };
        if let Some(address) = ethernet.address {
            // Another device at the same port has another one.
            self.tap.set_address(address)?;
        }
        self.configuration().replace(plan(config)?)?;
        set_carrier(&self.tap, ethernet.carrier);
        Ok(())
    }

    fn set_carrier(&self, up: bool) {
        set_carrier(&self.tap, up);
    }

    fn interface(&self) -> Interface {
        Interface {
            name: self.tap.name().to_owned(),
            mode: TAP_MODE.to_owned(),
            applied: self.configuration().describe(),
        }
    }
}
