//! Client of the AT port, whoever owns the device: it goes through a running `up`, or opens the
//! port in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use uwwan_usb::configuration::Step;
use uwwan_usb::device::{Backend, Found};
use uwwan_usb::functions;

use super::at_socket::AtSocket;
use crate::at_port::open::{Choice, Opened, open, switch};
use crate::at_port::{self, Answer, AtPort, Line, command};
use crate::failure::{Failure, FailureKind};

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
