//! One modem, or one USB network device: quirks, bring-up, control session, data path and
//! supervision.
//!
//! The program is written on this library. [`Modem::start`] takes a USB
//! [backend](uwwan_usb::device::Backend), a [`Selector`], [`Options`], a [`HostProvider`] for the
//! host interface and an observer for [`Event`]s. It returns a [`Handle`] that reports the
//! [`Status`], stops the modem and waits for its end.
//!
//! # The rooms
//! - [`quirks`]: the table of the facts known of each modem.
//! - `ladder`: the bring-up as a state machine without I/O.
//! - `session`: a data session as a state machine without I/O.
//! - [`heal`]: the steps that are taken when nothing comes back from a device of which nothing is
//!   known.
//! - `explain`: the texts of failures, with their likely cause and the next step.
//! - `control`: the thread that owns the device and the control session and climbs the ladder.
//! - `datapath`: the reactor that moves packets between the bulk endpoints and the host interface;
//!   the theory of operation stands at its head.
//! - [`at_port`]: the AT port with its clients; [`ipv6`]: the reason why IPv6 is refused, and the
//!   way to unlock it.
//! - [`host`]: the host interface as a trait, and the TUN or TAP interface behind it.
//! - `kind`: MBIM modem, plain Ethernet function (CDC-NCM), or modem that is dialled by AT commands;
//!   `dialled`: the control session of the latter.
//! - [`client`]: clients of the control session and of the AT port for the program's commands, with
//!   or without a running `up`, and of a running `up`'s status.
//! - [`capture`]: the transfers on USB, recorded as files for Wireshark.
//! - [`share`]: the services for other programs of the machine, and the one loop that serves them;
//!   [`proxy`]: the multiplexer of many clients on the control session.
//! - [`status`], [`event`], [`failure`], [`options`], [`selector`]: the types a program sees.
//!
//! # Threads
//! A running modem has these threads, however many clients it has:
//! - `uwwan-control` owns the device and the control session, because USB control requests block.
//! - `uwwan-data` moves packets, at a priority of its own.
//! - `uwwan-at` owns the AT dialogue, whose writes to the device block, and `uwwan-at-read` waits
//!   for what the port sends: nothing wakes a thread that waits for a transfer, and the dialogue
//!   has to learn of commands at once.
//! - `uwwan-dial`, with a modem that is dialled by AT commands, answers the control session by them.
//! - `uwwan-watch`, one for each host interface that the driver configures, sleeps until the kernel
//!   reports a change of its addresses or routes: the control thread waits on channels, not on sockets.
//! - `uwwan-capture` writes captures while there are any, so that a slow disk delays no transfer.
//! - One thread serves local programs: `uwwan-share`, or the caller's own
//!   ([`share::Builder::serve_here`]).
//!
//! `uwwan up` has four more: its first, which serves local programs; `signals`, so that a second
//! Ctrl-C ends it whatever the others do; `output` and `errors`, so that a stream that nobody reads
//! delays nothing, nor the other stream: a write to a file may block even when poll(2) reported the
//! file as ready. The emulated modem adds `emulated-modem` and `uwwan-far-side`.
//! Some options add threads whose work blocks: `--metrics` has one that accepts clients and one for each of
//! them, `--net userspace` has `uwwan-netstack` for each data session and two for each flow, and a hook has
//! one while it runs.
//! With a monitor beside it, all of these are threads of the driver's process; the monitor's process has
//! its first, which answers the driver, a `uwwan-watch` for each interface, and for ModemManager
//! `uwwan-manager` with two of zbus: its executor and the reactor of async-io.

#![deny(unsafe_code)]

mod addresses;
pub mod asking;
pub mod at_port;
pub mod capture;
pub mod client;
pub mod composition;
mod counters;
mod datapath;
pub mod diagnosis;
mod dialled;
pub mod event;
pub mod failure;
pub mod fcc;
pub mod heal;
pub mod host;
pub mod ipv6;
pub mod join;
mod ladder;
mod layout;
pub mod options;
pub mod pin_memory;
pub mod proxy;
pub mod quirks;
mod secret;
pub mod selector;
mod session;
pub mod share;
pub mod state_file;
pub mod status;
mod supervisor;

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod neighbour;
mod probe;
mod watch;

mod askers;
mod control;
mod explain;
mod function;
mod kind;
mod modem;
mod packet;
mod permissions;
mod poll;
pub mod raw;
mod shared;
mod stream;
mod words;

pub use diagnosis::{Diagnosis, DiagnosisKind};
pub use event::Event;
pub use failure::{Code, Failure, FailureKind, Place, Rung};
pub use host::{HostConfig, HostControl, HostData, HostEnd, HostProvider};
pub use kind::usual_mode;
pub use modem::{Handle, Modem};
pub use options::Options;
pub use selector::Selector;
pub use status::Status;
