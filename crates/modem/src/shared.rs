//! State that the handles on a modem and its threads share: the status, the counters, and the end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::askers::Message;
use crate::at_port::AtPort;
use crate::counters::{Counters, SessionCounters};
use crate::failure::Failure;
use crate::permissions::Basis;
use crate::status::Status;

/// State that handles and threads share.
pub(crate) struct Shared {
    state: Mutex<State>,
    end: Mutex<Option<Result<(), Failure>>>,
    changed: Condvar,
    pub(crate) counters: Arc<Counters>,
    /// Number of notifications on their way to the control thread.
    pub(crate) notifications: AtomicU32,
    /// Whether notifications were dropped because too many were on their way.
    pub(crate) notifications_missed: AtomicBool,
    /// Number of stops asked for. The second one skips the waits for the device's answers.
    pub(crate) stops: AtomicU32,
    /// AT port, if this driver owns it.
    pub(crate) at: Option<AtPort>,
    /// Counters of the data sessions, by MBIM session id.
    session_counters: Mutex<Vec<(u8, Arc<SessionCounters>)>>,
    /// Age of the basis of judgements; see [`Basis`].
    age: AtomicU64,
    pub(crate) outbox: Sender<Message>,
}

struct State {
    status: Status,
    since: Instant,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Returns the state before the first event; `sessions` are the MBIM session ids.
    pub(crate) fn new(outbox: Sender<Message>, at: Option<AtPort>, sessions: &[u8]) -> Self {
        let ids = sessions.iter();
        Self {
            state: Mutex::new(State {
                status: Status::default(),
                since: Instant::now(),
            }),
            end: Mutex::new(None),
            changed: Condvar::new(),
            counters: Arc::default(),
            notifications: AtomicU32::new(0),
            notifications_missed: AtomicBool::new(false),
            stops: AtomicU32::new(0),
            at,
            session_counters: Mutex::new(ids.map(|id| (*id, Arc::default())).collect()),
            age: AtomicU64::new(0),
            outbox,
        }
    }

    /// Returns the counters of a data session.
    pub(crate) fn session_counters(&self, session: u8) -> Arc<SessionCounters> {
        let counters = locked(&self.session_counters);
        let found = counters.iter().find(|(id, _)| *id == session);
        found
            .map(|(_, found)| Arc::clone(found))
            .unwrap_or_default()
    }

    /// Calls `look` with the status and returns its result.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Status) -> T) -> T {
        look(&locked(&self.state).status)
    }

    /// Changes facts in the status, without waking those that wait for a change.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Status)) {
        update(&mut locked(&self.state).status);
    }

    /// Changes the status and wakes those that wait. The time since the last change starts anew
    /// when rung, online or reason change.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut state = locked(&self.state);
        let key = |status: &Status| {
            (
                status.rung,
                status.trying,
                status.online,
                status.why.clone(),
            )
        };
        let before = key(&state.status);
        change(&mut state.status);
        if key(&state.status) != before {
            state.since = Instant::now();
        }
        drop(state);
        // A waiter holds this lock between its check and its sleep; taking it keeps the change from
        // falling in between.
        drop(locked(&self.end));
        self.changed.notify_all();
    }

    pub(crate) fn end(&self, result: Result<(), Failure>) {
        *locked(&self.end) = Some(result);
        self.changed.notify_all();
    }

    pub(crate) fn has_ended(&self) -> bool {
        locked(&self.end).is_some()
    }

    /// Returns the status with the counters.
    pub(crate) fn status(&self) -> Status {
        let state = locked(&self.state);
        let mut status = Status {
            since_seconds: state.since.elapsed().as_secs_f64(),
            traffic: self.counters.snapshot().traffic(),
            ..state.status.clone()
        };
        drop(state);
        for session in &mut status.sessions {
            let counters = self.session_counters(session.session);
            (session.uplink, session.downlink) = counters.directions();
        }
        status
    }

    /// Returns the MBIM session ids.
    pub(crate) fn sessions(&self) -> Vec<u8> {
        let counters = locked(&self.session_counters);
        counters.iter().map(|(id, _)| *id).collect()
    }

    /// Adds a data session, and returns its counters.
    pub(crate) fn add_session(&self, session: u8) -> Arc<SessionCounters> {
        let counters = Arc::<SessionCounters>::default();
        locked(&self.session_counters).push((session, Arc::clone(&counters)));
        self.basis_changed();
        counters
    }

    /// Returns what judgements on commands rest on. The age is read first, so that a session is never
    /// missing at the age that its beginning has brought.
    pub(crate) fn basis(&self) -> Basis {
        let age = self.basis_age();
        let held = self.sessions().into_iter().map(u32::from).collect();
        Basis { held, age }
    }

    /// Returns the age of the basis of judgements.
    pub(crate) fn basis_age(&self) -> u64 {
        self.age.load(Ordering::Acquire)
    }

    /// Has commands that were judged before judged once more.
    pub(crate) fn basis_changed(&self) {
        self.age.fetch_add(1, Ordering::Release);
    }

    /// Removes a data session.
    pub(crate) fn remove_session(&self, session: u8) {
        locked(&self.session_counters).retain(|(id, _)| *id != session);
    }

    /// Waits until the status satisfies `done`, at most `timeout`. Returns the modem's end when
    /// that came first, otherwise `None`.
    pub(crate) fn wait_for(
        &self,
        timeout: Duration,
        done: impl Fn(&Status) -> bool,
    ) -> Option<Result<(), Failure>> {
        let deadline = Instant::now() + timeout.min(Duration::from_secs(86_400 * 365));
        let mut end = locked(&self.end);
        loop {
            if let Some(end) = end.as_ref() {
                return Some(end.clone());
            }
            if done(&locked(&self.state).status) {
                return None;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            end = self
                .changed
                .wait_timeout(end, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
