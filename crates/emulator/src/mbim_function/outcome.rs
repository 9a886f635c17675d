//! Outcome of a command, and the checks that many commands begin with.

use std::time::Duration;

use uwwan_mbim::fields::Layout;
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use crate::firmware::Lock;
use crate::knobs::SimState;

/// Outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Status of COMMAND_DONE.
    pub status: Status,
    /// Information buffer of COMMAND_DONE.
    pub info: Vec<u8>,
    /// Time until COMMAND_DONE is due.
    pub delay: Duration,
}

impl Default for Outcome {
    /// Returns success without information, due at once.
    fn default() -> Self {
        Self {
            status: Status::NONE,
            info: Vec::new(),
            delay: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// Returns success with `layout` as information, due at once.
    pub fn of(layout: &impl Layout) -> Self {
        Self {
            info: layout.encode_info(),
            ..Self::default()
        }
    }

    /// Returns a refusal without information, due at once.
    pub fn refused(status: Status) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// Reads an information buffer.
///
/// # Errors
/// [`Status::INVALID_PARAMETERS`] when it does not have the layout.
pub(super) fn decode<T: Layout>(info: &[u8]) -> Result<T, Status> {
    T::decode_info(info).map_err(|_| Status::INVALID_PARAMETERS)
}

/// Checks that there is a working SIM, locked or not.
///
/// # Errors
/// Returns the status that says what is wrong with the SIM.
pub(super) fn sim_there(context: &MbimContext<'_>) -> Result<(), Status> {
    match context.firmware.sim() {
        SimState::Ready => Ok(()),
        SimState::Absent => Err(Status::SIM_NOT_INSERTED),
        SimState::Bad => Err(Status::BAD_SIM),
        SimState::NotInitialized => Err(Status::NOT_INITIALIZED),
    }
}

/// Checks that there is a working SIM that asks for no PIN or PUK.
///
/// # Errors
/// Returns the status that says what is wrong with the SIM.
pub(super) fn sim_open(context: &MbimContext<'_>) -> Result<(), Status> {
    sim_there(context)?;
    match context.firmware.lock() {
        Lock::Open => Ok(()),
        Lock::Dead => Err(Status::BAD_SIM),
        Lock::Pin | Lock::Puk => Err(Status::PIN_REQUIRED),
    }
}
