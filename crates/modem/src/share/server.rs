//! The poll loop that serves all entrances: it moves bytes between clients and services.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;
use zeroize::Zeroize;

use super::credentials::Policy;
use super::descriptors;
use super::listener::Listener;
use super::service::{ClientId, Entrance, Service};
use super::terminals::{self, Terminals};
use crate::failure::{Failure, FailureKind};
use crate::permissions::Caller;
use crate::poll::{PollSet, Waker};

/// Size of one read from a client, in bytes.
const CHUNK: usize = 16 * 1024;
/// Largest number of clients accepted by an entrance in one round.
const MOST_NEWCOMERS: usize = 16;
/// Pause before the next client is accepted when no descriptor was left.
const SHORTAGE: Duration = Duration::from_millis(500);
/// Least time between two lines in the log about clients that are not served, because a user can cause
/// such a line at no cost.
const QUIET: Duration = Duration::from_secs(10);
/// Failure of a client that is not served.
const REFUSED: &str = "the running uwwan refused";
/// Time within which clients have to take their last messages at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Collection of the services of a running modem, before it is served. Each service has a method
/// that adds it, in the file of the service.
pub struct Builder {
    waker: Waker,
    policy: Policy,
    services: Vec<Box<dyn Service>>,
    sockets: Vec<Socket>,
    terminals: Vec<Openings>,
}

/// Listening socket in front of a service.
struct Socket {
    listener: Listener,
    entrance: Entrance,
    /// Least of the callers that the entrance serves.
    least: Caller,
    /// Index of the service in [`Builder`].
    service: usize,
}

/// Terminals in front of a service.
struct Openings {
    terminals: Terminals,
    /// Index of the service in [`Builder`].
    service: usize,
    /// Time at which a terminal is tried again after none could be made.
    retry: Option<Instant>,
}

impl Builder {
    /// Returns a collection without services, for the programs of users that the policy admits.
    ///
    /// # Errors
    /// The system's error, when no descriptor is left.
    pub fn new(policy: Policy) -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new()?,
            policy,
            services: Vec::new(),
            sockets: Vec::new(),
            terminals: Vec::new(),
        })
    }

    /// Returns the waker of the loop, which any thread may use: a service that has news, or a
    /// caller whose function [`Builder::serve_here`] calls.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Adds a service and returns its index, by which entrances refer to it.
    pub(super) fn service(&mut self, service: Box<dyn Service>) -> usize {
        self.services.push(service);
        self.services.len() - 1
    }

    /// Returns the policy that decides who is served.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the mode of a socket's file that serves callers from `least` up. Each connection is
    /// checked by its credentials all the same.
    pub(super) fn mode(&self, least: Caller) -> u32 {
        match self.policy.admits_others(least) {
            true => 0o666,
            false => 0o600,
        }
    }

    /// Adds a socket in front of a service, for callers from `least` up.
    pub(super) fn socket(
        &mut self,
        service: usize,
        listener: Listener,
        entrance: Entrance,
        least: Caller,
    ) {
        self.sockets.push(Socket {
            listener,
            entrance,
            least,
            service,
        });
    }

    /// Adds terminals in front of a service.
    pub(super) fn terminals(&mut self, service: usize, terminals: Terminals) {
        self.terminals.push(Openings {
            terminals,
            service,
            retry: None,
        });
    }

    /// Serves the collection from a thread of its own.
    ///
    /// # Errors
    /// The system's error, when it refuses a thread.
    pub fn serve(self) -> io::Result<Server> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let waker = self.waker.clone();
        let serving = Serving::new(self);
        let thread = std::thread::Builder::new()
            .name("uwwan-share".into())
            .stack_size(512 * 1024)
            .spawn(move || {
                serving.run(|| match stopped.load(Ordering::SeqCst) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(None),
                });
            })?;
        Ok(Server {
            stop,
            waker,
            thread: Some(thread),
        })
    }

    /// Serves the collection from the calling thread until `attend` breaks. `attend` is called in each
    /// round of the loop, also after the [`Waker`] was used, and must not block. It returns the time at
    /// which it has to be called again at the latest.
    pub fn serve_here(self, attend: impl FnMut() -> ControlFlow<(), Option<Instant>>) {
        Serving::new(self).run(attend);
    }
}

/// Handle on the serving thread. Dropping it ends the service and removes sockets and links.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Descriptor of a client.
enum Descriptor {
    Socket(UnixStream),
    /// Controlling side of a pseudo-terminal.
    Terminal(OwnedFd),
}

impl Descriptor {
    fn read(&self, bytes: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(socket) => rustix::io::read(socket, bytes),
            Self::Terminal(terminal) => rustix::io::read(terminal, bytes),
        }
    }

    /// Writes without waiting, and without SIGPIPE when the reader has gone.
    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(socket) => rustix::net::send(socket, bytes, SendFlags::NOSIGNAL),
            Self::Terminal(terminal) => rustix::io::write(terminal, bytes),
        }
    }

    /// Returns the number of bytes that the client has not read, where the kernel reports it.
    fn unread(&self) -> u64 {
        match self {
            Self::Socket(_) => 0,
            Self::Terminal(terminal) => terminals::unread(terminal),
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Terminal(terminal) => terminal.as_fd().as_raw_fd(),
        }
    }
}

struct Connection {
    /// Index of the service in [`Builder`].
    service: usize,
    caller: Caller,
    client: ClientId,
    descriptor: Descriptor,
    /// Whether the client has closed its end; some of its bytes may not have been read yet.
    hung_up: bool,
    /// Whether all bytes of the client have been read and nothing more will come.
    input_ended: bool,
    /// Whether the service has been told that the client is gone.
    gone: bool,
}

struct Serving {
    offer: Builder,
    connections: Vec<Connection>,
    /// Time until which no client is accepted.
    rest: Option<Instant>,
    /// Time until which the log has no line about clients that are not served.
    quiet: Option<Instant>,
    /// Time at which the loop ends, if clients have not left before.
    end: Option<Instant>,
    /// Time at which the caller is to attend again at the latest.
    due: Option<Instant>,
}

/// Descriptors that were found ready in one round.
struct Ready {
    woken: bool,
    /// Indices of sockets with a client to accept.
    sockets: Vec<usize>,
    /// Indices of terminals that may have been opened, each with whether a program has written to
    /// it.
    terminals: Vec<(usize, bool)>,
    /// For each connection, whether it can be read and whether the client has hung up.
    connections: Vec<(bool, bool)>,
}

impl Serving {
    fn new(offer: Builder) -> Self {
        Self {
            offer,
            connections: Vec::new(),
            rest: None,
            due: None,
            quiet: None,
            end: None,
        }
    }

    fn run(mut self, mut attend: impl FnMut() -> ControlFlow<(), Option<Instant>>) {
        let mut set = PollSet::default();
        let mut chunk = vec![0; CHUNK];
        // The first round waits for nothing, so that `attend` says when it is due.
        let mut more = true;
        while !self.is_over() {
            let ready = match self.wait(&mut set, more) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::warn!("other programs are served no longer: {error}");
                    drop(self);
                    while attend().is_continue() {
                        std::thread::sleep(SHORTAGE);
                    }
                    return;
                }
            };
            let now = Instant::now();
            if ready.woken {
                self.offer.waker.reset();
            }
            if self.end.is_none() {
                match attend() {
                    ControlFlow::Continue(due) => self.due = due,
                    ControlFlow::Break(()) => {
                        self.due = None;
                        // Every client gets its last message and time to read it.
                        self.end = Some(now + LAST_WORDS);
                        for service in &mut self.offer.services {
                            service.stop(now);
                        }
                    }
                }
            }
            more = false;
            for service in &mut self.offer.services {
                more |= service.work(now);
            }
            for (index, (readable, broken)) in ready.connections.into_iter().enumerate() {
                if readable || broken {
                    self.read(now, index, broken, &mut chunk);
                }
            }
            for index in ready.sockets {
                self.admit(now, index);
            }
            for (index, written) in ready.terminals {
                self.admit_opener(now, index, written);
            }
            for index in 0..self.connections.len() {
                self.write(now, index);
            }
            self.part(now);
        }
    }

    fn is_over(&self) -> bool {
        self.end
            .is_some_and(|end| end <= Instant::now() || self.connections.is_empty())
    }

    /// Waits until a descriptor is ready or something is due; does not wait when there is `more` to
    /// do.
    fn wait(&mut self, set: &mut PollSet, more: bool) -> io::Result<Ready> {
        let now = Instant::now();
        set.clear();
        let woken = set.add(&self.offer.waker, true, false);
        self.rest = self.rest.filter(|until| *until > now);
        let open = self.rest.is_none() && self.end.is_none();
        let mut sockets = Vec::new();
        let mut openings = Vec::new();
        if open {
            for (index, socket) in self.offer.sockets.iter().enumerate() {
                sockets.push((index, set.add(&socket.listener, true, false)));
            }
            for (index, opening) in self.offer.terminals.iter().enumerate() {
                let watch = opening.terminals.watch();
                let watch = watch.map(|watch| set.add(&watch, true, false));
                let fresh = opening.terminals.fresh();
                let fresh = fresh.map(|fresh| set.add(&fresh, true, false));
                openings.push((index, watch, fresh));
            }
        }
        let places: Vec<Option<usize>> = self
            .connections
            .iter()
            .map(|connection| {
                let service = &self.offer.services[connection.service];
                let read = !connection.input_ended && service.room(connection.client) > 0;
                let write = !service.output(connection.client).is_empty();
                // The kernel reports a hang-up whatever events are polled. Once it is known, the
                // descriptor is added only for bytes that can still be read.
                let known = connection.hung_up && !read || connection.input_ended && !write;
                (!known).then(|| set.add(&connection.descriptor, read, write))
            })
            .collect();
        let services = self.offer.services.iter();
        let terminals = self.offer.terminals.iter();
        let due = services
            .filter_map(|service| service.poll_timeout())
            .chain(terminals.filter_map(|opening| opening.retry))
            .chain([self.rest, self.end, self.due].into_iter().flatten())
            .min()
            .map(|due| due.saturating_duration_since(now));
        set.wait(if more { Some(Duration::ZERO) } else { due })?;
        let readable = |place: &usize| set.found(*place).readable;
        Ok(Ready {
            woken: readable(&woken),
            sockets: sockets
                .into_iter()
                .filter(|(_, place)| readable(place))
                .map(|(index, _)| index)
                .collect(),
            terminals: openings
                .into_iter()
                .map(|(index, watch, fresh)| {
                    let written = fresh.as_ref().is_some_and(readable);
                    (index, watch.as_ref().is_some_and(readable), written)
                })
                .filter(|(_, opened, written)| *opened || *written)
                .map(|(index, _, written)| (index, written))
                .collect(),
            connections: places
                .into_iter()
                .map(|place| {
                    let found = place.map(|place| set.found(place)).unwrap_or_default();
                    (found.readable, found.broken)
                })
                .collect(),
        })
    }

    /// Reads as many bytes as the service takes, with one read in a round, so that a client that
    /// writes without end does not keep the others waiting.
    fn read(&mut self, now: Instant, index: usize, broken: bool, chunk: &mut [u8]) {
        let connection = &mut self.connections[index];
        let service = &mut self.offer.services[connection.service];
        connection.hung_up |= broken;
        if connection.input_ended {
            return;
        }
        let room = service.room(connection.client).min(chunk.len());
        if room == 0 {
            // No byte reaches a socket that is closed. A terminal may hold commands of an opener
            // that has left; they are read when there is room.
            if broken && matches!(connection.descriptor, Descriptor::Socket(_)) {
                service.disconnect(now, connection.client);
                connection.gone = true;
            }
            return;
        }
        let mut beside = Vec::new();
        let read = match (
            &connection.descriptor,
            service.takes_descriptors(connection.client),
        ) {
            (Descriptor::Socket(socket), true) => {
                descriptors::receive(socket, &mut chunk[..room], &mut beside)
            }
            (descriptor, _) => descriptor.read(&mut chunk[..room]),
        };
        if !beside.is_empty() {
            service.receive_descriptors(connection.client, beside);
        }
        match read {
            Ok(count) if count > 0 => {
                service.receive(now, connection.client, &chunk[..count]);
                // The bytes may have been a PIN.
                chunk[..count].zeroize();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO means that every opener has closed the terminal.
            Ok(_) | Err(_) => {
                connection.input_ended = true;
                let unread = connection.descriptor.unread();
                service.input_ended(now, connection.client, unread);
            }
        }
    }

    /// Writes output until the client takes no more.
    fn write(&mut self, now: Instant, index: usize) {
        let connection = &mut self.connections[index];
        let service = &mut self.offer.services[connection.service];
        while !connection.gone {
            let bytes = service.output(connection.client);
            if bytes.is_empty() {
                return;
            }
            match connection.descriptor.write(bytes) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(count) => service.wrote(now, connection.client, count),
                Err(_) if matches!(connection.descriptor, Descriptor::Socket(_)) => {
                    connection.gone = true;
                    return service.disconnect(now, connection.client);
                }
                Err(_) => {
                    connection.input_ended = true;
                    return service.input_ended(now, connection.client, 0);
                }
            }
        }
    }

    /// Closes the connections that services are done with, and offers fresh terminals.
    fn part(&mut self, now: Instant) {
        self.connections.retain(|connection| !connection.gone);
        for (index, service) in self.offer.services.iter_mut().enumerate() {
            while let Some(client) = service.take_finished(now) {
                self.connections
                    .retain(|other| (other.service, other.client) != (index, client));
            }
        }
        for opening in &mut self.offer.terminals {
            if self.end.is_none()
                && opening.retry.is_none_or(|at| at <= now)
                && self.offer.services[opening.service].has_room()
            {
                let offered = opening.terminals.replenish();
                opening.retry = (!offered).then(|| now + SHORTAGE);
            }
        }
    }

    fn admit(&mut self, now: Instant, index: usize) {
        let socket = &self.offer.sockets[index];
        let service = &mut self.offer.services[socket.service];
        for _ in 0..MOST_NEWCOMERS {
            let stream = match socket.listener.accept() {
                Ok(Some(stream)) => stream,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!("a client cannot be let in: {error}");
                    self.rest = Some(now + SHORTAGE);
                    return;
                }
            };
            let policy = &self.offer.policy;
            let (caller, user) = policy.admit(&stream, socket.least);
            let Some(caller) = caller else {
                if self.quiet.is_none_or(|quiet| quiet <= now) {
                    self.quiet = Some(now + QUIET);
                    tracing::warn!("{user} asked for the modem and may not have it");
                }
                let failure = Failure::new(FailureKind::Permission, REFUSED)
                    .because("this user is not served")
                    .next(format!("served are {}", policy.who(socket.least)));
                take_leave(&stream, &service.turned_away(failure));
                continue;
            };
            let others: Vec<ClientId> = self
                .connections
                .iter()
                .filter(|other| other.service == socket.service && other.caller <= caller)
                .map(|other| other.client)
                .collect();
            let crowded = most(caller).is_some_and(|most| others.len() >= most);
            let client = match crowded && !service.make_room(now, &|one| others.contains(&one)) {
                true => None,
                false => service.connect(now, socket.entrance, caller),
            };
            match client {
                Some(client) => self.connections.push(Connection {
                    service: socket.service,
                    caller,
                    client,
                    descriptor: Descriptor::Socket(stream),
                    hung_up: false,
                    input_ended: false,
                    gone: false,
                }),
                None => {
                    if self.quiet.is_none_or(|quiet| quiet <= now) {
                        self.quiet = Some(now + QUIET);
                        tracing::warn!("a client is turned away: there are too many");
                    }
                    take_leave(&stream, &service.turned_away(too_many()));
                }
            }
        }
    }

    /// Adds the program that has opened a terminal or has written to it as a client.
    fn admit_opener(&mut self, now: Instant, index: usize, written: bool) {
        let opening = &mut self.offer.terminals[index];
        let service = &mut self.offer.services[opening.service];
        if !opening.terminals.was_opened() && !written {
            return;
        }
        // Only the owner may open a terminal, by the mode of its file.
        let client = service.connect(now, Entrance::Terminal, Caller::Owner);
        let terminal = opening.terminals.take(service.has_room());
        match (client, terminal) {
            (Some(client), Some(terminal)) => self.connections.push(Connection {
                service: opening.service,
                caller: Caller::Owner,
                client,
                descriptor: Descriptor::Terminal(terminal),
                hung_up: false,
                input_ended: false,
                gone: false,
            }),
            (Some(client), None) => service.disconnect(now, client),
            (None, _) => tracing::warn!("a client is turned away: there are too many"),
        }
    }
}

/// Returns how many connections to a service callers up to this one may have together, so that
/// places are left for those who may do more.
fn most(caller: Caller) -> Option<usize> {
    match caller {
        Caller::Everyone => Some(4),
        Caller::Guest => Some(8),
        Caller::Operator => Some(10),
        Caller::Owner => None,
    }
}

/// Returns the failure for a client for which no place is left.
pub(super) fn too_many() -> Failure {
    Failure::new(FailureKind::Host, REFUSED).because("too many clients")
}

/// Sends the last bytes to a client that is turned away, as far as that works without waiting.
fn take_leave(stream: &UnixStream, words: &[u8]) {
    if !words.is_empty() {
        let _ = rustix::net::send(stream, words, SendFlags::NOSIGNAL);
    }
}
