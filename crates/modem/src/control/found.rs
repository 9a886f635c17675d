//! The state in which the device was found, and the way back to it.
//!
//! Kernel drivers that were bound at the start are bound again at a clean end, in the configuration
//! that was active. A device that was plugged in while it was waited for has no such state, because
//! the kernel's choice for it is not known. Its drivers are bound in the configuration of the
//! function that was driven.

use uwwan_usb::configuration::{Step, SwitchPlan};
use uwwan_usb::device::Found;
use uwwan_usb::give_back::GiveBack;

/// Name of the driver to which the kernel binds an interface that a program has claimed.
const USBFS: &str = "usbfs";

/// The device as it was found first, before anything was changed.
#[derive(Debug)]
pub(super) struct AsFound {
    /// `bConfigurationValue` of the configuration to return to; 0 keeps whichever is active at the
    /// end.
    configuration: u8,
    /// Whether kernel drivers had the device at the start, or would have had it.
    by_kernel: bool,
    /// The way back, once the device has been changed.
    back: Option<GiveBack>,
}

impl AsFound {
    /// Returns the state of a device that was found. `late` says that it was plugged in while it
    /// was waited for.
    pub(super) fn new(found: &Found, late: bool) -> Self {
        let drivers = &found.kernel_drivers;
        Self {
            configuration: match late {
                true => 0,
                false => found.active_configuration.unwrap_or(0),
            },
            by_kernel: late || drivers.iter().any(|(_, driver)| driver != USBFS),
            back: None,
        }
    }

    /// Records the plan of a switch, its steps, and whether it has succeeded.
    pub(super) fn switched(&mut self, plan: &SwitchPlan, steps: &[Step], done: bool) {
        // A configuration that usb_modeswitch or a udev rule has selected meanwhile is the one that
        // the machine wants.
        for step in steps {
            if let Step::Interfered { found } = *step
                && found != 0
                && self.configuration != 0
            {
                self.configuration = found;
            }
        }
        if self.by_kernel {
            self.back = Some(GiveBack {
                configuration: self.configuration,
                left_in: done.then_some(plan.target),
                via_zero: plan.via_zero,
                settle: plan.settle,
            });
        }
    }

    /// Returns the way back, once.
    pub(super) fn take_back(&mut self) -> Option<GiveBack> {
        self.back.take()
    }
}
