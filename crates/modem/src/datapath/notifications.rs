//! The notification endpoint of the control interface (CDC 1.2 section 6.3), whose transfers the
//! data thread completes and the control thread reads.

use std::time::{Duration, Instant};

use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::TransferError;

use super::fault::{Fault, Faults};
use super::report::Report;
use crate::counters::Tally;

/// The notification endpoint with its buffers.
pub(super) struct Notifications {
    /// Queue of the interrupt IN endpoint; `None` without one, or once it is drained.
    pub(super) queue: Option<Box<dyn Queue>>,
    /// Buffers that are not in a transfer.
    idle: Vec<Buffer>,
    faults: Faults,
    /// Time until which no transfer is submitted, after an error.
    pub(super) paused_until: Option<Instant>,
    /// Whether the endpoint is halted.
    halted: bool,
    /// Whether the halt has been reported to the control thread.
    reported: bool,
}

impl Notifications {
    /// Number of transfers kept in flight.
    const DEPTH: usize = 4;
    /// Pause after a transfer error (as in Linux usbnet.c).
    const THROTTLE: Duration = Duration::from_millis(125);

    /// Takes the queue of the endpoint; without one there are no notifications.
    pub(super) fn new(mut queue: Option<Box<dyn Queue>>) -> Self {
        let buffers = queue.as_mut().map(|queue| {
            // A buffer holds one packet, so that a notification that fills its packet ends with it.
            let size = usize::from(queue.max_packet_size()).max(8);
            (0..Self::DEPTH).map(|_| queue.allocate(size)).collect()
        });
        Self {
            queue,
            idle: buffers.unwrap_or_default(),
            faults: Faults::default(),
            paused_until: None,
            halted: false,
            reported: false,
        }
    }

    /// Queues every idle buffer, unless the endpoint is halted.
    pub(super) fn submit(&mut self, tally: &mut Tally) {
        let Some(queue) = self.queue.as_mut() else {
            return;
        };
        if self.halted {
            return;
        }
        while let Some(buffer) = self.idle.pop() {
            if let Err(rejected) = queue.submit(buffer) {
                // The pump reports a device that is gone; where memory is scarce the other
                // transfers go on.
                tally.transfers_given_up += 1;
                self.idle.push(rejected.buffer);
                return;
            }
        }
    }

    /// Reports received notifications and queues their buffers again.
    ///
    /// # Errors
    /// [`Fault`] when the device is gone, or there were more transfer errors than [`Faults`] bears.
    pub(super) fn run(
        &mut self,
        now: Instant,
        tally: &mut Tally,
        report: &mut dyn FnMut(Report) -> bool,
    ) -> Result<(), Fault> {
        let Some(queue) = self.queue.as_mut() else {
            return Ok(());
        };
        while let Some(completion) = queue.try_next() {
            match completion.result {
                Ok(_) => {
                    self.faults.clear();
                    let bytes = completion.buffer.filled();
                    if !bytes.is_empty() && !report(Report::Notification(bytes.to_vec())) {
                        tally.notifications_dropped += 1;
                    }
                }
                Err(TransferError::Gone) => return Err(Fault::Gone),
                Err(TransferError::Cancelled) => {}
                Err(error) => {
                    if error == TransferError::Stall {
                        self.halted = true;
                        queue.cancel_all();
                    } else {
                        self.paused_until = Some(now + Self::THROTTLE);
                    }
                    self.faults.add(now).map_err(|()| Fault::Notify(error))?;
                }
            }
            self.idle.push(completion.buffer);
        }
        if self.halted && queue.pending() == 0 && !self.reported {
            self.reported = true;
            report(Report::Halted(queue.endpoint()));
        }
        if self.paused_until.is_none_or(|until| now >= until) {
            self.paused_until = None;
            self.submit(tally);
        }
        Ok(())
    }

    /// Records that the control thread has cleared a halt, if it is this endpoint's.
    pub(super) fn halt_cleared(&mut self, endpoint: u8) {
        if self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.endpoint() == endpoint)
        {
            self.halted = false;
            self.reported = false;
        }
    }
}
