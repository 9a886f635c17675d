//! Interfaces and endpoints of a configuration, as its descriptors list them.

use uwwan_usb::codes::descriptor;
use uwwan_usb::descriptors::TransferKind;

/// The bits of `wMaxPacketSize` that say the size; the others ask for further transactions in a
/// microframe (USB 2.0, 9.6.6).
const PACKET_SIZE: u16 = 0x07ff;

/// An endpoint of the device, with the interface and alternate setting to which it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointPlace {
    /// Number of its interface.
    pub interface: u8,
    /// Number of the alternate setting in which it exists.
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

impl EndpointPlace {
    /// Returns the type of the endpoint's transfers.
    pub fn kind(&self) -> TransferKind {
        match self.interrupt {
            true => TransferKind::Interrupt,
            false => TransferKind::Bulk,
        }
    }
}

/// An alternate setting of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternatePlace {
    /// `bInterfaceNumber`.
    pub interface: u8,
    /// `bAlternateSetting`.
    pub alternate: u8,
    /// Class, subclass and protocol.
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
    /// Reads a configuration descriptor with all that belong to it. A malformed descriptor ends the
    /// reading.
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
                (
                    descriptor::INTERFACE,
                    &[_, _, interface, alternate, _, class, sub, protocol, ..],
                ) => {
                    let place = AlternatePlace {
                        interface,
                        alternate,
                        class: [class, sub, protocol],
                    };
                    layout.alternates.push(place);
                    current = Some(place);
                }
                (descriptor::ENDPOINT, &[_, _, address, attributes, low, high, interval, ..]) => {
                    if let Some(place) = current {
                        layout.endpoints.push(EndpointPlace {
                            interface: place.interface,
                            alternate: place.alternate,
                            address,
                            interrupt: attributes & 3 == 3,
                            max_packet_size: u16::from_le_bytes([low, high]) & PACKET_SIZE,
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

    /// Returns whether the interface has that alternate setting.
    #[must_use]
    pub fn has(&self, interface: u8, alternate: u8) -> bool {
        self.alternates
            .iter()
            .any(|place| place.interface == interface && place.alternate == alternate)
    }
}
