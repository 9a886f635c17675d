//! A data session with what belongs to it.

use std::sync::Arc;
use std::time::Instant;

use crate::counters::SessionCounters;
use crate::host::HeldHost;
use crate::options::SessionOptions;
use crate::session::{DataSession, LossPolicy};

/// A data session as the control thread holds it.
pub(super) struct HeldSession {
    /// What it wants, and in which state it is.
    pub(super) machine: DataSession,
    /// Its host's end, kept over losses.
    pub(super) host: Option<HeldHost>,
    /// What it has carried.
    pub(super) counters: Arc<SessionCounters>,
}

impl HeldSession {
    /// A session that is down. The modem stands and falls with session 0 alone.
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
            counters,
        }
    }
}
