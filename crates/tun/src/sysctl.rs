//! IPv6 settings of an interface under `/proc/sys/net`.
//!
//! The system calls are openat, read and write.

use std::io;
use std::path::PathBuf;

/// Returns the path of an IPv6 setting of an interface (kernel,
/// `Documentation/networking/ip-sysctl.rst`).
fn path(interface: &str, setting: &str) -> PathBuf {
    // Interface names have neither a slash nor `..`; see device.rs.
    PathBuf::from(format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"))
}

/// Returns whether the kernel has IPv6 and gives it to this interface.
pub(crate) fn has_ipv6(interface: &str) -> bool {
    path(interface, "").exists()
}

/// Returns the value of an IPv6 setting of an interface, without the newline behind it.
///
/// # Errors
/// Returns the errors of the system: `NotFound` where the interface or the setting does not exist.
pub(crate) fn read(interface: &str, setting: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(path(interface, setting))?
        .trim()
        .to_owned())
}

/// Sets an IPv6 setting of an interface if it differs, and returns the value that it had before.
///
/// # Errors
/// Returns the errors of [`read`], and `PermissionDenied` or `ReadOnlyFilesystem` where the setting
/// cannot be written.
pub(crate) fn set(interface: &str, setting: &str, value: &str) -> io::Result<String> {
    let before = read(interface, setting)?;
    if before != value {
        std::fs::write(path(interface, setting), value)?;
    }
    Ok(before)
}
