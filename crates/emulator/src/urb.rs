//! Transfers as they cross the device's upstream port.

use uwwan_usb::buffer::Buffer;

/// Number of a transfer. The upstream chooses it, and a completion carries it back.
pub type Token = u64;

/// The setup stage of a control transfer (USB 2.0, table 9-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetupPacket {
    /// `bmRequestType`.
    pub request_type: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
}

impl SetupPacket {
    /// Reads the eight bytes as they are on the bus; fields are little endian.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self {
            request_type: bytes[0],
            request: bytes[1],
            value: u16::from_le_bytes([bytes[2], bytes[3]]),
            index: u16::from_le_bytes([bytes[4], bytes[5]]),
            length: u16::from_le_bytes([bytes[6], bytes[7]]),
        }
    }

    /// Returns whether the data stage goes to the host.
    #[must_use]
    pub fn is_in(self) -> bool {
        self.request_type & 0x80 != 0
    }

    /// Returns the type of the request: standard (0), class (1) or vendor (2).
    #[must_use]
    pub fn kind(self) -> u8 {
        self.request_type >> 5 & 3
    }

    /// Returns the recipient of the request: device (0), interface (1), endpoint (2) or other (3).
    #[must_use]
    pub fn recipient(self) -> u8 {
        self.request_type & 0x1f
    }
}

/// A transfer on its way to the device.
#[derive(Debug)]
pub struct Urb {
    /// Number of the transfer.
    pub token: Token,
    /// Address of the endpoint with its direction bit; 0 or 0x80 for control.
    pub endpoint: u8,
    /// The setup stage of a control transfer; zeros in others.
    pub setup: SetupPacket,
    /// Memory of the transfer. The filled part of an OUT transfer is sent; data of an IN transfer
    /// is written from the start.
    pub buffer: Buffer,
    /// Number of bytes an IN transfer asks for, at most the buffer's capacity.
    pub wanted: usize,
    /// Whether an OUT transfer whose length is a multiple of the packet size ends with a zero-length
    /// packet.
    pub zero_packet: bool,
}

/// Outcome of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrbStatus {
    /// The transfer succeeded.
    Done,
    /// The request was refused, or the endpoint is halted.
    Stall,
    /// The device had more to send than was asked for.
    Overflow,
    /// The host cancelled the transfer.
    Cancelled,
    /// The device is gone.
    Gone,
    /// No endpoint with that address exists, or the transfer failed on the bus.
    Fault,
}

/// A transfer that ended.
#[derive(Debug)]
pub struct Completed {
    /// Number of the transfer, as submitted.
    pub token: Token,
    /// Address of the endpoint with its direction bit.
    pub endpoint: u8,
    /// Memory of the transfer. Data that an IN transfer brought is the filled part.
    pub buffer: Buffer,
    /// Number of bytes moved.
    pub actual: usize,
    /// Outcome of the transfer.
    pub status: UrbStatus,
}

impl Urb {
    /// Ends the transfer with `status` and the data in the buffer so far.
    #[must_use]
    pub fn end(self, status: UrbStatus) -> Completed {
        let actual = if self.is_in() || status == UrbStatus::Done {
            self.buffer.filled().len()
        } else {
            0
        };
        Completed {
            token: self.token,
            endpoint: self.endpoint,
            buffer: self.buffer,
            actual,
            status,
        }
    }

    /// Returns whether data goes to the host.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_packets_are_little_endian() {
        let bytes = [0xa1, 0x80, 0x34, 0x12, 0x01, 0x00, 0x1c, 0x00];
        let setup = SetupPacket::from_bytes(bytes);
        assert_eq!(setup.value, 0x1234);
        assert_eq!(setup.length, 28);
        assert!(setup.is_in());
        assert_eq!((setup.kind(), setup.recipient()), (1, 1));
    }
}
