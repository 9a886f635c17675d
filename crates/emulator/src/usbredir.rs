//! The emulated modem behind a virtual machine's USB controller, by the usbredir protocol, of which
//! this is the USB host side.
//!
//! [`listen`] waits at a Unix socket or a TCP address for a `usb-redir` device of QEMU, or any
//! other program with the guest side of the protocol. A `Connection` carries the transfers, on the
//! device's own thread. The protocol is described in `docs/usb-redirection-protocol.md` of
//! usbredir, version 0.7.

mod codec;
pub(crate) mod connection;
mod server;

pub use server::listen;
