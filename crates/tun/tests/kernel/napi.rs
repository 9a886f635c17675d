//! A TUN interface on which the kernel's receive offload merges what is written, and holds it long
//! enough for more to come.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use uwwan_tun::Interface;

const IFF_TUN: u16 = 0x0001;
const IFF_NAPI: u16 = 0x0010;
const IFF_NO_PI: u16 = 0x1000;
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

pub struct Napi {
    descriptor: OwnedFd,
    index: u32,
}

/// Attaches to an interface, or makes it, with these flags beside the ones that all interfaces here
/// have. `offloads` (`TUN_F_*`) are requested if there are any.
pub fn attach(name: &str, flags: u16, offloads: usize) -> OwnedFd {
    let descriptor: OwnedFd = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .expect("the TUN driver")
        .into();
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: IFF_TUN | IFF_NO_PI | flags,
        rest: [0; 22],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the kernel reads and writes a `struct ifreq`, 40 bytes, and that many are there.
    unsafe {
        ioctl(
            &descriptor,
            Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request),
        )
    }
    .expect("an interface");
    if offloads > 0 {
        // SAFETY: the argument is a number, passed by value.
        unsafe {
            ioctl(
                &descriptor,
                IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads),
            )
        }
        .expect("offloads");
    }
    rustix::io::ioctl_fionbio(&descriptor, true).expect("non-blocking");
    descriptor
}

impl Napi {
    /// Opens an interface that holds what it merges for the time `hold` after the last write. The
    /// process moves into a mount namespace of its own.
    pub fn open(hold: Duration) -> Napi {
        let name = "napi0";
        let descriptor = attach(name, IFF_NAPI, 0);
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            None,
        )
        .expect("a socket");
        let index = rustix::net::netdevice::name_to_index(&socket, name).expect("it is there");
        hold_for(name, hold);
        Napi { descriptor, index }
    }

    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.descriptor, packet)?)
    }
}

/// Sets how long the kernel holds packets. The setting is in sysfs only, of which each network
/// namespace has its own.
fn hold_for(name: &str, hold: Duration) {
    // SAFETY: the process has one thread, and its descriptors stay shared with nobody.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .expect("mounts of our own");
    let place = tempfile::tempdir().expect("a directory");
    mount("sysfs", place.path(), "sysfs", MountFlags::empty(), None).expect("sysfs");
    let setting = place
        .path()
        .join(format!("class/net/{name}/gro_flush_timeout"));
    fs::write(setting, hold.as_nanos().to_string()).expect("set");
    rustix::mount::unmount(place.path(), rustix::mount::UnmountFlags::DETACH).expect("unmounted");
}

impl Interface for Napi {
    fn name(&self) -> &str {
        "napi0"
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn attached(&self) -> bool {
        false
    }
}

impl AsFd for Napi {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
