//! ModemManager is kept away from the modem while `up` has it, by ModemManager's own interface.
//!
//! `InhibitDevice` (`org.freedesktop.ModemManager1`, D-Bus interface of ModemManager 1.10 and later)
//! makes it close the modem and ignore its ports until the caller takes that back or leaves the bus
//! (ModemManager, `src/mm-base-manager.c`). The connection to the bus is therefore held by the process
//! that outlives the driver, and the modem is ModemManager's again when that process ends.
//!
//! ModemManager only knows modems with a port of a kernel driver, and refuses to inhibit one that it
//! does not know. A modem whose drivers are all detached is of that kind, and needs no inhibition; when
//! ModemManager finds one of its ports after all, or is restarted, it is asked again.
//!
//! A bus or a ModemManager that does not answer delays the modem by [`CONNECTING`] and [`ANSWER`] at
//! most, once each. An answer within [`LATE`] is still taken.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uwwan_usb::access::{Access, Local};
use uwwan_usb::device::Identity;
use zbus::blocking::connection::Builder;
use zbus::blocking::{Connection, MessageIterator};

/// Longest wait for the connection to the system's bus.
const CONNECTING: Duration = Duration::from_millis(500);
/// Longest time for which a device waits for an answer. ModemManager disconnects and disables the modem
/// before it answers.
const ANSWER: Duration = Duration::from_secs(5);
/// Time after which no answer is expected any more. Only the asking thread waits so long.
const LATE: Duration = Duration::from_secs(60);

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const MANAGER: &str = "org.freedesktop.ModemManager1";
const MANAGER_PATH: &str = "/org/freedesktop/ModemManager1";
/// The D-Bus errors which mean that ModemManager does not run.
const NOBODY: [&str; 2] = [
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
];
/// The D-Bus error which means that ModemManager does not know the modem.
const UNKNOWN: &str = "org.freedesktop.ModemManager1.Error.Core.NotFound";

/// What ModemManager does with the modem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Standing {
    /// ModemManager has not been asked.
    #[default]
    Unasked,
    /// There is no system bus.
    NoBus {
        /// The reason in words.
        why: String,
    },
    /// ModemManager does not run.
    NotRunning,
    /// ModemManager runs, and does not know the modem.
    Unaware,
    /// ModemManager keeps away.
    Inhibited,
    /// ModemManager was asked and has not confirmed that it keeps away.
    Refused {
        /// The reason in words.
        why: String,
    },
}

impl Standing {
    /// Returns the state in words; `None` for one in which ModemManager does nothing.
    pub fn line(&self) -> Option<String> {
        match self {
            Self::Unasked | Self::NoBus { .. } | Self::NotRunning | Self::Unaware => None,
            Self::Inhibited => Some("keeps away from the modem (InhibitDevice)".to_owned()),
            Self::Refused { why } => Some(format!("was not kept away from the modem: {why}")),
        }
    }
}

/// Function that returns what ModemManager does with the modem, whichever process keeps it away.
pub type Manager = Arc<dyn Fn() -> Standing + Send + Sync>;

/// Keeps ModemManager away until this process ends.
#[derive(Debug, Clone)]
pub struct Inhibitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    patience: Patience,
}

/// The times for which an answer of ModemManager is waited for.
#[derive(Debug)]
struct Patience {
    /// Time for which a device that is being opened waits.
    device: Duration,
    /// Time for which the asking thread waits.
    at_all: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            device: ANSWER,
            at_all: LATE,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    /// Whether connecting has ended, with success or not.
    tried: bool,
    /// ModemManager's name of the modem: the path of the device in sysfs.
    uid: Option<String>,
    standing: Standing,
    /// Whether a request about a device is unanswered.
    asking: bool,
    /// Whether an answer did not come in time. No device waits for another one then.
    silent: bool,
}

impl Inhibitor {
    /// Connects to the system bus, on a thread of its own. Waits a moment for that, because a process
    /// may not be able to open sockets later.
    pub fn start() -> Self {
        Self::start_at(None, Patience::default())
    }

    /// Connects to the bus at an address, or to the system bus.
    fn start_at(address: Option<String>, patience: Patience) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            patience,
        });
        let own = Arc::clone(&shared);
        match thread(move || own.watch(address.as_deref())) {
            Ok(()) => {
                let state = shared.lock();
                let waited = shared
                    .changed
                    .wait_timeout_while(state, CONNECTING, |state| !state.tried);
                drop(waited);
            }
            Err(error) => shared.lock().standing = Standing::no_bus(&error),
        }
        Self(shared)
    }

    /// Asks ModemManager to keep away from the device at a port, and waits a moment for its answer. A
    /// later answer counts as well.
    pub fn keep_away(&self, port: &str) {
        // ModemManager's name is the path of the device itself, instead of a symbolic link to it.
        let Ok(path) = Path::new("/sys/bus/usb/devices").join(port).canonicalize() else {
            return;
        };
        self.keep_away_from(path.to_string_lossy().into_owned());
    }

    /// Asks ModemManager to keep away from the device that it knows by this name.
    fn keep_away_from(&self, uid: String) {
        let mut state = self.0.lock();
        let uid = Some(uid);
        if state.uid != uid && state.standing == Standing::Inhibited {
            // The state is that of another device.
            state.standing = Standing::Unasked;
        }
        state.uid = uid;
        if std::mem::replace(&mut state.asking, true) {
            return;
        }
        let own = Arc::clone(&self.0);
        let asked = thread(move || {
            while own.lock().asking {
                let uid = own.ask();
                let mut state = own.lock();
                // The device may be at another port by now.
                state.asking = state.uid != uid;
            }
            own.changed.notify_all();
        });
        if let Err(error) = asked {
            state.asking = false;
            state.standing = Standing::refused(&error);
            return;
        }
        if state.silent {
            return;
        }
        let asking = |state: &mut State| state.asking;
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, self.0.patience.device, asking);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            state.silent = true;
            state.standing = Standing::refused(&"it has not answered yet");
        }
    }

    /// Returns what ModemManager does with the modem.
    pub fn standing(&self) -> Standing {
        self.0.lock().standing.clone()
    }
}

/// Starts a thread of this module.
fn thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let named = std::thread::Builder::new().name("uwwan-manager".into());
    named.stack_size(256 * 1024).spawn(work).map(drop)
}

impl Standing {
    fn no_bus(why: &dyn std::fmt::Display) -> Self {
        Self::NoBus {
            why: why.to_string(),
        }
    }

    fn refused(why: &dyn std::fmt::Display) -> Self {
        Self::Refused {
            why: why.to_string(),
        }
    }

    /// Returns the state that an answer with this error means.
    fn of_error(name: &str, why: Option<String>) -> Self {
        match name {
            UNKNOWN => Self::Unaware,
            name if NOBODY.contains(&name) => Self::NotRunning,
            name => Self::refused(&why.unwrap_or_else(|| name.to_owned())),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and asks again whenever ModemManager starts or finds a modem.
    fn watch(&self, address: Option<&str>) {
        let connected = connect(address, self.patience.at_all);
        let mut state = self.lock();
        state.tried = true;
        let messages = match connected {
            Ok((connection, messages)) => {
                state.connection = Some(connection);
                messages
            }
            Err(error) => {
                tracing::debug!(%error, "no system bus");
                state.standing = Standing::no_bus(&error);
                self.changed.notify_all();
                return;
            }
        };
        drop(state);
        self.changed.notify_all();
        self.ask();
        for message in messages {
            let Ok(message) = message else { break };
            match message.header().member().map(|member| member.as_str()) {
                Some("NameOwnerChanged") => {
                    let body = message.body();
                    let Ok((_, _, new)) = body.deserialize::<(&str, &str, &str)>() else {
                        continue;
                    };
                    // A restarted ModemManager does not know the request to the one before.
                    self.lock().standing = match new.is_empty() {
                        true => Standing::NotRunning,
                        false => Standing::Unasked,
                    };
                    if !new.is_empty() {
                        self.ask();
                    }
                }
                Some("InterfacesAdded") => {
                    self.ask();
                }
                _ => {}
            }
        }
        self.lock().standing = Standing::no_bus(&"it has ended");
    }

    /// Asks ModemManager to keep away, unless it already does, and returns its name of the modem.
    fn ask(&self) -> Option<String> {
        let state = self.lock();
        let name = state.uid.clone();
        let (Some(connection), Some(uid)) = (&state.connection, &name) else {
            return name;
        };
        if state.standing == Standing::Inhibited {
            return name;
        }
        let connection = connection.clone();
        drop(state);
        let (standing, answered) = match inhibit(&connection, uid) {
            Ok(()) => (Standing::Inhibited, true),
            Err(zbus::Error::MethodError(name, why, _)) => (Standing::of_error(&name, why), true),
            Err(error) => (Standing::refused(&error), false),
        };
        tracing::debug!(?standing, uid, "ModemManager");
        let mut state = self.lock();
        state.silent = !answered;
        if state.uid != name {
            // The answer does not concern the device that is asked about by now.
            return name;
        }
        // Both threads may ask; the second is answered that the device is inhibited already.
        if state.standing != Standing::Inhibited {
            state.standing = standing;
        }
        drop(state);
        name
    }
}

/// Connects to the bus, with this timeout for answers, and subscribes to signals about
/// ModemManager.
fn connect(
    address: Option<&str>,
    patience: Duration,
) -> zbus::Result<(Connection, MessageIterator)> {
    let builder = match address {
        Some(address) => Builder::address(address)?,
        None => Builder::system()?,
    };
    let connection = builder.method_timeout(patience).build()?;
    let messages = MessageIterator::from(&connection);
    for rule in [
        format!("type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{MANAGER}'"),
        format!("type='signal',sender='{MANAGER}',path='{MANAGER_PATH}',member='InterfacesAdded'"),
    ] {
        connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "AddMatch", &rule)?;
    }
    Ok((connection, messages))
}

/// Asks ModemManager to keep away from a modem. The bus does not start ModemManager for that.
fn inhibit(connection: &Connection, uid: &str) -> zbus::Result<()> {
    connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "GetNameOwner", &MANAGER)?;
    let asked = (uid, true);
    let (to, at) = (Some(MANAGER), MANAGER_PATH);
    connection.call_method(to, at, Some(MANAGER), "InhibitDevice", &asked)?;
    Ok(())
}

/// Access to devices that keeps ModemManager away before a device is opened.
#[derive(Debug)]
pub struct Kept {
    inner: Local,
    inhibitor: Inhibitor,
}

impl Kept {
    /// Returns the access with the rights of this process.
    pub fn new(inhibitor: Inhibitor) -> Self {
        Self {
            inner: Local::default(),
            inhibitor,
        }
    }
}

impl Access for Kept {
    fn open(&self, device: &Identity) -> io::Result<File> {
        self.inhibitor.keep_away(&device.port);
        self.inner.open(device)
    }

    uwwan_usb::forward!(Access: is_local guard_port force_configuration holder);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Instant;

    use crossbeam_channel::{Receiver, Sender, unbounded};

    use super::*;

    #[test]
    fn answers_are_told_apart_by_the_names_of_errors() {
        let standing = |name: &str| Standing::of_error(name, Some("because".into()));
        assert_eq!(standing(NOBODY[1]), Standing::NotRunning);
        assert_eq!(standing(UNKNOWN), Standing::Unaware);
        let refused = standing("org.freedesktop.DBus.Error.AccessDenied");
        let line = refused.line().unwrap();
        assert_eq!(line, "was not kept away from the modem: because");
        assert_eq!(Standing::NotRunning.line(), None);
    }

    /// A bus that never answers costs one wait: here a listener accepts the connection and sends
    /// nothing.
    #[test]
    fn a_bus_that_says_nothing_is_waited_for_in_vain_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus");
        let _listener = UnixListener::bind(&path).unwrap();
        let address = format!("unix:path={}", path.display());
        let inhibitor = Inhibitor::start_at(Some(address), Patience::default());
        inhibitor.keep_away("1-1");
        assert_eq!(inhibitor.standing(), Standing::Unasked);
    }

    #[test]
    fn no_bus_is_no_obstacle() {
        let inhibitor = Inhibitor::start_at(
            Some("unix:path=/nonexistent/bus".into()),
            Patience::default(),
        );
        inhibitor.keep_away("1-1");
        assert!(matches!(inhibitor.standing(), Standing::NoBus { .. }));
    }

    /// Builds the answer to the method call with this serial number, whose body is one text or empty, as
    /// the D-Bus specification has it ("Message Protocol").
    fn answer_to(serial: u32, text: Option<&str>) -> Vec<u8> {
        let body = text.map_or(Vec::new(), |text| {
            let length = u32::try_from(text.len()).unwrap().to_le_bytes();
            [&length[..], text.as_bytes(), b"\0"].concat()
        });
        // The fields are REPLY_SERIAL, and SIGNATURE where there is a body.
        let mut fields = [&b"\x05\x01u\0"[..], &serial.to_le_bytes()].concat();
        if text.is_some() {
            fields.extend(b"\x08\x01g\0\x01s\0");
        }
        let mut message = b"l\x02\x01\x01".to_vec();
        for number in [body.len(), 1, fields.len()] {
            message.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        message.extend(fields);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        message
    }

    /// Reads a little-endian 32-bit number.
    fn number(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// Performs the server's side of the authentication.
    fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.extend(byte.iter().filter(|byte| **byte != 0));
            if !line.ends_with(b"\r\n") {
                continue;
            }
            match &std::mem::take(&mut line)[..] {
                b"BEGIN\r\n" => return Ok(()),
                b"NEGOTIATE_UNIX_FD\r\n" => stream.write_all(b"AGREE_UNIX_FD\r\n")?,
                _ => stream.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n")?,
            }
        }
    }

    /// Answers for the bus at once, and for ModemManager when a message on the channel permits it, until
    /// the client has gone.
    fn serve(
        mut stream: UnixStream,
        asked: &Sender<String>,
        told: &Receiver<()>,
    ) -> io::Result<()> {
        authenticate(&mut stream)?;
        loop {
            let mut head = vec![0; 16];
            stream.read_exact(&mut head)?;
            let fields = number(&head, 12).next_multiple_of(8);
            let mut rest = vec![0; fields + number(&head, 4)];
            stream.read_exact(&mut rest)?;
            let (fields, body) = rest.split_at(fields);
            let calls = |member: &str| {
                let member = [member.as_bytes(), b"\0"].concat();
                fields.windows(member.len()).any(|part| part == member)
            };
            let text = match () {
                () if calls("Hello") => Some(":1.1"),
                () if calls("GetNameOwner") => Some(":1.2"),
                () if calls("InhibitDevice") => {
                    let uid = &body[4..][..number(body, 0)];
                    let _ = asked.send(String::from_utf8(uid.to_vec()).unwrap());
                    let _ = told.recv();
                    None
                }
                () => None,
            };
            let serial = u32::try_from(number(&head, 8)).unwrap();
            stream.write_all(&answer_to(serial, text))?;
        }
    }

    /// Starts a bus with a slow ModemManager, for one connection. Returns its address, the channel that
    /// lets it answer, and the modems that it is asked to keep away from.
    fn slow(folder: &Path) -> (String, Sender<()>, Receiver<String>) {
        let path = folder.join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let (answer, told) = unbounded();
        let (sender, asked) = unbounded();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // The thread ends with the client's connection.
            let _ = serve(stream, &sender, &told);
        });
        (format!("unix:path={}", path.display()), answer, asked)
    }

    /// Starts an inhibitor, and waits until it has connected or failed to, however long that takes.
    fn started(address: String, patience: Patience) -> Inhibitor {
        let inhibitor = Inhibitor::start_at(Some(address), patience);
        let connecting = |state: &mut State| !state.tried;
        let state = inhibitor.0.lock();
        drop(inhibitor.0.changed.wait_while(state, connecting).unwrap());
        inhibitor
    }

    /// Waits until the state is the wanted one.
    #[track_caller]
    fn comes_to(inhibitor: &Inhibitor, wanted: impl Fn(&Standing) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !wanted(&inhibitor.standing()) {
            assert!(Instant::now() < end, "{:?}", inhibitor.standing());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn says(standing: &Standing, text: &str) -> bool {
        matches!(standing, Standing::Refused { why } if why.contains(text))
    }

    const LONG: Duration = Duration::from_secs(600);
    /// Times with which a device that is being opened hardly waits, and the asking thread waits for
    /// any time.
    const IMPATIENT: Patience = Patience {
        device: Duration::from_millis(20),
        at_all: LONG,
    };

    /// There are more answers than requests, because either of the asking threads may be first.
    fn answer_all(answer: &Sender<()>) {
        (0..10).for_each(|_| answer.send(()).unwrap());
    }

    #[test]
    fn an_answer_that_comes_late_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (address, answer, asked) = slow(folder.path());
        let inhibitor = started(address, IMPATIENT);
        inhibitor.keep_away_from("/sys/one".into());
        assert!(says(&inhibitor.standing(), "not answered yet"));
        assert_eq!(asked.recv().unwrap(), "/sys/one");
        // The next opening of the device does not wait.
        inhibitor.keep_away_from("/sys/one".into());
        answer_all(&answer);
        comes_to(&inhibitor, |standing| *standing == Standing::Inhibited);
    }

    #[test]
    fn a_late_answer_about_another_device_is_not_taken_for_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let (address, answer, asked) = slow(folder.path());
        let inhibitor = started(address, IMPATIENT);
        inhibitor.keep_away_from("/sys/one".into());
        assert_eq!(asked.recv().unwrap(), "/sys/one");
        inhibitor.keep_away_from("/sys/two".into());
        answer_all(&answer);
        comes_to(&inhibitor, |standing| *standing == Standing::Inhibited);
        assert!(asked.try_iter().any(|uid| uid == "/sys/two"));
    }

    #[test]
    fn one_that_never_answers_is_asked_again_and_no_device_waits_for_it_twice() {
        let folder = tempfile::tempdir().unwrap();
        let patience = || Patience {
            device: LONG,
            at_all: Duration::from_secs(1),
        };
        // The bus itself has as long to answer, which may be too short on a busy machine.
        let (inhibitor, answer) = loop {
            let _ = std::fs::remove_file(folder.path().join("bus"));
            let (address, answer, _) = slow(folder.path());
            let inhibitor = started(address, patience());
            if !matches!(inhibitor.standing(), Standing::NoBus { .. }) {
                break (inhibitor, answer);
            }
        };
        inhibitor.keep_away_from("/sys/one".into());
        let standing = inhibitor.standing();
        assert!(
            matches!(standing, Standing::Refused { .. }) && !says(&standing, "yet"),
            "{standing:?}"
        );
        // The next opening does not wait, and its answer is taken.
        inhibitor.keep_away_from("/sys/one".into());
        answer_all(&answer);
        comes_to(&inhibitor, |standing| *standing == Standing::Inhibited);
    }
}
