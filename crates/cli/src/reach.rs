//! The way of a command to its modem: through the running `uwwan up` that owns it, or by opening
//! the device where none runs.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};
use indicatif::{ProgressBar, ProgressStyle};
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::session::{Command, Response};
use uwwan_mbim::status::{NwError, Status as MbimStatus};
use uwwan_modem::at_port::open::Choice;
use uwwan_modem::client::{AtClient, Client, Indication, StatusClient};
use uwwan_modem::{Code, Options, Selector, Status};
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;
use uwwan_usb::functions::SerialRole;

use crate::candidates;
use crate::capture;
use crate::checks::words;
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::output::note;
use crate::running::{Door, Entry, Running};
use crate::settings::Device;
use crate::signals;

/// Device name of the emulated modem in the runtime directory.
pub const EMULATOR: &str = "emulator";
/// Time a modem gets to answer from what it knows itself.
pub const QUICK: Duration = Duration::from_secs(10);
/// Time a modem gets to answer a command that not every firmware answers.
const OPTIONAL: Duration = Duration::from_secs(5);
/// Longest time until Ctrl-C is noticed.
const TURN: Duration = Duration::from_millis(100);
/// Pause in USB configuration 0 that the emulated modem gets. It needs 100 ms.
const EMULATOR_SETTLE: Duration = Duration::from_millis(200);

/// Choice of the modem a command is for, and of the way to it.
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
    /// Opens a control session with the modem.
    ///
    /// # Errors
    /// When there is no modem, when there are several and none was chosen, and when the one there
    /// cannot be opened.
    pub fn open(&self) -> Result<Modem, Failure> {
        // The handlers come first, so that Ctrl-C ends the command cleanly from here on.
        let interrupts = interrupts()?;
        self.target()?.open(interrupts)
    }

    /// Opens the modem's AT port: the port with `role`, if given and there is a choice.
    ///
    /// # Errors
    /// When there is no modem, and when none of its ports answers.
    pub fn at(&self, role: Option<SerialRole>) -> Result<AtClient, Failure> {
        self.target()?.at(role)
    }

    /// Returns whether this modem is the emulated one.
    pub fn is_emulated(&self, modem: &Modem) -> bool {
        match modem.through() {
            Some(entry) => entry.is(EMULATOR),
            None => self.device == Some(Device::Emulator),
        }
    }

    /// Returns the way to the modem: the running `up` that owns it, or the device.
    ///
    /// # Errors
    /// When there is no modem, when there are several and none was chosen, and when the one there
    /// cannot be opened.
    pub fn target(&self) -> Result<Target, Failure> {
        if self.device != Some(Device::Emulator) {
            self.emulated.refuse()?;
        }
        if let Some(entry) = self.running()? {
            if let Some(path) = &self.capture.capture {
                let path = path.display();
                let what = "a running uwwan has the modem, and nothing passes through this process";
                return Err(Failure::new(FailureKind::Busy, what)
                    .at("--capture")
                    .next(format!(
                        "uwwan capture start {path}   captures what passes there"
                    )));
            }
            return Ok(Target::Running(entry));
        }
        let selector = match &self.device {
            Some(Device::Emulator) => {
                let wanted = self.emulated.wanted()?;
                return Ok(Target::Device {
                    backend: self.capture.around(wanted.start_in_process()?)?,
                    selector: wanted.selector(),
                    settle: Some(EMULATOR_SETTLE),
                });
            }
            Some(Device::Usb(selector)) => selector.clone(),
            None => Selector::Any,
        };
        let backend = self.backend()?;
        let candidate = candidates::usable(backend.as_ref(), &selector)?;
        let backend = self.capture.around(backend)?;
        Ok(Target::Device {
            backend,
            // The port stays the same over the re-enumerations of the bring-up.
            selector: Selector::Port(candidate.found.identity.port),
            settle: None,
        })
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
        let look = |device: Option<&str>| Running::look(base, device, Door::Any);
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

/// The way to a modem.
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
    /// When the modem cannot be opened; [`FailureKind::Cancelled`] on Ctrl-C.
    pub fn open(self, interrupts: Receiver<i32>) -> Result<Modem, Failure> {
        let (backend, selector, settle) = match self {
            Self::Running(entry) => {
                let client = Client::through(&entry.mbim_socket())?;
                return Ok(Modem {
                    client,
                    interrupts,
                    through: Some(entry),
                });
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
            // The kernel that an emulated modem sees ends with this process.
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
            recv(interrupts) -> _ => return Err(interrupted("opening the modem")),
        };
        drop(spinner);
        match result {
            Ok(Ok(client)) => Ok(Modem {
                client,
                interrupts,
                through: None,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Failure::new(FailureKind::Host, "cannot open the modem")),
        }
    }
}

impl Target {
    /// Opens the AT port: the port with `role`, if given and there is a choice.
    ///
    /// # Errors
    /// When there is no AT port, and when none answers.
    pub fn at(&self, role: Option<SerialRole>) -> Result<AtClient, Failure> {
        match self {
            Self::Running(entry) => AtClient::through(&entry.at_socket()).map_err(|_| {
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
    /// When the device is no longer present.
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

/// A control session with a modem.
pub struct Modem {
    client: Client,
    interrupts: Receiver<i32>,
    through: Option<Entry>,
}

/// Answer to a command that not every firmware knows, or the reason why there is none.
pub type Optional<T> = Result<T, String>;

impl Modem {
    /// Returns the runtime directory of the running `uwwan up` that is used, or `None` when this
    /// process has opened the device.
    pub fn through(&self) -> Option<&Entry> {
        self.through.as_ref()
    }

    /// Returns the name of the device or the path of the socket, for messages.
    pub fn place(&self) -> &str {
        self.client.place()
    }

    /// Returns the driver's status of the modem, such as its identity and its NTB parameters;
    /// `None` when a running `up` does not tell it.
    pub fn status(&self) -> Option<Status> {
        match &self.through {
            None => self.client.status(),
            Some(entry) => {
                let mut client = StatusClient::connect(&entry.socket).ok()?;
                client.status().ok()?.decode().ok()
            }
        }
    }

    /// Sends a query that every modem answers and returns the decoded answer.
    ///
    /// # Errors
    /// When the modem refuses, does not answer, or answers with something that cannot be decoded;
    /// [`FailureKind::Cancelled`] on Ctrl-C.
    pub fn query<A: Layout>(&mut self, id: CidId) -> Result<A, Failure> {
        let response = self.ask(Command::query(id), QUICK)?;
        self.content(&response)
    }

    /// Sends a query with content and returns the decoded answer.
    ///
    /// # Errors
    /// Those of [`Modem::query`].
    pub fn query_with<A: Layout>(
        &mut self,
        id: CidId,
        content: &impl Layout,
    ) -> Result<A, Failure> {
        let response = self.ask(Command::query_with(id, content), QUICK)?;
        self.content(&response)
    }

    /// Sends a set command and returns the decoded answer, for which the modem has 30 s.
    ///
    /// # Errors
    /// Those of [`Modem::query`].
    pub fn set<A: Layout>(&mut self, id: CidId, content: &impl Layout) -> Result<A, Failure> {
        let response = self.ask(Command::set(id, content), Duration::from_secs(30))?;
        self.content(&response)
    }

    /// Sends a command that not every modem knows. The inner error is the reason why there is no
    /// answer.
    ///
    /// # Errors
    /// When the modem is lost, and [`FailureKind::Cancelled`] on Ctrl-C.
    pub fn optional<A: Layout>(&mut self, command: Command) -> Result<Optional<A>, Failure> {
        match self.poll(command, OPTIONAL) {
            Ok(response) if response.status.is_success() => {
                Ok(response.decode().map_err(|error| error.to_string()))
            }
            Ok(response) => Ok(Err(response.status.name())),
            Err(Ended::Interrupted(failure)) => Err(failure),
            Err(Ended::Failed(failure)) => match (failure.kind, failure.code) {
                (FailureKind::Timeout, _) => Ok(Err("no answer".to_owned())),
                (_, Some(Code::Protocol(code))) => Ok(Err(code.to_string())),
                _ => Err(failure),
            },
        }
    }

    /// Sends a command and returns the answer, whatever its status, within `patience`.
    ///
    /// # Errors
    /// When there is no answer; Ctrl-C withdraws the command and gives [`FailureKind::Cancelled`].
    pub fn ask(&mut self, command: Command, patience: Duration) -> Result<Response, Failure> {
        self.poll(command, patience).map_err(Ended::failure)
    }

    /// Does as [`Modem::ask`] for a command that takes long, and shows a spinner on standard error.
    ///
    /// # Errors
    /// Those of [`Modem::ask`].
    pub fn ask_long(
        &mut self,
        doing: &str,
        command: Command,
        patience: Duration,
    ) -> Result<Response, Failure> {
        let spinner = Spinner::new(doing);
        let result = self.poll(command, patience);
        drop(spinner);
        result.map_err(|ended| match ended {
            Ended::Interrupted(_) => interrupted(doing),
            other => other.failure(),
        })
    }

    fn poll(&mut self, command: Command, patience: Duration) -> Result<Response, Ended> {
        let what = command.id.to_string();
        let pending = self
            .client
            .start(command, patience)
            .map_err(Ended::Failed)?;
        loop {
            if let Some(response) = self.client.poll(pending, TURN).map_err(Ended::Failed)? {
                return Ok(response);
            }
            if self.interrupts.try_recv().is_ok() {
                self.client.cancel(pending);
                return Err(Ended::Interrupted(interrupted(&what)));
            }
        }
    }

    /// Returns the decoded content of an answer that must be a success.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] with the status, or the decoder's failure for content that cannot
    /// be decoded.
    pub fn content<A: Layout>(&self, response: &Response) -> Result<A, Failure> {
        if !response.status.is_success() {
            let what = format!("the modem refuses {}", response.id);
            return Err(self.refusal(&what, response.status, None));
        }
        self.client.success(response)
    }

    /// Returns the failure for a status that refuses `what`, with the network's cause if it gave
    /// one and with a next step where the status suggests one.
    pub fn refusal(&self, what: &str, status: MbimStatus, cause: Option<NwError>) -> Failure {
        let failure = self.refusal_alone(what, status, cause);
        match status {
            MbimStatus::OPERATION_NOT_ALLOWED if self.through.is_some() => {
                match self.client.other_owners() {
                    None => failure
                        .because("it would end what the running uwwan up holds, or is not possible now")
                        .next("the same with --force, where the command has it; or uwwan down first"),
                    Some(owners) => failure
                        .because("the running uwwan up does not let this user do it, or it is not possible now")
                        .next(format!(
                            "those who may do it are {owners}; uwwan up --operator lets others use the modem"
                        )),
                }
            }
            MbimStatus::BUSY | MbimStatus::NOT_INITIALIZED => {
                failure.next("try again in a few seconds")
            }
            MbimStatus::NO_DEVICE_SUPPORT => {
                failure.next("uwwan services lists what this modem offers")
            }
            MbimStatus::PIN_REQUIRED => failure.next("uwwan pin status, then uwwan pin enter"),
            MbimStatus::RADIO_POWER_OFF => failure.next("uwwan radio on"),
            MbimStatus::NOT_REGISTERED => failure.next("uwwan operator register"),
            MbimStatus::PACKET_SERVICE_DETACHED => failure.next("uwwan attach"),
            _ => failure,
        }
    }

    /// Returns the same failure as [`Modem::refusal`], without a next step.
    pub fn refusal_alone(&self, what: &str, status: MbimStatus, cause: Option<NwError>) -> Failure {
        let mut failure = Failure::new(FailureKind::Refused, what)
            .at(self.place())
            .because(format!("{status}: {}", status.explanation()));
        if let Some(cause) = cause.filter(|cause| *cause != NwError::NONE) {
            failure = failure.because(format!("the network says {cause}: {}", cause.explanation()));
        }
        failure
    }

    /// Asks a running `uwwan up` for permission to end what it holds, if `force`.
    ///
    /// # Errors
    /// When `up` refuses that.
    pub fn insist(&mut self, force: bool) -> Result<(), Failure> {
        if !force {
            return Ok(());
        }
        self.client.insist()
    }

    /// Chooses the indications that [`Modem::indication`] returns.
    ///
    /// # Errors
    /// When the modem refuses the subscription.
    pub fn subscribe(&mut self, ids: &[CidId]) -> Result<(), Failure> {
        self.client.subscribe(ids)
    }

    /// Returns the next indication within `patience`, or `None` when none comes.
    ///
    /// # Errors
    /// When the modem is lost, and [`FailureKind::Cancelled`] on Ctrl-C.
    pub fn indication(&mut self, patience: Duration) -> Result<Option<Indication>, Failure> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let found = self.client.next_indication(left.min(TURN))?;
            if found.is_some() || left.is_zero() {
                return Ok(found);
            }
            if self.interrupts.try_recv().is_ok() {
                return Err(interrupted("waiting for the modem"));
            }
        }
    }

    /// Waits for Ctrl-C or the loss of the modem.
    ///
    /// # Errors
    /// When the modem is lost.
    pub fn wait_for_interrupt(&mut self) -> Result<(), Failure> {
        loop {
            match self.indication(Duration::from_secs(3600)) {
                Ok(_) => {}
                Err(failure) if failure.kind == FailureKind::Cancelled => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Returns the channel that receives Ctrl-C, for a caller that waits for something other than
    /// the modem.
    pub fn interrupts(&self) -> &Receiver<i32> {
        &self.interrupts
    }

    /// Closes the control session.
    ///
    /// # Errors
    /// When the modem did not confirm that.
    pub fn close(self) -> Result<(), Failure> {
        self.client.close()
    }
}

enum Ended {
    Failed(Failure),
    Interrupted(Failure),
}

impl Ended {
    fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) | Self::Interrupted(failure) => failure,
        }
    }
}

fn interrupted(doing: &str) -> Failure {
    Failure::new(FailureKind::Cancelled, format!("interrupted: {doing}"))
        .because("Ctrl-C or SIGTERM; what was under way has been withdrawn")
}

/// Spinner on standard error, shown if that is a terminal and removed when the value is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Starts a spinner that names what is being done.
    pub fn new(doing: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(doing.to_owned());
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {elapsed} (Ctrl-C ends it)")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(150));
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
