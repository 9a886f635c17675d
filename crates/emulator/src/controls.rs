//! Orders to a running modem, from any thread.

use std::time::Duration;

use crate::handle::{Handle, Order};
use crate::knobs::{Effect, KnobError, Knobs};

/// Longest wait for the modem to return its knobs. It has a thread of its own and is never busy for
/// long.
const ANSWER: Duration = Duration::from_secs(5);

/// Controls of an emulated modem. They may outlive it, and do nothing then.
#[derive(Debug, Clone)]
pub struct Controls {
    handle: Handle,
}

impl Controls {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Turns knobs, each given as `name=value`, and waits until they are turned. Returns when each
    /// takes effect. Either all of them are turned, or none.
    ///
    /// # Errors
    /// [`KnobError`] for the first assignment that is invalid or may only be made at the start.
    pub fn set(&self, assignments: &[String]) -> Result<Vec<(&'static str, Effect)>, KnobError> {
        let mut tried = Knobs::default();
        let turned = assignments.iter().map(|one| tried.turn(one));
        let turned = turned.collect::<Result<Vec<_>, _>>()?;
        let assignments = assignments.to_vec();
        self.handle.order(Order::Adjust(Box::new(move |knobs| {
            for assignment in &assignments {
                // The assignments have been tried on a copy.
                let _ = knobs.assign(assignment);
            }
        })));
        let _ = self.knobs();
        Ok(turned)
    }

    /// Returns the knobs in force, or `None` when the modem is switched off.
    #[must_use]
    pub fn knobs(&self) -> Option<Knobs> {
        let (reply, knobs) = crossbeam_channel::bounded(1);
        self.handle.order(Order::Knobs(reply));
        knobs.recv_timeout(ANSWER).ok()
    }
}
