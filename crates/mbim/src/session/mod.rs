//! The host's side of a control session, as a state machine without I/O.
//!
//! The caller feeds notifications, responses, failures and the time, and makes the control
//! transfers [`ControlSession::poll_transmit`] asks for, in that order. Answers and indications come out
//! of [`ControlSession::poll_event`]. After any input: transmit until `None`, take events until `None`,
//! then sleep until [`ControlSession::poll_timeout`] and call [`ControlSession::handle_timeout`].
//!
//! What devices do, and what is done about it:
//! - slow start: OPEN is repeated with new transaction ids until the overall timeout;
//! - a session left over from before: an unmatched CLOSE_DONE while opening is answered by CLOSE,
//!   then OPEN;
//! - stray OPEN_DONEs that reuse the id of the next command (a Huawei trait): answers match on id
//!   *and* type, anything else is counted and dropped;
//! - notifications lost or in storms, empty and stalled reads: each notification earns one read, empty
//!   ones are spaced out, and a slow poll makes up for notifications that never came;
//! - answers out of order, interleaved fragments, missing fragments: see [`crate::fragment`];
//! - floods of indications: the queue is bounded, where it is full an indication replaces the
//!   waiting one of its kind or the oldest.

mod machine;
mod reads;
mod receive;
#[cfg(test)]
mod tests;
mod types;

pub use machine::ControlSession;
pub use types::*;
