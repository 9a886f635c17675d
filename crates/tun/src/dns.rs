//! Name servers, which are shown, or handed to the program that resolves names on this machine.
//!
//! Nothing is changed unless asked for. Dropping the guard undoes the changes. Those of a run that
//! was killed are undone by what it has noted ([`crate::left`]).
//!
//! The system calls are those of `resolved`; fork and exec of resolvconf; openat, read, write,
//! rename and unlink.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType};

use crate::error::{Error, ErrorKind};
use crate::netlink::Netlink;
use crate::program;
use crate::resolved::{self, Link};

/// First line of a resolv.conf that this crate has written.
const MARK: &str = "# Written by uwwan; the file there was is beside this one.";
/// Number of name servers the C library reads (`MAXNS`).
pub(crate) const MAX_SERVERS: usize = 3;

/// Resolver that the name servers are handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// No resolver, so the host's configuration stays as it is.
    #[default]
    None,
    /// The resolver systemd-resolved, through its D-Bus interface.
    Resolved,
    /// The resolver of the C library, through the `resolvconf` program if there is one, or else in
    /// `/etc/resolv.conf` itself.
    ResolvConf,
}

/// Paths of programs and files; [`Paths::default`] has those of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Directories in which programs are looked for, separated by colons.
    pub search: String,
    /// File of the C library's resolver configuration.
    pub resolv_conf: PathBuf,
}

impl Default for Paths {
    /// Returns the caller's `PATH` followed by the system's directories, which an ordinary user's
    /// `PATH` may lack, and `/etc/resolv.conf`.
    fn default() -> Paths {
        let path = std::env::var("PATH").unwrap_or_default();
        Paths {
            search: format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"),
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }
}

impl Paths {
    /// Returns the path of a program, if it is in one of the directories.
    fn program(&self, name: &str) -> Option<PathBuf> {
        self.search
            .split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.is_file())
    }
}

/// Returns the name servers as lines of a resolv.conf.
#[must_use]
pub fn describe(servers: &[IpAddr]) -> String {
    servers.iter().fold(String::new(), |mut text, server| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "nameserver {server}");
        text
    })
}

/// Guard of the name servers that were set. Dropping it removes them.
#[derive(Debug)]
#[must_use = "the name servers are taken back when this is dropped"]
pub struct Guard {
    undo: Undo,
}

/// Step that removes the name servers.
#[derive(Debug)]
enum Undo {
    /// Nothing is done, because nothing has been changed.
    Nothing,
    /// systemd-resolved is told to forget them.
    Resolved(Link),
    /// A program is run.
    Run {
        program: PathBuf,
        arguments: Vec<String>,
    },
    /// The file at `path` is restored, if `ours` is still its content.
    File { path: PathBuf, ours: String },
}

impl Guard {
    /// Returns a line for people about the change made to the host; `None` if there is none.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        match &self.undo {
            Undo::Nothing => None,
            Undo::Resolved(link) => Some(format!("name servers by {link}")),
            Undo::Run { program, .. } => Some(format!("name servers by {}", program.display())),
            Undo::File { path, .. } => Some(format!("name servers in {}", path.display())),
        }
    }
}

/// Hands `servers` of `interface` to the resolver. With `everything`, they are asked for all names,
/// as suits a default route through the interface. Otherwise systemd-resolved asks them only for
/// names in the interface's domains, of which there are none; resolv.conf knows no interfaces and
/// is the same in both cases. Without servers nothing is done.
///
/// # Errors
/// [`ErrorKind::Invalid`] when the wanted program is not there, [`ErrorKind::NoPermission`], or the
/// error of the program or the file system. Nothing has changed then.
pub fn set(
    method: Method,
    interface: &str,
    servers: &[IpAddr],
    everything: bool,
    paths: &Paths,
) -> Result<Guard, Error> {
    if servers.is_empty() {
        return Ok(Guard {
            undo: Undo::Nothing,
        });
    }
    let undo = match method {
        Method::None => Undo::Nothing,
        Method::Resolved => {
            let index = index_of(interface)?;
            Undo::Resolved(Link::set(resolved::connect()?, index, servers, everything)?)
        }
        Method::ResolvConf => match paths.program("resolvconf") {
            Some(program) => resolvconf(program, interface, servers)?,
            None => file(&paths.resolv_conf, servers)?,
        },
    };
    Ok(Guard { undo })
}

/// Returns the index of an interface.
fn index_of(interface: &str) -> Result<u32, Error> {
    // The kernel answers on a socket of any kind.
    rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .and_then(|socket| rustix::net::netdevice::name_to_index(socket, interface))
        .map_err(|errno| Error::system(format!("find {interface}"), errno.into()))
}

fn resolvconf(program: PathBuf, interface: &str, servers: &[IpAddr]) -> Result<Undo, Error> {
    let record = format!("{interface}.uwwan");
    program::run(&program, &["-a".into(), record.clone()], &describe(servers))?;
    Ok(Undo::Run {
        program,
        arguments: vec!["-d".into(), record],
    })
}

/// Takes the name servers of the interface with this index from systemd-resolved, if there is such an
/// interface.
///
/// # Errors
/// Those of the connection to the system bus.
pub(crate) fn forget_link(index: u32) -> Result<(), Error> {
    match Netlink::open()?.link("", index) {
        Ok(_) => Link::left(resolved::connect()?, index).map(drop),
        Err(error) if error.kind == ErrorKind::Gone => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes back name servers that a process has handed over with [`Method::ResolvConf`] and that it could
/// not take back itself.
///
/// # Errors
/// Those of the program.
pub(crate) fn forget_record(
    interface: &str,
    servers: &[IpAddr],
    paths: &Paths,
) -> Result<(), Error> {
    if let Some(program) = paths.program("resolvconf") {
        return program::run(&program, &["-d".into(), format!("{interface}.uwwan")], "");
    }
    // A file with anything else in it is another program's, or another run's, with its backup.
    let path = &paths.resolv_conf;
    if std::fs::read_to_string(path).is_ok_and(|there| there == text(servers)) {
        restore(path, &backup_of(path));
    }
    Ok(())
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    name.push(".before-uwwan");
    path.with_file_name(name)
}

fn is_ours(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(MARK))
}

/// Returns the resolv.conf with these name servers, or as many of them as it holds.
fn text(servers: &[IpAddr]) -> String {
    let servers = &servers[..servers.len().min(MAX_SERVERS)];
    format!("{MARK}\n{}", describe(servers))
}

fn file(path: &Path, servers: &[IpAddr]) -> Result<Undo, Error> {
    let backup = backup_of(path);
    let failed = |source: io::Error| {
        Error::system(format!("put name servers into {}", path.display()), source)
    };
    if servers.len() > MAX_SERVERS {
        tracing::info!(
            used = MAX_SERVERS,
            given = servers.len(),
            "resolv.conf holds three name servers"
        );
    }
    let ours = text(servers);
    // A file written by this crate was left by a run that crashed, and the backup beside it is the
    // original.
    let crashed = is_ours(path) && backup.symlink_metadata().is_ok();
    if !crashed {
        let original = std::fs::read(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        });
        match std::fs::rename(path, &backup) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::write(&backup, "").map_err(failed)?;
            }
            // A mount point cannot be renamed; in containers resolv.conf is one.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::fs::write(&backup, original.map_err(failed)?).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if let Err(error) = std::fs::write(path, &ours) {
        restore(path, &backup);
        return Err(failed(error));
    }
    Ok(Undo::File {
        path: path.to_owned(),
        ours,
    })
}

/// Moves the backup back, or copies it back over a mount point.
fn restore(path: &Path, backup: &Path) {
    let result = std::fs::rename(backup, path).or_else(|error| {
        if error.kind() != io::ErrorKind::ResourceBusy {
            return Err(error);
        }
        std::fs::write(path, std::fs::read(backup)?)?;
        std::fs::remove_file(backup)
    });
    if let Err(error) = result {
        tracing::warn!(path = %path.display(), backup = %backup.display(), %error, "name servers not put back");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match &self.undo {
            // The link removes them when it is dropped.
            Undo::Nothing | Undo::Resolved(_) => {}
            Undo::Run { program, arguments } => {
                if let Err(error) = program::run(program, arguments, "") {
                    tracing::warn!(%error, "name servers not taken back");
                }
            }
            Undo::File { path, ours } => {
                let backup = backup_of(path);
                if std::fs::read_to_string(path).is_ok_and(|text| text == *ours) {
                    restore(path, &backup);
                } else {
                    tracing::warn!(path = %path.display(), "another program has changed it since, so it is left as it is");
                    let _ = std::fs::remove_file(backup);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    fn servers() -> Vec<IpAddr> {
        vec![
            "193.213.112.4".parse().unwrap(),
            "2001:4600:4:fff::52".parse().unwrap(),
        ]
    }

    /// One test at a time uses this lock: a program cannot be run while a process that another test
    /// is starting still has it open for writing.
    static ONE: Mutex<()> = Mutex::new(());

    struct Machine {
        directory: tempfile::TempDir,
        paths: Paths,
        _one: MutexGuard<'static, ()>,
    }

    impl Machine {
        fn log(&self) -> String {
            fs::read_to_string(self.directory.path().join("log")).unwrap()
        }

        /// Sets these name servers through resolvconf.
        fn set(&self, servers: &[IpAddr]) -> Result<Guard, Error> {
            set(Method::ResolvConf, "uwwan0", servers, true, &self.paths)
        }
    }

    /// Makes a directory with a program that records how it was called and with what input.
    fn machine(program: &str, script: &str) -> Machine {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(program);
        let log = directory.path().join("log");
        fs::write(
            &path,
            format!(
                "#!/bin/sh\necho \"$*\" >>{0}\ncat >>{0}\n{script}\n",
                log.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let paths = Paths {
            search: directory.path().display().to_string(),
            resolv_conf: directory.path().join("resolv.conf"),
        };
        Machine {
            directory,
            paths,
            _one: one,
        }
    }

    #[test]
    fn a_program_that_fails_is_told() {
        let machine = machine("resolvconf", "echo 'Access denied' >&2; exit 1");
        let error = machine.set(&servers());
        let told = error.unwrap_err().to_string();
        assert!(told.contains("Access denied"), "{told}");
    }

    #[test]
    fn resolvconf_gets_a_record_of_ours() {
        let machine = machine("resolvconf", "");
        let guard = set(
            Method::ResolvConf,
            "uwwan0",
            &servers(),
            false,
            &machine.paths,
        )
        .unwrap();
        drop(guard);
        let log = machine.log();
        let want = "-a uwwan0.uwwan\nnameserver 193.213.112.4\nnameserver 2001:4600:4:fff::52\n-d uwwan0.uwwan\n";
        assert_eq!(log, want);
    }

    #[test]
    fn without_anybody_the_file_is_written_and_put_back() {
        let machine = machine("x", "");
        fs::write(&machine.paths.resolv_conf, "nameserver 9.9.9.9\n").unwrap();
        let guard = machine.set(&servers()).unwrap();
        let text = fs::read_to_string(&machine.paths.resolv_conf).unwrap();
        assert!(
            text.ends_with("nameserver 193.213.112.4\nnameserver 2001:4600:4:fff::52\n"),
            "{text}"
        );
        drop(guard);
        assert_eq!(
            fs::read_to_string(&machine.paths.resolv_conf).unwrap(),
            "nameserver 9.9.9.9\n"
        );
        assert!(!backup_of(&machine.paths.resolv_conf).exists());
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_leads_to_untouched() {
        let machine = machine("x", "");
        let target = machine.directory.path().join("stub");
        fs::write(&target, "nameserver 127.0.0.53\n").unwrap();
        symlink(&target, &machine.paths.resolv_conf).unwrap();
        let guard = machine.set(&servers()).unwrap();
        assert!(is_ours(&machine.paths.resolv_conf));
        assert_eq!(
            fs::read_to_string(&target).unwrap(),
            "nameserver 127.0.0.53\n"
        );
        drop(guard);
        assert_eq!(fs::read_link(&machine.paths.resolv_conf).unwrap(), target);
    }

    #[test]
    fn a_crashed_run_does_not_cost_the_original() {
        let machine = machine("x", "");
        fs::write(&machine.paths.resolv_conf, "nameserver 9.9.9.9\n").unwrap();
        let crashed = machine.set(&servers()).unwrap();
        drop(machine.set(&servers()[..1]).unwrap());
        assert_eq!(
            fs::read_to_string(&machine.paths.resolv_conf).unwrap(),
            "nameserver 9.9.9.9\n"
        );
        // A process that crashes restores nothing.
        drop(crashed);
    }

    #[test]
    fn what_a_killed_run_left_is_taken_back() {
        let machine = machine("x", "");
        let path = &machine.paths.resolv_conf;
        fs::write(path, "nameserver 9.9.9.9\n").unwrap();
        let killed = machine.set(&servers()).unwrap();
        // Another run has handed over other servers since.
        forget_record("uwwan0", &servers()[..1], &machine.paths).unwrap();
        assert!(is_ours(path) && backup_of(path).exists());
        forget_record("uwwan0", &servers(), &machine.paths).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "nameserver 9.9.9.9\n");
        assert!(!backup_of(path).exists());
        forget_record("uwwan0", &servers(), &machine.paths).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "nameserver 9.9.9.9\n");
        // A process that is killed restores nothing.
        std::mem::forget(killed);
    }

    #[test]
    fn a_killed_runs_record_is_taken_from_resolvconf() {
        let machine = machine("resolvconf", "");
        forget_record("uwwan0", &servers(), &machine.paths).unwrap();
        assert_eq!(machine.log(), "-d uwwan0.uwwan\n");
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let machine = machine("x", "");
        fs::write(&machine.paths.resolv_conf, "nameserver 9.9.9.9\n").unwrap();
        let guard = machine.set(&servers()).unwrap();
        fs::write(&machine.paths.resolv_conf, "nameserver 1.1.1.1\n").unwrap();
        drop(guard);
        assert_eq!(
            fs::read_to_string(&machine.paths.resolv_conf).unwrap(),
            "nameserver 1.1.1.1\n"
        );
        assert!(!backup_of(&machine.paths.resolv_conf).exists());
    }

    #[test]
    fn nothing_asked_nothing_done() {
        let machine = machine("resolvconf", "");
        assert_eq!(
            set(Method::None, "u", &servers(), true, &machine.paths)
                .unwrap()
                .describe(),
            None
        );
        assert_eq!(
            set(Method::Resolved, "u", &[], true, &machine.paths)
                .unwrap()
                .describe(),
            None
        );
        assert!(!machine.directory.path().join("log").exists());
    }
}
