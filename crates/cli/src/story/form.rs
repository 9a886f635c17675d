//! Entries of a capture as JSON.

use schemars::JsonSchema;
use serde::Serialize;

use crate::forms::Message;

/// A transfer or message between host and modem.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Number of the packet with which it begins.
    pub(super) packet: u64,
    /// Seconds since the first entry.
    pub(super) time: f64,
    /// `out` to the device, `in` from it.
    pub(super) direction: &'static str,
    #[serde(flatten)]
    pub(super) content: Content,
}

/// Content of an entry.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Content {
    /// An MBIM control message.
    Mbim {
        /// Number of fragments in which it came.
        fragments: u32,
        /// Number of the packet with the request that it answers.
        answers: Option<u64>,
        /// Seconds since that request.
        after_seconds: Option<f64>,
        /// `after_seconds` in milliseconds.
        #[schemars(extend("deprecated" = true))]
        after_ms: Option<f64>,
        /// The message, decoded.
        #[schemars(with = "Message")]
        message: serde_json::Value,
    },
    /// The transfer of an NTB.
    Ntb {
        /// Bytes of the transfer.
        length: usize,
        /// Bytes that were captured.
        captured: usize,
        #[serde(flatten)]
        read: Option<Read>,
        /// Reason why the NTB cannot be read. The field is absent when it can.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Bytes of a bulk endpoint that are no NTB: mostly AT.
    At {
        /// Address of the endpoint.
        endpoint: u8,
        /// The bytes as text, if they are text.
        text: Option<String>,
        /// The bytes in hexadecimal, hidden unless personal content is asked for.
        data: String,
    },
    /// A control request that carries no MBIM.
    Control {
        /// Name of the request with its parameters.
        request: String,
        /// Setup stage in hexadecimal.
        setup: String,
        /// Bytes that were sent or received, in hexadecimal.
        data: String,
        /// Status: 0, or a negative `errno` of Linux; null when the end was not captured.
        status: Option<i32>,
    },
    /// Notification that an interrupt endpoint brought.
    Interrupt {
        /// The bytes in hexadecimal.
        data: String,
    },
}

/// Content of an NTB that can be read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Read {
    /// Format: 16 or 32.
    pub(super) format: u8,
    /// Sequence number.
    pub(super) sequence: u16,
    /// Number of datagrams.
    pub(super) datagrams: usize,
    /// Number of datagrams that were dropped.
    pub(super) dropped: u64,
}
