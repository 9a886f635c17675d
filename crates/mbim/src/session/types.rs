//! What goes into and comes out of a [`ControlSession`](super::ControlSession).

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
    /// Number of commands the function takes at a time: `bMaxOutstandingCommandMessages` of the MBIM extended
    /// functional descriptor, 1 when it has none.
    pub max_outstanding: usize,
    /// Number of commands that may wait for their turn.
    pub max_queued: usize,
    /// Number of events kept for the caller before indications are merged or dropped.
    pub max_events: usize,
    /// Time one OPEN may take before it is sent anew.
    pub open_try: Duration,
    /// Time opening may take as a whole; slow firmware takes most of a minute.
    pub open_timeout: Duration,
    /// Time the CLOSE in front of a repeated OPEN may take.
    pub reclose_timeout: Duration,
    /// Time the answer to CLOSE may take.
    pub close_timeout: Duration,
    /// Pause between reads without a notification while an answer is awaited and nothing is heard.
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

/// Id of a command of this control session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u32);

/// A command to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Service and number of the command.
    pub id: CidId,
    /// Whether it queries or sets.
    pub kind: CommandKind,
    /// Content of the information buffer, little endian.
    pub info: Vec<u8>,
}

impl Command {
    /// Makes a query without content.
    #[must_use]
    pub const fn query(id: CidId) -> Self {
        Self {
            id,
            kind: CommandKind::QUERY,
            info: Vec::new(),
        }
    }

    /// Makes a query with content.
    #[must_use]
    pub fn query_with(id: CidId, content: &impl Layout) -> Self {
        Self {
            id,
            kind: CommandKind::QUERY,
            info: content.encode_info(),
        }
    }

    /// Makes a set.
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
    /// Service and number of the command.
    pub id: CidId,
    /// Status the modem answered with. A failure may carry content too.
    pub status: Status,
    /// Content of the information buffer, little endian.
    pub info: Vec<u8>,
}

impl Response {
    /// Reads the content as a typed struct, whatever the status.
    ///
    /// # Errors
    /// When the buffer is not what the layout says.
    pub fn decode<T: Layout>(&self) -> Result<T, DecodeError> {
        T::decode_info(&self.info)
    }
}

/// Information buffers are shown by their length only: they may hold personal content.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind, self.id, self.info.len())
    }
}

/// Information buffers are shown by their length only: they may hold personal content.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.id, self.status, self.info.len())
    }
}

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The control session is not open.
    #[error("the control session is not open")]
    NotOpen,
    /// Too many commands wait already.
    #[error("{0} commands wait for the modem already; try again later")]
    QueueFull(usize),
    /// No answer came in time. The command was cancelled towards the modem.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The caller cancelled the command.
    #[error("cancelled")]
    Cancelled,
    /// The control session was closed, or opened anew, meanwhile.
    #[error("the control session was closed before the answer came")]
    Closed,
    /// The modem was lost meanwhile.
    #[error("the modem was lost before the answer came: {0}")]
    Lost(String),
    /// The modem reports a protocol error.
    #[error("the modem reports a protocol error: {code} ({why})", code = .0, why = .0.explanation())]
    Function(ProtocolError),
    /// The command could not be sent.
    #[error("sending the command failed: {0}")]
    Transfer(String),
    /// The answer came in fragments that do not fit together.
    #[error("the answer was damaged: {0}")]
    Fragments(#[from] FragmentError),
}

/// A control transfer the caller shall make, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// SEND_ENCAPSULATED_COMMAND with these bytes. On failure call
    /// [`ControlSession::handle_send_error`](super::ControlSession::handle_send_error).
    SendEncapsulated(Vec<u8>),
    /// GET_ENCAPSULATED_RESPONSE of `max_control_message` bytes. Then call
    /// [`ControlSession::handle_response`](super::ControlSession::handle_response) with what came, even nothing, or
    /// [`ControlSession::handle_read_error`](super::ControlSession::handle_read_error). There is one at a time.
    GetEncapsulated,
}

/// How a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The function stalled: it has nothing to say.
    #[error("the function stalled the request")]
    Stall,
    /// Any other failure that may pass.
    #[error("{0}")]
    Other(String),
}

/// Something the caller should know.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The control session is open.
    Opened,
    /// The control session could not be opened.
    OpenFailed(OpenError),
    /// A command came to its end.
    Response {
        /// Id of the command.
        id: TransactionId,
        /// Answer of the modem, or why there is none.
        result: Result<Response, CommandError>,
    },
    /// The modem reports an event.
    Indication {
        /// Service and number of the command.
        id: CidId,
        /// Content of the information buffer, little endian.
        info: Vec<u8>,
    },
    /// The control session is closed as asked.
    Closed {
        /// Whether the modem confirmed it.
        confirmed: bool,
    },
    /// The control session ended by itself; open it again when the modem is reachable.
    Lost {
        /// What happened.
        why: String,
    },
}

/// Information buffers are shown by their length only: they may hold personal content.
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

/// Why opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No usable answer came within the time for opening.
    #[error("no answer to {tries} MBIM_OPEN within {} s; typical of a modem switched without passing configuration 0", .after.as_secs())]
    Silent {
        /// Number of OPENs that were sent.
        tries: u32,
        /// Time for which they were sent.
        after: Duration,
    },
    /// The modem answered with a failure.
    #[error("the modem refuses to open: {code} ({why})", code = .0, why = .0.explanation())]
    Refused(Status),
    /// The function takes no control transfer of so many bytes, and no smaller size is left to try.
    #[error("the modem refuses to open with control messages of {0} bytes: {why}", why = ProtocolError::MAX_TRANSFER.explanation())]
    MaxTransfer(usize),
    /// The modem answered with a protocol error.
    #[error("the modem refuses to open with protocol error {code} ({why})", code = .0, why = .0.explanation())]
    Protocol(ProtocolError),
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// What happened on the control channel that deserves no message of its own.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counters {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl Counters {
            /// The counters with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}
counters! {
    /// RESPONSE_AVAILABLE notifications.
    notifications,
    /// Notifications of other kinds.
    other_notifications,
    /// Notifications that are no CDC notification.
    malformed_notifications,
    /// Notifications not counted because more reads were owed than any queue holds.
    notifications_ignored,
    /// Reads made.
    reads,
    /// Reads made without a notification.
    polls,
    /// Reads that brought nothing or were stalled.
    empty_reads,
    /// Reads that failed otherwise.
    failed_reads,
    /// Messages longer than agreed.
    oversized,
    /// Bytes that are no message, or fragments that do not fit.
    garbage,
    /// Complete messages received.
    messages,
    /// OPEN_DONE nobody waits for.
    stray_open_done,
    /// CLOSE_DONE nobody waits for.
    stray_close_done,
    /// Answers nobody waits for (late, repeated, or never asked).
    stray_answers,
    /// Protocol errors that name no command of ours.
    stray_errors,
    /// Messages a function must not send.
    unexpected,
    /// Indications.
    indications,
    /// Indications received while the session was not open.
    early_indications,
    /// Indications replaced by a later one of the same kind, or dropped, as nobody fetched them.
    indications_merged,
    /// Commands without an answer in time.
    timeouts,
}

/// Where a control session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is not open.
    Closed,
    /// It is being opened.
    Opening,
    /// It is open: commands are possible.
    Open,
    /// It is being closed.
    Closing,
}
