//! Parts of this crate that the fuzz targets (`fuzz/fuzz_targets`) reach beside its API. The module
//! is built for them only.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::device::UsbDevice;
use crate::far_side::Network;
use crate::host_socket::MAX_ANSWERS;
use crate::modem::Modem;
use crate::report::Recorder;
use crate::rules::{ModemHistory, Running, file};
use crate::setup::Setup;
use crate::upstream::{HostGone, MAX_REQUESTS, Request, Upstream};
use crate::usbip::connection::Connection as UsbIp;
use crate::usbredir::connection::Connection as UsbRedir;

/// Reads knobs and rules from any text, and lets events happen to those that could be read.
pub fn rule_file(text: &str) {
    let Ok(content) = file::parse(text) else {
        return;
    };
    let count = content.rules.len();
    let begun = Instant::now();
    let mut running = Running::new(content.rules, begun);
    for turn in 0..64u64 {
        let now = begun + Duration::from_millis(turn * 50);
        let happened = ModemHistory {
            ntbs_out: turn * turn,
            ntbs_in: turn,
            open: turn % 2 == 0,
            registered: turn % 3 == 0,
            ..ModemHistory::default()
        };
        let _ = running.at("AT+CSQ", now);
        let actions = running.look(happened, now);
        assert!(actions.len() <= 1024 + 64 * count);
        let _ = running.deadline();
    }
}

/// A network that takes every packet and has none.
struct Nothing;

impl Network for Nothing {
    fn send(&mut self, _: &[u8]) -> bool {
        true
    }

    fn receive(&mut self, _: &mut [u8]) -> Option<usize> {
        None
    }
}

/// The emulated modem with a remote host, without a thread of its own.
pub struct Plugged {
    usb: UsbDevice,
    modem: Modem,
    host: Box<dyn Upstream>,
    far: UnixStream,
    now: Instant,
    requests: Vec<Request>,
}

impl Plugged {
    /// Returns the modem with a USB/IP host that has imported it, or with a virtual machine.
    ///
    /// # Panics
    /// Panics when there are no sockets.
    #[must_use]
    pub fn new(machine: bool) -> Self {
        let setup = Setup {
            knobs: "settle_ms=0".parse().expect("a knob"),
            ..Setup::default()
        };
        Self::of(setup, machine)
    }

    /// Returns the modem that is made of `setup`, with such a host.
    ///
    /// # Panics
    /// Panics when there are no sockets.
    #[must_use]
    pub fn of(setup: Setup, machine: bool) -> Self {
        let recorder = Recorder::default();
        let modem = Modem::new(setup, recorder.clone(), Box::new(Nothing));
        let (ours, far) = UnixStream::pair().expect("sockets");
        far.set_nonblocking(true).expect("a socket");
        let ours = OwnedFd::from(ours);
        let host: Box<dyn Upstream> = match machine {
            false => Box::new(UsbIp::new(ours, recorder.clone()).expect("a socket")),
            true => {
                let presented = modem.presented();
                Box::new(UsbRedir::new(ours, recorder.clone(), presented).expect("a socket"))
            }
        };
        Self {
            usb: UsbDevice::new(modem.presented(), recorder),
            modem,
            host,
            far,
            now: Instant::now(),
            requests: Vec::new(),
        }
    }

    /// Sends bytes of the host. Returns `false` once the host is cut off.
    pub fn send(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let sent = std::io::Write::write(&mut self.far, bytes).unwrap_or(0);
            bytes = &bytes[sent..];
            match self.turn() {
                Ok(0) if sent == 0 => return true,
                Ok(_) => {}
                Err(HostGone) => return false,
            }
        }
        true
    }

    /// Lets the host read, and time pass. Returns `false` once the host is cut off.
    pub fn read(&mut self, time: Duration) -> bool {
        let mut room = [0; 16 << 10];
        while matches!(self.far.read(&mut room), Ok(1..)) {}
        self.now += time;
        self.turn().is_ok()
    }

    /// Does the work of one turn of the device's thread. Returns the number of requests.
    fn turn(&mut self) -> Result<usize, HostGone> {
        let mut requests = std::mem::take(&mut self.requests);
        let received = self.host.receive(&mut requests);
        let count = requests.len();
        assert!(count <= MAX_REQUESTS + MAX_ANSWERS);
        for request in requests.drain(..) {
            match request {
                Request::Submit(urb) => self.usb.submit(urb, &mut self.modem, self.now),
                Request::Cancel(token) => {
                    self.hand_back();
                    let pending = self.usb.cancel(token);
                    self.host.cancelled(token, pending);
                }
                Request::ResetPort => {
                    self.usb.bus_reset(&mut self.modem, self.now);
                    self.hand_back();
                }
            }
        }
        self.requests = requests;
        received?;
        self.modem.advance(self.now);
        self.usb.service(&mut self.modem, self.now);
        self.hand_back();
        self.host.flush()?;
        Ok(count)
    }

    fn hand_back(&mut self) {
        while let Some(completed) = self.usb.take_completed() {
            self.host.complete(completed);
        }
    }
}
