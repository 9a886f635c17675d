//! The selection of the running `up` whose modem is captured.

use std::path::PathBuf;

use uwwan_modem::client::StatusClient;

use crate::failure::Failure;
use crate::running;

/// Selection of a running `up`.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Which, when several run: its port as `uwwan list` shows it, or `emulator`
    #[arg(long, short, value_name = "PORT")]
    device: Option<String>,
    /// Where running modems keep their control sockets
    #[arg(long, value_name = "DIR", env = "UWWAN_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
}

impl Place {
    /// Connects to the selected `up`.
    ///
    /// # Errors
    /// [`FailureKind`](crate::failure::FailureKind) `NotRunning` when none runs, `Several` when
    /// several do.
    pub fn connect(&self) -> Result<StatusClient, Failure> {
        running::status(self.runtime_dir.as_deref(), self.device.as_deref())
    }
}
