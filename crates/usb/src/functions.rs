//! The network and serial functions of a device. They are found by their class and by the
//! descriptors that tie interfaces together, never by interface number.
//!
//! A CDC function has a communication interface (class 02) with a union descriptor that names its
//! data interface (CDC 1.2, 5.2.3.2). As in Linux (`cdc_ncm_bind_common` in
//! `drivers/net/usb/cdc_ncm.c`), the first union counts whatever control interface it names, unless
//! another one names the interface it is at, and where there is no union, an interface association
//! that begins with the communication interface says the same. The alternate setting of the data
//! interface that carries the data is the one with a bulk endpoint in each direction; the one with
//! the protocol of the function is preferred, and the others of class 0a are taken as Linux takes
//! them, because devices exist that have another protocol there.

mod dialled;
mod network;
mod serial;

use crate::codes::{class, subclass};
use crate::descriptors::{
    AlternateSetting, ClassTriple, Configuration, Descriptors, Endpoint, Functional, Interface,
    TransferKind,
};

pub use dialled::{AtPipe, DialledFunction, DialledKind, at_pipe, dialled};
pub use network::{NetworkFunction, OtherNetwork, network, other_networks};
pub use serial::{AtLikelihood, SerialFunction, SerialRole, at_candidates, serial};

/// Class of an MBIM communication interface (MBIM 1.0, 6.1).
const MBIM_CONTROL: ClassTriple = ClassTriple(class::COMMUNICATION, subclass::MBIM, 0x00);
/// Class of an MBIM data interface (MBIM 1.0, 6.1).
const MBIM_DATA: ClassTriple = ClassTriple(class::DATA, 0x00, 0x02);
/// Class of an NCM communication interface (NCM 1.0, 4).
const NCM_CONTROL: ClassTriple = ClassTriple(class::COMMUNICATION, subclass::NCM, 0x00);
/// Class of an NCM data interface (NCM 1.0, 4).
const NCM_DATA: ClassTriple = ClassTriple(class::DATA, 0x00, 0x01);

/// Smallest `wMaxControlMessage` in bytes that MBIM allows (MBIM 1.0, table 6-3).
const CONTROL_MESSAGE_MIN: u16 = 64;
/// Length in bytes of the longest data stage of a control request in usbfs.
const CONTROL_MESSAGE_MAX: u16 = 4096;
/// `wMaxSegmentSize` in bytes of an MBIM function without an MBIM functional descriptor: the least
/// that MBIM allows (MBIM 1.0, table 6-3).
const MBIM_SEGMENT_SIZE: u16 = 2048;
/// `wMaxSegmentSize` in bytes of an NCM function without an Ethernet functional descriptor: an
/// Ethernet frame without its CRC.
const NCM_SEGMENT_SIZE: u16 = 1514;

/// An MBIM function (MBIM 1.0, 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MbimFunction {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub configuration: u8,
    /// Number of the communication interface, to which all class requests go.
    pub control_interface: u8,
    /// Number of the alternate setting of the communication interface that is MBIM: 0, or 1 in a
    /// function that can be NCM as well.
    pub control_alternate: u8,
    /// Number of the data interface.
    pub data_interface: u8,
    /// Number of the alternate setting of the data interface with endpoints; alternate setting 0 is
    /// the idle one.
    pub data_alternate: u8,
    /// The endpoint for notifications.
    pub interrupt_in: Endpoint,
    /// The endpoint for NTBs from the device.
    pub bulk_in: Endpoint,
    /// The endpoint for NTBs to the device.
    pub bulk_out: Endpoint,
    /// `wMaxControlMessage` in bytes, brought into 64 to 4096.
    pub max_control_message: u16,
    /// `wMaxSegmentSize` in bytes, 2048 when it is not declared.
    pub max_segment_size: u16,
    /// `bmNetworkCapabilities`; bit 5 says that SET_NTB_INPUT_SIZE takes 8 bytes.
    pub capabilities: u8,
    /// `wMTU` of the extended descriptor in bytes, if it is declared and not 0.
    pub extended_mtu: Option<u16>,
    /// `bMaxOutstandingCommandMessages` of the extended descriptor, if it is declared and not 0.
    pub max_outstanding: Option<u8>,
    /// `bcdMBIMExtendedVersion`, if it is declared.
    pub extended_version: Option<u16>,
}

/// An NCM function (NCM 1.0, 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NcmFunction {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub configuration: u8,
    /// Number of the communication interface, to which all class requests go.
    pub control_interface: u8,
    /// Number of the alternate setting of the communication interface that is NCM.
    pub control_alternate: u8,
    /// Number of the data interface. It is the communication interface in functions that have all
    /// their endpoints in alternate setting 1 of that one (Huawei E5331).
    pub data_interface: u8,
    /// Number of the alternate setting of the data interface with endpoints; alternate setting 0 is
    /// the idle one.
    pub data_alternate: u8,
    /// The endpoint for notifications, in functions that have one.
    pub interrupt_in: Option<Endpoint>,
    /// The endpoint for NTBs from the device.
    pub bulk_in: Endpoint,
    /// The endpoint for NTBs to the device.
    pub bulk_out: Endpoint,
    /// `bmNetworkCapabilities`.
    pub capabilities: u8,
    /// `iMACAddress`, the index of a string; 0 when it is not declared.
    pub mac_index: u8,
    /// `wMaxSegmentSize` in bytes, 1514 when it is not declared.
    pub max_segment_size: u16,
}

/// Returns all MBIM functions, in descriptor order.
#[must_use]
pub fn mbim(descriptors: &Descriptors) -> Vec<MbimFunction> {
    let found = communication(descriptors, |class| class == MBIM_CONTROL);
    found.filter_map(|at| mbim_function(&at)).collect()
}

/// Returns all NCM functions, in descriptor order.
#[must_use]
pub fn ncm(descriptors: &Descriptors) -> Vec<NcmFunction> {
    let found = communication(descriptors, |class| class == NCM_CONTROL);
    found.filter_map(|at| ncm_function(&at)).collect()
}

/// A communication interface in the alternate setting that has the class looked for.
struct Communication<'a> {
    configuration: &'a Configuration,
    interface: &'a Interface,
    alternate: &'a AlternateSetting,
}

impl<'a> Communication<'a> {
    /// Returns the functional descriptors of the alternate setting, then those of the others,
    /// because a function that can be NCM or MBIM may carry them only once.
    fn functional(&self) -> impl Iterator<Item = &'a Functional> + use<'a> {
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

    /// Returns the interfaces that may be the data interface, the likeliest first: those that the
    /// union names as subordinate, or else the rest of the interface association.
    fn data_interfaces(&self) -> Vec<&'a Interface> {
        let control = self.interface.number;
        let mut unions = self.functional().filter_map(|f| match f {
            Functional::Union {
                control,
                subordinates,
            } => Some((*control, subordinates)),
            _ => None,
        });
        let first = unions.next();
        let own = first.into_iter().chain(unions).find(|(c, _)| *c == control);
        let named: Vec<u8> = match own.or(first) {
            Some((_, subordinates)) => subordinates.clone(),
            None => {
                let association = self
                    .configuration
                    .associations
                    .iter()
                    .find(|a| a.first == control && a.count > 1);
                association.map_or_else(Vec::new, |a| {
                    (a.first..=a.first.saturating_add(a.count - 1))
                        .filter(|&number| number != control)
                        .collect()
                })
            }
        };
        named
            .into_iter()
            .filter_map(|number| self.configuration.interface(number))
            .collect()
    }

    /// Finds the alternate setting that carries the data of a function whose data interface should
    /// have the class `class`. With `alone` it may be one of the communication interface itself.
    fn data(&self, class: ClassTriple, alone: bool) -> Option<Data> {
        let control = self.interface.number;
        let fits = |interface: u8, found: ClassTriple| {
            if interface == control {
                alone && found == self.alternate.class
            } else {
                // The data interface of a vendor's function is the vendor's, too.
                found.0 == class::DATA
                    || (self.alternate.class.0 == class::VENDOR && found.0 == class::VENDOR)
            }
        };
        let found: Vec<Data> = self
            .data_interfaces()
            .into_iter()
            .flat_map(|i| i.alternates.iter().map(move |a| (i.number, a)))
            .filter(|&(interface, a)| fits(interface, a.class))
            .filter_map(|(interface, alternate)| {
                let (bulk_in, bulk_out) = bulk_pair(alternate)?;
                Some(Data {
                    interface,
                    alternate: alternate.number,
                    class: alternate.class,
                    interrupt_in: interrupt_in(alternate),
                    bulk_in,
                    bulk_out,
                })
            })
            .collect();
        let preferred = found.iter().position(|data| data.class == class);
        found.into_iter().nth(preferred.unwrap_or(0))
    }
}

/// The alternate setting of a function that carries its data.
struct Data {
    interface: u8,
    alternate: u8,
    class: ClassTriple,
    interrupt_in: Option<Endpoint>,
    bulk_in: Endpoint,
    bulk_out: Endpoint,
}

/// Returns every interface that has an alternate setting of a class that `fits`, in descriptor order.
fn communication(
    descriptors: &Descriptors,
    fits: impl Fn(ClassTriple) -> bool,
) -> impl Iterator<Item = Communication<'_>> {
    let interfaces = descriptors
        .configurations
        .iter()
        .flat_map(|c| c.interfaces.iter().map(move |i| (c, i)));
    interfaces.filter_map(move |(configuration, interface)| {
        let alternate = interface.alternates.iter().find(|a| fits(a.class))?;
        Some(Communication {
            configuration,
            interface,
            alternate,
        })
    })
}

fn mbim_function(at: &Communication<'_>) -> Option<MbimFunction> {
    let data = at.data(MBIM_DATA, false)?;
    // An endpoint of another alternate setting is not usable while this one is active. Linux takes
    // the endpoints of the active one only (`cdc_ncm_find_endpoints`), and binds no `cdc_mbim`
    // without an interrupt endpoint.
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
        declared.unwrap_or((CONTROL_MESSAGE_MIN, MBIM_SEGMENT_SIZE, 0));
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
    let data = at.data(NCM_DATA, true)?;
    // Where one interface serves for both, the interrupt endpoint is in the alternate setting with
    // the data.
    let notifications = if data.interface == at.interface.number {
        data.interrupt_in
    } else {
        interrupt_in(at.alternate)
    };
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
        interrupt_in: notifications,
        bulk_in: data.bulk_in,
        bulk_out: data.bulk_out,
        capabilities: capabilities.unwrap_or(0),
        mac_index: ethernet.map_or(0, |e| e.0),
        max_segment_size: ethernet.map_or(NCM_SEGMENT_SIZE, |e| e.1),
    })
}

/// Returns `iMACAddress` and `wMaxSegmentSize` of the Ethernet functional descriptor.
fn ethernet(at: &Communication<'_>) -> Option<(u8, u16)> {
    at.functional().find_map(|f| match *f {
        Functional::Ethernet {
            mac_index,
            max_segment_size,
        } => Some((mac_index, max_segment_size)),
        _ => None,
    })
}

/// Returns the first bulk endpoint of each direction, IN first. An endpoint that cannot carry a byte
/// does not count, as in Linux (`cdc_ncm_find_endpoints`).
fn bulk_pair(alternate: &AlternateSetting) -> Option<(Endpoint, Endpoint)> {
    let bulk =
        |inward: bool| {
            alternate.endpoints.iter().copied().find(|e| {
                e.kind == TransferKind::Bulk && e.is_in() == inward && e.max_packet_size > 0
            })
        };
    Some((bulk(true)?, bulk(false)?))
}

/// Returns the first interrupt endpoint towards the host that can carry a byte.
fn interrupt_in(alternate: &AlternateSetting) -> Option<Endpoint> {
    let mut endpoints = alternate.endpoints.iter().copied();
    endpoints.find(|e| e.kind == TransferKind::Interrupt && e.is_in() && e.max_packet_size > 0)
}

#[cfg(test)]
mod tests;
