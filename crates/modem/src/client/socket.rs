//! Connections to the sockets of a running `up`.
//!
//! A client sends PINs and acts on the answers, so it checks which user is at the other end before
//! it sends anything: a directory that another user has made, or can write to, may hold a socket of
//! that user's.
//!
//! Root may stop every `up` and ask it for its status, which takes no secret. To do that in an ordinary
//! user's directory it connects with that user's rights: wherever the user's links lead, the connection
//! is one that the user could have made.

use std::fs::Metadata;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::Serialize;

use super::error::refused;
use crate::failure::{Failure, FailureKind};

/// Time for which a socket whose queue of connections is full is waited for. The process that
/// listens there hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time within which a line has to be sent.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// Directory that holds root's runtime directories. Root alone can make it, and gives it to the user
/// of a service.
pub const SYSTEM: &str = "/run/uwwan";
/// Name of the lock in a runtime directory. The process that makes the directory makes the lock. It
/// holds the id of the process that owns the directory.
pub const LOCK: &str = "lock";
/// Name of the control socket in the directory of a running `up`, beside that of the control session.
pub const STATUS_SOCKET: &str = "control";

/// Connects to a socket of a running `up` and returns the connection with the user id of who started the
/// process at the other end. Nothing has been sent.
///
/// # Errors
/// [`Failure`] of the kind `NotRunning` when nobody listens there; `Permission` when this user is
/// not let in, or when the directory or the other end is neither root's, nor this user's, nor a
/// service's; `Timeout` when nobody accepts connections.
pub(super) fn connect(path: &Path) -> Result<(UnixStream, u32), Failure> {
    if let Some(stranger) = stranger(path) {
        return Err(strange(path, stranger.uid()));
    }
    let place = path.display().to_string();
    let stream = open(path, PATIENCE).map_err(|error| refused(&place, &error))?;
    let (user, _) = peer(&stream).map_err(|error| refused(&place, &error))?;
    if !trusted(path, Path::new(SYSTEM), user) {
        return Err(strange(path, user));
    }
    // The user of a driver that root has started is nobody who could be asked for anything.
    let driver_of_root = given_by_root(path, user).unwrap_or(false);
    Ok((stream, if driver_of_root { 0 } else { user }))
}

/// Process of an ordinary user at the other end of a connection that root has made. Its answers are
/// not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) user: u32,
    /// Process id, as the kernel tells it.
    pub(super) process: u32,
}

/// Does as [`connect`], and lets root reach an ordinary user's `up` as well, with that user's rights.
/// Such a connection comes with the user and the process at its other end.
///
/// # Errors
/// Those of [`connect`].
pub(super) fn connect_to_any_user(path: &Path) -> Result<(UnixStream, Option<Stranger>), Failure> {
    let Some(owner) = stranger(path).filter(|_| rustix::process::geteuid().is_root()) else {
        return connect(path).map(|(stream, _)| (stream, None));
    };
    let place = path.display().to_string();
    let (user, group) = (owner.uid(), owner.gid());
    let connected = as_user(user, group, || {
        let stream = open(path, PATIENCE)?;
        let (user, process) = peer(&stream)?;
        Ok((stream, Stranger { user, process }))
    });
    let (stream, stranger) = connected.map_err(|error| refused(&place, &error))?;
    if stranger.user == user {
        Ok((stream, Some(stranger)))
    } else {
        Err(strange(path, stranger.user))
    }
}

/// Calls a function in a thread that has the rights of a user and of one group, and nobody else's.
fn as_user<T: Send>(
    user: u32,
    group: u32,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let become_user = move || {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        // The thread loses its capabilities with the change of user.
        set_thread_res_uid(user, user, user)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            become_user()?;
            work()
        })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that connects has panicked")))
    })
}

/// Returns the metadata of the directory that holds the runtime directory of a socket, if it belongs to
/// a user who is neither root nor this one. Everything under it may be that user's doing.
fn stranger(path: &Path) -> Option<Metadata> {
    let base = path.parent()?.parent()?;
    // In the system's directory the process at the other end decides. A symbolic link is not
    // followed, because its maker chooses the target.
    if path.starts_with(SYSTEM) {
        return None;
    }
    let found = std::fs::symlink_metadata(base).ok()?;
    let own = rustix::process::geteuid().as_raw();
    (found.uid() != 0 && found.uid() != own).then_some(found)
}

fn strange(path: &Path, user: u32) -> Failure {
    let failure = Failure::new(FailureKind::Permission, "reach the running uwwan")
        .at(path.display().to_string())
        .because(format!("the socket belongs to user {user}"));
    if rustix::process::geteuid().is_root() {
        return failure.next(format!(
            "run the same command as user {user}; root can only ask for the status, and stop it"
        ));
    }
    failure.next("use the socket of an `uwwan up` that root, a service or you yourself run")
}

/// Returns the user id of the process at the other end of a connection, and its process id.
fn peer(stream: &UnixStream) -> io::Result<(u32, u32)> {
    let peer = socket_peercred(stream)?;
    let process = peer.pid.as_raw_nonzero().get();
    Ok((peer.uid.as_raw(), process.unsigned_abs()))
}

/// Checks whether a running `up` of root, of a service or of this user listens at a socket.
///
/// # Errors
/// [`Failure`] of the kind `NotRunning` when nobody listens there, and `Permission` when this user is
/// not let in or the socket is a stranger's.
pub fn reach(path: &Path) -> Result<(), Failure> {
    connect(path).map(drop)
}

/// Does as [`reach`] for this user; root finds an ordinary user's `up` as well.
///
/// # Errors
/// Those of [`reach`].
pub fn reach_any_user(path: &Path) -> Result<(), Failure> {
    connect_to_any_user(path).map(drop)
}

/// Sends a line to a running `up`. An `up` that refuses a client sends the reason and closes the
/// connection, perhaps before the line is sent. The reason can still be read then, so a closed
/// connection is no error here.
///
/// # Errors
/// Those of [`Write::write_all`] except for a closed connection.
pub(super) fn send(stream: &mut UnixStream, line: &[u8]) -> io::Result<()> {
    match stream.write_all(line) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        sent => sent,
    }
}

/// Connection that carries JSON lines.
#[derive(Debug)]
pub(super) struct JsonLines {
    pub(super) stream: BufReader<UnixStream>,
    /// First bytes of a line that has not arrived as a whole.
    partial: Vec<u8>,
    /// Length of the longest line that is read, in bytes.
    longest: usize,
}

impl JsonLines {
    /// Returns the connection over a stream, on which a line has to be sent within 10 s.
    ///
    /// # Errors
    /// The system's error, when it refuses the time limit.
    pub(super) fn over(stream: UnixStream, longest: usize) -> io::Result<Self> {
        stream.set_write_timeout(Some(SEND_PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            partial: Vec::new(),
            longest,
        })
    }

    /// Sends a line, as [`send`] does.
    ///
    /// # Errors
    /// Those of [`send`].
    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message).unwrap_or_default();
        line.push(b'\n');
        send(self.stream.get_mut(), &line)
    }

    /// Returns the next line if it has arrived as a whole by `deadline`. A line without its end is what
    /// came before the other end closed the connection.
    ///
    /// # Errors
    /// The system's error, and [`io::ErrorKind::Other`] for a line that is too long.
    pub(super) fn line(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
            let read = match self.stream.fill_buf() {
                Ok(read) => read,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(None),
                    io::ErrorKind::ConnectionReset => &[],
                    _ => return Err(error),
                },
            };
            let end = read.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            self.partial.extend_from_slice(&read[..taken]);
            self.stream.consume(taken);
            if end.is_some() || taken == 0 {
                return Ok(Some(std::mem::take(&mut self.partial)));
            }
            if self.partial.len() > self.longest {
                return Err(io::Error::other("the answer does not end"));
            }
        }
    }
}

/// Connects within `patience`.
fn open(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The timeout for sending bounds connecting, too (`unix_stream_connect` in the kernel's
    // `af_unix.c`).
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?))?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(UnixStream::from(socket))
}

/// Returns whether the answers of this user's process at a socket are trusted. Trusted are root, this
/// user, the user to whom root gave the socket's directory, and, in the system's directory, the user
/// to whom that directory was given as a whole or in part.
fn trusted(socket: &Path, system: &Path, user: u32) -> bool {
    let given = || {
        let inside = socket.strip_prefix(system).ok();
        let part = inside.and_then(|inside| inside.iter().next());
        let part = part.and_then(|part| std::fs::metadata(system.join(part)).ok());
        match (std::fs::symlink_metadata(system).ok(), part) {
            (Some(whole), _) if owner(&whole) == Some(user) => inside.is_some(),
            // Root alone can have made the directory, or the symbolic link to it.
            (Some(whole), Some(part)) => owner(&whole) == Some(0) && owner(&part) == Some(user),
            _ => false,
        }
    };
    user == 0
        || user == rustix::process::geteuid().as_raw()
        || given()
        || given_by_root(socket, user).unwrap_or(false)
}

/// Returns whether root has made the socket's directory and given it to this user, as it does for a
/// driver that runs under a user of its own: the directory is in one of root's, and the lock in it
/// is root's. `None` stands for a directory that cannot be examined.
fn given_by_root(socket: &Path, user: u32) -> Option<bool> {
    let folder = socket.parent()?;
    let whole = std::fs::symlink_metadata(folder.parent()?).ok()?;
    let part = std::fs::metadata(folder).ok()?;
    let lock = std::fs::symlink_metadata(folder.join(LOCK)).ok()?;
    let root = owner(&whole) == Some(0) && lock.is_file() && lock.uid() == 0;
    Some(root && owner(&part) == Some(user))
}

/// Returns the user id of the owner of a directory into which nobody else can write.
fn owner(found: &Metadata) -> Option<u32> {
    (found.is_dir() && found.mode() & 0o022 == 0).then_some(found.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{AtClient, Client, StatusClient};
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_of_strangers_are_not_trusted_but_in_the_services_directory() {
        let own = rustix::process::geteuid().as_raw();
        let system = tempfile::tempdir().unwrap();
        let modem = system.path().join("modem");
        let socket = modem.join("mbim");
        std::fs::create_dir(&modem).unwrap();
        assert!(trusted(&socket, Path::new(SYSTEM), 0));
        assert!(trusted(&socket, Path::new(SYSTEM), own));
        let stranger = own.wrapping_add(4711);
        assert!(!trusted(&socket, Path::new(SYSTEM), stranger));
        // The directory is this user's, not the stranger's.
        assert!(!trusted(&socket, system.path(), stranger));
        if own != 0 {
            return;
        }
        // Root has given a part of it.
        chown(&modem, Some(stranger), None).unwrap();
        assert!(trusted(&socket, system.path(), stranger));
        assert!(!trusted(&socket, system.path(), stranger + 1));
        assert!(!trusted(
            &system.path().join("other/mbim"),
            system.path(),
            stranger
        ));
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(system.path(), open).unwrap();
        assert!(!trusted(&socket, system.path(), stranger), "anybody's");
        let closed = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(system.path(), closed).unwrap();
        // Root has given a directory elsewhere: root's lock shows it, because the directory's owner
        // cannot make that.
        let elsewhere = Path::new(SYSTEM);
        let lock = modem.join(LOCK);
        std::fs::write(&lock, "").unwrap();
        std::os::unix::fs::symlink("modem", system.path().join("1-4")).unwrap();
        for socket in [&socket, &system.path().join("1-4/mbim")] {
            assert!(trusted(socket, elsewhere, stranger));
            assert!(!trusted(socket, elsewhere, stranger + 1));
        }
        chown(&lock, Some(stranger), None).unwrap();
        assert!(!trusted(&socket, elsewhere, stranger));
        // Root has given all of it.
        chown(system.path(), Some(stranger), None).unwrap();
        chown(&modem, Some(stranger + 1), None).unwrap();
        assert!(trusted(&socket, system.path(), stranger));
        assert!(!trusted(&socket, system.path(), stranger + 1));
        assert!(!trusted(Path::new("/tmp/mbim"), system.path(), stranger));
    }

    /// Listens as another user, who has left the socket open to everybody, and checks what each
    /// client returns and what the other user got to read.
    #[test]
    fn no_client_says_anything_to_a_stranger() {
        if rustix::process::geteuid().as_raw() != 0 {
            // Only root can listen as another user. Another test checks the rule itself for every
            // user.
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let path = folder.path().join("control");
        let bound = path.clone();
        // A thread with a user of its own listens as that user.
        let stranger = std::thread::spawn(move || {
            let user = rustix::process::Uid::from_raw(4711);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            UnixListener::bind(bound).unwrap()
        });
        let stranger = stranger.join().unwrap();
        for tried in [
            StatusClient::connect(&path).map(drop),
            AtClient::through(&path).map(drop),
            Client::through(&path).map(drop),
            reach(&path),
        ] {
            let failure = tried.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Permission, "{failure:?}");
            assert!(failure.to_string().contains("user 4711"), "{failure}");
            let (mut taken, _) = stranger.accept().unwrap();
            let mut said = Vec::new();
            io::Read::read_to_end(&mut taken, &mut said).unwrap();
            assert!(said.is_empty(), "{said:?}");
        }
    }

    /// Returns the base and the runtime directory of an ordinary user, and the socket that this
    /// user's process has in it.
    fn of_a_stranger(user: u32) -> (tempfile::TempDir, std::path::PathBuf, UnixListener) {
        let base = tempfile::tempdir().unwrap();
        let modem = base.path().join("modem");
        std::fs::create_dir(&modem).unwrap();
        for folder in [base.path(), &modem] {
            let closed = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(folder, closed).unwrap();
            chown(folder, Some(user), Some(user)).unwrap();
        }
        let path = modem.join("control");
        let listener = as_user(user, user, || UnixListener::bind(&path)).unwrap();
        (base, path, listener)
    }

    #[test]
    fn root_reaches_an_ordinary_users_control_socket_with_that_users_rights() {
        if rustix::process::geteuid().as_raw() != 0 {
            return;
        }
        let (base, path, listener) = of_a_stranger(4711);
        for tried in [
            StatusClient::connect(&path).map(drop),
            AtClient::through(&path).map(drop),
            Client::through(&path).map(drop),
            reach(&path),
        ] {
            let failure = tried.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Permission, "{failure:?}");
        }
        let client = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut client = StatusClient::connect_to_any_user(&path).unwrap();
                client.ask(crate::share::Request::Status {}).unwrap();
                (client.stranger(), client.status())
            }
        });
        // The first connection is that of the client that may connect: the others have not even
        // tried.
        let (mut taken, _) = listener.accept().unwrap();
        assert_eq!(peer(&taken).unwrap(), (4711, std::process::id()));
        let pids = r#"{"ok":true,"pid":1,"device":"x","status":{}}"#;
        writeln!(taken, "{pids}").unwrap();
        let (stranger, reply) = client.join().unwrap();
        assert_eq!(stranger, Some(4711));
        // The process id in its answer is not trusted.
        assert_eq!(reply.unwrap().pid, std::process::id());

        // Symbolic links of the user reach nothing that the user may not reach, and no other user.
        let private = tempfile::tempdir().unwrap();
        let inside = private.path().join("control");
        let _roots = UnixListener::bind(&inside).unwrap();
        let open = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(private.path(), mode).unwrap();
        };
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&inside, &path).unwrap();
        open(0o700);
        assert!(reach_any_user(&path).is_err());
        open(0o755);
        let anybodys = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&inside, anybodys).unwrap();
        let failure = reach_any_user(&path).unwrap_err();
        assert!(failure.to_string().contains("user 0"), "{failure}");
        // A symbolic link in the place of the whole directory is not followed either.
        std::fs::remove_dir_all(base.path()).unwrap();
        std::os::unix::fs::symlink(private.path(), base.path()).unwrap();
        std::os::unix::fs::lchown(base.path(), Some(4711), Some(4711)).unwrap();
        assert!(reach_any_user(&base.path().join("modem/control")).is_err());
        std::fs::remove_file(base.path()).unwrap();
    }

    #[test]
    fn a_process_that_accepts_nothing_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // The first connection fills the queue.
        reach(&path).unwrap();
        let error = open(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(refused("there", &error).kind, FailureKind::Timeout);
    }
}
