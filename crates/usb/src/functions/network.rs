//! The network functions of a device, in the order in which a driver prefers them, and functions
//! that carry packets in another way, which are named and not driven.

use super::dialled::is_huawei_ncm;
use super::serial::{QMI_VENDORS, serial_pair};
use super::{MbimFunction, NcmFunction, interrupt_in, mbim, ncm};
use crate::codes::{class, subclass};
use crate::descriptors::{AlternateSetting, ClassTriple, Descriptors};

/// A network function that can be driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFunction {
    /// An MBIM function.
    Mbim(MbimFunction),
    /// An NCM function.
    Ncm(NcmFunction),
}

impl NetworkFunction {
    /// Returns the name of the class: `MBIM` or `NCM`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mbim(_) => "MBIM",
            Self::Ncm(_) => "NCM",
        }
    }

    /// Returns the `bConfigurationValue` of the configuration that holds the function.
    #[must_use]
    pub const fn configuration(&self) -> u8 {
        match self {
            Self::Mbim(mbim) => mbim.configuration,
            Self::Ncm(ncm) => ncm.configuration,
        }
    }

    /// Returns the number of the communication interface.
    #[must_use]
    pub const fn control_interface(&self) -> u8 {
        match self {
            Self::Mbim(mbim) => mbim.control_interface,
            Self::Ncm(ncm) => ncm.control_interface,
        }
    }
}

/// Returns the network functions of a device: MBIM before NCM, each in descriptor order.
#[must_use]
pub fn network(descriptors: &Descriptors) -> Vec<NetworkFunction> {
    let mbim = mbim(descriptors).into_iter().map(NetworkFunction::Mbim);
    let ncm = ncm(descriptors).into_iter().map(NetworkFunction::Ncm);
    mbim.chain(ncm).collect()
}

/// A function that carries packets and is neither MBIM nor NCM of the standard class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherNetwork {
    /// `bConfigurationValue` of the configuration that holds the function.
    pub configuration: u8,
    /// Number of the function's first interface.
    pub interface: u8,
    /// Name of the protocol.
    pub name: &'static str,
}

/// Returns the functions that carry packets in another way, in descriptor order.
#[must_use]
pub fn other_networks(descriptors: &Descriptors) -> Vec<OtherNetwork> {
    let vendor = descriptors.vendor();
    let mut found = Vec::new();
    for configuration in &descriptors.configurations {
        for interface in &configuration.interfaces {
            let mut alternates = interface.alternates.iter();
            if let Some(name) = alternates.find_map(|alternate| other(vendor, alternate)) {
                found.push(OtherNetwork {
                    configuration: configuration.value,
                    interface: interface.number,
                    name,
                });
            }
        }
    }
    found
}

/// Returns the name of the protocol of an alternate setting.
fn other(vendor: u16, alternate: &AlternateSetting) -> Option<&'static str> {
    Some(match alternate.class {
        // CDC ECM 1.2, 4.
        ClassTriple(class::COMMUNICATION, subclass::ECM, _) => "ECM",
        // The codes that Linux rndis_host.c binds.
        ClassTriple(0xe0, 0x01, 0x03)
        | ClassTriple(0xef, 0x04, 0x01)
        | ClassTriple(class::COMMUNICATION, subclass::ACM, 0xff) => "RNDIS",
        class if is_huawei_ncm(class) => "NCM of Huawei's own",
        // Linux qmi_wwan.c: modems since the X55, and Huawei's.
        ClassTriple(class::VENDOR, 0xff, 0x50) | ClassTriple(class::VENDOR, 0x01, 0x09) => "QMI",
        ClassTriple(class::VENDOR, 0xff, 0xff)
            if QMI_VENDORS.contains(&vendor)
                && serial_pair(alternate).is_some()
                && interrupt_in(alternate).is_some() =>
        {
            "QMI"
        }
        _ => return None,
    })
}
