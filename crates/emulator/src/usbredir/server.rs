//! The server that offers the modem to virtual machines.

use super::connection::Connection;
use crate::emulator::Emulator;
use crate::server::{Listener, Place, Server};

/// Offers the emulated modem to virtual machines, one at a time. A machine that comes while another
/// one has it, or while the modem is off the bus, is hung up on; QEMU's `reconnect` lets it try
/// again.
///
/// # Errors
/// Fails when the place cannot be listened at.
pub fn listen(emulator: &Emulator, place: &Place) -> std::io::Result<Server> {
    let handle = emulator.handle().clone();
    let recorder = emulator.recorder().clone();
    let presence = handle.presence().clone();
    Server::start(
        "usbredir-server",
        Listener::at(place)?,
        presence,
        move |socket| {
            let state = handle.presence().get();
            if !state.present || state.exported {
                return;
            }
            match Connection::new(socket, recorder.clone(), handle.presence().presented()) {
                Ok(connection) => handle.connect(Box::new(connection)),
                Err(error) => tracing::debug!(%error, "usbredir guest"),
            }
        },
    )
}
