//! A userspace IP stack at the end of a packet link, on smoltcp.
//!
//! One core serves in two roles:
//!
//! - [`server::Server`] is a whole network behind one link. It takes packets for any address and
//!   answers ping, DNS, HTTP with generated bodies, TCP and UDP discard, UDP echo, and router
//!   solicitations. It is the far side of the modem emulator.
//! - [`client::Client`] is a host without a kernel interface: ping, TCP and UDP sockets and name
//!   lookups with blocking handles, usable from any thread.
//!
//! The link ([`link::PacketLink`]) carries whole IP packets, no Ethernet: [`memory`] connects two
//! ends in one process, [`socket`] is a socket pair with one packet in each message.
//!
//! # Theory of operation
//!
//! The core does not wait: `poll(now)` moves packets and returns when it must be called next. A
//! thread, where one is needed, is a loop of `poll` and [`link::Wait`]. The work of a poll is
//! bounded, so a flood on the link cannot keep the stack from its timers. A full link causes
//! backpressure and no loss: the stack stops sending and is woken when there is room.
//!
//! Every packet is inspected before it reaches smoltcp. Packets that no host should answer (from
//! the unspecified address, to groups, with wrong lengths) are dropped, and each reason has a
//! counter ([`LinkCounters`]).
#![forbid(unsafe_code)]

pub mod client;
mod core;
pub mod echo;
mod error;
mod inspect;
pub mod link;
pub mod memory;
pub mod pattern;
mod port;
pub mod router;
pub mod server;
pub mod socket;

pub use crate::core::{Checksums, CongestionControl, StackConfig};
pub use crate::error::Error;
pub use crate::port::LinkCounters;

/// The examples in the README are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
