//! The FCC lock: a modem sold in a laptop keeps its radio off until software of that laptop lifts
//! the lock, after each start anew.
//!
//! The procedures here are the public ones of ModemManager (`data/dispatcher-fcc-unlock`), which
//! does not use them by itself, because that is the user's responsibility. Neither does this
//! driver: none is used unless the user asks for it.

use uwwan_mbim::qmi::{self, Message};
use uwwan_mbim::services::qmi as qmi_service;
use uwwan_mbim::services::quectel::{self, QuectelRadioSwitchState, RadioState};
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use crate::options::FccUnlock;

/// Sentence that states whose responsibility it is.
pub const RESPONSIBILITY: &str = "whether that is allowed where you are, with this modem in this machine, is your responsibility";

/// Returns the command that asks whether the modem is locked. Only firmware of Quectel has it.
pub(crate) fn state() -> Command {
    Command::query(quectel::RADIO_STATE)
}

/// Returns whether the modem is locked by the content of an answer to [`state`]; `None` when the
/// content does not say.
pub(crate) fn is_locked(info: &[u8]) -> Option<bool> {
    let state = RadioState::decode(info).ok()?;
    Some(state.radio_state == QuectelRadioSwitchState::FCC_LOCKED)
}

/// Command of the procedure that is sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Quectel,
    Allocate,
    Authenticate { client: u8 },
    Release { client: u8 },
    Done,
}

/// Lifting of the lock, command by command, without I/O.
#[derive(Debug)]
pub struct Unlocking {
    way: FccUnlock,
    stage: Stage,
    transaction: u16,
    failure: Option<String>,
}

impl Unlocking {
    /// Begins to lift the lock.
    #[must_use]
    pub fn new(way: FccUnlock) -> Self {
        Self {
            way,
            stage: match way {
                FccUnlock::Quectel => Stage::Quectel,
                FccUnlock::Qmi | FccUnlock::Foxconn => Stage::Allocate,
            },
            transaction: 0,
            failure: None,
        }
    }

    /// Returns the next command, or `None` at the end.
    pub fn next_command(&mut self) -> Option<Command> {
        self.transaction += 1;
        let control = |id, value| Message {
            transaction: self.transaction,
            id,
            fields: vec![(0x01, value)],
            ..Message::default()
        };
        let message = match self.stage {
            Stage::Quectel => {
                let on = RadioState {
                    radio_state: QuectelRadioSwitchState::ON,
                };
                return Some(Command::set(quectel::RADIO_STATE, &on));
            }
            Stage::Allocate => control(qmi::ALLOCATE_CLIENT, vec![qmi::DMS]),
            Stage::Release { client } => control(qmi::RELEASE_CLIENT, vec![qmi::DMS, client]),
            Stage::Authenticate { client } => Message {
                service: qmi::DMS,
                client,
                transaction: self.transaction,
                id: match self.way {
                    FccUnlock::Foxconn => qmi::FOXCONN_SET_FCC_AUTHENTICATION,
                    _ => qmi::SET_FCC_AUTHENTICATION,
                },
                fields: match self.way {
                    FccUnlock::Foxconn => vec![(0x01, vec![0])],
                    _ => Vec::new(),
                },
                ..Message::default()
            },
            Stage::Done => return None,
        };
        let info = qmi_service::MsgSet {
            qmi_msg: message.encode(),
        };
        Some(Command::set(qmi_service::MSG, &info))
    }

    /// Handles the answer to the command returned last; `None` when there is none.
    pub fn answered(&mut self, answer: Option<(Status, &[u8])>) {
        let result = match answer {
            Some((status, info)) if status.is_success() => self.understood(info),
            Some((status, _)) => Err(format!("{} ({})", status.name(), status.explanation())),
            None => Err("no answer".to_owned()),
        };
        // The lock does not depend on the release of the client.
        let released = matches!(self.stage, Stage::Release { .. });
        self.stage = match (self.stage, &result) {
            (Stage::Allocate, Ok(Some(client))) => Stage::Authenticate { client: *client },
            (Stage::Authenticate { client }, _) => Stage::Release { client },
            _ => Stage::Done,
        };
        if let Err(why) = result
            && !released
        {
            self.failure.get_or_insert(why);
        }
    }

    /// Reads the answer to the command returned last; a client is returned where one was asked for.
    fn understood(&self, info: &[u8]) -> Result<Option<u8>, String> {
        if self.stage == Stage::Quectel {
            return Ok(None);
        }
        let answer = Message::decode(info)
            .filter(|answer| answer.response && answer.transaction == self.transaction)
            .ok_or("the answer is no QMI message")?;
        answer
            .result()
            .map_err(|error| format!("QMI error {error}"))?;
        match (self.stage, answer.field(0x01)) {
            (Stage::Allocate, Some([_, client, ..])) => Ok(Some(*client)),
            (Stage::Allocate, _) => Err("the answer names no QMI client".to_owned()),
            _ => Ok(None),
        }
    }

    /// Returns the outcome of the procedure.
    ///
    /// # Errors
    /// The reason in words why the modem refused.
    pub fn outcome(self) -> Result<(), String> {
        self.failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every request of the procedure, and returns the messages sent and the outcome.
    fn run(way: FccUnlock, refused: Option<u16>) -> (Vec<u16>, Result<(), String>) {
        let mut unlocking = Unlocking::new(way);
        let mut sent = Vec::new();
        while let Some(command) = unlocking.next_command() {
            if command.id == quectel::RADIO_STATE {
                sent.push(0);
                unlocking.answered(Some((Status::NONE, &command.info)));
                continue;
            }
            let request = Message::decode(&command.info).unwrap();
            sent.push(request.id);
            let refuse = refused == Some(request.id);
            let mut answer = request.answer(if refuse { Err(0x5e) } else { Ok(()) });
            if request.id == qmi::ALLOCATE_CLIENT {
                answer.fields.push((0x01, vec![qmi::DMS, 9]));
            } else if request.service == qmi::DMS {
                assert_eq!(request.client, 9);
            }
            unlocking.answered(Some((Status::NONE, &answer.encode())));
        }
        (sent, unlocking.outcome())
    }

    #[test]
    fn each_way_sends_what_modemmanager_sends() {
        assert_eq!(run(FccUnlock::Quectel, None), (vec![0], Ok(())));
        let by = |id| vec![qmi::ALLOCATE_CLIENT, id, qmi::RELEASE_CLIENT];
        assert_eq!(
            run(FccUnlock::Qmi, None),
            (by(qmi::SET_FCC_AUTHENTICATION), Ok(()))
        );
        assert_eq!(
            run(FccUnlock::Foxconn, None),
            (by(qmi::FOXCONN_SET_FCC_AUTHENTICATION), Ok(()))
        );
    }

    #[test]
    fn the_release_of_the_client_decides_nothing() {
        let (sent, outcome) = run(FccUnlock::Qmi, Some(qmi::RELEASE_CLIENT));
        assert_eq!((sent.len(), outcome), (3, Ok(())));
        for answer in [None, Some((Status::FAILURE, &[][..]))] {
            let mut unlocking = Unlocking::new(FccUnlock::Qmi);
            for _ in 0..2 {
                let request = Message::decode(&unlocking.next_command().unwrap().info).unwrap();
                let mut good = request.answer(Ok(()));
                if request.id == qmi::ALLOCATE_CLIENT {
                    good.fields.push((0x01, vec![qmi::DMS, 9]));
                }
                unlocking.answered(Some((Status::NONE, &good.encode())));
            }
            assert!(unlocking.next_command().is_some());
            unlocking.answered(answer);
            assert_eq!(unlocking.next_command(), None);
            assert_eq!(unlocking.outcome(), Ok(()));
        }
    }

    #[test]
    fn a_refusal_is_told_and_the_client_released() {
        let (sent, outcome) = run(FccUnlock::Qmi, Some(qmi::SET_FCC_AUTHENTICATION));
        assert_eq!(sent.last(), Some(&qmi::RELEASE_CLIENT));
        assert_eq!(outcome, Err("QMI error 94".to_owned()));
        let (sent, outcome) = run(FccUnlock::Qmi, Some(qmi::ALLOCATE_CLIENT));
        assert_eq!(sent, [qmi::ALLOCATE_CLIENT]);
        assert!(outcome.is_err());
        let mut silent = Unlocking::new(FccUnlock::Quectel);
        silent.next_command();
        silent.answered(None);
        assert_eq!(silent.next_command(), None);
        assert!(silent.outcome().is_err());
    }
}
