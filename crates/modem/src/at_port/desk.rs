//! The two ways the [IPv6 story](crate::ipv6) reaches a modem: by its device, and through the
//! `uwwan up` that runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_at::dialogue::Command;
use uwwan_usb::device::{Backend, Found};
use uwwan_usb::functions;

use super::client::Client;
use super::open::{Choice, Opened, open, switch};
use super::{Answer, AtError};
use crate::ipv6::{ModemAccess, Operator};

/// How long a modem may take to leave the bus after `AT^RESET`.
const LEAVE: Duration = Duration::from_secs(30);
/// How long it may stay away: about 20 s are usual.
const RETURN: Duration = Duration::from_secs(120);
/// How long a running `up` may take to have it back.
const RECOVER: Duration = Duration::from_secs(240);
/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// Hears each step, in words.
pub type Told = Box<dyn FnMut(&str)>;

/// A modem that nobody else runs.
pub struct Direct {
    backend: Arc<dyn Backend>,
    found: Found,
    opened: Option<Opened>,
    chosen: Option<Operator>,
    told: Told,
}

impl Direct {
    /// Opens its AT port.
    ///
    /// # Errors
    /// As [`open`].
    pub fn new(
        backend: Arc<dyn Backend>,
        found: Found,
        chosen: Option<Operator>,
        told: Told,
    ) -> Result<Self, AtError> {
        let opened = open(&*backend, &found, &Choice::default(), &mut |_| {})?;
        Ok(Self {
            backend,
            found,
            opened: Some(opened),
            chosen,
            told,
        })
    }

    /// The device where it was, if it is there.
    fn look(&self) -> Option<Found> {
        let devices = self.backend.devices().ok()?;
        devices
            .into_iter()
            .find(|found| found.identity.port == self.found.identity.port)
    }

    fn left(&self) -> bool {
        let silent = self
            .opened
            .as_ref()
            .is_none_or(|opened| opened.at.port().is_none());
        silent
            || self
                .look()
                .is_none_or(|found| found.identity.address != self.found.identity.address)
    }
}

impl ModemAccess for Direct {
    fn ask(&mut self, command: Command) -> Result<Answer, AtError> {
        match &self.opened {
            Some(opened) => opened.at.ask(command),
            None => Err(AtError::Away {
                why: "the modem has not come back".into(),
            }),
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        // MBIM cannot be asked: it may be in another configuration.
        self.chosen.clone()
    }

    fn come_back(&mut self) -> Result<(), AtError> {
        if !until(LEAVE, || self.left()) {
            return Err(AtError::System(format!(
                "the modem took AT^RESET but is still there after {} s",
                LEAVE.as_secs()
            )));
        }
        self.opened = None;
        let mut back = None;
        until(RETURN, || {
            back = self.look();
            back.is_some()
        });
        let Some(found) = back else {
            return Err(AtError::Away {
                why: format!(
                    "it has not come back to port {1} within {0} s",
                    RETURN.as_secs(),
                    self.found.identity.port
                ),
            });
        };
        self.found = found;
        let device = self.backend.open(&self.found)?;
        if let Some(mbim) = functions::mbim(device.descriptors()).first() {
            let told = &mut self.told;
            switch(&*device, mbim.configuration, None, &mut |step| {
                tracing::debug!("{step}");
                if let uwwan_usb::configuration::Step::Configured(value) = step {
                    told(&format!("configuration {value} selected"));
                }
            })?;
        }
        drop(device);
        self.opened = Some(open(
            &*self.backend,
            &self.found,
            &Choice {
                // Ports are slow to answer after a start.
                patience: Duration::from_secs(60),
                ..Choice::default()
            },
            &mut |_| {},
        )?);
        Ok(())
    }

    fn step(&mut self, what: &str) {
        (self.told)(what);
    }
}

/// A modem that a `uwwan up` runs: that recovers it, with its interface kept.
pub struct Running {
    client: Client,
    operator: Box<dyn FnMut() -> Option<Operator>>,
    told: Told,
}

impl Running {
    /// Over a connection to it; `operator` knows the SIM's operator, or asks the MBIM session for
    /// its home provider.
    pub fn new(
        client: Client,
        operator: impl FnMut() -> Option<Operator> + 'static,
        told: Told,
    ) -> Self {
        Self {
            client,
            operator: Box::new(operator),
            told,
        }
    }
}

impl ModemAccess for Running {
    fn ask(&mut self, command: Command) -> Result<Answer, AtError> {
        self.client
            .ask(command.line(), None, Some(command.timeout()))
    }

    fn operator(&mut self) -> Option<Operator> {
        (self.operator)()
    }

    fn come_back(&mut self) -> Result<(), AtError> {
        let mut failed = None;
        let mut port_is = |there: bool| match self.client.port() {
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
            None => Err(AtError::Away {
                why: "uwwan has not brought the modem back; `uwwan status` tells where it is"
                    .into(),
            }),
        }
    }

    fn step(&mut self, what: &str) {
        (self.told)(what);
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
