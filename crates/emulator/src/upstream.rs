//! The device's upstream port: the requests of a host to the device, and the reports to the host.
//!
//! Three kinds of host implement [`Upstream`]: the driver in this process, a USB/IP host, and a
//! virtual machine that speaks usbredir. The device's thread treats them alike. At each turn it
//! takes requests with [`Upstream::receive`], executes them in their order, hands back what ended
//! with [`Upstream::complete`], and lets the upstream send it with [`Upstream::flush`].

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::urb::{Completed, Token, Urb};

/// Largest number of requests of a host that are executed before the device's thread does other
/// work.
pub(crate) const MAX_REQUESTS: usize = 256;

/// Request of a host to the device.
#[derive(Debug)]
pub(crate) enum Request {
    /// A transfer is started.
    Submit(Urb),
    /// A transfer is taken back.
    Cancel(Token),
    /// The port is reset.
    ResetPort,
}

/// Error for a host that has hung up, or sends bytes that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostGone;

/// A host that can have the device. No method blocks.
pub(crate) trait Upstream: Send {
    /// Returns the descriptor to poll, with the events for which to poll it. Returns `None` when
    /// the host wakes the device's thread by itself.
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)>;

    /// Appends the host's requests to `requests`, in their order. A remote host is limited to
    /// [`MAX_REQUESTS`] at a time.
    ///
    /// # Errors
    /// Fails when the host is gone; its last requests have been appended all the same.
    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone>;

    /// Returns whether [`Upstream::receive`] would return requests although the descriptor is not
    /// readable.
    fn has_more(&self) -> bool;

    /// Reports that a [`Request::Cancel`] has been executed; `pending` says whether there was a
    /// transfer to take back. Cancellations are reported in the order of the requests. The transfer
    /// itself completes as cancelled afterwards.
    fn cancelled(&mut self, token: Token, pending: bool);

    /// Queues the end of a transfer for the host.
    fn complete(&mut self, completed: Completed);

    /// Sends what is queued, as much as the host takes.
    ///
    /// # Errors
    /// Fails when the host is gone.
    fn flush(&mut self) -> Result<(), HostGone>;

    /// Notes that the device came to the host, or went from it.
    fn presence_changed(&mut self) {}
}
