//! The inbox of the control thread.

use crate::askers::{AskerSender, Request};
use crate::datapath::Report;

/// What the control thread is told.
pub(crate) enum Message {
    /// From the data thread.
    Report(Report),
    /// From the program: stop.
    Stop,
    /// From the program: an asker beside the driver.
    Attach(AskerSender),
    /// From an asker.
    Ask {
        /// Id of the asker.
        asker: u64,
        /// What it wants.
        request: Request,
    },
}
