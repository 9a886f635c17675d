//! What the kernel and libusb say, in our terms.

use std::io;

use crate::error::Error;

/// Why a device node did not open.
pub(super) fn open_error(error: io::Error, operation: &str, path: &std::path::Path) -> Error {
    let operation = operation.to_owned();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::NoPermission {
            operation,
            node: Some(path.display().to_string()),
        },
        Some(libc::ENODEV) => Error::Gone { operation },
        _ => Error::Other {
            operation,
            reason: format!("{}: {error}", path.display()),
        },
    }
}

/// In our terms.
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
