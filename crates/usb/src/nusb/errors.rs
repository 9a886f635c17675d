//! The conversion of nusb's errors to those of this crate.

use ::nusb::ErrorKind;
use ::nusb::transfer::TransferError as Fault;

use crate::error::{Error, TransferError};

/// Turns an error of nusb's into one of this crate for `operation`.
pub(super) fn to_error(error: &::nusb::Error, operation: String) -> Error {
    match (error.kind(), code(error)) {
        (ErrorKind::Disconnected, _) => Error::Gone { operation },
        (ErrorKind::Busy, _) => Error::Busy {
            operation,
            holder: None,
        },
        (ErrorKind::PermissionDenied, _) => Error::NoPermission {
            operation,
            node: None,
        },
        (_, Some(libc::EPIPE)) => Error::Stall { operation },
        (_, Some(libc::ETIMEDOUT)) => Error::Timeout { operation },
        (_, Some(libc::ENOMEM)) => Error::NoMemory { operation },
        _ => Error::Other {
            operation,
            reason: error.to_string(),
        },
    }
}

/// Returns the kernel's error number, if the kernel refused.
pub(super) fn code(error: &::nusb::Error) -> Option<i32> {
    error.os_error().and_then(|code| i32::try_from(code).ok())
}

/// Returns whether the kernel had no memory for a transfer, so that it never began.
pub(super) fn is_no_memory(fault: Fault) -> bool {
    matches!(fault, Fault::Unknown(code) if i32::try_from(code) == Ok(libc::ENOMEM))
}

/// Turns the fault of a failed transfer into the reason why it ended. `full` says that a receive
/// transfer has all the bytes it asked for; because it failed all the same, the device sent more.
/// nusb does not tell EOVERFLOW from other faults.
pub(super) fn to_transfer_error(fault: Fault, full: bool) -> TransferError {
    match fault {
        Fault::Cancelled => TransferError::Cancelled,
        Fault::Stall => TransferError::Stall,
        Fault::Disconnected => TransferError::Gone,
        Fault::Fault if full => TransferError::Overflow,
        Fault::Fault | Fault::InvalidArgument | Fault::Unknown(_) => TransferError::Fault,
    }
}

/// Turns the fault of a transfer that the kernel did not accept into an error for `operation`.
pub(super) fn to_refusal(fault: Fault, operation: String) -> Error {
    match fault {
        Fault::Disconnected => Error::Gone { operation },
        Fault::Stall => Error::Stall { operation },
        fault if is_no_memory(fault) => Error::NoMemory { operation },
        // The fault is ENOENT, because the transfer cannot have been cancelled yet.
        Fault::Cancelled => Error::Other {
            operation,
            reason: "refused by the kernel: not in the active alternate setting, or not claimed \
                     any more"
                .to_owned(),
        },
        fault => Error::Other {
            operation,
            reason: format!("refused by the kernel: {fault}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_a_fault_with_everything_asked_for() {
        assert_eq!(
            to_transfer_error(Fault::Fault, true),
            TransferError::Overflow
        );
        assert_eq!(to_transfer_error(Fault::Fault, false), TransferError::Fault);
        assert_eq!(to_transfer_error(Fault::Stall, true), TransferError::Stall);
    }

    #[test]
    fn refusals_are_told_apart() {
        let refusal = |fault| to_refusal(fault, "submit".to_owned());
        assert!(matches!(
            refusal(Fault::Unknown(12)),
            Error::NoMemory { .. }
        ));
        assert!(matches!(refusal(Fault::Disconnected), Error::Gone { .. }));
        assert!(refusal(Fault::Cancelled).to_string().contains("claimed"));
        assert!(refusal(Fault::Unknown(22)).to_string().contains("22"));
    }
}
