//! State that all serial ports share, and the parts of the modem that a command can reach.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::firmware::Firmware;
use crate::knobs::{Knobs, UssdForm};
use crate::rules::Running;

/// Time between unsolicited signal reports.
pub(super) const SIGNAL_PERIOD: Duration = Duration::from_secs(5);

/// Settings of the AT interpreter, which all ports share.
#[derive(Debug)]
pub(crate) struct AtState {
    /// Whether URCs are sent (AT^CURC).
    pub(super) unsolicited: bool,
    /// Form of errors (AT+CMEE): 0 is ERROR, 1 a number, 2 text.
    pub(super) errors: u8,
    /// Modes that AT+CREG, +CGREG and +CEREG have set.
    pub(super) registration: [u8; 3],
    /// Format that AT+COPS has set: 0 is long, 1 short, 2 numeric.
    pub(super) operator_format: u8,
    /// PDP type and APN by context, as AT+CGDCONT has set them.
    pub(super) contexts: BTreeMap<u8, (String, String)>,
    /// Whether the arrival of a short message is reported (AT+CNMI).
    pub(super) message_arrivals: bool,
    /// AT+CUSD: whether what the network says in a USSD dialogue is told.
    pub(super) ussd_told: bool,
    /// AT^USSDMODE: texts of USSD are octets, GSM 7-bit packed, in hexadecimal digits.
    pub(super) ussd_packed: bool,
    /// Settings of AT^SYSCFGEX.
    pub(super) system: String,
    /// Setting of AT^SETPORT.
    pub(super) ports: String,
    /// Whether NMEA sentences are sent.
    pub(super) nmea: bool,
    /// Time at which the next NMEA group is due.
    pub(super) next_nmea: Instant,
    /// Time at which the next signal report is due.
    pub(super) next_signal: Instant,
    /// Time at which the reset that a command asked for is due.
    pub(super) reset_at: Option<Instant>,
}

impl AtState {
    /// Returns the settings after a start of the firmware.
    pub fn new(knobs: &Knobs, now: Instant) -> Self {
        Self {
            unsolicited: true,
            errors: 0,
            registration: [0; 3],
            operator_format: 0,
            contexts: BTreeMap::from([(0, ("IP".into(), String::new()))]),
            message_arrivals: false,
            ussd_told: false,
            ussd_packed: knobs.ussd_form == UssdForm::Packed,
            system: "\"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF".into(),
            ports: "A1,A2;12,10,16,A1,A2".into(),
            nmea: knobs.nmea,
            next_nmea: now,
            next_signal: now + SIGNAL_PERIOD,
            reset_at: None,
        }
    }

    /// Returns whether the reset that a command asked for is due. It returns `true` once.
    pub fn take_reset(&mut self, now: Instant) -> bool {
        let due = self.reset_at.is_some_and(|at| at <= now);
        if due {
            self.reset_at = None;
        }
        due
    }

    /// Returns the time at which the next event of the settings is due.
    pub fn deadline(&self) -> Option<Instant> {
        let nmea = self.nmea.then_some(self.next_nmea);
        let signal = self.unsolicited.then_some(self.next_signal);
        [self.reset_at, nmea, signal].into_iter().flatten().min()
    }
}

/// Time between the answer to a command that resets the module and the reset.
pub(super) const RESET_DELAY: Duration = Duration::from_millis(200);

/// State that a command can reach.
pub(crate) struct AtContext<'a> {
    /// Settings that all ports share.
    pub state: &'a mut AtState,
    /// State that MBIM and AT share.
    pub firmware: &'a mut Firmware,
    /// Knobs in force.
    pub knobs: &'a Knobs,
    /// Rules that answer in place of the firmware.
    pub rules: &'a mut Running,
    /// Time at which the command is executed.
    pub now: Instant,
    /// Number of command lines answered.
    pub commands: &'a mut u64,
}

impl AtContext<'_> {
    /// Schedules a reset of the module, after the answer to the command has had time to reach the
    /// host.
    pub(super) fn reset_soon(&mut self) {
        self.state.reset_at = Some(self.now + RESET_DELAY);
    }
}
