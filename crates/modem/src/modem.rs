//! Start of a modem, and the handle on a running one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, unbounded};
use uwwan_usb::device::Backend;

use crate::askers::{Asker, Message};
use crate::at_port::AtPort;
use crate::control::{Control, ethernet_acceptable, look};
use crate::event::Event;
use crate::explain;
use crate::failure::{Failure, FailureKind, Rung};
use crate::host::HostProvider;
use crate::join::{JoinOptions, Joined, Joining};
use crate::kind::Choice;
use crate::options::{Options, SessionOptions};
use crate::permissions::Basis;
use crate::poll::Waker;
use crate::raw::{Listener, Raw, To};
use crate::selector::Selector;
use crate::shared::Shared;
use crate::status::Status;

/// A modem that this driver runs.
pub struct Modem;

impl Modem {
    /// Starts to bring up the selected modem and keeps it up until [`Handle::stop`].
    ///
    /// `observer` is called from the modem's control thread, in order, and must not block.
    ///
    /// # Errors
    /// [`Failure`] when options make no sense or, unless [`Options::wait_for_device`] is set, when
    /// the device is not there. Everything later comes as [`Event`]s and from [`Handle::wait`].
    pub fn start(
        backend: Arc<dyn Backend>,
        selector: Selector,
        options: Options,
        host: Box<dyn HostProvider>,
        observer: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Handle, Failure> {
        Self::start_up_to(Rung::Online, backend, selector, options, host, observer)
    }

    /// Does as [`Modem::start`], but climbs no higher than `top`.
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
                Choice::new(&options, ethernet_acceptable(&selector, top)),
            )
            .map_err(|(failure, _)| failure)?;
            // The control thread opens the device for good; opening it here reports a missing
            // permission at once.
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
        let sessions: Vec<u8> = options.sessions.iter().map(|session| session.id).collect();
        let shared = Arc::new(Shared::new(outbox.clone(), at, &sessions));
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

/// Records an end when the control thread panics, so that no thread waits for it for ever.
struct EndForSure(Arc<Shared>);

impl Drop for EndForSure {
    fn drop(&mut self) {
        if !self.0.has_ended() {
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
    if let Some(depth) = options.in_flight
        && !(1..=256).contains(&depth)
    {
        return refuse("in-flight", format!("{depth} is not from 1 to 256"));
    }
    if options.max_datagrams == Some(0) {
        return refuse("max-datagrams", "0 is not from 1 to 65535");
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
    if options.session(0).is_none() {
        return refuse("session", "session 0 is missing; the others follow it");
    }
    let mut seen = Vec::new();
    for session in &options.sessions {
        let id = session.id;
        if seen.contains(&id) {
            return refuse("session", format!("session {id} is given twice"));
        }
        seen.push(id);
        check_session(session)?;
    }
    if let Some(pin) = options.pin.here()
        && (!(4..=8).contains(&pin.len()) || !pin.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return refuse("pin-file", "a PIN has 4 to 8 digits and nothing else");
    }
    Ok(())
}

/// Returns the failure for an option that makes no sense.
fn refuse(option: &str, why: impl std::fmt::Display) -> Result<(), Failure> {
    Err(Failure::new(FailureKind::Usage, "an option makes no sense")
        .at(format!("--{option}"))
        .because(why))
}

fn check_session(session: &SessionOptions) -> Result<(), Failure> {
    let refuse = |option: &str, why: &str| match session.id {
        0 => refuse(option, why),
        id => refuse(&format!("session {id}:{option}"), why),
    };
    if let Some(mtu) = session.mtu
        && !(576..=9000).contains(&mtu)
    {
        return refuse("mtu", &format!("{mtu} is not from 576 to 9000"));
    }
    if session.apn.encode_utf16().count() > 100 {
        return refuse("apn", "it is longer than 100 characters");
    }
    let given = &session.static_addresses;
    let addresses = given.addresses.iter().map(|prefix| prefix.address);
    let lists: [(_, Vec<_>); 2] = [
        ("address", addresses.collect()),
        ("gateway", given.gateways.clone()),
    ];
    for (option, list) in lists {
        let v4 = list.iter().filter(|address| address.is_ipv4()).count();
        if v4 > 1 || list.len() - v4 > 1 {
            return refuse(option, "one of each family is taken");
        }
    }
    Ok(())
}

/// Handle on a running modem. Clones are handles on the same modem; dropping them all does not stop
/// it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Returns the present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns the MBIM session ids of the data sessions this driver holds.
    #[must_use]
    pub fn sessions(&self) -> Vec<u8> {
        self.shared.sessions()
    }

    /// Sends the control thread a message.
    #[cfg(test)]
    pub(crate) fn post(&self, message: Message) {
        self.shared.outbox.send(message).unwrap();
    }

    /// Returns what judgements on the commands of programs rest on.
    pub(crate) fn basis(&self) -> Basis {
        self.shared.basis()
    }

    /// Asks for a clean stop and returns at once; [`Handle::wait`] returns when it is done. A
    /// second call skips the waits for the device's answers.
    pub fn stop(&self) {
        self.shared.stops.fetch_add(1, Ordering::Relaxed);
        let _ = self.shared.outbox.send(Message::Stop);
    }

    /// Makes the control loop call this function in its next round, which shows that the loop does not
    /// hang. The function must not block. It is never called when the modem has stopped before.
    pub fn call(&self, call: impl FnOnce() + Send + 'static) {
        let _ = self.shared.outbox.send(Message::Call(Box::new(call)));
    }

    /// Changes the layout of NTBs to the device to the one that these options choose, from the next NTB
    /// on: place and size of the NDP, padding, number of datagrams, and the choices of an
    /// [`Experiment`](crate::options::Experiment). The other options have no effect. The channel gets one
    /// message when the change is made; the [status](Self::status) has the layout by then.
    ///
    /// The message is a [`Failure`] where no data path is running, or where the options need a new session,
    /// because they have another format or another length of the longest NTB. There is no message when the
    /// modem ends before.
    pub fn choose_layout(&self, options: &Options) -> Receiver<Result<(), Failure>> {
        let (done, receiver) = bounded(1);
        let _ = self
            .shared
            .outbox
            .send(Message::Choose(Box::new(options.clone()), done));
        receiver
    }

    /// Returns an asker on the control session. `waker` is woken whenever an event waits for it.
    pub(crate) fn asker(&self, waker: Option<Waker>) -> Asker {
        Asker::attached(self.shared.outbox.clone(), waker)
    }

    /// Sends bytes as they are, and returns a listener for the transfers that follow. `waker` is
    /// woken whenever one waits.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when there is nothing or too much to send.
    pub fn send_raw(
        &self,
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Option<Waker>,
    ) -> Result<Listener, Failure> {
        let (raw, listener) = Raw::new(to, transfers, wait, waker)?;
        // A control thread that has ended drops the order, which ends the listener's channel.
        let _ = self.shared.outbox.send(Message::Raw(raw));
        Ok(listener)
    }

    /// Adds a data session for a program that has handed over the descriptors of a TUN interface, until
    /// the returned value is dropped. With these descriptors the program can block all sessions on Linux
    /// before 6.4; a program that is not `trusted` is refused there. `waker` is woken whenever there are
    /// news.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the descriptors are not those of a TUN interface, and for options that
    /// make no sense. A modem without a further session is reported by
    /// [`JoinNews::Ended`](crate::join::JoinNews::Ended).
    pub fn join(
        &self,
        options: JoinOptions,
        descriptors: Vec<OwnedFd>,
        trusted: bool,
        waker: Option<Waker>,
    ) -> Result<Joined, Failure> {
        check_session(&SessionOptions {
            apn: options.apn.clone().unwrap_or_default(),
            mtu: options.mtu,
            ..SessionOptions::default()
        })?;
        let outbox = self.shared.outbox.clone();
        let leave = move |guest| {
            let _ = outbox.send(Message::Leave(guest));
        };
        let (order, joined) = Joining::new(options, descriptors, trusted, waker, Box::new(leave))?;
        // A control thread that has ended drops the order, which ends the channel of news.
        let _ = self.shared.outbox.send(Message::Join(Box::new(order)));
        Ok(joined)
    }

    /// Returns the AT port, unless [`Options::at_port`] leaves it to the kernel. It stays the same
    /// over losses of the modem.
    #[must_use]
    pub fn at_port(&self) -> Option<AtPort> {
        self.shared.at.clone()
    }

    /// Waits for the end, which is `Ok` after a stop.
    ///
    /// # Errors
    /// The [`Failure`] that ended it.
    pub fn wait(&self) -> Result<(), Failure> {
        loop {
            if let Some(end) = self.wait_timeout(Duration::from_secs(3600)) {
                return end;
            }
        }
    }

    /// Waits for the end at most `timeout`; returns `None` when the modem still runs.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<(), Failure>> {
        self.shared.wait_for(timeout, |_| false)
    }

    /// Waits until the modem is online, at most `timeout`.
    ///
    /// # Errors
    /// The [`Failure`] that ended it, or `None` when it was stopped or the time ran out.
    pub fn wait_online(&self, timeout: Duration) -> Result<(), Option<Failure>> {
        match self.shared.wait_for(timeout, |status| status.online) {
            Some(Err(failure)) => Err(Some(failure)),
            Some(Ok(())) => Err(None),
            None if self.shared.with(|status| status.online) => Ok(()),
            None => Err(None),
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
