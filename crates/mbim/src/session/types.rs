//! Input and output of a [`ControlSession`](super::ControlSession).

use std::fmt;
use std::time::Duration;

use crate::fields::{DecodeError, Layout};
use crate::fragment::FragmentError;
use crate::message::CommandKind;
use crate::registry::CidId;
use crate::status::{ProtocolError, Status};

/// Settings of a control session.
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest control transfer in bytes: `wMaxControlMessage` of the function, at least 64.
    pub max_control_message: usize,
    /// Number of commands the function takes at a time: `bMaxOutstandingCommandMessages` of the
    /// MBIM extended functional descriptor, or 1 when it has none.
    pub max_outstanding: usize,
    /// Number of commands that may wait for their turn.
    pub max_queued: usize,
    /// Number of events kept for the caller before indications are merged or dropped.
    pub max_events: usize,
    /// Time one OPEN may take before it is repeated.
    pub open_try: Duration,
    /// Time opening may take as a whole; slow firmware takes most of a minute.
    pub open_timeout: Duration,
    /// Time the CLOSE in front of a repeated OPEN may take.
    pub reclose_timeout: Duration,
    /// Time the answer to CLOSE may take.
    pub close_timeout: Duration,
    /// Time without a notification after which a read is made while an answer is awaited.
    pub poll_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_control_message: 1024,
            max_outstanding: 1,
            max_queued: 64,
            max_events: 256,
            open_try: Duration::from_secs(5),
            open_timeout: Duration::from_secs(60),
            reclose_timeout: Duration::from_secs(2),
            close_timeout: Duration::from_secs(5),
            poll_interval: Duration::from_secs(1),
        }
    }
}

/// Id of the transaction that a command and its answer belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u32);

/// Command to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Service and CID of the command.
    pub id: CidId,
    /// Type of the command, query or set.
    pub kind: CommandKind,
    /// Content of the information buffer, in little-endian byte order.
    pub info: Vec<u8>,
}

impl Command {
    /// Makes a query with an empty information buffer.
    #[must_use]
    pub const fn query(id: CidId) -> Self {
        Self {
            id,
            kind: CommandKind::QUERY,
            info: Vec::new(),
        }
    }

    /// Makes a query with content in its information buffer.
    #[must_use]
    pub fn query_with(id: CidId, content: &impl Layout) -> Self {
        Self {
            id,
            kind: CommandKind::QUERY,
            info: content.encode_info(),
        }
    }

    /// Makes a set command.
    #[must_use]
    pub fn set(id: CidId, content: &impl Layout) -> Self {
        Self {
            id,
            kind: CommandKind::SET,
            info: content.encode_info(),
        }
    }
}

/// Answer to a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Service and CID of the command.
    pub id: CidId,
    /// Status of the answer. A failure may carry content too.
    pub status: Status,
    /// Content of the information buffer, in little-endian byte order.
    pub info: Vec<u8>,
}

impl Response {
    /// Decodes the content as a typed struct, whatever the status.
    ///
    /// # Errors
    /// Returns the first problem that costs a value when the buffer does not follow the layout.
    pub fn decode<T: Layout>(&self) -> Result<T, DecodeError> {
        T::decode_info(&self.info)
    }
}

/// Writes information buffers by their length only, because they may hold personal content.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind, self.id, self.info.len())
    }
}

/// Writes information buffers by their length only, because they may hold personal content.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.id, self.status, self.info.len())
    }
}

/// Reason why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The control session is not open.
    #[error("the control session is not open")]
    NotOpen,
    /// Too many commands wait already.
    #[error("{0} commands wait for the modem already; try again later")]
    QueueFull(usize),
    /// No answer came within this time. The modem was told that the command is cancelled.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The caller cancelled the command.
    #[error("cancelled")]
    Cancelled,
    /// The control session was closed or opened again before the answer came.
    #[error("the control session was closed before the answer came")]
    Closed,
    /// The modem was lost before the answer came, for the reason given.
    #[error("the modem was lost before the answer came: {0}")]
    Lost(String),
    /// The modem reported a protocol error.
    #[error("the modem reports a protocol error: {code} ({why})", code = .0, why = .0.explanation())]
    Function(ProtocolError),
    /// The command could not be sent, for the reason given.
    #[error("sending the command failed: {0}")]
    Transfer(String),
    /// The answer came in fragments that do not fit together.
    #[error("the answer was damaged: {0}")]
    Fragments(#[from] FragmentError),
}

/// Control transfer that the caller makes, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// SEND_ENCAPSULATED_COMMAND with these bytes. If it fails, the caller calls
    /// [`ControlSession::handle_send_error`](super::ControlSession::handle_send_error).
    SendEncapsulated(Vec<u8>),
    /// GET_ENCAPSULATED_RESPONSE of `max_control_message` bytes, of which there is one at a time.
    /// The caller then calls
    /// [`ControlSession::handle_response`](super::ControlSession::handle_response) with the bytes
    /// that came, even none, or
    /// [`ControlSession::handle_read_error`](super::ControlSession::handle_read_error).
    GetEncapsulated,
}

/// Failure of a read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The function stalled the request, which means that it has no message.
    #[error("the function stalled the request")]
    Stall,
    /// The read failed in another way that may pass.
    #[error("{0}")]
    Other(String),
}

/// Event that the control session reports to the caller.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The control session is open.
    Opened,
    /// The control session could not be opened.
    OpenFailed(OpenError),
    /// A command ended.
    Response {
        /// Id of the command.
        id: TransactionId,
        /// Answer of the modem, or the reason why there is none.
        result: Result<Response, CommandError>,
    },
    /// The modem sent an indication.
    Indication {
        /// Service and CID of the command.
        id: CidId,
        /// Content of the information buffer, in little-endian byte order.
        info: Vec<u8>,
    },
    /// The control session is closed, as the caller asked.
    Closed {
        /// Whether the modem confirmed the closing.
        confirmed: bool,
    },
    /// The control session ended by itself; the caller may open it again when the modem is
    /// reachable.
    Lost {
        /// Reason why the control session ended.
        why: String,
    },
}

/// Writes information buffers by their length only, because they may hold personal content.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("Opened"),
            Self::OpenFailed(error) => write!(f, "OpenFailed({error:?})"),
            Self::Response { id, result } => write!(f, "Response({}, {result:?})", id.0),
            Self::Indication { id, info } => write!(f, "Indication({id}, {} bytes)", info.len()),
            Self::Closed { confirmed } => write!(f, "Closed(confirmed: {confirmed})"),
            Self::Lost { why } => write!(f, "Lost({why})"),
        }
    }
}

/// Reason why opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No usable answer came within the time for opening.
    #[error("no answer to {tries} MBIM_OPEN within {} s; typical of a modem switched without passing configuration 0", .after.as_secs())]
    Silent {
        /// Number of OPENs that were sent.
        tries: u32,
        /// Time since the first OPEN was sent.
        after: Duration,
    },
    /// The modem answered with this failure status.
    #[error("the modem refuses to open: {code} ({why})", code = .0, why = .0.explanation())]
    Refused(Status),
    /// The function takes no control transfer of this number of bytes, and no smaller size is left
    /// to try.
    #[error("the modem refuses to open with control messages of {0} bytes: {why}", why = ProtocolError::MAX_TRANSFER.explanation())]
    MaxTransfer(usize),
    /// The modem answered with this protocol error.
    #[error("the modem refuses to open with protocol error {code} ({why})", code = .0, why = .0.explanation())]
    Protocol(ProtocolError),
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// Counters of what happened on the control channel.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counters {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl Counters {
            /// Returns the counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}
counters! {
    /// Number of RESPONSE_AVAILABLE notifications.
    notifications,
    /// Number of notifications of other kinds.
    other_notifications,
    /// Number of notifications that are no CDC notification.
    malformed_notifications,
    /// Number of times that notifications were not counted, because more reads were owed than any
    /// queue holds or because a storm of them was not kept.
    notifications_ignored,
    /// Number of reads that were made.
    reads,
    /// Number of reads that were made without a notification.
    polls,
    /// Number of reads that brought nothing or were stalled.
    empty_reads,
    /// Number of reads that failed in another way.
    failed_reads,
    /// Number of reads that brought more bytes than the largest control transfer.
    oversized,
    /// Number of reads that brought no message, or a fragment that does not fit.
    garbage,
    /// Number of complete messages that were received.
    messages,
    /// Number of OPEN_DONE messages that match no transaction.
    stray_open_done,
    /// Number of CLOSE_DONE messages that match no transaction.
    stray_close_done,
    /// Number of answers that match no command, because they are late, repeated or were never asked
    /// for.
    stray_answers,
    /// Number of protocol errors that match no transaction.
    stray_errors,
    /// Number of messages of a type that a function must not send.
    unexpected,
    /// Number of indications that were received while the control session was open.
    indications,
    /// Number of indications that were received while the control session was not open.
    early_indications,
    /// Number of indications that were replaced by a later one of the same kind, or dropped,
    /// because the queue of events was full.
    indications_merged,
    /// Number of commands without an answer in time.
    timeouts,
}

/// State of a control session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The control session is not open.
    Closed,
    /// The control session is being opened.
    Opening,
    /// The control session is open, so that commands are possible.
    Open,
    /// The control session is being closed.
    Closing,
}
