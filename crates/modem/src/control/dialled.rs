//! The control session of a modem that is dialled by AT commands. A function in this process
//! answers it in place of the device.

use std::sync::Arc;
use std::time::Instant;

use uwwan_mbim::session::{ReadError, Transmit};

use super::Control;
use crate::askers::Message;
use crate::at_port::{self, AtPort};
use crate::dialled::{self, Dialled, RESPONSE_AVAILABLE};
use crate::explain;
use crate::failure::{Failure, Rung};

impl Control {
    /// Attaches the device to the AT port, and starts the function that answers through it.
    ///
    /// # Errors
    /// [`Failure`] when the system refuses a thread.
    pub(super) fn start_dialled(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            explain::failure(
                Rung::Claim,
                true,
                format!("start the AT port: {error}"),
                "the system has no thread left",
                "raise the limits (`ulimit -u`)",
            )
        };
        let at = match &self.shared.at {
            Some(at) => at.clone(),
            None => AtPort::start().map_err(failed)?,
        };
        let Some(held) = self.device.as_mut() else {
            return Ok(());
        };
        let ports = at_port::candidates(
            held.device.descriptors(),
            held.function.configuration,
            self.quirk,
            Some(held.function.control_interface),
        );
        at.attach(Arc::clone(&held.device), ports);
        held.at = Some(at.clone());
        let outbox = self.outbox.clone();
        // A modem that reports faster than the control thread reads gets no more memory; further
        // fragments are lost.
        let told = move |fragment| {
            outbox.len() >= dialled::MOST_WAITING || outbox.send(Message::Dialled(fragment)).is_ok()
        };
        held.dialled = Some(Dialled::start(at, self.quirk.ussd, told).map_err(failed)?);
        Ok(())
    }

    /// Takes a fragment of a message from the function.
    pub(super) fn dialled_told(&mut self, fragment: Vec<u8>) {
        let held = self.device.as_mut();
        if let Some(dialled) = held.and_then(|held| held.dialled.as_mut()) {
            dialled.keep(fragment);
            self.control_session
                .handle_notification(Instant::now(), &RESPONSE_AVAILABLE);
        }
    }

    /// Carries out a transfer that the control session wants of the function.
    pub(super) fn transfer_dialled(&mut self, transmit: Transmit) {
        let now = Instant::now();
        let held = self.device.as_mut();
        let Some(dialled) = held.and_then(|held| held.dialled.as_mut()) else {
            return self.control_session.handle_lost("the AT port is gone");
        };
        match transmit {
            Transmit::SendEncapsulated(message) => dialled.send(message),
            Transmit::GetEncapsulated => match dialled.read() {
                Some(fragment) => self.control_session.handle_response(now, &fragment),
                None => self
                    .control_session
                    .handle_read_error(now, &ReadError::Stall),
            },
        }
    }
}
