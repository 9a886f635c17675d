//! The lt4132's descriptors, byte for byte, and its strings.
//!
//! Assembled from `lsusb -v` of a real 03f0:a31d; the lengths agree with `wTotalLength` of the dump.

use crate::knobs::{Brand, DescriptorFault, Knobs};
use crate::urb::SetupPacket;

/// Device descriptor of the HP unit, which says USB 2.00.
#[rustfmt::skip]
pub const DEVICE: [u8; 18] = [
    0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0xff, 0x40, 0xf0, 0x03, 0x1d, 0xa3, 0x02, 0x01, 0x01, 0x02,
    0x03, 0x03,
];

/// Device descriptor of the Huawei-branded unit, which says USB 2.10.
#[rustfmt::skip]
pub const DEVICE_HUAWEI: [u8; 18] = [
    0x12, 0x01, 0x10, 0x02, 0x00, 0x00, 0xff, 0x40, 0xd1, 0x12, 0xc1, 0x15, 0x02, 0x01, 0x01, 0x02,
    0x03, 0x03,
];

/// Configuration 1: serial ports and vendor NCM.
#[rustfmt::skip]
pub const CONFIGURATION_1: [u8; 301] = [
    0x09, 0x02, 0x2d, 0x01, 0x06, 0x01, 0x00, 0xa0, 0x01, 0x09, 0x04, 0x00, 0x00, 0x03, 0xff, 0x06,
    0x10, 0x07, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x00,
    0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x82, 0x03, 0x0a, 0x00, 0x09, 0x07, 0x05, 0x81, 0x02,
    0x00, 0x02, 0x00, 0x07, 0x05, 0x01, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x01, 0x00, 0x02, 0xff,
    0x06, 0x13, 0x08, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00,
    0x01, 0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x83, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x02,
    0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x02, 0x00, 0x02, 0xff, 0x06, 0x12, 0x09, 0x05, 0x24, 0x00,
    0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x02, 0x05, 0x24, 0x06, 0x00, 0x00,
    0x07, 0x05, 0x84, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x03, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04,
    0x03, 0x00, 0x01, 0xff, 0x06, 0x16, 0x0a, 0x05, 0x24, 0x00, 0x10, 0x01, 0x06, 0x24, 0x1a, 0x00,
    0x01, 0x1f, 0x0d, 0x24, 0x0f, 0x0c, 0x0f, 0x00, 0x00, 0x00, 0xea, 0x05, 0x03, 0x00, 0x01, 0x05,
    0x24, 0x06, 0x03, 0x03, 0x07, 0x05, 0x86, 0x03, 0x10, 0x00, 0x05, 0x09, 0x04, 0x03, 0x01, 0x03,
    0xff, 0x06, 0x16, 0x0b, 0x07, 0x05, 0x86, 0x03, 0x10, 0x00, 0x05, 0x07, 0x05, 0x85, 0x02, 0x00,
    0x02, 0x00, 0x07, 0x05, 0x04, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x04, 0x00, 0x02, 0xff, 0x06,
    0x14, 0x0e, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x04,
    0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x87, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x05, 0x02,
    0x00, 0x02, 0x00, 0x09, 0x04, 0x05, 0x00, 0x02, 0xff, 0x06, 0x1b, 0x0f, 0x05, 0x24, 0x00, 0x10,
    0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x05, 0x05, 0x24, 0x06, 0x00, 0x00, 0x07,
    0x05, 0x88, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x06, 0x02, 0x00, 0x02, 0x00,
];

/// Configuration 2: CDC ECM and serial ports. Linux selects this one.
#[rustfmt::skip]
pub const CONFIGURATION_2: [u8; 288] = [
    0x09, 0x02, 0x20, 0x01, 0x07, 0x02, 0x00, 0xa0, 0x01, 0x09, 0x04, 0x00, 0x00, 0x01, 0x02, 0x06,
    0x00, 0x10, 0x05, 0x24, 0x00, 0x10, 0x01, 0x05, 0x24, 0x06, 0x00, 0x01, 0x0d, 0x24, 0x0f, 0x12,
    0x00, 0x00, 0x00, 0x00, 0xea, 0x05, 0x00, 0x00, 0x00, 0x07, 0x05, 0x82, 0x03, 0x10, 0x00, 0x05,
    0x09, 0x04, 0x01, 0x00, 0x02, 0x0a, 0x06, 0x00, 0x11, 0x07, 0x05, 0x81, 0x02, 0x00, 0x02, 0x00,
    0x07, 0x05, 0x01, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x02, 0x00, 0x03, 0xff, 0x06, 0x10, 0x07,
    0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x02, 0x05, 0x24,
    0x06, 0x00, 0x00, 0x07, 0x05, 0x84, 0x03, 0x0a, 0x00, 0x09, 0x07, 0x05, 0x83, 0x02, 0x00, 0x02,
    0x00, 0x07, 0x05, 0x02, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x03, 0x00, 0x02, 0xff, 0x06, 0x13,
    0x08, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x03, 0x05,
    0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x85, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x03, 0x02, 0x00,
    0x02, 0x00, 0x09, 0x04, 0x04, 0x00, 0x02, 0xff, 0x06, 0x12, 0x09, 0x05, 0x24, 0x00, 0x10, 0x01,
    0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x04, 0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05,
    0x86, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x04, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x05, 0x00,
    0x02, 0xff, 0x06, 0x14, 0x0e, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24,
    0x01, 0x00, 0x05, 0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x87, 0x02, 0x00, 0x02, 0x00, 0x07,
    0x05, 0x05, 0x02, 0x00, 0x02, 0x00, 0x09, 0x04, 0x06, 0x00, 0x02, 0xff, 0x06, 0x1b, 0x0f, 0x05,
    0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02, 0x02, 0x05, 0x24, 0x01, 0x00, 0x06, 0x05, 0x24, 0x06,
    0x00, 0x00, 0x07, 0x05, 0x88, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x06, 0x02, 0x00, 0x02, 0x00,
];

/// Configuration 3: MBIM and the GPS port.
#[rustfmt::skip]
pub const CONFIGURATION_3: [u8; 137] = [
    0x09, 0x02, 0x89, 0x00, 0x03, 0x03, 0x00, 0xa0, 0x01, 0x08, 0x0b, 0x00, 0x02, 0x02, 0x0e, 0x00,
    0x0d, 0x09, 0x04, 0x00, 0x00, 0x01, 0x02, 0x0e, 0x00, 0x0a, 0x05, 0x24, 0x00, 0x10, 0x01, 0x0c,
    0x24, 0x1b, 0x00, 0x01, 0x00, 0x04, 0x20, 0x80, 0xdc, 0x05, 0x20, 0x08, 0x24, 0x1c, 0x00, 0x01,
    0x10, 0xdc, 0x05, 0x05, 0x24, 0x06, 0x00, 0x01, 0x07, 0x05, 0x82, 0x03, 0x10, 0x00, 0x05, 0x09,
    0x04, 0x01, 0x00, 0x00, 0x0a, 0x00, 0x02, 0x0b, 0x09, 0x04, 0x01, 0x01, 0x02, 0x0a, 0x00, 0x02,
    0x0b, 0x07, 0x05, 0x81, 0x02, 0x00, 0x02, 0x00, 0x07, 0x05, 0x01, 0x02, 0x00, 0x02, 0x00, 0x09,
    0x04, 0x02, 0x00, 0x02, 0xff, 0x06, 0x14, 0x0e, 0x05, 0x24, 0x00, 0x10, 0x01, 0x04, 0x24, 0x02,
    0x02, 0x05, 0x24, 0x01, 0x00, 0x02, 0x05, 0x24, 0x06, 0x00, 0x00, 0x07, 0x05, 0x83, 0x02, 0x00,
    0x02, 0x00, 0x07, 0x05, 0x02, 0x02, 0x00, 0x02, 0x00,
];

/// Device qualifier of the HP unit: the same device at full speed.
#[rustfmt::skip]
pub const QUALIFIER: [u8; 10] = [
    0x0a, 0x06, 0x00, 0x02, 0x00, 0x00, 0xff, 0x40, 0x03, 0x00,
];

/// BOS descriptor of the Huawei-branded unit: link power management (USB 2.0 LPM ECN), nothing else.
#[rustfmt::skip]
pub const BOS_HUAWEI: [u8; 12] = [
    0x05, 0x0f, 0x0c, 0x00, 0x01, 0x07, 0x10, 0x02, 0x02, 0x00, 0x00, 0x00,
];

/// `wMaxPacketSize` of every bulk endpoint at high speed, in bytes.
pub const BULK_PACKET: usize = 512;

/// `bDescriptorType` (USB 2.0, table 9-5; BOS: USB 2.0 LPM ECN).
const TYPE_DEVICE: u8 = 1;
const TYPE_CONFIGURATION: u8 = 2;
const TYPE_STRING: u8 = 3;
const TYPE_INTERFACE: u8 = 4;
const TYPE_ENDPOINT: u8 = 5;
const TYPE_QUALIFIER: u8 = 6;
const TYPE_OTHER_SPEED: u8 = 7;
const TYPE_BOS: u8 = 15;

/// US English, the only language of the strings.
const LANGUAGE: u16 = 0x0409;

/// Returns the text of string `index` (USB 2.0, 9.6.7). The texts of 7 to 18 are inferred from sibling
/// modules; ModemManager looks for "modem" and "pcui" in them.
#[must_use]
pub fn string(brand: Brand, index: u8) -> Option<&'static str> {
    let hp = brand == Brand::Hp;
    Some(match index {
        1 if hp => "HP",
        1 => "Huawei Technologies Co., Ltd.",
        2 if hp => "HP lt4132 LTE/HSPA+ 4G Module",
        2 => "HUAWEI Mobile",
        3 => "0123456789ABCDEF",
        7 if hp => "HP Mobile Connect - Modem",
        7 => "HUAWEI Mobile Connect - Modem",
        8 if hp => "HP Mobile Connect - Application Interface",
        8 => "HUAWEI Mobile Connect - Application Interface",
        9 if hp => "HP Mobile Connect - PC UI Interface (PCUI)",
        9 => "HUAWEI Mobile Connect - PC UI Interface (PCUI)",
        10 | 11 if hp => "HP Mobile Connect - Network Card",
        10 | 11 => "HUAWEI Mobile Connect - Network Card",
        12 | 18 => "021E101F0000",
        13 if hp => "HP lt4132 LTE/HSPA+ 4G Module",
        13 => "HUAWEI Mobile Broadband Module",
        14 if hp => "HP Mobile Connect - GPS Interface",
        14 => "HUAWEI Mobile Connect - GPS Interface",
        15 if hp => "HP Mobile Connect - Serial B",
        15 => "HUAWEI Mobile Connect - Serial B",
        16 => "CDC Ethernet Control Model (ECM)",
        17 => "CDC Ethernet Data",
        _ => return None,
    })
}

/// Returns the device descriptor of a brand.
#[must_use]
pub fn device(brand: Brand) -> &'static [u8] {
    match brand {
        Brand::Hp => &DEVICE,
        Brand::Huawei => &DEVICE_HUAWEI,
    }
}

/// Returns the configuration descriptor set whose `bConfigurationValue` is `value`.
#[must_use]
pub fn configuration(value: u8) -> Option<&'static [u8]> {
    match value {
        1 => Some(&CONFIGURATION_1),
        2 => Some(&CONFIGURATION_2),
        3 => Some(&CONFIGURATION_3),
        _ => None,
    }
}

/// Where the MBIM functional descriptor begins in configuration 3, in bytes.
const MBIM_FUNCTIONAL: usize = 31;
/// Where wMaxControlMessage is in configuration 3, in bytes.
const MAX_CONTROL: std::ops::Range<usize> = MBIM_FUNCTIONAL + 5..MBIM_FUNCTIONAL + 7;

/// What the knobs make of the descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The company whose sticker the module carries.
    pub brand: Brand,
    /// What is wrong with configuration 3.
    pub fault: DescriptorFault,
    /// wMaxControlMessage in bytes.
    pub max_control: u16,
}

impl From<&Knobs> for Variant {
    fn from(knobs: &Knobs) -> Self {
        Self {
            brand: knobs.brand,
            fault: knobs.descriptors,
            max_control: knobs.max_control_message,
        }
    }
}

/// Returns what a host gets to read of a configuration: [`configuration`], with what the knobs do to
/// it.
#[must_use]
pub fn configuration_told(value: u8, variant: Variant) -> Option<Vec<u8>> {
    let mut bytes = configuration(value)?.to_vec();
    if value == 3 {
        bytes[MAX_CONTROL].copy_from_slice(&variant.max_control.to_le_bytes());
        match variant.fault {
            DescriptorFault::None => {}
            DescriptorFault::Truncated => bytes.truncate(MBIM_FUNCTIONAL + 5),
            DescriptorFault::Oversized => {
                bytes[2..4].fill(0xff);
                bytes[MBIM_FUNCTIONAL] = 0xff;
            }
            DescriptorFault::Empty => bytes[MBIM_FUNCTIONAL] = 0,
        }
    }
    Some(bytes)
}

/// Returns the answer to a GET_DESCRIPTOR of the device; `None` is a STALL.
#[must_use]
pub fn answer(variant: Variant, setup: SetupPacket) -> Option<Vec<u8>> {
    let brand = variant.brand;
    let [index, kind] = setup.value.to_le_bytes();
    match kind {
        TYPE_DEVICE if index == 0 => Some(device(brand).to_vec()),
        TYPE_CONFIGURATION => configuration_told(index.checked_add(1)?, variant),
        TYPE_STRING if index == 0 => {
            let [low, high] = LANGUAGE.to_le_bytes();
            Some(vec![4, TYPE_STRING, low, high])
        }
        TYPE_STRING => {
            let mut bytes = vec![0, TYPE_STRING];
            bytes.extend(
                string(brand, index)?
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes),
            );
            bytes[0] = u8::try_from(bytes.len()).ok()?;
            Some(bytes)
        }
        TYPE_QUALIFIER if index == 0 => {
            let mut qualifier = QUALIFIER.to_vec();
            qualifier[2..4].copy_from_slice(&device(brand)[2..4]);
            Some(qualifier)
        }
        TYPE_OTHER_SPEED => other_speed(configuration(index.checked_add(1)?)?),
        TYPE_BOS if index == 0 && brand == Brand::Huawei => Some(BOS_HUAWEI.to_vec()),
        _ => None,
    }
}

/// Returns a configuration as it would be at full speed: bulk endpoints have packets of 64 bytes.
fn other_speed(configuration: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = configuration.to_vec();
    *bytes.get_mut(1)? = TYPE_OTHER_SPEED;
    let mut at = 0;
    while let Some(&length) = bytes.get(at) {
        let end = at + usize::from(length);
        if length < 2 || end > bytes.len() {
            break;
        }
        if bytes[at + 1] == TYPE_ENDPOINT && bytes[at + 3] & 3 == 2 {
            bytes[at + 4..at + 6].copy_from_slice(&64u16.to_le_bytes());
        }
        at = end;
    }
    Some(bytes)
}

/// An endpoint of the device, with where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointPlace {
    /// Number of its interface.
    pub interface: u8,
    /// The alternate setting it exists in.
    pub alternate: u8,
    /// `bEndpointAddress`, with the direction bit.
    pub address: u8,
    /// Whether it is an interrupt endpoint; otherwise it is a bulk endpoint.
    pub interrupt: bool,
    /// `wMaxPacketSize` in bytes.
    pub max_packet_size: u16,
    /// `bInterval`, as the descriptor has it.
    pub interval: u8,
}

/// An alternate setting of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternatePlace {
    /// `bInterfaceNumber`.
    pub interface: u8,
    /// `bAlternateSetting`.
    pub alternate: u8,
    /// Class, subclass, protocol.
    pub class: [u8; 3],
}

/// Interfaces and endpoints of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// All alternate settings of all interfaces.
    pub alternates: Vec<AlternatePlace>,
    /// All endpoints of all alternate settings.
    pub endpoints: Vec<EndpointPlace>,
}

impl Layout {
    /// Reads a configuration descriptor set; what is malformed ends the reading.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        let mut current = None;
        let mut rest = bytes;
        while let [length, kind, ..] = *rest {
            let Some((descriptor, next)) = rest.split_at_checked(usize::from(length)) else {
                break;
            };
            match (kind, descriptor) {
                (_, [] | [_]) => break,
                (TYPE_INTERFACE, &[_, _, interface, alternate, _, class, sub, protocol, ..]) => {
                    let place = AlternatePlace {
                        interface,
                        alternate,
                        class: [class, sub, protocol],
                    };
                    layout.alternates.push(place);
                    current = Some(place);
                }
                (TYPE_ENDPOINT, &[_, _, address, attributes, low, high, interval, ..]) => {
                    if let Some(place) = current {
                        layout.endpoints.push(EndpointPlace {
                            interface: place.interface,
                            alternate: place.alternate,
                            address,
                            interrupt: attributes & 3 == 3,
                            max_packet_size: u16::from_le_bytes([low, high]),
                            interval,
                        });
                    }
                }
                _ => {}
            }
            rest = next;
        }
        layout
    }

    /// Whether the interface has that alternate setting.
    #[must_use]
    pub fn has(&self, interface: u8, alternate: u8) -> bool {
        self.alternates
            .iter()
            .any(|place| place.interface == interface && place.alternate == alternate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(brand: Brand, kind: u8, index: u8) -> Option<Vec<u8>> {
        let knobs = Knobs {
            brand,
            ..Knobs::default()
        };
        answer(
            Variant::from(&knobs),
            SetupPacket {
                request_type: 0x80,
                request: 6,
                value: u16::from_le_bytes([index, kind]),
                index: 0,
                length: 4096,
            },
        )
    }

    #[test]
    fn total_lengths_are_those_of_the_dump() {
        for (index, length, interfaces) in [(0u8, 301usize, 6), (1, 288, 7), (2, 137, 3)] {
            let bytes = get(Brand::Hp, TYPE_CONFIGURATION, index).unwrap();
            assert_eq!(bytes.len(), length);
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[2], bytes[3]])),
                length
            );
            assert_eq!(bytes[4], interfaces);
            assert_eq!(bytes[5], index + 1);
            assert_eq!(&bytes[7..9], &[0xa0, 1]);
        }
        assert_eq!(get(Brand::Hp, TYPE_CONFIGURATION, 3), None);
    }

    #[test]
    fn the_endpoints_are_those_of_the_table() {
        let ends = |value| -> Vec<(u8, u8, u8, bool, u16)> {
            Layout::of(configuration(value).unwrap())
                .endpoints
                .iter()
                .map(|e| {
                    (
                        e.interface,
                        e.alternate,
                        e.address,
                        e.interrupt,
                        e.max_packet_size,
                    )
                })
                .collect()
        };
        assert_eq!(
            ends(3),
            [
                (0, 0, 0x82, true, 16),
                (1, 1, 0x81, false, 512),
                (1, 1, 0x01, false, 512),
                (2, 0, 0x83, false, 512),
                (2, 0, 0x02, false, 512),
            ]
        );
        assert_eq!(ends(2).len(), 14);
        assert_eq!(ends(1).len(), 15);
        assert!(ends(2).contains(&(0, 0, 0x82, true, 16)));
        assert!(ends(1).contains(&(3, 1, 0x85, false, 512)));
        let mbim = Layout::of(&CONFIGURATION_3);
        assert!(mbim.has(1, 1) && !mbim.has(1, 2));
        assert_eq!(mbim.alternates[0].class, [2, 0x0e, 0]);
    }

    #[test]
    fn only_the_huawei_unit_has_a_bos() {
        assert_eq!(get(Brand::Hp, TYPE_BOS, 0), None);
        let bos = get(Brand::Huawei, TYPE_BOS, 0).unwrap();
        assert_eq!(usize::from(bos[2]), bos.len());
        assert_eq!(
            get(Brand::Huawei, TYPE_QUALIFIER, 0).unwrap()[2..4],
            [0x10, 0x02]
        );
    }

    #[test]
    fn strings_are_utf16_with_a_language_list() {
        assert_eq!(get(Brand::Hp, TYPE_STRING, 0).unwrap(), [4, 3, 9, 4]);
        assert_eq!(
            get(Brand::Hp, TYPE_STRING, 1).unwrap(),
            [6, 3, b'H', 0, b'P', 0]
        );
        assert_eq!(get(Brand::Hp, TYPE_STRING, 200), None);
        let layout = Layout::of(&CONFIGURATION_2);
        assert_eq!(layout.alternates.len(), 7);
    }

    #[test]
    fn full_speed_has_small_packets() {
        let bytes = get(Brand::Hp, TYPE_OTHER_SPEED, 2).unwrap();
        assert_eq!(bytes[1], TYPE_OTHER_SPEED);
        let layout = Layout::of(&bytes);
        assert!(
            layout
                .endpoints
                .iter()
                .all(|e| e.interrupt || e.max_packet_size == 64)
        );
    }

    #[test]
    fn malformed_sets_end_the_reading() {
        for cut in 0..CONFIGURATION_2.len() {
            let _ = Layout::of(&CONFIGURATION_2[..cut]);
        }
        let _ = Layout::of(&[0, 0, 0, 0]);
        let _ = Layout::of(&[2, TYPE_ENDPOINT, 2, TYPE_INTERFACE]);
    }
}
