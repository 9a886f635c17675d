//! The channel over which a client's commands reach the modem.

use std::time::Duration;

use uwwan_mbim::fields::{DecodeError, Layout};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};

use crate::failure::Failure;
use crate::modem::Handle;
use crate::status::Status;

/// Indication of the modem.
#[derive(Clone, PartialEq, Eq)]
pub struct Indication {
    /// Service and CID.
    pub id: CidId,
    /// Information buffer, as MBIM encodes it (little-endian).
    pub info: Vec<u8>,
}

impl Indication {
    /// Returns the content as a typed struct.
    ///
    /// # Errors
    /// [`DecodeError`] when the buffer does not have the layout.
    pub fn decode<T: Layout>(&self) -> Result<T, DecodeError> {
        T::decode_info(&self.info)
    }
}

/// Shows the information buffer by its length only, because it may hold personal content.
impl std::fmt::Debug for Indication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.info.len())
    }
}

/// Event from the other end of a channel.
pub(super) enum ChannelEvent {
    Answer {
        ticket: u64,
        result: Result<Response, CommandError>,
    },
    Indication(Indication),
    /// Nothing more will come, for this reason.
    Lost(Failure),
}

/// Channel to the modem: its control thread in this process, or the socket of a running `up`.
pub(super) trait Channel: Send {
    /// Sends a command under the client's ticket for it.
    fn send(&mut self, ticket: u64, command: Command, timeout: Duration) -> Result<(), Failure>;
    /// Withdraws a command.
    fn cancel(&mut self, ticket: u64);
    /// Waits for the next event, at most `patience`.
    fn wait(&mut self, patience: Duration) -> Option<ChannelEvent>;
    /// Returns the command that asks a running `up` for permission to end its data sessions; `None`
    /// where no permission is needed.
    fn insist(&mut self) -> Option<Command>;
    /// Closes the channel.
    fn close(&mut self) -> Result<(), Failure>;
    /// Returns the name of the device or the path of the socket, for messages.
    fn place(&self) -> &str;
    /// Returns the user id of the running `up` at the other end; `None` for a device opened in this
    /// process.
    fn owner(&self) -> Option<u32> {
        None
    }
    /// Returns in words who may use the modem through that `up`, if the user of this process may only
    /// read its status.
    fn operators(&self) -> Option<String> {
        None
    }
    /// Returns the handle on the driver of a device opened in this process.
    fn handle(&self) -> Option<&Handle> {
        None
    }
    /// Returns the driver's status of a device opened in this process.
    fn status(&self) -> Option<Status> {
        None
    }
}
