//! Control requests other than those that carry MBIM, and the transfers of interrupt endpoints.

use std::collections::{BTreeSet, HashMap};

use uwwan_usb::codes::{cdc, descriptor, functional, standard};

use super::identities::{Identities, Kind};
use super::report::Report;

/// Largest number of devices whose strings are known.
const MOST_DEVICES: usize = 256;

/// String index under which Windows looks for its own descriptor (Microsoft OS 1.0).
const WINDOWS: u8 = 0xee;

/// Codes of the requests of CDC and its subclasses that carry numbers only (CDC 1.2, 6.2; NCM 1.0,
/// 6.2; PSTN 1.2, 6.3).
const PLAIN_CLASS: [u8; 20] = [
    0x02, 0x03, 0x04, 0x05, 0x20, 0x21, 0x22, 0x23, 0x41, 0x42, 0x43, 0x44, 0x80, 0x83, 0x84, 0x85,
    0x86, 0x87, 0x88, 0x89,
];

/// The strings of the devices, by the meaning that the descriptors give them.
#[derive(Debug, Default)]
pub struct Strings {
    devices: HashMap<(u16, u8), Roles>,
}

#[derive(Debug, Default)]
struct Roles {
    serial: u8,
    ethernet: BTreeSet<u8>,
    /// Indexes of the strings that name products and functions.
    plain: BTreeSet<u8>,
}

/// Replaces the identities in the data of a control request.
pub fn scrub(
    device: (u16, u8),
    setup: [u8; 8],
    data: &mut [u8],
    strings: &mut Strings,
    context: (&mut Identities, &mut Report),
) {
    let (identities, report) = context;
    let request = setup[1];
    match setup[0] & 0x60 {
        0x00 if request == standard::GET_DESCRIPTOR => match setup[3] {
            descriptor::STRING => string(
                setup[2],
                data,
                strings.devices.get(&device),
                (identities, report),
            ),
            kind => strings.learn(device, kind, data),
        },
        0x00 => {}
        // Descriptors of hubs describe their ports.
        0x20 if matches!(setup[0] & 0x1f, 0 | 3) => {}
        0x20 if PLAIN_CLASS.contains(&request) || request == cdc::SET_CRC_MODE => {}
        0x20 if matches!(
            request,
            cdc::SET_ETHERNET_MULTICAST_FILTERS | cdc::GET_NET_ADDRESS | cdc::SET_NET_ADDRESS
        ) =>
        {
            for address in data.as_chunks_mut().0 {
                if identities.ethernet(address) {
                    report.replaced(Kind::Ethernet);
                }
            }
        }
        kind => {
            let what = if kind == 0x20 { "class" } else { "vendor" };
            blank(data, &format!("{what} requests {request:#04x}"), report);
        }
    }
}

/// Replaces the data of an interrupt transfer, unless it is a notification of CDC (CDC 1.2, 6.3).
pub fn interrupt(data: &mut [u8], report: &mut Report) {
    let is_notification = data.len() >= 8
        && data[0] == 0xa1
        && matches!(data[1], 0x00 | 0x01 | 0x20 | 0x2a)
        && usize::from(u16::from_le_bytes([data[6], data[7]])) == data.len() - 8
        && data.len() <= 16;
    if !is_notification {
        blank(data, "interrupt transfers that are no notification", report);
    }
}

/// Zeroes data that is not understood.
pub fn blank(data: &mut [u8], what: &str, report: &mut Report) {
    if !data.is_empty() {
        data.fill(0);
        report.blanked(what, 1);
    }
}

impl Strings {
    /// Learns the meanings of the strings from descriptors.
    fn learn(&mut self, device: (u16, u8), kind: u8, data: &[u8]) {
        if !matches!(kind, descriptor::DEVICE | descriptor::CONFIGURATION)
            || self.devices.len() >= MOST_DEVICES && !self.devices.contains_key(&device)
        {
            return;
        }
        let roles = self.devices.entry(device).or_default();
        let mut rest = data;
        while let Some(length) = rest.first().map(|length| usize::from(*length)) {
            let Some(descriptor) = rest.get(..length).filter(|_| length >= 2) else {
                break;
            };
            rest = &rest[length..];
            let mut name = |at: usize| {
                roles.plain.extend(descriptor.get(at).copied());
            };
            match descriptor[1] {
                descriptor::DEVICE => {
                    name(14);
                    name(15);
                    if let Some(serial) = descriptor.get(16) {
                        roles.serial = *serial;
                    }
                }
                descriptor::CONFIGURATION => name(6),
                descriptor::INTERFACE => name(8),
                descriptor::ASSOCIATION => name(7),
                descriptor::CLASS_INTERFACE if descriptor.get(2) == Some(&functional::ETHERNET) => {
                    roles.ethernet.extend(descriptor.get(3).copied());
                }
                _ => {}
            }
        }
    }
}

fn string(
    index: u8,
    data: &mut [u8],
    roles: Option<&Roles>,
    context: (&mut Identities, &mut Report),
) {
    let (identities, report) = context;
    let kind = match roles {
        // String 0 lists the languages, and Windows' own names no person.
        _ if matches!(index, 0 | WINDOWS) => return,
        Some(roles) if index == roles.serial => Kind::Serial,
        Some(roles) if roles.ethernet.contains(&index) => Kind::Ethernet,
        Some(roles) if roles.plain.contains(&index) => return,
        _ => Kind::Serial,
    };
    let text = data.get_mut(2..).unwrap_or_default();
    let mut units: Vec<u16> = text
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .collect();
    let mut address = [0; 6];
    let replaced = if kind == Kind::Ethernet && read_address(&units, &mut address) {
        let lower = units.iter().any(|unit| (0x61..0x67).contains(unit));
        let any = identities.ethernet(&mut address);
        let digits = address.map(|byte| {
            if lower {
                format!("{byte:02x}")
            } else {
                format!("{byte:02X}")
            }
        });
        units = digits.concat().encode_utf16().collect();
        any
    } else {
        identities.text(kind, &mut units)
    };
    if replaced {
        report.replaced(kind);
    }
    for (pair, unit) in text.as_chunks_mut::<2>().0.iter_mut().zip(units) {
        *pair = unit.to_le_bytes();
    }
}

/// Reads an Ethernet address of twelve hexadecimal digits (ECM 1.2, 5.4).
fn read_address(units: &[u16], address: &mut [u8; 6]) -> bool {
    let digit = |unit: &u16| {
        char::from_u32(u32::from(*unit))
            .and_then(|character| character.to_digit(16))
            .map(|digit| digit as u8)
    };
    let digits: Option<Vec<u8>> = units.iter().map(digit).collect();
    match digits.as_deref() {
        Some(digits) if digits.len() == 12 => {
            for (byte, pair) in address.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = pair[0] << 4 | pair[1];
            }
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LT4132: &[u8] =
        include_bytes!("../../../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");

    fn descriptor(text: &str) -> Vec<u8> {
        let mut bytes = vec![(2 + 2 * text.len()) as u8, descriptor::STRING];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    }

    /// The strings and identities that are known of the devices on a bus.
    #[derive(Default)]
    struct Bus {
        strings: Strings,
        identities: Identities,
        report: Report,
    }

    impl Bus {
        /// Scrubs the data of a request, and returns it without identities.
        fn ask(&mut self, setup: [u8; 8], data: &[u8]) -> Vec<u8> {
            let mut data = data.to_vec();
            let context = (&mut self.identities, &mut self.report);
            scrub((1, 2), setup, &mut data, &mut self.strings, context);
            data
        }
    }

    #[test]
    fn the_serial_number_goes_and_other_strings_stay() {
        let mut bus = Bus::default();
        let mut ask = |setup, data: &[u8]| bus.ask(setup, data);
        let device = ask([0x80, 6, 0, descriptor::DEVICE, 0, 0, 18, 0], &LT4132[..18]);
        assert_eq!(device, &LT4132[..18]);
        let [product, serial] = [device[15], device[16]];
        let read = |index| [0x80, 6, index, descriptor::STRING, 9, 4, 255, 0];
        let name = descriptor("HP lt4132 LTE/HSPA+ 4G Module");
        assert_eq!(ask(read(product), &name), name);
        assert_eq!(
            ask(read(serial), &descriptor("0123456789ABCDEF")),
            descriptor("0000000000AAAAAB")
        );
        assert_eq!(ask(read(0), &[4, 3, 9, 4]), [4, 3, 9, 4]);
        // A string that no descriptor gives a meaning is taken for a person's.
        assert_eq!(ask(read(99), &descriptor("Ann")), descriptor("Aac"));
        // These are requests of a vendor, and class requests that no modem has.
        assert_eq!(ask([0xc0, 1, 0, 0, 0, 0, 2, 0], &[1, 2]), [0, 0]);
        assert_eq!(ask([0x21, 9, 0, 0, 0, 0, 2, 0], &[1, 2]), [0, 0]);
        let parameters = [28, 0, 3, 0];
        assert_eq!(ask([0xa1, 0x80, 0, 0, 0, 0, 4, 0], &parameters), parameters);
        assert_eq!(bus.report.blanked.len(), 2);
    }

    #[test]
    fn the_ethernet_address_is_one_in_text_and_in_bytes() {
        let mut bus = Bus::default();
        let mut ask = |setup, data: &[u8]| bus.ask(setup, data);
        let configuration = [
            9, 2, 22, 0, 1, 1, 0, 0x80, 50, 13, 0x24, 0x0f, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        ask(
            [0x80, 6, 0, descriptor::CONFIGURATION, 0, 0, 22, 0],
            &configuration,
        );
        let text = ask(
            [0x80, 6, 7, descriptor::STRING, 9, 4, 255, 0],
            &descriptor("582C80139263"),
        );
        assert_eq!(text, descriptor("020000000001"));
        let bytes = ask(
            [0xa1, cdc::GET_NET_ADDRESS, 0, 0, 0, 0, 6, 0],
            &[0x58, 0x2c, 0x80, 0x13, 0x92, 0x63],
        );
        assert_eq!(bytes, [2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn keys_that_somebody_presses_are_no_notification() {
        let mut report = Report::default();
        let mut keys = [0, 0, 4, 5, 0, 0, 0, 0];
        interrupt(&mut keys, &mut report);
        assert_eq!(keys, [0; 8]);
        let mut ready = [0xa1, 1, 0, 0, 2, 0, 0, 0];
        interrupt(&mut ready, &mut report);
        assert_eq!(ready[..2], [0xa1, 1]);
        assert_eq!(report.blanked.len(), 1);
    }
}
