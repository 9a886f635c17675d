//! The way to an AT port: the one of a running `uwwan up`, or one opened here.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use uwwan_at::dialogue::Command;
use uwwan_modem::at_port::client::Client;
use uwwan_modem::at_port::open::{Choice, Opened, open};
use uwwan_modem::at_port::{Answer, AtError, Line};
use uwwan_usb::device::{Backend, Found};
use uwwan_usb::functions::SerialRole;

use crate::candidates;
use crate::failure::{Failure, FailureKind};
use crate::reach::{Reach, Target};
use crate::runtime::Entry;

/// A port to ask.
pub enum Way {
    /// Through a running `up`.
    Running(Box<Client>),
    /// Opened here.
    Direct {
        /// The port.
        opened: Opened,
        /// Has to live as long.
        _backend: Arc<dyn Backend>,
    },
}

/// Where a port is.
pub enum Place {
    /// At a running `up` that owns it.
    Running(Entry),
    /// At a device that is free.
    Free(Arc<dyn Backend>, Box<Found>),
}

impl Place {
    /// The modem meant.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(reach: &Reach) -> Result<Self, Failure> {
        match reach.target()? {
            Target::Running(entry) if UnixStream::connect(entry.at_socket()).is_ok() => {
                Ok(Self::Running(entry))
            }
            Target::Running(entry) => Err(Failure::new(
                FailureKind::Missing,
                "the running uwwan does not have the AT port",
            )
            .at(entry.at_socket().display().to_string())
            .because("nobody answers on the port's socket")
            .next("start uwwan up without --at-port false")),
            Target::Device {
                backend, selector, ..
            } => {
                let found = candidates::select(backend.as_ref(), &selector)?.found;
                Ok(Self::Free(backend, Box::new(found)))
            }
        }
    }
}

impl Way {
    /// Opens the port of the modem meant, that with `role` where there is a choice.
    ///
    /// # Errors
    /// When there is no modem, or none of its ports answers.
    pub fn find(reach: &Reach, role: Option<SerialRole>) -> Result<Self, Failure> {
        match Place::find(reach)? {
            Place::Running(entry) => {
                let client = Client::connect(&entry.at_socket())?;
                Ok(Self::Running(Box::new(client)))
            }
            Place::Free(backend, found) => {
                let choice = Choice {
                    prefer: role,
                    ..Choice::default()
                };
                let opened = open(backend.as_ref(), &found, &choice, &mut |step| {
                    tracing::info!("{step}");
                })?;
                Ok(Self::Direct {
                    opened,
                    _backend: backend,
                })
            }
        }
    }

    /// What it is, in words.
    pub fn describe(&mut self) -> String {
        match self {
            Self::Running(client) => match client.port() {
                Ok(Some(port)) => format!("{port}, through the running uwwan"),
                _ => "the running uwwan, whose modem is away".into(),
            },
            Self::Direct { opened, .. } => opened.port.to_string(),
        }
    }

    /// Sends a command, with text for its prompt if it has one, and waits for its end.
    ///
    /// # Errors
    /// When there is no answer at all.
    pub fn ask(
        &mut self,
        line: &str,
        text: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Answer, AtError> {
        match self {
            Self::Running(client) => client.ask(line, text, timeout),
            Self::Direct { opened, .. } => {
                let command = Command::new(line).and_then(|command| match text {
                    Some(text) => command.with_text(text),
                    None => Ok(command),
                });
                let command = command.map_err(|error| AtError::Refused {
                    why: error.to_string(),
                })?;
                opened.at.ask(match timeout {
                    Some(timeout) => command.with_timeout(timeout),
                    None => command,
                })
            }
        }
    }

    /// Lines nobody asked for, from here on.
    ///
    /// # Errors
    /// When the running `up` is gone.
    pub fn listen(&self) -> Result<Lines, AtError> {
        match self {
            Self::Running(client) => {
                let mut client = client.again()?;
                client.listen()?;
                Ok(Lines::Running(Box::new(client)))
            }
            Self::Direct { opened, .. } => {
                Ok(Lines::Direct(opened.at.subscribe(), opened.at.clone()))
            }
        }
    }
}

/// Lines nobody asked for.
pub enum Lines {
    /// From a running `up`.
    Running(Box<Client>),
    /// From the port opened here.
    Direct(Receiver<Line>, uwwan_modem::at_port::AtPort),
}

impl Lines {
    /// The next one, if one comes within `patience`.
    ///
    /// # Errors
    /// When nothing more will come.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Line>, AtError> {
        match self {
            Self::Running(client) => client.line(patience),
            Self::Direct(lines, at) => match lines.recv_deadline(Instant::now() + patience) {
                Ok(line) => Ok(Some(line)),
                Err(RecvTimeoutError::Timeout) if at.port().is_some() => Ok(None),
                Err(_) => Err(AtError::Away {
                    why: "the device is gone".into(),
                }),
            },
        }
    }
}
