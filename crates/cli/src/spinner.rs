//! Spinner for work that takes long.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use uwwan_mbim::session::{Command, Response};
use uwwan_modem::client::{self, Client};

use crate::failure::{Failure, FailureKind};

/// Spinner on standard error, shown if that is a terminal and removed when the value is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Starts a spinner that names what is being done.
    pub fn new(doing: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(doing.to_owned());
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {elapsed} (Ctrl-C ends it)")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(150));
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Sends a command that takes long and returns the answer, whatever its status; a spinner says what
/// is being done.
///
/// # Errors
/// When there is no answer; Ctrl-C withdraws the command and gives [`FailureKind::Cancelled`].
pub fn command(
    client: &mut Client,
    doing: &str,
    command: Command,
    patience: Duration,
) -> Result<Response, Failure> {
    let spinner = Spinner::new(doing);
    let result = client.command(command, patience);
    drop(spinner);
    result.map_err(|failure| match failure.kind {
        FailureKind::Cancelled => client::interrupted(doing),
        _ => failure,
    })
}
