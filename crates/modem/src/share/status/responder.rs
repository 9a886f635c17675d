//! The interface by which the service of the control socket reaches the running modem.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::asking::{Answer, Question};
use crate::capture::{self, Capture, Destination};
use crate::failure::{Failure, FailureKind};
use crate::join::{JoinOptions, Joined};
use crate::poll::Waker;
use crate::raw::{self, To};

/// Callbacks of the service into the running modem. They are called on the server's thread and must
/// not block.
pub trait Responder: Send {
    /// Returns the status as JSON.
    fn status(&self) -> serde_json::Value;
    /// Begins a clean stop.
    fn stop(&self);
    /// Begins a capture.
    ///
    /// # Errors
    /// [`Failure`] with the reason why there is no capture.
    fn capture(
        &self,
        options: capture::Options,
        destination: Destination,
    ) -> Result<Capture, Failure> {
        let _ = (options, destination);
        Err(refused(FailureKind::Missing, "it captures nothing"))
    }
    /// Turns knobs of the emulated modem, each given as `name=value`, and returns as JSON the
    /// turned knobs and the values of all.
    ///
    /// # Errors
    /// [`Failure`] that says what is wrong with a knob, or that there is no emulated modem.
    fn emulate(&self, set: &[String]) -> Result<serde_json::Value, Failure> {
        let _ = set;
        Err(refused(
            FailureKind::Usage,
            "it runs a real modem, which has no knobs",
        ))
    }

    /// Adds a data session for the TUN interface with these descriptors, which come from a program
    /// that may stop this one if it is `trusted`. `waker` has to be woken whenever there are news
    /// of the session.
    ///
    /// # Errors
    /// [`Failure`] with the reason why there is no session.
    fn join(
        &self,
        options: JoinOptions,
        descriptors: Vec<OwnedFd>,
        trusted: bool,
        waker: Waker,
    ) -> Result<Joined, Failure> {
        let _ = (options, descriptors, trusted, waker);
        Err(refused(FailureKind::Missing, "it has no data sessions"))
    }

    /// Asks the network behind the modem. The answer comes over the channel, after which `waker`
    /// has to be woken; no answer comes once the channel is closed.
    ///
    /// # Errors
    /// [`Failure`] with the reason why the question is not asked.
    fn ask(
        &self,
        question: Question,
        waker: Waker,
    ) -> Result<Receiver<Result<Answer, Failure>>, Failure> {
        let _ = (question, waker);
        Err(refused(FailureKind::Missing, "it has no network"))
    }

    /// Sends bytes as they are. `waker` has to be woken whenever an event waits in the listener.
    ///
    /// # Errors
    /// [`Failure`] with the reason why nothing is sent.
    fn send(
        &self,
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Waker,
    ) -> Result<raw::Listener, Failure> {
        let _ = (to, transfers, wait, waker);
        Err(refused(FailureKind::Missing, "it sends nothing"))
    }
}

/// Returns the failure with which an order of a local program is refused.
pub(super) fn refused(kind: FailureKind, why: impl std::fmt::Display) -> Failure {
    Failure::new(kind, "the running uwwan refused").because(why)
}
