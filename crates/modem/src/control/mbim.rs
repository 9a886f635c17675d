//! Opening of the control session, and the delivery of its answers and indications to the parts
//! that wait for them.

use std::time::{Duration, Instant};

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect as bc;
use uwwan_mbim::session::{
    CommandError, Config, ControlSession, Event as ControlEvent, OpenError, Response, TransactionId,
};
use uwwan_mbim::status::Status;

use super::{CommandOrigin, Control, ForeignSessions};
use crate::askers::Ticket;
use crate::dialled;
use crate::failure::Rung;
use crate::kind::Kind;
use crate::ladder::{Ask, Input, Outcome};

impl Control {
    pub(super) fn open_session(&mut self, patience: Duration) {
        let Some(held) = &self.device else {
            return self.lost(Rung::Found, "the device is gone".into());
        };
        let (max_control_message, max_outstanding) = match held.function.kind {
            Kind::Mbim {
                max_control_message,
                max_outstanding,
                ..
            } => (max_control_message, max_outstanding),
            Kind::Dialled { .. } => (dialled::MAX_CONTROL_MESSAGE, None),
            Kind::Ethernet { .. } => {
                return self.lost(Rung::Found, "it is no MBIM function".into());
            }
        };
        let size = usize::from(max_control_message);
        self.control_session = ControlSession::new(Config {
            max_control_message: size,
            max_outstanding: usize::from(max_outstanding.unwrap_or(1)),
            open_timeout: patience,
            ..Config::default()
        });
        self.control_buffer = vec![0; size];
        self.drop_all_askers();
        self.foreign_sessions = ForeignSessions::default();
        self.control_session.open(Instant::now());
    }

    pub(super) fn drop_all_askers(&mut self) {
        for (_, asker) in self.asked.drain() {
            match asker {
                CommandOrigin::Program { asker, ticket, .. } => {
                    self.askers.answer(asker, ticket, Err(CommandError::Closed));
                }
                CommandOrigin::Ladder(_) | CommandOrigin::Session { .. } => {}
            }
        }
        self.askers.down("the control session has ended");
        self.drop_all_raw_senders("the control session has ended");
    }

    /// Cancels a command that its asker has withdrawn.
    pub(super) fn withdraw(&mut self, by: u64, withdrawn: Ticket) {
        let id = self.asked.iter().find_map(|(id, asker)| match asker {
            CommandOrigin::Program { asker, ticket, .. }
                if (*asker, *ticket) == (by, withdrawn) =>
            {
                Some(*id)
            }
            _ => None,
        });
        if let Some(id) = id {
            self.control_session.cancel(Instant::now(), id);
        }
    }

    /// Brings the next climb forward to at most 1 s from now when an indication may have brought
    /// what a failed rung waited for.
    fn hasten(&mut self, id: CidId) {
        let soon = Instant::now() + Duration::from_secs(1);
        if let Some((at, from)) = self.retry.as_mut()
            && *from >= Rung::Sim
            && [
                bc::SUBSCRIBER_READY_STATUS,
                bc::RADIO_STATE,
                bc::REGISTER_STATE,
            ]
            .contains(&id)
        {
            *at = soon.min(*at);
        }
    }

    /// Takes the answer to an asker's command as an indication while online, because firmware does
    /// not always indicate what a command of an asker has changed.
    fn observe(&mut self, response: Option<Response>) {
        if let Some(Response { id, info, .. }) = response
            && self.ladder.is_online()
        {
            self.session_indication(id, &info);
            self.input(Input::Indication { id, info });
        }
    }

    /// Learns from answers and indications which data sessions other programs have activated.
    fn hear_of_sessions(&mut self, id: CidId, info: &[u8]) {
        let sessions = &self.sessions;
        let ours = |id: u8| sessions.iter().any(|session| session.machine.id() == id);
        self.foreign_sessions.heard(id, info, ours);
    }

    /// Passes the answer of a transaction to the origin of the command.
    fn answered(&mut self, id: TransactionId, result: Result<Response, CommandError>) {
        if let Ok(response) = &result
            && response.status.is_success()
        {
            self.hear_of_sessions(response.id, &response.info);
        }
        match &result {
            Ok(response) => tracing::trace!(
                "transaction {}: {} answered {}, {} bytes",
                id.0,
                response.id,
                response.status.name(),
                response.info.len()
            ),
            Err(error) => tracing::trace!("transaction {}: {error}", id.0),
        }
        match self.asked.remove(&id) {
            Some(CommandOrigin::Program {
                asker,
                ticket,
                connects,
            }) => {
                if let (Some(session), Err(_)) = (connects, &result) {
                    let sessions = &self.sessions;
                    let ours = |id: u8| sessions.iter().any(|session| session.machine.id() == id);
                    self.foreign_sessions.unanswered(session, ours);
                }
                let observed = observable(&result);
                self.askers.answer(asker, ticket, result);
                self.observe(observed);
            }
            Some(CommandOrigin::Ladder(ask)) => {
                if ask == Ask::Subscribe {
                    self.askers.subscribed();
                }
                if let Some(outcome) = outcome_of(result) {
                    self.input(Input::Answer(ask, outcome));
                }
            }
            Some(CommandOrigin::Session { id, ask }) => {
                if let Some(outcome) = outcome_of(result) {
                    self.session_answer(id, ask, outcome);
                }
            }
            None => {}
        }
    }

    pub(super) fn session_event(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Opened => {
                self.askers
                    .opened(self.control_session.config().max_outstanding);
                self.input(Input::Opened);
            }
            ControlEvent::OpenFailed(OpenError::Silent { .. }) => {
                let dialled = self.is_dialled();
                self.input(Input::OpenMute { dialled });
            }
            ControlEvent::OpenFailed(OpenError::Refused(status)) => {
                self.input(Input::OpenRefused(status))
            }
            ControlEvent::OpenFailed(
                error @ (OpenError::Protocol(_) | OpenError::MaxTransfer(_)),
            ) => {
                tracing::warn!("MBIM_OPEN: {error}");
                self.input(Input::OpenRefused(Status::FAILURE));
            }
            ControlEvent::Response { id, result } => self.answered(id, result),
            ControlEvent::Indication { id, info } => {
                tracing::trace!("indicated: {id}, {} bytes", info.len());
                self.hasten(id);
                self.hear_of_sessions(id, &info);
                self.askers.indication(id, &info);
                self.session_indication(id, &info);
                self.input(Input::Indication { id, info });
            }
            ControlEvent::Closed { .. } => {
                let why = "the control session is closed";
                self.askers.down(why);
                self.drop_all_raw_senders(why);
            }
            ControlEvent::Lost { why } => {
                self.askers.down(&why);
                self.drop_all_raw_senders(&why);
                self.lost(Rung::Found, why);
            }
        }
    }
}

/// Returns an answer that has the same content and layout as an indication of the same CID.
fn observable(result: &Result<Response, CommandError>) -> Option<Response> {
    let told = [
        bc::RADIO_STATE,
        bc::REGISTER_STATE,
        bc::PACKET_SERVICE,
        bc::CONNECT,
    ];
    let response = result.as_ref().ok()?;
    (response.status.is_success() && told.contains(&response.id)).then(|| response.clone())
}

/// Returns the outcome of a command for the ladder or a data session, or `None` when the control
/// session has ended, which is reported apart.
fn outcome_of(result: Result<Response, CommandError>) -> Option<Outcome> {
    Some(match result {
        Ok(response) => Outcome::Done {
            status: response.status,
            info: response.info,
        },
        Err(CommandError::Timeout(_)) => Outcome::NoAnswer,
        Err(CommandError::Closed | CommandError::Lost(_)) => return None,
        Err(error) => Outcome::Refused(error.to_string()),
    })
}
