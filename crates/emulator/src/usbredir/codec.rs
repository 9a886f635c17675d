//! Messages of the usbredir protocol, as bytes. All fields are little endian and packed.

use thiserror::Error;
use uwwan_usb::device::Speed;

use crate::urb::SetupPacket;

/// Length in bytes of the longest transfer that is accepted.
pub const MAX_TRANSFER: usize = 1 << 20;
/// Length in bytes of the longest message before its data, header included.
const MAX_HEAD: usize = 16 + 128;
/// Length in bytes of the longest message that is accepted at all, header included.
pub const MAX_MESSAGE: usize = MAX_HEAD + MAX_TRANSFER;

/// Length in bytes of the name field of a hello.
const VERSION: usize = 64;
/// Number of entries of the tables in INTERFACE_INFO and EP_INFO.
pub const SLOTS: usize = 32;

/// Numbers in the field `type` of a message, with the names of the protocol's document.
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u32 = 0;
    pub const DEVICE_CONNECT: u32 = 1;
    pub const RESET: u32 = 3;
    pub const INTERFACE_INFO: u32 = 4;
    pub const EP_INFO: u32 = 5;
    pub const SET_CONFIGURATION: u32 = 6;
    pub const GET_CONFIGURATION: u32 = 7;
    pub const CONFIGURATION_STATUS: u32 = 8;
    pub const SET_ALT_SETTING: u32 = 9;
    pub const GET_ALT_SETTING: u32 = 10;
    pub const ALT_SETTING_STATUS: u32 = 11;
    pub const START_INTERRUPT_RECEIVING: u32 = 15;
    pub const STOP_INTERRUPT_RECEIVING: u32 = 16;
    pub const INTERRUPT_RECEIVING_STATUS: u32 = 17;
    pub const CANCEL_DATA_PACKET: u32 = 21;
    pub const FILTER_REJECT: u32 = 22;
    pub const FILTER_FILTER: u32 = 23;
    pub const DEVICE_DISCONNECT_ACK: u32 = 24;
    pub const CONTROL_PACKET: u32 = 100;
    pub const BULK_PACKET: u32 = 101;
    pub const INTERRUPT_PACKET: u32 = 103;
}

/// Value of the field `status` of a finished transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The transfer succeeded.
    Success = 0,
    /// The transfer was cancelled.
    Cancelled = 1,
    /// The transfer is invalid.
    Invalid = 2,
    /// The transfer failed.
    IoError = 3,
    /// The endpoint is halted, or the request refused.
    Stall = 4,
    /// The device sent more than was asked for.
    Babble = 6,
}

/// Capabilities that a side announces, as bits of the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u32);

impl Capabilities {
    /// DEVICE_CONNECT carries the device's version.
    pub const VERSION: Capabilities = Capabilities(1 << 1);
    /// EP_INFO carries packet sizes.
    pub const PACKET_SIZE: Capabilities = Capabilities(1 << 4);
    /// Message ids have 64 bits.
    pub const LONG_IDS: Capabilities = Capabilities(1 << 5);
    /// Bulk transfers may be longer than 65535 bytes.
    pub const LONG_BULK: Capabilities = Capabilities(1 << 6);
    /// Capabilities of this side. A guest's xHCI controller requires the last three.
    pub const OURS: Capabilities =
        Capabilities(Self::VERSION.0 | Self::PACKET_SIZE.0 | Self::LONG_IDS.0 | Self::LONG_BULK.0);

    /// Returns whether all of `wanted` are among the capabilities.
    pub fn has(self, wanted: Capabilities) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Returns the capabilities that both sides have.
    pub fn shared(self, other: Capabilities) -> Capabilities {
        Capabilities(self.0 & other.0)
    }

    /// Returns the length of a message's header, in bytes.
    fn header(self) -> usize {
        if self.has(Self::LONG_IDS) { 16 } else { 12 }
    }

    /// Returns the length of a bulk packet's fields, in bytes.
    fn bulk(self) -> usize {
        if self.has(Self::LONG_BULK) { 10 } else { 8 }
    }
}

/// A message of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first message, with the guest's capabilities.
    Hello(Capabilities),
    /// The port is to be reset.
    Reset,
    /// A configuration is to be selected.
    SetConfiguration(u8),
    /// The guest asks for the active configuration.
    GetConfiguration,
    /// An alternate setting is to be selected; the fields are interface and setting.
    SetAlternate(u8, u8),
    /// The guest asks for the active alternate setting of an interface.
    GetAlternate(u8),
    /// Data of the interrupt endpoint with that address is to be sent until the guest stops it.
    StartInterrupts(u8),
    /// Data of the interrupt endpoint with that address is not to be sent any more.
    StopInterrupts(u8),
    /// The transfer with the id of this message is to be cancelled.
    Cancel,
    /// A control transfer is to be made, with data if it goes to the device.
    Control(SetupPacket, &'a [u8]),
    /// A bulk transfer is to be made.
    Bulk {
        /// Address of the endpoint.
        endpoint: u8,
        /// Number of bytes to move.
        length: usize,
        /// Number of the USB 3 stream.
        stream: u32,
        /// Data of a transfer to the device.
        data: &'a [u8],
    },
    /// An interrupt transfer to the device is to be made; the fields are the address of the
    /// endpoint, and data.
    Interrupt(u8, &'a [u8]),
    /// The message needs no action here.
    Other,
}

/// Reason why a message is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The message is longer than any message may be.
    #[error("usbredir message of type {kind} with {length} bytes")]
    Length {
        /// Type of the message.
        kind: u32,
        /// Length of the message without its header, in bytes.
        length: usize,
    },
    /// The type of the message is unknown, or was never offered.
    #[error("usbredir message of type {0}, which was not offered")]
    Kind(u32),
    /// The first message is no hello, or a later one is.
    #[error("a usbredir hello out of order")]
    Hello,
    /// The fields of the message contradict each other.
    #[error("usbredir message of type {0} whose data does not fit its fields")]
    Data(u32),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A message with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Id of the message, chosen by the guest.
    pub id: u64,
    /// The message itself.
    pub message: Message<'a>,
    /// Length of the message with its header, in bytes.
    pub length: usize,
}

/// Returns the first message in `bytes`; `None` while it is not complete. `shared` are the
/// capabilities that both sides have, `None` before the guest's hello.
///
/// # Errors
/// Returns a [`CodecError`], after which nothing can be understood.
pub fn decode(
    bytes: &[u8],
    shared: Option<Capabilities>,
) -> Result<Option<Incoming<'_>>, CodecError> {
    // A hello always has a short id.
    let capabilities = shared.unwrap_or_default();
    let (Some(kind), Some(length)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else {
        return Ok(None);
    };
    let (header, length) = (capabilities.header(), length as usize);
    if length > MAX_MESSAGE - 16 {
        return Err(CodecError::Length { kind, length });
    }
    if (kind == kind::HELLO) != shared.is_none() {
        return Err(CodecError::Hello);
    }
    let Some(body) = bytes.get(header..header + length) else {
        return Ok(None);
    };
    let id = match u32_at(bytes, 12) {
        Some(high) if header == 16 => u64::from(high) << 32,
        _ => 0,
    } | u64::from(u32_at(bytes, 8).unwrap_or(0));
    let message = message(kind, body, capabilities).ok_or(CodecError::Data(kind))?;
    match message {
        Some(message) => Ok(Some(Incoming {
            id,
            message,
            length: header + length,
        })),
        None => Err(CodecError::Kind(kind)),
    }
}

/// Reads the body of a message. Returns `None` when the body does not fit the type, and
/// `Some(None)` when the type is not known.
fn message(kind: u32, body: &[u8], capabilities: Capabilities) -> Option<Option<Message<'_>>> {
    let exactly = |length: usize| (body.len() == length).then_some(());
    Some(Some(match kind {
        kind::HELLO => {
            // Older guests send no capabilities; newer ones may send more words.
            let words = body.len().checked_sub(VERSION)?;
            (words.is_multiple_of(4) && words <= 64).then_some(())?;
            Message::Hello(Capabilities(u32_at(body, VERSION).unwrap_or(0)))
        }
        kind::RESET => {
            exactly(0)?;
            Message::Reset
        }
        kind::SET_CONFIGURATION => {
            exactly(1)?;
            Message::SetConfiguration(body[0])
        }
        kind::GET_CONFIGURATION => {
            exactly(0)?;
            Message::GetConfiguration
        }
        kind::SET_ALT_SETTING => {
            exactly(2)?;
            Message::SetAlternate(body[0], body[1])
        }
        kind::GET_ALT_SETTING => {
            exactly(1)?;
            Message::GetAlternate(body[0])
        }
        kind::START_INTERRUPT_RECEIVING => {
            exactly(1)?;
            Message::StartInterrupts(body[0])
        }
        kind::STOP_INTERRUPT_RECEIVING => {
            exactly(1)?;
            Message::StopInterrupts(body[0])
        }
        kind::CANCEL_DATA_PACKET => {
            exactly(0)?;
            Message::Cancel
        }
        kind::CONTROL_PACKET => {
            let (fields, data) = body.split_at_checked(10)?;
            let setup = SetupPacket {
                request: fields[1],
                request_type: fields[2],
                value: u16_at(fields, 4)?,
                index: u16_at(fields, 6)?,
                length: u16_at(fields, 8)?,
            };
            // The endpoint is 0, with the direction of the data stage.
            (fields[0] & 0x7f == 0).then_some(())?;
            let wanted = if setup.is_in() { 0 } else { setup.length };
            (data.len() == usize::from(wanted)).then_some(())?;
            Message::Control(setup, data)
        }
        kind::BULK_PACKET => {
            let (fields, data) = body.split_at_checked(capabilities.bulk())?;
            let high = u16_at(fields, 8).unwrap_or(0);
            let length = usize::from(high) << 16 | usize::from(u16_at(fields, 2)?);
            let endpoint = fields[0];
            let wanted = if endpoint & 0x80 == 0 { length } else { 0 };
            (data.len() == wanted && length <= MAX_TRANSFER && endpoint & 0x70 == 0)
                .then_some(())?;
            Message::Bulk {
                endpoint,
                length,
                stream: u32_at(fields, 4)?,
                data,
            }
        }
        kind::INTERRUPT_PACKET => {
            let (fields, data) = body.split_at_checked(4)?;
            let fits = usize::from(u16_at(fields, 2)?) == data.len();
            (fits && fields[0] & 0xf0 == 0).then_some(())?;
            Message::Interrupt(fields[0], data)
        }
        kind::FILTER_REJECT | kind::FILTER_FILTER | kind::DEVICE_DISCONNECT_ACK => Message::Other,
        _ => return Some(None),
    }))
}

/// Encoder of messages for a guest with which these capabilities are shared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Encoder {
    shared: Capabilities,
}

/// Length in bytes of the longest beginning of a data packet, which is its header and its fields.
pub const HEAD: usize = 16 + 10;

impl Encoder {
    /// Makes an encoder for a guest whose hello has been read.
    pub fn new(shared: Capabilities) -> Self {
        Self { shared }
    }

    fn header(self, kind: u32, length: usize, id: u64, head: &mut Vec<u8>) {
        head.extend(kind.to_le_bytes());
        head.extend((length as u32).to_le_bytes());
        match self.shared.header() {
            16 => head.extend(id.to_le_bytes()),
            _ => head.extend((id as u32).to_le_bytes()),
        }
    }

    fn whole(self, kind: u32, id: u64, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(16 + body.len());
        self.header(kind, body.len(), id, &mut message);
        message.extend(body);
        message
    }

    /// Returns the hello of this side, which may be sent before that of the guest has come.
    pub fn hello() -> Vec<u8> {
        let mut body = vec![0; VERSION];
        let name = concat!("uwwan ", env!("CARGO_PKG_VERSION")).as_bytes();
        body[..name.len()].copy_from_slice(name);
        body.extend(Capabilities::OURS.0.to_le_bytes());
        Encoder::default().whole(kind::HELLO, 0, &body)
    }

    /// Returns the message that the device is connected: with its signalling rate, and with the
    /// classes, ids and version of its descriptor.
    pub fn connect(self, speed: Speed, descriptor: &[u8]) -> Vec<u8> {
        let mut body = vec![match speed {
            Speed::Low => 0,
            Speed::Full => 1,
            Speed::High => 2,
            Speed::Super | Speed::SuperPlus => 3,
            Speed::Unknown => 255,
        }];
        for range in [4..7, 8..12] {
            body.extend(descriptor.get(range).unwrap_or_default());
        }
        if self.shared.has(Capabilities::VERSION) {
            body.extend(descriptor.get(12..14).unwrap_or_default());
        }
        self.whole(kind::DEVICE_CONNECT, 0, &body)
    }

    /// Returns the message that lists the interfaces, each with its number, and its class, subclass
    /// and protocol.
    pub fn interfaces(self, interfaces: &[(u8, [u8; 3])]) -> Vec<u8> {
        let mut body = vec![0; 4 + 4 * SLOTS];
        let count = interfaces.len().min(SLOTS);
        body[0] = count as u8;
        for (at, (number, class)) in interfaces.iter().take(SLOTS).enumerate() {
            body[4 + at] = *number;
            for (table, value) in (1..).zip(class) {
                body[4 + table * SLOTS + at] = *value;
            }
        }
        self.whole(kind::INTERFACE_INFO, 0, &body)
    }

    /// Returns the message that lists the endpoints.
    pub fn endpoints(self, endpoints: &[Endpoint]) -> Vec<u8> {
        const INVALID: u8 = 255;
        let (mut types, mut intervals, mut interfaces) = ([INVALID; SLOTS], [0; SLOTS], [0; SLOTS]);
        let mut sizes = [0u16; SLOTS];
        // The control endpoint always exists, in both directions.
        for slot in [0, 16] {
            types[slot] = 0;
            sizes[slot] = 64;
        }
        for endpoint in endpoints {
            let slot =
                usize::from(endpoint.address & 0x80) >> 3 | usize::from(endpoint.address & 15);
            types[slot] = if endpoint.interrupt { 3 } else { 2 };
            intervals[slot] = endpoint.interval.max(1);
            interfaces[slot] = endpoint.interface;
            sizes[slot] = endpoint.max_packet_size;
        }
        let mut body = [types, intervals, interfaces].concat();
        if self.shared.has(Capabilities::PACKET_SIZE) {
            body.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        }
        self.whole(kind::EP_INFO, 0, &body)
    }

    /// Returns the answer to SET_CONFIGURATION and GET_CONFIGURATION.
    pub fn configuration(self, id: u64, status: Status, value: u8) -> Vec<u8> {
        self.whole(kind::CONFIGURATION_STATUS, id, &[status as u8, value])
    }

    /// Returns the answer to SET_INTERFACE and GET_INTERFACE.
    pub fn alternate(self, id: u64, status: Status, interface: u8, alternate: u8) -> Vec<u8> {
        let body = [status as u8, interface, alternate];
        self.whole(kind::ALT_SETTING_STATUS, id, &body)
    }

    /// Returns the message that says whether data of an interrupt endpoint is sent.
    pub fn interrupts(self, id: u64, status: Status, endpoint: u8) -> Vec<u8> {
        let body = [status as u8, endpoint];
        self.whole(kind::INTERRUPT_RECEIVING_STATUS, id, &body)
    }

    /// Appends the beginning of a control transfer's answer to `head`. `data` bytes follow it, and
    /// `moved` is the number of bytes that were moved.
    pub fn control(
        self,
        id: u64,
        status: Status,
        setup: SetupPacket,
        moved: usize,
        data: usize,
        head: &mut Vec<u8>,
    ) {
        self.header(kind::CONTROL_PACKET, 10 + data, id, head);
        head.extend([
            setup.request_type & 0x80,
            setup.request,
            setup.request_type,
            status as u8,
        ]);
        for field in [setup.value, setup.index, moved as u16] {
            head.extend(field.to_le_bytes());
        }
    }

    /// Appends the beginning of a bulk transfer's answer to `head`, as [`Encoder::control`] does.
    #[allow(clippy::too_many_arguments)]
    pub fn bulk(
        self,
        id: u64,
        status: Status,
        endpoint: u8,
        stream: u32,
        moved: usize,
        data: usize,
        head: &mut Vec<u8>,
    ) {
        self.header(kind::BULK_PACKET, self.shared.bulk() + data, id, head);
        head.extend([endpoint, status as u8]);
        head.extend((moved as u16).to_le_bytes());
        head.extend(stream.to_le_bytes());
        if self.shared.has(Capabilities::LONG_BULK) {
            head.extend(((moved >> 16) as u16).to_le_bytes());
        }
    }

    /// Appends the beginning of an interrupt packet to `head`, as [`Encoder::control`] does.
    pub fn interrupt(
        self,
        id: u64,
        status: Status,
        endpoint: u8,
        moved: usize,
        data: usize,
        head: &mut Vec<u8>,
    ) {
        self.header(kind::INTERRUPT_PACKET, 4 + data, id, head);
        head.extend([endpoint, status as u8]);
        head.extend((moved as u16).to_le_bytes());
    }
}

/// An endpoint as EP_INFO describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `bEndpointAddress`, with the direction bit.
    pub address: u8,
    /// Whether the endpoint is an interrupt endpoint; otherwise it is a bulk endpoint.
    pub interrupt: bool,
    /// `bInterval`, as the descriptor has it.
    pub interval: u8,
    /// Number of its interface.
    pub interface: u8,
    /// `wMaxPacketSize` in bytes.
    pub max_packet_size: u16,
}

#[cfg(test)]
mod tests;
