//! The entrances served: one thread moves bytes between clients, the multiplexer and the tap on the
//! modem's control session.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::entrances::{self, Allow, Standing};
use super::multiplexer::{ClientId, Config, Entrance, Multiplexer};
use crate::askers::{Asker, AskerEvent};
use crate::at_port::pty::Terminals;
use crate::modem::Handle;
use crate::poll::{PollSet, Waker};

/// Bytes read from a client at a time.
const CHUNK: usize = 16 * 1024;
/// News of the modem taken in one round.
const MOST_NEWS: usize = 1024;
/// Clients let in in one round.
const MOST_NEWCOMERS: usize = 16;
/// Pause before the next client is let in after descriptors have run out.
const SHORTAGE: Duration = Duration::from_millis(500);
/// Time for the last words to clients at the end.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How other programs reach the control session.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The socket in the runtime directory.
    pub socket: PathBuf,
    /// The abstract name, [`PUBLIC_NAME`](super::PUBLIC_NAME) where mbim-proxy is stood in for.
    pub public: Option<String>,
    /// The symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Other paths that mean this modem when a client names them.
    pub aliases: Vec<PathBuf>,
    /// Who may come in beside root and this user.
    pub allow: Allow,
    /// The rules inside.
    pub rules: Config,
}

/// What is served, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyStatus {
    /// The socket in the runtime directory.
    pub socket: Option<PathBuf>,
    /// The abstract name, if it is ours.
    pub public: Option<String>,
    /// The link to a terminal.
    pub terminal: Option<PathBuf>,
    /// Clients at present.
    pub clients: usize,
}

/// Serves the entrances until dropped.
#[derive(Debug)]
pub struct Proxy {
    status: ProxyStatus,
    notices: Vec<String>,
    clients: Arc<AtomicUsize>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Opens the entrances and serves them. An entrance that cannot be had is no failure: a notice
    /// says so.
    ///
    /// # Errors
    /// When threads or descriptors have run out.
    pub fn start(handle: &Handle, options: &Options) -> io::Result<Self> {
        let mut status = ProxyStatus::default();
        let mut notices = Vec::new();
        let (stop, stopped) = UnixStream::pair()?;
        let mode = if options.allow.is_empty() {
            0o600
        } else {
            0o666
        };
        let private = entrances::private(&options.socket, mode)
            .inspect(|_| status.socket = Some(options.socket.clone()))
            .inspect_err(|error| {
                notices.push(format!(
                    "no control socket for other commands at {}: {error}",
                    options.socket.display()
                ));
            })
            .ok();
        let terminals = options.terminal.as_ref().and_then(|link| {
            Terminals::new(link)
                .inspect(|_| status.terminal = Some(link.clone()))
                .inspect_err(|error| {
                    notices.push(format!("no MBIM terminal at {}: {error}", link.display()));
                })
                .ok()
        });
        let public = options.public.as_ref().and_then(|name| {
            entrances::public(name)
                .inspect(|_| status.public = Some(name.clone()))
                .inspect_err(|error| notices.push(taken(name, error, &status)))
                .ok()
        });
        let waker = Waker::new()?;
        let asker = handle.asker(Some(waker.clone()));
        let mut ours = options.aliases.clone();
        ours.push(options.socket.clone());
        ours.extend(options.terminal.clone());
        let clients = Arc::new(AtomicUsize::new(0));
        let serving = Serving {
            asker,
            waker,
            gone: false,
            multiplexer: Multiplexer::new(
                options.rules.clone(),
                Box::new(move |path| entrances::means(path, &ours)),
            ),
            stopped,
            private,
            public,
            terminals,
            allow: options.allow.clone(),
            lines: BTreeMap::new(),
            rest: None,
            ending: None,
            clients: Arc::clone(&clients),
        };
        let thread = std::thread::Builder::new()
            .name("uwwan-proxy".into())
            .stack_size(512 * 1024)
            .spawn(move || serving.run())?;
        Ok(Self {
            status,
            notices,
            clients,
            stop,
            thread: Some(thread),
        })
    }

    /// What is served at present.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        ProxyStatus {
            clients: self.clients.load(Ordering::Relaxed),
            ..self.status.clone()
        }
    }

    /// What could not be had, in words.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.stop.write(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(socket) = &self.status.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn taken(name: &str, error: &io::Error, status: &ProxyStatus) -> String {
    let instead = status.terminal.as_ref().map_or(String::new(), |terminal| {
        format!("; `mbimcli -d {}` works without it", terminal.display())
    });
    if error.kind() == io::ErrorKind::AddrInUse {
        let owner = entrances::owner(name).unwrap_or_else(|| "another process".into());
        format!("{owner} is the mbim-proxy here, so `mbimcli -p` reaches that one{instead}")
    } else {
        format!("no mbim-proxy socket: {error}{instead}")
    }
}

/// A client's descriptor.
enum Line {
    Socket(UnixStream),
    Terminal(OwnedFd),
}

impl Line {
    fn read(&self, bytes: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(socket) => rustix::io::read(socket, bytes),
            Self::Terminal(terminal) => rustix::io::read(terminal, bytes),
        }
    }

    /// Writes without waiting and without a signal when nobody reads any more.
    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(socket) => {
                rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)
            }
            Self::Terminal(terminal) => rustix::io::write(terminal, bytes),
        }
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> i32 {
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Terminal(terminal) => terminal.as_fd().as_raw_fd(),
        }
    }
}

struct Serving {
    asker: Asker,
    waker: Waker,
    /// The modem's thread has ended.
    gone: bool,
    multiplexer: Multiplexer,
    stopped: UnixStream,
    private: Option<UnixListener>,
    public: Option<UnixListener>,
    terminals: Option<Terminals>,
    allow: Allow,
    lines: BTreeMap<ClientId, Line>,
    /// No newcomers until then.
    rest: Option<Instant>,
    /// It is over then, or as soon as all have left.
    ending: Option<Instant>,
    clients: Arc<AtomicUsize>,
}

impl Serving {
    fn run(mut self) {
        let mut set = PollSet::default();
        let mut chunk = vec![0; CHUNK];
        let mut more = false;
        loop {
            let now = Instant::now();
            if self
                .ending
                .is_some_and(|end| end <= now || self.lines.is_empty())
            {
                return;
            }
            set.clear();
            let stop = set.add(&self.stopped, self.ending.is_none(), false);
            let news = (!self.gone).then(|| set.add(&self.waker, true, false));
            self.rest = self.rest.filter(|until| *until > now);
            let open = self.rest.is_none() && !self.gone && self.ending.is_none();
            let listen = |set: &mut PollSet, listener: &Option<UnixListener>| {
                let listener = listener.as_ref().filter(|_| open)?;
                Some(set.add(listener, true, false))
            };
            let private = listen(&mut set, &self.private);
            let public = listen(&mut set, &self.public);
            let terminals = self.terminals.as_ref().filter(|_| open);
            let watch = terminals
                .and_then(Terminals::watch)
                .map(|watch| set.add(&watch, true, false));
            let fresh = terminals
                .and_then(Terminals::fresh)
                .map(|fresh| set.add(&fresh, true, false));
            let places: Vec<(ClientId, usize)> = self
                .lines
                .iter()
                .map(|(client, line)| {
                    let read = self.multiplexer.room(*client) > 0;
                    let write = !self.multiplexer.output(*client).is_empty();
                    (*client, set.add(line, read, write))
                })
                .collect();
            let due = [self.multiplexer.poll_timeout(), self.rest, self.ending]
                .into_iter()
                .flatten()
                .min()
                .map(|due| due.saturating_duration_since(now));
            let wait = if more { Some(Duration::ZERO) } else { due };
            if let Err(error) = set.wait(wait) {
                tracing::warn!("other programs are served no longer: {error}");
                return;
            }
            if self.ending.is_none() && (set.found(stop).readable || set.found(stop).broken) {
                // Nobody is left without an answer, and there is time to take leave.
                let now = Instant::now();
                self.ending = Some(now + LAST_WORDS);
                self.multiplexer.modem_down(now, "uwwan is stopping");
            }
            let pending = std::mem::take(&mut more);
            if pending || news.is_some_and(|news| set.found(news).readable) {
                self.waker.reset();
                more = self.news();
            }
            for (listener, entrance) in [(private, Entrance::Private), (public, Entrance::Public)] {
                if listener.is_some_and(|listener| set.found(listener).readable) {
                    self.admit(entrance);
                }
            }
            let ready = |place: Option<usize>| place.is_some_and(|place| set.found(place).readable);
            let (watch, fresh) = (ready(watch), ready(fresh));
            if watch || fresh {
                self.admit_terminal(fresh);
            }
            for (client, place) in places {
                let found = set.found(place);
                if found.readable {
                    self.read(client, &mut chunk);
                } else if found.broken {
                    self.leave(client);
                }
            }
            self.settle();
        }
    }

    /// Does what the multiplexer wants until it wants nothing more.
    fn settle(&mut self) {
        let now = Instant::now();
        if self
            .multiplexer
            .poll_timeout()
            .is_some_and(|due| due <= now)
        {
            self.multiplexer.timeout(now);
        }
        let waiting: Vec<ClientId> = self.lines.keys().copied().collect();
        for client in waiting {
            self.write(client);
        }
        while let Some(request) = self.multiplexer.poll_request() {
            self.asker.request(request);
        }
        while let Some(client) = self.multiplexer.take_finished(now) {
            self.lines.remove(&client);
        }
        self.clients
            .store(self.multiplexer.clients(), Ordering::Relaxed);
    }

    /// Takes what the modem's thread has to say. `true` when there may be more.
    fn news(&mut self) -> bool {
        for _ in 0..MOST_NEWS {
            let now = Instant::now();
            match self.asker.next() {
                Ok(Some(AskerEvent::Opened { outstanding })) => {
                    self.multiplexer.modem_opened(now, outstanding);
                }
                Ok(Some(AskerEvent::Down { why })) => self.multiplexer.modem_down(now, &why),
                Ok(Some(AskerEvent::Subscribed)) => self.multiplexer.modem_subscribed(now),
                Ok(Some(AskerEvent::Answer { ticket, result })) => {
                    self.multiplexer.answer(now, ticket, result);
                }
                Ok(Some(AskerEvent::Indication { id, info })) => {
                    self.multiplexer.indication(now, id, &info);
                }
                Ok(None) => return false,
                Err(_) => {
                    self.gone = true;
                    self.multiplexer.modem_down(now, "the driver has ended");
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, entrance: Entrance) {
        for _ in 0..MOST_NEWCOMERS {
            let listener = match entrance {
                Entrance::Public => &self.public,
                _ => &self.private,
            };
            let Some(listener) = listener else {
                return;
            };
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!("a client cannot be let in: {error}");
                    self.rest = Some(Instant::now() + SHORTAGE);
                    return;
                }
            };
            let Some(standing) = self.allow.admits(&stream) else {
                continue;
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let entrance = match standing {
                Standing::Guest if entrance == Entrance::Private => Entrance::Guest,
                _ => entrance,
            };
            match self.multiplexer.connect(Instant::now(), entrance) {
                Some(client) => {
                    self.lines.insert(client, Line::Socket(stream));
                }
                None => tracing::warn!("a client is turned away: there are too many"),
            }
        }
    }

    /// Somebody has opened the terminal, or written into it.
    fn admit_terminal(&mut self, written: bool) {
        let Some(terminals) = &mut self.terminals else {
            return;
        };
        if !terminals.was_opened() && !written {
            return;
        }
        let Some(terminal) = terminals.take(true) else {
            return;
        };
        match self.multiplexer.connect(Instant::now(), Entrance::Terminal) {
            Some(client) => {
                self.lines.insert(client, Line::Terminal(terminal));
            }
            None => tracing::warn!("a client is turned away: there are too many"),
        }
    }

    fn read(&mut self, client: ClientId, chunk: &mut [u8]) {
        let room = self.multiplexer.room(client).min(chunk.len());
        let Some(line) = self.lines.get(&client) else {
            return;
        };
        if room == 0 {
            return;
        }
        match line.read(&mut chunk[..room]) {
            Ok(0) => self.leave(client),
            Ok(count) => self
                .multiplexer
                .receive(Instant::now(), client, &chunk[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.leave(client),
        }
    }

    fn write(&mut self, client: ClientId) {
        while let Some(line) = self.lines.get(&client) {
            let bytes = self.multiplexer.output(client);
            if bytes.is_empty() {
                return;
            }
            match line.write(bytes) {
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(count) => self.multiplexer.wrote(Instant::now(), client, count),
                Err(_) => return self.leave(client),
            }
        }
    }

    fn leave(&mut self, client: ClientId) {
        self.lines.remove(&client);
        self.multiplexer.disconnect(Instant::now(), client);
    }
}
