//! The clean end: data sessions are deactivated, the control session is closed, and the device and
//! the host interfaces are released.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use uwwan_mbim::session::{CommandError, State};

use super::{Control, MOST_TRANSFERS};
use crate::askers::{Message, Request};
use crate::datapath::Report;

/// Time that the deactivation of the data sessions may take.
pub(super) const DISCONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Time that the control session's CLOSE may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

impl Control {
    /// Ends cleanly: deactivates the data sessions, closes the control session, selects the idle
    /// alternate setting of the data interface, releases the interfaces, gives the device back to the
    /// kernel's drivers and drops the host interfaces. The time is bounded even when the device does
    /// not answer; a second stop shortens it.
    pub(super) fn shut_down(&mut self) {
        self.ladder.rest();
        self.retry = None;
        self.stop_data();
        self.close_session();
        self.tear_down(false);
        for session in &mut self.sessions {
            session.host = None;
        }
    }

    pub(super) fn close_session(&mut self) {
        // For a client's control session CLOSE is enough: it deactivates the sessions that the
        // client may have activated.
        if self.control_session.state() == State::Open && !self.ladder.is_control_only() {
            let now = Instant::now();
            let ending = self.end_sessions();
            self.pump_session(now + DISCONNECT_PATIENCE, |control| {
                ending.iter().all(|id| !control.asked.contains_key(id))
            });
        }
        if matches!(self.control_session.state(), State::Open | State::Opening) {
            let now = Instant::now();
            self.control_session.close(now);
            self.pump_session(now + CLOSE_PATIENCE, |control| {
                control.control_session.state() == State::Closed
            });
        }
    }

    /// Serves the control session alone until `done` returns `true`, the deadline, or a second
    /// stop.
    pub(super) fn pump_session(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) {
        loop {
            let more = (0..MOST_TRANSFERS).all(|_| self.transfer());
            while let Some(event) = self.control_session.poll_event() {
                self.session_event(event);
            }
            let now = Instant::now();
            let impatient = self.shared.stops.load(Ordering::Relaxed) > 1;
            if done(self) || now >= deadline || impatient || self.device.is_none() {
                return;
            }
            let due = if more {
                Some(now)
            } else {
                self.control_session.poll_timeout()
            };
            let until = due.map_or(deadline, |at| at.min(deadline));
            match self
                .inbox
                .recv_timeout(until.saturating_duration_since(now))
            {
                Ok(Message::Report(Report::Ended(_))) => {
                    return self.control_session.handle_lost("the device is gone");
                }
                Ok(Message::Report(Report::Notification(bytes))) => {
                    self.notification(Instant::now(), &bytes);
                }
                Ok(Message::Dialled(fragment)) => self.dialled_told(fragment),
                Ok(Message::Ask {
                    asker,
                    request: Request::Send { ticket, .. },
                }) => self.askers.answer(asker, ticket, Err(CommandError::Closed)),
                Ok(Message::Call(call)) => call(),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.control_session_timeout(Instant::now());
        }
    }
}
