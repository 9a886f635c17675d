//! The descriptors that the device presents: those of the lt4132, or those of another device.
//!
//! The interfaces and endpoints of a function are read from the descriptors, as a host reads them,
//! so that the modem behind them works with the descriptors of any device.

mod functions;
mod layout;
pub(crate) mod lt4132;
pub(crate) mod storage;

use std::collections::BTreeMap;

use uwwan_usb::codes::{class, descriptor, functional};
use uwwan_usb::descriptors::{Descriptors, Functional};
use uwwan_usb::device::Speed;

use crate::knobs::{DescriptorFault, Knobs};
use crate::urb::SetupPacket;

pub(crate) use functions::{DataFunction, Functions, NetworkKind};
pub(crate) use layout::{EndpointPlace, Layout};

/// Length of a device descriptor, in bytes.
const DEVICE: usize = 18;

/// Language of all strings: US English.
const LANGUAGE: u16 = 0x0409;
/// Ethernet address that an Ethernet function gives to the host, in the form of its string (CDC ECM
/// 1.2, 5.4). It is a locally administered one.
const HOST_ADDRESS: &str = "0250F3000001";

/// USB 2.0 extension of a BOS: link power management (USB 2.0 LPM ECN).
const BOS_USB2: [u8; 7] = [0x07, 0x10, 0x02, 0x02, 0x00, 0x00, 0x00];
/// SuperSpeed capability of a BOS: full, high and SuperSpeed are supported, with full function from
/// full speed on (USB 3.2, 9.6.2.2).
const BOS_SUPER: [u8; 10] = [0x0a, 0x10, 0x03, 0x00, 0x0e, 0x00, 0x01, 0x0a, 0xff, 0x07];

/// Descriptors that a device presents, and where its functions are.
#[derive(Debug)]
pub(crate) struct Presented {
    device: Vec<u8>,
    configurations: Vec<Configuration>,
    strings: Strings,
    /// Strings that take the place of the device's own, by their index.
    told: BTreeMap<u8, String>,
    bos: Option<Vec<u8>>,
    speed: Speed,
}

/// A configuration of the device.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// Configuration descriptor with all descriptors that belong to it, as a host reads it.
    pub told: Vec<u8>,
    /// Interfaces and endpoints.
    pub layout: Layout,
    /// Functions that are emulated.
    pub functions: Functions,
}

/// Source of the strings.
#[derive(Debug)]
enum Strings {
    /// The strings are those of the lt4132.
    Lt4132(crate::knobs::Brand),
    /// The descriptors come without strings, so strings are invented; the indices of Ethernet
    /// addresses are known.
    Invented { addresses: Vec<u8> },
}

impl Presented {
    /// Makes the descriptors that a device with these knobs presents: those of the lt4132, or
    /// `descriptors`. `told` are strings by their index that take the place of the device's own.
    pub fn new(
        knobs: &Knobs,
        descriptors: Option<&Descriptors>,
        told: &BTreeMap<u8, String>,
    ) -> Self {
        let (mut device, raw, lt4132) = match descriptors {
            None => {
                let device = lt4132::device(knobs.brand).to_vec();
                let all = (1..=3).filter_map(lt4132::configuration);
                let all = all.map(<[u8]>::to_vec).collect::<Vec<_>>();
                (device, all, true)
            }
            Some(other) => {
                let all = other.configurations.iter();
                let all = all.map(|one| one.raw.clone()).collect();
                (other.device.clone(), all, false)
            }
        };
        device.resize(DEVICE, 0);
        let parsed = Descriptors::parse(&device, &raw);
        let usual = Knobs::like(&parsed).max_control_message;
        let max_control = Some(knobs.max_control_message).filter(|turned| *turned != usual);
        let configurations: Vec<Configuration> = raw
            .into_iter()
            .map(|bytes| Configuration::new(bytes, &parsed, knobs, max_control))
            .collect();
        let speed = speed(&device, &configurations);
        let version = u16::from_le_bytes([device[2], device[3]]);
        let bos = match descriptors {
            None => lt4132::bos(knobs.brand),
            // A device of USB 2.1 and later has a BOS descriptor (USB 3.2, 9.6.2).
            Some(_) => (version >= 0x0201).then(|| bos(speed)),
        };
        let strings = if lt4132 {
            Strings::Lt4132(knobs.brand)
        } else {
            Strings::Invented {
                addresses: addresses(&parsed),
            }
        };
        Self {
            device,
            configurations,
            strings,
            told: told.clone(),
            bos,
            speed,
        }
    }

    /// Makes the descriptors that a Huawei stick presents while it is a storage device with that
    /// `idProduct`.
    pub fn storage(product: u16, knobs: &Knobs) -> Self {
        let device = storage::device(product);
        let drive = Descriptors::parse(&device, &[storage::CONFIGURATION.to_vec()]);
        Self::new(knobs, Some(&drive), &BTreeMap::new())
    }

    /// Returns the device descriptor.
    pub fn device(&self) -> &[u8] {
        &self.device
    }

    /// Returns `idVendor` and `idProduct`.
    pub fn ids(&self) -> (u16, u16) {
        let word = |at: usize| u16::from_le_bytes([self.device[at], self.device[at + 1]]);
        (word(8), word(10))
    }

    /// Gives the device another `idProduct`.
    pub fn rename(&mut self, product: u16) {
        self.device[10..12].copy_from_slice(&product.to_le_bytes());
    }

    /// Returns the signalling rate of the device.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Returns all configurations, in the order in which a host reads them.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// Returns the configuration with that `bConfigurationValue`.
    pub fn configuration(&self, value: u8) -> Option<&Configuration> {
        let mut all = self.configurations.iter();
        all.find(|configuration| configuration.value == value)
    }

    /// Returns the `bConfigurationValue` that Linux selects when the device appears, 0 when there
    /// is no configuration. It is the first configuration whose first interface is not
    /// vendor-specific, or else the first one (`usb_choose_configuration` in
    /// `drivers/usb/core/generic.c`).
    pub fn usual_configuration(&self) -> u8 {
        let public = |configuration: &&Configuration| {
            let first = configuration.layout.alternates.first();
            first.is_some_and(|place| place.class[0] != class::VENDOR)
        };
        let all = self.configurations.iter();
        let chosen = match self.device[4] {
            class::VENDOR => None,
            _ => all.clone().find(public),
        };
        chosen.or(all.clone().next()).map_or(0, |c| c.value)
    }

    /// Returns the text of string `index` (USB 2.0, 9.6.7).
    pub fn string(&self, index: u8) -> Option<String> {
        if let Some(told) = self.told.get(&index) {
            return Some(told.clone());
        }
        match &self.strings {
            Strings::Lt4132(brand) => lt4132::string(*brand, index).map(str::to_owned),
            Strings::Invented { .. } if index == 0 => None,
            Strings::Invented { addresses } if addresses.contains(&index) => {
                Some(HOST_ADDRESS.to_owned())
            }
            Strings::Invented { .. } => Some(match self.device[14..17] {
                [manufacturer, ..] if index == manufacturer => "Emulated".to_owned(),
                [_, product, _] if index == product => {
                    let (vendor, product) = self.ids();
                    format!("{vendor:04x}:{product:04x}")
                }
                [.., serial] if index == serial => "0123456789ABCDEF".to_owned(),
                _ => format!("String {index}"),
            }),
        }
    }

    /// Returns the indices of the strings with the manufacturer, the product and the serial number.
    pub fn string_indices(&self) -> [u8; 3] {
        [self.device[14], self.device[15], self.device[16]]
    }

    /// Returns the answer to a GET_DESCRIPTOR of the device; `None` is a STALL.
    pub fn answer(&self, setup: SetupPacket) -> Option<Vec<u8>> {
        let [index, kind] = setup.value.to_le_bytes();
        let configuration = || self.configurations.get(usize::from(index));
        match kind {
            descriptor::DEVICE if index == 0 => Some(self.device.clone()),
            descriptor::CONFIGURATION => Some(configuration()?.told.clone()),
            descriptor::STRING if index == 0 => {
                let [low, high] = LANGUAGE.to_le_bytes();
                Some(vec![4, descriptor::STRING, low, high])
            }
            descriptor::STRING => {
                let mut bytes = vec![0, descriptor::STRING];
                let text = self.string(index)?;
                bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
                bytes[0] = u8::try_from(bytes.len()).ok()?;
                Some(bytes)
            }
            // A device that has one speed only refuses both (USB 2.0, 9.6.2).
            descriptor::DEVICE_QUALIFIER if index == 0 && self.speed == Speed::High => {
                let mut qualifier = vec![10, descriptor::DEVICE_QUALIFIER];
                qualifier.extend(&self.device[2..8]);
                qualifier.extend([self.device[17], 0]);
                Some(qualifier)
            }
            descriptor::OTHER_SPEED if self.speed == Speed::High => {
                Some(other_speed(configuration()?.told.clone()))
            }
            descriptor::BOS if index == 0 => self.bos.clone(),
            _ => None,
        }
    }
}

impl Configuration {
    /// Returns the number of interfaces.
    pub fn interfaces(&self) -> u8 {
        let places = self.layout.alternates.iter();
        let first = places.filter(|place| place.alternate == 0);
        u8::try_from(first.count()).unwrap_or(u8::MAX)
    }

    /// Reads a configuration of `device`, and changes the descriptors that are presented as the
    /// knobs say, and wMaxControlMessage to `max_control` if it is given.
    fn new(bytes: Vec<u8>, device: &Descriptors, knobs: &Knobs, max_control: Option<u16>) -> Self {
        let value = bytes.get(5).copied().unwrap_or(0);
        let functions = Functions::of(device, value);
        let layout = Layout::of(&bytes);
        let mut told = bytes;
        if let Some(at) = functional(&told, functional::MBIM) {
            if let Some(max_control) = max_control {
                told[at + 5..at + 7].copy_from_slice(&max_control.to_le_bytes());
            }
            match knobs.descriptors {
                DescriptorFault::None => {}
                DescriptorFault::Truncated => told.truncate(at + 5),
                DescriptorFault::Oversized => {
                    told[2..4].fill(0xff);
                    told[at] = 0xff;
                }
                DescriptorFault::Empty => told[at] = 0,
            }
        }
        Self {
            value,
            told,
            layout,
            functions,
        }
    }
}

/// Returns the indices of the strings that are Ethernet addresses.
fn addresses(device: &Descriptors) -> Vec<u8> {
    let interfaces = device.configurations.iter().flat_map(|c| &c.interfaces);
    let functional = interfaces
        .flat_map(|interface| &interface.alternates)
        .flat_map(|alternate| &alternate.functional);
    functional
        .filter_map(|f| match *f {
            Functional::Ethernet { mac_index, .. } => Some(mac_index),
            _ => None,
        })
        .collect()
}

/// Returns where each descriptor of a configuration begins. A malformed descriptor ends the
/// iteration.
fn starts(configuration: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = usize::from(*configuration.get(at)?);
        let start = at;
        at += length;
        (length >= 2 && at <= configuration.len()).then_some(start)
    })
}

/// Returns where the functional descriptor of that subtype begins, if it has all the bytes that the
/// knobs change.
fn functional(configuration: &[u8], subtype: u8) -> Option<usize> {
    starts(configuration).find(|&at| {
        configuration[at] >= 7
            && configuration[at + 1] == descriptor::CLASS_INTERFACE
            && configuration[at + 2] == subtype
    })
}

/// Returns the signalling rate of a device, derived from its packet sizes: bulk packets have 512
/// bytes at high speed only, and 1024 at SuperSpeed only (USB 2.0, 5.8.3; USB 3.2, 8.12.1.2).
fn speed(device: &[u8], configurations: &[Configuration]) -> Speed {
    let all = configurations.iter().flat_map(|c| &c.layout.endpoints);
    let bulk = all.filter(|end| !end.interrupt);
    match bulk.map(|end| end.max_packet_size).max() {
        Some(1024..) => Speed::Super,
        // The packets of the control endpoint of a SuperSpeed device have 2^9 bytes (USB 3.2,
        // 9.6.1).
        _ if device[3] >= 3 && device[7] == 9 => Speed::Super,
        Some(1..=64) => Speed::Full,
        _ => Speed::High,
    }
}

/// Returns the BOS descriptor of a device with that signalling rate (USB 3.2, 9.6.2).
fn bos(speed: Speed) -> Vec<u8> {
    let mut bos = vec![5, descriptor::BOS, 0, 0, 1];
    bos.extend(BOS_USB2);
    if speed == Speed::Super {
        bos.extend(BOS_SUPER);
        bos[4] += 1;
    }
    bos[2] = bos.len() as u8;
    bos
}

/// Returns a configuration as it is at full speed, where bulk endpoints have packets of 64 bytes.
fn other_speed(mut configuration: Vec<u8>) -> Vec<u8> {
    let starts: Vec<usize> = starts(&configuration).collect();
    for at in starts {
        match configuration[at + 1] {
            descriptor::CONFIGURATION => configuration[at + 1] = descriptor::OTHER_SPEED,
            descriptor::ENDPOINT if configuration[at] >= 6 && configuration[at + 3] & 3 == 2 => {
                configuration[at + 4..at + 6].copy_from_slice(&64u16.to_le_bytes());
            }
            _ => {}
        }
    }
    configuration
}

#[cfg(test)]
mod tests;
