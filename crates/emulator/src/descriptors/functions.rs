//! The functions of a configuration that the modem emulates.

use uwwan_usb::codes::TAKES_ENCAPSULATED_COMMANDS;
use uwwan_usb::descriptors::{
    AlternateSetting, ClassTriple, Configuration, Descriptors, Endpoint, Functional, Interface,
    TransferKind,
};
use uwwan_usb::functions::{self, SerialFunction};

/// Class of the communication interface of an ECM function (CDC ECM 1.2, 4).
const ECM: ClassTriple = ClassTriple(0x02, 0x06, 0x00);
/// Values of `bInterfaceProtocol` of Huawei's own NCM, of class ff (Linux `huawei_cdc_ncm.c`; 46
/// and 76 are those of operators' sticks).
const VENDOR_NCM: [u8; 3] = [0x16, 0x46, 0x76];
/// Vendor ids of the makers whose Ethernet functions carry nothing before a call is dialled:
/// Huawei, and HP with modules of Huawei.
const DIALLING_VENDORS: [u16; 2] = [HUAWEI, 0x03f0];
/// Vendor id of Huawei.
const HUAWEI: u16 = 0x12d1;
/// Length in bytes, without its checksum, of the longest frame of a function that declares none.
const USUAL_FRAME: usize = 1514;

/// Payload of a network function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    /// A control session, and IP packets in NTBs.
    Mbim,
    /// Ethernet frames in NTBs.
    Ncm,
    /// Ethernet frames, one in each transfer.
    Ecm,
}

impl NetworkKind {
    /// Returns whether the function carries Ethernet frames.
    pub fn is_ethernet(self) -> bool {
        self != Self::Mbim
    }
}

/// An MBIM, NCM or ECM function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataFunction {
    /// Payload of the function.
    pub kind: NetworkKind,
    /// `bInterfaceNumber` of the interface that takes the class requests.
    pub control: u8,
    /// `bInterfaceNumber` of the interface with the data.
    pub data: u8,
    /// `bAlternateSetting` of the data interface that has the endpoints.
    pub alternate: u8,
    /// Address of the interrupt endpoint, if the function has one.
    pub interrupt: Option<u8>,
    /// Address of the bulk IN endpoint.
    pub bulk_in: u8,
    /// Address of the bulk OUT endpoint.
    pub bulk_out: u8,
    /// `wMaxPacketSize` of the bulk endpoints, in bytes.
    pub packet: usize,
    /// `wMaxSegmentSize` in bytes.
    pub segment: usize,
    /// `bmNetworkCapabilities`.
    pub capabilities: u8,
    /// `iMACAddress`, the index of the string with the host's Ethernet address; 0 is none.
    pub mac_index: u8,
    /// Whether the function is an Ethernet function that carries nothing before a call is dialled,
    /// as makers have it.
    pub dials: bool,
    /// Whether encapsulated commands carry AT.
    pub pipe: bool,
}

impl Default for DataFunction {
    /// Returns a function without interfaces, with the sizes of the lt4132's.
    fn default() -> Self {
        Self {
            kind: NetworkKind::Mbim,
            control: 0,
            data: 0,
            alternate: 1,
            interrupt: None,
            bulk_in: 0,
            bulk_out: 0,
            packet: 512,
            segment: 1500,
            capabilities: 0x20,
            mac_index: 0,
            dials: false,
            pipe: false,
        }
    }
}

/// Functions of one configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    /// Function that carries the data: the first MBIM function, or else the first NCM function of
    /// the standard class, or else of Huawei's own, or else the first ECM function.
    pub data: Option<DataFunction>,
    /// `bInterfaceNumber` of the interfaces of other Ethernet functions that take class requests.
    /// They answer, and carry nothing.
    pub idle: Vec<u8>,
    /// The serial functions.
    pub serial: Vec<SerialFunction>,
    /// Interfaces to which a kernel driver of Linux binds, each with its name.
    pub drivers: Vec<(u8, &'static str)>,
}

impl Functions {
    /// Finds the functions of the configuration with that `bConfigurationValue`.
    pub fn of(device: &Descriptors, value: u8) -> Self {
        let Some(configuration) = device.configuration(value) else {
            return Self::default();
        };
        let mut mbim = functions::mbim(device);
        mbim.retain(|function| function.configuration == value);
        let mut ncm = functions::ncm(device);
        ncm.retain(|function| function.configuration == value);
        let mut serial = functions::serial(device);
        serial.retain(|function| function.configuration == value);
        let own = vendor_ncm(configuration);
        let ecm = ecm(configuration);

        let mut drivers: Vec<(u8, &'static str)> = Vec::new();
        let mut bind = |interfaces: [u8; 2], driver| {
            for interface in interfaces {
                if !drivers.iter().any(|(bound, _)| *bound == interface) {
                    drivers.push((interface, driver));
                }
            }
        };
        for function in &mbim {
            bind(
                [function.control_interface, function.data_interface],
                "cdc_mbim",
            );
        }
        for function in &ncm {
            bind(
                [function.control_interface, function.data_interface],
                "cdc_ncm",
            );
        }
        // The function must have Huawei's vendor id; the driver's table has the subclasses 2 and 3
        // (Linux `huawei_cdc_ncm.c`).
        for (function, subclass) in &own {
            if device.vendor() == HUAWEI && matches!(subclass, 2 | 3) {
                bind([function.control, function.data], "huawei_cdc_ncm");
            }
        }
        for function in &ecm {
            bind([function.control, function.data], "cdc_ether");
        }
        for function in &serial {
            let driver = if function.class.0 == 0x02 {
                "cdc_acm"
            } else {
                "option"
            };
            bind([function.interface, function.data_interface], driver);
        }

        let mbim = mbim.first().map(|function| DataFunction {
            kind: NetworkKind::Mbim,
            control: function.control_interface,
            data: function.data_interface,
            alternate: function.data_alternate,
            interrupt: Some(function.interrupt_in.address),
            bulk_in: function.bulk_in.address,
            bulk_out: function.bulk_out.address,
            packet: function.bulk_in.max_packet_size.into(),
            segment: function.max_segment_size.into(),
            capabilities: function.capabilities,
            ..DataFunction::default()
        });
        let ncm = ncm.first().map(|function| DataFunction {
            kind: NetworkKind::Ncm,
            control: function.control_interface,
            data: function.data_interface,
            alternate: function.data_alternate,
            interrupt: function.interrupt_in.map(|end| end.address),
            bulk_in: function.bulk_in.address,
            bulk_out: function.bulk_out.address,
            packet: function.bulk_in.max_packet_size.into(),
            segment: function.max_segment_size.into(),
            capabilities: function.capabilities,
            mac_index: function.mac_index,
            // Functions of the standard class have links that are up, unless a knob says otherwise.
            dials: false,
            pipe: device.vendor() == HUAWEI
                && function.capabilities & TAKES_ENCAPSULATED_COMMANDS != 0,
        });
        let own = own.into_iter().map(|(function, _)| function);
        let ecm = ecm.into_iter().map(|function| DataFunction {
            dials: DIALLING_VENDORS.contains(&device.vendor()),
            ..function
        });
        let mut ethernet: Vec<DataFunction> = ncm.into_iter().chain(own).chain(ecm).collect();
        let data = match mbim {
            None if !ethernet.is_empty() => Some(ethernet.remove(0)),
            mbim => mbim,
        };
        Self {
            data,
            idle: ethernet.iter().map(|function| function.control).collect(),
            serial,
            drivers,
        }
    }
}

/// Returns the ECM functions of a configuration: those with a union that names a data interface.
fn ecm(configuration: &Configuration) -> Vec<DataFunction> {
    let interfaces = configuration.interfaces.iter();
    interfaces
        .filter_map(|interface| {
            let alternate = interface.alternates.iter().find(|a| a.class == ECM)?;
            let data = union(alternate)?;
            let data = configuration.interface(data)?;
            function(NetworkKind::Ecm, interface, alternate, data)
        })
        .collect()
}

/// Returns the functions of a configuration that are NCM of Huawei's own, each with its subclass.
/// The endpoints are in alternate setting 1 of the interface, or in another interface for the data.
fn vendor_ncm(configuration: &Configuration) -> Vec<(DataFunction, u8)> {
    let vendors = |class: ClassTriple| class.0 == 0xff && VENDOR_NCM.contains(&class.2);
    let interfaces = configuration.interfaces.iter();
    interfaces
        .filter_map(|interface| {
            let first = interface.alternates.iter().find(|a| vendors(a.class))?;
            let named = union(first).and_then(|number| configuration.interface(number));
            let data = named.unwrap_or(interface);
            let found = function(NetworkKind::Ncm, interface, first, data)?;
            let found = DataFunction {
                dials: true,
                pipe: found.capabilities & TAKES_ENCAPSULATED_COMMANDS != 0,
                ..found
            };
            Some((found, first.class.1))
        })
        .collect()
}

/// Returns the data interface that the union of an alternate setting names.
fn union(alternate: &AlternateSetting) -> Option<u8> {
    alternate.functional.iter().find_map(|f| match f {
        Functional::Union { subordinates, .. } => subordinates.first().copied(),
        _ => None,
    })
}

/// Makes an Ethernet function of its control interface and the interface with its data.
fn function(
    kind: NetworkKind,
    control: &Interface,
    first: &AlternateSetting,
    data: &Interface,
) -> Option<DataFunction> {
    let end = |alternate: &AlternateSetting, kind: TransferKind, inward: bool| {
        let mut ends = alternate.endpoints.iter();
        let found = ends.find(|e| e.kind == kind && e.is_in() == inward && e.max_packet_size > 0);
        found.copied()
    };
    let (alternate, bulk_in, bulk_out): (u8, Endpoint, Endpoint) =
        data.alternates.iter().find_map(|a| {
            let bulk_in = end(a, TransferKind::Bulk, true)?;
            let bulk_out = end(a, TransferKind::Bulk, false)?;
            Some((a.number, bulk_in, bulk_out))
        })?;
    let interrupt = end(first, TransferKind::Interrupt, true);
    let ethernet = first.functional.iter().find_map(|f| match *f {
        Functional::Ethernet {
            mac_index,
            max_segment_size,
        } => Some((mac_index, max_segment_size)),
        _ => None,
    });
    let capabilities = first.functional.iter().find_map(|f| match *f {
        Functional::Ncm { capabilities, .. } => Some(capabilities),
        _ => None,
    });
    Some(DataFunction {
        kind,
        control: control.number,
        data: data.number,
        alternate,
        interrupt: interrupt.map(|end| end.address),
        bulk_in: bulk_in.address,
        bulk_out: bulk_out.address,
        packet: bulk_in.max_packet_size.into(),
        segment: ethernet.map_or(USUAL_FRAME, |(_, segment)| segment.into()),
        mac_index: ethernet.map_or(0, |(index, _)| index),
        capabilities: capabilities.unwrap_or(0),
        ..DataFunction::default()
    })
}
