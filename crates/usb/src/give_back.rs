//! Gives a device back. The interfaces that were claimed are released, and the kernel's drivers get
//! the whole device, in the configuration in which they had it.
//!
//! Linux probes drivers for every interface of a configuration when it is selected
//! (`drivers/usb/core/message.c`, `usb_set_configuration`). Where the configuration stays as it is,
//! each interface is offered to them with `USBDEVFS_CONNECT` instead. A device whose firmware falls
//! silent after a direct change of configuration is unconfigured on the way back, too, and left alone
//! for the same time ([`crate::configuration`]).

use std::time::Duration;

use crate::configuration::{self, Step, SwitchPlan, ViaZero};
use crate::device::Device;
use crate::error::{Error, Holder};

/// Time that the change of configuration may take on the way back, settling not counted.
const PATIENCE: Duration = Duration::from_secs(3);

/// Releases interfaces: the data interface, if named, returns to its idle alternate setting 0 first.
///
/// Queues on these interfaces must have been dropped.
///
/// # Errors
/// The first error, after everything was tried; [`Error::Gone`] is none, because nothing is left to
/// release then.
pub fn release(device: &dyn Device, claimed: &[u8], data: Option<u8>) -> Result<(), Error> {
    let mut first = None;
    if let Some(data) = data {
        first = device.set_alternate_setting(data, 0).err();
    }
    for &interface in claimed.iter().rev() {
        first = first.or(device.release(interface).err());
    }
    match first {
        None | Some(Error::Gone { .. }) => Ok(()),
        Some(error) => Err(error),
    }
}

/// Plan of how the kernel's drivers get a device back.
#[derive(Debug, Clone)]
pub struct GiveBack {
    /// `bConfigurationValue` of the configuration in which the drivers had the device. The active
    /// one stays where the device has none of this value, such as 0.
    pub configuration: u8,
    /// `bConfigurationValue` of the configuration in which this program leaves the device; `None`
    /// when it has not selected one. Where another is active, another program has selected it.
    pub left_in: Option<u8>,
    /// Whether the device is unconfigured on the way to another configuration.
    pub via_zero: ViaZero,
    /// Time for which the device stays unconfigured.
    pub settle: Duration,
}

/// Outcome of giving a device back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenBack {
    /// The kernel's drivers are bound to the device.
    Drivers {
        /// `bConfigurationValue` of the active configuration.
        configuration: u8,
        /// Interfaces with the names of the drivers that are bound to them.
        drivers: Vec<(u8, String)>,
    },
    /// The device was unplugged or has re-enumerated.
    Gone,
    /// Another program uses the device. The text describes it for people.
    Taken(String),
}

/// Lets the kernel's drivers bind to a device of which nothing is claimed any more.
///
/// A [`PortGuard`](crate::device::PortGuard) must be dropped first.
///
/// # Errors
/// The error of the change of configuration, or the first refusal when no driver has taken any
/// interface.
pub fn give_back(
    device: &dyn Device,
    plan: &GiveBack,
    observer: &mut dyn FnMut(Step),
) -> Result<GivenBack, Error> {
    match attempt(device, plan, observer) {
        Err(Error::Gone { .. }) => Ok(GivenBack::Gone),
        other => other,
    }
}

fn attempt(
    device: &dyn Device,
    plan: &GiveBack,
    observer: &mut dyn FnMut(Step),
) -> Result<GivenBack, Error> {
    let mut active = device.active_configuration()?;
    if plan.left_in.is_some_and(|left| left != active) {
        let text = format!("another program has selected configuration {active}");
        return Ok(GivenBack::Taken(text));
    }
    for interface in interfaces(device, active) {
        if let Some(Holder::Program(who)) = device.holder(interface)? {
            let text = format!("interface {interface} is held by {who}");
            return Ok(GivenBack::Taken(text));
        }
    }
    let known = device.descriptors().configuration(plan.configuration);
    if known.is_some() && active != plan.configuration {
        let change = SwitchPlan {
            via_zero: match plan.via_zero {
                ViaZero::Never => ViaZero::Never,
                ViaZero::Always | ViaZero::IfDifferent => ViaZero::IfDifferent,
            },
            settle: plan.settle,
            patience: PATIENCE,
            guard: false,
            ..SwitchPlan::new(plan.configuration, [])
        };
        configuration::switch(device, &change, observer)?;
        active = plan.configuration;
    }
    let mut first = None;
    for interface in interfaces(device, active) {
        first = first.or(device.attach_kernel_driver(interface).err());
    }
    let mut drivers = Vec::new();
    for interface in interfaces(device, active) {
        if let Some(Holder::Driver(driver)) = device.holder(interface)? {
            drivers.push((interface, driver));
        }
    }
    match first {
        Some(error) if drivers.is_empty() => Err(error),
        _ => Ok(GivenBack::Drivers {
            configuration: active,
            drivers,
        }),
    }
}

/// Returns the numbers of the interfaces of a configuration.
fn interfaces(device: &dyn Device, configuration: u8) -> Vec<u8> {
    let configuration = device.descriptors().configuration(configuration);
    let interfaces = configuration.into_iter().flat_map(|c| &c.interfaces);
    interfaces.map(|interface| interface.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeDevice;

    fn plan(configuration: u8) -> GiveBack {
        GiveBack {
            configuration,
            left_in: Some(3),
            via_zero: ViaZero::Always,
            settle: Duration::from_millis(10),
        }
    }

    /// Returns a device that a driver had in configuration 3, and has just released.
    fn released() -> FakeDevice {
        let device = FakeDevice::new(2);
        let switch = SwitchPlan {
            settle: Duration::from_millis(10),
            ..SwitchPlan::new(3, [0, 1])
        };
        configuration::switch(&device, &switch, &mut |_| {}).unwrap();
        // A guard would have kept the kernel's driver from it.
        device.detach_kernel_driver(2).unwrap();
        let before = device.state.lock().unwrap().calls.len();
        release(&device, &[0, 1], Some(1)).unwrap();
        let calls = device.state.lock().unwrap().calls.split_off(before);
        assert_eq!(calls, ["alternate 1 0", "release 1", "release 0"]);
        assert!(device.state.lock().unwrap().claims.is_empty());
        device
    }

    fn give(device: &FakeDevice, plan: &GiveBack) -> Result<GivenBack, Error> {
        device.state.lock().unwrap().calls.clear();
        give_back(device, plan, &mut |_| {})
    }

    fn called(device: &FakeDevice, start: &str) -> Vec<String> {
        let calls = device.state.lock().unwrap().calls.clone();
        let matching = calls.into_iter().filter(|call| call.starts_with(start));
        matching.collect()
    }

    #[test]
    fn the_first_configuration_and_its_drivers_come_back() {
        let device = released();
        let GivenBack::Drivers {
            configuration,
            drivers,
        } = give(&device, &plan(2)).unwrap()
        else {
            panic!("not given back");
        };
        assert_eq!(configuration, 2);
        assert_eq!(drivers.first(), Some(&(0, "cdc_ether".to_owned())));
        assert_eq!(drivers.last(), Some(&(6, "option".to_owned())));
        assert_eq!(called(&device, "select"), ["select 0", "select 2"]);
        assert!(!device.state.lock().unwrap().mute, "the firmware is silent");
    }

    #[test]
    fn the_same_configuration_is_not_selected_again() {
        for configuration in [3, 0, 9] {
            let device = released();
            let given = give(&device, &plan(configuration)).unwrap();
            let expected = ["cdc_mbim", "cdc_mbim", "option"].map(str::to_owned);
            assert_eq!(
                given,
                GivenBack::Drivers {
                    configuration: 3,
                    drivers: (0..).zip(expected).collect()
                }
            );
            assert!(called(&device, "select").is_empty());
        }
    }

    #[test]
    fn what_another_program_took_is_left_to_it() {
        let device = released();
        let other = |configuration| GiveBack {
            left_in: Some(configuration),
            ..plan(2)
        };
        let given = give(&device, &other(1)).unwrap();
        assert!(matches!(given, GivenBack::Taken(why) if why.contains("configuration 3")));
        let holder = Holder::Program("mbimcli, process 7".into());
        device.state.lock().unwrap().drivers.insert(1, holder);
        let given = give(&device, &plan(2)).unwrap();
        assert!(matches!(given, GivenBack::Taken(why) if why.contains("mbimcli")));
        assert!(called(&device, "select").is_empty() && called(&device, "attach").is_empty());
    }

    #[test]
    fn a_device_that_is_gone_needs_nothing() {
        let device = released();
        device.state.lock().unwrap().present = false;
        assert_eq!(give(&device, &plan(2)).unwrap(), GivenBack::Gone);
        release(&device, &[0, 1], Some(1)).unwrap();
    }

    #[test]
    fn a_refusal_is_told() {
        let device = released();
        device.refuse(|call, _| {
            call.starts_with("select").then(|| Error::NoPermission {
                operation: call.to_owned(),
                node: None,
            })
        });
        let refused = give(&device, &plan(2));
        assert!(matches!(refused, Err(Error::NoPermission { .. })));
    }
}
