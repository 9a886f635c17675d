//! Finds the modem of a command: through the running `uwwan up` that owns it, or by opening the
//! device where none runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};
use uwwan_modem::at_port::open::Choice;
use uwwan_modem::client::{self, AtClient, Client, StatusClient};
use uwwan_modem::share::Reply;
use uwwan_modem::{Options, Selector, Status};
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;
use uwwan_usb::functions::SerialRole;

use crate::candidates;
use crate::capture;
use crate::checks::{bad, words};
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::output::note;
use crate::running::{Entry, Running, SocketChoice};
use crate::settings::Device;
use crate::signals;
use crate::spinner::Spinner;

/// Device name of the emulated modem in the runtime directory.
pub const EMULATOR: &str = "emulator";
/// Pause in USB configuration 0 for the emulated modem, which needs 100 ms.
const EMULATOR_SETTLE: Duration = Duration::from_millis(200);

/// Choice of the modem that a command is for, and of the USB backend.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reach {
    /// The modem: vendor:product (03f0:a31d), port (1-4.2), bus/device (3/12), or `emulator`. A
    /// running `uwwan up` is used where there is one. Needed only when several are present
    #[arg(long, short, value_name = "DEVICE", help_heading = "Modem")]
    device: Option<Device>,
    /// What drives the USB device [default: libusb]
    #[arg(long, value_name = "BACKEND", value_parser = words(BackendKind::VALUES), help_heading = "Modem")]
    usb: Option<BackendKind>,
    #[command(flatten, next_help_heading = "Modem")]
    emulated: EmulatedModem,
    /// Where running modems keep their sockets
    #[arg(
        long,
        value_name = "DIR",
        env = "UWWAN_RUNTIME_DIR",
        help_heading = "Modem"
    )]
    runtime_dir: Option<PathBuf>,
    #[command(flatten)]
    capture: capture::Options,
}

impl Reach {
    /// Opens a control session with the modem. Ctrl-C ends its waits.
    ///
    /// # Errors
    /// Fails when there is no modem, when there are several and none was chosen, and when the one
    /// that is present cannot be opened.
    pub fn open(&self) -> Result<Client, Failure> {
        Ok(self.modem()?.client)
    }

    /// Does as [`Reach::open`], and returns the Ctrl-C channel and the running `up`, if one is
    /// used, beside the session.
    ///
    /// # Errors
    /// Those of [`Reach::open`].
    pub fn modem(&self) -> Result<Modem, Failure> {
        let target = self.target()?;
        // From here on Ctrl-C first releases the modem. The files that the command line names are read
        // before: one that is a pipe may keep the command waiting, which any signal ends.
        target.open(interrupts()?)
    }

    /// Opens the modem's AT port: the port with `role`, if given and there is a choice.
    ///
    /// # Errors
    /// Fails when there is no modem, and when none of its ports answers.
    pub fn at(&self, role: Option<SerialRole>) -> Result<AtClient, Failure> {
        self.target()?.at(role)
    }

    /// Returns whether this modem is the emulated one.
    pub fn is_emulated(&self, modem: &Modem) -> bool {
        match &modem.through {
            Some(entry) => entry.is(EMULATOR),
            None => self.device == Some(Device::Emulator),
        }
    }

    /// Returns the target: the running `up` that owns the modem, or the device.
    ///
    /// # Errors
    /// Fails when there is no modem, when there are several and none was chosen, and when the one
    /// that is present cannot be opened.
    pub fn target(&self) -> Result<Target, Failure> {
        if self.device != Some(Device::Emulator) {
            self.emulated.refuse()?;
        }
        if let Some(entry) = self.running()? {
            if let Some(path) = &self.capture.capture {
                return Err(capture::passes_elsewhere(path));
            }
            return Ok(Target::Running(entry));
        }
        let selector = match &self.device {
            Some(Device::Emulator) => {
                let wanted = self.emulated.wanted()?;
                return Ok(Target::Device {
                    backend: self.capture.around(wanted.start_in_process()?.backend)?,
                    selector: wanted.selector(),
                    settle: Some(EMULATOR_SETTLE),
                });
            }
            Some(Device::Usb(selector)) => selector.clone(),
            None => Selector::Any,
        };
        let backend = self.backend()?;
        let candidate = candidates::usable(backend.as_ref(), &selector, false, None)?;
        let backend = self.capture.around(backend)?;
        Ok(Target::Device {
            backend,
            // The port stays the same over the re-enumerations of the bring-up.
            selector: Selector::Port(candidate.found.identity.port),
            settle: None,
        })
    }

    /// Does as [`Reach::target`], and captures the transfers into a new file at `path` where this
    /// process opens the device.
    ///
    /// # Errors
    /// Those of [`Reach::target`], and [`FailureKind::Usage`] when another capture is asked for.
    pub fn recorded(&self, path: &Path) -> Result<Target, Failure> {
        if self.capture.capture.is_some() {
            return Err(bad("capture", "what passes is recorded already"));
        }
        if self.running()?.is_some() {
            return self.target();
        }
        let mut recorded = self.clone();
        recorded.capture.capture = Some(path.to_owned());
        recorded.target()
    }

    /// Returns the status that the running `up` reports.
    ///
    /// # Errors
    /// [`FailureKind::NotRunning`] when none runs, and those of the client.
    pub fn status(&self) -> Result<Reply, Failure> {
        match self.running()? {
            Some(entry) => StatusClient::connect(&entry.socket)?.status(),
            None => Err(Failure::new(
                FailureKind::NotRunning,
                "uwwan up is not running",
            )),
        }
    }

    fn backend(&self) -> Result<Arc<dyn Backend>, Failure> {
        Ok(self.usb.unwrap_or_default().start())
    }

    /// Returns the runtime directory of the running `up` that owns the chosen modem, if there is
    /// one.
    fn running(&self) -> Result<Option<Entry>, Failure> {
        if !self.emulated.is_empty() {
            return Ok(None);
        }
        let base = self.runtime_dir.as_deref();
        let look = |device: Option<&str>| Running::look(base, device, SocketChoice::Any);
        let running = match &self.device {
            None => look(None),
            Some(Device::Emulator) => look(Some(EMULATOR)),
            Some(Device::Usb(Selector::Port(port))) => look(Some(port)),
            Some(Device::Usb(selector)) => {
                if look(None).alive.is_empty() {
                    return Ok(None);
                }
                let found = candidates::select(self.backend()?.as_ref(), selector)?.found;
                look(Some(&found.identity.port))
            }
        };
        if self.device.is_none()
            && running.alive.is_empty()
            && let Some(refused) = running.refused.first()
        {
            note(format!(
                "another user may be running a modem ({}), which this user cannot see",
                refused.place
            ));
        }
        running.only()
    }
}

/// Returns a channel that receives the first Ctrl-C or SIGTERM.
///
/// # Errors
/// [`FailureKind::Host`] when the system refuses the signal handlers.
pub fn interrupts() -> Result<Receiver<i32>, Failure> {
    signals::first()
        .map_err(|error| Failure::new(FailureKind::Host, "cannot wait for signals").because(error))
}

/// The process or the device by which a modem is reached.
#[derive(Clone)]
pub enum Target {
    /// The modem belongs to a running `uwwan up`, whose runtime directory this is.
    Running(Entry),
    /// The modem belongs to no running `uwwan up` and is opened as a USB device.
    Device {
        /// USB backend that opens the device.
        backend: Arc<dyn Backend>,
        /// The device among those on the bus.
        selector: Selector,
        /// Pause in USB configuration 0, where it differs from that of the quirk table.
        settle: Option<Duration>,
    },
}

impl Target {
    /// Opens a control session.
    ///
    /// # Errors
    /// Fails when the modem cannot be opened; [`FailureKind::Cancelled`] on Ctrl-C.
    pub fn open(self, interrupts: Receiver<i32>) -> Result<Modem, Failure> {
        let (backend, selector, settle) = match self {
            Self::Running(entry) => {
                let client = Client::through(&entry.mbim_socket())?;
                return Ok(Modem::new(client, interrupts, Some(entry)));
            }
            Self::Device {
                backend,
                selector,
                settle,
            } => (backend, selector, settle),
        };
        let options = Options {
            probe: false,
            settle,
            // No kernel driver can have an emulated modem, which ends with this process.
            reattach_drivers: backend.name() != EMULATOR,
            ..Options::default()
        };
        let spinner = Spinner::new("opening the modem");
        let (sender, opened) = bounded(1);
        // Opening may take most of a minute, and Ctrl-C must not wait for that.
        std::thread::Builder::new()
            .name("opening".into())
            .spawn(move || {
                let _ = sender.send(Client::direct(backend, selector, options));
            })
            .map_err(|error| Failure::new(FailureKind::Host, "cannot start").because(error))?;
        let result = select! {
            recv(opened) -> result => result,
            recv(interrupts) -> _ => return Err(client::interrupted("opening the modem")),
        };
        drop(spinner);
        match result {
            Ok(Ok(client)) => Ok(Modem::new(client, interrupts, None)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Failure::new(FailureKind::Host, "cannot open the modem")),
        }
    }
}

impl Target {
    /// Opens the AT port: the port with `role`, if given and there is a choice.
    ///
    /// # Errors
    /// Fails when there is no AT port, and when none answers.
    pub fn at(&self, role: Option<SerialRole>) -> Result<AtClient, Failure> {
        match self {
            Self::Running(entry) => AtClient::through(&entry.at_socket()).map_err(|failure| {
                if failure.kind != FailureKind::NotRunning {
                    return failure;
                }
                let what = "the running uwwan does not have the AT port";
                Failure::new(FailureKind::Missing, what)
                    .at(entry.at_socket().display().to_string())
                    .because("nobody answers on the port's socket")
                    .next("start uwwan up without --at-port false")
            }),
            Self::Device {
                backend, selector, ..
            } => {
                let found = candidates::select(backend.as_ref(), selector)?.found;
                let choice = Choice {
                    prefer: role,
                    ..Choice::default()
                };
                Ok(AtClient::direct(Arc::clone(backend), found, &choice)?)
            }
        }
    }

    /// Returns the modem's name for messages.
    ///
    /// # Errors
    /// Fails when the device is no longer present.
    pub fn name(&self) -> Result<String, Failure> {
        Ok(match self {
            Self::Running(entry) => format!("the running uwwan at {}", entry.device),
            Self::Device {
                backend, selector, ..
            } => candidates::select(backend.as_ref(), selector)?
                .found
                .identity
                .to_string(),
        })
    }
}

/// A control session with a modem, and how the modem is reached.
pub struct Modem {
    /// Control session.
    pub client: Client,
    /// Channel that receives Ctrl-C, for a caller that waits for something other than the modem.
    pub interrupts: Receiver<i32>,
    /// Runtime directory of the running `uwwan up` that is used; `None` when this process has opened
    /// the device.
    pub through: Option<Entry>,
}

impl Modem {
    fn new(mut client: Client, interrupts: Receiver<i32>, through: Option<Entry>) -> Self {
        let asked = interrupts.clone();
        client.interrupt_by(move || asked.try_recv().is_ok());
        Self {
            client,
            interrupts,
            through,
        }
    }

    /// Returns the driver's status of the modem, such as its identity and its NTB parameters;
    /// `None` when a running `up` does not report it.
    pub fn status(&self) -> Option<Status> {
        match &self.through {
            None => self.client.status(),
            Some(entry) => {
                let mut client = StatusClient::connect(&entry.socket).ok()?;
                client.status().ok()?.decode().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_at_port_for_others_is_told_apart_from_none() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("modem");
        std::fs::create_dir(&directory).unwrap();
        let failure = || {
            let entry = Entry {
                device: "modem".into(),
                links: Vec::new(),
                socket: directory.join("control"),
            };
            Target::Running(entry).at(None).err().unwrap()
        };
        let missing = failure();
        assert_eq!(missing.kind, FailureKind::Missing, "{missing}");
        let socket = directory.join("at.socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        // Root may open every directory, and keeps away from those that another user has made.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(base.path(), Some(12345), None).unwrap();
        } else {
            std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        let refused = failure();
        assert_eq!(refused.kind, FailureKind::Permission, "{refused}");
    }
}
