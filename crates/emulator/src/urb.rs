//! Transfers as they cross the device's upstream port.

use uwwan_usb::buffer::Buffer;

/// Which transfer a completion belongs to; chosen by the upstream side.
pub type Token = u64;

/// `bRequest` of the standard requests (USB 2.0, table 9-4).
pub mod standard {
    /// GET_STATUS.
    pub const GET_STATUS: u8 = 0;
    /// CLEAR_FEATURE.
    pub const CLEAR_FEATURE: u8 = 1;
    /// SET_FEATURE.
    pub const SET_FEATURE: u8 = 3;
    /// SET_ADDRESS.
    pub const SET_ADDRESS: u8 = 5;
    /// GET_DESCRIPTOR.
    pub const GET_DESCRIPTOR: u8 = 6;
    /// GET_CONFIGURATION.
    pub const GET_CONFIGURATION: u8 = 8;
    /// SET_CONFIGURATION.
    pub const SET_CONFIGURATION: u8 = 9;
    /// GET_INTERFACE.
    pub const GET_INTERFACE: u8 = 10;
    /// SET_INTERFACE.
    pub const SET_INTERFACE: u8 = 11;
}

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
    /// Reads the eight bytes as they are on the bus, little endian.
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

    /// The eight bytes as they are on the bus, little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let [v0, v1] = self.value.to_le_bytes();
        let [i0, i1] = self.index.to_le_bytes();
        let [l0, l1] = self.length.to_le_bytes();
        [self.request_type, self.request, v0, v1, i0, i1, l0, l1]
    }

    /// Whether the data stage goes to the host.
    #[must_use]
    pub fn is_in(self) -> bool {
        self.request_type & 0x80 != 0
    }

    /// Standard (0), class (1) or vendor (2).
    #[must_use]
    pub fn kind(self) -> u8 {
        self.request_type >> 5 & 3
    }

    /// Device (0), interface (1), endpoint (2) or other (3).
    #[must_use]
    pub fn recipient(self) -> u8 {
        self.request_type & 0x1f
    }
}

/// A transfer on its way to the device.
#[derive(Debug)]
pub struct Urb {
    /// Chosen by the upstream side.
    pub token: Token,
    /// Endpoint address with its direction bit; 0 or 0x80 for control.
    pub endpoint: u8,
    /// The setup stage; meaningful for control only.
    pub setup: SetupPacket,
    /// OUT: the filled part is sent. IN: the capacity is asked for.
    pub buffer: Buffer,
    /// Bytes asked for (IN), at most the buffer's capacity.
    pub wanted: usize,
    /// OUT: end with a zero-length packet when the length is a multiple of the packet size.
    pub zero_packet: bool,
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrbStatus {
    /// It went through.
    Done,
    /// Refused, or the endpoint is halted.
    Stall,
    /// The device had more to send than was asked for.
    Overflow,
    /// Taken back by the host.
    Cancelled,
    /// The device is gone.
    Gone,
    /// Nobody answers at that endpoint.
    Fault,
}

/// A transfer that ended. For IN the buffer's filled part is what arrived.
#[derive(Debug)]
pub struct Completed {
    /// As submitted.
    pub token: Token,
    /// As submitted.
    pub endpoint: u8,
    /// Back with its data.
    pub buffer: Buffer,
    /// Bytes moved.
    pub actual: usize,
    /// How it ended.
    pub status: UrbStatus,
}

impl Urb {
    /// Ends the transfer with `status` and what is in the buffer by now.
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

    /// Whether data goes to the host.
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
        assert_eq!(setup.to_bytes(), bytes);
    }
}
