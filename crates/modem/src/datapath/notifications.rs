//! The notification endpoint.

use std::time::{Duration, Instant};

use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::TransferError;

use super::fault::{Fault, Faults};
use super::report::Report;
use crate::counters::Tally;

/// The notification endpoint.
pub(super) struct Notifications {
    pub(super) queue: Option<Box<dyn Queue>>,
    idle: Vec<Buffer>,
    faults: Faults,
    pub(super) paused_until: Option<Instant>,
    halted: bool,
    reported: bool,
}

impl Notifications {
    const DEPTH: usize = 4;
    const THROTTLE: Duration = Duration::from_millis(125);

    /// Takes the queue of the endpoint; without one there are no notifications.
    pub(super) fn new(mut queue: Option<Box<dyn Queue>>) -> Self {
        let buffers = queue.as_mut().map(|queue| {
            // One packet each: a notification that fills its packet ends there, not with the next one.
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

    pub(super) fn submit(&mut self, tally: &mut Tally) {
        let Some(queue) = self.queue.as_mut() else {
            return;
        };
        if self.halted {
            return;
        }
        while let Some(buffer) = self.idle.pop() {
            if let Err(rejected) = queue.submit(buffer) {
                // Gone shows when the pump is asked; lack of memory leaves the others.
                tally.transfers_given_up += 1;
                self.idle.push(rejected.buffer);
                return;
            }
        }
    }

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
