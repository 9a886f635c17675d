//! A resolver configuration that only the programs of one mount namespace see.
//!
//! In the namespace that [`enter_for_programs`](crate::namespace::enter_for_programs) makes, a file
//! in memory takes the place of `/etc/resolv.conf`, and the folders in which services of the
//! machine accept questions for names are empty. The C library asks systemd-resolved, nscd and
//! Avahi by sockets there where `nsswitch.conf` says so, and these would answer from the machine's
//! network.
//!
//! The system calls are mount, umount2, openat, mkdirat, pwrite64 and ftruncate.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::dns::{MAX_SERVERS, describe};
use crate::error::{Error, ErrorKind};

/// File that the C library reads (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Folders with the sockets of services that resolve names.
const SERVICES: [&str; 5] = [
    "/run/systemd/resolve",
    "/run/nscd",
    "/var/run/nscd",
    "/run/avahi-daemon",
    "/var/run/avahi-daemon",
];
/// First line of the file that takes the place of resolv.conf.
const MARK: &str = "# Name servers of the modem, written by uwwan for this namespace alone.";
/// Mount options of the folders in memory. Each has room for a resolv.conf and a few links.
const OPTIONS: &std::ffi::CStr = c"size=64k,mode=0755";

/// The resolver configuration of a mount namespace.
#[derive(Debug)]
pub struct PrivateResolver {
    file: File,
}

impl PrivateResolver {
    /// Puts a file without name servers in the place of `/etc/resolv.conf`. The calling process
    /// must be in a mount namespace of its own, because otherwise the whole machine would see the
    /// file.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where there is no `/etc/resolv.conf` to replace, otherwise the error
    /// of the system.
    pub fn set_up() -> Result<Self, Error> {
        let what = "keep name servers apart";
        let target = fs::canonicalize(RESOLV_CONF).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                what,
                format!("{RESOLV_CONF}: {error}"),
                "make one, which may be empty: touch /etc/resolv.conf",
            )
        })?;
        let file = replace(&target, &services());
        let file = file.map_err(|source| Error::system(what, source))?;
        let resolver = Self { file };
        resolver.set(&[])?;
        Ok(resolver)
    }

    /// Replaces the name servers. The C library reads the first three.
    ///
    /// # Errors
    /// The error of the system.
    pub fn set(&self, servers: &[IpAddr]) -> Result<(), Error> {
        let servers = &servers[..servers.len().min(MAX_SERVERS)];
        let text = format!("{MARK}\n{}", describe(servers));
        // A reader never finds less than the lines that the old and the new text share.
        let written = self.file.write_all_at(text.as_bytes(), 0);
        written
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(|source| Error::system("write the name servers", source))
    }
}

/// Returns the folders of services that exist, each once.
fn services() -> Vec<PathBuf> {
    let there = SERVICES
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok());
    let mut folders: Vec<PathBuf> = there.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// Covers the folders with empty ones, and puts an empty file in the place of `target`, which may
/// be in one of them. Returns the file.
fn replace(target: &Path, folders: &[PathBuf]) -> io::Result<File> {
    for folder in folders {
        mount_memory(folder)?;
    }
    if folders.iter().any(|folder| target.starts_with(folder)) {
        fs::create_dir_all(target.parent().unwrap_or(target))?;
        return create(target);
    }
    let none = || io::Error::from(io::ErrorKind::InvalidInput);
    let (folder, name) = target.parent().zip(target.file_name()).ok_or_else(none)?;
    // The folder is covered while the file is made, and what lies below is reached by its
    // descriptor.
    let path = i32::try_from(OFlags::PATH.bits()).map_err(io::Error::other)?;
    let below = OpenOptions::new()
        .read(true)
        .custom_flags(path)
        .open(target)?;
    mount_memory(folder)?;
    let bound = create(&folder.join(name)).and_then(|file| {
        drop(file);
        let below = format!("/proc/self/fd/{}", below.as_raw_fd());
        Ok(mount_bind(folder.join(name), below)?)
    });
    unmount(folder, UnmountFlags::DETACH)?;
    bound?;
    OpenOptions::new().read(true).write(true).open(target)
}

fn mount_memory(folder: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("tmpfs", folder, "tmpfs", flags, OPTIONS)?)
}

/// Makes a file that every user may read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o644);
    options.open(path)
}
