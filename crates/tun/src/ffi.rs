//! The two places where the compiler has to take our word.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use rustix::thread::UnshareFlags;

/// The descriptor of a TUN interface.
pub(crate) fn descriptor(interface: tun_tap::Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the interface's ownership of its open descriptor, so this is
    // its one owner from here on.
    unsafe { OwnedFd::from_raw_fd(interface.into_raw_fd()) }
}

/// Moves the calling thread into new namespaces of the kinds given.
pub(crate) fn unshare(kinds: Namespaces) -> io::Result<()> {
    let flags = match kinds {
        Namespaces::Network => UnshareFlags::NEWNET,
        Namespaces::UserAndNetwork => UnshareFlags::NEWUSER.union(UnshareFlags::NEWNET),
    };
    // SAFETY: the call is unsafe because of CLONE_FILES, which splits the descriptor table under
    // other threads. Neither flag here implies it: user and network namespaces leave descriptors
    // and memory alone.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Kinds of namespaces that [`unshare`] can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespaces {
    Network,
    UserAndNetwork,
}
