//! Listening sockets.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Listening Unix socket. Its file is removed when the value is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: Option<PathBuf>,
}

impl Listener {
    /// Binds a path with these permissions. A socket of an owner that has died is removed first.
    ///
    /// # Errors
    /// The system's error, when the path cannot be bound.
    pub(super) fn at(path: &Path, mode: u32) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Self {
            socket: UnixListener::bind(path)?,
            path: Some(path.to_owned()),
        };
        // The directory belongs to its owner alone, so no other user connects between the two
        // calls.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        listener.socket.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Binds an abstract name, in its exact length. The kernel frees the name when its owner ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when another process has it.
    pub(super) fn named(name: &str) -> io::Result<Self> {
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: None })
    }

    /// Accepts the next client without waiting; returns `None` when there is none.
    ///
    /// # Errors
    /// The system's error, when no descriptor is left.
    pub(super) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Returns the process that has an abstract name, as `process 42 mbim-proxy`, as far as that can be
/// found out without waiting for it.
pub(super) fn owner(name: &str) -> Option<String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let stream = rustix::net::socket_with(family, kind, flags, None).ok()?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?;
    rustix::net::connect(&stream, &address).ok()?;
    let pid = rustix::net::sockopt::socket_peercred(&stream).ok()?.pid;
    let pid = pid.as_raw_nonzero();
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command: String = command.trim().chars().filter(|c| !c.is_control()).collect();
    Some(format!("process {pid} {command}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_owner() {
        let name = format!("uwwan-test-{}", std::process::id());
        let listener = Listener::named(&name).unwrap();
        let error = Listener::named(&name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let pid = std::process::id();
        let told = owner(&name).unwrap();
        assert!(told.starts_with(&format!("process {pid} ")), "{told}");
        // A process that accepts no connection is not waited for: connections are made until its
        // queue is full.
        while owner(&name).is_some() {}
        drop(listener);
        Listener::named(&name).unwrap();
        assert_eq!(owner("uwwan-nobody-has-this-name"), None);
    }

    #[test]
    fn a_path_is_bound_over_what_a_dead_owner_left_and_removed() {
        let folder = std::env::temp_dir().join(format!("uwwan-listener-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::at(&path, 0o600).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(listener.accept().unwrap().is_none());
        let _client = UnixStream::connect(&path).unwrap();
        assert!(listener.accept().unwrap().is_some());
        drop(listener);
        std::fs::remove_dir(&folder).unwrap();
    }
}
