//! Access to the modem's control session for other programs while `up` holds it.
//!
//! Clients connect through three [entrances](crate::share), and one [`multiplexer`] serves them
//! all:
//! - the abstract socket `mbim-proxy`, to which every libmbim program connects (`mbimcli -p`); it
//!   speaks the protocol of libmbim's proxy, in which a client names the modem by a path;
//! - a socket in the runtime directory, for the program's own commands; it is also the path that
//!   names the modem on the abstract socket (`mbimcli -p -d <socket>`);
//! - a pseudo-terminal in raw mode, for programs that open a device (`mbimcli -d <terminal>`).

use uwwan_mbim::registry::CidId;
use uwwan_mbim::uuid::Uuid;

pub mod multiplexer;
mod peer;
mod subscriptions;
#[cfg(test)]
mod tests;

/// CID of a set command without content, by which a client asks for permission to end the sessions
/// that `up` holds. It is accepted on the private socket alone and never passed on to a modem.
pub(crate) const INSIST: CidId = CidId {
    service: Uuid::literal("5a1f6b0e-3c52-4d0a-9f7e-75777761006e"),
    cid: 1,
};
