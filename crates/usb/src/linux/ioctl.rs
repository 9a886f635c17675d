//! The ioctl by which a program claims a port of a hub.

use std::ffi::c_uint;
use std::fs::File;
use std::io;

/// Claims port `port` of the hub whose node is `hub` until that is closed (`USBDEVFS_CLAIM_PORT`,
/// `include/uapi/linux/usbdevice_fs.h`). The kernel binds no driver to a device at a claimed port.
///
/// # Errors
/// Returns the refusal of the kernel, EBUSY when another program has claimed the port.
pub(crate) fn claim(hub: &File, port: u32) -> io::Result<()> {
    const CLAIM_PORT: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<c_uint>(b'U', 24);
    // SAFETY: the request takes a pointer to an unsigned integer, which is what is passed.
    unsafe {
        let request = rustix::ioctl::Setter::<CLAIM_PORT, c_uint>::new(port);
        rustix::ioctl::ioctl(hub, request)?;
    }
    Ok(())
}
