//! `up` attends to the modem while it runs: it reports to the user, the service manager and other
//! programs what happens, and handles signals.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};
use uwwan_modem::event::{SessionChange, SessionEvent};
use uwwan_modem::share::Changes;
use uwwan_modem::{Event, Handle, Rung};

use super::hooked::AfterUp;
use super::metering::Metering;
use super::telling::Telling;
use crate::allocator;
use crate::failure::Failure;
use crate::journal;
use crate::modem_manager::{Manager, Standing};
use crate::notify::Notifier;
use crate::output::say;
use crate::resident;
use crate::runtime::RuntimeDir;
use crate::watchdog::Watchdog;

/// Reports to the user and other programs what happens until the modem has stopped.
pub(super) struct Attendant {
    pub(super) handle: Handle,
    pub(super) directory: RuntimeDir,
    /// Whether the device's port is one of this machine's.
    pub(super) has_port: bool,
    pub(super) events: Receiver<Event>,
    pub(super) signals: Receiver<i32>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) changes: Changes,
    pub(super) manager: Manager,
    /// The state of ModemManager that was reported last.
    pub(super) told_of_manager: Standing,
    pub(super) telling: Telling,
    pub(super) metering: Metering,
    /// The hook that runs when session 0 has come online.
    pub(super) after_up: Option<AfterUp>,
    /// The first failure to print a report.
    pub(super) outcome: Result<(), Failure>,
}

impl Attendant {
    /// Reports what has happened since the last call, and returns the time at which it has to be called
    /// again at the latest. Breaks once the modem has stopped.
    pub(super) fn attend(&mut self) -> ControlFlow<(), Option<Instant>> {
        if let Ok(signal) = self.signals.try_recv() {
            self.asked_to_stop(signal);
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.attend(Instant::now(), |call| self.handle.call(call));
        }
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    let told = self.telling.hear(&event);
                    self.keep(told);
                    self.changes.announce();
                    match &event {
                        Event::Session(SessionEvent {
                            session: 0,
                            change: SessionChange::Online { interface, .. },
                        }) => {
                            self.notifier.ready(&format!("online through {interface}"));
                            if let Some(hook) = &self.after_up {
                                hook.run(&self.handle.status());
                            }
                            allocator::give_back();
                            resident::let_go_of_the_program();
                        }
                        Event::RungDone {
                            rung: Rung::Found, ..
                        } => {
                            let port = self.handle.status().port;
                            if self.has_port && !port.is_empty() {
                                self.directory.link(&port);
                                journal::name_device(&port);
                            }
                            let told = self.tell_of_manager();
                            self.keep(told);
                        }
                        Event::RungStarted { rung } => {
                            self.notifier.status(&format!("trying {rung}"));
                        }
                        Event::RungFailed { failure, .. } => {
                            self.notifier.status(&failure.headline());
                        }
                        Event::Diagnosis(diagnosis) => self.notifier.status(&diagnosis.text),
                        Event::Heal(event) => self.notifier.status(&event.text),
                        // Until the modem is back, no packet has to wait for the allocator.
                        Event::Lost { .. } => allocator::give_back(),
                        Event::Stopped { .. } => return ControlFlow::Break(()),
                        _ => {}
                    }
                }
                Err(TryRecvError::Empty) => break,
                // The modem's thread drops its end of the channel only after the modem has stopped.
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
        match self.telling.wait() {
            Ok(Some(text)) => self.notifier.status(&format!("waiting for {text}")),
            Ok(None) => {}
            Err(failure) => self.keep(Err(failure)),
        }
        let now = Instant::now();
        if self.metering.is_due(now) {
            self.measure(now);
            // Pages that were loaded since then are mostly those of code that runs once.
            resident::let_go_of_the_program();
        }
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.next(now));
        let due = [self.telling.next(), self.metering.next(), watchdog];
        ControlFlow::Continue(due.into_iter().flatten().min())
    }

    /// Stores the amount of data that was used.
    pub(super) fn measure(&mut self, now: Instant) {
        let traffic = self.handle.status().traffic;
        if let Some(event) = self.metering.measure(now, &traffic) {
            let told = self.telling.tell(&event);
            self.keep(told);
            self.changes.announce();
        }
    }

    /// Reports what ModemManager does with the modem, if that is worth a line and has changed.
    fn tell_of_manager(&mut self) -> Result<(), Failure> {
        let standing = (self.manager)();
        if standing == self.told_of_manager {
            return Ok(());
        }
        self.told_of_manager = standing;
        match self.told_of_manager.line() {
            Some(text) => self.telling.tell(&Event::Notice {
                text: format!("ModemManager {text}"),
            }),
            None => Ok(()),
        }
    }

    fn asked_to_stop(&mut self, signal: i32) {
        if !self.telling.json {
            let told = say(match signal {
                signal_hook::consts::SIGINT => "interrupted: stopping; once more ends it at once",
                signal_hook::consts::SIGHUP => "the terminal is gone: stopping",
                _ => "asked to stop: stopping; once more ends it at once",
            });
            self.keep(told);
        }
        self.notifier.stopping();
        self.handle.stop();
    }

    /// Keeps the first failure to print as the outcome, and stops the modem cleanly because of it.
    fn keep(&mut self, told: Result<(), Failure>) {
        if let Err(failure) = told
            && self.outcome.is_ok()
        {
            self.outcome = Err(failure);
            self.handle.stop();
        }
    }
}
