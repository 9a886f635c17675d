//! The kernel of the in-process host, as far as a driver notices it: the holders of interfaces.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uwwan_usb::error::Holder as UsbHolder;

use crate::descriptors::{Configuration, EndpointPlace, Layout};
use crate::knobs::HostDrivers;

/// Time after which a driver binds that is in a module loaded on demand.
const LATE: Duration = Duration::from_millis(50);

/// Id of an open device handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u64);

/// Holder of a claimed interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The kernel driver of that name.
    Driver(&'static str),
    /// An open device handle.
    Handle(Owner),
}

impl From<Holder> for UsbHolder {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Driver(name) => Self::Driver(name.to_owned()),
            Holder::Handle(_) => Self::Program("another handle".to_owned()),
        }
    }
}

/// State of the device in the host's kernel: configuration, alternate settings and holders.
#[derive(Debug)]
pub(crate) struct Host {
    drivers: HostDrivers,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    configuration: u8,
    layout: Layout,
    /// Interfaces to which a kernel driver binds, each with its name.
    bindings: Vec<(u8, &'static str)>,
    alternates: BTreeMap<u8, u8>,
    holders: BTreeMap<u8, Holder>,
    /// Time at which drivers bind that are loaded late.
    binds_at: Option<Instant>,
    /// Number of handles that were opened.
    handles: u64,
}

impl State {
    fn exists(&self, interface: u8) -> bool {
        let mut alternates = self.layout.alternates.iter();
        alternates.any(|place| place.interface == interface)
    }

    fn bind_all(&mut self) {
        for (interface, driver) in &self.bindings {
            let driver = Holder::Driver(driver);
            self.holders.entry(*interface).or_insert(driver);
        }
    }

    fn settle(&mut self, now: Instant) {
        if self.binds_at.is_some_and(|at| at <= now) {
            self.binds_at = None;
            self.bind_all();
        }
    }
}

impl Host {
    /// Makes a host with the kernel drivers that the knob says.
    pub fn new(drivers: HostDrivers) -> Self {
        Self {
            drivers,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.settle(now);
        state
    }

    /// Notes an enumeration, and returns whether it is new. The host forgets the one before.
    pub fn meet(&self, generation: u64) -> bool {
        let mut state = self.lock();
        if state.generation == generation {
            return false;
        }
        let handles = state.handles;
        *state = State {
            generation,
            handles,
            ..State::default()
        };
        true
    }

    /// Notes that the device accepted a configuration, 0 for none, and lets drivers bind.
    pub fn configured(&self, value: u8, configuration: Option<&Configuration>, now: Instant) {
        let mut state = self.lock();
        if state.configuration == value {
            // This is a light reset: interfaces stay as they are.
            state.alternates.clear();
            return;
        }
        state.configuration = value;
        state.layout = configuration.map(|c| c.layout.clone()).unwrap_or_default();
        state.bindings = configuration
            .map(|c| c.functions.drivers.clone())
            .unwrap_or_default();
        state.alternates.clear();
        state.holders.clear();
        state.binds_at = None;
        match self.drivers {
            HostDrivers::Bound => state.bind_all(),
            HostDrivers::Late => state.binds_at = Some(now + LATE),
            HostDrivers::None => {}
        }
    }

    /// Returns the configuration that the device accepted last, 0 for none.
    pub fn configuration(&self) -> u8 {
        self.lock().configuration
    }

    /// Notes that the device accepted an alternate setting.
    pub fn alternate_selected(&self, interface: u8, alternate: u8) {
        self.lock().alternates.insert(interface, alternate);
    }

    /// Returns the interfaces with a kernel driver bound to them, each with the driver's name.
    pub fn drivers(&self, now: Instant) -> Vec<(u8, String)> {
        self.settled(now)
            .holders
            .iter()
            .filter_map(|(interface, holder)| match holder {
                Holder::Driver(name) => Some((*interface, (*name).to_owned())),
                Holder::Handle(_) => None,
            })
            .collect()
    }

    /// Returns the kernel driver bound to an interface.
    pub fn driver(&self, interface: u8, now: Instant) -> Option<&'static str> {
        match self.settled(now).holders.get(&interface) {
            Some(Holder::Driver(name)) => Some(name),
            _ => None,
        }
    }

    /// Returns the holder of an interface, as seen by `owner`.
    pub fn holder_for(&self, owner: Owner, interface: u8, now: Instant) -> Option<UsbHolder> {
        let holder = *self.settled(now).holders.get(&interface)?;
        (holder != Holder::Handle(owner)).then(|| holder.into())
    }

    /// Returns a holder of any interface, if there is one; no configuration can be selected then.
    pub fn any_holder(&self, now: Instant) -> Option<UsbHolder> {
        let state = self.settled(now);
        state.holders.values().next().map(|holder| (*holder).into())
    }

    /// Takes an interface from its kernel driver.
    pub fn detach(&self, interface: u8, now: Instant) {
        let mut state = self.settled(now);
        let Some(Holder::Driver(name)) = state.holders.get(&interface).copied() else {
            return;
        };
        if name == "option" {
            state.holders.remove(&interface);
        } else {
            // A network driver holds the control and the data interface, and releases both.
            state
                .holders
                .retain(|_, holder| *holder != Holder::Driver(name));
        }
    }

    /// Lets a driver bind again.
    ///
    /// # Errors
    /// Returns the handle that has claimed the interface.
    pub fn attach(&self, interface: u8, now: Instant) -> Result<(), UsbHolder> {
        let mut state = self.settled(now);
        match state.holders.get(&interface) {
            Some(Holder::Driver(_)) => Ok(()),
            Some(holder @ Holder::Handle(_)) => Err((*holder).into()),
            None => {
                let mut bindings = state.bindings.iter();
                let driver = bindings.find(|(bound, _)| *bound == interface);
                if let (Some(&(_, driver)), true) = (driver, self.drivers != HostDrivers::None) {
                    state.holders.insert(interface, Holder::Driver(driver));
                }
                Ok(())
            }
        }
    }

    /// Opens a device handle.
    pub fn open(&self) -> Owner {
        let mut state = self.lock();
        state.handles += 1;
        Owner(state.handles)
    }

    /// Claims an interface for a handle.
    ///
    /// # Errors
    /// Returns the holder of the interface, or `None` when there is no such interface.
    pub fn claim(
        &self,
        owner: Owner,
        interface: u8,
        now: Instant,
    ) -> Result<(), Option<UsbHolder>> {
        let mut state = self.settled(now);
        if !state.exists(interface) {
            return Err(None);
        }
        match state.holders.get(&interface) {
            Some(holder) if *holder != Holder::Handle(owner) => Err(Some((*holder).into())),
            _ => {
                state.holders.insert(interface, Holder::Handle(owner));
                Ok(())
            }
        }
    }

    /// Returns whether a handle has claimed an interface.
    pub fn is_claimed(&self, owner: Owner, interface: u8) -> bool {
        self.lock().holders.get(&interface) == Some(&Holder::Handle(owner))
    }

    /// Releases an interface, and returns whether its alternate setting must be set back to 0.
    pub fn release(&self, owner: Owner, interface: u8) -> bool {
        let mut state = self.lock();
        if state.holders.get(&interface) != Some(&Holder::Handle(owner)) {
            return false;
        }
        state.holders.remove(&interface);
        state.alternates.get(&interface).copied().unwrap_or(0) != 0
    }

    /// Releases all interfaces that a handle has claimed, and returns those whose alternate setting
    /// must be set back to 0.
    pub fn close(&self, owner: Owner) -> Vec<u8> {
        let mut state = self.lock();
        let mut moved = Vec::new();
        let held: Vec<u8> = state
            .holders
            .iter()
            .filter(|(_, holder)| **holder == Holder::Handle(owner))
            .map(|(interface, _)| *interface)
            .collect();
        for interface in held {
            state.holders.remove(&interface);
            if state.alternates.get(&interface).copied().unwrap_or(0) != 0 {
                moved.push(interface);
            }
        }
        moved
    }

    /// Returns the endpoints in the active alternate setting of an interface.
    pub fn endpoints_of(&self, interface: u8) -> Vec<u8> {
        let state = self.lock();
        let active = state.alternates.get(&interface).copied().unwrap_or(0);
        let all = state.layout.endpoints.iter();
        all.filter(|place| (place.interface, place.alternate) == (interface, active))
            .map(|place| place.address)
            .collect()
    }

    /// Returns an endpoint in the active alternate setting of an interface claimed by `owner`.
    pub fn endpoint(&self, owner: Owner, address: u8) -> Option<EndpointPlace> {
        let state = self.lock();
        state
            .layout
            .endpoints
            .iter()
            .find(|place| {
                place.address == address
                    && state.holders.get(&place.interface) == Some(&Holder::Handle(owner))
                    && state.alternates.get(&place.interface).copied().unwrap_or(0)
                        == place.alternate
            })
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptors::Presented;
    use crate::knobs::Knobs;

    fn configured(host: &Host, value: u8, now: Instant) {
        let presented = Presented::new(&Knobs::default(), None, &Default::default());
        host.configured(value, presented.configuration(value), now);
    }

    #[test]
    fn drivers_hold_until_detached() {
        let host = Host::new(HostDrivers::Bound);
        let now = Instant::now();
        assert!(host.meet(1));
        assert!(!host.meet(1));
        configured(&host, 2, now);
        assert_eq!(host.drivers(now).len(), 7);
        let owner = host.open();
        assert_eq!(
            host.claim(owner, 0, now),
            Err(Some(UsbHolder::Driver("cdc_ether".to_owned())))
        );
        host.detach(0, now);
        assert_eq!(host.driver(1, now), None);
        assert_eq!(host.claim(owner, 0, now), Ok(()));
        assert_eq!(host.claim(owner, 9, now), Err(None));
        let other = host.open();
        let holder = host.holder_for(other, 0, now);
        assert!(matches!(holder, Some(UsbHolder::Program(_))), "{holder:?}");
        assert!(host.any_holder(now).is_some());
        host.close(owner);
        for interface in 2..7 {
            host.detach(interface, now);
        }
        assert_eq!(host.any_holder(now), None);
    }

    #[test]
    fn late_modules_bind_to_what_is_free() {
        let host = Host::new(HostDrivers::Late);
        let now = Instant::now();
        configured(&host, 3, now);
        let owner = host.open();
        assert_eq!(host.claim(owner, 1, now), Ok(()));
        let later = now + LATE;
        assert_eq!(host.driver(0, later), Some("cdc_mbim"));
        assert_eq!(host.driver(1, later), None);
        assert_eq!(host.driver(2, later), Some("option"));
    }
}
