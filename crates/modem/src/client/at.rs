//! Client of the AT port, whoever owns the device: it goes through a running `up`, or opens the
//! port in this process.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use uwwan_at::dialogue::Command;
use uwwan_usb::configuration::Step;
use uwwan_usb::device::{Backend, Found};
use uwwan_usb::functions;

use super::socket::{self, JsonLines};
use crate::at_port::open::{Choice, Opened, open, switch};
use crate::at_port::owner::PATIENCE;
use crate::at_port::{self, Answer, AtPort, Line, command};
use crate::failure::{Failure, FailureKind};
use crate::share::at::protocol::{Message, Request, final_result};

/// Time within which a modem has to leave the bus after `AT^RESET`.
const LEAVE: Duration = Duration::from_secs(30);
/// Time for which a modem may stay away from the bus; about 20 s are usual.
const RETURN: Duration = Duration::from_secs(120);
/// Time within which a running `up` has to get its modem back.
const RECOVER: Duration = Duration::from_secs(240);
/// Time for which the port of a modem that has just started may stay silent.
const SILENT: Duration = Duration::from_secs(60);
/// Interval at which the bus is looked at while the modem restarts.
const LOOK: Duration = Duration::from_millis(100);
/// Length of the longest message that is read from a running `up`, in bytes: the longest answer with
/// room for escapes.
const LONGEST_MESSAGE: usize = 4 << 20;
/// Time that an answer of a running `up` may take beyond the command's own, because other clients are
/// served first.
const SLACK: Duration = Duration::from_secs(180);

/// Client of an AT port.
pub struct AtClient(Owner);

enum Owner {
    /// A running `up` owns the port.
    Running(AtSocket),
    /// This process owns the port.
    Here(Box<Here>),
}

struct Here {
    backend: Arc<dyn Backend>,
    found: Found,
    /// Port that answers; `None` while the modem restarts.
    opened: Option<Opened>,
}

impl AtClient {
    /// Connects to the AT socket of a running `up` (`at.socket` in its runtime directory).
    ///
    /// # Errors
    /// [`Failure`] when nobody answers there.
    pub fn through(socket: &Path) -> Result<Self, Failure> {
        Ok(Self(Owner::Running(AtSocket::connect(socket)?)))
    }

    /// Opens the port of a device that no `up` runs.
    ///
    /// # Errors
    /// [`Failure`] when the device has no AT port, when another program holds it, or when no
    /// interface answers.
    pub fn direct(
        backend: Arc<dyn Backend>,
        found: Found,
        choice: &Choice,
    ) -> Result<Self, Failure> {
        let opened = open(&*backend, &found, choice, &mut |step| {
            tracing::info!("{step}");
        })?;
        Ok(Self(Owner::Here(Box::new(Here {
            backend,
            found,
            opened: Some(opened),
        }))))
    }

    /// Returns whether the client goes through a running `up`.
    #[must_use]
    pub fn is_through(&self) -> bool {
        matches!(self.0, Owner::Running(_))
    }

    /// Returns a description of the interface that answers; `None` when none does at present.
    ///
    /// # Errors
    /// [`Failure`] when the running `up` is gone.
    pub fn port(&mut self) -> Result<Option<String>, Failure> {
        match &mut self.0 {
            Owner::Running(socket) => socket.port(),
            Owner::Here(here) => {
                let port = here.opened.as_ref().and_then(|opened| opened.at.port());
                Ok(port.map(|port| port.to_string()))
            }
        }
    }

    /// Sends a command, with text for its prompt if it has one, and returns its answer. `timeout`,
    /// counted from the sending, replaces the usual time.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all; a refusal by the modem is in the [`Answer`].
    pub fn ask(
        &mut self,
        line: &str,
        text: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let command = command(line, text, timeout)?;
        match &mut self.0 {
            Owner::Running(socket) => socket.ask(&command, text, timeout),
            Owner::Here(here) => match &here.opened {
                Some(opened) => opened.at.ask(command),
                None => Err(at_port::away("the modem has not come back")),
            },
        }
    }

    /// Lets a running `up` send the following commands even where they end its data sessions. It
    /// does so for its owner alone.
    pub fn insist(&mut self) {
        if let Owner::Running(socket) = &mut self.0 {
            socket.insists = true;
        }
    }

    /// Subscribes to unsolicited result codes and NMEA sentences from here on.
    ///
    /// # Errors
    /// [`Failure`] when the running `up` or the device is gone.
    pub fn listen(&self) -> Result<Lines, Failure> {
        Ok(Lines(match &self.0 {
            Owner::Running(socket) => {
                let mut socket = socket.again()?;
                socket.listen()?;
                Source::Running(socket)
            }
            Owner::Here(here) => match &here.opened {
                Some(opened) => Source::Here(opened.at.subscribe(), opened.at.clone()),
                None => return Err(gone()),
            },
        }))
    }

    /// Waits until a modem that restarts has left the bus, has come back, is in the configuration
    /// with its MBIM function, and answers. `told` is called with each step in words.
    ///
    /// # Errors
    /// [`Failure`] when the modem has not come back in time.
    pub fn come_back(&mut self, told: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        match &mut self.0 {
            Owner::Running(socket) => recovered(socket),
            Owner::Here(here) => here.come_back(told),
        }
    }
}

/// Connection to the AT socket of a running `uwwan up`.
#[derive(Debug)]
struct AtSocket {
    lines: JsonLines,
    socket: PathBuf,
    /// Unsolicited result codes and NMEA sentences that have not been fetched.
    unsolicited: VecDeque<Line>,
    /// Whether commands are sent even where they end data sessions of the running `up`.
    insists: bool,
}

impl AtSocket {
    /// Connects to a socket.
    ///
    /// # Errors
    /// [`Failure`] with the socket and the reason.
    fn connect(path: &Path) -> Result<Self, Failure> {
        let (stream, _) = socket::connect(path)?;
        let lines = JsonLines::over(stream, LONGEST_MESSAGE);
        Ok(Self {
            lines: lines.map_err(at_port::system)?,
            socket: path.to_owned(),
            unsolicited: VecDeque::new(),
            insists: false,
        })
    }

    /// Returns a second connection to the same socket.
    ///
    /// # Errors
    /// Those of [`AtSocket::connect`].
    fn again(&self) -> Result<Self, Failure> {
        Self::connect(&self.socket)
    }

    /// Sends a command, with text for its prompt if it has one, and returns its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all.
    fn ask(
        &mut self,
        command: &Command,
        text: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Answer, Failure> {
        self.send(&Request::Command {
            line: command.line().to_owned(),
            text: text.map(str::to_owned),
            force: self.insists,
            timeout_ms: timeout.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
        })?;
        let patience = command.timeout() + PATIENCE + SLACK;
        match self.answer(patience)? {
            Message::Answer {
                command,
                lines,
                truncated,
                result,
            } => Ok(Answer {
                command,
                lines,
                truncated,
                result: final_result(&result),
            }),
            _ => Err(self.broken(&"the answer is to another request")),
        }
    }

    /// Subscribes to unsolicited result codes and NMEA sentences; [`AtSocket::line`] returns them
    /// from here on.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    fn listen(&mut self) -> Result<(), Failure> {
        self.send(&Request::Listen {})?;
        self.answer(Duration::from_secs(10)).map(|_| ())
    }

    /// Returns a description of the interface that answers; `None` when none does at present.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    fn port(&mut self) -> Result<Option<String>, Failure> {
        self.send(&Request::State {})?;
        match self.answer(Duration::from_secs(10))? {
            Message::State { port } => Ok(port),
            _ => Err(self.broken(&"the answer is to another request")),
        }
    }

    /// Returns the next unsolicited result code or NMEA sentence, if one comes within `patience`.
    ///
    /// # Errors
    /// [`Failure`] when the other end is gone.
    fn line(&mut self, patience: Duration) -> Result<Option<Line>, Failure> {
        if let Some(line) = self.unsolicited.pop_front() {
            return Ok(Some(line));
        }
        match self.message(Instant::now() + patience)? {
            None => Ok(None),
            Some(Message::Unsolicited(text)) => Ok(Some(Line::Unsolicited(text))),
            Some(Message::Nmea(text)) => Ok(Some(Line::Nmea(text))),
            Some(_) => Err(self.broken(&"an answer came without a request")),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let sent = self.lines.send(request);
        sent.map_err(|error| self.broken(&error))
    }

    /// Returns the next message that answers a request; unsolicited ones are kept for
    /// [`AtSocket::line`].
    fn answer(&mut self, patience: Duration) -> Result<Message, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            match self.message(deadline)? {
                None => {
                    return Err(self.broken(&format_args!("silent for {} s", patience.as_secs())));
                }
                Some(Message::Unsolicited(text)) => self.keep(Line::Unsolicited(text)),
                Some(Message::Nmea(text)) => self.keep(Line::Nmea(text)),
                Some(Message::Error(failure)) => return Err(failure),
                Some(other) => return Ok(other),
            }
        }
    }

    fn keep(&mut self, line: Line) {
        if self.unsolicited.len() < 1024 {
            self.unsolicited.push_back(line);
        }
    }

    /// Returns the next message, if one comes by `deadline`.
    fn message(&mut self, deadline: Instant) -> Result<Option<Message>, Failure> {
        match self.lines.line(deadline) {
            Ok(None) => Ok(None),
            Ok(Some(line)) if line.last() == Some(&b'\n') => serde_json::from_slice(&line)
                .map(Some)
                .map_err(|error| self.broken(&error)),
            Ok(Some(_)) => Err(at_port::away("the running uwwan has ended")),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> Failure {
        at_port::system(format!("{}: {why}", self.socket.display()))
    }
}

/// Waits until a running `up` has lost its modem and has it back.
fn recovered(socket: &mut AtSocket) -> Result<(), Failure> {
    let mut failed = None;
    let mut port_is = |there: bool| match socket.port() {
        Ok(port) => port.is_some() == there,
        Err(error) => {
            failed = Some(error);
            true
        }
    };
    let back = until(LEAVE, || port_is(false)) && until(RECOVER, || port_is(true));
    match failed {
        Some(error) => Err(error),
        None if back => Ok(()),
        None => Err(at_port::away(
            "uwwan has not brought the modem back; `uwwan status` tells where it is",
        )),
    }
}

impl Here {
    /// Returns the device at the port where it was, if there is one.
    fn look(&self) -> Option<Found> {
        let devices = self.backend.devices().ok()?;
        devices
            .into_iter()
            .find(|found| found.identity.port == self.found.identity.port)
    }

    fn has_left(&self) -> bool {
        let silent = self
            .opened
            .as_ref()
            .is_none_or(|opened| opened.at.port().is_none());
        silent
            || self
                .look()
                .is_none_or(|found| found.identity.address != self.found.identity.address)
    }

    fn come_back(&mut self, told: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        if !until(LEAVE, || self.has_left()) {
            return Err(at_port::system(format!(
                "the modem took AT^RESET but is still there after {} s",
                LEAVE.as_secs()
            )));
        }
        self.opened = None;
        let mut ended = None;
        until(RETURN, || {
            let Some(found) = self.look() else {
                return false;
            };
            self.found = found;
            // The device that is found may be the one that is about to leave.
            let result = self.reopen(told);
            let leaves = matches!(&result, Err(failure) if failure.kind == FailureKind::Gone);
            ended = Some(result);
            !leaves
        });
        ended.unwrap_or_else(|| {
            Err(at_port::away(format!(
                "it has not come back to port {1} within {0} s",
                RETURN.as_secs(),
                self.found.identity.port
            )))
        })
    }

    /// Opens the port of the device that was found, in the configuration with the MBIM function.
    fn reopen(&mut self, told: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        let device = self.backend.open(&self.found).map_err(at_port::usb)?;
        if let Some(mbim) = functions::mbim(device.descriptors()).first() {
            switch(&*device, mbim.configuration, None, &mut |step| {
                tracing::debug!("{step}");
                if let Step::Configured(value) = step {
                    told(&format!("configuration {value} selected"));
                }
            })?;
        }
        drop(device);
        let choice = Choice {
            patience: SILENT,
            ..Choice::default()
        };
        self.opened = Some(open(&*self.backend, &self.found, &choice, &mut |_| {})?);
        Ok(())
    }
}

fn until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

fn gone() -> Failure {
    at_port::away("the device is gone")
}

/// Subscription to unsolicited result codes and NMEA sentences of a port.
pub struct Lines(Source);

enum Source {
    Running(AtSocket),
    Here(Receiver<Line>, AtPort),
}

impl Lines {
    /// Returns the next line, if one comes within `patience`.
    ///
    /// # Errors
    /// [`Failure`] when nothing more will come.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Line>, Failure> {
        match &mut self.0 {
            Source::Running(socket) => socket.line(patience),
            Source::Here(lines, port) => match lines.recv_timeout(patience) {
                Ok(line) => Ok(Some(line)),
                Err(RecvTimeoutError::Timeout) if port.port().is_some() => Ok(None),
                Err(_) => Err(gone()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::status::tests::refusing;

    #[test]
    fn a_refusal_is_heard_though_the_connection_is_closed_before_the_command() {
        let refusal = Failure::new(FailureKind::Permission, "you may not");
        let (_folder, path, thread) = refusing(&Message::Error(refusal));
        let mut socket = AtSocket::connect(&path).unwrap();
        thread.join().unwrap();
        let failure = socket.port().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permission);
        let failure = socket.port().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);
    }
}
