//! A private network namespace for the process, with interfaces, addresses and routes separate from
//! the machine's. An ordinary user gets it together with a user namespace in which the process has
//! every capability, so that it may make a TUN interface there.
//!
//! The system calls are unshare, mount, prctl, openat, read, write, and those of netlink.rs.

use std::io;
use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use crate::error::{Error, ErrorKind};
use crate::ffi::{Namespaces, unshare};
use crate::netlink::{Mode, Netlink};

/// Way in which the private namespace was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// The process had the privileges to make a network namespace.
    Privileged,
    /// A user namespace is around the network namespace, in which the process has every capability.
    Unprivileged,
}

/// Moves the process into a new network namespace with only a loopback interface, which is up. An
/// ordinary user is root inside.
///
/// The program calls it at its start, while it has a single thread: with several, the kernel
/// refuses a user namespace, and with privileges only the calling thread would move. Open
/// descriptors stay open. The process cannot go back.
///
/// # Errors
/// [`ErrorKind::Invalid`] with more than one thread; [`ErrorKind::NoNamespaces`] when the system
/// forbids namespaces or has no more. The process may then go on outside of one, with the userspace
/// stack. Only where the system lets the namespace be made but gives no rights in it, the process
/// is left in one without any network.
/// without any network).
pub fn enter() -> Result<Entered, Error> {
    enter_new(Inside::Root)
}

/// Does as [`enter`] for programs that the process will start. The process moves into a new mount
/// namespace as well: its own mounts are seen by itself and its programs only, and later mounts of
/// the machine are seen here, too. An ordinary user stays the same user inside, so that the
/// programs have no capability.
///
/// # Errors
/// Those of [`enter`].
pub fn enter_for_programs() -> Result<Entered, Error> {
    enter_new(Inside::Same)
}

/// User that an ordinary user is inside a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Root, who sees the mounts of the machine.
    Root,
    /// The same user, with separate mounts.
    Same,
}

fn enter_new(inside: Inside) -> Result<Entered, Error> {
    let what = "enter a private network namespace";
    let threads = thread_count();
    if threads > 1 {
        return Err(Error::new(
            ErrorKind::Invalid,
            what,
            format!("the process has {threads} threads"),
            "this is a bug: it must happen before any thread is started",
        ));
    }
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mounts = inside == Inside::Same;
    let kinds = |user| Namespaces { user, mounts };
    let entered = match unshare(kinds(false)) {
        Ok(()) => Entered::Privileged,
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            unshare(kinds(true)).map_err(|source| refused(what, source))?;
            map_identity(inside, user.as_raw(), group.as_raw())
                .map_err(|source| powerless(what, "the user could not be mapped", source))?;
            Entered::Unprivileged
        }
        Err(source) => return Err(refused(what, source)),
    };
    if mounts {
        let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
        mount_change("/", flags).map_err(|errno| {
            powerless(
                what,
                "mounts could not be kept apart",
                io::Error::from(errno),
            )
        })?;
    }
    bring_up_loopback(what)?;
    Ok(entered)
}

/// Moves the calling thread, and no other, into a new network namespace with only a loopback
/// interface, which is up. It is like a second machine within the process. Sockets and interfaces
/// belong to the namespace of the thread that opens them, wherever they are used afterwards.
///
/// # Errors
/// [`ErrorKind::NoNamespaces`] without privileges; a process has them after [`enter`].
pub fn enter_alone() -> Result<(), Error> {
    let what = "enter a network namespace with one thread";
    let network = Namespaces {
        user: false,
        mounts: false,
    };
    unshare(network).map_err(|source| refused(what, source))?;
    bring_up_loopback(what)
}

/// Opens the calling thread's network namespace, for [`crate::veth::Veth::lay`].
///
/// # Errors
/// Fails when `/proc` is not mounted.
pub fn current() -> Result<std::fs::File, Error> {
    std::fs::File::open("/proc/thread-self/ns/net")
        .map_err(|source| Error::system("open the thread's network namespace", source))
}

/// Returns the number of threads of this process; 1 when the kernel does not tell.
fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Maps the user and the group inside the namespace, and no other (user_namespaces(7)).
///
/// The files that take the maps belong to root while the process is not dumpable, which a process
/// with file capabilities is not (proc_pid(5)). It is dumpable while they are written.
fn map_identity(inside: Inside, user: u32, group: u32) -> io::Result<()> {
    let (inner_user, inner_group) = match inside {
        Inside::Root => (0, 0),
        Inside::Same => (user, group),
    };
    let before = dumpable_behavior()?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let written = std::fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| std::fs::write("/proc/self/uid_map", format!("{inner_user} {user} 1")))
        .and_then(|()| std::fs::write("/proc/self/gid_map", format!("{inner_group} {group} 1")));
    if before == DumpableBehavior::NotDumpable {
        set_dumpable_behavior(before)?;
    }
    written
}

fn bring_up_loopback(what: &str) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    let mut link = LinkMessage::default();
    link.header.index = netlink.index("lo")?;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    netlink
        .request(RouteNetlinkMessage::SetLink(link), Mode::Plain)
        .map_err(|source| {
            powerless(
                what,
                "the loopback interface could not be brought up",
                source,
            )
        })
}

/// Returns the error for a namespace that the kernel refuses to make.
fn refused(what: &str, source: io::Error) -> Error {
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    let (why, next) = match errno {
        Some(Errno::PERM) => forbidden(|path| std::fs::read_to_string(path).ok()),
        Some(Errno::NOSPC | Errno::USERS) => (
            "the limit of namespaces is reached".to_owned(),
            "as root: raise user.max_user_namespaces and user.max_net_namespaces with sysctl"
                .to_owned(),
        ),
        Some(Errno::INVAL | Errno::NOSYS) => (
            "this kernel has no user or network namespaces".to_owned(),
            "use the userspace stack".to_owned(),
        ),
        _ => (source.to_string(), "use the userspace stack".to_owned()),
    };
    Error::new(ErrorKind::NoNamespaces, what, why, next).because(source)
}

/// Returns the error for a namespace that the kernel has made without giving rights in it.
fn powerless(what: &str, step: &str, source: io::Error) -> Error {
    let (why, next) = forbidden(|path| std::fs::read_to_string(path).ok());
    Error::new(
        ErrorKind::NoNamespaces,
        what,
        format!("{step}: {why}"),
        next,
    )
    .because(source)
}

/// Returns the known obstacle that applies, and what to do about it, judged by the settings that
/// `read` returns.
fn forbidden(read: impl Fn(&Path) -> Option<String>) -> (String, String) {
    let value = |path: &str| read(Path::new(path)).map(|text| text.trim().to_owned());
    let setting = |name: &str, path: &str, good: &str| {
        (
            format!("the system forbids it to ordinary users ({name})"),
            format!("as root: sysctl {name}={good} ({path}); or use the userspace stack"),
        )
    };
    let clone = "/proc/sys/kernel/unprivileged_userns_clone";
    let apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let most = "/proc/sys/user/max_user_namespaces";
    if value(clone).as_deref() == Some("0") {
        setting("kernel.unprivileged_userns_clone", clone, "1")
    } else if value(most).as_deref() == Some("0") {
        setting("user.max_user_namespaces", most, "10000")
    } else if value(apparmor).as_deref() == Some("1") {
        setting(
            "kernel.apparmor_restrict_unprivileged_userns",
            apparmor,
            "0",
        )
    } else {
        (
            "the system forbids it, as containers often do (seccomp)".to_owned(),
            "allow user namespaces to the container, run as root, or use the userspace stack"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_in_the_way_is_named() {
        let only = |name: &'static str, value: &'static str| {
            forbidden(move |path| path.ends_with(name).then(|| format!("{value}\n")))
        };
        let (why, next) = only("unprivileged_userns_clone", "0");
        assert!(why.contains("kernel.unprivileged_userns_clone"), "{why}");
        assert!(
            next.contains("sysctl kernel.unprivileged_userns_clone=1"),
            "{next}"
        );
        let (_, next) = only("apparmor_restrict_unprivileged_userns", "1");
        assert!(
            next.contains("apparmor_restrict_unprivileged_userns=0"),
            "{next}"
        );
        let (why, _) = only("unprivileged_userns_clone", "1");
        assert!(why.contains("containers"), "{why}");
    }

    #[test]
    fn several_threads_are_refused() {
        let thread = std::thread::spawn(enter);
        let error = thread
            .join()
            .expect("no panic")
            .expect_err("there are two threads");
        assert_eq!(error.kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_full_house_is_told_from_a_closed_one() {
        let full = refused("x", io::Error::from_raw_os_error(28));
        assert_eq!(full.kind, ErrorKind::NoNamespaces);
        assert!(full.to_string().contains("max_user_namespaces"), "{full}");
        let old = refused("x", io::Error::from_raw_os_error(22));
        assert!(
            old.to_string().contains("no user or network namespaces"),
            "{old}"
        );
    }
}
