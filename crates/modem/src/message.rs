//! Messages in the inbox of the control thread.

use crate::askers::{AskerSender, Request};
use crate::datapath::Report;

/// Message for the control thread.
pub(crate) enum Message {
    /// Report of the data thread.
    Report(Report),
    /// Order of the program to stop.
    Stop,
    /// Order of the program to add an asker.
    Attach(AskerSender),
    /// Request of an asker.
    Ask {
        /// Id of the asker.
        asker: u64,
        /// Request to carry out.
        request: Request,
    },
}
