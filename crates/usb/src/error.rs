//! What can go wrong with a USB device, in terms a user can act on.

use thiserror::Error as ThisError;

/// Why an operation on a device failed. `operation` names it with its device and target, as in
/// `claim interface 1 of 03f0:a31d at 1-4`.
#[derive(Debug, Clone, ThisError)]
pub enum Error {
    /// The device was unplugged or has re-enumerated.
    #[error("{operation}: the device is gone")]
    Gone {
        /// What was tried.
        operation: String,
    },
    /// A kernel driver or another process holds it; `holder` names it when known.
    #[error("{operation}: busy{}", holder.as_ref().map(|h| format!(", held by {h}")).unwrap_or_default())]
    Busy {
        /// What was tried.
        operation: String,
        /// Kernel driver or process.
        holder: Option<String>,
    },
    /// The device node cannot be opened for writing.
    #[error("{operation}: permission denied")]
    NoPermission {
        /// What was tried.
        operation: String,
        /// The device node, when known.
        node: Option<String>,
    },
    /// The device answered with a STALL.
    #[error("{operation}: refused by the device (STALL)")]
    Stall {
        /// What was tried.
        operation: String,
    },
    /// No answer in time.
    #[error("{operation}: no answer in time")]
    Timeout {
        /// What was tried.
        operation: String,
    },
    /// No such endpoint in the active alternate settings.
    #[error("{operation}: no such endpoint")]
    NoSuchEndpoint {
        /// What was tried.
        operation: String,
    },
    /// The kernel's memory budget for USB transfers (`usbfs_memory_mb`) is used up.
    #[error("{operation}: out of USB transfer memory")]
    NoMemory {
        /// What was tried.
        operation: String,
    },
    /// Anything else, with the backend's own words.
    #[error("{operation}: {reason}")]
    Other {
        /// What was tried.
        operation: String,
        /// The backend's words.
        reason: String,
    },
}

/// Why a queued transfer ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum TransferError {
    /// Cancelled by its owner.
    #[error("cancelled")]
    Cancelled,
    /// The endpoint is halted.
    #[error("endpoint halted (STALL)")]
    Stall,
    /// The device sent more than was asked for (babble).
    #[error("more data than asked for")]
    Overflow,
    /// Unplugged or re-enumerated.
    #[error("device gone")]
    Gone,
    /// Time ran out.
    #[error("timed out")]
    Timeout,
    /// CRC, bit stuffing, missing handshake and the like.
    #[error("transfer error")]
    Fault,
}
