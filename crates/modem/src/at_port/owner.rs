//! The thread that owns the dialogue.
//!
//! The thread is in one of four states: *away* (there is no device), *trying* (an interface is open
//! and was sent `AT`), *resting* (no interface answered, and all are tried again soon), *open*.
//! Commands that come while it tries or rests wait at most [`PATIENCE`]; while it is away they fail
//! at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select_biased, unbounded};
use uwwan_at::dialogue::{Command, CommandId, Dialogue, Event};
use uwwan_at::failure::Failure as Refusal;
use uwwan_usb::device::Device;

use super::candidates::{self, Candidate};
use super::channel::{Channel, Incoming};
use super::{Answer, LONGEST_TIMEOUT, Line, Port};
use crate::failure::{Failure, FailureKind};
use crate::permissions;

/// Time an interface has to answer `AT` the first time.
const PROBE: Duration = Duration::from_millis(1500);
/// Time an interface has to answer `AT` once all were silent: firmware that has just started may
/// need it.
const PROBE_LATER: Duration = Duration::from_secs(4);
/// Pause before silent interfaces are tried again.
const REST: Duration = Duration::from_secs(1);
/// Time a command waits for a port that does not answer yet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// Largest number of waiting commands.
const MOST_WAITING: usize = 64;
/// Time that releasing the device may take.
const DETACH_PATIENCE: Duration = Duration::from_secs(20);

/// Callback for the answer to a command. It is called on the owner's thread and must not block.
pub(crate) type Reply = Box<dyn FnOnce(Result<Answer, Failure>) + Send>;
/// Callback for lines that belong to no command. It is called on the owner's thread and must not
/// block; `false` ends the subscription.
pub(crate) type Listener = Box<dyn FnMut(&Line) -> bool + Send>;

enum Order {
    Attach {
        device: Arc<dyn Device>,
        candidates: Vec<Candidate>,
    },
    Detach {
        done: Sender<()>,
    },
    Command {
        command: Command,
        reply: Reply,
        abandoned: Arc<AtomicBool>,
    },
    Listen(Listener),
    /// The network function has a response to an encapsulated command.
    ResponseAvailable,
}

/// State of the port as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum View {
    Away(String),
    Trying,
    Silent(String),
    /// Another program holds the interface that was tried last.
    Busy(String),
    Open(Port),
}

#[derive(Debug)]
struct SharedView {
    view: Mutex<View>,
    changed: Condvar,
}

impl SharedView {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, view: View) {
        *self.view() = view;
        self.changed.notify_all();
    }
}

/// Handle on a submitted command. Dropping it withdraws the command if it has not been sent.
#[derive(Debug)]
pub struct Ticket(Arc<AtomicBool>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// AT port of one modem. Clones are handles on the same port; its thread ends with the last one.
#[derive(Debug, Clone)]
pub struct AtPort {
    orders: Sender<Order>,
    shared: Arc<SharedView>,
}

impl AtPort {
    /// Starts the port's thread, without a device.
    ///
    /// # Errors
    /// The system's error when it refuses a thread.
    pub fn start() -> std::io::Result<Self> {
        let (orders, inbox) = unbounded();
        let shared = Arc::new(SharedView {
            view: Mutex::new(View::Away("the modem is not there yet".into())),
            changed: Condvar::new(),
        });
        let owner = Owner {
            inbox,
            shared: Arc::clone(&shared),
            phase: Phase::Away,
            dialogue: Dialogue::default(),
            waiting: VecDeque::new(),
            running: None,
            listeners: Vec::new(),
        };
        std::thread::Builder::new()
            .name("uwwan-at".into())
            .stack_size(512 * 1024)
            .spawn(move || owner.run())?;
        Ok(Self { orders, shared })
    }

    /// Gives the port a device, in the configuration that `candidates` belong to. They are tried in
    /// their order until one answers. Returns at once.
    pub fn attach(&self, device: Arc<dyn Device>, candidates: Vec<Candidate>) {
        let _ = self.orders.send(Order::Attach { device, candidates });
    }

    /// Takes the device away and waits, at most 20 s, until its interface is released.
    pub fn detach(&self) {
        let (done, released) = bounded(1);
        if self.orders.send(Order::Detach { done }).is_ok() {
            let _ = released.recv_timeout(DETACH_PATIENCE);
        }
    }

    /// Returns the interface that answers, if one does at present.
    #[must_use]
    pub fn port(&self) -> Option<Port> {
        match &*self.shared.view() {
            View::Open(port) => Some(port.clone()),
            _ => None,
        }
    }

    /// Waits until an interface answers and returns it.
    ///
    /// # Errors
    /// [`Failure`] of the kind `Missing` when there is no device, or `Timeout`, when none answers
    /// within `patience`.
    pub fn wait_open(&self, patience: Duration) -> Result<Port, Failure> {
        let deadline = Instant::now() + patience.min(LONGEST_TIMEOUT);
        let mut view = self.shared.view();
        loop {
            if let View::Open(port) = &*view {
                return Ok(port.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(match &*view {
                    View::Away(why) => super::away(why.clone()),
                    View::Silent(tried) | View::Busy(tried) => super::silent(tried.clone()),
                    _ => super::silent(format!("no answer within {} s", patience.as_secs())),
                });
            }
            view = self
                .shared
                .changed
                .wait_timeout(view, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Sends a command when those before it have been answered, and returns its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all; a refusal by the modem is in the [`Answer`].
    pub fn ask(&self, command: Command) -> Result<Answer, Failure> {
        let (sender, answer) = bounded(1);
        let _ticket = self.submit(
            command,
            Box::new(move |result| {
                let _ = sender.send(result);
            }),
        );
        answer
            .recv()
            .unwrap_or_else(|_| Err(super::away("the port's thread has ended")))
    }

    /// Submits a command without waiting: `reply` is called with the answer on the port's thread.
    pub(crate) fn submit(&self, command: Command, reply: Reply) -> Ticket {
        let abandoned = Arc::new(AtomicBool::new(false));
        let ticket = Ticket(Arc::clone(&abandoned));
        if let Some(why) = permissions::spoils(&command) {
            reply(Err(super::not_sent(why)));
            return ticket;
        }
        let order = Order::Command {
            command,
            reply,
            abandoned,
        };
        if let Err(error) = self.orders.send(order)
            && let Order::Command { reply, .. } = error.into_inner()
        {
            reply(Err(super::away("the port's thread has ended")));
        }
        ticket
    }

    /// Returns a channel of unsolicited result codes and NMEA sentences from here on. When 1024 of
    /// them wait, further ones are dropped.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<Line> {
        let (sender, lines) = bounded(1024);
        self.listen(Box::new(move |line| {
            !matches!(
                sender.try_send(line.clone()),
                Err(crossbeam_channel::TrySendError::Disconnected(_))
            )
        }));
        lines
    }

    /// Records that the network function has a response to an encapsulated command.
    pub(crate) fn response_available(&self) {
        // A device may announce responses without end while the owner waits for it to take a
        // command.
        if self.orders.len() < MOST_WAITING {
            let _ = self.orders.send(Order::ResponseAvailable);
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        let _ = self.orders.send(Order::Listen(listener));
    }
}

/// Interface in use.
struct Link {
    device: Arc<dyn Device>,
    candidates: Vec<Candidate>,
    /// Index of the interface among the candidates.
    index: usize,
    channel: Box<dyn Channel>,
}

enum Phase {
    Away,
    Trying {
        link: Link,
        probe: CommandId,
        since: Instant,
        later: bool,
    },
    Resting {
        device: Arc<dyn Device>,
        candidates: Vec<Candidate>,
        until: Instant,
        since: Instant,
    },
    Open(Link),
}

struct Waiting {
    command: Command,
    reply: Reply,
    abandoned: Arc<AtomicBool>,
    /// Time at which the command fails if the port does not answer yet.
    patience: Instant,
}

struct Owner {
    inbox: Receiver<Order>,
    shared: Arc<SharedView>,
    phase: Phase,
    dialogue: Dialogue,
    waiting: VecDeque<Waiting>,
    running: Option<(CommandId, Reply)>,
    listeners: Vec<Listener>,
}

impl Owner {
    fn run(mut self) {
        loop {
            self.work();
            let timeout = self.timeout();
            let incoming = match &self.phase {
                Phase::Trying { link, .. } | Phase::Open(link) => link.channel.incoming().clone(),
                _ => never(),
            };
            // Orders come first, because the device may send without end.
            select_biased! {
                recv(self.inbox) -> order => match order {
                    Ok(order) => self.order(order),
                    // The last handle on the port is gone.
                    Err(_) => return self.away("closed"),
                },
                recv(incoming) -> what => match what {
                    Ok(Incoming::Bytes(bytes)) => self.dialogue.receive(Instant::now(), &bytes),
                    Ok(Incoming::Lost(why)) => self.away(&why),
                    Err(_) => self.away("its reader has ended"),
                },
                default(timeout) => {}
            }
            let now = Instant::now();
            if self.dialogue.poll_timeout().is_some_and(|at| now >= at) {
                self.dialogue.handle_timeout(now);
            }
        }
    }

    fn timeout(&self) -> Duration {
        let rest = match &self.phase {
            Phase::Resting { until, .. } => Some(*until),
            _ => None,
        };
        let patience = match &self.phase {
            Phase::Open(_) => None,
            _ => self.waiting.iter().map(|waiting| waiting.patience).min(),
        };
        [self.dialogue.poll_timeout(), rest, patience]
            .into_iter()
            .flatten()
            .min()
            .map_or(Duration::from_secs(3600), |at| {
                at.saturating_duration_since(Instant::now())
            })
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Attach { device, candidates } => {
                self.away("another device takes its place");
                self.look(device, candidates, Instant::now());
            }
            Order::Detach { done } => {
                self.away("the modem is being brought up or has left the bus");
                let _ = done.send(());
            }
            Order::Listen(listener) => self.listeners.push(listener),
            Order::ResponseAvailable => {
                if let Phase::Trying { link, .. } | Phase::Open(link) = &self.phase {
                    link.channel.response_available();
                }
            }
            Order::Command {
                command,
                reply,
                abandoned,
            } => {
                let view = self.shared.view().clone();
                if let View::Away(why) = view {
                    return reply(Err(super::away(why)));
                }
                if self.waiting.len() >= MOST_WAITING {
                    return reply(Err(super::full()));
                }
                self.waiting.push_back(Waiting {
                    command,
                    reply,
                    abandoned,
                    patience: Instant::now() + PATIENCE,
                });
            }
        }
    }

    /// Carries out every step that can be done without waiting.
    fn work(&mut self) {
        loop {
            self.begin_next();
            while let Some(bytes) = self.dialogue.poll_transmit() {
                let sent = match &mut self.phase {
                    Phase::Trying { link, .. } | Phase::Open(link) => link.channel.send(&bytes),
                    _ => Ok(()),
                };
                if let Err(why) = sent {
                    if matches!(self.phase, Phase::Trying { .. }) {
                        self.next_candidate();
                    } else {
                        self.away(&why);
                    }
                }
            }
            let Some(event) = self.dialogue.poll_event() else {
                break;
            };
            self.event(event);
        }
        let now = Instant::now();
        if !matches!(self.phase, Phase::Open(_)) {
            self.give_up_on_the_impatient(now);
        }
        if let Phase::Resting { until, .. } = &self.phase
            && now >= *until
            && let Phase::Resting {
                device,
                candidates,
                since,
                ..
            } = std::mem::replace(&mut self.phase, Phase::Away)
        {
            self.attempt(device, candidates, 0, since, true);
            self.work();
        }
    }

    fn begin_next(&mut self) {
        while matches!(self.phase, Phase::Open(_)) && self.running.is_none() {
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            if next.abandoned.load(Ordering::Relaxed) {
                continue;
            }
            match self.dialogue.command(Instant::now(), next.command) {
                Ok(id) => self.running = Some((id, next.reply)),
                Err(_) => (next.reply)(Err(super::full())),
            }
        }
    }

    fn give_up_on_the_impatient(&mut self, now: Instant) {
        while let Some(at) = self
            .waiting
            .iter()
            .position(|waiting| waiting.patience <= now)
        {
            let tried = match &*self.shared.view() {
                View::Silent(tried) | View::Busy(tried) => tried.clone(),
                _ => format!("no answer within {} s", PATIENCE.as_secs()),
            };
            if let Some(waiting) = self.waiting.remove(at) {
                (waiting.reply)(Err(super::silent(tried)));
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Done(done) => {
                if let Phase::Trying { probe, .. } = &self.phase
                    && *probe == done.id
                {
                    return match done.result {
                        Err(Refusal::Timeout(_)) => self.next_candidate(),
                        // Any other answer shows that the interface speaks AT.
                        _ => self.opened(),
                    };
                }
                match self.running.take() {
                    Some((id, reply)) if id == done.id => reply(Ok(Answer {
                        command: done.command,
                        lines: done.lines,
                        truncated: done.truncated,
                        result: done.result,
                    })),
                    other => self.running = other,
                }
            }
            Event::Unsolicited(line) => self.tell(&Line::Unsolicited(line)),
            Event::Nmea(line) => self.tell(&Line::Nmea(line)),
        }
    }

    fn tell(&mut self, line: &Line) {
        self.listeners.retain_mut(|listener| listener(line));
    }

    fn look(&mut self, device: Arc<dyn Device>, candidates: Vec<Candidate>, since: Instant) {
        if candidates.is_empty() {
            let why = format!("{} has no AT port in this configuration", device.identity());
            return self.shared.show(View::Away(why));
        }
        self.shared.show(View::Trying);
        self.attempt(device, candidates, 0, since, false);
    }

    /// Opens the candidate at index `from`, or the first after it that can be opened, and sends it
    /// `AT`. The owner rests when none can be opened.
    fn attempt(
        &mut self,
        device: Arc<dyn Device>,
        candidates: Vec<Candidate>,
        from: usize,
        since: Instant,
        later: bool,
    ) {
        for index in from..candidates.len() {
            let opened = candidates::open(&device, &candidates[index]).and_then(|mut channel| {
                // A carriage return ends a line that an earlier program may have left half written.
                channel.send(b"\r").map_err(super::system)?;
                Ok(channel)
            });
            let channel = match opened {
                Ok(channel) => channel,
                Err(failure) if failure.kind == FailureKind::Gone => {
                    return self.away("the device is gone");
                }
                Err(error) => {
                    tracing::debug!("AT port: {}", error.one_line());
                    let why = error.why.join(": ");
                    self.shared.show(match error.kind {
                        FailureKind::Busy => View::Busy(why),
                        _ => View::Silent(why),
                    });
                    continue;
                }
            };
            self.dialogue = Dialogue::default();
            let time = if later { PROBE_LATER } else { PROBE };
            let probe = Command::new("AT").map(|command| command.with_timeout(time));
            let Ok(Ok(probe)) = probe.map(|probe| self.dialogue.command(Instant::now(), probe))
            else {
                continue;
            };
            self.phase = Phase::Trying {
                link: Link {
                    device,
                    candidates,
                    index,
                    channel,
                },
                probe,
                since,
                later,
            };
            return;
        }
        let seconds = since.elapsed().as_secs();
        let busy = match &*self.shared.view() {
            View::Busy(why) => Some(why.clone()),
            _ => None,
        };
        let names: Vec<String> = candidates
            .iter()
            .map(|candidate| candidate.interface().to_string())
            .collect();
        let tried = busy.unwrap_or_else(|| {
            format!(
                "interface {} of {} did not answer AT for {seconds} s",
                names.join(" and "),
                device.identity()
            )
        });
        self.shared.show(View::Silent(tried));
        self.phase = Phase::Resting {
            device,
            candidates,
            until: Instant::now() + REST,
            since,
        };
    }

    fn next_candidate(&mut self) {
        if let Phase::Trying {
            link, since, later, ..
        } = std::mem::replace(&mut self.phase, Phase::Away)
        {
            let Link {
                device,
                candidates,
                index,
                channel,
            } = link;
            drop(channel);
            self.attempt(device, candidates, index + 1, since, later);
        }
    }

    fn opened(&mut self) {
        if let Phase::Trying { link, .. } = std::mem::replace(&mut self.phase, Phase::Away) {
            let candidate = &link.candidates[link.index];
            let port = Port {
                device: link.device.identity().to_string(),
                configuration: candidate.configuration(),
                interface: candidate.interface(),
                role: candidate.role(),
            };
            tracing::debug!("AT port: {port}");
            self.shared.show(View::Open(port));
            self.phase = Phase::Open(link);
        }
    }

    /// Releases the device and fails all commands.
    fn away(&mut self, why: &str) {
        self.phase = Phase::Away;
        self.dialogue = Dialogue::default();
        self.shared.show(View::Away(why.to_owned()));
        if let Some((_, reply)) = self.running.take() {
            reply(Err(super::lost(why)));
        }
        for waiting in self.waiting.drain(..) {
            (waiting.reply)(Err(super::away(why)));
        }
    }
}
