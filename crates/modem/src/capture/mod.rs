//! Captures of the transfers between driver and modem, as pcapng files that Wireshark dissects.
//!
//! ```text
//!  control, data, AT threads ──kept bytes, in the file's form──> queue of bounded size ──> uwwan-capture thread ──> file
//! ```
//!
//! - `captures`: the observer of the USB devices, which hands each event to the captures that run,
//!   and knows the state of the devices for one that begins late.
//! - `recorder`: one capture, as the threads whose transfers it records see it.
//! - `encoder`: puts events into the form of the file; `content`: what the data of a transfer is;
//!   `snap`: which bytes of it are kept.
//! - `queue`: the bytes that wait to be written; `file_writer`: the thread that writes them.
//! - `secrets`: blanks PINs and passwords before they are recorded.
//! - `devices`: a device's descriptors and settings, and the requests that describe them.
//! - `destination`: a file, a ring of files, or a stream.
//! - [`scrub`]: a capture without identities and payload.
//!
//! The threads that drive the modem only copy. Events that the queue has no room for are dropped,
//! counted in the file, and reported at the end.

mod captures;
mod content;
mod destination;
mod devices;
mod encoder;
mod file_writer;
mod queue;
mod recorder;
pub mod scrub;
mod secrets;
mod snap;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use captures::{Capture, Captures};
pub use destination::{Destination, Files, Ring, is_packed};
pub use recorder::Outcome;

/// Content of a capture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Number of bytes kept of each datagram of an NTB, and of each frame with an IP packet that is a
    /// transfer of its own (CDC ECM); zeros stand in the file for the rest. `None` keeps all.
    pub snap: Option<usize>,
    /// Whether the datagrams of NTBs stand in the file as IP packets too.
    pub ip: bool,
    /// Whether PINs, PUKs and passwords are kept.
    pub secrets: bool,
    /// Whether the file is a packed one ([`Writer::packed`](uwwan_capture::write::Writer::packed)), in
    /// which the bytes that [`Options::snap`] leaves out take neither room nor time.
    pub packed: bool,
}
