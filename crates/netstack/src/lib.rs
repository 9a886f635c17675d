//! A userspace IP stack at the end of a packet link, on smoltcp.
//!
//! Two roles over one core:
//!
//! * [`server::Server`] is a whole network behind one link: it takes packets for any address and
//!   answers ping, DNS, HTTP with generated bodies, TCP and UDP discard, UDP echo, and router
//!   solicitations. The modem emulator has it as its far side.
//! * [`client::Client`] is a host without a kernel interface: ping, TCP and UDP sockets and name
//!   lookups with blocking handles, usable from any thread.
//!
//! The link ([`link::PacketLink`]) carries whole IP packets, no Ethernet: [`memory`] for two ends
//! in one process, [`socket`] for a socket pair, one packet a message.
//!
//! # Theory of operation
//!
//! The core does no waiting: `poll(now)` moves packets and answers when it wants to be called
//! next. A thread, if one is wanted, is a loop of `poll` and [`link::Wait`]. Work per
//! poll is bounded, so a flood on the link cannot keep the stack from its timers. Backpressure
//! rather than loss: a stack whose link is full stops sending and is woken when there is room.
//!
//! Every packet is inspected before it reaches smoltcp: packets that no host should answer (from
//! nowhere, to groups, with lengths that lie) stop there, with a counter each ([`LinkCounters`]).
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
