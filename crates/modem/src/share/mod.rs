//! Services that a running modem offers to other programs of the machine.
//!
//! ```text
//!  sockets, terminals ──> server: one thread, one poll loop ──bytes──> services ──> the modem
//! ```
//!
//! - `listener`, `credentials`, `terminals`: the entrances. An entrance is a Unix socket or an
//!   abstract name, with the policy that decides who may use it, or a name behind which each opener
//!   gets a pseudo-terminal of its own.
//! - `descriptors`: bytes with open descriptors beside them.
//! - `server`: the loop that moves bytes between the entrances' clients and the services.
//! - `service`: the trait of a service, which turns the bytes of its clients and the time into
//!   bytes for its clients. Services know nothing of sockets.
//! - `status`: status, orders and captures, one JSON object in each line. `stream`: the bytes of a
//!   capture for a client. `at`: the AT port, for terminals and in JSON lines. `mbim`: the control
//!   session, in the protocol of libmbim's proxy.
//!
//! A program collects its services in a [`Builder`]. [`Builder::serve`] serves them from a thread
//! of its own until the [`Server`] is dropped, [`Builder::serve_here`] from the thread that calls
//! it.
//!
//! # Bounds
//! Each service bounds the number of its clients and the bytes it holds for one in each direction.
//! Nothing more is read from a client that sends faster than it is answered. The server waits for
//! no client: bytes that a client does not take stay in its service's output, which has a bound and
//! a time limit.

pub(crate) mod at;
mod credentials;
pub(crate) mod descriptors;
#[cfg(test)]
mod every_command;
#[cfg(test)]
mod joining;
mod listener;
mod mbim;
mod sending;
mod server;
pub(crate) mod service;
mod status;
mod stream;
mod terminals;
#[cfg(test)]
mod tests;

pub use crate::poll::Waker;
pub use at::AtOptions;
pub use credentials::{Allow, Policy};
pub use mbim::{MbimEntrances, MbimOptions, MbimStatus, PUBLIC_NAME};
pub use sending::Sending;
pub use server::{Builder, Server};
#[cfg(fuzzing)]
pub(crate) use status::control_service;
pub use status::{Changes, Reply, Request, Responder};
