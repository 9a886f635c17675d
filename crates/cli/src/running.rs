//! The modems of running `uwwan up` processes: their runtime directories, and the sockets there
//! that answer this user.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uwwan_modem::client::{self, SYSTEM, StatusClient};

use crate::failure::{Failure, FailureKind};
use crate::output::note;
use crate::runtime::{self, AT_SOCKET, EMULATE_SOCKET, MBIM_SOCKET, SOCKET};

/// Number of names in a directory of runtime directories that are examined. Another user may have
/// filled it.
const MOST_NAMES: usize = 256;

/// Runtime directory of an `uwwan up`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name of the directory: that of the configuration, the port, or `emulator`.
    pub device: String,
    /// Names of the links to the directory: the port, or `emulator`.
    pub links: Vec<String>,
    /// Path of the control socket in the directory.
    pub socket: PathBuf,
}

impl Entry {
    /// Returns whether the directory or a link to it has this name, as [`runtime::file_name`] returns
    /// it.
    pub fn is(&self, name: &str) -> bool {
        self.device == name || self.links.iter().any(|link| link == name)
    }

    /// Returns the path of the AT port's socket in the same directory.
    pub fn at_socket(&self) -> PathBuf {
        self.socket.with_file_name(AT_SOCKET)
    }

    /// Returns the path of the control session's socket in the same directory.
    pub fn mbim_socket(&self) -> PathBuf {
        self.socket.with_file_name(MBIM_SOCKET)
    }
}

/// Socket by which a running `up` has to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketChoice {
    /// The control socket alone.
    Status,
    /// The control socket alone; root reaches the sockets of every user.
    StatusOfAnyUser,
    /// The control socket or that of the control session, which may serve users whom the other
    /// refuses.
    Any,
}

/// The result of a search for running modems.
#[derive(Debug)]
pub struct Running {
    /// Modems whose `up` answers, in the order of their names.
    pub alive: Vec<Entry>,
    /// The reasons why directories and sockets were passed over that this user may not use, or that
    /// another user has made.
    pub refused: Vec<Failure>,
}

impl Running {
    /// Searches for running modems under this user's base and root's, or under `base` alone, if
    /// given; only for `device`, if given.
    pub fn look(base: Option<&Path>, device: Option<&str>, sockets: SocketChoice) -> Self {
        let (mut alive, denied) = entries(&bases(base));
        let mut refused: Vec<Failure> = denied.iter().map(|path| not_for_this_user(path)).collect();
        if let Some(device) = device {
            let name = runtime::file_name(device);
            alive.retain(|entry| entry.is(&name));
        }
        let reach = match sockets {
            SocketChoice::StatusOfAnyUser => client::reach_any_user,
            SocketChoice::Status | SocketChoice::Any => client::reach,
        };
        alive.retain(|entry| match reach(&entry.socket) {
            Ok(()) => true,
            Err(failure) if failure.kind == FailureKind::Permission => {
                let other =
                    sockets == SocketChoice::Any && client::reach(&entry.mbim_socket()).is_ok();
                if !other {
                    refused.insert(0, failure);
                }
                other
            }
            // The owner has died without removing its socket.
            Err(_) => false,
        });
        Self { alive, refused }
    }

    /// Returns the modem that runs, or `None` when none does.
    ///
    /// # Errors
    /// [`FailureKind::Several`] when several run.
    pub fn only(mut self) -> Result<Option<Entry>, Failure> {
        if self.alive.len() > 1 {
            let names: Vec<&str> = self.alive.iter().map(|one| one.device.as_str()).collect();
            return Err(
                Failure::new(FailureKind::Several, "several modems are running")
                    .because(names.join(", "))
                    .next(format!("choose one: --device {}", names[0])),
            );
        }
        Ok(self.alive.pop())
    }
}

/// Connects to the control socket of the only running `up`, or of the one that runs `device` (a
/// port or `emulator`).
///
/// # Errors
/// [`FailureKind::Missing`] when none runs, [`FailureKind::Several`] when several run and none was
/// named, [`FailureKind::Permission`] when only another user's may be running.
pub fn status(base: Option<&Path>, device: Option<&str>) -> Result<StatusClient, Failure> {
    StatusClient::connect(&control_socket(base, device, SocketChoice::Status)?)
}

/// Does as [`status`], and lets root reach the `up` of an ordinary user, too, under the base of that
/// user. A line on standard error names the user whose answers they are.
///
/// # Errors
/// Those of [`status`].
pub fn status_of_any_user(
    base: Option<&Path>,
    device: Option<&str>,
) -> Result<StatusClient, Failure> {
    let socket = control_socket(base, device, SocketChoice::StatusOfAnyUser)?;
    let client = StatusClient::connect_to_any_user(&socket)?;
    if let Some(user) = client.stranger() {
        note(format!("an uwwan of user {user} answers"));
    }
    Ok(client)
}

fn control_socket(
    base: Option<&Path>,
    device: Option<&str>,
    sockets: SocketChoice,
) -> Result<PathBuf, Failure> {
    let mut running = Running::look(base, device, sockets);
    let refused = (!running.refused.is_empty()).then(|| running.refused.swap_remove(0));
    if let Some(entry) = running.only()? {
        return Ok(entry.socket);
    }
    if let Some(failure) = refused {
        return Err(failure);
    }
    let what = match device {
        Some(device) => format!("uwwan is not running a modem at {device}"),
        None => "uwwan is not running".to_owned(),
    };
    let failure = Failure::new(FailureKind::Missing, what)
        .because("no control socket answers")
        .next("uwwan list   shows the modems present")
        .next("uwwan up     brings one online");
    if base.is_none() && rustix::process::geteuid().is_root() {
        let user = "/run/user/UID/uwwan";
        return Err(failure.next(format!(
            "--runtime-dir {user}   if an ordinary user runs it"
        )));
    }
    Err(failure)
}

/// Connects to the only emulated modem of this user that runs, of `uwwan emulate` or of an `up` whose
/// directory has the name `up`, or to the one whose directory has the name `device`.
///
/// # Errors
/// [`FailureKind::Missing`] when none runs, [`FailureKind::Several`] when several run and none was
/// named.
pub fn emulated(
    base: Option<&Path>,
    device: Option<&str>,
    up: &str,
) -> Result<StatusClient, Failure> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for base in bases(base) {
        for item in fs::read_dir(&base)
            .into_iter()
            .flatten()
            .flatten()
            .take(MOST_NAMES)
        {
            let socket = item.path().join(EMULATE_SOCKET);
            if runtime::link_target(&item.path()).is_none() && client::reach(&socket).is_ok() {
                found.push((item.file_name().to_string_lossy().into_owned(), socket));
            }
        }
    }
    let up = Running::look(base, Some(up), SocketChoice::Status).alive;
    found.extend(up.into_iter().map(|entry| (entry.device, entry.socket)));
    if let Some(device) = device {
        found.retain(|(name, _)| name == device);
    }
    found.sort();
    match found.as_slice() {
        [(_, socket)] => StatusClient::connect(socket),
        [] => Err(Failure::new(FailureKind::Missing, "no emulated modem runs")
            .because("no socket of this user's answers")
            .next("uwwan emulate and uwwan up --device emulator run one")),
        [(first, _), ..] => {
            let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            Err(
                Failure::new(FailureKind::Several, "several emulated modems are running")
                    .because(names.join(", "))
                    .next(format!("choose one: --device {first}")),
            )
        }
    }
}

/// Returns the failure for a directory that this user may not read.
fn not_for_this_user(path: &Path) -> Failure {
    let what = "a modem may be running, but not for this user";
    Failure::new(FailureKind::Permission, what)
        .at(path.display().to_string())
        .because("it serves only root and the user who started it")
        .next("run the same command as one of them, or let uwwan up --operator name this user")
}

/// Returns the directories in which a running `uwwan up` is looked for: this user's, then root's;
/// or `chosen` alone, if given.
fn bases(chosen: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = chosen {
        return vec![path.to_path_buf()];
    }
    let mut bases: Vec<PathBuf> = runtime::own_base(None).into_iter().collect();
    if bases.iter().all(|base| base != Path::new(SYSTEM)) {
        bases.push(PathBuf::from(SYSTEM));
    }
    bases
}

/// Returns every runtime directory under the given bases, whether its owner is alive or not, in the
/// order of the device names, and the bases and directories that this user may not read.
fn entries(bases: &[PathBuf]) -> (Vec<Entry>, Vec<PathBuf>) {
    let mut found: Vec<Entry> = Vec::new();
    let mut denied = Vec::new();
    for base in bases {
        match fs::read_dir(base) {
            Ok(list) => {
                let mut links = Vec::new();
                for item in list.flatten().take(MOST_NAMES) {
                    let path = item.path();
                    let device = item.file_name().to_string_lossy().into_owned();
                    // The program never makes another name, so another user may have made it.
                    if device != runtime::file_name(&device) {
                        continue;
                    }
                    if let Some(target) = runtime::link_target(&path) {
                        links.push((device, target));
                        continue;
                    }
                    match fs::symlink_metadata(path.join(SOCKET)) {
                        Ok(_) => found.push(Entry {
                            device,
                            links: Vec::new(),
                            socket: path.join(SOCKET),
                        }),
                        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                            denied.push(path);
                        }
                        Err(_) => {}
                    }
                }
                for (link, target) in links {
                    let target = base.join(target).join(SOCKET);
                    for entry in found.iter_mut().filter(|entry| entry.socket == target) {
                        entry.links.push(link.clone());
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied.push(base.clone());
            }
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| a.device.cmp(&b.device));
    (found, denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uwwan_modem::share::{Builder, Policy, Request, Responder, Server};

    struct Online;

    impl Responder for Online {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"online": true})
        }
        fn stop(&self) {}
    }

    fn serve(base: &Path, device: &str) -> Server {
        let folder = base.join(device);
        std::fs::create_dir_all(&folder).unwrap();
        let mut builder = Builder::new(Policy::default()).unwrap();
        let socket = folder.join("control");
        builder.status(&socket, device, Box::new(Online)).unwrap();
        builder.serve().unwrap()
    }

    #[test]
    fn nobody_there_and_several_there_are_told_apart() {
        let base = tempfile::tempdir().unwrap();
        let failure = status(Some(base.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);

        let _one = serve(base.path(), "1-4");
        let second = base.path().join("2-1");
        std::fs::create_dir(&second).unwrap();
        drop(std::os::unix::net::UnixListener::bind(second.join("control")).unwrap());
        // The socket of a dead owner does not count.
        let mut client = status(Some(base.path()), None).unwrap();
        client.ask(Request::Status {}).unwrap();
        let reply = client.reply(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!(reply.status.unwrap()["online"], true);
        let _other = serve(base.path(), "2-1");
        let failure = status(Some(base.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Several);
        assert!(failure.to_string().contains("1-4, 2-1"), "{failure}");
        let mut client = status(Some(base.path()), Some("2-1")).unwrap();
        client.ask(Request::Stop {}).unwrap();
        assert_eq!(
            client
                .reply(Duration::from_secs(5))
                .unwrap()
                .unwrap()
                .device,
            "2-1"
        );
    }

    #[test]
    fn a_directory_is_found_by_its_port_as_well() {
        let base = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let (entries, _) = entries(&[base.path().to_owned()]);
            let found: Vec<_> = entries.into_iter().filter(|entry| entry.is(name)).collect();
            found
                .into_iter()
                .map(|entry| entry.device)
                .collect::<Vec<_>>()
        };
        let mut dir = runtime::RuntimeDir::create(base.path(), "modem").unwrap();
        fs::write(dir.socket(), "").unwrap();
        assert_eq!(named("1-4"), [""; 0]);
        dir.link("1-4");
        assert_eq!(
            (named("1-4"), named("modem")),
            (vec!["modem".to_owned()], vec!["modem".to_owned()])
        );
        // The runtime directory is in use, by either name.
        let again = runtime::RuntimeDir::create(base.path(), "1-4").unwrap_err();
        assert_eq!(again.kind, FailureKind::Busy);
        // The modem has moved to another port.
        dir.link("1-5");
        assert_eq!(
            (named("1-4"), named("1-5")),
            (vec![], vec!["modem".to_owned()])
        );
        drop(dir);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        // A link of a dead owner is replaced.
        std::os::unix::fs::symlink("modem", base.path().join("1-4")).unwrap();
        drop(runtime::RuntimeDir::create(base.path(), "1-4").unwrap());
        std::os::unix::fs::symlink("gone", base.path().join("1-4")).unwrap();
        let mut dir = runtime::RuntimeDir::create(base.path(), "modem").unwrap();
        dir.link("1-4");
        assert_eq!(
            runtime::link_target(&base.path().join("1-4")),
            Some("modem".into())
        );
    }
}
