//! The emulated modem on a virtual USB host controller, by the USB/IP protocol, of which this is
//! the server.
//!
//! [`listen`] serves `usbip attach` over TCP; [`attach`] plugs the device into this machine's own
//! `vhci_hcd` through a socket pair. In both cases a `Connection` carries the transfers, on the
//! device's own thread. The protocol is described in Linux `Documentation/usb/usbip_protocol.rst`.

mod attach;
mod codec;
pub(crate) mod connection;
mod server;

pub use attach::{AttachError, Attached, attach};
pub use server::listen;
