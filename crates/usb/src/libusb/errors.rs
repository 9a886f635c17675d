//! The conversion of libusb's errors to those of this crate.

use crate::error::Error;

/// Turns an error of libusb's into one of this crate for `operation`.
pub(super) fn to_error(error: rusb::Error, operation: String) -> Error {
    match error {
        rusb::Error::NoDevice => Error::Gone { operation },
        rusb::Error::Busy => Error::Busy {
            operation,
            holder: None,
        },
        rusb::Error::Access => Error::NoPermission {
            operation,
            node: None,
        },
        rusb::Error::Pipe => Error::Stall { operation },
        rusb::Error::Timeout => Error::Timeout { operation },
        rusb::Error::NoMem => Error::NoMemory { operation },
        other => Error::Other {
            operation,
            reason: other.to_string(),
        },
    }
}
