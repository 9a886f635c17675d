//! Spinner for work that takes long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, Response};
use uwwan_modem::client::{self, Client};

use crate::failure::{Failure, FailureKind};

/// Interval at which a state that is waited for is queried.
const LOOK: Duration = Duration::from_secs(2);

/// Spinner on standard error, shown if that is a terminal and removed when the value is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Starts a spinner with the name of the work.
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

/// Sends a command that takes long and returns the answer, whatever its status; a spinner names the
/// command meanwhile.
///
/// # Errors
/// Fails when there is no answer; Ctrl-C withdraws the command and gives
/// [`FailureKind::Cancelled`].
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

/// Waits for at most `patience` until the state that the modem reports in indications `id` no
/// longer `changes`, and returns the last state reported. A spinner says that the network is waited
/// for. The state is queried as well, because some firmware sends no indication. An indication is
/// skipped if `about` says that it is not about the state.
///
/// # Errors
/// Those of the query, and those of [`Client::next_indication`].
pub fn settled<T: Layout>(
    client: &mut Client,
    mut state: T,
    id: CidId,
    patience: Duration,
    about: impl Fn(&T) -> bool,
    query: impl Fn(&mut Client) -> Result<T, Failure>,
    changes: impl Fn(&T) -> bool,
) -> Result<T, Failure> {
    let _spinner = Spinner::new("waiting for the network");
    let deadline = Instant::now() + patience;
    while changes(&state) && Instant::now() < deadline {
        let told = client.next_indication(LOOK)?;
        let told = told.filter(|indication| indication.id == id);
        let told = told.and_then(|indication| indication.decode().ok());
        state = match told.filter(&about) {
            Some(state) => state,
            None => query(client)?,
        };
    }
    Ok(state)
}
