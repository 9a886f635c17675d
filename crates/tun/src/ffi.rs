//! System calls that need `unsafe`, each with the argument why it is sound.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};
use rustix::thread::UnshareFlags;

/// Returns the descriptor of a TUN interface.
pub(crate) fn descriptor(interface: tun_tap::Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the interface's ownership of its open descriptor, so this is
    // its one owner from here on.
    unsafe { OwnedFd::from_raw_fd(interface.into_raw_fd()) }
}

/// `struct ifreq` as `TUNSETIFF` uses it: the name, then a union of 24 bytes (16 on 32-bit
/// machines) that begins with the flags.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct InterfaceRequest {
    /// Name of the interface, ended by a zero.
    pub name: [u8; 16],
    /// Flags such as `IFF_TUN`, or the address family where the union is an address.
    pub flags: u16,
    /// Rest of the union. It is never shorter than the kernel's, so that the kernel reads and
    /// writes inside it.
    pub rest: [u8; 22],
}

// The numbers are those of `linux/if_tun.h`, which encode the size of an int whatever the argument
// is.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNGETFEATURES: Opcode = opcode::read::<u32>(b'T', 207);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);
const TUNGETIFF: Opcode = opcode::read::<u32>(b'T', 210);
const TUNSETQUEUE: Opcode = opcode::write::<i32>(b'T', 217);
const TUNSETVNETHDRSZ: Opcode = opcode::write::<i32>(b'T', 216);
const TUNSETCARRIER: Opcode = opcode::write::<i32>(b'T', 226);
/// Flag of `TUNSETQUEUE` that detaches a queue (`linux/if_tun.h`).
const IFF_DETACH_QUEUE: u16 = 0x0400;
// The numbers are those of `linux/sockios.h`. The TUN driver takes them on its own descriptor, from
// any process that may use the interface.
const SIOCGIFHWADDR: Opcode = 0x8927;
const SIOCSIFHWADDR: Opcode = 0x8924;
/// Kind of address that an Ethernet interface has (`linux/if_arp.h`).
const ARPHRD_ETHER: u16 = 1;

/// Attaches a descriptor of the TUN driver to an interface, whose name and flags are filled in.
pub(crate) fn set_interface(
    driver: BorrowedFd<'_>,
    request: &mut InterfaceRequest,
) -> io::Result<()> {
    // SAFETY: the kernel reads and writes a `struct ifreq` through the pointer, which is to at
    // least as many bytes of plain data, exclusively borrowed.
    Ok(unsafe { ioctl(driver, Updater::<TUNSETIFF, InterfaceRequest>::new(request)) }?)
}

/// Returns the name and the flags of the interface that a descriptor of the TUN driver belongs to.
pub(crate) fn interface(queue: BorrowedFd<'_>) -> io::Result<InterfaceRequest> {
    let mut request = InterfaceRequest::default();
    // SAFETY: the kernel reads and writes a `struct ifreq` through the pointer, which is to at
    // least as many bytes of plain data, exclusively borrowed.
    unsafe {
        ioctl(
            queue,
            Updater::<TUNGETIFF, InterfaceRequest>::new(&mut request),
        )
    }?;
    Ok(request)
}

/// Returns the flags that the TUN driver knows (`IFF_*`).
pub(crate) fn features(driver: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the kernel writes one unsigned int through the pointer, and there is room for one.
    Ok(unsafe { ioctl(driver, Getter::<TUNGETFEATURES, u32>::new()) }?)
}

/// Tells the kernel which offloads the reader of this TUN interface can deal with (`TUN_F_*`).
pub(crate) fn set_offload(interface: BorrowedFd<'_>, offloads: u32) -> io::Result<()> {
    // SAFETY: the argument is a number, passed by value; the kernel refuses ones it does not know.
    Ok(unsafe {
        ioctl(
            interface,
            IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads as usize),
        )
    }?)
}

/// Detaches this queue of an interface, so that the kernel puts no packet into it.
pub(crate) fn detach_queue(queue: BorrowedFd<'_>) -> io::Result<()> {
    let request = InterfaceRequest {
        flags: IFF_DETACH_QUEUE,
        ..InterfaceRequest::default()
    };
    // SAFETY: the kernel reads a `struct ifreq` through the pointer, which is to at least as many
    // bytes of plain data.
    Ok(unsafe { ioctl(queue, Setter::<TUNSETQUEUE, InterfaceRequest>::new(request)) }?)
}

/// Sets the length in bytes of the virtio header in front of each packet.
pub(crate) fn set_vnet_header_length(interface: BorrowedFd<'_>, length: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one int through the pointer, and one is there.
    Ok(unsafe { ioctl(interface, Setter::<TUNSETVNETHDRSZ, i32>::new(length)) }?)
}

/// Brings the carrier of this TAP interface up or down.
pub(crate) fn set_carrier(interface: BorrowedFd<'_>, up: bool) -> io::Result<()> {
    // SAFETY: the kernel reads one int through the pointer, and one is there.
    Ok(unsafe { ioctl(interface, Setter::<TUNSETCARRIER, i32>::new(up.into())) }?)
}

/// Returns the Ethernet address of this TAP interface.
pub(crate) fn hardware_address(interface: BorrowedFd<'_>) -> io::Result<[u8; 6]> {
    let mut request = InterfaceRequest::default();
    // SAFETY: the kernel writes a `struct ifreq` through the pointer, which is to at least as many
    // bytes of plain data, exclusively borrowed.
    unsafe {
        ioctl(
            interface,
            Updater::<SIOCGIFHWADDR, InterfaceRequest>::new(&mut request),
        )
    }?;
    let [a, b, c, d, e, f, ..] = request.rest;
    Ok([a, b, c, d, e, f])
}

/// Gives this TAP interface an Ethernet address.
pub(crate) fn set_hardware_address(interface: BorrowedFd<'_>, address: [u8; 6]) -> io::Result<()> {
    // A `struct sockaddr` begins where the flags do, with the family, followed by the address.
    let mut rest = [0; 22];
    rest[..6].copy_from_slice(&address);
    let mut request = InterfaceRequest {
        flags: ARPHRD_ETHER,
        rest,
        ..InterfaceRequest::default()
    };
    // SAFETY: the kernel reads a `struct ifreq` through the pointer, which is to at least as many
    // bytes of plain data. They are exclusively borrowed, in case the kernel writes as well.
    Ok(unsafe {
        ioctl(
            interface,
            Updater::<SIOCSIFHWADDR, InterfaceRequest>::new(&mut request),
        )
    }?)
}

/// Moves the calling thread into new namespaces of the kinds given.
pub(crate) fn unshare(kinds: Namespaces) -> io::Result<()> {
    let mut flags = UnshareFlags::NEWNET;
    if kinds.user {
        flags |= UnshareFlags::NEWUSER;
    }
    if kinds.mounts {
        flags |= UnshareFlags::NEWNS;
    }
    // SAFETY: the call is unsafe because of CLONE_FILES, which gives the thread a descriptor table
    // apart from other threads. None of the flags here implies it: these namespaces leave
    // descriptors and memory as they are.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Kinds of namespaces that [`unshare`] makes beside a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// A user namespace around the others.
    pub user: bool,
    /// A mount namespace.
    pub mounts: bool,
}
