//! The descriptors of a device and all its configurations, class-specific ones included.
//!
//! Their layouts are in USB 2.0, 9.6 (standard descriptors), CDC 1.2, 5.2.3 (functional
//! descriptors), NCM 1.0, 5.2.1, and MBIM 1.0, 6.3 and 6.4. All multi-byte fields are little
//! endian. The parser accepts any bytes, keeps what makes sense and lists the rest in
//! [`Descriptors::faults`].

mod parse;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

use crate::codes;

/// The descriptors of a device, as far as they make sense.
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    /// The raw device descriptor, 18 bytes.
    pub device: Vec<u8>,
    /// The configurations, in descriptor order.
    pub configurations: Vec<Configuration>,
    /// The faults in the descriptors, in words and with their offset in bytes.
    pub faults: Vec<String>,
}

/// A configuration (USB 2.0, 9.6.3).
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// `bmAttributes`.
    pub attributes: u8,
    /// `bMaxPower`, in units of 2 mA, or of 8 mA at SuperSpeed.
    pub max_power: u8,
    /// The interfaces with all their alternate settings, in descriptor order.
    pub interfaces: Vec<Interface>,
    /// The interface associations.
    pub associations: Vec<Association>,
    /// The raw configuration, `wTotalLength` bytes at most.
    pub raw: Vec<u8>,
}

/// An interface association descriptor (IAD).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Association {
    /// `bFirstInterface`.
    pub first: u8,
    /// `bInterfaceCount`.
    pub count: u8,
    /// `bFunctionClass`, `bFunctionSubClass`, `bFunctionProtocol`.
    pub class: ClassTriple,
}

/// Class, subclass and protocol of a device, a function or an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassTriple(pub u8, pub u8, pub u8);

impl std::fmt::Display for ClassTriple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}/{:02x}/{:02x}", self.0, self.1, self.2)
    }
}

/// An interface with its alternate settings.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// The alternate settings in descriptor order, at least one.
    pub alternates: Vec<AlternateSetting>,
}

/// An alternate setting of an interface (USB 2.0, 9.6.5).
#[derive(Debug, Clone)]
pub struct AlternateSetting {
    /// `bAlternateSetting`.
    pub number: u8,
    /// `bInterfaceClass`, `bInterfaceSubClass`, `bInterfaceProtocol`.
    pub class: ClassTriple,
    /// The endpoints, in descriptor order.
    pub endpoints: Vec<Endpoint>,
    /// The class-specific descriptors (type 0x24), in descriptor order.
    pub functional: Vec<Functional>,
}

/// An endpoint (USB 2.0, 9.6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `bEndpointAddress`, direction bit included.
    pub address: u8,
    /// The transfer type.
    pub kind: TransferKind,
    /// `wMaxPacketSize` in bytes, without the extra-transactions bits.
    pub max_packet_size: u16,
    /// `bInterval`, in frames or, from high speed on, as the exponent of a number of microframes.
    pub interval: u8,
}

/// The transfer type of an endpoint (USB 2.0, 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// Control transfers.
    Control,
    /// Isochronous transfers.
    Isochronous,
    /// Bulk transfers.
    Bulk,
    /// Interrupt transfers.
    Interrupt,
}

/// A CDC class-specific interface descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Functional {
    /// Header (0x00): `bcdCDC`.
    Header(u16),
    /// Union (0x06).
    Union {
        /// `bControlInterface`.
        control: u8,
        /// `bSubordinateInterface0…`
        subordinates: Vec<u8>,
    },
    /// Ethernet networking (0x0f).
    Ethernet {
        /// `iMACAddress`, the index of a string.
        mac_index: u8,
        /// `wMaxSegmentSize` in bytes.
        max_segment_size: u16,
    },
    /// NCM (0x1a).
    Ncm {
        /// `bcdNcmVersion`.
        version: u16,
        /// `bmNetworkCapabilities`.
        capabilities: u8,
    },
    /// MBIM (0x1b).
    Mbim {
        /// `bcdMBIMVersion`.
        version: u16,
        /// `wMaxControlMessage` in bytes.
        max_control_message: u16,
        /// `bNumberFilters`.
        filters: u8,
        /// `bMaxFilterSize` in bytes.
        max_filter_size: u8,
        /// `wMaxSegmentSize` in bytes.
        max_segment_size: u16,
        /// `bmNetworkCapabilities`.
        capabilities: u8,
    },
    /// MBIM extended (0x1c).
    MbimExtended {
        /// `bcdMBIMExtendedVersion`.
        version: u16,
        /// `bMaxOutstandingCommandMessages`.
        max_outstanding: u8,
        /// `wMTU` in bytes, the MTU that the operator prefers; 0 for no preference.
        mtu: u16,
    },
    /// Any other subtype, or a descriptor too short for its subtype.
    Other {
        /// `bDescriptorSubtype`.
        subtype: u8,
        /// The bytes after the subtype.
        body: Vec<u8>,
    },
}

impl Descriptors {
    /// Parses a device descriptor and its configurations, each as read from the device.
    #[must_use]
    pub fn parse<C: AsRef<[u8]>>(device: &[u8], configurations: &[C]) -> Self {
        parse::descriptors(device, configurations.iter().map(AsRef::as_ref))
    }

    /// Parses what Linux shows as `/sys/bus/usb/devices/*/descriptors`: the device descriptor
    /// followed by all configurations.
    #[must_use]
    pub fn from_sysfs(blob: &[u8]) -> Self {
        let (device, rest) = blob.split_at(blob.len().min(parse::DEVICE_LENGTH));
        parse::descriptors(device, parse::split_configurations(rest).into_iter())
    }

    /// Returns the configuration with `bConfigurationValue` `value`.
    #[must_use]
    pub fn configuration(&self, value: u8) -> Option<&Configuration> {
        self.configurations.iter().find(|c| c.value == value)
    }

    /// Returns `idVendor`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn vendor(&self) -> u16 {
        self.device_word(8)
    }

    /// Returns `idProduct`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn product(&self) -> u16 {
        self.device_word(10)
    }

    /// Returns `bcdDevice`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn release(&self) -> u16 {
        self.device_word(12)
    }

    /// Returns `bDeviceClass`, `bDeviceSubClass`, `bDeviceProtocol`.
    #[must_use]
    pub fn class(&self) -> ClassTriple {
        let byte = |at: usize| self.device.get(at).copied().unwrap_or(0);
        ClassTriple(byte(4), byte(5), byte(6))
    }

    /// Returns the little-endian 16-bit word at an offset of the device descriptor.
    fn device_word(&self, at: usize) -> u16 {
        match self.device.get(at..at + 2) {
            Some(bytes) => u16::from_le_bytes([bytes[0], bytes[1]]),
            None => 0,
        }
    }
}

impl Configuration {
    /// Returns the interface with `bInterfaceNumber` `number`.
    #[must_use]
    pub fn interface(&self, number: u8) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.number == number)
    }
}

impl Interface {
    /// Returns the alternate setting with `bAlternateSetting` `number`.
    #[must_use]
    pub fn alternate(&self, number: u8) -> Option<&AlternateSetting> {
        self.alternates.iter().find(|a| a.number == number)
    }
}

impl Endpoint {
    /// Returns whether the endpoint carries data to the host.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.address & codes::IN != 0
    }
}
