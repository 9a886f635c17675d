//! The device's upstream port: what a host asks of the device, and what it is told.
//!
//! Three kinds of host implement [`Upstream`]: the driver in this process, a USB/IP host, and a
//! virtual machine that speaks usbredir. The device's thread treats them alike. At each turn it
//! takes requests with [`Upstream::receive`], executes them in their order, hands back what ended
//! with [`Upstream::complete`], and lets the upstream send it with [`Upstream::flush`].

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::urb::{Completed, Token, Urb};

/// Requests of a host that are executed before other work of the device's thread gets its turn.
pub(crate) const MAX_REQUESTS: usize = 256;

/// Request of a host to the device.
#[derive(Debug)]
pub(crate) enum Request {
    /// Start a transfer.
    Submit(Urb),
    /// Take a transfer back.
    Cancel(Token),
    /// Reset the port.
    ResetPort,
}

/// The host has hung up, or sends what cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostGone;

/// A host that can have the device. No method NTBs.
pub(crate) trait Upstream: Send {
    /// Returns the descriptor to poll, with what to poll it for. `None` is returned by a host that
    /// wakes the device's thread by itself.
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)>;

    /// Appends what the host asks for to `requests`, in its order. A host elsewhere is limited to
    /// [`MAX_REQUESTS`] at one time.
    ///
    /// # Errors
    /// When the host is gone; the requests before it left have been appended all the same.
    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone>;

    /// Returns whether [`Upstream::receive`] would return requests although the descriptor is not
    /// readable.
    fn has_more(&self) -> bool;

    /// Tells that a [`Request::Cancel`] has been executed; `pending` says whether there was a
    /// transfer to take back. Cancellations are told in the order of the requests. The transfer
    /// itself completes as cancelled afterwards.
    fn cancelled(&mut self, token: Token, pending: bool);

    /// Queues the end of a transfer for the host.
    fn complete(&mut self, completed: Completed);

    /// Sends what is queued, as much as the host takes.
    ///
    /// # Errors
    /// When the host is gone.
    fn flush(&mut self) -> Result<(), HostGone>;

    /// Tells that the device came to the host, or went from it.
    fn presence_changed(&mut self) {}
}
