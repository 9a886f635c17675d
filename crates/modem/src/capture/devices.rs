//! The facts that a reader of a capture has to know of a device: its descriptors and settings.
//!
//! Wireshark learns from the enumeration which interface speaks MBIM and which endpoint carries
//! NTBs. The kernel makes the enumeration, mostly before a capture begins, so each capture begins
//! with the same requests and answers, made from what is known of the device.

use uwwan_capture::transfer::{Kind, Phase, Transfer};
use uwwan_usb::codes::{descriptor, standard};
use uwwan_usb::observed::Opened;

/// Comment of the packets that no wire has carried.
pub(super) const MADE: &str = "made by uwwan from what it knows of the device";

/// US English, in which the host has read the strings.
const LANGUAGE: u16 = 0x0409;

/// A device with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceState {
    pub bus: u8,
    pub address: u8,
    /// The raw device descriptor.
    device: Vec<u8>,
    /// `bConfigurationValue` and the raw descriptors of each configuration.
    configurations: Vec<(u8, Vec<u8>)>,
    /// Texts of the manufacturer, the product and the serial number, by the index of their string.
    strings: Vec<(u8, String)>,
    active: u8,
    /// `bInterfaceNumber` and `bAlternateSetting` of each interface whose alternate setting was
    /// selected.
    alternates: Vec<(u8, u8)>,
}

impl DeviceState {
    pub fn new(opened: &Opened<'_>) -> Self {
        let configurations = opened.descriptors.configurations.iter();
        Self {
            bus: opened.identity.bus,
            address: opened.identity.address,
            device: opened.descriptors.device.clone(),
            configurations: configurations
                .map(|configuration| (configuration.value, configuration.raw.clone()))
                .collect(),
            strings: strings(opened),
            active: opened.active_configuration,
            alternates: Vec::new(),
        }
    }

    /// Takes over the settings that a device has kept from before it was opened anew.
    pub fn keep_settings(&mut self, earlier: &Self) {
        if self.active == earlier.active {
            self.alternates.clone_from(&earlier.alternates);
        }
    }

    /// Returns whether a request changes the state that is kept here.
    pub fn is_order(setup: [u8; 8]) -> bool {
        matches!(
            setup[..2],
            [0x00, standard::SET_CONFIGURATION] | [0x01, standard::SET_INTERFACE]
        )
    }

    /// Takes over the change that a request has made.
    pub fn obey(&mut self, setup: [u8; 8]) {
        let (value, index) = (setup[2], setup[4]);
        if setup[1] == standard::SET_CONFIGURATION {
            self.active = value;
            self.alternates.clear();
        } else {
            self.alternates.retain(|(interface, _)| *interface != index);
            self.alternates.push((index, value));
        }
    }

    /// Returns whether a request selects a configuration.
    pub fn is_selection(setup: [u8; 8]) -> bool {
        setup[..2] == [0x00, standard::SET_CONFIGURATION]
    }

    /// Calls `tell` with the request for the active configuration's descriptors and its answer.
    /// Wireshark takes the descriptors it saw last for those in force.
    pub fn tell_active<E>(
        &self,
        mut tell: impl FnMut(&Transfer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut known = self.configurations.iter().enumerate();
        match known.find(|(_, (value, _))| *value == self.active) {
            Some((index, (_, raw))) => self.request(
                index as u64,
                describe(descriptor::CONFIGURATION, index, raw.len()),
                raw,
                &mut tell,
            ),
            None => Ok(()),
        }
    }

    /// Calls `tell` with a request and its answer.
    fn request<E>(
        &self,
        id: u64,
        setup: [u8; 8],
        answer: &[u8],
        tell: &mut impl FnMut(&Transfer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let begun = Transfer {
            id,
            phase: Phase::Submit,
            kind: Kind::Control,
            endpoint: setup[0] & 0x80,
            bus: self.bus.into(),
            device: self.address,
            setup: Some(setup),
            status: Transfer::IN_PROGRESS,
            length: u16::from_le_bytes([setup[6], setup[7]]).into(),
            data: &[],
        };
        tell(&begun)?;
        tell(&Transfer {
            phase: Phase::Complete,
            setup: None,
            status: 0,
            length: answer.len() as u32,
            data: answer,
            ..begun
        })
    }

    /// Calls `tell` with the events of an enumeration that leads to this state.
    pub fn tell<E>(&self, mut tell: impl FnMut(&Transfer<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut id = 0;
        let mut request = |setup: [u8; 8], answer: &[u8]| {
            id += 1;
            self.request(id, setup, answer, &mut tell)
        };
        request(
            describe(descriptor::DEVICE, 0, self.device.len()),
            &self.device,
        )?;
        for (index, text) in &self.strings {
            let mut answer = vec![0, descriptor::STRING];
            answer.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            let Ok(length) = u8::try_from(answer.len()) else {
                continue;
            };
            answer[0] = length;
            let mut setup = describe(descriptor::STRING, (*index).into(), answer.len());
            setup[4..6].copy_from_slice(&LANGUAGE.to_le_bytes());
            request(setup, &answer)?;
        }
        // The active configuration comes last: a reader that keeps one configuration at a time
        // keeps the last.
        let known = || self.configurations.iter().enumerate();
        let others = known().filter(|(_, (value, _))| *value != self.active);
        let active = known().filter(|(_, (value, _))| *value == self.active);
        for (index, (_, raw)) in others.chain(active) {
            request(describe(descriptor::CONFIGURATION, index, raw.len()), raw)?;
        }
        if self.active != 0 {
            let setup = [
                0x00,
                standard::SET_CONFIGURATION,
                self.active,
                0,
                0,
                0,
                0,
                0,
            ];
            request(setup, &[])?;
        }
        for (interface, alternate) in &self.alternates {
            let setup = [
                0x01,
                standard::SET_INTERFACE,
                *alternate,
                0,
                *interface,
                0,
                0,
                0,
            ];
            request(setup, &[])?;
        }
        Ok(())
    }
}

/// Returns the known strings of a device, each with the index that the device descriptor gives it (USB
/// 2.0, table 9-8).
fn strings(opened: &Opened<'_>) -> Vec<(u8, String)> {
    let identity = opened.identity;
    let known = [
        &identity.manufacturer,
        &identity.product_name,
        &identity.serial,
    ];
    let indices = opened.descriptors.device.get(14..17).unwrap_or_default();
    let pairs = indices.iter().zip(known);
    pairs
        .filter(|(index, _)| **index != 0)
        .filter_map(|(index, text)| Some((*index, text.clone()?)))
        .collect()
}

/// Returns the setup stage of a request for a descriptor of `length` bytes.
fn describe(kind: u8, index: usize, length: usize) -> [u8; 8] {
    let [low, high] = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    [
        0x80,
        standard::GET_DESCRIPTOR,
        index as u8,
        kind,
        0,
        0,
        low,
        high,
    ]
}
