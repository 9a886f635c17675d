//! Data session with its host interface, its guest and its counters.

use std::sync::Arc;
use std::time::Instant;

use crate::counters::SessionCounters;
use crate::host::HeldHost;
use crate::join::Guest;
use crate::options::SessionOptions;
use crate::session::{DataSession, LossPolicy};

/// Data session as the control thread holds it.
pub(super) struct HeldSession {
    /// State machine of the session.
    pub(super) machine: DataSession,
    /// Host interface of the session, which is kept over losses.
    pub(super) host: Option<HeldHost>,
    /// Other program that the session is for, if it is for one.
    pub(super) guest: Option<Guest>,
    /// Counters of what the session has carried.
    pub(super) counters: Arc<SessionCounters>,
}

impl HeldSession {
    /// Returns a session that is down. The loss of session 0 alone leads the modem back to a rung.
    pub(super) fn new(
        options: &SessionOptions,
        counters: Arc<SessionCounters>,
        now: Instant,
    ) -> Self {
        let policy = match options.id {
            0 => LossPolicy::BackToRung,
            _ => LossPolicy::Rest,
        };
        Self {
            machine: DataSession::new(options.clone(), policy, now),
            host: None,
            guest: None,
            counters,
        }
    }
}
