//! NTBs that a program sends as they are, between whole NTBs of the driver's own.
//!
//! The driver's sending pauses: the open NTB leaves, the transfers in flight complete, the program's
//! NTBs go out one after another, and the driver resumes. Each step has a time limit, so that the
//! pause ends whatever the device or the program does. Transfers of the device are reported to the
//! program as well as delivered, until the program's time to wait is over.

use std::time::{Duration, Instant};

use uwwan_usb::error::TransferError;

use super::downlink::Downlink;
use super::fault::Fault;
use super::uplink::Uplink;
use crate::counters::Tally;
use crate::failure::{Failure, FailureKind};
use crate::raw::Raw;

/// Time within which the driver's own NTBs have to leave, and each of the program's.
const PATIENCE: Duration = Duration::from_secs(5);

/// NTBs that a program sends, with the state of the pause.
pub(super) struct RawNtbs {
    ntbs: Vec<Vec<u8>>,
    /// Number of NTBs that were handed to the device.
    begun: usize,
    wait: Duration,
    phase: Phase,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The driver's own NTBs leave.
    Quieting,
    /// One of the program's NTBs is in flight.
    Sending,
    /// The transfer in flight is cancelled.
    Cancelling,
    /// The driver sends again, and received transfers are reported.
    Listening,
}

impl RawNtbs {
    /// Begins with the pause.
    ///
    /// # Errors
    /// [`Fault`] when the open NTB cannot be sent.
    pub(super) fn begin(
        raw: Raw,
        uplink: &mut Uplink,
        downlink: &mut Downlink,
        tally: &mut Tally,
    ) -> Result<Self, Fault> {
        let Raw {
            transfers,
            wait,
            mut teller,
            ..
        } = raw;
        let now = Instant::now();
        teller.begin(now, wait);
        downlink.tell(teller);
        uplink.hold(tally)?;
        Ok(Self {
            ntbs: transfers,
            begun: 0,
            wait,
            phase: Phase::Quieting,
            until: now + PATIENCE,
        })
    }

    /// Returns the time at which a turn is due even without a completion.
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    /// Returns whether the driver's own sending pauses.
    pub(super) fn pauses(&self) -> bool {
        self.phase != Phase::Listening
    }

    /// Takes every step that is possible without waiting. Returns `false` when the program is done.
    ///
    /// # Errors
    /// [`Fault`] when the device is gone.
    pub(super) fn turn(
        &mut self,
        uplink: &mut Uplink,
        downlink: &mut Downlink,
        now: Instant,
    ) -> Result<bool, Fault> {
        loop {
            let late = now >= self.until;
            match self.phase {
                Phase::Quieting if uplink.is_quiet() => {
                    if !self.send_next(uplink, downlink, now)? {
                        return Ok(false);
                    }
                }
                Phase::Quieting if late => {
                    uplink.release();
                    let why = "the driver's own NTBs do not leave";
                    downlink.tell_no_more(Some(refused(why).of(FailureKind::Timeout)));
                    return Ok(false);
                }
                Phase::Sending | Phase::Cancelling => match uplink.take_raw() {
                    Some(result) => {
                        let number = self.begun - 1;
                        let told = self.told(number, result, downlink);
                        // After an NTB that halted the endpoint or did not leave, the next is not
                        // tried.
                        let last = self.begun == self.ntbs.len();
                        if !told || last || result.is_err() {
                            uplink.release();
                            self.phase = Phase::Listening;
                            self.until = now + self.wait;
                        } else if !self.send_next(uplink, downlink, now)? {
                            return Ok(false);
                        }
                    }
                    None if late && self.phase == Phase::Sending => {
                        uplink.cancel_raw();
                        self.phase = Phase::Cancelling;
                        self.until = now + PATIENCE;
                    }
                    None if late => {
                        // The backend does not give the transfer back; the driver waits no longer.
                        uplink.release();
                        downlink.tell_no_more(Some(refused("the transfer does not end")));
                        return Ok(false);
                    }
                    None => return Ok(true),
                },
                Phase::Listening if late || !downlink.tells() => {
                    downlink.tell_no_more(None);
                    return Ok(false);
                }
                Phase::Quieting | Phase::Listening => return Ok(true),
            }
        }
    }

    /// Hands the next NTB to the device. Returns `false` when that is not possible.
    fn send_next(
        &mut self,
        uplink: &mut Uplink,
        downlink: &mut Downlink,
        now: Instant,
    ) -> Result<bool, Fault> {
        let ntb = &self.ntbs[self.begun];
        match uplink.send_raw(ntb) {
            Ok(()) => {
                self.begun += 1;
                self.phase = Phase::Sending;
                self.until = now + PATIENCE;
                Ok(true)
            }
            Err(uwwan_usb::error::Error::Gone { .. }) => Err(Fault::Gone),
            Err(error) => {
                uplink.release();
                downlink.tell_no_more(Some(refused(&error.to_string())));
                Ok(false)
            }
        }
    }

    /// Reports how a transfer ended. Returns `false` when the program does not listen any more.
    fn told(
        &self,
        number: usize,
        result: Result<usize, TransferError>,
        downlink: &mut Downlink,
    ) -> bool {
        let length = self.ntbs[number].len();
        let error = match (result, self.phase) {
            (Ok(_), _) => None,
            (Err(TransferError::Cancelled), Phase::Cancelling) => {
                Some(format!("not taken in {} s", PATIENCE.as_secs()))
            }
            (Err(error), _) => Some(error.to_string()),
        };
        downlink.tell_sent(number, length, error)
    }
}

pub(super) fn refused(why: &str) -> Failure {
    Failure::new(FailureKind::Other, "cannot send the NTBs").because(why)
}
