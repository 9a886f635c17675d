//! The place where a device is plugged in, and what it says it is.

/// Place where a device is plugged in, and what it says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// Number of the bus, as in `/dev/bus/usb/BBB`.
    pub bus: u8,
    /// Number of the device on its bus, as in `/dev/bus/usb/BBB/DDD`; it changes at each enumeration.
    pub address: u8,
    /// Path of the port as the kernel names it (`1-4.2`); it stays over re-enumeration.
    pub port: String,
    /// Signalling rate of the connection.
    pub speed: Speed,
    /// The string that `iManufacturer` names, if it could be read.
    pub manufacturer: Option<String>,
    /// The string that `iProduct` names, if it could be read.
    pub product_name: Option<String>,
    /// The string that `iSerialNumber` names, if it could be read. All units of the lt4132 share one.
    pub serial: Option<String>,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:04x}:{:04x} at {}",
            self.vendor, self.product, self.port
        )
    }
}

/// Signalling rate of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speed {
    /// The rate is not known.
    #[default]
    Unknown,
    /// 1.5 Mbit/s.
    Low,
    /// 12 Mbit/s.
    Full,
    /// 480 Mbit/s.
    High,
    /// 5 Gbit/s.
    Super,
    /// 10 Gbit/s or more.
    SuperPlus,
}
