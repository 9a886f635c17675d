//! Switches a device from whatever configuration it is in to the one that is wanted, and claims the
//! wanted interfaces before a kernel driver binds to them, or takes them back from it.
//!
//! One round frees every interface of the active configuration, unconfigures the device, waits for
//! it to settle, selects the target, and claims. A round starts over, for as long as
//! [`SwitchPlan::patience`] lasts, when something else interferes: a kernel module that loads late
//! and binds, another program that selects a configuration of its own (`usb_modeswitch`, a udev
//! rule), a device that is busy starting its firmware. A device that is unplugged ends the switch
//! at once.
//!
//! Going through "unconfigured" matters: firmware is known that accepts a direct change and every
//! request after it, but never answers a control message then.
//!
//! Linux refuses SET_CONFIGURATION with EBUSY while any interface of the active configuration is
//! bound, and probes kernel drivers synchronously when it succeeds (`drivers/usb/core/devio.c`,
//! `message.c`). [`Device::guard_port`] keeps drivers away where access rights allow; without it
//! they are detached again.

use std::fmt;
use std::time::{Duration, Instant};

use crate::device::{Device, PortGuard};
use crate::error::{Error, Holder};

/// Whether the device is unconfigured on the way to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViaZero {
    /// The device is unconfigured, even when the target is active already.
    #[default]
    Always,
    /// The device is unconfigured unless the target is active already.
    IfDifferent,
    /// The target is selected directly. Some firmware falls silent then.
    Never,
}

/// Plan of a switch of configurations, with its patience.
#[derive(Debug, Clone)]
pub struct SwitchPlan {
    /// `bConfigurationValue` of the configuration that is wanted.
    pub target: u8,
    /// Numbers of the target's interfaces to claim, in this order. The control interface of a
    /// function comes first, because its kernel driver holds the data interface too.
    pub claim: Vec<u8>,
    /// Whether the device is unconfigured on the way.
    pub via_zero: ViaZero,
    /// Time for which the device stays unconfigured before the target is selected.
    pub settle: Duration,
    /// Time that all rounds together may take, settling not counted.
    pub patience: Duration,
    /// Pause before something refused is tried again.
    pub pause: Duration,
    /// Whether to keep kernel drivers away with [`Device::guard_port`] where that is granted.
    pub guard: bool,
    /// Whether to fall back on [`Device::force_configuration`] when kernel drivers (not other
    /// programs) still keep the device busy after half the patience.
    pub force: bool,
}

impl SwitchPlan {
    /// Makes the usual plan: the device is unconfigured for one second, the rounds may take ten
    /// seconds, the port is guarded, and the switch is forced if need be.
    #[must_use]
    pub fn new(target: u8, claim: impl Into<Vec<u8>>) -> Self {
        let mut claim = claim.into();
        // A function may have its control and its data in one interface.
        claim.dedup();
        Self {
            target,
            claim,
            via_zero: ViaZero::Always,
            settle: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            pause: Duration::from_millis(50),
            guard: true,
            force: true,
        }
    }
}

/// Something that a switch did or met. `Display` says it in words for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The switch begins.
    Start {
        /// `bConfigurationValue` of the active configuration, 0 when unconfigured.
        configuration: u8,
    },
    /// Kernel drivers cannot bind any more.
    Guarded,
    /// Kernel drivers could not be kept away in advance.
    NotGuarded {
        /// Reason why they could not be kept away.
        reason: String,
    },
    /// A kernel driver was detached from an interface of the configuration that is left.
    Detached {
        /// The interface.
        interface: u8,
        /// Driver that was bound to it.
        driver: String,
    },
    /// The device is unconfigured.
    Unconfigured,
    /// The device is left alone for this time.
    Settling(Duration),
    /// The target, with this `bConfigurationValue`, is active.
    Configured(u8),
    /// A kernel driver had bound to an interface of the target first, and was detached.
    TookBack {
        /// The interface.
        interface: u8,
        /// Driver that was bound to it.
        driver: String,
    },
    /// The interface with this number is claimed.
    Claimed(u8),
    /// An operation was refused and is tried again.
    Refused {
        /// The refusal in words.
        error: String,
    },
    /// Another program selected a configuration meanwhile, and the switch starts over.
    Interfered {
        /// `bConfigurationValue` of the configuration it selected.
        found: u8,
    },
    /// Kernel drivers kept the device busy, and the kernel was told to unbind them all.
    Forced {
        /// `bConfigurationValue` of the configuration that was selected in this way.
        configuration: u8,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { configuration: 0 } => write!(f, "the device is unconfigured"),
            Self::Start { configuration } => {
                write!(f, "the device is in configuration {configuration}")
            }
            Self::Guarded => write!(f, "port guarded against kernel drivers"),
            Self::NotGuarded { reason } => write!(f, "port not guarded: {reason}"),
            Self::Detached { interface, driver } => {
                write!(f, "{driver} detached from interface {interface}")
            }
            Self::Unconfigured => write!(f, "unconfigured"),
            Self::Settling(time) => write!(f, "settling for {} ms", time.as_millis()),
            Self::Configured(value) => write!(f, "configuration {value} selected"),
            Self::TookBack { interface, driver } => {
                write!(f, "interface {interface} taken back from {driver}")
            }
            Self::Claimed(interface) => write!(f, "interface {interface} claimed"),
            Self::Refused { error } => write!(f, "{error}; trying again"),
            Self::Interfered { found } => {
                write!(
                    f,
                    "another program selected configuration {found}; starting over"
                )
            }
            Self::Forced { configuration } => {
                write!(
                    f,
                    "configuration {configuration} forced past bound kernel drivers"
                )
            }
        }
    }
}

/// The outcome of a switch that succeeded.
#[derive(Debug)]
pub struct Switched {
    /// `bConfigurationValue` of the configuration that was active before, 0 when unconfigured.
    pub before: u8,
    /// `bConfigurationValue` of the target.
    pub after: u8,
    /// Whether the device was unconfigured in between.
    pub via_zero: bool,
    /// Number of rounds the switch took.
    pub rounds: u32,
    /// The kernel drivers that were detached, each as `bConfigurationValue`, interface and name.
    pub detached: Vec<(u8, u8, String)>,
    /// The guard keeps kernel drivers away for as long as it lives. It must be dropped before
    /// [`Device::attach_kernel_driver`].
    pub guard: Option<PortGuard>,
}

/// Switches `device` as planned and tells `observer` each step.
///
/// # Errors
/// [`Error::Gone`] and [`Error::NoPermission`] at once; when the time of the plan is over
/// [`Error::Busy`] with the holder, or what was refused last. Nothing is left claimed then.
pub fn switch(
    device: &dyn Device,
    plan: &SwitchPlan,
    observer: &mut dyn FnMut(Step),
) -> Result<Switched, Error> {
    let before = device.active_configuration()?;
    observer(Step::Start {
        configuration: before,
    });
    let mut guard = None;
    if plan.guard {
        match device.guard_port() {
            Ok(held) => {
                observer(Step::Guarded);
                guard = Some(held);
            }
            Err(error @ Error::Gone { .. }) => return Err(error),
            Err(error) => observer(Step::NotGuarded {
                reason: error.to_string(),
            }),
        }
    }
    let mut switching = Switching {
        device,
        plan,
        observer,
        begun: Instant::now(),
        settled: Duration::ZERO,
        visited_zero: false,
        detached: Vec::new(),
    };
    let mut rounds = 0;
    loop {
        rounds += 1;
        match switching.round() {
            Ok(()) => break,
            Err(RoundFailure::Fatal(error)) => {
                switching.release_all();
                return Err(error);
            }
            Err(RoundFailure::Retry(step, error)) => {
                switching.release_all();
                if switching.elapsed() >= plan.patience {
                    return Err(error);
                }
                (switching.observer)(step);
                std::thread::sleep(plan.pause);
            }
        }
    }
    Ok(Switched {
        before,
        after: plan.target,
        via_zero: switching.visited_zero,
        rounds,
        detached: switching.detached,
        guard,
    })
}

/// Reason why a round did not succeed.
enum RoundFailure {
    /// The error cannot pass, so the switch fails.
    Fatal(Error),
    /// The round is tried again and the step reported; the error becomes the reason when the time
    /// is over.
    Retry(Step, Error),
}

impl From<Error> for RoundFailure {
    fn from(error: Error) -> Self {
        if fatal(&error) {
            Self::Fatal(error)
        } else {
            Self::Retry(
                Step::Refused {
                    error: error.to_string(),
                },
                error,
            )
        }
    }
}

fn fatal(error: &Error) -> bool {
    matches!(error, Error::Gone { .. } | Error::NoPermission { .. })
}

struct Switching<'a> {
    device: &'a dyn Device,
    plan: &'a SwitchPlan,
    observer: &'a mut dyn FnMut(Step),
    begun: Instant,
    settled: Duration,
    visited_zero: bool,
    detached: Vec<(u8, u8, String)>,
}

impl Switching<'_> {
    /// Returns the time spent so far, without settling.
    fn elapsed(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.settled)
    }

    fn round(&mut self) -> Result<(), RoundFailure> {
        let target = self.plan.target;
        let active = self.device.active_configuration()?;
        let stay = active == target
            && match self.plan.via_zero {
                ViaZero::Always => false,
                ViaZero::IfDifferent | ViaZero::Never => true,
            };
        if !stay {
            if self.plan.via_zero != ViaZero::Never {
                if active != 0 {
                    self.leave(active, 0)?;
                    (self.observer)(Step::Unconfigured);
                }
                self.settle()?;
                self.visited_zero = true;
                self.device.set_configuration(target)?;
            } else {
                self.leave(active, target)?;
            }
            self.expect(target)?;
            (self.observer)(Step::Configured(target));
        }
        for &interface in &self.plan.claim {
            self.claim(interface)?;
        }
        Ok(())
    }

    /// Frees all interfaces of configuration `active` and selects `next`.
    fn leave(&mut self, active: u8, next: u8) -> Result<(), RoundFailure> {
        let holder = self.free(active)?;
        match self.device.set_configuration(next) {
            Err(Error::Busy {
                operation,
                holder: reported,
            }) => {
                let holder = holder.or(reported);
                let by_program = matches!(holder, Some(Holder::Program(_)));
                let patient = self.elapsed() < self.plan.patience / 2;
                if self.plan.force && !by_program && !patient {
                    self.device.force_configuration(next)?;
                    (self.observer)(Step::Forced {
                        configuration: next,
                    });
                    return Ok(());
                }
                Err(Error::Busy { operation, holder }.into())
            }
            other => Ok(other?),
        }
    }

    /// Releases and detaches all interfaces of configuration `active`. Returns the kernel driver or
    /// the program that still holds one, if any does.
    fn free(&mut self, active: u8) -> Result<Option<Holder>, RoundFailure> {
        let mut holder = None;
        let numbers: Vec<u8> = self
            .device
            .descriptors()
            .configuration(active)
            .map(|c| c.interfaces.iter().map(|i| i.number).collect())
            .unwrap_or_default();
        for interface in numbers {
            self.release(interface)?;
            // Another driver may bind after the first is detached. It is detached as well, and a
            // third one in the next round.
            for _ in 0..2 {
                let driver = match self.device.holder(interface)? {
                    None => break,
                    Some(Holder::Driver(driver)) => driver,
                    Some(other) => {
                        holder = Some(other);
                        break;
                    }
                };
                match self.device.detach_kernel_driver(interface) {
                    Ok(()) => {
                        self.detached.push((active, interface, driver.clone()));
                        (self.observer)(Step::Detached { interface, driver });
                    }
                    Err(error) if fatal(&error) => return Err(RoundFailure::Fatal(error)),
                    Err(_) => {
                        holder = Some(Holder::Driver(driver));
                        break;
                    }
                }
            }
        }
        Ok(holder)
    }

    fn settle(&mut self) -> Result<(), RoundFailure> {
        if !self.plan.settle.is_zero() {
            (self.observer)(Step::Settling(self.plan.settle));
            let begun = Instant::now();
            std::thread::sleep(self.plan.settle);
            self.settled += begun.elapsed();
        }
        self.expect(0)
    }

    /// Fails when another configuration than `value` is active.
    fn expect(&self, value: u8) -> Result<(), RoundFailure> {
        let found = self.device.active_configuration()?;
        if found == value {
            return Ok(());
        }
        Err(RoundFailure::Retry(
            Step::Interfered { found },
            Error::Other {
                operation: format!(
                    "select configuration {} of {}",
                    self.plan.target,
                    self.device.identity()
                ),
                reason: format!(
                    "another program keeps selecting configuration {found} \
                     (usb_modeswitch or a udev rule?)"
                ),
            },
        ))
    }

    fn claim(&mut self, interface: u8) -> Result<(), RoundFailure> {
        loop {
            if let Some(Holder::Driver(driver)) = self.device.holder(interface)? {
                match self.device.detach_kernel_driver(interface) {
                    Ok(()) => {
                        self.detached
                            .push((self.plan.target, interface, driver.clone()));
                        (self.observer)(Step::TookBack { interface, driver });
                    }
                    Err(error) if fatal(&error) => return Err(RoundFailure::Fatal(error)),
                    // The driver has left, or has bound again; the claim that follows shows which.
                    Err(_) => {}
                }
            }
            match self.device.claim(interface) {
                Ok(()) => {
                    (self.observer)(Step::Claimed(interface));
                    return Ok(());
                }
                Err(error) if fatal(&error) => return Err(RoundFailure::Fatal(error)),
                Err(error) => {
                    // In another configuration the number belongs to another interface.
                    self.expect(self.plan.target)?;
                    if self.elapsed() >= self.plan.patience {
                        return Err(error.into());
                    }
                    (self.observer)(Step::Refused {
                        error: error.to_string(),
                    });
                    std::thread::sleep(self.plan.pause);
                }
            }
        }
    }

    fn release_all(&mut self) {
        for &interface in &self.plan.claim {
            let _ = self.release(interface);
        }
    }

    /// Releases this program's claim of `interface`, if there is one.
    fn release(&mut self, interface: u8) -> Result<(), RoundFailure> {
        match self.device.release(interface) {
            Err(error) if fatal(&error) => Err(RoundFailure::Fatal(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
