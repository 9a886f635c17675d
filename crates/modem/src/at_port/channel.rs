//! The trait of an open channel to a function that takes AT commands.

use crossbeam_channel::Receiver;

/// Message of a channel's reader.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Bytes of the modem.
    Bytes(Vec<u8>),
    /// Nothing more will come, for this reason.
    Lost(String),
}

/// Open channel to a function that takes AT commands. Dropping it releases the function.
pub(super) trait Channel: Send {
    /// Sends bytes and waits until the device has taken them.
    ///
    /// # Errors
    /// The reason in words, when the device is gone or refuses the bytes.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Returns the end at which the bytes of the modem arrive.
    fn incoming(&self) -> &Receiver<Incoming>;

    /// Records that the network function has a response to an encapsulated command.
    fn response_available(&self) {}
}
