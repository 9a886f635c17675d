//! Channel of a client in the process that drives the modem. The client opens the device itself,
//! with the lower rungs of the ladder on a thread of their own, or stands beside a driver that
//! already runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_mbim::session::Command;
use uwwan_usb::device::Backend;

use super::channel::{Channel, ChannelEvent, Indication};
use crate::askers::{Asker, AskerEvent, Request, Ticket};
use crate::failure::{Failure, FailureKind, Rung};
use crate::host::{HostConfig, HostEnd, HostProvider};
use crate::modem::{Handle, Modem};
use crate::options::Options;
use crate::selector::Selector;
use crate::status::Status;

/// Longest time that closing takes: the control session's CLOSE and the release of the interfaces.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
/// Time that a client beside a running driver waits for an open control session.
const OPEN_PATIENCE: Duration = Duration::from_secs(40);

/// Provider that has no host interface, because the ladder stops before one is needed.
struct NoHost;

impl HostProvider for NoHost {
    fn bring_up(&mut self, _: &HostConfig) -> Result<HostEnd, Failure> {
        Err(Failure::new(FailureKind::Host, "no interface")
            .because("this is a control session alone"))
    }
}

pub(super) struct Direct {
    handle: Handle,
    asker: Asker,
    /// Whether the modem was started for this client and ends with it.
    owner: bool,
    place: String,
}

impl Direct {
    pub(super) fn open(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
    ) -> Result<Self, Failure> {
        let place = selector.to_string();
        let handle = Modem::start_up_to(
            Rung::Open,
            backend,
            selector,
            options,
            Box::new(NoHost),
            Box::new(|_| {}),
        )?;
        let mut direct = Self {
            asker: handle.asker(None),
            handle,
            owner: true,
            place,
        };
        // The ladder bounds the wait: it ends with an open control session or with a failure.
        while !direct.is_open(Duration::from_secs(3600))? {}
        Ok(direct)
    }

    /// Returns the channel of a client beside a driver that runs in this process.
    pub(super) fn beside(handle: &Handle) -> Result<Self, Failure> {
        let mut direct = Self {
            asker: handle.asker(None),
            handle: handle.clone(),
            owner: false,
            place: String::new(),
        };
        if direct.is_open(OPEN_PATIENCE)? {
            return Ok(direct);
        }
        Err(Failure::new(FailureKind::NotOpen, "reach the modem")
            .at(&direct.place)
            .because(format!(
                "it has no open control session within {} s",
                OPEN_PATIENCE.as_secs()
            ))
            .next("the modem's status tells what it waits for"))
    }

    /// Waits at most `patience` until the control session is open; returns whether it is.
    fn is_open(&mut self, patience: Duration) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        let mut open = false;
        while let Some(left) = deadline.checked_duration_since(Instant::now())
            && !open
        {
            match self.asker.wait(left) {
                Ok(event) => open = matches!(event, Some(AskerEvent::Opened { .. })),
                Err(_) => return Err(self.ended()),
            }
        }
        let device = self.handle.status().device;
        if !device.is_empty() {
            self.place = device;
        }
        Ok(open)
    }

    /// Returns the failure with which the modem's control thread has ended.
    fn ended(&self) -> Failure {
        match self.handle.wait() {
            Err(failure) => failure,
            Ok(()) => self.lost("the control session is closed"),
        }
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::new(FailureKind::Gone, "reach the modem")
            .at(&self.place)
            .because(why)
            .next("look at `uwwan list`, and try again")
    }
}

impl Channel for Direct {
    fn send(&mut self, ticket: u64, command: Command, timeout: Duration) -> Result<(), Failure> {
        let ticket = Ticket(ticket);
        if self.asker.request(Request::Send {
            ticket,
            command,
            timeout,
            judged: None,
        }) {
            Ok(())
        } else {
            Err(self.ended())
        }
    }

    fn cancel(&mut self, ticket: u64) {
        self.asker.request(Request::Withdraw(Ticket(ticket)));
    }

    fn wait(&mut self, patience: Duration) -> Option<ChannelEvent> {
        match self.asker.wait(patience) {
            Ok(Some(AskerEvent::Answer { ticket, result })) => Some(ChannelEvent::Answer {
                ticket: ticket.0,
                result,
            }),
            Ok(Some(AskerEvent::Indication { id, info })) => {
                Some(ChannelEvent::Indication(Indication { id, info }))
            }
            Ok(Some(AskerEvent::Down { why })) => Some(ChannelEvent::Lost(self.lost(&why))),
            Ok(_) => None,
            Err(_) => Some(ChannelEvent::Lost(self.ended())),
        }
    }

    fn insist(&mut self) -> Option<Command> {
        None
    }

    fn close(&mut self) -> Result<(), Failure> {
        if !self.owner {
            return Ok(());
        }
        self.handle.stop();
        match self.handle.wait_timeout(CLOSE_PATIENCE) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::new(FailureKind::Timeout, "let go of the modem")
                .at(&self.place)
                .because(format!("not done in {} s", CLOSE_PATIENCE.as_secs()))
                .next("unplug the modem and plug it in again")),
        }
    }

    fn handle(&self) -> Option<&Handle> {
        Some(&self.handle)
    }

    fn status(&self) -> Option<Status> {
        Some(self.handle.status())
    }

    fn place(&self) -> &str {
        &self.place
    }
}
