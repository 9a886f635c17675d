//! An entry of a capture: what passed between host and modem, with its time.

/// A transfer or message between host and modem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the packet with which it begins.
    pub packet: u64,
    /// Time in nanoseconds since 1970-01-01 00:00 UTC.
    pub time: u64,
    /// Number of the bus, and of the device on it.
    pub device: (u16, u8),
    /// Whether it went to the device.
    pub out: bool,
    /// Content of the entry.
    pub what: What,
}

/// Content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A whole MBIM control message, or a fragment of one whose other fragments are missing.
    Message {
        /// The message.
        bytes: Vec<u8>,
        /// Number of fragments in which it came.
        fragments: u32,
        /// Packet with the request that it answers, and the nanoseconds since then.
        answers: Option<(u64, u64)>,
    },
    /// The transfer of an NTB.
    Ntb {
        /// The bytes, as far as they were captured.
        bytes: Vec<u8>,
        /// Length of the transfer in bytes.
        length: usize,
    },
    /// Bytes of a bulk endpoint that are no NTB: mostly AT.
    Serial {
        /// Address of the endpoint.
        endpoint: u8,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A control request that carries no MBIM.
    Control {
        /// Setup stage.
        setup: [u8; 8],
        /// The bytes that were sent or received.
        bytes: Vec<u8>,
        /// Status: 0, or a negative `errno` of Linux; `None` when the end was not captured.
        status: Option<i32>,
    },
    /// A notification that an interrupt endpoint brought.
    Notification {
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Entry {
    /// Returns the word for the kind of the entry.
    pub fn kind(&self) -> &'static str {
        match &self.what {
            What::Message { .. } => "mbim",
            What::Ntb { .. } => "ntb",
            What::Serial { .. } => "at",
            What::Control { .. } => "control",
            What::Notification { .. } => "interrupt",
        }
    }
}
