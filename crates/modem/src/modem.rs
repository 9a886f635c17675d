//! Starting a modem, and the handle on it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use uwwan_usb::device::Backend;

use crate::askers::Asker;
use crate::at_port::AtPort;
use crate::control::{Control, Message, ethernet_acceptable, look};
use crate::counters::{Counters, SessionCounters};
use crate::event::Event;
use crate::explain;
use crate::failure::{Failure, FailureKind, Rung};
use crate::host::HostProvider;
use crate::options::Options;
use crate::poll::Waker;
use crate::selector::Selector;
use crate::status::Status;

/// A modem under this driver's care.
pub struct Modem;

impl Modem {
    /// Starts to bring up the selected modem and keeps it up until [`Handle::stop`].
    ///
    /// `observer` is called from the modem's control thread, in order, and must not block.
    ///
    /// # Errors
    /// [`Failure`] when options make no sense or, unless [`Options::wait_for_device`], the
    /// device is not there. Everything later comes as [`Event`]s and from [`Handle::wait`].
    pub fn start(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        host: Box<dyn HostProvider>,
        observer: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Handle, Failure> {
        Self::start_up_to(Rung::Online, backend, selector, options, host, observer)
    }

    /// As [`Modem::start`], but climbs no higher than `top`.
    pub(crate) fn start_up_to(
        top: Rung,
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        host: Box<dyn HostProvider>,
        observer: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Handle, Failure> {
        check(&options)?;
        if !options.wait_for_device {
            let found = look(
                &*backend,
                &selector,
                None,
                ethernet_acceptable(&selector, top),
            )
            .map_err(|(failure, _)| failure)?;
            // Opened for real by the control thread; this tells a missing right at once.
            drop(
                backend
                    .open(&found)
                    .map_err(|error| explain::usb(Rung::Found, &error))?,
            );
        }
        let (outbox, inbox) = unbounded();
        let system =
            |error: std::io::Error| Failure::new(FailureKind::Host, "cannot start").because(error);
        let at = match top {
            Rung::Online if options.at_port => Some(AtPort::start().map_err(system)?),
            _ => None,
        };
        let shared = Arc::new(Shared::new(outbox.clone(), at, &options));
        let control = Control::new(
            top,
            backend,
            selector,
            options,
            host,
            observer,
            Arc::clone(&shared),
            inbox,
            outbox,
        );
        std::thread::Builder::new()
            .name("uwwan-control".into())
            .spawn(move || {
                let _end = EndForSure(Arc::clone(&control.shared));
                control.run();
            })
            .map_err(system)?;
        Ok(Handle { shared })
    }
}

/// Lets nobody wait for ever for a thread that has died.
struct EndForSure(Arc<Shared>);

impl Drop for EndForSure {
    fn drop(&mut self) {
        if locked(&self.0.end).is_none() {
            let failure = explain::failure(
                Rung::Found,
                true,
                "the control thread has died".into(),
                "an error in uwwan",
                "report it with the log",
            )
            .of(FailureKind::Host);
            self.0.end(Err(failure));
        }
    }
}

fn check(options: &Options) -> Result<(), Failure> {
    let refuse = |option: &str, why: String| {
        Err(Failure::new(FailureKind::Usage, "an option makes no sense")
            .at(format!("--{option}"))
            .because(why))
    };
    if let Some(mtu) = options.mtu
        && !(576..=9000).contains(&mtu)
    {
        return refuse("mtu", format!("{mtu} is not from 576 to 9000"));
    }
    if let Some(depth) = options.in_flight
        && !(1..=256).contains(&depth)
    {
        return refuse("in-flight", format!("{depth} is not from 1 to 256"));
    }
    if options.max_datagrams == Some(0) {
        return refuse("max-datagrams", "0 is not from 1 to 65535".into());
    }
    for (option, size) in [
        ("block-size", options.block_size),
        ("input-size", options.input_size),
    ] {
        if let Some(size) = size
            && !(2048..=262_144).contains(&size)
        {
            return refuse(option, format!("{size} is not from 2048 to 262144"));
        }
    }
    if options.apn.encode_utf16().count() > 100 {
        return refuse("apn", "it is longer than 100 characters".into());
    }
    let mut seen = vec![0];
    for session in &options.sessions {
        let id = session.id;
        if seen.contains(&id) {
            let why = match id {
                0 => "session 0 is the one the other options are for".into(),
                id => format!("session {id} is given twice"),
            };
            return refuse("session", why);
        }
        seen.push(id);
        if session.apn.encode_utf16().count() > 100 {
            return refuse(
                "session",
                format!("{id}: the APN is longer than 100 characters"),
            );
        }
        if session.mtu.is_some_and(|mtu| !(576..=9000).contains(&mtu)) {
            return refuse("session", format!("{id}: the MTU is not from 576 to 9000"));
        }
    }
    let given = &options.static_addresses;
    let addresses = given.addresses.iter().map(|prefix| prefix.address);
    let lists: [(_, Vec<_>); 2] = [
        ("address", addresses.collect()),
        ("gateway", given.gateways.clone()),
    ];
    for (option, list) in lists {
        let v4 = list.iter().filter(|address| address.is_ipv4()).count();
        if v4 > 1 || list.len() - v4 > 1 {
            return refuse(option, "one of each family is taken".into());
        }
    }
    if !options.pin.is_empty() {
        let pin = options.pin.reveal();
        if !(4..=8).contains(&pin.len()) || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return refuse(
                "pin-file",
                "a PIN has 4 to 8 digits and nothing else".into(),
            );
        }
    }
    Ok(())
}

/// A handle on a running modem. Clones are handles on the same one; dropping them all does not
/// stop it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What handles and threads share.
pub(crate) struct Shared {
    state: Mutex<State>,
    end: Mutex<Option<Result<(), Failure>>>,
    changed: Condvar,
    pub(crate) counters: Arc<Counters>,
    /// Notifications on their way to the control thread.
    pub(crate) notifications: AtomicU32,
    /// Some were dropped because too many were on their way.
    pub(crate) notifications_missed: AtomicBool,
    /// Stops asked for; the second one is impatient.
    pub(crate) stops: AtomicU32,
    /// The AT port, if it is to be owned.
    pub(crate) at: Option<AtPort>,
    /// What the data sessions carry, by their numbers.
    session_counters: Vec<(u8, Arc<SessionCounters>)>,
    outbox: Sender<Message>,
}

struct State {
    status: Status,
    since: Instant,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(outbox: Sender<Message>, at: Option<AtPort>, options: &Options) -> Self {
        let further = options.sessions.iter().map(|session| session.id);
        let ids = std::iter::once(0).chain(further);
        Self {
            state: Mutex::new(State {
                status: Status::default(),
                since: Instant::now(),
            }),
            end: Mutex::new(None),
            changed: Condvar::new(),
            counters: Arc::default(),
            notifications: AtomicU32::new(0),
            notifications_missed: AtomicBool::new(false),
            stops: AtomicU32::new(0),
            at,
            session_counters: ids.map(|id| (id, Arc::default())).collect(),
            outbox,
        }
    }

    /// The counters of a data session.
    pub(crate) fn session_counters(&self, session: u8) -> Arc<SessionCounters> {
        let mut counters = self.session_counters.iter();
        let found = counters.find(|(id, _)| *id == session);
        found
            .map(|(_, found)| Arc::clone(found))
            .unwrap_or_default()
    }

    /// Looks at the status.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Status) -> T) -> T {
        look(&locked(&self.state).status)
    }

    /// Adds to what is known.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Status)) {
        update(&mut locked(&self.state).status);
    }

    /// Changes the state itself: "since" begins anew when rung, online or reason change.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut state = locked(&self.state);
        let key = |status: &Status| {
            (
                status.rung,
                status.trying,
                status.online,
                status.why.clone(),
            )
        };
        let before = key(&state.status);
        change(&mut state.status);
        if key(&state.status) != before {
            state.since = Instant::now();
        }
        drop(state);
        // Whoever waits takes this lock; without it the news could come between look and sleep.
        drop(locked(&self.end));
        self.changed.notify_all();
    }

    pub(crate) fn end(&self, result: Result<(), Failure>) {
        *locked(&self.end) = Some(result);
        self.changed.notify_all();
    }
}

impl Handle {
    /// The state as it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = locked(&self.shared.state);
        let mut status = Status {
            since_seconds: state.since.elapsed().as_secs_f64(),
            traffic: self.shared.counters.snapshot().traffic(),
            ..state.status.clone()
        };
        drop(state);
        for session in &mut status.sessions {
            let counters = self.shared.session_counters(session.session);
            (session.uplink, session.downlink) = counters.directions();
        }
        status
    }

    /// The data sessions this driver holds, by their numbers.
    #[must_use]
    pub fn sessions(&self) -> Vec<u8> {
        let counters = self.shared.session_counters.iter();
        counters.map(|(session, _)| *session).collect()
    }

    /// Asks for a clean stop and returns at once; [`Handle::wait`] tells when it is done. Asking
    /// again skips the waits for the device's answers.
    pub fn stop(&self) {
        self.shared.stops.fetch_add(1, Ordering::Relaxed);
        let _ = self.shared.outbox.send(Message::Stop);
    }

    /// An asker on the control session. `waker` is woken whenever there is something for it.
    pub(crate) fn asker(&self, waker: Option<Waker>) -> Asker {
        let outbox = self.shared.outbox.clone();
        let (asker, sender) = Asker::new(
            Box::new(move |asker, request| outbox.send(Message::Ask { asker, request }).is_ok()),
            waker,
        );
        // When the control thread has ended, the dropped sender says so.
        let _ = self.shared.outbox.send(Message::Attach(sender));
        asker
    }

    /// The AT port, unless [`Options::at_port`] leaves it alone. It stays the same over losses of
    /// the modem.
    #[must_use]
    pub fn at_port(&self) -> Option<AtPort> {
        self.shared.at.clone()
    }

    /// Waits for the end. `Ok` after a stop asked for.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn wait(&self) -> Result<(), Failure> {
        loop {
            if let Some(end) = self.wait_timeout(Duration::from_secs(3600)) {
                return end;
            }
        }
    }

    /// Waits for the end at most `timeout`; `None` when it still runs.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Failure>> {
        self.wait_for(timeout, |_| false)
    }

    /// Waits until the modem is online, at most `timeout`.
    ///
    /// # Errors
    /// The failure that ended it; none given when it was stopped or time ran out.
    pub fn wait_online(&self, timeout: Duration) -> Result<(), Option<Failure>> {
        match self.wait_for(timeout, |status| status.online) {
            Some(Err(failure)) => Err(Some(failure)),
            Some(Ok(())) => Err(None),
            None if locked(&self.shared.state).status.online => Ok(()),
            None => Err(None),
        }
    }

    fn wait_for(
        &self,
        timeout: Duration,
        done: impl Fn(&Status) -> bool,
    ) -> Option<Result<(), Failure>> {
        let deadline = Instant::now() + timeout.min(Duration::from_secs(86_400 * 365));
        let mut end = locked(&self.shared.end);
        loop {
            if let Some(end) = end.as_ref() {
                return Some(end.clone());
            }
            if done(&locked(&self.shared.state).status) {
                return None;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            end = self
                .shared
                .changed
                .wait_timeout(end, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.status().why)
            .finish_non_exhaustive()
    }
}
