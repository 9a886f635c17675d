//! The host interface as a TAP interface, for devices that carry Ethernet frames.

use std::sync::Arc;
use std::time::Instant;

use uwwan_tun::left::Note;
use uwwan_tun::plan::Ipv6;
use uwwan_tun::{Configuration, Error, Interface as _, Plan, Tap, Watch};

use super::control::{HostControl, HostNews, other_kind};
use super::handed::HostInterface;
use super::plan::{self, Ethernet, HostConfig, configured};
use super::upkeep::{self, Upkeep};
use crate::failure::Failure;
use crate::status::{Interface, InterfaceType};

/// Returns what the status tells of a TAP interface: each system call carries one frame.
pub fn about(tap: &Tap) -> Interface {
    Interface {
        name: tap.name().to_owned(),
        kind: InterfaceType::Tap,
        mode: "plain, frames".to_owned(),
        ..Interface::default()
    }
}

/// Makes the TAP interface and configures it.
///
/// # Errors
/// [`Failure`] with a step that the user can take.
pub(super) fn open(
    config: &HostConfig,
    ethernet: &Ethernet,
    note: Note,
) -> Result<(Box<dyn HostControl>, HostInterface), Failure> {
    let plan = plan(config)?;
    let tap = Arc::new(Tap::open(config.name.as_deref(), ethernet.address)?);
    set_carrier(&tap, ethernet.carrier);
    let mut configuration = Configuration::apply_noted(plan, &*tap, note)?;
    let mut upkeep = Upkeep::default();
    upkeep.begin(&mut configuration);
    let interface = HostInterface::Tap(Arc::clone(&tap));
    let control = TapControl {
        watch: None,
        upkeep,
        configuration,
        tap,
    };
    Ok((Box::new(control), interface))
}

fn plan(config: &HostConfig) -> Result<Plan, Error> {
    Ok(Plan {
        ipv6: Ipv6::Host,
        ..plan::plan(config)?
    })
}

fn set_carrier(tap: &Tap, up: bool) {
    // The link works without a carrier; only programs that look at the interface miss it.
    if let Err(error) = tap.set_carrier(up) {
        tracing::warn!("{error}");
    }
}

/// Changes made to the host for a TAP interface. The order of the fields is the order of undoing.
struct TapControl {
    watch: Option<Watch>,
    upkeep: Upkeep,
    configuration: Configuration,
    tap: Arc<Tap>,
}

impl HostControl for TapControl {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        let Some(ethernet) = &config.ethernet else {
            return Err(other_kind("a TAP interface", "a modem"));
        };
        if let Some(address) = ethernet.address {
            // Another device at the same port has another address.
            self.tap.set_address(address)?;
        }
        self.configuration.replace(plan(config)?)?;
        self.upkeep.begin(&mut self.configuration);
        set_carrier(&self.tap, ethernet.carrier);
        Ok(())
    }

    fn set_carrier(&mut self, up: bool) {
        set_carrier(&self.tap, up);
    }

    fn watch(&mut self, changed: Box<dyn Fn() + Send>) {
        self.watch = upkeep::watch(self.tap.index(), changed);
    }

    fn attend(&mut self) -> Vec<HostNews> {
        let Some(watch) = &self.watch else {
            return Vec::new();
        };
        let culprit = watch.take_culprit();
        let (upkeep, what) = (&mut self.upkeep, &mut self.configuration);
        upkeep.attend(Instant::now(), what, culprit.as_deref())
    }

    fn interface(&self) -> Interface {
        configured(&self.configuration, about(&self.tap))
    }
}
