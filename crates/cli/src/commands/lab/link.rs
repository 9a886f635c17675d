//! A modem that is online for trials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select, unbounded};
use uwwan_modem::raw::{Listener, To};
use uwwan_modem::status::{FramingStatus, Traffic};
use uwwan_modem::{Event, Handle, Modem, Options, Rung, Selector};
use uwwan_usb::device::Backend;

use super::host::LabHost;
use crate::failure::{Failure, FailureKind};

/// Longest time for a stop.
const STOP_TIME: Duration = Duration::from_secs(30);
/// Longest time until the data thread has taken another layout.
const LAYOUT_TIME: Duration = Duration::from_secs(5);

/// Number of times that a modem is brought online to get a settle pause close to the one asked for.
const PAUSES: u32 = 3;
/// Time by which the pause may exceed the one asked for, beside a twentieth of it. Pauses 25 ms apart
/// can be told apart.
const LATE: Duration = Duration::from_millis(15);

/// Modem of the laboratory.
pub struct Subject {
    /// Backend through which the modem is reached.
    pub backend: Arc<dyn Backend>,
    /// Selector that finds the modem there.
    pub selector: Selector,
    /// Longest time until the modem is online.
    pub online_time: Duration,
    /// Longest time for which MBIM_OPEN may stay unanswered.
    pub open_time: Duration,
    /// Channel that receives the signal that asks for the end.
    pub interrupted: Receiver<i32>,
}

/// Reason why a modem is not online.
#[derive(Debug)]
pub enum NotUp {
    /// The user has asked for the end.
    Interrupted,
    /// A rung was not reached at the first attempt.
    Rung(Rung, String),
    /// Nothing can be tried, because the options make no sense or the host has failed.
    Failed(Failure),
}

/// Returns the failure after Ctrl-C.
pub fn interrupted() -> Failure {
    Failure::new(FailureKind::Cancelled, "interrupted")
}

/// A modem that is online.
pub struct Link {
    handle: Handle,
    host: LabHost,
    events: Receiver<Event>,
}

impl Subject {
    /// Brings the modem online with these options. The first rung that is not reached at its first
    /// attempt ends the bring-up, so that retries of the driver hide nothing.
    ///
    /// On a busy machine the settle pause may be much longer than asked for, and a modem that works
    /// after it proves nothing about the pause asked for. Then the bring-up is repeated, a few times
    /// only, because a modem may itself take long to change its configuration.
    ///
    /// # Errors
    /// [`NotUp`]; the modem is stopped then.
    pub fn start(&self, options: &Options) -> Result<Link, NotUp> {
        let most = options.settle.map(|settle| settle + settle / 20 + LATE);
        for _ in 1..PAUSES {
            let (link, paused) = self.try_start(options)?;
            if most.is_none_or(|most| paused <= most) {
                return Ok(link);
            }
            tracing::debug!("a settle pause of {paused:?} tells nothing: tried again");
            link.stop();
        }
        self.try_start(options).map(|(link, _)| link)
    }

    /// Does as [`Subject::start`], once. Returns the time from the change of the configuration to
    /// MBIM_OPEN, too.
    fn try_start(&self, options: &Options) -> Result<(Link, Duration), NotUp> {
        let host = LabHost::new().map_err(NotUp::Failed)?;
        let mut options = options.clone();
        // Nothing but the trial may be sent or changed.
        options.heal = uwwan_modem::options::Heal::Off;
        options.probe = false;
        options.at_port = false;
        options.persist = false;
        // A modem that a trial has brought down comes back.
        options.wait_for_device = true;
        options.timeout = Some(self.online_time);
        // A first attempt has two thirds of the budget.
        options.open_budget = Some(self.open_time * 3 / 2);
        let (sender, events) = unbounded();
        let handle = Modem::start(
            Arc::clone(&self.backend),
            self.selector.clone(),
            options,
            Box::new(host.clone()),
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )
        .map_err(NotUp::Failed)?;
        let link = Link {
            handle,
            host,
            events,
        };
        match link.wait_online(&self.interrupted, self.online_time) {
            Ok(paused) => {
                let interrupted = select! {
                    recv(link.host.carriers()) -> _ => false,
                    recv(self.interrupted) -> _ => true,
                    default(self.open_time) => false,
                };
                if interrupted {
                    link.stop();
                    return Err(NotUp::Interrupted);
                }
                Ok((link, paused))
            }
            Err(why) => {
                link.stop();
                Err(why)
            }
        }
    }
}

impl Link {
    /// Returns the time from the change of the configuration to MBIM_OPEN.
    fn wait_online(
        &self,
        interrupted: &Receiver<i32>,
        patience: Duration,
    ) -> Result<Duration, NotUp> {
        let mut rung = Rung::Found;
        let mut begun = Instant::now();
        let mut paused = Duration::ZERO;
        let mut switched = false;
        let over = crossbeam_channel::after(patience + STOP_TIME);
        loop {
            let event = select! {
                recv(self.events) -> event => event,
                recv(interrupted) -> _ => return Err(NotUp::Interrupted),
                recv(over) -> _ => {
                    return Err(NotUp::Rung(rung, "it takes too long".into()));
                }
            };
            match event {
                Ok(event) if event.is_online() => return Ok(paused),
                Ok(Event::RungStarted {
                    rung: Rung::Configuration,
                }) if switched => {
                    return Err(NotUp::Rung(rung, "the modem does not answer".into()));
                }
                Ok(Event::RungStarted { rung: started }) => {
                    switched |= started == Rung::Configuration;
                    match started {
                        Rung::Configuration => begun = Instant::now(),
                        Rung::Open => paused = begun.elapsed(),
                        _ => {}
                    }
                    rung = started;
                }
                // An absent device is waited for.
                Ok(Event::RungFailed { failure, .. }) if rung != Rung::Found => {
                    return Err(NotUp::Rung(rung, failure.one_line()));
                }
                Ok(Event::Lost { why, .. }) => return Err(NotUp::Rung(rung, why)),
                Ok(Event::Stopped { failure }) => {
                    let why = failure.map_or_else(|| "stopped".to_owned(), |it| it.one_line());
                    return Err(NotUp::Rung(rung, why));
                }
                Ok(_) => {}
                Err(_) => return Err(NotUp::Rung(rung, "the driver has ended".into())),
            }
        }
    }

    /// Changes the layout of NTBs to the one that the options choose.
    ///
    /// # Errors
    /// Fails when the layout needs a new session, or when no data path runs.
    pub fn choose(&self, options: &Options) -> Result<(), Failure> {
        match self.handle.choose_layout(options).recv_timeout(LAYOUT_TIME) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Failure::new(
                FailureKind::Timeout,
                "the data path does not take another layout",
            )),
        }
    }

    /// Sends NTBs as they are, and returns a listener for the transfers that follow within `wait`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when there are none or too many.
    pub fn send_raw(&self, ntbs: Vec<Vec<u8>>, wait: Duration) -> Result<Listener, Failure> {
        self.handle.send_raw(To::Data, ntbs, wait, None)
    }

    /// Returns the host interface.
    pub fn host(&self) -> &LabHost {
        &self.host
    }

    /// Returns the layout of NTBs in use.
    pub fn framing(&self) -> FramingStatus {
        self.handle.status().framing.unwrap_or_default()
    }

    /// Returns the counters.
    pub fn traffic(&self) -> Traffic {
        self.handle.status().traffic
    }

    /// Returns the version of the firmware that the device reported; it may be empty.
    pub fn firmware(&self) -> String {
        let identity = self.handle.status().identity;
        identity.map_or_else(String::new, |identity| identity.firmware)
    }

    /// Returns the events of the modem.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Returns the reason why the modem is lost with this event, if it is.
    pub fn lost(event: &Event) -> Option<String> {
        match event {
            Event::Lost { why, .. } => Some(why.clone()),
            Event::RungFailed { failure, .. } => Some(failure.one_line()),
            Event::Stopped { failure } => {
                let told = failure.as_ref().map(Failure::one_line);
                Some(told.unwrap_or_else(|| "stopped".to_owned()))
            }
            _ => None,
        }
    }

    /// Stops the modem, which is left in the state in which it was found.
    pub fn stop(self) {
        self.handle.stop();
        if self.handle.wait_timeout(STOP_TIME).is_none() {
            self.handle.stop();
            let _ = self.handle.wait_timeout(STOP_TIME);
        }
    }
}
