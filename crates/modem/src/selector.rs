//! The selection of a device.

use serde::{Deserialize, Serialize};
use uwwan_usb::device::Identity;

/// Selector of a device: `any`, `03f0:a31d`, `1-4.2` (the port path), or `3/12` (bus and device
/// number).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// The only modem present.
    #[default]
    Any,
    /// Vendor and product id.
    Id(u16, u16),
    /// The kernel's port path, which stays the same over re-enumeration.
    Port(String),
    /// Bus and device number; the latter changes at each enumeration, so after the first match the
    /// port path decides.
    Address(u8, u8),
}

/// Error for text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no device: give `any`, vendor:product (`03f0:a31d`), a port path (`1-4.2`) or bus/device (`3/12`)"
)]
pub struct BadSelector(pub String);

impl Selector {
    /// Returns whether the selector selects a device.
    #[must_use]
    pub fn matches(&self, identity: &Identity) -> bool {
        match self {
            Self::Any => true,
            Self::Id(vendor, product) => (identity.vendor, identity.product) == (*vendor, *product),
            Self::Port(port) => identity.port == *port,
            Self::Address(bus, address) => (identity.bus, identity.address) == (*bus, *address),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let bad = || BadSelector(text.to_owned());
        if text == "any" {
            return Ok(Self::Any);
        }
        if let Some((vendor, product)) = text.split_once(':') {
            let hex = |part: &str| -> Result<u16, BadSelector> {
                if part.is_empty() || part.len() > 4 || !part.bytes().all(|b| b.is_ascii_hexdigit())
                {
                    return Err(bad());
                }
                u16::from_str_radix(part, 16).map_err(|_| bad())
            };
            return Ok(Self::Id(hex(vendor)?, hex(product)?));
        }
        if let Some((bus, address)) = text.split_once('/') {
            return Ok(Self::Address(
                bus.parse().map_err(|_| bad())?,
                address.parse().map_err(|_| bad())?,
            ));
        }
        let (bus, ports) = text.split_once('-').ok_or_else(bad)?;
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if number(bus) && ports.split('.').all(number) {
            Ok(Self::Port(text.to_owned()))
        } else {
            Err(bad())
        }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Id(vendor, product) => write!(f, "{vendor:04x}:{product:04x}"),
            Self::Port(port) => f.write_str(port),
            Self::Address(bus, address) => write!(f, "{bus}/{address}"),
        }
    }
}

impl TryFrom<String> for Selector {
    type Error = BadSelector;

    fn try_from(text: String) -> Result<Self, BadSelector> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!("any".parse(), Ok(Selector::Any));
        assert_eq!("03f0:a31d".parse(), Ok(Selector::Id(0x03f0, 0xa31d)));
        assert_eq!("1-4.2".parse(), Ok(Selector::Port("1-4.2".into())));
        assert_eq!("3/12".parse(), Ok(Selector::Address(3, 12)));
        for bad in [
            "",
            "12345:1",
            "+3f0:a31d",
            ":",
            "1-",
            "1-4.",
            "x-1",
            "3/999",
            "modem",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        for text in ["any", "03f0:a31d", "1-4.2", "3/12"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }
}
