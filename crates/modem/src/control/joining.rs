//! Data sessions that other programs ask for while the modem runs, and the end of these sessions.

use std::time::Instant;

use uwwan_mbim::session::State;

use super::ending::DISCONNECT_PATIENCE;
use super::held::HeldSession;
use super::{CommandOrigin, Control, start};
use crate::event::{Event, SessionChange, SessionEvent};
use crate::failure::{FailureKind, Rung};
use crate::join::Joining;
use crate::options::{Routes, SessionOptions};

/// Number of data sessions that other programs have together.
const MOST: usize = 8;
/// Number of data sessions that a modem is taken to have that does not report it.
const USUAL: u32 = 8;

impl Control {
    /// Adds a data session for a program, and begins to bring it up if the modem is online; otherwise
    /// it begins with the others.
    pub(super) fn join(&mut self, joining: Joining) {
        let Joining { options, guest } = joining;
        if self.is_ethernet() {
            let why =
                "the device is a plain network device, which has one link and no data sessions";
            return guest.refuse(
                FailureKind::Usage,
                why,
                "use the interface that uwwan up has",
            );
        }
        let identity = self.ladder.facts().identity.as_ref();
        let told = identity.map_or(0, |identity| identity.max_sessions);
        let most = if told == 0 { USUAL } else { told };
        let taken = |id: u8| {
            let mut sessions = self.sessions.iter();
            let mut asked = self.asked.values();
            sessions.any(|session| session.machine.id() == id)
                || self.foreign_sessions.has(id)
                || asked.any(|asker| {
                    matches!(asker, CommandOrigin::Program { connects: Some(of), .. } if *of == u32::from(id))
                })
        };
        // Ids given by people, and by the programs they start, count from below.
        let last = u8::try_from(most.saturating_sub(1)).unwrap_or(u8::MAX);
        let free = (1..=last).rev().find(|id| !taken(*id));
        let guests = self.sessions.iter().filter(|one| one.guest.is_some());
        let id = match free {
            Some(id) if guests.count() < MOST => id,
            free => {
                let why = match most {
                    _ if free.is_some() => {
                        format!("other programs have {MOST} data sessions, the most there may be")
                    }
                    1 => {
                        "the modem has one data session, and the running uwwan up has it".to_owned()
                    }
                    most => format!("all of the modem's {most} data sessions are in use"),
                };
                let next = "stop uwwan up with uwwan down: exec then brings the modem up itself";
                return guest.refuse(FailureKind::Busy, &why, next);
            }
        };
        let first = self.options.session(0).cloned().unwrap_or_default();
        let named = options.apn.filter(|apn| *apn != first.apn);
        let session = SessionOptions {
            id,
            ip_type: options.ip_type.unwrap_or(first.ip_type),
            mtu: options.mtu.or(first.mtu),
            tun_mode: first.tun_mode,
            routes: Routes::None,
            ..match named {
                // The user name and password of session 0 are those of another access point.
                Some(apn) => SessionOptions {
                    apn,
                    ..SessionOptions::default()
                },
                None => SessionOptions {
                    apn: first.apn,
                    auth: first.auth,
                    user: first.user,
                    password: first.password,
                    ..SessionOptions::default()
                },
            }
        };
        guest.begun(id);
        let counters = self.shared.add_session(id);
        let mut held = HeldSession::new(&session, counters, Instant::now());
        held.guest = Some(guest);
        if self.ladder.is_online() {
            let facts = self.facts();
            held.machine.start(Instant::now(), Rung::Connect, facts);
        }
        self.sessions.push(held);
    }

    /// Ends the data session of a program that has left.
    pub(super) fn leave(&mut self, guest: u64) {
        let of_guest = |session: &HeldSession| {
            let mut guests = session.guest.iter();
            guests.any(|one| one.number == guest)
        };
        if let Some(index) = self.sessions.iter().position(of_guest) {
            self.part_with(index, "its program has left");
        }
    }

    /// Ends the data session of a program whose interface is gone. Returns `false` when no program has
    /// a session of this id.
    pub(super) fn guest_lost(&mut self, id: u8, why: &str) -> bool {
        let lost = |session: &HeldSession| session.machine.id() == id && session.guest.is_some();
        let Some(index) = self.sessions.iter().position(lost) else {
            return false;
        };
        if let Some(guest) = &self.sessions[index].guest {
            guest.refuse(FailureKind::Host, why, "run the program again");
        }
        self.part_with(index, why);
        true
    }

    fn part_with(&mut self, index: usize, why: &str) {
        let session = self.sessions.remove(index);
        let id = session.machine.id();
        // The answers to its commands are of no interest any more.
        self.asked.retain(
            |_, asker| !matches!(asker, CommandOrigin::Session { id: of, .. } if *of == id),
        );
        if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
            reactor.remove_session(id);
        }
        if session.machine.may_be_active() && self.control_session.state() == State::Open {
            let command = session.machine.deactivation();
            if let Err(error) = start(&mut self.control_session, command, DISCONNECT_PATIENCE) {
                tracing::debug!("session {id} is not deactivated: {error}");
            }
        }
        self.shared.remove_session(id);
        drop(session);
        self.tell(Event::Session(SessionEvent {
            session: id,
            change: SessionChange::Offline {
                why: why.to_owned(),
                retry_seconds: None,
            },
        }));
    }

    /// Passes an event of a data session on to the program that the session is for.
    pub(super) fn tell_guest(&self, event: &SessionEvent) {
        let mut sessions = self.sessions.iter();
        let session = sessions.find(|session| session.machine.id() == event.session);
        if let Some(guest) = session.and_then(|session| session.guest.as_ref()) {
            guest.changed(&event.change);
        }
    }
}
