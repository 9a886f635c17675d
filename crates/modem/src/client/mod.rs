//! Clients of the control session, for the program's commands, whoever owns the device.
//!
//! [`AtClient`] does the same for AT commands. [`StatusClient`] asks a running `up` for its status,
//! and asks it to stop.
//!
//! [`Client::direct`] opens the device itself and climbs no further than an open control session;
//! [`Client::through`] connects to the socket in the runtime directory of a running `up`. Both
//! offer the same: commands with their answers, indications, cancellation.
//!
//! ```no_run
//! use std::time::Duration;
//! use uwwan_mbim::services::basic_connect::{self as bc, DeviceCaps};
//! use uwwan_mbim::session::Command;
//! use uwwan_modem::Failure;
//! use uwwan_modem::client::Client;
//!
//! # fn scan(socket: &std::path::Path) -> Result<(), Failure> {
//! let mut client = Client::through(socket)?;
//! let caps: DeviceCaps = client.query(bc::DEVICE_CAPS)?;
//! println!("{}", caps.hardware_info);
//!
//! // A command that takes long shows that it goes on, and can be ended:
//! let scan = client.start(Command::query(bc::VISIBLE_PROVIDERS), Duration::from_secs(240))?;
//! let answer = loop {
//!     match client.poll(scan, Duration::from_millis(200))? {
//!         Some(answer) => break answer,
//!         None => print!("."),
//!     }
//!     # let interrupted = false;
//!     if interrupted {
//!         client.cancel(scan);
//!     }
//! };
//! # drop(answer);
//! client.close()
//! # }
//! ```

mod at;
mod channel;
mod direct;
mod error;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod through;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    DEVICE_SERVICE_SUBSCRIBE_LIST, DeviceServiceSubscribeList, EventEntry,
};
use uwwan_mbim::session::{Command, CommandError, Response};
use uwwan_mbim::status::{NwError, Status as MbimStatus};
use uwwan_usb::device::Backend;

pub use at::{AtClient, Lines};
pub use channel::Indication;
pub use error::interrupted;
pub use socket::{LOCK, STATUS_SOCKET, SYSTEM, reach, reach_any_user};
pub use status::{JoinedThrough, StatusClient};

use crate::failure::{Code, Failure, FailureKind};
use crate::modem::Handle;
use crate::options::Options;
use crate::raw::{Listener, To};
use crate::selector::Selector;
use crate::status::Status;
use channel::{Channel, ChannelEvent};

/// Time within which a modem has to answer a query from its own state.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time within which a modem has to answer a command that not every firmware answers.
const OPTIONAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time within which a modem has to carry out a set command of the typed methods.
const SET_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time until an interruption is noticed.
const TURN: Duration = Duration::from_millis(100);
/// Largest number of indications that are kept until they are fetched; beyond it the oldest are
/// dropped.
const MOST_INDICATIONS: usize = 1024;

/// Handle on a command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pending(u64);

struct Waiting {
    id: CidId,
    deadline: Instant,
    timeout: Duration,
    result: Option<Result<Response, Failure>>,
}

/// Answer to a command that not every firmware answers, or the reason in words why there is none.
pub type Optional<T> = Result<T, String>;

/// Control session with a modem. Dropping it closes it, as [`Client::close`] does.
pub struct Client {
    channel: Box<dyn Channel>,
    /// Returns whether a wait is to end without a result.
    interrupted: Box<dyn FnMut() -> bool + Send>,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    indications: VecDeque<Indication>,
    lost: Option<Failure>,
    closed: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("place", &self.channel.place())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the device itself, for use when no `up` runs. Kernel drivers are detached, the MBIM
    /// configuration is entered and a control session is opened. There is no data path, and no rung
    /// above the open control session is tried. The modem stays in the MBIM configuration
    /// afterwards.
    ///
    /// # Errors
    /// [`Failure`] with the rung that was not reached.
    pub fn direct(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
    ) -> Result<Self, Failure> {
        let channel = direct::Direct::open(backend, selector, options)?;
        Ok(Self::over(Box::new(channel)))
    }

    /// Connects to the control session's socket of a running `up` (`mbim` in its runtime
    /// directory).
    ///
    /// # Errors
    /// [`Failure`] of the kind `NotRunning`, `Permission`, or `NotOpen` when the modem is not
    /// reachable at present.
    pub fn through(path: &Path) -> Result<Self, Failure> {
        Ok(Self::over(Box::new(through::Through::connect(path)?)))
    }

    /// Returns a client beside the driver that this process itself runs. Closing the client leaves
    /// the driver as it is.
    ///
    /// # Errors
    /// [`Failure`] of the bring-up, or of the kind `Gone`, when the driver has ended; of the kind
    /// `NotOpen` when its control session stays closed for 40 s.
    pub fn beside(handle: &Handle) -> Result<Self, Failure> {
        Ok(Self::over(Box::new(direct::Direct::beside(handle)?)))
    }

    fn over(channel: Box<dyn Channel>) -> Self {
        Self {
            channel,
            interrupted: Box::new(|| false),
            next: 1,
            waiting: BTreeMap::new(),
            indications: VecDeque::new(),
            lost: None,
            closed: false,
        }
    }

    /// Returns the name of the device or the path of the socket, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        self.channel.place()
    }

    /// Returns the driver's status of a device opened in this process, and `None` for a running
    /// `up`, which reports it on its control socket.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.channel.status()
    }

    /// Ends waits once `interrupted` returns `true`; it is called ten times a second. This concerns
    /// the waits of [`Client::command`] and all that is built on it, and those of
    /// [`Client::next_indication`]. The command that is waited for is withdrawn.
    pub fn interrupt_by(&mut self, interrupted: impl FnMut() -> bool + Send + 'static) {
        self.interrupted = Box::new(interrupted);
    }

    /// Sends a command and returns its answer, whatever its status.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer, of the kind `Cancelled` after an interruption.
    pub fn command(&mut self, command: Command, timeout: Duration) -> Result<Response, Failure> {
        let what = command.id.to_string();
        let pending = self.start(command, timeout)?;
        loop {
            if let Some(response) = self.poll(pending, TURN)? {
                return Ok(response);
            }
            if (self.interrupted)() {
                self.cancel(pending);
                return Err(interrupted(&what));
            }
        }
    }

    /// Sends a command. [`Client::poll`] returns the answer; several commands may be under way.
    ///
    /// # Errors
    /// [`Failure`] when the command cannot be sent.
    pub fn start(&mut self, command: Command, timeout: Duration) -> Result<Pending, Failure> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        let ticket = self.next;
        self.next += 1;
        let id = command.id;
        self.channel.send(ticket, command, timeout)?;
        let waiting = Waiting {
            id,
            deadline: Instant::now() + timeout,
            timeout,
            result: None,
        };
        self.waiting.insert(ticket, waiting);
        Ok(Pending(ticket))
    }

    /// Waits for the answer at most `patience` and returns it, or `None` when it has not come yet.
    ///
    /// # Errors
    /// [`Failure`] when there will be no answer. After an answer or an error the command is
    /// forgotten: polling it again fails with the kind `Cancelled`.
    pub fn poll(
        &mut self,
        pending: Pending,
        patience: Duration,
    ) -> Result<Option<Response>, Failure> {
        let until = Instant::now() + patience.min(Duration::from_secs(86_400));
        loop {
            let now = Instant::now();
            let Some(waiting) = self.waiting.get_mut(&pending.0) else {
                return Err(Failure::new(FailureKind::Cancelled, "wait for an answer")
                    .at(self.channel.place())
                    .because("the command was cancelled, or its answer was fetched before"));
            };
            if let Some(result) = waiting.result.take() {
                self.waiting.remove(&pending.0);
                return result.map(Some);
            }
            let (id, deadline, timeout) = (waiting.id, waiting.deadline, waiting.timeout);
            if now >= deadline {
                self.waiting.remove(&pending.0);
                self.channel.cancel(pending.0);
                return Err(error::command(
                    &id.to_string(),
                    self.channel.place(),
                    CommandError::Timeout(timeout),
                ));
            }
            if now >= until {
                return Ok(None);
            }
            self.take(until.min(deadline) - now);
        }
    }

    /// Withdraws a command, towards the modem too. The modem may carry it out all the same.
    pub fn cancel(&mut self, pending: Pending) {
        if self.waiting.remove(&pending.0).is_some() {
            self.channel.cancel(pending.0);
        }
    }

    /// Sends control messages as they are, one for each transfer, and returns what follows until the
    /// time to wait is over.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when there is nothing or too much to send, and over the socket of a
    /// running `up`, which takes such an order at its control socket: [`StatusClient::send_raw`].
    pub fn send_raw(&self, transfers: Vec<Vec<u8>>, wait: Duration) -> Result<Listener, Failure> {
        let Some(handle) = self.channel.handle() else {
            return Err(Failure::new(FailureKind::Usage, "cannot send the bytes")
                .at(self.channel.place())
                .because("this socket takes whole messages alone"));
        };
        handle.send_raw(To::Control, transfers, wait, None)
    }

    /// Sends a query without content and returns the content of the answer, for which the modem has
    /// 10 s.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer, with the status when the modem refuses, and of the kind
    /// `Unreadable` when the answer cannot be decoded.
    pub fn query<A: Layout>(&mut self, id: CidId) -> Result<A, Failure> {
        self.content_of(Command::query(id), QUERY_TIMEOUT)
    }

    /// Sends a query with content and returns the content of the answer.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub fn query_with<A: Layout>(
        &mut self,
        id: CidId,
        content: &impl Layout,
    ) -> Result<A, Failure> {
        self.content_of(Command::query_with(id, content), QUERY_TIMEOUT)
    }

    /// Sends a command that not every firmware answers, and waits 5 s for the answer.
    ///
    /// # Errors
    /// [`Failure`] when the modem is lost, and of the kind `Cancelled` after an interruption.
    pub fn optional<A: Layout>(&mut self, command: Command) -> Result<Optional<A>, Failure> {
        match self.command(command, OPTIONAL_TIMEOUT) {
            Ok(response) if response.status.is_success() => {
                Ok(response.decode().map_err(|error| error.to_string()))
            }
            Ok(response) => Ok(Err(response.status.name())),
            Err(failure) => match (failure.kind, failure.code) {
                (FailureKind::Timeout, _) => Ok(Err("no answer".to_owned())),
                (_, Some(Code::Protocol(code))) => Ok(Err(code.to_string())),
                _ => Err(failure),
            },
        }
    }

    /// Sends a set command and returns the content of the answer, for which the modem has 30 s.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub fn set<A: Layout>(&mut self, id: CidId, content: &impl Layout) -> Result<A, Failure> {
        self.content_of(Command::set(id, content), SET_TIMEOUT)
    }

    fn content_of<A: Layout>(&mut self, command: Command, timeout: Duration) -> Result<A, Failure> {
        let response = self.command(command, timeout)?;
        self.content(&response)
    }

    /// Returns the content of an answer that must be a success.
    ///
    /// # Errors
    /// [`Failure`] with the status, or of the kind `Unreadable` when the content cannot be decoded.
    pub fn content<A: Layout>(&self, response: &Response) -> Result<A, Failure> {
        self.succeeded(response)?;
        response.decode().map_err(|error| {
            let what = error::unreadable(&response.id.to_string());
            Failure::new(FailureKind::Unreadable, what)
                .at(self.place())
                .because(format!("the answer makes no sense: {error}"))
                .next("report it with the message as hex (`uwwan mbim send`)")
        })
    }

    fn succeeded(&self, response: &Response) -> Result<(), Failure> {
        if response.status.is_success() {
            return Ok(());
        }
        let what = format!("the modem refuses {}", response.id);
        Err(self.refusal(what, response.status, None))
    }

    /// Returns the failure for a status that refuses `what`, with the network's cause if it gave
    /// one, and with a next step where the status suggests one.
    #[must_use]
    pub fn refusal(
        &self,
        what: impl Into<String>,
        status: MbimStatus,
        cause: Option<NwError>,
    ) -> Failure {
        let failure = error::refusal(what, status, cause, self.channel.owner()).at(self.place());
        if status == MbimStatus::OPERATION_NOT_ALLOWED
            && let Some(operators) = self.channel.operators()
        {
            return error::not_operator(failure, &operators);
        }
        failure
    }

    /// Chooses the indications that [`Client::next_indication`] returns, in place of the modem's
    /// standard set.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub fn subscribe(&mut self, ids: &[CidId]) -> Result<(), Failure> {
        let mut list = DeviceServiceSubscribeList::default();
        for id in ids {
            let entry = list
                .events
                .iter_mut()
                .find(|entry| entry.device_service_id == id.service);
            match entry {
                Some(entry) => entry.cids.push(id.cid),
                None => list.events.push(EventEntry {
                    device_service_id: id.service,
                    cids: vec![id.cid],
                }),
            }
        }
        let command = Command::set(DEVICE_SERVICE_SUBSCRIBE_LIST, &list);
        let response = self.command(command, SET_TIMEOUT)?;
        self.succeeded(&response)
    }

    /// Returns the next indication, if one comes within `patience`.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Gone` when no more will come, and `Cancelled` after an interruption.
    pub fn next_indication(&mut self, patience: Duration) -> Result<Option<Indication>, Failure> {
        let until = Instant::now() + patience.min(Duration::from_secs(86_400));
        loop {
            if let Some(indication) = self.indications.pop_front() {
                return Ok(Some(indication));
            }
            if let Some(error) = &self.lost {
                return Err(error.clone());
            }
            let now = Instant::now();
            if now >= until {
                return Ok(None);
            }
            if (self.interrupted)() {
                return Err(interrupted("waiting for the modem"));
            }
            self.take(TURN.min(until - now));
        }
    }

    /// Asks a running `up` for permission to send commands that end its data sessions: disconnect,
    /// detach, radio off, reset. Commands of the program with `--force` use it. Without a running
    /// `up` no permission is needed.
    ///
    /// # Errors
    /// [`Failure`] when `up` refuses.
    pub fn insist(&mut self) -> Result<(), Failure> {
        let Some(command) = self.channel.insist() else {
            return Ok(());
        };
        let response = self.command(command, SET_TIMEOUT)?;
        if response.status.is_success() {
            return Ok(());
        }
        let what = "what `uwwan up` holds may not be ended";
        Err(self.refusal(what, response.status, None))
    }

    /// Closes the control session and releases the device.
    ///
    /// # Errors
    /// [`Failure`] when the modem did not confirm that; the client is closed all the same.
    pub fn close(mut self) -> Result<(), Failure> {
        self.closed = true;
        self.channel.close()
    }

    /// Waits for one event of the channel and records it.
    fn take(&mut self, patience: Duration) {
        if self.lost.is_some() {
            return;
        }
        match self.channel.wait(patience) {
            None => {}
            Some(ChannelEvent::Answer { ticket, result }) => {
                let place = self.channel.place();
                if let Some(waiting) = self.waiting.get_mut(&ticket) {
                    let result = result
                        .map_err(|error| error::command(&waiting.id.to_string(), place, error));
                    waiting.result = Some(result);
                }
            }
            Some(ChannelEvent::Indication(indication)) => {
                if self.indications.len() >= MOST_INDICATIONS {
                    self.indications.pop_front();
                }
                self.indications.push_back(indication);
            }
            Some(ChannelEvent::Lost(error)) => {
                for waiting in self.waiting.values_mut() {
                    let error = Failure {
                        what: error::lost(&waiting.id.to_string()),
                        ..error.clone()
                    };
                    waiting.result.get_or_insert(Err(error));
                }
                self.lost = Some(error);
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.closed
            && let Err(error) = self.channel.close()
        {
            tracing::debug!("{}", error.one_line());
        }
    }
}
