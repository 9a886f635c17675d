//! The errors of USB devices, in terms a user can act on.

use std::fmt;

use thiserror::Error as ThisError;

/// Holder of an interface or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The kernel driver of this name.
    Driver(String),
    /// A program that has claimed it through usbfs. The text names the program and its process as
    /// far as they can be seen.
    Program(String),
    /// The part of this program that the text names.
    Own(&'static str),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(name) => write!(f, "{name}"),
            Self::Program(who) => write!(f, "usbfs ({who})"),
            Self::Own(part) => write!(f, "{part}"),
        }
    }
}

/// Reason why an operation on a device failed. `operation` names the operation with its target and
/// device, as in `claim interface 1 of 03f0:a31d at 1-4`.
#[derive(Debug, Clone, ThisError)]
pub enum Error {
    /// The device was unplugged or has re-enumerated.
    #[error("{operation}: the device is gone")]
    Gone {
        /// The operation that failed.
        operation: String,
    },
    /// A kernel driver or another process holds the target.
    #[error("{operation}: busy{}", holder.as_ref().map(|h| format!(", held by {h}")).unwrap_or_default())]
    Busy {
        /// The operation that failed.
        operation: String,
        /// Holder of the interface or device, when that is known.
        holder: Option<Holder>,
    },
    /// The device node cannot be opened for writing.
    #[error("{operation}: permission denied")]
    NoPermission {
        /// The operation that failed.
        operation: String,
        /// The device node, when known.
        node: Option<String>,
    },
    /// The device answered with a STALL (USB 2.0, 9.2.7).
    #[error("{operation}: refused by the device (STALL)")]
    Stall {
        /// The operation that failed.
        operation: String,
    },
    /// The device did not answer in time.
    #[error("{operation}: no answer in time")]
    Timeout {
        /// The operation that failed.
        operation: String,
    },
    /// The active alternate settings of the claimed interfaces have no such endpoint.
    #[error("{operation}: no such endpoint")]
    NoSuchEndpoint {
        /// The operation that failed.
        operation: String,
    },
    /// The kernel's memory budget for USB transfers (`usbfs_memory_mb`) is used up.
    #[error("{operation}: out of USB transfer memory")]
    NoMemory {
        /// The operation that failed.
        operation: String,
    },
    /// Any other failure, with the backend's own words.
    #[error("{operation}: {reason}")]
    Other {
        /// The operation that failed.
        operation: String,
        /// The backend's words.
        reason: String,
    },
}

/// Reason why a queued transfer ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum TransferError {
    /// The owner of the transfer cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The endpoint is halted.
    #[error("endpoint halted (STALL)")]
    Stall,
    /// The device sent more than was asked for (babble).
    #[error("more data than asked for")]
    Overflow,
    /// The device was unplugged or has re-enumerated.
    #[error("device gone")]
    Gone,
    /// The transfer took longer than its timeout.
    #[error("timed out")]
    Timeout,
    /// The bus failed: a wrong CRC or bit stuffing, a missing handshake and the like.
    #[error("transfer error")]
    Fault,
}
