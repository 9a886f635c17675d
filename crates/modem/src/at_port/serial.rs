//! A vendor serial interface as a stream of bytes.
//!
//! The interface is opened as the kernel's `option` driver opens it: both bulk endpoints are used,
//! DTR and RTS are raised, and firmware that refuses the control lines is used all the same. A
//! thread reads the bytes from the device and sends them over a channel. It ends when the other end
//! of the channel or the port is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::channel::{Channel, Incoming};
use super::claim::Claim;
use crate::failure::Failure;
use crossbeam_channel::{Receiver, Sender, bounded};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Device, Interrupter, Queue};
use uwwan_usb::error::{Error, TransferError};
use uwwan_usb::functions::SerialFunction;
use uwwan_usb::requests;
use zeroize::Zeroize;

/// Size of a bulk IN transfer in bytes: a multiple of any packet size, so that no packet is cut.
const READ: usize = 4096;
/// Number of bulk IN transfers in flight.
const READS: usize = 2;
/// Size of the largest bulk OUT transfer in bytes.
const WRITE: usize = 4096;
/// Interval in which the reader checks whether it is still wanted, where nothing can interrupt it.
const TURN: Duration = Duration::from_millis(200);
/// Longest wait of a reader that can be interrupted. Nothing is due when it ends.
const LONG_TURN: Duration = Duration::from_secs(3600);
/// Time a bulk OUT transfer may take. A port that does not take it in that time counts as silent.
const WRITE_TIME: Duration = Duration::from_secs(3);
/// Number of endpoint halts in a row, without a byte between them, before the port counts as lost.
const MOST_HALTS: u32 = 3;

/// Claimed interface with its bulk queues.
pub(super) struct SerialPort {
    device: Arc<dyn Device>,
    interface: u8,
    out: Option<Box<dyn Queue>>,
    incoming: Receiver<Incoming>,
    unwanted: Arc<AtomicBool>,
    /// The waker that ends the reader's wait.
    interrupter: Option<Interrupter>,
    reader: Option<JoinHandle<()>>,
    /// Claim on the interface, and on the interface with the bulk endpoints, which in CDC ACM is
    /// another one. Both are given back when the reader has ended.
    _claim: Claim,
}

impl SerialPort {
    /// Detaches the interface from its kernel driver, claims it, raises DTR and RTS and starts the
    /// reader.
    ///
    /// # Errors
    /// [`Failure`] for an error of the USB backend, and when there is no thread to be had.
    pub(super) fn open(
        device: &Arc<dyn Device>,
        function: &SerialFunction,
    ) -> Result<Self, Failure> {
        let interface = function.interface;
        let claim = Claim::take(device, &[interface, function.data_interface])?;
        let (sender, incoming) = bounded(16);
        let mut port = Self {
            device: Arc::clone(device),
            interface,
            out: None,
            incoming,
            unwanted: Arc::default(),
            interrupter: None,
            reader: None,
            _claim: claim,
        };
        match requests::set_control_line_state(&**device, interface, true, true) {
            Err(error @ Error::Gone { .. }) => return Err(super::usb(error)),
            Err(error) => tracing::debug!("AT port: control lines: {error}"),
            Ok(()) => {}
        }
        port.out = Some(
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
        port.interrupter = queue.interrupter();
        let reader = Reader {
            turn: match port.interrupter {
                Some(_) => LONG_TURN,
                None => TURN,
            },
            device: Arc::clone(device),
            queue,
            sender,
            unwanted: Arc::clone(&port.unwanted),
        };
        port.reader = Some(
            std::thread::Builder::new()
                .name("uwwan-at-read".into())
                .stack_size(256 * 1024)
                .spawn(move || reader.run())
                .map_err(|error| super::system(format!("start the AT port's reader: {error}")))?,
        );
        Ok(port)
    }
}

impl Channel for SerialPort {
    /// Fails also when the device halts the endpoint or takes nothing within 3 s.
    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
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

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        if let Some(interrupter) = &self.interrupter {
            interrupter.interrupt();
        }
        self.out = None;
        // A reader that waits for room in the channel ends when it finds no receiver.
        self.incoming = crossbeam_channel::never();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

struct Reader {
    /// Longest time for which the reader waits without a look at `unwanted`.
    turn: Duration,
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

    /// Reads until the port is dropped or fails; returns the reason in words.
    fn read(&mut self) -> String {
        let mut halts = 0;
        loop {
            if self.unwanted.load(Ordering::Relaxed) {
                return "closed".into();
            }
            let Some(mut done) = self.queue.next(self.turn) else {
                if self.queue.pending() == 0 {
                    return "nothing can be read any more".into();
                }
                continue;
            };
            let bytes = done.buffer.filled();
            let count = bytes.len();
            if !bytes.is_empty() {
                halts = 0;
                if self.sender.send(Incoming::Bytes(bytes.to_vec())).is_err() {
                    return "closed".into();
                }
                // An echo repeats the command, in which there may be a PIN.
                done.buffer.bytes_mut()[..count].zeroize();
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

    /// Clears the endpoint halt. No transfer may be in flight meanwhile, so all are cancelled and
    /// submitted again, except the one the caller holds.
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
