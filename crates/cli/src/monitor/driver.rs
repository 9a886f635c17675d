//! The driver's side: interfaces and USB devices that the monitor opens, notifications that it passes
//! on.

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uwwan_modem::heal::memory::LayoutMemory;
use uwwan_modem::host::{
    HostConfig, HostControl, HostData, HostEnd, HostNews, HostProvider, InterfaceKind,
};
use uwwan_modem::pin_memory::PinMemory;
use uwwan_modem::state_file::{self, StateFile};
use uwwan_modem::status;
use uwwan_tun::NoWait;
use uwwan_usb::access::Access;
use uwwan_usb::device::{Identity, PortGuard};
use uwwan_usb::error::Holder;
use zeroize::Zeroizing;

use super::channel::Channel;
use super::devices::DeviceReply;
use super::reply::Reply;
use super::request::{Name, Network, Port, Request, Wanted};
use crate::failure::{Failure, FailureKind};
use crate::modem_manager::Standing;
use crate::runtime::{self, Keeper, RuntimeDir};
use crate::sandbox::State;
use crate::secrets;
use crate::usage::Entry;

/// The driver's connection to the monitor.
#[derive(Debug, Clone)]
pub struct Monitor {
    channel: Arc<Mutex<Channel>>,
    /// The configurations of the host interfaces that were planned at the start, one for each data
    /// session.
    sessions: Arc<[HostConfig]>,
    /// Process id of the monitor.
    process: Pid,
}

impl Monitor {
    pub(super) fn new(channel: Channel, sessions: Vec<HostConfig>, process: Pid) -> Self {
        Self {
            channel: Arc::new(Mutex::new(channel)),
            sessions: sessions.into(),
            process,
        }
    }

    /// Sends a request and waits for the reply.
    fn ask(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), Failure> {
        let gone = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Host, "the monitor does not answer")
                .because(why)
                .next("nothing: this process ends as well")
        };
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel
            .send(&request.encode(), &[])
            .map_err(|error| gone(&error))?;
        let received = channel.receive().map_err(|error| {
            // The reply may still come, and would be taken for that of the next request.
            channel.break_off();
            tracing::error!("the monitor cannot be heard, so this ends: {error}");
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::TERM);
            gone(&error)
        })?;
        let (bytes, descriptors) = received.ok_or_else(|| gone(&"it has ended"))?;
        let reply: Reply = serde_json::from_slice(&bytes).map_err(|error| gone(&error))?;
        match reply.failure {
            Some(failure) => Err(failure),
            None => Ok((reply, descriptors)),
        }
    }

    /// Passes a notification to the service manager.
    pub fn notify(&self, text: &str) {
        let text = text.to_owned();
        if let Err(failure) = self.ask(&Request::Notify { text }) {
            tracing::debug!(%failure, "a notification was not passed on");
        }
    }
}

impl Monitor {
    /// Requests a secret, which comes through a pipe.
    pub(super) fn secret(&self, wanted: Wanted) -> Result<Zeroizing<String>, Failure> {
        let broken = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Host, "the monitor hands over no secret").because(why)
        };
        let mut pipe = PipeReader::from(self.ask_for_one(&Request::Secret(wanted))?);
        // With room for the longest secret, it is never copied to another buffer while it is read.
        let mut text = Zeroizing::new(Vec::with_capacity(2 * secrets::LONGEST));
        (&mut pipe)
            .take(secrets::LONGEST as u64)
            .read_to_end(&mut text)
            .map_err(|error| broken(&error))?;
        let text = std::str::from_utf8(&text).map_err(|_| broken(&"it is not text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Requests the runtime directory of a device, in `base`.
    ///
    /// # Errors
    /// Those of [`RuntimeDir::create`].
    pub fn directory(&self, base: &Path, device: &str) -> Result<RuntimeDir, Failure> {
        // A file's name is always short enough.
        let name = Name::new(&runtime::file_name(device));
        let name = name.ok_or_else(|| Failure::new(FailureKind::Usage, "the name is too long"))?;
        let lock = self.ask_for_one(&Request::Directory { name })?;
        let monitor = self.clone();
        let link = move |port: &str| {
            let Some(port) = Name::new(port) else {
                return;
            };
            if let Err(failure) = monitor.ask(&Request::Link { port }) {
                tracing::debug!(%failure, "the runtime directory has no link");
            }
        };
        let keeper = Keeper {
            process: self.process,
            link: Box::new(link),
        };
        Ok(RuntimeDir::handed(base, device, File::from(lock), keeper))
    }

    /// Requests a further file of the capture that the command line asks for.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn capture_file(&self, number: usize) -> io::Result<File> {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        let file = self.ask_for_one(&Request::File { number });
        file.map(File::from).map_err(io::Error::other)
    }

    /// Asks for the rights that the monitor still has.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the monitor has ended.
    pub fn state(&self) -> Result<State, Failure> {
        Ok(self.ask(&Request::State)?.0.state.unwrap_or_default())
    }

    /// Asks the monitor to run the hook after up. The pipe reports how it ended, as with
    /// [`crate::hooks::Hooks::start`].
    ///
    /// # Errors
    /// The reason why it was not started.
    pub fn online(&self) -> io::Result<PipeReader> {
        let pipe = self.ask_for_one(&Request::Online);
        pipe.map(PipeReader::from).map_err(io::Error::other)
    }

    /// Asks the monitor to add bytes to and from the network to the file of data use, and returns
    /// the month's use.
    ///
    /// # Errors
    /// The reason in words why it is not kept.
    pub fn keep_usage(&self, (uplink, downlink): (u64, u64)) -> Result<Entry, String> {
        let reply = self.ask(&Request::Use { uplink, downlink });
        let (reply, _) = reply.map_err(|failure| failure.what)?;
        reply
            .usage
            .ok_or_else(|| "the monitor's answer is not complete".to_owned())
    }

    /// Sends a request whose reply comes with one descriptor.
    fn ask_for_one(&self, request: &Request) -> Result<OwnedFd, Failure> {
        let (_, mut descriptors) = self.ask(request)?;
        descriptors.pop().ok_or_else(|| {
            Failure::new(FailureKind::Host, "the monitor's answer is not complete")
                .next("report it with the log")
        })
    }
}

/// A file of the state directory, which the monitor writes. It was read before the driver became a
/// process of its own.
pub(super) struct RemoteFile<T> {
    monitor: Monitor,
    /// The content that earlier runs have kept, or the reason why it cannot be read.
    loaded: Result<T, String>,
}

impl<T: Default + Serialize + DeserializeOwned> RemoteFile<T> {
    pub(super) fn new(file: StateFile<T>, monitor: &Monitor) -> Self {
        Self {
            monitor: monitor.clone(),
            loaded: match file.unreadable() {
                Some(why) => Err(why.to_owned()),
                None => Ok(file.content),
            },
        }
    }
}

impl state_file::Keeper<PinMemory> for RemoteFile<PinMemory> {
    fn load(&self) -> Result<PinMemory, String> {
        self.loaded.clone()
    }

    fn save(&self, pins: &PinMemory) -> Result<(), String> {
        let pins = pins.clone();
        let kept = self.monitor.ask(&Request::Remember { pins });
        kept.map(drop).map_err(|failure| failure.what)
    }
}

impl state_file::Keeper<LayoutMemory> for RemoteFile<LayoutMemory> {
    fn load(&self) -> Result<LayoutMemory, String> {
        self.loaded.clone()
    }

    /// Stores the latest entry; the others are in the file already.
    fn save(&self, layouts: &LayoutMemory) -> Result<(), String> {
        let Some(entry) = layouts.entries().last().cloned() else {
            return Ok(());
        };
        let kept = self.monitor.ask(&Request::Learn { entry });
        kept.map(drop).map_err(|failure| failure.what)
    }
}

impl Monitor {
    /// Sends a request about a USB device.
    fn ask_device(&self, request: &Request) -> io::Result<(DeviceReply, Vec<OwnedFd>)> {
        let (reply, descriptors) = self.ask(request).map_err(io::Error::other)?;
        let device = reply.device.unwrap_or_default();
        match device.errno {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok((device, descriptors)),
        }
    }
}

impl Monitor {
    /// Returns the programs beside this one that have the node of a device open: `name (process id)`.
    pub fn holders(&self, bus: u8, address: u8) -> Vec<String> {
        let own = format!("(process {})", std::process::id());
        let reply = self.ask_device(&Request::Holder { bus, address });
        let mut holders = reply.map_or_else(|_| Vec::new(), |(reply, _)| reply.holders);
        holders.retain(|holder| !holder.ends_with(&own));
        holders
    }
}

impl Monitor {
    /// Returns what ModemManager does with the device.
    pub fn manager(&self) -> Standing {
        let reply = self.ask_device(&Request::Manager);
        reply.map(|(reply, _)| reply.manager).unwrap_or_default()
    }
}

impl Access for Monitor {
    fn open(&self, device: &Identity) -> io::Result<File> {
        let (_, mut descriptors) = self.ask_device(&Request::OpenDevice {
            at: port(&device.port)?,
            bus: device.bus,
            address: device.address,
        })?;
        let node = descriptors.pop();
        node.map(File::from)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn guard_port(&self, name: &str) -> io::Result<PortGuard> {
        let (reply, _) = self.ask_device(&Request::Guard { at: port(name)? })?;
        let guard = reply.guard.ok_or(io::ErrorKind::InvalidData)?;
        Ok(PortGuard::new(Guard {
            monitor: self.clone(),
            guard,
        }))
    }

    fn force_configuration(&self, name: &str, value: u8) -> io::Result<()> {
        let at = port(name)?;
        self.ask_device(&Request::Configure { at, value }).map(drop)
    }

    fn holder(&self, bus: u8, address: u8) -> Holder {
        let reply = self.ask_device(&Request::Holder { bus, address });
        Holder::Program(reply.map_or_else(|error| error.to_string(), |(reply, _)| reply.holder))
    }
}

fn port(name: &str) -> io::Result<Port> {
    Port::new(name).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A port from which the kernel's drivers are kept.
struct Guard {
    monitor: Monitor,
    /// Number of the guard at the monitor.
    guard: u8,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let guard = self.guard;
        // A monitor that has ended has released the port.
        let _ = self.monitor.ask_device(&Request::Unguard { guard });
    }
}

/// An interface that the monitor has opened, with the descriptors through which packets are moved.
pub struct HandedOver {
    /// The half of a host interface that configures it.
    pub control: Box<dyn HostControl>,
    /// Kind of the interface, which determines the unit of one call.
    pub kind: InterfaceKind,
    /// Descriptors of the interface's queues.
    pub descriptors: Vec<OwnedFd>,
}

/// Provider of host interfaces that the monitor opens and configures.
pub struct Provider(pub Monitor);

impl HostProvider for Provider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let HandedOver {
            control,
            kind,
            descriptors,
        } = self.open(config)?;
        let data = HostData::handed(&kind, descriptors, NoWait::File).map_err(|error| {
            Failure::new(FailureKind::Host, "cannot use the interface").because(error)
        })?;
        Ok(HostEnd { control, data })
    }
}

impl Provider {
    /// Does as [`HostProvider::bring_up`], and returns the interface's descriptors instead of its data
    /// half.
    ///
    /// # Errors
    /// Those of [`HostProvider::bring_up`].
    pub fn open(&mut self, config: &HostConfig) -> Result<HandedOver, Failure> {
        let asked = HostConfig {
            addresses: status::Addresses::default(),
            ethernet: None,
            ..config.clone()
        };
        let unknown = || {
            Failure::new(FailureKind::Host, "no such data session was asked for")
                .next("report it with the log")
        };
        let session = self.0.sessions.iter().position(|known| *known == asked);
        let session = session.and_then(|session| u8::try_from(session).ok());
        let network = network(config);
        let (reply, mut descriptors) = self.0.ask(&Request::Open {
            session: session.ok_or_else(unknown)?,
            network,
        })?;
        let opened = reply.opened.ok_or_else(unknown)?;
        // From here on the monitor is told when the interface is no longer needed.
        let control = Box::new(Remote {
            monitor: self.0.clone(),
            number: opened.number,
            changes: descriptors.pop().map(PipeReader::from),
            interface: reply.interface.unwrap_or_default(),
        });
        Ok(HandedOver {
            control,
            kind: opened.kind,
            descriptors,
        })
    }
}

fn network(config: &HostConfig) -> Network {
    Network {
        addresses: config.addresses.clone(),
        ethernet: config.ethernet.clone(),
    }
}

/// An interface that the monitor has opened.
struct Remote {
    monitor: Monitor,
    /// Number of the interface at the monitor.
    number: u8,
    /// The pipe that has a byte whenever the interface has to be checked, until a thread watches it.
    changes: Option<PipeReader>,
    interface: status::Interface,
}

impl HostControl for Remote {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        let (reply, _) = self.monitor.ask(&Request::Change {
            interface: self.number,
            network: network(config),
        })?;
        self.interface = reply.interface.unwrap_or_default();
        Ok(())
    }

    fn set_carrier(&mut self, up: bool) {
        let interface = self.number;
        if let Err(failure) = self.monitor.ask(&Request::Carrier { interface, up }) {
            tracing::warn!("{failure}");
        }
    }

    fn watch(&mut self, changed: Box<dyn Fn() + Send>) {
        let Some(mut changes) = self.changes.take() else {
            return;
        };
        // The thread ends with the interface, because the monitor closes the pipe then.
        let started = std::thread::Builder::new()
            .name("uwwan-watch".into())
            .stack_size(128 * 1024)
            .spawn(move || {
                let mut bytes = [0; 64];
                while matches!(changes.read(&mut bytes), Ok(1..)) {
                    changed();
                }
            });
        if let Err(error) = started {
            tracing::warn!("changes by others are not noticed: {error}");
        }
    }

    fn attend(&mut self) -> Vec<HostNews> {
        let interface = self.number;
        match self.monitor.ask(&Request::Attend { interface }) {
            Ok((reply, _)) => {
                self.interface = reply.interface.unwrap_or_default();
                reply.news
            }
            Err(failure) => vec![HostNews::Trouble(failure.to_string())],
        }
    }

    fn interface(&self) -> status::Interface {
        self.interface.clone()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let interface = self.number;
        // A monitor that has ended has undone everything, or the next start does.
        if let Err(failure) = self.monitor.ask(&Request::Close { interface }) {
            tracing::debug!(%failure, "the interface was not closed by request");
        }
    }
}
