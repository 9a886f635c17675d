//! What a client needs of whoever carries its commands.

use std::time::Duration;

use uwwan_mbim::fields::{DecodeError, Layout};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, CommandError, Response};

use crate::failure::Failure;
use crate::status::Status;

/// An indication.
#[derive(Clone, PartialEq, Eq)]
pub struct Indication {
    /// Service and number.
    pub id: CidId,
    /// Information buffer.
    pub info: Vec<u8>,
}

impl Indication {
    /// The content as a typed struct.
    ///
    /// # Errors
    /// When the buffer is not what the layout says.
    pub fn decode<T: Layout>(&self) -> Result<T, DecodeError> {
        T::decode_info(&self.info)
    }
}

/// The information buffer is shown by its length only: it may hold personal content.
impl std::fmt::Debug for Indication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.info.len())
    }
}

/// What comes from the other end.
pub(super) enum ChannelEvent {
    Answer {
        ticket: u64,
        result: Result<Response, CommandError>,
    },
    Indication(Indication),
    /// Nothing more will come.
    Lost(Failure),
}

/// The channel to the modem: its control thread in this process, or the socket of a running `up`.
pub(super) trait Channel: Send {
    /// Sends a command under the asker's name for it.
    fn send(&mut self, ticket: u64, command: Command, timeout: Duration) -> Result<(), Failure>;
    /// Withdraws a command.
    fn cancel(&mut self, ticket: u64);
    /// Waits for what comes next.
    fn wait(&mut self, patience: Duration) -> Option<ChannelEvent>;
    /// Asks that this client may also end what a running `up` holds.
    fn insist(&mut self) -> Option<Command>;
    /// Ends it properly.
    fn close(&mut self) -> Result<(), Failure>;
    /// The device or socket, for messages.
    fn place(&self) -> &str;
    /// What the driver knows of a device opened here.
    fn status(&self) -> Option<Status> {
        None
    }
}
