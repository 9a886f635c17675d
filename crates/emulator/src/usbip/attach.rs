//! Plugs the modem into this machine's own virtual host controller.
//!
//! The system calls are `socketpair`, and `openat`, `read` and `write` on the controller's files in
//! sysfs. The controller takes over one end of the socket pair.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use uwwan_usb::device::Speed;

use super::codec;
use super::connection::Connection;
use crate::emulator::Emulator;
use crate::handle::Handle;
use crate::report::Recorder;

/// Directory of the virtual host controllers.
const PLATFORM: &str = "/sys/devices/platform";
/// Text of `VDEV_ST_NULL` in the status file, which means that nothing is plugged in.
const FREE: &str = "004";
/// Time after which the state is checked again.
const LOOK: Duration = Duration::from_millis(500);
/// Number of attempts at finding a free port.
const PORT_TRIES: u32 = 20;
/// Number of attempts that are for the port the device was in before, because a host identifies a
/// device by its port.
const HOME_TRIES: u32 = 6;
/// Value of the shared port number while the device is in no port.
const NO_PORT: u32 = u32::MAX;

/// Root hub of a controller for devices of one signalling rate. Each controller has two.
#[derive(Debug, Clone, Copy)]
struct Hub {
    /// Word with which the status file marks the hub's ports.
    lines: &'static str,
    /// Signalling rate of the hub as sysfs has it, in Mbit/s.
    speed: &'static str,
}

impl Hub {
    fn of(speed: Speed) -> Self {
        match speed {
            Speed::Super | Speed::SuperPlus => Self {
                lines: "ss",
                speed: "5000",
            },
            _ => Self {
                lines: "hs",
                speed: "480",
            },
        }
    }
}

/// Reason why the modem cannot be plugged in.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The driver of the controller is not loaded.
    #[error(
        "no virtual host controller under {PLATFORM}: load it with `modprobe vhci_hcd` (as root; Debian has it in the kernel package)"
    )]
    NoController,
    /// All ports of the controller for the device's rate are in use.
    #[error(
        "all ports for its speed of the virtual host controller are taken; `usbip port` lists them, `usbip detach -p N` frees one"
    )]
    NoPort,
    /// A file of the controller cannot be used.
    #[error("{path}: {source}; attaching to the virtual host controller needs root")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The system gives no socket pair or no thread.
    #[error("attaching to the virtual host controller: {0}")]
    Io(#[from] std::io::Error),
    /// The emulator has ended, or its device is unplugged or in use.
    #[error("the emulated device is not free to be attached")]
    NotFree,
}

/// A modem plugged into the virtual host controller, and plugged in again after each reset of its
/// firmware. Dropping it unplugs the modem.
#[derive(Debug)]
pub struct Attached {
    stop: Arc<AtomicBool>,
    port: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Attached {
    /// Returns the port of the controller that the modem is in, if it is in one.
    #[must_use]
    pub fn port(&self) -> Option<u32> {
        let port = self.port.load(Ordering::SeqCst);
        (port != NO_PORT).then_some(port)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(port) = self.port()
            && let Ok(controller) = controller()
        {
            let _ = std::fs::write(controller.join("detach"), port.to_string());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Plugs the emulated modem into a free port of this machine's `vhci_hcd`.
///
/// # Errors
/// Returns an [`AttachError`], which says what to do about it.
pub fn attach(emulator: &Emulator) -> Result<Attached, AttachError> {
    let handle = emulator.handle().clone();
    let recorder = emulator.recorder().clone();
    let plugged = handle.presence().get();
    if !plugged.present || plugged.exported {
        return Err(AttachError::NotFree);
    }
    let port = plug_in(&handle, &recorder, None)?;
    let stop = Arc::new(AtomicBool::new(false));
    let shared_port = Arc::new(AtomicU32::new(port));
    let keeper = Replugger {
        handle,
        recorder,
        stop: Arc::clone(&stop),
        port: Arc::clone(&shared_port),
    };
    let thread = std::thread::Builder::new()
        .name("vhci-attach".into())
        .spawn(move || keeper.run())?;
    Ok(Attached {
        stop,
        port: shared_port,
        thread: Some(thread),
    })
}

/// State of the thread that plugs the modem in again whenever it comes back.
struct Replugger {
    handle: Handle,
    recorder: Recorder,
    stop: Arc<AtomicBool>,
    port: Arc<AtomicU32>,
}

impl Replugger {
    fn run(self) {
        let mut failures = 0;
        let mut home = self.port.load(Ordering::SeqCst);
        while !self.stop.load(Ordering::SeqCst) {
            let state = self.handle.presence().wait(LOOK, |state| !state.exported);
            if state.stopped {
                return;
            }
            if state.exported || self.stop.load(Ordering::SeqCst) {
                continue;
            }
            self.port.store(NO_PORT, Ordering::SeqCst);
            let state = self.handle.presence().wait(LOOK, |state| state.present);
            if !state.present {
                continue;
            }
            // The controller frees a port a little after it has closed the connection.
            let wanted = (failures < HOME_TRIES).then_some(home);
            match plug_in(&self.handle, &self.recorder, wanted) {
                Ok(port) => {
                    failures = 0;
                    home = port;
                    self.port.store(port, Ordering::SeqCst);
                }
                Err(error) => {
                    failures += 1;
                    if failures == PORT_TRIES {
                        tracing::error!(%error, "the modem could not be plugged in again");
                        return;
                    }
                    std::thread::sleep(LOOK);
                }
            }
        }
    }
}

/// Returns the directory of the first virtual host controller.
fn controller() -> Result<PathBuf, AttachError> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(PLATFORM)
        .map_err(|_| AttachError::NoController)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("vhci_hcd."))
                && path.join("attach").exists()
        })
        .collect();
    found.sort();
    found.into_iter().next().ok_or(AttachError::NoController)
}

fn read(path: &Path) -> Result<String, AttachError> {
    std::fs::read_to_string(path).map_err(|source| AttachError::File {
        path: path.to_owned(),
        source,
    })
}

/// Returns the hub's first free port in a controller's status file, or the wanted one if it is
/// free. `is_vacant` says whether the hub's port with that number, counted from 1, is vacant.
fn free_port(
    status: &str,
    hub: Hub,
    wanted: Option<u32>,
    is_vacant: impl Fn(usize) -> bool,
) -> Option<u32> {
    let ports = status.lines().filter(|line| line.starts_with(hub.lines));
    ports.zip(1..).find_map(|(line, hub_port)| {
        let mut fields = line.split_whitespace().skip(1);
        let (port, state) = (fields.next()?, fields.next()?);
        let port = port.parse().ok()?;
        let fits = state == FREE && wanted.is_none_or(|wanted| wanted == port);
        (fits && is_vacant(hub_port)).then_some(port)
    })
}

/// Returns whether the kernel has released the device that was in that port of the controller's
/// root hub. The controller frees a port before the hub's driver has done so, and a device that is
/// plugged in meanwhile is sent transfers meant for the one before it.
fn is_vacant(controller: &Path, kind: Hub, hub_port: usize) -> bool {
    let hubs = std::fs::read_dir(controller)
        .into_iter()
        .flatten()
        .flatten();
    !hubs.map(|hub| hub.path()).any(|hub| {
        let Some(bus) = hub
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("usb"))
        else {
            return false;
        };
        std::fs::read_to_string(hub.join("speed")).is_ok_and(|speed| speed.trim() == kind.speed)
            && hub.join(format!("{bus}-{hub_port}")).exists()
    })
}

/// Returns the first free port of all controllers' hubs, or the wanted one if it is free.
fn find_port(first: &Path, hub: Hub, wanted: Option<u32>) -> Result<u32, AttachError> {
    // Further controllers have their ports in files of their own, beside that of the first one.
    for number in 0.. {
        let (status, controller) = match number {
            0 => (first.join("status"), first.to_owned()),
            _ => (
                first.join(format!("status.{number}")),
                first.with_file_name(format!("vhci_hcd.{number}")),
            ),
        };
        if number > 0 && !status.exists() {
            break;
        }
        let vacant = |hub_port| is_vacant(&controller, hub, hub_port);
        if let Some(port) = free_port(&read(&status)?, hub, wanted, vacant) {
            return Ok(port);
        }
    }
    Err(AttachError::NoPort)
}

/// Plugs the device in once, into the wanted port if one is given, and returns the port's number.
fn plug_in(handle: &Handle, recorder: &Recorder, wanted: Option<u32>) -> Result<u32, AttachError> {
    let controller = controller()?;
    let speed = handle.presence().presented().speed();
    let port = find_port(&controller, Hub::of(speed), wanted)?;
    let (device, host) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(std::io::Error::from)?;
    enlarge(&device);
    enlarge(&host);
    let connection = Connection::new(device, recorder.clone())?;
    let before = handle.presence().get();
    handle.connect(Box::new(connection));
    let state = handle
        .presence()
        .wait(Duration::from_secs(5), |state| state.exported);
    if !state.exported || before.exported {
        return Err(AttachError::NotFree);
    }
    let device_id = 1u32 << 16 | 2;
    let path = controller.join("attach");
    let line = format!(
        "{port} {} {device_id} {}",
        host.as_raw_fd(),
        codec::speed(speed)
    );
    // This copy of the host's end is closed here, because the controller holds its own.
    std::fs::write(&path, line).map_err(|source| AttachError::File { path, source })?;
    Ok(port)
}

/// Makes room for a few transfers in the socket, for fewer wake-ups between controller and device.
fn enlarge(socket: &OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, 1 << 20);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: Hub = Hub {
        lines: "hs",
        speed: "480",
    };

    /// The status file as Linux 6.12 prints it with one device attached.
    const STATUS: &str = "\
hub port sta spd dev      sockfd local_busid
hs  0000 006 003 00010002 000003 1-1
hs  0001 004 000 00000000 000000 0-0
ss  0008 004 000 00000000 000000 0-0
";

    #[test]
    fn the_first_free_high_speed_port_is_taken() {
        assert_eq!(free_port(STATUS, HIGH, None, |_| true), Some(1));
        assert_eq!(
            free_port(
                &STATUS.replace("hs  0001 004", "hs  0001 006"),
                HIGH,
                None,
                |_| true
            ),
            None
        );
        assert_eq!(free_port("", HIGH, None, |_| true), None);
    }

    #[test]
    fn a_wanted_port_is_taken_only_when_free() {
        assert_eq!(free_port(STATUS, HIGH, Some(0), |_| true), None);
        assert_eq!(free_port(STATUS, HIGH, Some(1), |_| true), Some(1));
        let both = STATUS.replace("hs  0000 006", "hs  0000 004");
        assert_eq!(free_port(&both, HIGH, None, |_| true), Some(0));
        assert_eq!(free_port(&both, HIGH, Some(1), |_| true), Some(1));
    }

    #[test]
    fn a_port_whose_device_the_kernel_still_has_is_not_free() {
        let both = STATUS.replace("hs  0000 006", "hs  0000 004");
        assert_eq!(
            free_port(&both, HIGH, None, |hub_port| hub_port != 1),
            Some(1)
        );
        assert_eq!(
            free_port(&both, HIGH, Some(0), |hub_port| hub_port != 1),
            None
        );
        let controller = tempfile::tempdir().unwrap();
        for (hub, speed, device) in [("usb1", "480\n", "1-1"), ("usb2", "5000\n", "2-2")] {
            let hub = controller.path().join(hub);
            std::fs::create_dir_all(hub.join(device)).unwrap();
            std::fs::write(hub.join("speed"), speed).unwrap();
        }
        assert!(!is_vacant(controller.path(), HIGH, 1));
        assert!(is_vacant(controller.path(), HIGH, 2));
        assert!(is_vacant(Path::new("/nonexistent"), HIGH, 1));
    }

    #[test]
    fn a_missing_controller_says_what_to_do() {
        let text = AttachError::NoController.to_string();
        assert!(text.contains("modprobe vhci_hcd"));
    }
}
