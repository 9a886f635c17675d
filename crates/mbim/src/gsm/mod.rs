//! Alphabets (3GPP TS 23.038) and message PDUs (3GPP TS 23.040) of short messages and USSD, for
//! reading and writing.
//!
//! MBIM carries them as bytes: [`SmsPduReadRecord`](crate::services::sms::SmsPduReadRecord) holds a
//! PDU with the message centre's address in front, [`Ussd`](crate::services::ussd::Ussd) holds text
//! in a data coding scheme.
//!
//! - [`alphabet`]: the GSM 7-bit default alphabet with its extension, and the packing of septets.
//! - [`coding`]: data coding schemes of short messages and of USSD.
//! - [`address`]: telephone numbers and alphanumeric senders.
//! - [`timestamp`]: time stamps of the message centre.
//! - [`pdu`]: reading of messages.
//! - [`submit`]: writing of messages, with long texts in parts.
//! - [`joined`]: reassembly of long messages from their parts.

pub mod address;
pub mod alphabet;
pub mod coding;
pub mod joined;
pub mod pdu;
pub mod submit;
pub mod timestamp;

pub use address::Address;
pub use pdu::{Body, Message, MessageKind, Part, PduError};
pub use submit::{Submit, SubmitError};
pub use timestamp::Timestamp;
