//! Parses descriptors from untrusted bytes.
//!
//! Every descriptor starts with its length and type (USB 2.0, 9.5), so the parser goes from one to
//! the next by their lengths. A length below 2 or past the end stops it for that configuration,
//! because nothing after it can be trusted. Any other fault costs only the descriptor it is in. The
//! rules for duplicates are the Linux kernel's (`drivers/usb/core/config.c`): the first of two
//! equal alternate settings counts, and an endpoint belongs to the interface that names it first.

use super::{
    AlternateSetting, Association, ClassTriple, Configuration, Descriptors, Endpoint, Functional,
    Interface, TransferKind,
};
use crate::codes::{descriptor, functional};

/// `bLength` of a device descriptor in bytes.
pub(super) const DEVICE_LENGTH: usize = 18;

/// Largest number of messages kept in [`Descriptors::faults`].
const FAULTS_MAX: usize = 32;
/// Length in bytes of the longest configuration: `wTotalLength` has 16 bits.
const CONFIGURATION_MAX: usize = u16::MAX as usize;
/// Largest number of configurations that are read: `bNumConfigurations` has 8 bits.
const CONFIGURATIONS_MAX: usize = u8::MAX as usize;

/// Parses a device descriptor and its configurations.
pub(super) fn descriptors<'a>(
    device: &[u8],
    configurations: impl Iterator<Item = &'a [u8]>,
) -> Descriptors {
    let mut faults = Faults::default();
    let device = &device[..device.len().min(DEVICE_LENGTH)];
    if device.len() < DEVICE_LENGTH {
        faults.add(format_args!(
            "device descriptor: only {} of 18 bytes",
            device.len()
        ));
    } else if usize::from(device[0]) < DEVICE_LENGTH || device[1] != descriptor::DEVICE {
        faults.add(format_args!(
            "device descriptor: starts with {:02x} {:02x} instead of 12 01",
            device[0], device[1]
        ));
    }
    let mut parsed = Vec::new();
    for (index, raw) in configurations.take(CONFIGURATIONS_MAX).enumerate() {
        match configuration(index, raw, &mut faults) {
            Some(next) if parsed.iter().any(|c: &Configuration| c.value == next.value) => {
                faults.add(format_args!(
                    "configuration {index}: value {} again",
                    next.value
                ));
            }
            Some(next) => parsed.push(next),
            None => {}
        }
    }
    Descriptors {
        device: device.to_vec(),
        configurations: parsed,
        faults: faults.into_messages(),
    }
}

/// Cuts concatenated configurations apart, descriptor by descriptor and not by `wTotalLength`: the
/// kernel shortens the configurations it keeps without correcting that field in the raw bytes.
pub(super) fn split_configurations(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(&[length, kind]) = bytes.get(at..at + 2) {
        if length < 2 {
            // The descriptors cannot be followed further here; `wTotalLength` may lead to the next
            // configuration.
            let Some(next) = starts.last().and_then(|&start| resume(bytes, start, at)) else {
                break;
            };
            at = next;
            continue;
        }
        if kind == descriptor::CONFIGURATION && length >= 9 {
            starts.push(at);
            if starts.len() == CONFIGURATIONS_MAX {
                break;
            }
        }
        at += usize::from(length);
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &bytes[start..end])
        .collect()
}

/// Returns where the configuration after the one at `start` begins by `wTotalLength`, if that is past
/// `at`.
fn resume(bytes: &[u8], start: usize, at: usize) -> Option<usize> {
    let total = word(bytes.get(start..)?, 2)?;
    let next = start + usize::from(total);
    let header = bytes.get(next..next + 2)?;
    (next > at && header[0] >= 9 && header[1] == descriptor::CONFIGURATION).then_some(next)
}

/// Parses one configuration. Returns `None` when even its header is unusable.
fn configuration(index: usize, raw: &[u8], faults: &mut Faults) -> Option<Configuration> {
    let &[
        length,
        kind,
        total_low,
        total_high,
        count,
        value,
        _,
        attributes,
        max_power,
    ] = raw.first_chunk::<9>().or_else(|| {
        faults.add(format_args!(
            "configuration {index}: only {} bytes",
            raw.len()
        ));
        None
    })?;
    if length < 9 || kind != descriptor::CONFIGURATION {
        faults.add(format_args!(
            "configuration {index}: starts with {length:02x} {kind:02x} instead of 09 02"
        ));
        return None;
    }
    let total = usize::from(u16::from_le_bytes([total_low, total_high]));
    if total != raw.len() {
        faults.add(format_args!(
            "configuration {index}: wTotalLength {total}, but {} bytes",
            raw.len()
        ));
    }
    let raw = &raw[..raw.len().min(total.max(9)).min(CONFIGURATION_MAX)];
    let mut configuration = Configuration {
        value,
        attributes,
        max_power,
        raw: raw.to_vec(),
        ..Configuration::default()
    };
    Walk {
        index,
        configuration: &mut configuration,
        faults,
        current: Current::None,
        owners: [None; 256],
    }
    .run(raw, usize::from(length));
    if configuration.interfaces.len() != usize::from(count) {
        faults.add(format_args!(
            "configuration {index}: bNumInterfaces {count}, but {} interfaces",
            configuration.interfaces.len()
        ));
    }
    Some(configuration)
}

/// The alternate setting that endpoints and functional descriptors belong to.
#[derive(Clone, Copy)]
enum Current {
    /// No interface has begun.
    None,
    /// A duplicate alternate setting has begun, which does not count.
    Ignored,
    /// An alternate setting has begun.
    In {
        /// Index of the interface.
        interface: usize,
        /// Index of the alternate setting.
        alternate: usize,
        /// `bNumEndpoints`.
        announced: u8,
    },
}

/// State of the parser within one configuration.
struct Walk<'a> {
    /// Index of the configuration.
    index: usize,
    configuration: &'a mut Configuration,
    faults: &'a mut Faults,
    current: Current,
    /// For each endpoint address, the number of the interface that named it first.
    owners: [Option<u8>; 256],
}

impl Walk<'_> {
    fn run(&mut self, raw: &[u8], mut at: usize) {
        while at < raw.len() {
            let rest = &raw[at..];
            let length = usize::from(rest[0]);
            if length < 2 || length > rest.len() {
                self.fault(
                    at,
                    format_args!("length {length} with {} bytes left", rest.len()),
                );
                break;
            }
            let descriptor = &rest[..length];
            match descriptor[1] {
                descriptor::INTERFACE => self.interface(at, descriptor),
                descriptor::ENDPOINT => self.endpoint(at, descriptor),
                descriptor::ASSOCIATION => self.association(at, descriptor),
                descriptor::CLASS_INTERFACE => self.functional(at, descriptor),
                _ => {}
            }
            at += length;
        }
        self.check_count();
    }

    fn interface(&mut self, at: usize, descriptor: &[u8]) {
        self.check_count();
        self.current = Current::Ignored;
        let Some(
            &[
                _,
                _,
                number,
                alternate,
                announced,
                class,
                subclass,
                protocol,
                _,
            ],
        ) = descriptor.first_chunk::<9>()
        else {
            return self.fault(at, format_args!("interface of {} bytes", descriptor.len()));
        };
        let interfaces = &mut self.configuration.interfaces;
        let interface = interfaces
            .iter()
            .position(|i| i.number == number)
            .unwrap_or_else(|| {
                interfaces.push(Interface {
                    number,
                    alternates: Vec::new(),
                });
                interfaces.len() - 1
            });
        let alternates = &mut interfaces[interface].alternates;
        if alternates.iter().any(|a| a.number == alternate) {
            return self.fault(
                at,
                format_args!("interface {number} alternate {alternate} again"),
            );
        }
        alternates.push(AlternateSetting {
            number: alternate,
            class: ClassTriple(class, subclass, protocol),
            endpoints: Vec::new(),
            functional: Vec::new(),
        });
        self.current = Current::In {
            interface,
            alternate: alternates.len() - 1,
            announced,
        };
    }

    fn endpoint(&mut self, at: usize, descriptor: &[u8]) {
        let Current::In {
            interface,
            alternate,
            announced,
        } = self.current
        else {
            return;
        };
        let Some(&[_, _, address, attributes, size_low, size_high, interval]) =
            descriptor.first_chunk::<7>()
        else {
            return self.fault(at, format_args!("endpoint of {} bytes", descriptor.len()));
        };
        let interface = &mut self.configuration.interfaces[interface];
        let number = interface.number;
        let endpoints = &mut interface.alternates[alternate].endpoints;
        if address & 0x0f == 0 || address & 0x70 != 0 {
            return self.fault(at, format_args!("endpoint address {address:02x}"));
        }
        if endpoints.iter().any(|e| e.address == address) {
            return self.fault(at, format_args!("endpoint {address:02x} again"));
        }
        if endpoints.len() == usize::from(announced) {
            return self.fault(
                at,
                format_args!("endpoint {address:02x} past bNumEndpoints {announced}"),
            );
        }
        let owner = self.owners[usize::from(address)].get_or_insert(number);
        if *owner != number {
            let owner = *owner;
            return self.fault(
                at,
                format_args!("endpoint {address:02x} again, of interface {owner} before"),
            );
        }
        let max_packet_size = u16::from_le_bytes([size_low, size_high]) & 0x07ff;
        endpoints.push(Endpoint {
            address,
            kind: match attributes & 0x03 {
                0 => TransferKind::Control,
                1 => TransferKind::Isochronous,
                2 => TransferKind::Bulk,
                _ => TransferKind::Interrupt,
            },
            max_packet_size,
            interval,
        });
        if max_packet_size == 0 {
            self.fault(
                at,
                format_args!("endpoint {address:02x} with wMaxPacketSize 0"),
            );
        }
    }

    fn association(&mut self, at: usize, descriptor: &[u8]) {
        let Some(&[_, _, first, count, class, subclass, protocol, _]) =
            descriptor.first_chunk::<8>()
        else {
            return self.fault(
                at,
                format_args!("association of {} bytes", descriptor.len()),
            );
        };
        let class = ClassTriple(class, subclass, protocol);
        self.configuration.associations.push(Association {
            first,
            count,
            class,
        });
    }

    fn functional(&mut self, at: usize, descriptor: &[u8]) {
        let Current::In {
            interface,
            alternate,
            ..
        } = self.current
        else {
            return;
        };
        let Some((&subtype, body)) = descriptor[2..].split_first() else {
            return self.fault(at, format_args!("functional descriptor of 2 bytes"));
        };
        let functional = functional(subtype, body);
        if matches!(functional, Functional::Other { subtype, .. } if is_known(subtype)) {
            self.fault(
                at,
                format_args!(
                    "functional descriptor {subtype:02x} of {} bytes",
                    descriptor.len()
                ),
            );
        }
        self.configuration.interfaces[interface].alternates[alternate]
            .functional
            .push(functional);
    }

    /// Notes a fault when an alternate setting has fewer endpoints than announced.
    fn check_count(&mut self) {
        let Current::In {
            interface,
            alternate,
            announced,
        } = self.current
        else {
            return;
        };
        let interface = &self.configuration.interfaces[interface];
        let alternate = &interface.alternates[alternate];
        if alternate.endpoints.len() < usize::from(announced) {
            self.faults.add(format_args!(
                "configuration {}: interface {} alternate {} with {} endpoints instead of {}",
                self.index,
                interface.number,
                alternate.number,
                alternate.endpoints.len(),
                announced
            ));
        }
    }

    fn fault(&mut self, at: usize, what: std::fmt::Arguments<'_>) {
        self.faults.add(format_args!(
            "configuration {} offset {at}: {what}",
            self.index
        ));
    }
}

/// Returns whether a subtype has a variant of its own in [`Functional`].
fn is_known(subtype: u8) -> bool {
    matches!(
        subtype,
        functional::HEADER
            | functional::UNION
            | functional::ETHERNET
            | functional::NCM
            | functional::MBIM
            | functional::MBIM_EXTENDED
    )
}

/// Parses the bytes after the subtype. A descriptor too short for its subtype is returned as
/// [`Functional::Other`].
fn functional(subtype: u8, body: &[u8]) -> Functional {
    known(subtype, body).unwrap_or_else(|| Functional::Other {
        subtype,
        body: body.to_vec(),
    })
}

/// Parses the bytes after a known subtype. Returns `None` when there are too few.
fn known(subtype: u8, body: &[u8]) -> Option<Functional> {
    let byte = |at: usize| body.get(at).copied();
    Some(match subtype {
        functional::HEADER => Functional::Header(word(body, 0)?),
        functional::UNION => {
            let (&control, subordinates) = body.split_first()?;
            if subordinates.is_empty() {
                return None;
            }
            Functional::Union {
                control,
                subordinates: subordinates.to_vec(),
            }
        }
        // bmEthernetStatistics (4 bytes) lies between the two fields that matter; the filter
        // fields behind them are not needed, so a descriptor without them is good enough.
        functional::ETHERNET => Functional::Ethernet {
            mac_index: byte(0)?,
            max_segment_size: word(body, 5)?,
        },
        functional::NCM => Functional::Ncm {
            version: word(body, 0)?,
            capabilities: byte(2)?,
        },
        functional::MBIM => Functional::Mbim {
            version: word(body, 0)?,
            max_control_message: word(body, 2)?,
            filters: byte(4)?,
            max_filter_size: byte(5)?,
            max_segment_size: word(body, 6)?,
            capabilities: byte(8)?,
        },
        functional::MBIM_EXTENDED => Functional::MbimExtended {
            version: word(body, 0)?,
            max_outstanding: byte(2)?,
            mtu: word(body, 3)?,
        },
        _ => return None,
    })
}

/// Returns the little-endian 16-bit word at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Messages about the faults found, bounded in number so that hostile descriptors cannot make them
/// grow without end.
#[derive(Default)]
struct Faults {
    messages: Vec<String>,
    left_out: usize,
}

impl Faults {
    fn add(&mut self, message: std::fmt::Arguments<'_>) {
        if self.messages.len() < FAULTS_MAX {
            self.messages.push(message.to_string());
        } else {
            self.left_out += 1;
        }
    }

    fn into_messages(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.messages.push(format!("and {} more", self.left_out));
        }
        self.messages
    }
}
