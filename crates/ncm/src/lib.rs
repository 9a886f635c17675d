//! NCM Transfer Blocks (NTBs): built and parsed in place, without I/O and without allocation on
//! the way of a packet.
//!
//! An NTB is one USB transfer full of datagrams: a header (NTH) at its start, the datagrams, and
//! one or more NCM Datagram Pointers (NDPs) saying where each datagram lies. CDC NCM 1.0 carries
//! Ethernet frames in it, MBIM 1.0 carries IP packets and raw device streams, several sessions at
//! once. Both come with 16-bit fields (NTB16) or 32-bit fields (NTB32); all code here serves both
//! from one table of field positions, so that a check cannot be right in one width and forgotten in
//! the other.
//!
//! # Sending
//!
//! The NDP of an lt4132 must lie *behind* the datagrams. That is what makes one pass without
//! copies natural: [`Builder::place`] says where the next datagram goes, the packet is read there
//! straight from its source, and [`Builder::finish`] writes header, NDP and padding around what
//! is already in place.
//!
//! ```
//! use uwwan_ncm::{Builder, Choices, Framing, NtbParameters, Stream};
//!
//! let framing = Framing::negotiate(&NtbParameters::FALLBACK, &Choices::default());
//! let mut ntb = vec![0; framing.max_ntb];
//! let mut builder = Builder::new(framing);
//!
//! let packet = [0x45; 60];
//! let slot = builder.place(Stream::Ips(0), packet.len())?;
//! ntb[slot.offset..][..packet.len()].copy_from_slice(&packet);
//! builder.commit(slot, packet.len());
//!
//! let finished = builder.finish(&mut ntb);
//! let transfer = &ntb[..finished.length];
//! # assert_eq!(transfer.len(), 12 + 60 + 16);
//! # Ok::<(), uwwan_ncm::Full>(())
//! ```
//!
//! # Receiving
//!
//! ```
//! # use uwwan_ncm::{Limits, Receiver};
//! # let transfer: &[u8] = &[];
//! let mut receiver = Receiver::new(Limits::default());
//! receiver.receive(transfer, |datagram| {
//!     let packet = &transfer[datagram.range];
//!     // … write it out from where it is …
//! });
//! ```
//!
//! Nothing in a transfer can make the receiver panic, loop, or deliver more bytes than arrived.
//! What it refuses is counted by reason in [`DropCounters`].
#![forbid(unsafe_code)]

mod build;
mod counters;
mod crc;
mod fields;
mod framing;
mod layout;
mod link;
mod parameters;
mod parse;
pub mod strict;

pub use build::{Builder, Finished, Full, MOST_DATAGRAMS, MOST_NDPS, Mark, Slot};
pub use counters::DropCounters;
pub use fields::Field;
pub use framing::{Choices, Framing, Function, NdpSize, Padding, Placement, Sequence};
pub use layout::{Format, Stream};
pub use link::LinkHeader;
pub use parameters::NtbParameters;
pub use parse::{Datagram, Datagrams, HeaderError, Limits, Ndp, Ntb, Received, Receiver};
