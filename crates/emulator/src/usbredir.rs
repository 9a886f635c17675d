//! The emulated modem behind a virtual machine's USB controller: the usbredir protocol, spoken as
//! USB host side.
//!
//! [`listen`] waits at a Unix socket or a TCP address for a `usb-redir` device of QEMU, or anything
//! else that speaks the protocol as guest side. A `Connection` carries the transfers, on the
//! device's own thread. Protocol: `docs/usb-redirection-protocol.md` of usbredir, version 0.7.

mod codec;
pub(crate) mod connection;
mod server;

pub use server::listen;
