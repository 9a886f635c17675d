//! The backends for real devices, and the choice between them.

use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use crate::access::{Access, Local};
use crate::device::{Backend, Device, Found};
use crate::error::Error;
use crate::linux::place::Place;
use crate::linux::sysfs::Sysfs;
use crate::observed::Observer;
use crate::{libusb, nusb};

/// The backends for real devices. They list the same devices and do the same with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// libusb: transfers complete in the thread that waits for them.
    #[default]
    Libusb,
    /// nusb: transfers complete in a thread of its own.
    Nusb,
}

impl BackendKind {
    /// The backends by their names on the command line.
    pub const VALUES: &'static [(&'static str, Self)] =
        &[("libusb", Self::Libusb), ("nusb", Self::Nusb)];

    /// Makes the backend, which lists the devices of this machine. A machine without USB has an empty
    /// list, and [`Backend::unavailable`] says why.
    #[must_use]
    pub fn start(self) -> Arc<dyn Backend> {
        self.start_through(Arc::new(Local::default()))
    }

    /// Makes the backend, which opens devices through `access`.
    #[must_use]
    pub fn start_through(self, access: Arc<dyn Access>) -> Arc<dyn Backend> {
        Arc::new(Machine {
            kind: self,
            sysfs: Sysfs::default(),
            access,
            observer: OnceLock::new(),
        })
    }
}

/// The devices of a machine, and the library that opens them.
pub(crate) struct Machine {
    kind: BackendKind,
    sysfs: Sysfs,
    access: Arc<dyn Access>,
    observer: OnceLock<Arc<dyn Observer>>,
}

impl Machine {
    /// Makes the backend of a machine whose devices `sysfs` lists. nusb can open devices of this
    /// machine only.
    #[cfg(test)]
    pub(crate) fn with_sysfs(kind: BackendKind, sysfs: Sysfs) -> Self {
        Self {
            kind,
            access: Arc::new(Local::new(sysfs.clone())),
            sysfs,
            observer: OnceLock::new(),
        }
    }
}

impl Backend for Machine {
    fn name(&self) -> &'static str {
        let mut names = BackendKind::VALUES.iter();
        names
            .find(|(_, kind)| *kind == self.kind)
            .map_or("", |(name, _)| name)
    }

    fn unavailable(&self) -> Option<String> {
        self.sysfs.unavailable()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.sysfs.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        let place = Place::of(&self.sysfs, &self.access, found)?;
        let observer = self.observer.get();
        match self.kind {
            BackendKind::Libusb => libusb::open(place, observer),
            BackendKind::Nusb => nusb::open(place, observer),
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::VALUES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("{text:?} is no USB backend; there are libusb and nusb"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_start_by_their_names() {
        for (name, kind) in BackendKind::VALUES {
            assert_eq!(name.parse(), Ok(*kind));
            assert_eq!(kind.start().name(), *name);
        }
        assert!("winusb".parse::<BackendKind>().is_err());
    }
}
