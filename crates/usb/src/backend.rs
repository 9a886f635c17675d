//! The choice between the backends for real devices.

use std::str::FromStr;
use std::sync::Arc;

use crate::access::{Access, Local};
use crate::device::Backend;
use crate::libusb::Libusb;
use crate::nusb::Nusb;

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

    /// Makes the backend.
    #[must_use]
    pub fn start(self) -> Arc<dyn Backend> {
        self.start_through(Arc::new(Local::default()))
    }

    /// Makes the backend, which opens devices through `access`.
    #[must_use]
    pub fn start_through(self, access: Arc<dyn Access>) -> Arc<dyn Backend> {
        match self {
            Self::Libusb => Arc::new(Libusb::through(access)),
            Self::Nusb => Arc::new(Nusb::through(access)),
        }
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
