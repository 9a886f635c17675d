//! Entries of the journal (systemd-journald), with a priority and with fields by which they can be
//! selected: `journalctl UWWAN_RUNG=sim`.
//!
//! They are sent to the journal's own socket (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>) where
//! the process's standard error leads to the journal, as `JOURNAL_STREAM` shows.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};
use uwwan_modem::event::{Event, SessionChange, SessionEvent};
use uwwan_modem::failure::Rung;

/// Name under which entries are found: `journalctl -t uwwan`.
const IDENTIFIER: &str = "uwwan";

/// Device that the process drives, once it is known.
static DEVICE: Mutex<String> = Mutex::new(String::new());

/// Sets the device that the process drives, for the field `UWWAN_DEVICE` of all entries from then
/// on.
pub fn name_device(port: &str) {
    port.clone_into(&mut DEVICE.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A line with its weight and its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line, or several lines.
    pub text: String,
    /// Weight and subject.
    pub about: About,
}

/// Weight and subject of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Weight: `Error`, `Warn` and `Info` are the priorities 3 (err), 4 (warning) and 5 (notice) of
    /// syslog(3), `Debug` is 6 (info) and `Trace` 7 (debug).
    pub level: Level,
    /// Rung of the bring-up (`UWWAN_RUNG`).
    pub rung: Option<Rung>,
    /// MBIM id of the data session (`UWWAN_SESSION`).
    pub session: Option<u8>,
}

impl About {
    /// Returns the weight with no subject but the program.
    pub const fn program(level: Level) -> Self {
        Self {
            level,
            rung: None,
            session: None,
        }
    }

    /// Returns weight and subject of an event. The rungs from `connect` on are those of session 0.
    pub fn event(event: &Event) -> Self {
        let of_rung = |level, rung: Option<Rung>| Self {
            level,
            rung,
            session: rung.filter(|rung| *rung >= Rung::Connect).map(|_| 0),
        };
        match event {
            Event::RungStarted { rung }
            | Event::Waiting { rung, .. }
            | Event::RungDone { rung, .. } => of_rung(Level::Debug, Some(*rung)),
            Event::RungFailed {
                failure,
                retry_seconds: Some(_),
                ..
            } => of_rung(Level::Warn, failure.rung()),
            Event::RungFailed { failure, .. } => of_rung(Level::Error, failure.rung()),
            Event::Lost { rung, .. } => of_rung(Level::Warn, Some(*rung)),
            Event::Diagnosis(_) => Self::program(Level::Warn),
            Event::Stopped { failure: Some(_) } => Self::program(Level::Error),
            Event::Session(SessionEvent { session, change }) => Self {
                level: match change {
                    SessionChange::Offline { .. } => Level::Warn,
                    SessionChange::Addresses(_) | SessionChange::Online { .. } => Level::Info,
                },
                rung: None,
                session: Some(*session),
            },
            Event::Configuration { .. }
            | Event::GivenBack { .. }
            | Event::Notice { .. }
            | Event::Heal(_)
            | Event::Stopped { failure: None } => Self::program(Level::Info),
        }
    }
}

/// Returns whether standard error leads to the journal.
pub fn is_reached() -> bool {
    static REACHED: OnceLock<bool> = OnceLock::new();
    *REACHED.get_or_init(connected_to_journal)
}

/// Returns lines that begin with their weight, in the form in which the journal reads it from
/// standard error (`<4>`, sd-daemon(3)).
pub fn marked(text: &str, level: Level) -> String {
    let mark = match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<5>",
        Level::Debug => "<6>",
        Level::Trace => "<7>",
    };
    text.lines().map(|line| format!("{mark}{line}\n")).collect()
}

/// Connection to the journal.
pub struct Journal(JournalLog);

impl Journal {
    /// Returns the connection, if standard error leads to the journal and the journal listens. It
    /// opens one socket.
    pub fn from_environment() -> Option<Self> {
        if !is_reached() {
            return None;
        }
        match JournalLog::empty() {
            Ok(log) => Some(Self(log.with_syslog_identifier(IDENTIFIER.into()))),
            Err(error) => {
                tracing::warn!("lines go to the journal without fields: {error}");
                None
            }
        }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn write(&self, entry: &Entry) -> io::Result<()> {
        let device = DEVICE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let session = entry.about.session.map(|session| session.to_string());
        let fields = [
            (
                "UWWAN_DEVICE",
                Some(device).filter(|device| !device.is_empty()),
            ),
            (
                "UWWAN_RUNG",
                entry.about.rung.map(|rung| rung.name().into()),
            ),
            ("UWWAN_SESSION", session),
        ];
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
            .collect();
        self.0.journal_send(
            &Record::builder()
                .level(entry.about.level)
                .target(IDENTIFIER)
                .key_values(&fields)
                .args(format_args!("{}", entry.text))
                .build(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_modem::{Failure, FailureKind};

    #[test]
    fn every_line_is_marked() {
        assert_eq!(marked("one\ntwo\n", Level::Warn), "<4>one\n<4>two\n");
    }

    #[test]
    fn events_have_their_weight_and_subject() {
        let failed = |retry_seconds| Event::RungFailed {
            failure: Failure::new(FailureKind::Refused, "no").at(Rung::Sim),
            seconds: 1.0,
            retry_seconds,
        };
        let about = About::event(&failed(Some(1.0)));
        assert_eq!((about.level, about.rung), (Level::Warn, Some(Rung::Sim)));
        assert_eq!(about.session, None);
        assert_eq!(About::event(&failed(None)).level, Level::Error);
        let connecting = Event::RungStarted {
            rung: Rung::Connect,
        };
        assert_eq!(About::event(&connecting).session, Some(0));
        let change = SessionChange::Offline {
            why: "refused".into(),
            retry_seconds: None,
        };
        let about = About::event(&Event::Session(SessionEvent { session: 3, change }));
        assert_eq!((about.level, about.session), (Level::Warn, Some(3)));
    }
}
