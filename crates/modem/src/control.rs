//! The control thread owns the device and the control session, climbs the ladder, and serves the
//! program.
//!
//! All events arrive in one inbox: reports of the data thread (notifications, endpoint halts,
//! losses) and orders of the program (stop, commands). Between messages the thread sleeps until the
//! ladder, the control session, a data session or a retry has something due. Control requests are
//! made on this thread, one at a time, each bounded by its own timeout, so that nothing blocks it
//! for good.

mod device;
mod dialled;
mod ending;
mod foreign_sessions;
mod found;
mod heal;
mod healing;
mod held;
mod joining;
mod link;
mod mbim;
mod pins;
mod raw;
mod raw_senders;
mod sessions;
mod telling;
mod usb;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use uwwan_mbim::session::{
    Command, CommandError, ControlSession, ReadError, TransactionId, Transmit,
};
use uwwan_usb::device::Backend;
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::requests;

use crate::askers::{Askers, Message, Request, Ticket};
use crate::datapath::{Fault, Report};
use crate::diagnosis::{Diagnosis, DiagnosisKind};
use crate::event::Event;
use crate::explain;
use crate::failure::{Failure, Rung, TRIED_AGAIN};
use crate::host::HostProvider;
use crate::ladder::{Action, Ask, Input, Ladder, Outcome};
use crate::options::Options;
use crate::pin_memory::PinMemory;
use crate::quirks::Quirk;
use crate::selector::Selector;
use crate::session::SessionAsk;
use crate::shared::Shared;
use crate::state_file::StateFile;
use crate::supervisor::{Supervisor, Verdict};

pub(crate) use device::{ethernet_acceptable, look};
use foreign_sessions::ForeignSessions;
use healing::Healing;
use held::HeldSession;
use raw_senders::RawSenders;

/// Origin of a command. The answer goes there.
enum CommandOrigin {
    Ladder(Ask),
    Session {
        id: u8,
        ask: SessionAsk,
    },
    Program {
        asker: u64,
        ticket: Ticket,
        /// MBIM session id that the command may activate.
        connects: Option<u32>,
    },
}

/// Rung that is being climbed.
struct Climbing {
    rung: Rung,
    begun: Instant,
    /// Whether the rung itself has reported what it waits for.
    waits: bool,
}

/// State of the control thread.
pub(crate) struct Control {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) selector: Selector,
    pub(crate) options: Options,
    pub(crate) provider: Box<dyn HostProvider>,
    pub(crate) observer: Box<dyn FnMut(Event) + Send>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Receiver<Message>,
    pub(crate) outbox: Sender<Message>,

    ladder: Ladder,
    supervisor: Supervisor,
    /// Memory of PINs over runs, if there is a place for it.
    pins: Option<StateFile<PinMemory>>,
    /// Time of the next climb and the rung it begins from.
    retry: Option<(Instant, Rung)>,
    /// Time by which session 0 must be online for the first time.
    online_by: Option<Instant>,
    /// Rung that is being climbed.
    climbing: Option<Climbing>,
    /// Whether the device was absent when the bus was searched last. Its absence is reported once.
    absent: bool,
    /// Port of the device that was found first. The device is looked for there again.
    port: Option<String>,

    quirk: &'static Quirk,
    device: Option<device::Held>,
    /// The state in which the device was found first.
    as_found: Option<found::AsFound>,
    control_session: ControlSession,
    asked: HashMap<TransactionId, CommandOrigin>,
    askers: Askers,
    control_buffer: Vec<u8>,
    /// Whether a plain network device may be driven, because one was selected.
    ethernet_acceptable: bool,
    /// Whether more control transfers are wanted at once.
    busy: bool,
    /// Programs that have sent control messages as they are, and are told of the answers.
    raw_senders: RawSenders,
    /// Data sessions, session 0 first, those of other programs last.
    sessions: Vec<HeldSession>,
    /// Data sessions that other programs have activated by commands of their own.
    foreign_sessions: ForeignSessions,
    healing: Healing,
    finished: Option<Result<(), Failure>>,
}

/// Number of control transfers made in a row before everything else has its turn.
const MOST_TRANSFERS: u32 = 256;

impl Control {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        top: Rung,
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        provider: Box<dyn HostProvider>,
        observer: Box<dyn FnMut(Event) + Send>,
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
        outbox: Sender<Message>,
    ) -> Self {
        let now = Instant::now();
        let mut sessions: Vec<_> = options
            .sessions
            .iter()
            .map(|session| HeldSession::new(session, shared.session_counters(session.id), now))
            .collect();
        // Session 0 comes first, because the others follow it.
        sessions.sort_by_key(|session| session.machine.id());
        let mut ladder = Ladder::new(options.clone(), selector.to_string(), now);
        ladder.up_to(top);
        Self {
            ethernet_acceptable: ethernet_acceptable(&selector, top),
            supervisor: Supervisor::new(&options),
            pins: None,
            backend,
            selector,
            options,
            provider,
            observer,
            shared,
            inbox,
            outbox,
            ladder,
            retry: None,
            online_by: None,
            climbing: None,
            absent: false,
            port: None,
            quirk: &crate::quirks::DEFAULT,
            device: None,
            as_found: None,
            control_session: ControlSession::new(uwwan_mbim::session::Config::default()),
            asked: HashMap::new(),
            foreign_sessions: ForeignSessions::default(),
            askers: Askers::default(),
            control_buffer: Vec::new(),
            busy: false,
            raw_senders: RawSenders::default(),
            sessions,
            healing: Healing::new(now),
            finished: None,
        }
    }

    /// Runs until the modem is stopped or fails for good.
    pub(crate) fn run(mut self) {
        self.recall();
        self.online_by = self.options.timeout.map(|time| Instant::now() + time);
        self.begin(Rung::Found);
        while self.finished.is_none() {
            self.work();
            if self.stop_asked() {
                self.finished = Some(Ok(()));
            }
            if self.finished.is_none() {
                self.wait();
            }
        }
        self.shut_down();
        let end = self.finished.take().unwrap_or(Ok(()));
        self.publish();
        let failure = end.as_ref().err().cloned();
        self.tell(Event::Stopped { failure });
        self.shared.end(end);
    }

    fn begin(&mut self, from: Rung) {
        if from <= Rung::Open {
            self.shared.update(|status| {
                status.rungs.clear();
                status.attempts += u32::from(!self.absent);
                status.diagnosed.clear();
            });
        }
        self.ladder.start(Instant::now(), from);
    }

    fn stop_asked(&self) -> bool {
        self.shared.stops.load(Ordering::Relaxed) > 0
    }

    /// Carries out every step that can be done without waiting.
    fn work(&mut self) {
        let mut transfers = 0;
        loop {
            if self.stop_asked() || self.finished.is_some() {
                return;
            }
            let mut idle = true;
            if let Some(action) = self.ladder.next_action() {
                idle = false;
                self.perform(action);
            }
            idle &= !self.work_sessions();
            idle &= !self.work_healing();
            if self.transfer() {
                idle = false;
                transfers += 1;
            }
            while let Some(event) = self.control_session.poll_event() {
                idle = false;
                self.session_event(event);
            }
            // A device that always has one more message must not delay what is due.
            self.busy = !idle && transfers >= MOST_TRANSFERS;
            if idle || self.busy {
                break;
            }
        }
        self.publish();
    }

    /// Sleeps until a message comes or something is due, and handles it.
    fn wait(&mut self) {
        let now = Instant::now();
        let due = [
            self.busy.then_some(now),
            self.ladder.poll_timeout(),
            self.control_session.poll_timeout(),
            self.retry.map(|(at, _)| at),
            self.online_by,
            self.session_deadline(),
            self.healing.machine.poll_timeout(),
            self.raw_senders.poll_timeout(),
        ];
        let timeout = due
            .into_iter()
            .flatten()
            .min()
            .map_or(Duration::from_secs(60), |at| {
                at.saturating_duration_since(now)
            });
        match self.inbox.recv_timeout(timeout) {
            Ok(message) => {
                self.take(message);
                // A storm of messages must not delay what is due.
                for _ in 0..64 {
                    match self.inbox.try_recv() {
                        Ok(message) => self.take(message),
                        Err(_) => break,
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.finished = Some(Ok(())),
        }
        let now = Instant::now();
        self.control_session_timeout(now);
        if self.ladder.poll_timeout().is_some_and(|at| now >= at) {
            self.ladder.timeout(now);
        }
        self.session_timeouts();
        self.drop_expired_raw_senders(now);
        let healer = &mut self.healing.machine;
        if healer.poll_timeout().is_some_and(|at| now >= at) {
            healer.timeout(now);
        }
        if self.online_by.is_some_and(|at| now >= at) {
            self.give_up();
        }
        if let Some((at, from)) = self.retry
            && now >= at
        {
            self.retry = None;
            self.begin(from);
        }
    }

    /// Lets the control session do what is due.
    fn control_session_timeout(&mut self, now: Instant) {
        if self
            .control_session
            .poll_timeout()
            .is_some_and(|at| now >= at)
        {
            self.control_session.handle_timeout(now);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Stop => {}
            Message::Dialled(fragment) => self.dialled_told(fragment),
            Message::Call(call) => call(),
            Message::Choose(options, done) => self.choose_layout(&options, done),
            Message::HostChanged => self.attend_hosts(),
            Message::Report(report) => self.report(report),
            Message::Attach(sender) => self.askers.attach(sender),
            Message::Join(joining) => self.join(*joining),
            Message::Leave(guest) => self.leave(guest),
            Message::Raw(raw) => self.send_raw(raw),
            Message::Ask { asker, request } => self.request(asker, request),
        }
    }

    /// Takes a notification of the function, which speaks of its link or of the control session.
    fn notification(&mut self, now: Instant, bytes: &[u8]) {
        self.shared.notifications.fetch_sub(1, Ordering::Relaxed);
        if self.carries_frames() {
            self.link_notification(bytes);
        } else {
            self.notified(now, bytes);
        }
    }

    /// Passes a notification to the control session, and reports first whether any were dropped.
    fn notified(&mut self, now: Instant, bytes: &[u8]) {
        if self
            .shared
            .notifications_missed
            .swap(false, Ordering::Relaxed)
        {
            self.control_session.handle_missed_notifications();
        }
        self.control_session.handle_notification(now, bytes);
    }

    fn report(&mut self, report: Report) {
        let now = Instant::now();
        match report {
            Report::Notification(bytes) => {
                self.notification(now, &bytes);
            }
            Report::Halted(endpoint) => self.clear_halt(endpoint),
            Report::ShortOfMemory => self.receive_less(),
            Report::Running(running) => {
                if let Some(held) = self.device.as_mut().filter(|held| held.data_running) {
                    held.running = Some(running);
                }
            }
            Report::DataLost(fault) => {
                if let Some(held) = self.device.as_mut() {
                    held.data_running = false;
                }
                match fault {
                    Fault::Host(_) => self.host_lost(0, &fault.to_string()),
                    _ => self.lost(Rung::Found, fault.to_string()),
                }
            }
            Report::Ended(fault) => self.lost(Rung::Found, fault.to_string()),
            Report::EmptyHeaders if self.heals() => self.healing.empty_headers(),
            Report::Probed(identity) => self.healing.machine.answered(now, identity),
            Report::HostAnswered(0) => self.healing.machine.host_answered(now),
            Report::HostAnswered(_) => {}
            Report::EmptyHeaders => self.tell(Event::Diagnosis(Diagnosis::new(
                DiagnosisKind::OtherNtbFormat,
                "NTBs come with empty headers: this firmware needs the other NTB format; try `--ntb 32`",
            ))),
            Report::Verdict(session, verdict) => self.session_judged(session, verdict),
            Report::Link(session, datagram) => self.session_link(session, &datagram),
            Report::SessionLost(session, fault) => self.host_lost(session, &fault.to_string()),
        }
    }

    /// Ends a bring-up that was not online in time.
    fn give_up(&mut self) {
        self.online_by = None;
        let waited = self.options.timeout.unwrap_or_default().as_secs();
        let (rung, why) = self
            .shared
            .with(|status| (status.trying, status.why.clone()));
        let text = format!("not online in {waited} s");
        let next = "give it more time with --timeout";
        let rung = rung.unwrap_or(Rung::Found);
        let failure = explain::failure(rung, false, text, &why, next);
        self.finished = Some(Err(self.ladder.explained_by_lock(failure)));
    }

    /// Tells the ladder that the modem was lost down to the rung `from`.
    fn lost(&mut self, from: Rung, why: String) {
        if let Some((_, again)) = self.retry.as_mut() {
            // The ladder waits after a failure; the next climb begins lower.
            *again = from.min(*again);
            if from <= Rung::Open {
                self.tear_down(false);
            }
            return;
        }
        self.ladder
            .handle(Instant::now(), Input::Lost { from, why });
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Usb(step) => {
                let result = self.usb_step(step);
                self.input(Input::Usb(result));
            }
            Action::OpenSession { patience } => {
                let what = match self.is_dialled() {
                    true => "an interface of the modem to answer AT",
                    false => "the modem to answer OPEN",
                };
                self.expect(what, patience);
                self.open_session(patience);
            }
            Action::Command {
                ask,
                command,
                timeout,
            } => {
                self.expect(&format!("the answer to {}", ask.name()), timeout);
                if ask == Ask::PinEnter {
                    // A client's operation was allowed by the attempts that remained before.
                    self.shared.basis_changed();
                }
                self.ask(ask, command, timeout);
            }
            Action::Climbed(from) => {
                if self.heal_firmware() {
                    self.start_sessions(true, from);
                }
            }
            Action::Remember(pins) => self.remember(pins),
            Action::Tell(event) => self.tell(event),
            Action::Failed {
                failure,
                from,
                after,
            } => self.failed(failure, from, after),
            Action::Lost { from, why } => {
                self.healing.machine.interrupted();
                self.rest_sessions(from <= Rung::PacketService, &why);
                if from <= Rung::Open {
                    self.tear_down(false);
                }
                self.tell(Event::Lost {
                    rung: from,
                    why: why.clone(),
                });
                match self.supervisor.lost(from) {
                    Verdict::Retry { after, from } => {
                        self.retry = Some((Instant::now() + after, from));
                    }
                    Verdict::GiveUp => {
                        let failure = explain::failure(
                            from,
                            false,
                            why,
                            &format!(
                                "the modem has left the bus in each of {} bring-ups",
                                Supervisor::FIRST_TRIES
                            ),
                            "try another USB port or a powered hub; --persist keeps trying",
                        );
                        self.finished = Some(Err(failure));
                    }
                }
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.ladder.handle(Instant::now(), input);
    }

    fn failed(&mut self, failure: Failure, from: Rung, after: Duration) {
        let absent = failure.rung() == Some(Rung::Found) && self.absent;
        let verdict = self.supervisor.failed(&failure, from, absent);
        let said = absent
            && self
                .shared
                .with(|status| status.failure.as_ref() == Some(&failure));
        let retry = match verdict {
            Verdict::Retry { after, from } => {
                if from == Rung::Found {
                    self.tear_down(true);
                }
                self.retry = Some((Instant::now() + after, from));
                Some(after)
            }
            Verdict::GiveUp => None,
        };
        let failure = match absent && retry.is_none() && self.supervisor.is_away() {
            true => failure.because(format!(
                "it left during the bring-up, and was looked for for {} s",
                Supervisor::RETURN.as_secs()
            )),
            false => failure,
        };
        // Only the control thread knows whether the rung is tried again.
        let failure = failure.or_next(match retry {
            Some(_) => TRIED_AGAIN,
            None => "try again in a while; --persist keeps trying",
        });
        if retry.is_none() {
            self.finished = Some(Err(failure.clone()));
        }
        if !said {
            self.tell(Event::RungFailed {
                failure,
                seconds: after.as_secs_f64(),
                retry_seconds: retry.map(|retry| retry.as_secs_f64()),
            });
        }
    }

    /// Returns whether the device carries Ethernet frames.
    fn carries_frames(&self) -> bool {
        self.is_ethernet() || self.is_dialled()
    }

    /// Returns whether the host interface carries Ethernet frames.
    fn gives_frames(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|held| held.function.gives_frames())
    }

    /// Returns whether the device is dialled by AT commands.
    fn is_dialled(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|held| held.function.dialled().is_some())
    }

    fn is_ethernet(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|held| held.function.is_ethernet())
    }

    /// Carries out a request of an asker.
    fn request(&mut self, asker: u64, request: Request) {
        match request {
            Request::Send {
                ticket,
                command,
                timeout,
                judged,
            } => {
                if judged.is_some_and(|age| age != self.shared.basis_age()) {
                    return self.askers.overtaken(asker, ticket, command);
                }
                let connects = foreign_sessions::connects(&command);
                match start(&mut self.control_session, command, timeout) {
                    Ok(id) => {
                        let program = CommandOrigin::Program {
                            asker,
                            ticket,
                            connects,
                        };
                        self.asked.insert(id, program);
                    }
                    Err(error) => self.askers.answer(asker, ticket, Err(error)),
                }
            }
            Request::Withdraw(ticket) => self.withdraw(asker, ticket),
        }
    }

    fn ask(&mut self, ask: Ask, command: Command, timeout: Duration) {
        match start(&mut self.control_session, command, timeout) {
            Ok(id) => {
                self.asked.insert(id, CommandOrigin::Ladder(ask));
            }
            Err(error) => {
                let outcome = Outcome::Refused(error.to_string());
                self.input(Input::Answer(ask, outcome));
            }
        }
    }

    /// Makes one control transfer that the control session wants. Returns `false` when it wants
    /// none.
    fn transfer(&mut self) -> bool {
        let Some(held) = &self.device else {
            return false;
        };
        let device = std::sync::Arc::clone(&held.device);
        let control = held.function.control_interface;
        let dialled = held.function.dialled().is_some();
        let Some(transmit) = self.control_session.poll_transmit(Instant::now()) else {
            return false;
        };
        if dialled {
            self.transfer_dialled(transmit);
            return true;
        }
        let gone = match transmit {
            Transmit::SendEncapsulated(bytes) => {
                match requests::send_encapsulated(&*device, control, &bytes) {
                    Ok(()) => false,
                    Err(UsbError::Gone { .. }) => true,
                    Err(error) => {
                        self.control_session
                            .handle_send_error(Instant::now(), &error.to_string());
                        false
                    }
                }
            }
            Transmit::GetEncapsulated => {
                match requests::get_encapsulated(&*device, control, &mut self.control_buffer) {
                    Ok(length) => {
                        let length = length.min(self.control_buffer.len());
                        self.pass_to_raw_senders(length);
                        self.control_session
                            .handle_response(Instant::now(), &self.control_buffer[..length]);
                        false
                    }
                    Err(UsbError::Gone { .. }) => true,
                    Err(UsbError::Stall { .. }) => {
                        self.control_session
                            .handle_read_error(Instant::now(), &ReadError::Stall);
                        false
                    }
                    Err(error) => {
                        let error = ReadError::Other(error.to_string());
                        self.control_session
                            .handle_read_error(Instant::now(), &error);
                        false
                    }
                }
            }
        };
        if gone {
            self.control_session.handle_lost("the device is gone");
        }
        true
    }
}

/// Starts a transaction. The log gets the name of the command and never its content, which may hold
/// a PIN or a password.
///
/// # Errors
///
/// As [`ControlSession::command`].
pub(super) fn start(
    session: &mut ControlSession,
    command: Command,
    timeout: Duration,
) -> Result<TransactionId, CommandError> {
    let (id, kind, length) = (command.id, command.kind, command.info.len());
    let transaction = session.command(Instant::now(), command, timeout)?;
    tracing::trace!("transaction {}: {id} {kind}, {length} bytes", transaction.0);
    Ok(transaction)
}
