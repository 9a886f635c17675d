//! A vendor serial interface as a stream of bytes.
//!
//! Opened as the kernel's `option` driver opens it: both bulk endpoints in use, DTR and RTS raised;
//! firmware that refuses the lines is used all the same. Bytes from the device come over a channel
//! from a thread of their own, which ends when the channel's other end or the transport is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::failure::Failure;
use crossbeam_channel::{Receiver, Sender, bounded};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Device, Queue};
use uwwan_usb::error::{Error, TransferError};
use uwwan_usb::functions::SerialFunction;
use uwwan_usb::requests;

/// Size of a read in bytes: a multiple of any packet size, so that no packet is cut.
const READ: usize = 4096;
/// Reads in flight.
const READS: usize = 2;
/// Longest piece of a write in bytes.
const WRITE: usize = 4096;
/// How often the reader looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(200);
/// How long the device may take over a write: a port that takes nothing is none.
const WRITE_TIME: Duration = Duration::from_secs(3);
/// Halts in a row without a byte between before the port counts as lost.
const MOST_HALTS: u32 = 3;

/// What the reader has to say.
#[derive(Debug)]
pub(super) enum Incoming {
    Bytes(Vec<u8>),
    /// Nothing more will come.
    Lost(String),
}

/// A claimed interface with its queues.
pub(super) struct Transport {
    device: Arc<dyn Device>,
    interface: u8,
    /// The interface with the endpoints: another one in CDC ACM.
    data_interface: u8,
    /// A kernel driver had it: it gets it back.
    reattach: bool,
    out: Option<Box<dyn Queue>>,
    pub(super) incoming: Receiver<Incoming>,
    unwanted: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Transport {
    /// Takes the interface from its kernel driver, claims it, raises the lines and begins to read.
    pub(super) fn open(
        device: &Arc<dyn Device>,
        function: &SerialFunction,
    ) -> Result<Self, Failure> {
        let interface = function.interface;
        // Another program's claim is no kernel driver's: then the claim below says who has it.
        let bound = device
            .kernel_driver(interface)
            .map_err(super::usb)?
            .is_some_and(|driver| !driver.starts_with("usbfs"));
        if bound {
            device.detach_kernel_driver(interface).map_err(super::usb)?;
        }
        let (sender, incoming) = bounded(16);
        let mut transport = Self {
            device: Arc::clone(device),
            interface,
            data_interface: function.data_interface,
            reattach: bound,
            out: None,
            incoming,
            unwanted: Arc::default(),
            reader: None,
        };
        device.claim(interface).map_err(super::usb)?;
        if function.data_interface != interface {
            device.claim(function.data_interface).map_err(super::usb)?;
        }
        match requests::set_control_line_state(&**device, interface, true, true) {
            Err(error @ Error::Gone { .. }) => return Err(super::usb(error)),
            Err(error) => tracing::debug!("AT port: control lines: {error}"),
            Ok(()) => {}
        }
        transport.out = Some(
            device
                .queue(function.bulk_out.address)
                .map_err(super::usb)?,
        );
        let mut queue = device.queue(function.bulk_in.address).map_err(super::usb)?;
        for _ in 0..READS {
            queue
                .submit(Buffer::heap(READ))
                .map_err(|rejected| super::usb(rejected.error))?;
        }
        let reader = Reader {
            device: Arc::clone(device),
            queue,
            sender,
            unwanted: Arc::clone(&transport.unwanted),
        };
        transport.reader = Some(
            std::thread::Builder::new()
                .name("uwwan-at-read".into())
                .stack_size(256 * 1024)
                .spawn(move || reader.run())
                .map_err(|error| super::system(format!("start the AT port's reader: {error}")))?,
        );
        Ok(transport)
    }

    /// Writes, waiting until the device has taken it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let queue = self.out.as_mut().ok_or("closed")?;
        for piece in bytes.chunks(WRITE) {
            let mut buffer = Buffer::heap(piece.len());
            buffer.bytes_mut()[..piece.len()].copy_from_slice(piece);
            buffer.set_len(piece.len());
            queue
                .submit(buffer)
                .map_err(|rejected| rejected.error.to_string())?;
            let done = match queue.next(WRITE_TIME) {
                Some(done) => done,
                None => {
                    queue.cancel_all();
                    let _ = queue.next(WRITE_TIME);
                    return Err(format!(
                        "interface {} takes nothing within {} s",
                        self.interface,
                        WRITE_TIME.as_secs()
                    ));
                }
            };
            match done.result {
                Ok(_) => {}
                Err(TransferError::Stall) => {
                    self.device
                        .clear_halt(queue.endpoint())
                        .map_err(|error| error.to_string())?;
                    return Err(format!("interface {} refused the write", self.interface));
                }
                Err(error) => {
                    return Err(format!("write to interface {}: {error}", self.interface));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        self.out = None;
        // A reader that waits for room in the channel ends when it finds no receiver.
        self.incoming = crossbeam_channel::never();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if self.data_interface != self.interface
            && let Err(error) = self.device.release(self.data_interface)
        {
            tracing::debug!("AT port: {error}");
        }
        if let Err(error) = self.device.release(self.interface) {
            tracing::debug!("AT port: {error}");
        }
        if self.reattach
            && let Err(error) = self.device.attach_kernel_driver(self.interface)
        {
            tracing::debug!("AT port: {error}");
        }
    }
}

struct Reader {
    device: Arc<dyn Device>,
    queue: Box<dyn Queue>,
    sender: Sender<Incoming>,
    unwanted: Arc<AtomicBool>,
}

impl Reader {
    fn run(mut self) {
        let why = self.read();
        let _ = self.sender.send(Incoming::Lost(why));
    }

    /// Reads until it is not wanted any more or fails; the reason, in words.
    fn read(&mut self) -> String {
        let mut halts = 0;
        loop {
            if self.unwanted.load(Ordering::Relaxed) {
                return "closed".into();
            }
            let Some(done) = self.queue.next(TURN) else {
                if self.queue.pending() == 0 {
                    return "nothing can be read any more".into();
                }
                continue;
            };
            let bytes = done.buffer.filled();
            if !bytes.is_empty() {
                halts = 0;
                if self.sender.send(Incoming::Bytes(bytes.to_vec())).is_err() {
                    return "closed".into();
                }
            }
            match done.result {
                Ok(_) | Err(TransferError::Overflow | TransferError::Timeout) => {}
                Err(TransferError::Stall) if halts < MOST_HALTS => {
                    halts += 1;
                    if let Err(error) = self.clear_halt() {
                        return error.to_string();
                    }
                }
                Err(error) => return error.to_string(),
            }
            if let Err(rejected) = self.queue.submit(done.buffer) {
                return rejected.error.to_string();
            }
        }
    }

    /// Clears the halt, for which no read may be in flight, and refills the queue but for one.
    fn clear_halt(&mut self) -> Result<(), Error> {
        self.queue.cancel_all();
        let mut idle = Vec::new();
        while let Some(done) = self.queue.next(WRITE_TIME) {
            idle.push(done.buffer);
        }
        self.device.clear_halt(self.queue.endpoint())?;
        for buffer in idle {
            self.queue
                .submit(buffer)
                .map_err(|rejected| rejected.error)?;
        }
        Ok(())
    }
}
