//! The moment at which a timeout is over.

use std::time::{Duration, Instant};

/// Duration that replaces a timeout so long that its end is beyond the range of the clock.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Returns the moment at which a `timeout` that begins at the call is over.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + FOREVER)
}
