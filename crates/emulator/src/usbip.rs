//! The emulated modem on a virtual USB host controller: the USB/IP protocol, spoken as server.
//!
//! [`listen`] serves `usbip attach` over TCP, [`attach`] plugs the device into this machine's own
//! `vhci_hcd` through a socket pair. Either way a `Connection` carries the transfers, on the
//! device's own thread. Protocol: Linux `Documentation/usb/usbip_protocol.rst`.

mod attach;
mod codec;
pub(crate) mod connection;
mod server;

pub use attach::{AttachError, Attached, attach};
pub use server::listen;
