//! Descriptors of a device and all its configurations, class-specific ones included.
//!
//! Layouts: USB 2.0, 9.6 (standard), CDC 1.2, 5.2.3 (functional), NCM 1.0, 5.2.1, MBIM 1.0, 6.3 and
//! 6.4. All multi-byte fields are little endian. Reading is in `parse`: it accepts any bytes, keeps
//! what makes sense and names the rest in [`Descriptors::faults`].

mod parse;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

/// A device's descriptors, as far as they make sense; what does not is in [`Descriptors::faults`].
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    /// The raw device descriptor (18 bytes).
    pub device: Vec<u8>,
    /// All configurations, in descriptor order.
    pub configurations: Vec<Configuration>,
    /// What was wrong with them, in words, with the offset.
    pub faults: Vec<String>,
}

/// One configuration.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// `bmAttributes`.
    pub attributes: u8,
    /// `bMaxPower`, raw.
    pub max_power: u8,
    /// All interfaces with all their alternate settings, in descriptor order.
    pub interfaces: Vec<Interface>,
    /// Interface associations (IAD).
    pub associations: Vec<Association>,
    /// The descriptor set as read, `wTotalLength` bytes at most.
    pub raw: Vec<u8>,
}

/// An interface association descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Association {
    /// `bFirstInterface`.
    pub first: u8,
    /// `bInterfaceCount`.
    pub count: u8,
    /// `bFunctionClass`, `bFunctionSubClass`, `bFunctionProtocol`.
    pub class: ClassTriple,
}

/// Class, subclass and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassTriple(pub u8, pub u8, pub u8);

impl std::fmt::Display for ClassTriple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}/{:02x}/{:02x}", self.0, self.1, self.2)
    }
}

/// An interface number with its alternate settings.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// In descriptor order; never empty.
    pub alternates: Vec<AlternateSetting>,
}

/// One alternate setting of an interface.
#[derive(Debug, Clone)]
pub struct AlternateSetting {
    /// `bAlternateSetting`.
    pub number: u8,
    /// Class, subclass, protocol.
    pub class: ClassTriple,
    /// `iInterface`.
    pub name_index: u8,
    /// Endpoints, in descriptor order.
    pub endpoints: Vec<Endpoint>,
    /// Class-specific descriptors (type 0x24), in descriptor order.
    pub functional: Vec<Functional>,
}

/// An endpoint descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `bEndpointAddress`, direction bit included.
    pub address: u8,
    /// Transfer type.
    pub kind: TransferKind,
    /// `wMaxPacketSize` in bytes, without the extra-transactions bits.
    pub max_packet_size: u16,
    /// `bInterval`, raw.
    pub interval: u8,
}

/// Transfer type of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TransferKind {
    Control,
    Isochronous,
    Bulk,
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
        /// `iMACAddress`, a string index.
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
        /// `wMTU` in bytes, the operator's preference; 0 when none.
        mtu: u16,
    },
    /// Any other subtype, or one too short for its subtype: the bytes after the type.
    Other {
        /// `bDescriptorSubtype`.
        subtype: u8,
        /// What follows the subtype.
        body: Vec<u8>,
    },
}

impl Descriptors {
    /// Reads a device descriptor and its configurations, each as read from the device.
    #[must_use]
    pub fn parse<C: AsRef<[u8]>>(device: &[u8], configurations: &[C]) -> Self {
        parse::descriptors(device, configurations.iter().map(AsRef::as_ref))
    }

    /// Reads what Linux shows as `/sys/bus/usb/devices/*/descriptors`: the device descriptor
    /// followed by all configurations.
    #[must_use]
    pub fn from_sysfs(blob: &[u8]) -> Self {
        let (device, rest) = blob.split_at(blob.len().min(parse::DEVICE_LENGTH));
        parse::descriptors(device, parse::split_configurations(rest).into_iter())
    }

    /// The configuration with `bConfigurationValue` `value`.
    #[must_use]
    pub fn configuration(&self, value: u8) -> Option<&Configuration> {
        self.configurations.iter().find(|c| c.value == value)
    }

    /// `idVendor`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn vendor(&self) -> u16 {
        self.device_word(8)
    }

    /// `idProduct`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn product(&self) -> u16 {
        self.device_word(10)
    }

    /// `bcdDevice`, 0 when the device descriptor is too short.
    #[must_use]
    pub fn release(&self) -> u16 {
        self.device_word(12)
    }

    /// The device's own class, subclass and protocol.
    #[must_use]
    pub fn class(&self) -> ClassTriple {
        let byte = |at: usize| self.device.get(at).copied().unwrap_or(0);
        ClassTriple(byte(4), byte(5), byte(6))
    }

    fn device_word(&self, at: usize) -> u16 {
        match self.device.get(at..at + 2) {
            Some(bytes) => u16::from_le_bytes([bytes[0], bytes[1]]),
            None => 0,
        }
    }
}

impl Configuration {
    /// The interface with `bInterfaceNumber` `number`.
    #[must_use]
    pub fn interface(&self, number: u8) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.number == number)
    }
}

impl Interface {
    /// The alternate setting with `bAlternateSetting` `number`.
    #[must_use]
    pub fn alternate(&self, number: u8) -> Option<&AlternateSetting> {
        self.alternates.iter().find(|a| a.number == number)
    }
}

impl Endpoint {
    /// Whether it carries data to the host.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.address & 0x80 != 0
    }
}
