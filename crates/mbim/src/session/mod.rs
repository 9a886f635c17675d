//! Host side of a control session, as a state machine without I/O.
//!
//! The caller feeds notifications, responses, failures and the time, and makes the control
//! transfers [`ControlSession::poll_transmit`] asks for, in that order. Answers and indications
//! come out of [`ControlSession::poll_event`]. After any input, the caller makes transfers until
//! there are none, takes events until there are none, sleeps until [`ControlSession::poll_timeout`]
//! and calls [`ControlSession::handle_timeout`].
//!
//! The state machine answers these habits of devices:
//! - A modem starts slowly: OPEN is repeated with other transaction ids until the overall timeout.
//! - A control session is left over from an earlier host: an unmatched CLOSE_DONE while opening is
//!   answered by CLOSE, then OPEN.
//! - Stray OPEN_DONEs reuse the transaction id of the next command (seen on Huawei modems): answers
//!   match on transaction id *and* type, and anything else is counted and dropped.
//! - Notifications get lost or come in storms, and reads are empty or stalled: each notification
//!   earns one read, empty reads are spaced out, and a slow poll makes up for notifications that
//!   never came.
//! - Answers come out of order, and fragments are interleaved or missing: see [`crate::fragment`].
//! - Indications come in floods: the queue is bounded, and in a full queue an indication replaces
//!   the waiting one of its kind or the oldest.

mod machine;
mod reads;
mod receive;
#[cfg(test)]
mod tests;
mod types;

pub use machine::ControlSession;
pub use types::*;
