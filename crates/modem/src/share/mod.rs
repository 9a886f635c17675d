//! What a running modem offers to other programs of the machine.
//!
//! ```text
//!  sockets, terminals ──> server: one thread, one poll loop ──bytes──> services ──> the modem
//! ```
//!
//! - `listener`, `credentials`, `terminals`: the entrances. A Unix socket or an abstract name, with
//!   the policy of who may come in; a pseudo-terminal for each opener.
//! - `server`: the loop that moves bytes between the entrances' clients and the services.
//! - `service`: what a service is: bytes and time in, bytes out. Services know nothing of sockets.
//! - `status`: status and orders, a JSON object a line. `at`: the AT port, for terminals and in JSON
//!   lines. `mbim`: the control session, in the protocol of libmbim's proxy.
//!
//! A program puts together what it offers with a [`Builder`]. [`Builder::serve`] serves it from a
//! thread of its own until the [`Server`] is dropped, [`Builder::serve_here`] from the thread that
//! calls it.
//!
//! # Bounds
//! Each service bounds its clients, and what it holds for one in each direction. A client that
//! sends faster than it is answered is read no further. Nobody waits for a client: what it does not
//! take stays in its service's output, which has a bound and a time-out.

mod at;
mod credentials;
mod listener;
mod mbim;
mod server;
pub(crate) mod service;
mod status;
mod terminals;
#[cfg(test)]
mod tests;

pub use crate::poll::Waker;
pub use at::Places;
pub use credentials::Allow;
pub use mbim::{MbimEntrances, MbimOptions, MbimStatus, PUBLIC_NAME};
pub use server::{Builder, Server};
pub use status::{Changes, Reply, Request, Responder};
