//! The ioctls of usbfs that are called without a library (`include/uapi/linux/usbdevice_fs.h`).

use std::ffi::c_uint;
use std::fs::File;
use std::io;

use rustix::ioctl::{Opcode, Setter, opcode};

/// Claims port `port` of the hub whose node is `hub` until `hub` is closed (`USBDEVFS_CLAIM_PORT`).
/// The kernel binds no driver to a device at a claimed port.
///
/// # Errors
/// Returns the refusal of the kernel, EBUSY when another program has claimed the port.
pub(crate) fn claim_port(hub: &File, port: u32) -> io::Result<()> {
    const CLAIM_PORT: Opcode = opcode::read::<c_uint>(b'U', 24);
    // SAFETY: the request takes a pointer to an unsigned integer, which is what is passed.
    unsafe {
        let request = Setter::<CLAIM_PORT, c_uint>::new(port);
        rustix::ioctl::ioctl(hub, request)?;
    }
    Ok(())
}

/// Selects a configuration of the device whose node is `device` (`USBDEVFS_SETCONFIGURATION`); 0
/// unconfigures it, for which the kernel takes -1. It probes its drivers before this returns.
///
/// # Errors
/// Returns the refusal of the kernel, EBUSY when an interface is bound or claimed.
pub(crate) fn select_configuration(device: &File, value: u8) -> io::Result<()> {
    const SET_CONFIGURATION: Opcode = opcode::read::<c_uint>(b'U', 5);
    let value = match value {
        0 => c_uint::MAX,
        value => value.into(),
    };
    // SAFETY: the request takes a pointer to an unsigned integer, which is what is passed.
    unsafe {
        let request = Setter::<SET_CONFIGURATION, c_uint>::new(value);
        rustix::ioctl::ioctl(device, request)?;
    }
    Ok(())
}
