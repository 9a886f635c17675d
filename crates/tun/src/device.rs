//! A TUN or TAP interface, each of whose system calls carries one whole IP packet or Ethernet
//! frame, without a header in front of it.
//!
//! The system calls are openat, ioctl (TUNSETIFF, TUNSETOFFLOAD, FIONBIO), read, write, preadv2, pwritev2
//! and close; with TAP also ioctl (SIOCGIFHWADDR, SIOCSIFHWADDR, TUNSETCARRIER).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use netlink_packet_core::Nla as _;
use netlink_packet_route::link::{InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use crate::error::{Error, ErrorKind};
use crate::waiting::NoWait;
use crate::{ffi, netlink::Netlink};

/// Name template in which the kernel replaces `%d` by the first free number.
pub const DEFAULT_NAME: &str = "uwwan%d";
/// Longest interface name in bytes (`IFNAMSIZ` less the final zero).
const MAX_NAME: usize = 15;
/// Attributes that the driver reports of an interface (`linux/if_link.h`).
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;
pub(crate) const DRIVER: &str = "/dev/net/tun";

/// An interface of the kernel that can be configured.
pub trait Interface {
    /// Returns the interface's name.
    fn name(&self) -> &str;

    /// Returns the interface's index in its network namespace.
    fn index(&self) -> u32;

    /// Returns whether the interface existed before, so that it stays when this value is dropped.
    fn attached(&self) -> bool;
}

/// A TUN interface. Unless root made it persistent, it vanishes with all its addresses and routes
/// when this value is dropped.
///
/// All methods take shared references; the kernel keeps concurrent packets apart.
#[derive(Debug)]
pub struct Tun {
    descriptor: OwnedFd,
    name: String,
    index: u32,
    attached: bool,
    waiting: NoWait,
}

impl Tun {
    /// Opens a TUN interface: an existing one of that name that root made for this user (`ip tuntap
    /// add dev NAME mode tun user USER`), or else a new one. `%d` in the name stands for the first
    /// free number, and no name for [`DEFAULT_NAME`]. A new interface is down and has no addresses;
    /// [`crate::addresses::Configuration`] changes that.
    ///
    /// # Errors
    /// [`ErrorKind::NoDriver`] without `/dev/net/tun`, [`ErrorKind::NoPermission`],
    /// [`ErrorKind::Busy`] when another process has the interface, [`ErrorKind::Invalid`] for a
    /// bad name or an interface of that name of another kind.
    pub fn open(name: Option<&str>) -> Result<Tun, Error> {
        Self::open_as(name, tun_tap::Mode::Tun)
    }

    fn open_as(name: Option<&str>, mode: tun_tap::Mode) -> Result<Tun, Error> {
        let kind = kind_of(mode);
        let wanted = name.unwrap_or(DEFAULT_NAME);
        check_name(wanted)?;
        // The driver is opened once before tun-tap opens it, to tell a driver that is missing or
        // forbidden from an interface that is not available.
        if let Err(source) = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(DRIVER)
        {
            return Err(driver_error(source));
        }
        let before = index_of(wanted);
        check_owner(kind, wanted)?;
        let interface = tun_tap::Iface::without_packet_info(wanted, mode)
            .map_err(|source| interface_error(kind, wanted, before.is_some(), source))?;
        let name = interface.name().to_owned();
        let descriptor = ffi::descriptor(interface);
        let failed = |what: &str| {
            let what = format!("{what} {kind} interface {name}");
            move |errno: rustix::io::Errno| Error::system(what, errno.into())
        };
        rustix::io::ioctl_fionbio(&descriptor, true).map_err(failed("make non-blocking:"))?;
        // A reader before may have told the kernel that it takes large packets, which this one,
        // without a header in front, could not recognise.
        if let Err(error) = ffi::set_offload(descriptor.as_fd(), 0) {
            tracing::debug!(%error, interface = %name, "offloads could not be turned off");
        }
        let index = Netlink::open()?.index(&name)?;
        Ok(Tun {
            attached: before == Some(index),
            waiting: NoWait::File,
            descriptor,
            name,
            index,
        })
    }

    /// Makes an interface of a descriptor that another process has opened and handed over. Its
    /// settings stay as that process made them. `waiting` says how calls on the descriptor are kept
    /// from waiting.
    #[must_use]
    pub fn handed(descriptor: OwnedFd, name: String, index: u32, waiting: NoWait) -> Tun {
        Tun {
            descriptor,
            name,
            index,
            attached: false,
            waiting,
        }
    }

    /// Reads one packet from the kernel straight into `buffer` and returns its length in bytes. The
    /// rest of a longer packet is lost.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when no packet waits; `EBADFD` (77) when the interface was
    /// deleted.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive_vectored(&mut [IoSliceMut::new(buffer)])
    }

    /// Reads one packet as [`Tun::receive`] does into buffers, one after the other.
    ///
    /// # Errors
    /// As [`Tun::receive`].
    pub fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(self.waiting.readv(&self.descriptor, buffers)?)
    }

    /// Gives one packet to the kernel, straight from `packet`, and returns its length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for bytes that are no IP packet, `EIO` (5) while the interface is
    /// down, [`io::ErrorKind::WouldBlock`] when the kernel is behind.
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        let buffers = [IoSlice::new(packet)];
        Ok(self.waiting.writev(&self.descriptor, &buffers)?)
    }

    /// Returns the interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interface's index in its network namespace.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns whether the interface existed before, so that it stays when this value is dropped.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.attached
    }
}

/// A TAP interface, which carries Ethernet frames and is otherwise like [`Tun`].
#[derive(Debug)]
pub struct Tap {
    tun: Tun,
    /// Ethernet address that the interface had before this value changed it.
    before: Option<[u8; 6]>,
}

impl Tap {
    /// Opens a TAP interface as [`Tun::open`] does (`ip tuntap add dev NAME mode tap user USER`),
    /// with this Ethernet address or the one the kernel made up.
    ///
    /// # Errors
    /// As [`Tun::open`], and [`ErrorKind::Invalid`] for an address the kernel does not take: all
    /// zeros, or a group's.
    pub fn open(name: Option<&str>, address: Option<[u8; 6]>) -> Result<Tap, Error> {
        let mut tap = Tap {
            tun: Tun::open_as(name, tun_tap::Mode::Tap)?,
            before: None,
        };
        if tap.tun.attached {
            tap.before = Some(tap.address()?);
        } else if address.is_some() {
            await_udev(&tap.tun);
        }
        if let Some(address) = address {
            tap.set_address(address)?;
        }
        Ok(tap)
    }

    /// Makes an interface of a descriptor as [`Tun::handed`] does.
    #[must_use]
    pub fn handed(descriptor: OwnedFd, name: String, index: u32, waiting: NoWait) -> Tap {
        Tap {
            tun: Tun::handed(descriptor, name, index, waiting),
            before: None,
        }
    }

    /// Returns the interface's Ethernet address.
    ///
    /// # Errors
    /// Fails when the interface was deleted.
    pub fn address(&self) -> Result<[u8; 6], Error> {
        ffi::hardware_address(self.as_fd()).map_err(|source| {
            let what = format!("read the address of TAP interface {}", self.name());
            Error::system(what, source)
        })
    }

    /// Gives the interface another Ethernet address. An interface that existed before gets its own
    /// address back when this value is dropped.
    ///
    /// # Errors
    /// As [`Tap::open`].
    pub fn set_address(&self, address: [u8; 6]) -> Result<(), Error> {
        ffi::set_hardware_address(self.as_fd(), address).map_err(|source| {
            let what = format!(
                "give TAP interface {} the address {}",
                self.name(),
                address.map(|byte| format!("{byte:02x}")).join(":")
            );
            if source.raw_os_error() == Some(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error()) {
                return Error::new(
                    ErrorKind::Invalid,
                    what,
                    "it is no address of a single station",
                    "use an address whose first byte is even, and not all zeros",
                )
                .because(source);
            }
            Error::system(what, source)
        })
    }

    /// Tells the kernel, and programs that watch the interface, whether the link that the interface
    /// stands for is up.
    ///
    /// # Errors
    /// Fails when the interface was deleted, or the kernel cannot do it (before 5.0).
    pub fn set_carrier(&self, up: bool) -> Result<(), Error> {
        ffi::set_carrier(self.as_fd(), up).map_err(|source| {
            let state = if up { "up" } else { "down" };
            let what = format!("set the link of TAP interface {} {state}", self.name());
            Error::system(what, source)
        })
    }

    /// Reads one frame, without its frame check sequence, as [`Tun::receive`] does a packet.
    ///
    /// # Errors
    /// As [`Tun::receive`].
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tun.receive(buffer)
    }

    /// Reads one frame as [`Tap::receive`] does into buffers, one after the other.
    ///
    /// # Errors
    /// As [`Tun::receive`].
    pub fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.tun.receive_vectored(buffers)
    }

    /// Gives one frame, without its frame check sequence, to the kernel as [`Tun::send`] does a
    /// packet.
    ///
    /// # Errors
    /// As [`Tun::send`]; [`io::ErrorKind::InvalidInput`] for a frame shorter than an Ethernet
    /// header.
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        self.tun.send(frame)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(before) = self.before
            && self.address().is_ok_and(|address| address != before)
            && let Err(error) = self.set_address(before)
        {
            tracing::warn!("{error}");
        }
    }
}

impl Interface for Tap {
    fn name(&self) -> &str {
        &self.tun.name
    }

    fn index(&self) -> u32 {
        self.tun.index
    }

    fn attached(&self) -> bool {
        self.tun.attached
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tun.as_fd()
    }
}

impl Interface for Tun {
    fn name(&self) -> &str {
        &self.name
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn attached(&self) -> bool {
        self.attached
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Returns the index of the interface of this name, if there is one. A template with `%d` matches
/// no interface.
pub(crate) fn index_of(name: &str) -> Option<u32> {
    Netlink::open().ok()?.index(name).ok()
}

/// Returns the number of descriptors that hold a queue of a TUN or TAP interface with
/// IFF_MULTI_QUEUE; `None` for an interface without that flag, or of another driver
/// (`tun_fill_info` in drivers/net/tun.c).
pub(crate) fn queues_in_use(name: &str) -> Option<u32> {
    // The kernel reports both numbers for interfaces with IFF_MULTI_QUEUE only.
    let attached = driver_attribute(name, IFLA_TUN_NUM_QUEUES)?;
    Some(attached.saturating_add(driver_attribute(name, IFLA_TUN_NUM_DISABLED_QUEUES)?))
}

/// Checks that an existing interface was not made for another user (TUNSETOWNER). The kernel lets a
/// process with CAP_NET_ADMIN attach to any interface.
pub(crate) fn check_owner(kind: &str, name: &str) -> Result<(), Error> {
    match driver_attribute(name, IFLA_TUN_OWNER) {
        Some(owner) if owner != rustix::process::geteuid().as_raw() => Err(Error::new(
            ErrorKind::NoPermission,
            format!("open {kind} interface {name}"),
            format!("it was made for user {owner}"),
            "choose another name, or run as that user",
        )),
        _ => Ok(()),
    }
}

/// Returns an attribute of a TUN or TAP interface that its driver reports (`IFLA_TUN_*` in
/// linux/if_link.h).
fn driver_attribute(name: &str, wanted: u16) -> Option<u32> {
    let link = Netlink::open().ok()?.link(name, 0).ok()?;
    let infos = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        })?;
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Tun(data)) => Some(data),
        _ => None,
    })?;
    let found = data.iter().find(|value| value.kind() == wanted)?;
    let mut bytes = [0; 4];
    (found.value_len() == bytes.len()).then(|| found.emit_value(&mut bytes))?;
    Some(u32::from_ne_bytes(bytes))
}

/// Returns whether an interface is of the TUN driver: a TUN or TAP interface.
pub(crate) fn is_tun(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Tun)),
        _ => false,
    })
}

/// Checks a name by the kernel's rules (`dev_valid_name`); tun-tap would cut a wrong one silently.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "it is a directory's"
    } else if name
        .bytes()
        .any(|byte| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace())
    {
        "it has a slash, colon, space or zero"
    } else if name.matches('%').count() > 1 || name.replace("%d", "").contains('%') {
        "a % may only be part of one %d"
    } else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Invalid,
        format!("name a TUN interface {name:?}"),
        problem,
        "choose a name such as uwwan0 or uwwan%d",
    ))
}

pub(crate) fn driver_error(source: io::Error) -> Error {
    let what = format!("open {DRIVER}");
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorKind::NoPermission,
            what,
            "its file permissions forbid it",
            "as root: chmod 0666 /dev/net/tun (making interfaces stays privileged), or use the userspace stack",
        ),
        io::ErrorKind::NotFound => Error::new(
            ErrorKind::NoDriver,
            what,
            "the kernel's TUN driver is not there",
            "as root: modprobe tun; in a container: start it with --device /dev/net/tun; or use the userspace stack",
        ),
        _ => Error::new(
            ErrorKind::NoDriver,
            what,
            format!("the kernel's TUN driver does not work here ({source})"),
            "as root: modprobe tun; or use the userspace stack",
        ),
    }
    .because(source)
}

/// Socket whose existence shows that udev runs.
const UDEV: &str = "/run/udev/control";
/// Longest wait for udev to process a new interface.
const UDEV_PATIENCE: Duration = Duration::from_secs(1);

/// Waits until udev has processed a new interface, which its database shows. Where udev finds an
/// address that the kernel made up, it may give the interface another one (`MACAddressPolicy=` in
/// systemd.link(5)), even in place of one that was set meanwhile. It never sees interfaces of other
/// namespaces.
fn await_udev(tun: &Tun) {
    let seen = Path::new("/sys/class/net").join(&tun.name).exists();
    if !seen || !Path::new(UDEV).exists() {
        return;
    }
    let entry = format!("/run/udev/data/n{}", tun.index);
    let deadline = Instant::now() + UDEV_PATIENCE;
    while !Path::new(&entry).exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kind_of(mode: tun_tap::Mode) -> &'static str {
    match mode {
        tun_tap::Mode::Tun => "TUN",
        tun_tap::Mode::Tap => "TAP",
    }
}

/// Returns the error for an interface with several queues, which other programs may be reading.
pub(crate) fn several_readers(what: String) -> Error {
    Error::new(
        ErrorKind::Busy,
        what,
        "another process has some of its queues open",
        "stop that process (another uwwan?) or choose another name",
    )
}

/// Returns the error for an interface of the `kind` `TUN` or `TAP` that cannot be opened. `existed`
/// says whether there is an interface of that name.
pub(crate) fn interface_error(kind: &str, name: &str, existed: bool, source: io::Error) -> Error {
    use rustix::io::Errno;
    let what = format!("open {kind} interface {name}");
    let mode = kind.to_ascii_lowercase();
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::PERM | Errno::ACCESS) if existed => Error::new(
            ErrorKind::NoPermission,
            what,
            "it belongs to another user",
            format!(
                "as root: ip tuntap del dev {name} mode {mode} && ip tuntap add dev {name} mode {mode} user $USER"
            ),
        ),
        Some(Errno::PERM | Errno::ACCESS) => Error::new(
            ErrorKind::NoPermission,
            what,
            "making an interface needs CAP_NET_ADMIN",
            format!(
                "run as root, give the program the capability (setcap cap_net_admin+ep PROGRAM), have root prepare the interface (ip tuntap add dev {} mode {mode} user $USER), or use the userspace stack",
                name.replace("%d", "0")
            ),
        ),
        Some(Errno::BUSY) => Error::new(
            ErrorKind::Busy,
            what,
            "another process has it open",
            "stop that process (another uwwan?) or choose another name",
        ),
        Some(Errno::INVAL) if existed && queues_in_use(name).is_some_and(|count| count > 0) => {
            several_readers(what)
        }
        Some(Errno::INVAL) if existed && queues_in_use(name).is_some() => Error::new(
            ErrorKind::Invalid,
            what,
            "it was made with several queues, which only a TUN with offload reads",
            format!(
                "as root: ip tuntap del dev {name} mode {mode} multi_queue && ip tuntap add dev {name} mode {mode} user $USER"
            ),
        ),
        Some(Errno::INVAL) if existed => Error::new(
            ErrorKind::Invalid,
            what,
            format!("an interface of that name exists and is no plain {kind} interface"),
            "choose another name, or delete that one",
        ),
        _ => Error::system(what, io::Error::from(source.kind())),
    }
    .because(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_kernels_rules() {
        for good in ["uwwan0", "uwwan%d", "wwan%d", "a", "fifteen-bytes--"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a:b",
            "sixteen-bytes---",
            "%s",
            "%d%d",
            "a%",
        ] {
            let error = check_name(bad).expect_err(bad);
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let missing = driver_error(io::Error::from_raw_os_error(2));
        assert_eq!(missing.kind, ErrorKind::NoDriver);
        assert!(missing.to_string().contains("modprobe tun"), "{missing}");
        let denied = interface_error("TUN", "uwwan%d", false, io::Error::from_raw_os_error(1));
        assert_eq!(denied.kind, ErrorKind::NoPermission);
        assert!(
            denied
                .to_string()
                .contains("ip tuntap add dev uwwan0 mode tun"),
            "{denied}"
        );
        let theirs = interface_error("TUN", "t0", true, io::Error::from_raw_os_error(1));
        assert!(theirs.to_string().contains("another user"), "{theirs}");
        let busy = interface_error("TUN", "t0", true, io::Error::from_raw_os_error(16));
        assert_eq!(busy.kind, ErrorKind::Busy);
        let other = interface_error("TUN", "t0", true, io::Error::from_raw_os_error(22));
        assert_eq!(other.kind, ErrorKind::Invalid);
    }
}
