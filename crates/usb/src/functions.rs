//! What a device can do: its network and serial functions, found by class and by the descriptors
//! that tie interfaces together, never by interface number.
//!
//! A CDC function has a communication interface (class 02) with a union descriptor that names its
//! data interface (CDC 1.2, 5.2.3.2). Where the union is missing, an interface association that
//! begins with the communication interface says the same. Which alternate setting of the data
//! interface carries the data is found by looking for the one with exactly one bulk endpoint in
//! each direction.

use crate::descriptors::{
    AlternateSetting, ClassTriple, Configuration, Descriptors, Endpoint, Functional, Interface,
    TransferKind,
};

/// MBIM communication interface (MBIM 1.0, 6.1).
pub const MBIM_CONTROL: ClassTriple = ClassTriple(0x02, 0x0e, 0x00);
/// MBIM data interface (MBIM 1.0, 6.1).
pub const MBIM_DATA: ClassTriple = ClassTriple(0x0a, 0x00, 0x02);
/// NCM communication interface (NCM 1.0, 4).
pub const NCM_CONTROL: ClassTriple = ClassTriple(0x02, 0x0d, 0x00);
/// NCM data interface (NCM 1.0, 4).
pub const NCM_DATA: ClassTriple = ClassTriple(0x0a, 0x00, 0x01);
/// ECM communication interface (ECM 1.2, 4).
pub const ECM_CONTROL: ClassTriple = ClassTriple(0x02, 0x06, 0x00);

/// Control messages of less than this are no use (MBIM 1.0, table 6-3).
const CONTROL_MESSAGE_MIN: u16 = 64;
/// Linux usbfs and libusb carry no more in one control request.
const CONTROL_MESSAGE_MAX: u16 = 4096;
/// `wMaxSegmentSize` when no descriptor names one: the least an MBIM function supports.
const SEGMENT_SIZE_DEFAULT: u16 = 2048;

/// An MBIM function (MBIM 1.0, 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MbimFunction {
    /// `bConfigurationValue` of the configuration that holds it.
    pub configuration: u8,
    /// The communication interface: all class requests go there.
    pub control_interface: u8,
    /// Its alternate setting that is MBIM: 0, or 1 in a function that can be NCM as well.
    pub control_alternate: u8,
    /// The data interface.
    pub data_interface: u8,
    /// Its alternate setting with endpoints; alternate setting 0 is the idle one.
    pub data_alternate: u8,
    /// Notifications.
    pub interrupt_in: Endpoint,
    /// Blocks from the device.
    pub bulk_in: Endpoint,
    /// Blocks to the device.
    pub bulk_out: Endpoint,
    /// `wMaxControlMessage` in bytes, brought into 64 to 4096.
    pub max_control_message: u16,
    /// `wMaxSegmentSize` in bytes, as declared; 2048 when not.
    pub max_segment_size: u16,
    /// `bmNetworkCapabilities`; bit 5: SET_NTB_INPUT_SIZE takes 8 bytes.
    pub capabilities: u8,
    /// `wMTU` of the extended descriptor in bytes, if there and not 0.
    pub extended_mtu: Option<u16>,
    /// `bMaxOutstandingCommandMessages` of the extended descriptor, if there and not 0.
    pub max_outstanding: Option<u8>,
    /// `bcdMBIMExtendedVersion`, if there.
    pub extended_version: Option<u16>,
}

/// An NCM function (NCM 1.0, 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NcmFunction {
    /// `bConfigurationValue` of the configuration that holds it.
    pub configuration: u8,
    /// The communication interface: all class requests go there.
    pub control_interface: u8,
    /// Its alternate setting that is NCM.
    pub control_alternate: u8,
    /// The data interface.
    pub data_interface: u8,
    /// Its alternate setting with endpoints; alternate setting 0 is the idle one.
    pub data_alternate: u8,
    /// Notifications, where there are any.
    pub interrupt_in: Option<Endpoint>,
    /// Blocks from the device.
    pub bulk_in: Endpoint,
    /// Blocks to the device.
    pub bulk_out: Endpoint,
    /// `bmNetworkCapabilities`.
    pub capabilities: u8,
    /// `iMACAddress`, a string index; 0 when not declared.
    pub mac_index: u8,
    /// `wMaxSegmentSize` in bytes, as declared; 1514 when not.
    pub max_segment_size: u16,
}

/// An ECM function (ECM 1.2, 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcmFunction {
    /// `bConfigurationValue` of the configuration that holds it.
    pub configuration: u8,
    /// The communication interface.
    pub control_interface: u8,
    /// The data interface.
    pub data_interface: u8,
    /// Its alternate setting with endpoints.
    pub data_alternate: u8,
    /// Frames from the device.
    pub bulk_in: Endpoint,
    /// Frames to the device.
    pub bulk_out: Endpoint,
    /// `iMACAddress`, a string index; 0 when not declared.
    pub mac_index: u8,
}

/// A vendor-specific serial interface of the Huawei family (class ff, subclass 06).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialFunction {
    /// `bConfigurationValue` of the configuration that holds it.
    pub configuration: u8,
    /// The interface. It is its own data interface: the union these interfaces carry names
    /// interface 0 in all of them and means nothing.
    pub interface: u8,
    /// What `bInterfaceProtocol` says it is for.
    pub role: SerialRole,
    /// `iInterface`.
    pub name_index: u8,
    /// Serial state notifications, where there are any.
    pub interrupt_in: Option<Endpoint>,
    /// Bytes from the device.
    pub bulk_in: Endpoint,
    /// Bytes to the device.
    pub bulk_out: Endpoint,
}

/// What a serial interface is for, by `bInterfaceProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SerialRole {
    /// 0x12: AT for programs ("PC UI").
    Pcui,
    /// 0x10: AT and dial-up.
    Modem,
    /// 0x14: position data, and AT.
    Gps,
    /// 0x13: diagnostics.
    Diagnostics,
    /// 0x1b: answers to nothing known.
    SerialB,
    /// Any other protocol.
    Other(u8),
}

impl SerialRole {
    fn from_protocol(protocol: u8) -> Self {
        match protocol {
            0x10 => Self::Modem,
            0x12 => Self::Pcui,
            0x13 => Self::Diagnostics,
            0x14 => Self::Gps,
            0x1b => Self::SerialB,
            other => Self::Other(other),
        }
    }

    /// Place in the order in which to look for one that answers to AT; `None` when it will not.
    fn at_rank(self) -> Option<u8> {
        match self {
            Self::Pcui => Some(0),
            Self::Modem => Some(1),
            Self::Gps => Some(2),
            Self::Diagnostics | Self::SerialB | Self::Other(_) => None,
        }
    }
}

/// All MBIM functions, in descriptor order.
#[must_use]
pub fn mbim(descriptors: &Descriptors) -> Vec<MbimFunction> {
    let found = communication(descriptors, MBIM_CONTROL);
    found.filter_map(|at| mbim_function(&at)).collect()
}

/// All NCM functions, in descriptor order.
#[must_use]
pub fn ncm(descriptors: &Descriptors) -> Vec<NcmFunction> {
    let found = communication(descriptors, NCM_CONTROL);
    found.filter_map(|at| ncm_function(&at)).collect()
}

/// All ECM functions, in descriptor order.
#[must_use]
pub fn ecm(descriptors: &Descriptors) -> Vec<EcmFunction> {
    let found = communication(descriptors, ECM_CONTROL);
    found.filter_map(|at| ecm_function(&at)).collect()
}

/// All vendor-specific serial interfaces (class ff, subclass 06, one bulk endpoint each way in
/// alternate setting 0), in descriptor order.
#[must_use]
pub fn serial(descriptors: &Descriptors) -> Vec<SerialFunction> {
    let each = descriptors
        .configurations
        .iter()
        .flat_map(|c| c.interfaces.iter().map(move |i| (c, i)));
    each.filter_map(|(configuration, interface)| {
        // More than one alternate setting is a vendor-specific network function.
        let [alternate] = &interface.alternates[..] else {
            return None;
        };
        let ClassTriple(0xff, 0x06, protocol) = alternate.class else {
            return None;
        };
        let (bulk_in, bulk_out) = bulk_pair(alternate)?;
        Some(SerialFunction {
            configuration: configuration.value,
            interface: interface.number,
            role: SerialRole::from_protocol(protocol),
            name_index: alternate.name_index,
            interrupt_in: interrupt_in(alternate),
            bulk_in,
            bulk_out,
        })
    })
    .collect()
}

/// The serial interfaces of one configuration that may answer to AT, the likeliest first.
#[must_use]
pub fn at_candidates(descriptors: &Descriptors, configuration: u8) -> Vec<SerialFunction> {
    let mut candidates = serial(descriptors);
    candidates.retain(|s| s.configuration == configuration && s.role.at_rank().is_some());
    candidates.sort_by_key(|s| s.role.at_rank());
    candidates
}

/// A communication interface in the alternate setting that has the class looked for.
struct Communication<'a> {
    configuration: &'a Configuration,
    interface: &'a Interface,
    alternate: &'a AlternateSetting,
}

impl<'a> Communication<'a> {
    /// Functional descriptors: those of the alternate setting, then those of the others, because
    /// a function with two personalities may carry them only once.
    fn functional(&self) -> impl Iterator<Item = &'a Functional> {
        let own = self.alternate.number;
        let others = self
            .interface
            .alternates
            .iter()
            .filter(move |a| a.number != own);
        self.alternate
            .functional
            .iter()
            .chain(others.flat_map(|a| &a.functional))
    }

    /// Data interfaces to try: the union's subordinates, else the rest of the association.
    fn data_interfaces(&self) -> Vec<&'a Interface> {
        let control = self.interface.number;
        let union = self.functional().find_map(|f| match f {
            Functional::Union {
                control: c,
                subordinates,
            } if *c == control => Some(subordinates),
            _ => None,
        });
        let named: Vec<u8> = match union {
            Some(subordinates) => subordinates.clone(),
            None => {
                let association = self
                    .configuration
                    .associations
                    .iter()
                    .find(|a| a.first == control && a.count > 1);
                association.map_or_else(Vec::new, |a| {
                    (a.first..=a.first.saturating_add(a.count - 1)).collect()
                })
            }
        };
        let others = named.into_iter().filter(|&number| number != control);
        others
            .filter_map(|number| self.configuration.interface(number))
            .collect()
    }

    /// The first data interface with a usable alternate setting that `accepts` its class.
    fn data(&self, accepts: impl Fn(ClassTriple) -> bool) -> Option<Data> {
        let interfaces = self.data_interfaces();
        let alternates = interfaces
            .iter()
            .flat_map(|i| i.alternates.iter().map(move |a| (i.number, a)));
        alternates
            .filter(|(_, a)| accepts(a.class))
            .find_map(|(interface, alternate)| {
                let (bulk_in, bulk_out) = (alternate.endpoints.len() == 2)
                    .then(|| bulk_pair(alternate))
                    .flatten()?;
                Some(Data {
                    interface,
                    alternate: alternate.number,
                    bulk_in,
                    bulk_out,
                })
            })
    }
}

/// The end of a function that carries its data.
struct Data {
    interface: u8,
    alternate: u8,
    bulk_in: Endpoint,
    bulk_out: Endpoint,
}

fn communication(
    descriptors: &Descriptors,
    class: ClassTriple,
) -> impl Iterator<Item = Communication<'_>> {
    let interfaces = descriptors
        .configurations
        .iter()
        .flat_map(|c| c.interfaces.iter().map(move |i| (c, i)));
    interfaces.filter_map(move |(configuration, interface)| {
        let alternate = interface.alternates.iter().find(|a| a.class == class)?;
        Some(Communication {
            configuration,
            interface,
            alternate,
        })
    })
}

fn mbim_function(at: &Communication<'_>) -> Option<MbimFunction> {
    let data = at.data(|class| class == MBIM_DATA)?;
    // An endpoint of another alternate setting is not there while this one is active; Linux takes
    // the active one's only (`cdc_ncm_find_endpoints`), and binds no `cdc_mbim` without it.
    let interrupt_in = interrupt_in(at.alternate)?;
    let declared = at.functional().find_map(|f| match *f {
        Functional::Mbim {
            max_control_message,
            max_segment_size,
            capabilities,
            ..
        } => Some((max_control_message, max_segment_size, capabilities)),
        _ => None,
    });
    let (max_control_message, max_segment_size, capabilities) =
        declared.unwrap_or((CONTROL_MESSAGE_MIN, SEGMENT_SIZE_DEFAULT, 0));
    let extended = at.functional().find_map(|f| match *f {
        Functional::MbimExtended {
            version,
            max_outstanding,
            mtu,
        } => Some((version, max_outstanding, mtu)),
        _ => None,
    });
    Some(MbimFunction {
        configuration: at.configuration.value,
        control_interface: at.interface.number,
        control_alternate: at.alternate.number,
        data_interface: data.interface,
        data_alternate: data.alternate,
        interrupt_in,
        bulk_in: data.bulk_in,
        bulk_out: data.bulk_out,
        max_control_message: max_control_message.clamp(CONTROL_MESSAGE_MIN, CONTROL_MESSAGE_MAX),
        max_segment_size,
        capabilities,
        extended_mtu: extended.map(|e| e.2).filter(|&mtu| mtu != 0),
        max_outstanding: extended.map(|e| e.1).filter(|&count| count != 0),
        extended_version: extended.map(|e| e.0),
    })
}

fn ncm_function(at: &Communication<'_>) -> Option<NcmFunction> {
    let data = at.data(|class| class == NCM_DATA)?;
    let capabilities = at.functional().find_map(|f| match *f {
        Functional::Ncm { capabilities, .. } => Some(capabilities),
        _ => None,
    });
    let ethernet = ethernet(at);
    Some(NcmFunction {
        configuration: at.configuration.value,
        control_interface: at.interface.number,
        control_alternate: at.alternate.number,
        data_interface: data.interface,
        data_alternate: data.alternate,
        interrupt_in: interrupt_in(at.alternate),
        bulk_in: data.bulk_in,
        bulk_out: data.bulk_out,
        capabilities: capabilities.unwrap_or(0),
        mac_index: ethernet.map_or(0, |e| e.0),
        max_segment_size: ethernet.map_or(1514, |e| e.1),
    })
}

fn ecm_function(at: &Communication<'_>) -> Option<EcmFunction> {
    // The subclass and protocol of the data interface differ between makers.
    let data = at.data(|class| class.0 == 0x0a)?;
    Some(EcmFunction {
        configuration: at.configuration.value,
        control_interface: at.interface.number,
        data_interface: data.interface,
        data_alternate: data.alternate,
        bulk_in: data.bulk_in,
        bulk_out: data.bulk_out,
        mac_index: ethernet(at).map_or(0, |e| e.0),
    })
}

/// `iMACAddress` and `wMaxSegmentSize`.
fn ethernet(at: &Communication<'_>) -> Option<(u8, u16)> {
    at.functional().find_map(|f| match *f {
        Functional::Ethernet {
            mac_index,
            max_segment_size,
        } => Some((mac_index, max_segment_size)),
        _ => None,
    })
}

/// The first bulk endpoint of each direction; one that cannot carry a byte does not count.
fn bulk_pair(alternate: &AlternateSetting) -> Option<(Endpoint, Endpoint)> {
    let bulk =
        |inward: bool| {
            alternate.endpoints.iter().copied().find(|e| {
                e.kind == TransferKind::Bulk && e.is_in() == inward && e.max_packet_size > 0
            })
        };
    Some((bulk(true)?, bulk(false)?))
}

fn interrupt_in(alternate: &AlternateSetting) -> Option<Endpoint> {
    let mut endpoints = alternate.endpoints.iter().copied();
    endpoints.find(|e| e.kind == TransferKind::Interrupt && e.is_in() && e.max_packet_size > 0)
}

#[cfg(test)]
mod tests;
