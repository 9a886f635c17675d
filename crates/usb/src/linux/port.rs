//! The one request to a hub's node.

use std::ffi::c_uint;
use std::fs::File;
use std::io;

/// Takes port `port` of the hub behind `hub`, until `hub` is closed (`USBDEVFS_CLAIM_PORT`).
pub(super) fn claim(hub: &File, port: u32) -> io::Result<()> {
    const CLAIM_PORT: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<c_uint>(b'U', 24);
    // SAFETY: the request takes a pointer to an unsigned integer, which is what is passed.
    unsafe {
        let request = rustix::ioctl::Setter::<CLAIM_PORT, c_uint>::new(port);
        rustix::ioctl::ioctl(hub, request)?;
    }
    Ok(())
}
