//! Data sessions that other programs have activated by commands of their own.

use std::collections::BTreeSet;

use byteorder::{ByteOrder, LittleEndian};
use uwwan_mbim::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{ActivationState, CONNECT};
use uwwan_mbim::session::Command;

/// MBIM session ids of data sessions that are active, or about to be, and are not the driver's.
#[derive(Debug, Default)]
pub(super) struct ForeignSessions(BTreeSet<u8>);

impl ForeignSessions {
    /// Reads the information buffer of an answer or indication (MBIM 1.0 section 10.5.12: session id and
    /// activation state come first, both little-endian). `ours` returns whether the session with an id is
    /// the driver's.
    pub(super) fn heard(&mut self, id: CidId, info: &[u8], ours: impl Fn(u8) -> bool) {
        if id != CONNECT {
            return;
        }
        let (Some(session), Some(state)) = (word(info, 0), word(info, 4)) else {
            return;
        };
        // No program is given a higher id.
        let Ok(session) = u8::try_from(session) else {
            return;
        };
        match ActivationState(state) {
            ActivationState::ACTIVATED | ActivationState::ACTIVATING if !ours(session) => {
                self.0.insert(session);
            }
            ActivationState::DEACTIVATED => {
                self.0.remove(&session);
            }
            _ => {}
        }
    }

    /// Records that a command for a session has ended without an answer: the modem may have activated it.
    /// `ours` is as in [`ForeignSessions::heard`].
    pub(super) fn unanswered(&mut self, session: u32, ours: impl Fn(u8) -> bool) {
        if let Ok(session) = u8::try_from(session)
            && !ours(session)
        {
            self.0.insert(session);
        }
    }

    /// Returns whether a session is active, or may be.
    pub(super) fn has(&self, session: u8) -> bool {
        self.0.contains(&session)
    }
}

/// Returns the MBIM session id of the data session that a command activates or deactivates.
pub(super) fn connects(command: &Command) -> Option<u32> {
    // A device may take a command of any kind but a query as a set.
    let sets = command.id == CONNECT && command.kind != CommandKind::QUERY;
    sets.then(|| word(&command.info, 0)).flatten()
}

fn word(info: &[u8], at: usize) -> Option<u32> {
    info.get(at..at + 4).map(LittleEndian::read_u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_mbim::services::basic_connect::RADIO_STATE;

    #[test]
    fn what_others_have_active_is_known_until_it_is_deactivated() {
        let told = |session: u32, state: ActivationState| {
            [session.to_le_bytes(), state.0.to_le_bytes()].concat()
        };
        let mut foreign_sessions = ForeignSessions::default();
        let ours = |session| session == 2;
        for (session, state, has) in [
            (7, ActivationState::ACTIVATING, true),
            (7, ActivationState::DEACTIVATING, true),
            (7, ActivationState::UNKNOWN, true),
            (7, ActivationState::DEACTIVATED, false),
            (7, ActivationState::ACTIVATED, true),
            (2, ActivationState::ACTIVATED, false),
            (6, ActivationState::UNKNOWN, false),
        ] {
            foreign_sessions.heard(CONNECT, &told(session, state), ours);
            let session = u8::try_from(session).unwrap();
            assert_eq!(foreign_sessions.has(session), has, "{session} {state:?}");
        }
        foreign_sessions.heard(RADIO_STATE, &told(7, ActivationState::DEACTIVATED), ours);
        foreign_sessions.heard(CONNECT, &told(263, ActivationState::DEACTIVATED), ours);
        foreign_sessions.heard(CONNECT, &[7, 0, 0, 0, 3], ours);
        assert!(foreign_sessions.has(7));
        for session in [2, 9, 263] {
            foreign_sessions.unanswered(session, ours);
        }
        assert!(foreign_sessions.has(9) && !foreign_sessions.has(2));
    }

    #[test]
    fn commands_that_may_change_a_session_name_it() {
        let command = |kind| Command {
            id: CONNECT,
            kind,
            info: vec![3, 0, 0, 0, 1, 0, 0, 0],
        };
        assert_eq!(connects(&command(CommandKind::SET)), Some(3));
        assert_eq!(connects(&command(CommandKind(7))), Some(3));
        assert_eq!(connects(&command(CommandKind::QUERY)), None);
        let id = RADIO_STATE;
        let other = Command {
            id,
            ..command(CommandKind::SET)
        };
        assert_eq!(connects(&other), None);
    }
}
