//! The modem's control session for other programs, while `up` holds it.
//!
//! Clients come in by three [entrances](crate::share), and one [`multiplexer`] serves them all:
//! - the abstract socket `mbim-proxy`, where every libmbim program looks (`mbimcli -p`): the
//!   protocol of libmbim's proxy, with the modem named by a path;
//! - a socket in the runtime directory: for the program's own commands, and the path to name to
//!   the first (`mbimcli -p -d <socket>`);
//! - a pseudo-terminal in raw mode, for programs that open a device (`mbimcli -d <terminal>`).

use uwwan_mbim::registry::CidId;
use uwwan_mbim::uuid::Uuid;

mod guard;
pub mod multiplexer;
mod peer;
mod subscriptions;
#[cfg(test)]
mod tests;

/// Set without content: the client asks that it may also end what `up` holds. Taken on the private
/// socket alone, and never passed on to a modem.
pub const INSIST: CidId = CidId {
    service: Uuid::literal("5a1f6b0e-3c52-4d0a-9f7e-75777761006e"),
    cid: 1,
};
