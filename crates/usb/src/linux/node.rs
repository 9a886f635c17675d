//! The nodes of devices and hubs in `/dev/bus/usb`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Error;

/// Opens a device node for reading and writing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path)
}

/// Turns the refusal to open a device node into an error for `operation`: [`Error::NoPermission`],
/// [`Error::Gone`], or [`Error::Other`] with the path.
pub(crate) fn open_error(error: &io::Error, operation: &str, path: &Path) -> Error {
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
