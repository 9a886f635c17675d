//! The functions of a configuration that the modem has something behind.

use uwwan_usb::descriptors::{ClassTriple, Configuration, Descriptors, Functional};
use uwwan_usb::functions::{self, SerialFunction};

/// Class of the communication interface of an ECM function (CDC ECM 1.2, 4).
const ECM: ClassTriple = ClassTriple(0x02, 0x06, 0x00);
/// Class and protocol of Huawei's own NCM.
const VENDOR_NCM: (u8, u8) = (0xff, 0x16);

/// Payload of a network function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    /// A control session, and IP packets.
    Mbim,
    /// Ethernet frames.
    Ethernet,
}

/// An MBIM or NCM function.
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
}

impl Default for DataFunction {
    /// A function that is nowhere, with the sizes of the lt4132's.
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
        }
    }
}

/// An ECM function, behind which nobody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EcmFunction {
    /// `bInterfaceNumber` of the communication interface.
    pub control: u8,
    /// `bInterfaceNumber` of the data interface.
    pub data: u8,
    /// Address of the interrupt endpoint, if the function has one.
    pub interrupt: Option<u8>,
}

/// The functions of one configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Functions {
    /// The function that carries the data: the first MBIM function, or else the first NCM function.
    pub data: Option<DataFunction>,
    /// The first ECM function.
    pub ecm: Option<EcmFunction>,
    /// `bInterfaceNumber` of Huawei's own NCM, which answers NTB requests and carries nothing.
    pub vendor_ncm: Option<u8>,
    /// The serial functions.
    pub serial: Vec<SerialFunction>,
    /// Interfaces that a kernel driver of Linux binds to, with its name.
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
        });
        let ncm = ncm.first().map(|function| DataFunction {
            kind: NetworkKind::Ethernet,
            control: function.control_interface,
            data: function.data_interface,
            alternate: function.data_alternate,
            interrupt: function.interrupt_in.map(|end| end.address),
            bulk_in: function.bulk_in.address,
            bulk_out: function.bulk_out.address,
            packet: function.bulk_in.max_packet_size.into(),
            segment: function.max_segment_size.into(),
            capabilities: function.capabilities,
        });
        Self {
            data: mbim.or(ncm),
            ecm: ecm.into_iter().next(),
            vendor_ncm: vendor_ncm(configuration),
            serial,
            drivers,
        }
    }
}

/// Returns the ECM functions of a configuration: those with a union that names a data interface.
fn ecm(configuration: &Configuration) -> Vec<EcmFunction> {
    let interfaces = configuration.interfaces.iter();
    interfaces
        .filter_map(|interface| {
            let alternate = interface.alternates.iter().find(|a| a.class == ECM)?;
            let data = alternate.functional.iter().find_map(|f| match f {
                Functional::Union { subordinates, .. } => subordinates.first().copied(),
                _ => None,
            })?;
            Some(EcmFunction {
                control: interface.number,
                data,
                interrupt: alternate.endpoints.first().map(|end| end.address),
            })
        })
        .collect()
}

/// Returns the number of the first interface that is Huawei's own NCM.
fn vendor_ncm(configuration: &Configuration) -> Option<u8> {
    let mut interfaces = configuration.interfaces.iter();
    let found = interfaces.find(|interface| {
        let mut alternates = interface.alternates.iter();
        interface.alternates.len() > 1 && alternates.all(|a| (a.class.0, a.class.2) == VENDOR_NCM)
    });
    found.map(|interface| interface.number)
}
