//! USB/IP messages as bytes. All fields are big endian except those of the setup stage.

use uwwan_usb::device::Speed;

use crate::urb::SetupPacket;

/// Protocol version 1.1.1, which every kernel since 3.17 has.
pub const VERSION: u16 = 0x0111;
/// Length in bytes of every message in the transfer phase, without its data.
pub const HEADER: usize = 48;
/// Length in bytes of the header of messages in the attach phase.
pub const OP_HEADER: usize = 8;
/// Length of a bus id in bytes.
pub const BUS_ID: usize = 32;
/// Length in bytes of a device in OP_REP_DEVLIST and OP_REP_IMPORT.
pub const DEVICE: usize = 312;

/// Code of the request for the list of devices.
pub const OP_REQ_DEVLIST: u16 = 0x8005;
/// Code of the answer with the list of devices.
pub const OP_REP_DEVLIST: u16 = 0x0005;
/// Code of the request for a device.
pub const OP_REQ_IMPORT: u16 = 0x8003;
/// Code of the answer to a request for a device.
pub const OP_REP_IMPORT: u16 = 0x0003;

/// Returns the number of a signalling rate in Linux's `enum usb_device_speed`.
#[must_use]
pub fn speed(speed: Speed) -> u32 {
    match speed {
        Speed::Unknown => 0,
        Speed::Low => 1,
        Speed::Full => 2,
        Speed::High => 3,
        Speed::Super => 5,
        Speed::SuperPlus => 6,
    }
}

/// Flag `URB_ZERO_PACKET` of `transfer_flags`: a zero-length packet ends the transfer.
pub const FLAG_ZERO_PACKET: u32 = 0x0040;

/// Commands of the transfer phase.
const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;

/// Message of a host in the transfer phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// USBIP_CMD_SUBMIT; OUT data follows the header.
    Submit {
        /// Sequence number, which identifies the transfer.
        sequence: u32,
        /// Endpoint number, without direction.
        endpoint: u32,
        /// Whether data goes to the host.
        is_in: bool,
        /// `transfer_flags` of Linux's URB.
        flags: u32,
        /// `transfer_buffer_length` in bytes.
        length: u32,
        /// Number of isochronous packets; 0 or 0xffffffff when the transfer is not isochronous.
        packets: u32,
        /// The setup stage of a control transfer; zeros in others.
        setup: SetupPacket,
    },
    /// USBIP_CMD_UNLINK.
    Unlink {
        /// Sequence number of this request.
        sequence: u32,
        /// Sequence number of the transfer to take back.
        target: u32,
    },
}

/// Reason why a message is one that no host may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The command is neither submit nor unlink.
    #[error("USB/IP command {0:#x} is neither submit (1) nor unlink (2)")]
    Command(u32),
    /// The direction is neither out nor in.
    #[error("USB/IP direction {0:#x} is neither out (0) nor in (1)")]
    Direction(u32),
}

/// Returns the field at byte `at` of a header.
fn word(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Command {
    /// Reads a header.
    ///
    /// # Errors
    /// [`CodecError`], after which the stream cannot be followed any further.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, CodecError> {
        let sequence = word(bytes, 4);
        match word(bytes, 0) {
            CMD_SUBMIT => {
                let direction = word(bytes, 12);
                if direction > 1 {
                    return Err(CodecError::Direction(direction));
                }
                let mut setup = [0; 8];
                setup.copy_from_slice(&bytes[40..48]);
                Ok(Self::Submit {
                    sequence,
                    endpoint: word(bytes, 16),
                    is_in: direction == 1,
                    flags: word(bytes, 20),
                    length: word(bytes, 24),
                    packets: word(bytes, 32),
                    setup: SetupPacket::from_bytes(setup),
                })
            }
            CMD_UNLINK => Ok(Self::Unlink {
                sequence,
                target: word(bytes, 20),
            }),
            other => Err(CodecError::Command(other)),
        }
    }
}

/// Returns USBIP_RET_SUBMIT. `status` is 0 or a negated Linux errno, `actual` the number of bytes moved.
#[must_use]
pub fn ret_submit(sequence: u32, status: i32, actual: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&RET_SUBMIT.to_be_bytes());
    bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[20..24].copy_from_slice(&status.to_be_bytes());
    bytes[24..28].copy_from_slice(&actual.to_be_bytes());
    bytes
}

/// Returns USBIP_RET_UNLINK. `status` is -ECONNRESET when the transfer was taken back, 0 when it
/// had ended.
#[must_use]
pub fn ret_unlink(sequence: u32, status: i32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&RET_UNLINK.to_be_bytes());
    bytes[4..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[20..24].copy_from_slice(&status.to_be_bytes());
    bytes
}

/// Returns the header of an answer in the attach phase. Status 0 is success.
#[must_use]
pub fn op_header(command: u16, status: u32) -> [u8; OP_HEADER] {
    let mut bytes = [0; OP_HEADER];
    bytes[0..2].copy_from_slice(&VERSION.to_be_bytes());
    bytes[2..4].copy_from_slice(&command.to_be_bytes());
    bytes[4..8].copy_from_slice(&status.to_be_bytes());
    bytes
}

/// A device as OP_REP_DEVLIST and OP_REP_IMPORT describe it.
#[derive(Debug, Clone, Copy)]
pub struct Exported<'a> {
    /// Bus id of the device, as `usbip attach -b` takes it.
    pub bus_id: &'a str,
    /// Number of the bus.
    pub bus: u32,
    /// Number of the device on its bus.
    pub address: u32,
    /// Signalling rate of the device.
    pub speed: Speed,
    /// The device descriptor.
    pub descriptor: &'a [u8],
    /// `bConfigurationValue` of the active configuration.
    pub configuration: u8,
    /// `bNumInterfaces` of the active configuration.
    pub interfaces: u8,
}

impl Exported<'_> {
    /// Returns the device as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; DEVICE] {
        let mut bytes = [0; DEVICE];
        let path = format!("/sys/devices/uwwan/usb{}/{}", self.bus, self.bus_id);
        let length = path.len().min(255);
        bytes[..length].copy_from_slice(&path.as_bytes()[..length]);
        let length = self.bus_id.len().min(BUS_ID - 1);
        bytes[256..256 + length].copy_from_slice(&self.bus_id.as_bytes()[..length]);
        bytes[288..292].copy_from_slice(&self.bus.to_be_bytes());
        bytes[292..296].copy_from_slice(&self.address.to_be_bytes());
        bytes[296..300].copy_from_slice(&speed(self.speed).to_be_bytes());
        if let &[
            _,
            _,
            _,
            _,
            class,
            subclass,
            protocol,
            _,
            v0,
            v1,
            p0,
            p1,
            b0,
            b1,
            _,
            _,
            _,
            count,
            ..,
        ] = self.descriptor
        {
            // The fields are little endian in the descriptor and big endian here.
            bytes[300..312].copy_from_slice(&[
                v1,
                v0,
                p1,
                p0,
                b1,
                b0,
                class,
                subclass,
                protocol,
                self.configuration,
                count,
                self.interfaces,
            ]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages are the examples of Linux `Documentation/usb/usbip_protocol.rst`, from
    /// transfers of a keyboard-like device.
    #[test]
    fn the_kernel_documents_examples() {
        // The message is the example CmdIntrIN.
        let submit = hex(
            "00000001 00000d05 0001000f 00000001 00000001 00000200 00000040 ffffffff 00000000 00000004 00000000 00000000",
        );
        assert_eq!(
            Command::decode(&submit),
            Ok(Command::Submit {
                sequence: 0xd05,
                endpoint: 1,
                is_in: true,
                flags: 0x200,
                length: 64,
                packets: 0,
                setup: SetupPacket::default(),
            })
        );
        // The message is the example CmdIntrOUT.
        let submit = hex(
            "00000001 00000d06 0001000f 00000000 00000001 00000000 00000040 ffffffff 00000000 00000004 00000000 00000000",
        );
        assert!(matches!(
            Command::decode(&submit),
            Ok(Command::Submit {
                is_in: false,
                length: 64,
                sequence: 0xd06,
                ..
            })
        ));
        // The message is the example RetIntrOut.
        assert_eq!(
            ret_submit(0xd06, 0, 0x40),
            hex(
                "00000003 00000d06 00000000 00000000 00000000 00000000 00000040 00000000 00000000 00000000 00000000 00000000"
            )
        );
        // The example RetIntrIn carries its data behind this header.
        assert_eq!(
            ret_submit(0xd05, 0, 0x40)[..28],
            hex(
                "00000003 00000d05 00000000 00000000 00000000 00000000 00000040 ffffffff 00000000 00000000 00000000 00000000"
            )[..28]
        );
    }

    #[test]
    fn unlink_names_its_target() {
        let bytes = hex(
            "00000002 00000010 00010002 00000000 00000000 0000000f 00000000 00000000 00000000 00000000 00000000 00000000",
        );
        assert_eq!(
            Command::decode(&bytes),
            Ok(Command::Unlink {
                sequence: 16,
                target: 15
            })
        );
        let answer = ret_unlink(16, -104);
        assert_eq!(answer[..8], [0, 0, 0, 4, 0, 0, 0, 16]);
        assert_eq!(answer[20..24], [0xff, 0xff, 0xff, 0x98]);
    }

    #[test]
    fn other_commands_are_errors() {
        let mut bytes = [0; HEADER];
        assert_eq!(Command::decode(&bytes), Err(CodecError::Command(0)));
        bytes[3] = 1;
        bytes[15] = 2;
        assert_eq!(Command::decode(&bytes), Err(CodecError::Direction(2)));
    }

    #[test]
    fn a_device_is_described_big_endian() {
        let bytes = Exported {
            bus_id: "1-1",
            bus: 1,
            address: 2,
            speed: Speed::High,
            descriptor: &crate::descriptors::lt4132::DEVICE,
            configuration: 2,
            interfaces: 7,
        }
        .encode();
        assert_eq!(&bytes[256..260], b"1-1\0");
        assert_eq!(bytes[288..300], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(
            bytes[300..],
            [0x03, 0xf0, 0xa3, 0x1d, 0x01, 0x02, 0, 0, 0xff, 2, 3, 7]
        );
    }

    fn hex(text: &str) -> [u8; HEADER] {
        let digits: String = text.split_whitespace().collect();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }
}
