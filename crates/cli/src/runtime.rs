//! The runtime directory, in which a running `uwwan up` keeps its lock and its control socket.
//!
//! The directory is `/run/uwwan/<name>/` for root, `$XDG_RUNTIME_DIR/uwwan/<name>/` for everyone
//! else, or below the directory of `--runtime-dir`. `<name>` is that of the configuration (`modem`
//! for `/etc/uwwan/modem.toml`), or else the port (`1-4.2`), which stays the same over
//! re-enumeration. Beside a directory that is not named after the port stands a link that is, once
//! the port is known. The lock, instead of the socket's existence, shows whether the owner is
//! alive: a socket left by a killed process is removed by the next process that gets the lock.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt as _, MetadataExt, OpenOptionsExt, PermissionsExt,
};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Gid, Pid, Uid};
use uwwan_modem::client::{LOCK, STATUS_SOCKET, SYSTEM};

use crate::failure::{Failure, FailureKind};

/// Name of the control socket, which `uwwan status` and `uwwan down` connect to.
pub const SOCKET: &str = STATUS_SOCKET;
/// Name of the socket of `uwwan emulate`, which `uwwan emulate set` connects to.
pub const EMULATE_SOCKET: &str = "emulate";
/// Name of the symbolic link to the AT port's terminal.
const AT_TERMINAL: &str = "at";
/// Name of the AT port's socket, which `uwwan at` connects to.
pub const AT_SOCKET: &str = "at.socket";
/// Name of the control session's socket, which other commands connect to.
pub const MBIM_SOCKET: &str = "mbim";
/// Name of the symbolic link to the control session's terminal.
const MBIM_TERMINAL: &str = "mbim-terminal";

/// Number of times that a held lock is tried again.
const LOOKS: u32 = 3;
/// Pause between two tries.
const LOOK: Duration = Duration::from_millis(10);

/// Returns the directory in which this user's runtime directories are made: `chosen`, if given.
///
/// # Errors
/// [`FailureKind::Usage`] when `XDG_RUNTIME_DIR` is not set to an absolute path.
pub fn own_base(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = chosen {
        return Ok(path.to_path_buf());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM));
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path.join("uwwan")),
        _ => Err(Failure::new(
            FailureKind::Usage,
            "there is no place for the control socket",
        )
        .at("XDG_RUNTIME_DIR")
        .because("it is not set to an absolute path; a login session sets it, su and cron do not")
        .next("log in properly, or name a directory only you can write with --runtime-dir DIR")),
    }
}

/// Returns the name to which a link leads, if it is a link to a directory beside it, as
/// [`RuntimeDir::link`] makes them.
pub fn link_target(path: &Path) -> Option<PathBuf> {
    let target = fs::read_link(path).ok()?;
    let mut parts = target.components();
    let beside = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    beside.then_some(target)
}

/// Returns a device name as a file name of at most 65 bytes: everything but letters, digits, `.`,
/// `_` and `-` becomes `_`.
pub fn file_name(device: &str) -> String {
    let name: String = device
        .chars()
        .take(64)
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect();
    if name.is_empty() || name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

/// Runtime directory of this process. It is locked while the value lives; dropping the value
/// removes socket, lock and directory.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// Link to the directory, named after the port.
    link: Option<PathBuf>,
    lock: File,
    keeper: Option<Keeper>,
}

/// Another process that keeps the directory for this one: it makes links, and removes the directory
/// when it ends.
pub struct Keeper {
    /// Process id of the keeper, which is this process's parent.
    pub process: Pid,
    /// Function that makes the link for a port.
    pub link: Box<dyn Fn(&str) + Send>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.process)
    }
}

impl RuntimeDir {
    /// Makes and locks `<base>/<device>`, and removes a socket left by a dead owner.
    ///
    /// # Errors
    /// [`FailureKind::Busy`], with the owner's process id, when another `uwwan up` holds the
    /// directory; [`FailureKind::Permission`] when it belongs to another user or others may write
    /// into it; [`FailureKind::Usage`] when the socket's path would be too long;
    /// [`FailureKind::Host`] for any other error of the system.
    pub fn create(base: &Path, device: &str) -> Result<Self, Failure> {
        make_base(base)?;
        let path = base.join(file_name(device));
        remove_dead_link(&path, device)?;
        make_private(&path, 0o700).map_err(|failure| alive(&path, device).unwrap_or(failure))?;
        match Self::take(&path, device) {
            Ok(lock) => Ok(Self {
                path,
                link: None,
                lock,
                keeper: None,
            }),
            Err(failure) => {
                clear(&path);
                // The directory is empty where this process made it, and has no lock when that
                // failed.
                let _ = fs::remove_dir(&path);
                Err(failure)
            }
        }
    }

    /// Locks a directory and removes the socket of a dead owner from it.
    fn take(path: &Path, device: &str) -> Result<File, Failure> {
        let socket = path.join(SOCKET);
        if socket.as_os_str().len() > 107 {
            return Err(
                Failure::new(FailureKind::Usage, "the control socket's path is too long")
                    .at(socket.display().to_string())
                    .because("a Unix socket's path has at most 107 bytes")
                    .next("choose a shorter one with --runtime-dir DIR"),
            );
        }
        let lock = lock(&path.join(LOCK), device)?;
        match fs::remove_file(&socket) {
            Ok(()) => {
                tracing::debug!(socket = %socket.display(), "removed the socket of a dead owner")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::new(
                    FailureKind::Host,
                    "cannot remove a stale control socket",
                )
                .at(socket.display().to_string())
                .because(error));
            }
        }
        Ok(lock)
    }

    /// Takes over a directory that another process has made, with the lock on it.
    pub fn handed(base: &Path, device: &str, lock: File, keeper: Keeper) -> Self {
        Self {
            path: base.join(file_name(device)),
            link: None,
            lock,
            keeper: Some(keeper),
        }
    }

    /// Gives the directory to another user, who keeps it locked together with this process.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn give_to(&self, user: Uid, group: Gid) -> io::Result<()> {
        std::os::unix::fs::lchown(&self.path, Some(user.as_raw()), Some(group.as_raw()))
    }

    /// Returns the lock.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Makes a link to the directory beside it, named after the port. It is removed with the value.
    /// Without it the directory is found by its own name alone, so a failure is only logged.
    pub fn link(&mut self, port: &str) {
        if let Some(keeper) = &self.keeper {
            return (keeper.link)(port);
        }
        let link = self.path.with_file_name(file_name(port));
        if link == self.path || self.link.as_ref() == Some(&link) {
            return;
        }
        self.unlink();
        // A dead owner of this device may have left the link.
        if link_target(&link).as_deref() == self.path.file_name().map(Path::new) {
            self.link = Some(link);
            return;
        }
        let made = remove_dead_link(&link, port).is_ok()
            && self.path.file_name().is_some_and(|name| {
                std::os::unix::fs::symlink(name, &link)
                    .inspect_err(|error| tracing::debug!("{}: {error}", link.display()))
                    .is_ok()
            });
        self.link = made.then_some(link);
    }

    fn unlink(&mut self) {
        if let Some(link) = self.link.take()
            && link_target(&link).as_deref() == self.path.file_name().map(Path::new)
        {
            let _ = fs::remove_file(link);
        }
    }

    /// Returns the path of the control socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Returns the path of the socket of `uwwan emulate`.
    pub fn emulate_socket(&self) -> PathBuf {
        self.path.join(EMULATE_SOCKET)
    }

    /// Returns the path of the control session's socket.
    pub fn mbim_socket(&self) -> PathBuf {
        self.path.join(MBIM_SOCKET)
    }

    /// Returns the path of the symbolic link to the control session's terminal.
    pub fn mbim_terminal(&self) -> PathBuf {
        self.path.join(MBIM_TERMINAL)
    }

    /// Lets other users reach the sockets in the directory (mode 0711). Each socket checks for
    /// itself who may use it.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the directory's mode cannot be changed.
    pub fn let_others_through(&self) -> Result<(), Failure> {
        fs::set_permissions(&self.path, Permissions::from_mode(0o711)).map_err(|error| {
            Failure::new(
                FailureKind::Host,
                "cannot let others into the runtime directory",
            )
            .at(self.path.display().to_string())
            .because(error)
        })
    }

    /// Returns the path of the symbolic link to the AT port's terminal.
    pub fn at_terminal(&self) -> PathBuf {
        self.path.join(AT_TERMINAL)
    }

    /// Returns the path of the AT port's socket.
    pub fn at_socket(&self) -> PathBuf {
        self.path.join(AT_SOCKET)
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let parent = rustix::process::getppid();
        if let Some(keeper) = &self.keeper
            && parent == Some(keeper.process)
        {
            return;
        }
        // The lock is still held here, so no other process's files are removed.
        self.unlink();
        empty(&self.path);
    }
}

/// Removes a socket of a process that has ended without removing it.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when a process listens there, and those of the removal.
pub fn remove_unanswered(path: &Path) -> io::Result<()> {
    let left = path
        .symlink_metadata()
        .is_ok_and(|about| about.file_type().is_socket());
    if !left {
        return Ok(());
    }
    // A connect that may wait would wait for ever at a socket that accepts no connection.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Removes the runtime directories whose owners were killed before they could remove them. Their locks
/// show that.
pub fn sweep(base: &Path) {
    let Ok(list) = fs::read_dir(base) else {
        return;
    };
    let mut links = Vec::new();
    for item in list.flatten() {
        let path = item.path();
        if link_target(&path).is_some() {
            links.push(path);
            continue;
        }
        if clear(&path) {
            tracing::debug!(directory = %path.display(), "left by a dead owner");
        }
    }
    for link in links {
        if matches!(fs::metadata(&link), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            let _ = fs::remove_file(&link);
        }
    }
}

/// Removes a runtime directory whose owner has ended, and returns whether it was one. A directory without
/// a lock is none of ours, unless this user has given it away: a driver whose monitor was killed empties
/// its directory, and cannot remove it.
fn clear(path: &Path) -> bool {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path.join(LOCK));
    let lock = match opened {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_given_away(path) => {
            empty(path);
            return true;
        }
        Err(_) => return false,
    };
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    empty(path);
    true
}

/// Returns whether a directory belongs to another user, where this user alone can have made it
/// ([`RuntimeDir::give_to`]).
fn is_given_away(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let base = path
        .parent()
        .and_then(|base| fs::symlink_metadata(base).ok());
    let alone = base.is_some_and(|base| base.uid() == own && base.mode() & 0o022 == 0);
    let about = fs::symlink_metadata(path);
    alone && about.is_ok_and(|about| about.is_dir() && about.uid() != own)
}

/// Removes a runtime directory and what is in it, for the holder of its lock. The lock goes last.
fn empty(path: &Path) {
    for file in fs::read_dir(path).into_iter().flatten().flatten() {
        if file.file_name() != LOCK {
            let _ = fs::remove_file(file.path());
        }
    }
    let _ = fs::remove_file(path.join(LOCK));
    let _ = fs::remove_dir(path);
}

/// Returns the failure for a directory whose owner is alive, if it is.
fn alive(path: &Path, device: &str) -> Option<Failure> {
    let mut lock = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path.join(LOCK))
        .ok()?;
    let held = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
    held.is_err().then(|| taken(&mut lock, device))
}

/// Makes the directory that holds runtime directories, or checks that it belongs to this user alone.
///
/// # Errors
/// Those of [`RuntimeDir::create`] for a directory.
pub fn make_base(base: &Path) -> Result<(), Failure> {
    // The names of the devices under root's base are no secret; the directories' contents are.
    let mode = if rustix::process::geteuid().is_root() {
        0o755
    } else {
        0o700
    };
    make_private(base, mode)
}

/// Removes a link to the directory of a dead owner.
///
/// # Errors
/// [`FailureKind::Busy`] when the owner is alive.
fn remove_dead_link(path: &Path, device: &str) -> Result<(), Failure> {
    let Some(target) = link_target(path) else {
        return Ok(());
    };
    let held = path.with_file_name(target).join(LOCK);
    if held.symlink_metadata().is_ok() {
        drop(lock(&held, device)?);
    }
    let _ = fs::remove_file(path);
    Ok(())
}

/// Makes a directory with the given mode, or checks that the existing one belongs to this user and
/// that no other user may write into it.
fn make_private(path: &Path, mode: u32) -> Result<(), Failure> {
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::new(
            FailureKind::Permission,
            "the runtime directory cannot be used",
        )
        .at(path.display().to_string())
        .because(why)
        .next("remove it, or name another with --runtime-dir DIR")
    };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask may have removed bits from the mode of root's base.
            return fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| {
                let _ = fs::remove_dir(path);
                refuse(&error)
            });
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refuse(&"the directory above it does not exist"));
        }
        Err(error) => return Err(refuse(&error)),
    }
    let meta = fs::symlink_metadata(path).map_err(|error| refuse(&error))?;
    if !meta.is_dir() {
        return Err(refuse(&"it is not a directory"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(&format_args!("it belongs to user {}", meta.uid())));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refuse(&format_args!(
            "other users may write into it (mode {:o})",
            meta.mode() & 0o7777
        )));
    }
    Ok(())
}

fn lock(path: &Path, device: &str) -> Result<File, Failure> {
    let refuse = |error: &io::Error| {
        Failure::new(FailureKind::Host, "cannot lock the runtime directory")
            .at(path.display().to_string())
            .because(error)
    };
    // The previous owner may remove the file between `open` and `flock`. The lock is then on a file
    // without a name, and the next round makes another file.
    for round in 0..10 + LOOKS {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(|error| refuse(&error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            // Another process that looks for dead owners may hold the lock for a moment.
            Err(rustix::io::Errno::WOULDBLOCK) if round < LOOKS => {
                std::thread::sleep(LOOK);
                continue;
            }
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(&mut file, device)),
            Err(error) => return Err(refuse(&error.into())),
        }
        let ours = file.metadata().map_err(|error| refuse(&error))?;
        match fs::symlink_metadata(path) {
            Ok(there) if there.ino() == ours.ino() && there.dev() == ours.dev() => {
                write_pid(&mut file).map_err(|error| refuse(&error))?;
                return Ok(file);
            }
            _ => {}
        }
    }
    Err(refuse(&io::Error::other(
        "the lock file keeps being replaced",
    )))
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn taken(file: &mut File, device: &str) -> Failure {
    let mut text = String::new();
    let owner = match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    };
    Failure::new(
        FailureKind::Busy,
        format!("uwwan already runs the modem at {device}"),
    )
    .because(format!("{owner} holds its runtime directory"))
    .next(format!("uwwan status --device {device}   shows it"))
    .next(format!("uwwan down --device {device}     stops it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_base() {
        assert_eq!(file_name("1-4.2"), "1-4.2");
        assert_eq!(file_name("../../etc"), "_.._.._etc");
        assert_eq!(file_name(".."), "_..");
        assert_eq!(file_name(""), "_");
        assert_eq!(file_name("a/b\0c"), "a_b_c");
        assert!(file_name(&"x".repeat(4096)).len() <= 65);
    }

    #[test]
    fn one_owner_at_a_time_and_nothing_left_behind() {
        let base = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::create(base.path(), "1-4").unwrap();
        let again = RuntimeDir::create(base.path(), "1-4").unwrap_err();
        assert_eq!(again.kind, FailureKind::Busy);
        assert!(
            again
                .to_string()
                .contains(&format!("process {}", std::process::id()))
        );
        RuntimeDir::create(base.path(), "1-5").unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        RuntimeDir::create(base.path(), "1-4").unwrap();
    }

    #[test]
    fn what_others_left_in_it_goes_with_the_directory_and_so_does_one_that_cannot_be_used() {
        let base = tempfile::tempdir().unwrap();
        let directory = RuntimeDir::create(base.path(), "1-4").unwrap();
        fs::write(directory.mbim_socket(), "").unwrap();
        drop(directory);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);

        // The socket of a dead owner cannot be removed here.
        let path = base.path().join("1-5");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::create_dir(path.join(SOCKET)).unwrap();
        assert!(RuntimeDir::create(base.path(), "1-5").is_err());
        assert!(!path.join(LOCK).exists(), "the lock is not left behind");

        let long = "x".repeat(60);
        let deep = base.path().join(&long);
        DirBuilder::new().mode(0o700).create(&deep).unwrap();
        let failure = RuntimeDir::create(&deep, &long).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Usage);
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_is_removed_when_nobody_listens_and_no_listener_is_waited_for() {
        use std::os::unix::net::{UnixListener, UnixStream};
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // The next client would wait to be accepted, which never happens.
        rustix::net::listen(&listener, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let (done, result) = std::sync::mpsc::channel();
        let asked = path.clone();
        std::thread::spawn(move || done.send(remove_unanswered(&asked)));
        let found = result.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(found.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        remove_unanswered(&path).unwrap();
        assert!(!path.exists());
        remove_unanswered(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        remove_unanswered(&path).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_dead_owners_socket_is_removed() {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(0o700)).unwrap();
        let path = base.path().join("1-4");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path.join(SOCKET)).unwrap());
        fs::write(path.join(LOCK), "999999\n").unwrap();
        let dir = RuntimeDir::create(base.path(), "1-4").unwrap();
        assert!(!dir.socket().exists());
    }

    #[test]
    fn what_dead_owners_left_is_swept_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let mut alive = RuntimeDir::create(base.path(), "first").unwrap();
        alive.link("1-4");
        let dead = base.path().join("modem");
        DirBuilder::new().mode(0o700).create(&dead).unwrap();
        fs::write(dead.join(LOCK), "999999\n").unwrap();
        fs::write(dead.join(SOCKET), "").unwrap();
        std::os::unix::fs::symlink("modem", base.path().join("1-5")).unwrap();
        fs::create_dir(base.path().join("else")).unwrap();
        sweep(base.path());
        let mut left: Vec<_> = fs::read_dir(base.path())
            .unwrap()
            .map(|item| item.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["1-4", "else", "first"]);
        assert!(alive.path.join(LOCK).exists());
    }

    #[test]
    fn what_a_driver_has_emptied_and_could_not_remove_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let left = base.path().join("modem");
        let open = |mode| {
            fs::set_permissions(base.path(), Permissions::from_mode(mode)).unwrap();
        };
        open(0o755);
        fs::create_dir(&left).unwrap();
        fs::write(left.join("at"), "").unwrap();
        if std::os::unix::fs::chown(&left, Some(12_345), None).is_err() {
            // Only root gives a directory away. That of an ordinary user stays.
            sweep(base.path());
            assert!(left.exists());
            return;
        }
        // Where others can make directories, it may be theirs.
        open(0o777);
        sweep(base.path());
        assert!(left.exists());
        open(0o755);
        sweep(base.path());
        assert!(!left.exists());
        RuntimeDir::create(base.path(), "modem").unwrap();
    }

    #[test]
    fn the_link_that_a_dead_owner_left_is_taken_over() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("1-5");
        std::os::unix::fs::symlink("1-4", &link).unwrap();
        let mut directory = RuntimeDir::create(base.path(), "1-4").unwrap();
        directory.link("1-5");
        assert_eq!(link_target(&link).as_deref(), Some(Path::new("1-4")));
        drop(directory);
        assert!(link.symlink_metadata().is_err(), "it goes with its owner");
    }

    #[test]
    fn directories_others_can_write_and_links_are_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("1-4");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        let failure = RuntimeDir::create(base.path(), "1-4").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Permission);
        assert!(failure.to_string().contains("other users"), "{failure}");

        std::os::unix::fs::symlink("/tmp", base.path().join("1-5")).unwrap();
        let failure = RuntimeDir::create(base.path(), "1-5").unwrap_err();
        assert!(failure.to_string().contains("not a directory"), "{failure}");
    }

    #[test]
    fn a_lock_that_is_a_link_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let victim = base.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let path = base.path().join("1-4");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        std::os::unix::fs::symlink(&victim, path.join(LOCK)).unwrap();
        assert!(RuntimeDir::create(base.path(), "1-4").is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
