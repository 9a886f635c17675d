//! A device for tests, which behaves like an lt4132 towards configurations, kernel drivers and
//! control requests. A hook sees every call first, and can change the state or refuse the call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::descriptors::{Descriptors, vectors};
use crate::device::{Device, Identity, PortGuard, Pump, Queue, Setup, Speed};
use crate::error::{Error, Holder};

/// A function that gets each call and the state before it, and can return an error for the call.
pub(crate) type Hook = Box<dyn FnMut(&str, &mut State) -> Option<Error> + Send>;

/// The state of the device and of the kernel's drivers.
pub(crate) struct State {
    pub(crate) active: u8,
    /// The holders of interfaces of the active configuration.
    pub(crate) drivers: BTreeMap<u8, Holder>,
    pub(crate) claims: BTreeSet<u8>,
    /// The drivers that bind when a configuration is selected.
    pub(crate) binds: BTreeMap<u8, Vec<(u8, &'static str)>>,
    /// Whether the firmware has fallen silent.
    pub(crate) mute: bool,
    pub(crate) guarded: bool,
    pub(crate) guard_offered: bool,
    pub(crate) forced: u32,
    pub(crate) present: bool,
    /// Time for which the firmware needs to be unconfigured.
    pub(crate) settle: Duration,
    unconfigured_since: Option<Instant>,
    /// The calls so far, in words.
    pub(crate) calls: Vec<String>,
    /// The control requests so far, each with the data sent.
    pub(crate) requests: Vec<(Setup, Vec<u8>)>,
    /// The data stage of every control request to the host.
    pub(crate) answer: Vec<u8>,
}

impl State {
    /// Selects a configuration as the kernel and the firmware of an lt4132 do.
    pub(crate) fn select(&mut self, value: u8) {
        if value == 0 {
            self.unconfigured_since = Some(Instant::now());
            self.mute = false;
        } else if self.active == 0 {
            let rested = self
                .unconfigured_since
                .is_none_or(|since| since.elapsed() >= self.settle);
            self.mute = !rested;
        } else if self.active != value {
            self.mute = true;
        }
        self.active = value;
        self.drivers.clear();
        self.claims.clear();
        if !self.guarded {
            for &(interface, driver) in self.binds.get(&value).into_iter().flatten() {
                self.drivers
                    .insert(interface, Holder::Driver(driver.to_owned()));
            }
        }
    }
}

pub(crate) struct FakeDevice {
    identity: Identity,
    descriptors: Descriptors,
    pub(crate) state: Mutex<State>,
    hook: Mutex<Hook>,
}

/// The drivers that Linux binds to an lt4132 in configuration 2.
const BINDS_2: [(u8, &str); 7] = [
    (0, "cdc_ether"),
    (1, "cdc_ether"),
    (2, "option"),
    (3, "option"),
    (4, "option"),
    (5, "option"),
    (6, "option"),
];
/// The drivers that Linux binds to an lt4132 in configuration 3.
const BINDS_3: [(u8, &str); 3] = [(0, "cdc_mbim"), (1, "cdc_mbim"), (2, "option")];

impl FakeDevice {
    /// Makes a device in configuration `active`, with the kernel's drivers bound.
    pub(crate) fn new(active: u8) -> Self {
        Self::with_hook(active, |_, _| None)
    }

    pub(crate) fn with_hook(
        active: u8,
        hook: impl FnMut(&str, &mut State) -> Option<Error> + Send + 'static,
    ) -> Self {
        let mut state = State {
            active: 0,
            drivers: BTreeMap::new(),
            claims: BTreeSet::new(),
            binds: BTreeMap::from([(2, BINDS_2.to_vec()), (3, BINDS_3.to_vec())]),
            mute: false,
            guarded: false,
            guard_offered: false,
            forced: 0,
            present: true,
            settle: Duration::from_millis(5),
            unconfigured_since: None,
            calls: Vec::new(),
            requests: Vec::new(),
            answer: Vec::new(),
        };
        state.select(active);
        state.unconfigured_since = None;
        Self {
            identity: Identity {
                vendor: 0x03f0,
                product: 0xa31d,
                bus: 1,
                address: 7,
                port: "1-4".to_owned(),
                speed: Speed::High,
                ..Identity::default()
            },
            descriptors: vectors::lt4132(),
            state: Mutex::new(state),
            hook: Mutex::new(Box::new(hook)),
        }
    }

    /// Replaces the hook that gets all further calls.
    pub(crate) fn refuse(
        &self,
        hook: impl FnMut(&str, &mut State) -> Option<Error> + Send + 'static,
    ) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    fn enter(&self, call: &str) -> Result<std::sync::MutexGuard<'_, State>, Error> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(call.to_owned());
        let refused = (self.hook.lock().unwrap())(call, &mut state);
        if !state.present {
            return Err(Error::Gone {
                operation: call.to_owned(),
            });
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

/// Makes the error with which most calls are refused.
pub(crate) fn busy(holder: Option<Holder>) -> Error {
    Error::Busy {
        operation: "test".to_owned(),
        holder,
    }
}

impl Device for FakeDevice {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    fn active_configuration(&self) -> Result<u8, Error> {
        Ok(self.enter("active")?.active)
    }

    fn set_configuration(&self, value: u8) -> Result<(), Error> {
        let mut state = self.enter(&format!("select {value}"))?;
        if !state.drivers.is_empty() || !state.claims.is_empty() {
            return Err(busy(state.drivers.values().next().cloned()));
        }
        state.select(value);
        Ok(())
    }

    fn force_configuration(&self, value: u8) -> Result<(), Error> {
        let mut state = self.enter(&format!("force {value}"))?;
        state.forced += 1;
        state.select(value);
        Ok(())
    }

    fn guard_port(&self) -> Result<PortGuard, Error> {
        let mut state = self.enter("guard")?;
        if !state.guard_offered {
            return Err(Error::NoPermission {
                operation: "guard".to_owned(),
                node: None,
            });
        }
        state.guarded = true;
        Ok(PortGuard::new(()))
    }

    fn holder(&self, interface: u8) -> Result<Option<Holder>, Error> {
        Ok(self
            .enter(&format!("driver {interface}"))?
            .drivers
            .get(&interface)
            .cloned())
    }

    fn detach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let mut state = self.enter(&format!("detach {interface}"))?;
        if let Some(Holder::Driver(name)) = state.drivers.get(&interface).cloned() {
            state.drivers.remove(&interface);
            // In a network function, the driver of the control interface holds the data interface
            // as well.
            if interface == 0 && matches!(name.as_str(), "cdc_mbim" | "cdc_ether") {
                state.drivers.remove(&1);
            }
        }
        Ok(())
    }

    fn attach_kernel_driver(&self, interface: u8) -> Result<(), Error> {
        let mut state = self.enter(&format!("attach {interface}"))?;
        let State {
            active,
            binds,
            drivers,
            guarded,
            ..
        } = &mut *state;
        let bound = binds.get(active).into_iter().flatten();
        let bound = bound.filter(|(number, _)| !*guarded && *number == interface);
        for (_, driver) in bound {
            let driver = Holder::Driver((*driver).to_owned());
            drivers.entry(interface).or_insert(driver);
        }
        Ok(())
    }

    fn claim(&self, interface: u8) -> Result<(), Error> {
        let mut state = self.enter(&format!("claim {interface}"))?;
        if let Some(driver) = state.drivers.get(&interface) {
            return Err(busy(Some(driver.clone())));
        }
        state.claims.insert(interface);
        Ok(())
    }

    fn release(&self, interface: u8) -> Result<(), Error> {
        self.enter(&format!("release {interface}"))?
            .claims
            .remove(&interface);
        Ok(())
    }

    fn set_alternate_setting(&self, interface: u8, alternate: u8) -> Result<(), Error> {
        self.enter(&format!("alternate {interface} {alternate}"))
            .map(|_| ())
    }

    fn control_in(&self, setup: Setup, data: &mut [u8], _: Duration) -> Result<usize, Error> {
        let mut state = self.enter("control in")?;
        state.requests.push((setup, vec![0; data.len()]));
        let length = state.answer.len().min(data.len());
        data[..length].copy_from_slice(&state.answer[..length]);
        Ok(length)
    }

    fn control_out(&self, setup: Setup, data: &[u8], _: Duration) -> Result<(), Error> {
        self.enter("control out")?
            .requests
            .push((setup, data.to_vec()));
        Ok(())
    }

    fn clear_halt(&self, _: u8) -> Result<(), Error> {
        self.enter("clear halt").map(|_| ())
    }

    fn reset(&self) -> Result<(), Error> {
        self.enter("reset").map(|_| ())
    }

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        Err(Error::NoSuchEndpoint {
            operation: format!("queue {endpoint:02x}"),
        })
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        Err(busy(None))
    }
}
