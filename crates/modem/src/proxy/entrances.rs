//! The sockets clients come in by, and who may.

use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};

/// The abstract name every libmbim program connects to (libmbim `mbim-proxy`).
pub const PUBLIC_NAME: &str = "mbim-proxy";

/// Who may come in beside root and the user who runs this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// User ids.
    pub users: Vec<u32>,
    /// Group ids. Only a process's own group is looked at, not its further ones.
    pub groups: Vec<u32>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Root, or the user who runs this.
    Owner,
    /// Somebody who is let in beside them.
    Guest,
}

impl Allow {
    /// Nobody beside root and the user who runs this.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whoever is at the other end, if they may come in. The kernel says who it is.
    pub(super) fn admits(&self, stream: &impl AsFd) -> Option<Standing> {
        let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
        let standing = self.standing(peer.uid, peer.gid, rustix::process::geteuid());
        if standing.is_none() {
            tracing::warn!(
                "user {} (group {}) asked for the modem and may not have it",
                peer.uid.as_raw(),
                peer.gid.as_raw()
            );
        }
        standing
    }

    fn standing(&self, user: Uid, group: Gid, ours: Uid) -> Option<Standing> {
        if user.is_root() || user == ours {
            return Some(Standing::Owner);
        }
        let guest = self.users.contains(&user.as_raw()) || self.groups.contains(&group.as_raw());
        guest.then_some(Standing::Guest)
    }
}

/// Binds the socket in the runtime directory. What a dead owner left there is removed.
pub(super) fn private(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Binds the abstract name, in its exact length. It is free as soon as its owner has ended.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when another proxy has it.
pub(super) fn public(name: &str) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The process that has the name, as far as can be told.
pub(super) fn owner(name: &str) -> Option<String> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()?;
    let pid = rustix::net::sockopt::socket_peercred(&stream).ok()?.pid;
    let pid = pid.as_raw_nonzero();
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command: String = command.trim().chars().filter(|c| !c.is_control()).collect();
    Some(format!("process {pid} {command}").trim_end().to_owned())
}

/// Whether a path that a client names means this modem: one of `ours`, or what leads to one.
///
/// Only what the kernel says of symbolic links is looked at; nothing is opened.
pub(super) fn means(path: &str, ours: &[PathBuf]) -> bool {
    let path = Path::new(path);
    if ours.iter().any(|own| own == path) {
        return true;
    }
    if path.as_os_str().as_bytes().len() > 4096 {
        return false;
    }
    let Ok(real) = path.canonicalize() else {
        return false;
    };
    ours.iter()
        .filter_map(|own| own.canonicalize().ok())
        .any(|own| own == real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_socket_mean_the_modem() {
        let folder = std::env::temp_dir().join(format!("uwwan-means-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("mbim");
        let listener = private(&socket, 0o600).unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let ours = [socket.clone()];
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        assert!(means(&text(&socket), &ours) && means(&text(&link), &ours));
        assert!(means(&text(&folder.join("./mbim")), &ours));
        for other in ["/dev/null", "", "mbim", "/nowhere", &text(&folder)] {
            assert!(!means(other, &ours), "{other}");
        }
        // Bound again over what a dead owner left.
        drop(listener);
        private(&socket, 0o600).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_name_has_one_owner() {
        let name = format!("uwwan-test-{}", std::process::id());
        let listener = public(&name).unwrap();
        assert_eq!(public(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let pid = std::process::id();
        assert!(
            owner(&name)
                .unwrap()
                .starts_with(&format!("process {pid} ")),
            "{:?}",
            owner(&name)
        );
        drop(listener);
        public(&name).unwrap();
        assert_eq!(owner("uwwan-nobody-has-this-name"), None);
    }

    #[test]
    fn this_user_is_let_in() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(Allow::default().admits(&one), Some(Standing::Owner));
    }

    #[test]
    fn guests_are_no_owners() {
        let allow = Allow {
            users: vec![7],
            groups: vec![9],
        };
        let standing = |user, group| {
            allow.standing(Uid::from_raw(user), Gid::from_raw(group), Uid::from_raw(5))
        };
        for (user, group, expected) in [
            (0, 1, Some(Standing::Owner)),
            (5, 1, Some(Standing::Owner)),
            (7, 1, Some(Standing::Guest)),
            (8, 9, Some(Standing::Guest)),
            (8, 1, None),
            (9, 7, None),
        ] {
            assert_eq!(standing(user, group), expected, "{user} {group}");
        }
    }
}
