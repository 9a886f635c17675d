//! A client that opens the device itself: the ladder's lower rungs on a thread of their own.

use std::sync::Arc;
use std::time::Duration;

use uwwan_mbim::session::Command;
use uwwan_usb::device::Backend;

use super::{ClientError, ErrorKind, Indication, Link, News};
use crate::event::Event;
use crate::failure::{FailureKind, Rung};
use crate::host::{HostConfig, HostEnd, HostError, HostProvider};
use crate::modem::{Handle, Modem};
use crate::options::Options;
use crate::selector::Selector;
use crate::status::Status;
use crate::tap::{Tap, TapEvent};

/// The end takes this long at most: the session's CLOSE, and letting go of the interfaces.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);

/// No host's end: the ladder stops below it.
struct NoHost;

impl HostProvider for NoHost {
    fn bring_up(&mut self, _: &HostConfig) -> Result<Box<dyn HostEnd>, HostError> {
        Err(HostError {
            kind: FailureKind::Host,
            what: "no interface".into(),
            why: "this is a control session alone".into(),
            next: String::new(),
        })
    }
}

pub(super) struct Direct {
    handle: Handle,
    tap: Tap,
    place: String,
}

impl Direct {
    pub(super) fn open(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        observer: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, ClientError> {
        let place = selector.to_string();
        let handle = Modem::start_up_to(
            Rung::Open,
            backend,
            selector,
            options,
            Box::new(NoHost),
            observer,
        )
        .map_err(|error| ClientError::of_start(&place, error))?;
        let tap = handle.tap().map_err(|error| {
            handle.stop();
            ClientError::new(
                ErrorKind::System,
                "open the modem",
                &place,
                error.to_string(),
                "raise the limit of descriptors (`ulimit -n`)",
            )
        })?;
        let mut direct = Self { handle, tap, place };
        loop {
            match direct.tap.wait(Duration::from_secs(3600)) {
                Ok(Some(TapEvent::Opened { .. })) => break,
                Ok(_) => {}
                Err(_) => return Err(direct.ended()),
            }
        }
        let device = direct.handle.status().device;
        if !device.is_empty() {
            direct.place = device;
        }
        Ok(direct)
    }

    /// Why the modem's thread has ended.
    fn ended(&self) -> ClientError {
        match self.handle.wait() {
            Err(failure) => ClientError::of_failure(&self.place, &failure),
            Ok(()) => self.lost("the control session is closed"),
        }
    }

    fn lost(&self, why: &str) -> ClientError {
        ClientError::new(
            ErrorKind::Lost,
            "reach the modem",
            &self.place,
            why,
            "look at `uwwan list`, and try again",
        )
    }
}

impl Link for Direct {
    fn send(
        &mut self,
        ticket: u64,
        command: Command,
        timeout: Duration,
    ) -> Result<(), ClientError> {
        if self.tap.order(ticket, command, timeout) {
            Ok(())
        } else {
            Err(self.ended())
        }
    }

    fn cancel(&mut self, ticket: u64) {
        self.tap.withdraw(ticket);
    }

    fn wait(&mut self, patience: Duration) -> Option<News> {
        match self.tap.wait(patience) {
            Ok(Some(TapEvent::Answer { ticket, result })) => Some(News::Answer { ticket, result }),
            Ok(Some(TapEvent::Indication { id, info })) => {
                Some(News::Indication(Indication { id, info }))
            }
            Ok(Some(TapEvent::Down { why })) => Some(News::Lost(self.lost(&why))),
            Ok(_) => None,
            Err(_) => Some(News::Lost(self.ended())),
        }
    }

    fn insist(&mut self) -> Option<Command> {
        None
    }

    fn close(&mut self) -> Result<(), ClientError> {
        self.handle.stop();
        match self.handle.wait_timeout(CLOSE_PATIENCE) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(ClientError::of_failure(&self.place, &failure)),
            None => Err(ClientError::new(
                ErrorKind::Timeout,
                "let go of the modem",
                &self.place,
                format!("not done in {} s", CLOSE_PATIENCE.as_secs()),
                "unplug the modem and plug it in again",
            )),
        }
    }

    fn status(&self) -> Option<Status> {
        Some(self.handle.status())
    }

    fn place(&self) -> &str {
        &self.place
    }
}
