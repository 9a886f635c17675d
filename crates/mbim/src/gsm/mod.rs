//! What short messages and USSD are made of: alphabets (3GPP TS 23.038) and message PDUs
//! (3GPP TS 23.040), both directions.
//!
//! MBIM carries them as bytes: [`SmsPduReadRecord`](crate::services::sms::SmsPduReadRecord) a PDU
//! with the message centre's address in front, [`Ussd`](crate::services::ussd::Ussd) text in a
//! data coding scheme.
//!
//! - [`alphabet`]: the GSM 7-bit default alphabet with its extension, septets packed into octets.
//! - [`coding`]: data coding schemes, of short messages and of USSD.
//! - [`address`]: telephone numbers and alphanumeric senders.
//! - [`timestamp`]: the message centre's time stamp.
//! - [`pdu`]: messages read; [`submit`]: messages written, long ones in parts; [`joined`]: parts
//!   put together again.

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
