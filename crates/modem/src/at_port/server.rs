//! Other programs' ways to the AT port: a pseudo-terminal for each opener, a Unix socket for ours.
//!
//! One thread polls them all. Whoever connects has one command on its way at a time, so nobody can
//! keep the port from others; whoever does not read loses unsolicited lines first and answers
//! last; whoever leaves takes back what was not sent yet. Only root and the user who runs this are
//! served.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use uwwan_at::dialogue::Command;

use super::discipline::Discipline;
use super::owner::{AtPort, Ticket};
use super::protocol::{LONGEST_REQUEST, Message, Request, error_message, final_text};
use super::pty::Terminals;
use super::{Answer, AtError, LONGEST_TIMEOUT, Line};

/// Clients at once, of either kind.
const MOST_CLIENTS: usize = 32;
/// Bytes waiting for a socket client: lines nobody asked for are dropped first, then the client.
const MOST_OUTPUT: usize = 2 << 20;
const MOST_OUTPUT_UNASKED: usize = 256 * 1024;
/// Lines waiting for the thread; more are dropped.
const MOST_LINES: usize = 1024;

/// Where the ways in are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The Unix socket.
    pub socket: Option<PathBuf>,
    /// The symbolic link to a terminal.
    pub terminal: Option<PathBuf>,
}

/// Serves clients until dropped; then socket and link are gone.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    socket: Option<PathBuf>,
}

/// What the port's thread hands over.
#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    ending: AtomicBool,
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
struct Mail {
    answers: Vec<(u64, Result<Answer, AtError>)>,
    lines: VecDeque<Line>,
}

impl Shared {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Server {
    /// Makes the ways in and serves them.
    ///
    /// # Errors
    /// With the path that could not be made.
    pub fn start(port: AtPort, places: &Places) -> io::Result<Self> {
        let at = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let terminals = match &places.terminal {
            Some(path) => Some(Terminals::new(path).map_err(|error| at(path, error))?),
            None => None,
        };
        let listener = match &places.socket {
            Some(path) => Some(listen(path).map_err(|error| at(path, error))?),
            None => None,
        };
        let shared = Arc::new(Shared {
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            ending: AtomicBool::new(false),
            mail: Mutex::default(),
        });
        // Lines are for whoever is there: without listeners they cost nothing but a look.
        let ears = Arc::downgrade(&shared);
        port.listen(Box::new(move |line| {
            let Some(shared) = ears.upgrade() else {
                return false;
            };
            let mut mail = shared.mail();
            if mail.lines.len() < MOST_LINES {
                mail.lines.push_back(line.clone());
            }
            drop(mail);
            shared.wake();
            true
        }));
        let serving = Serving {
            port,
            shared: Arc::clone(&shared),
            terminals,
            listener,
            clients: Vec::new(),
            next_id: 0,
        };
        let thread = std::thread::Builder::new()
            .name("uwwan-at-serve".into())
            .stack_size(256 * 1024)
            .spawn(move || serving.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
            socket: places.socket.clone(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// How a client speaks.
#[derive(Debug)]
enum Speech {
    Terminal(Box<Discipline>),
    Socket {
        partial: Vec<u8>,
        output: VecDeque<u8>,
        listens: bool,
        /// It broke the rules, or does not read: it is dropped when it has had its last words.
        done: bool,
    },
}

#[derive(Debug)]
struct Client {
    id: u64,
    descriptor: OwnedFd,
    speech: Speech,
    /// Its command on the way.
    ticket: Option<Ticket>,
    /// The last answer given to a terminal.
    last: Option<Answer>,
    /// The other end has closed.
    hung_up: bool,
    /// Nothing more can be read.
    drained: bool,
}

impl Client {
    fn output(&mut self) -> &mut VecDeque<u8> {
        match &mut self.speech {
            Speech::Terminal(discipline) => discipline.output(),
            Speech::Socket { output, .. } => output,
        }
    }

    fn has_output(&self) -> bool {
        match &self.speech {
            // A terminal nobody has open takes bytes for nobody.
            Speech::Terminal(discipline) => discipline.has_output() && !self.drained,
            Speech::Socket { output, .. } => !output.is_empty(),
        }
    }

    fn is_done(&self) -> bool {
        match &self.speech {
            // Its last command still runs to its end: others may be listening for the answer.
            Speech::Terminal(_) => self.drained && self.ticket.is_none(),
            Speech::Socket { done, output, .. } => {
                let nothing_to_come = *done || self.drained && self.ticket.is_none();
                self.hung_up || nothing_to_come && output.is_empty()
            }
        }
    }

    /// The last answer, if whoever had the terminal open has gone without reading it. What is
    /// written to a terminal stays in it until it is opened again, so that can be counted.
    fn unread(&mut self) -> Option<Answer> {
        let answer = self.last.take()?;
        let left = self.output().len() as u64 + waiting_in_terminal(&self.descriptor);
        (left > 0).then_some(answer)
    }

    /// Whether more may be read: who writes faster than the modem answers has to wait.
    fn takes_input(&self) -> bool {
        !self.drained
            && match &self.speech {
                Speech::Terminal(discipline) => discipline.takes_input(),
                Speech::Socket { partial, done, .. } => !done && partial.len() <= LONGEST_REQUEST,
            }
    }

    fn send(&mut self, message: &Message, unasked: bool) {
        let Speech::Socket { output, done, .. } = &mut self.speech else {
            return;
        };
        if unasked && output.len() > MOST_OUTPUT_UNASKED {
            return;
        }
        if output.len() > MOST_OUTPUT {
            *done = true;
            output.clear();
            return;
        }
        if let Ok(line) = serde_json::to_vec(message) {
            output.extend(line);
            output.push_back(b'\n');
        }
    }

    fn tell(&mut self, line: &Line) {
        match &mut self.speech {
            Speech::Terminal(discipline) => discipline.tell(line),
            Speech::Socket { listens: false, .. } => {}
            Speech::Socket { .. } => {
                let message = match line {
                    Line::Unsolicited(text) => Message::Unsolicited(text.clone()),
                    Line::Nmea(text) => Message::Nmea(text.clone()),
                };
                self.send(&message, true);
            }
        }
    }

    fn answered(&mut self, result: &Result<Answer, AtError>) {
        self.ticket = None;
        match &mut self.speech {
            Speech::Terminal(discipline) => {
                discipline.answered(result);
                self.last = result.as_ref().ok().cloned();
            }
            Speech::Socket { .. } => {
                let message = match result {
                    Ok(answer) => Message::Answer {
                        command: answer.command.clone(),
                        lines: answer.lines.clone(),
                        truncated: answer.truncated,
                        result: final_text(&answer.result),
                    },
                    Err(error) => error_message(error),
                };
                self.send(&message, false);
            }
        }
    }

    /// The next command, if none is on its way; requests that need none are answered.
    fn next(&mut self, port: &AtPort) -> Option<Command> {
        if self.ticket.is_some() {
            return None;
        }
        let partial = match &mut self.speech {
            Speech::Terminal(discipline) => return discipline.next(),
            Speech::Socket { done: true, .. } => return None,
            Speech::Socket { partial, .. } => partial,
        };
        let Some(end) = partial.iter().position(|byte| *byte == b'\n') else {
            if partial.len() > LONGEST_REQUEST {
                self.reject("a request is too long");
            }
            return None;
        };
        let line: Vec<u8> = partial.drain(..=end).collect();
        let request = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => request,
            Err(error) => {
                self.reject(&format!("not a request: {error}"));
                return None;
            }
        };
        match request {
            Request::Listen {} => {
                if let Speech::Socket { listens, .. } = &mut self.speech {
                    *listens = true;
                }
                self.state(port);
            }
            Request::State {} => self.state(port),
            Request::Command {
                line,
                text,
                timeout_ms,
            } => {
                let command = Command::new(line).and_then(|command| match text {
                    Some(text) => command.with_text(text),
                    None => Ok(command),
                });
                match command {
                    Ok(command) => {
                        return Some(match timeout_ms {
                            Some(time) => command
                                .with_timeout(Duration::from_millis(time).min(LONGEST_TIMEOUT)),
                            None => command,
                        });
                    }
                    Err(error) => {
                        let why = error.to_string();
                        self.send(&error_message(&AtError::Refused { why }), false);
                    }
                }
            }
        }
        self.next(port)
    }

    fn state(&mut self, port: &AtPort) {
        let port = port.port().map(|port| port.to_string());
        self.send(&Message::State { port }, false);
    }

    fn reject(&mut self, why: &str) {
        self.send(&error_message(&AtError::System(why.into())), false);
        if let Speech::Socket { done, .. } = &mut self.speech {
            *done = true;
        }
    }

    /// Reads what there is.
    fn read(&mut self) {
        let mut buffer = [0; 2048];
        // In turns, so that one who writes without end does not keep the others waiting.
        for _ in 0..8 {
            if !self.takes_input() {
                return;
            }
            match rustix::io::read(&self.descriptor, &mut buffer) {
                Ok(0) => {
                    self.drained = true;
                    return;
                }
                Ok(count) => match &mut self.speech {
                    Speech::Terminal(discipline) => discipline.receive(&buffer[..count]),
                    Speech::Socket { partial, .. } => partial.extend_from_slice(&buffer[..count]),
                },
                Err(Errno::AGAIN | Errno::INTR) => return,
                // EIO: every opener of the terminal has closed it.
                Err(_) => {
                    self.drained = true;
                    return;
                }
            }
        }
    }

    fn write(&mut self) {
        loop {
            let (front, _) = self.output().as_slices();
            if front.is_empty() {
                return;
            }
            let piece = front[..front.len().min(2048)].to_vec();
            match rustix::io::write(&self.descriptor, &piece) {
                Ok(count) => drop(self.output().drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => {
                    self.output().clear();
                    self.hung_up = true;
                    return;
                }
            }
        }
    }
}

struct Serving {
    port: AtPort,
    shared: Arc<Shared>,
    terminals: Option<Terminals>,
    listener: Option<UnixListener>,
    clients: Vec<Client>,
    next_id: u64,
}

impl Serving {
    fn run(mut self) {
        while !self.shared.ending.load(Ordering::SeqCst) {
            if let Err(error) = self.wait() {
                tracing::warn!("the AT port can no longer be served: {error}");
                return;
            }
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
            self.deliver();
            self.admit_terminal();
            self.admit_socket();
            for index in 0..self.clients.len() {
                self.serve(index);
                self.leave_behind(index);
            }
            self.clients.retain(|client| !client.is_done());
            if self.clients.len() < MOST_CLIENTS
                && let Some(terminals) = self.terminals.as_mut()
            {
                terminals.replenish();
            }
        }
    }

    fn wait(&self) -> Result<(), Errno> {
        let mut descriptors: Vec<PollFd<'_>> = Vec::with_capacity(self.clients.len() + 4);
        let always = [
            Some(self.shared.wake.as_fd()),
            self.listener.as_ref().map(AsFd::as_fd),
            self.terminals.as_ref().and_then(Terminals::watch),
            self.terminals.as_ref().and_then(Terminals::fresh),
        ];
        for descriptor in always.into_iter().flatten() {
            descriptors.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        }
        for client in &self.clients {
            let mut wanted = PollFlags::empty();
            if client.takes_input() {
                wanted |= PollFlags::IN;
            }
            if client.has_output() {
                wanted |= PollFlags::OUT;
            }
            // One that hangs up says so whatever is asked: it has been heard.
            if !wanted.is_empty() {
                let descriptor: BorrowedFd<'_> = client.descriptor.as_fd();
                descriptors.push(PollFd::from_borrowed_fd(descriptor, wanted));
            }
        }
        let forever: Option<&Timespec> = None;
        match poll(&mut descriptors, forever) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hands out what the port's thread has left.
    fn deliver(&mut self) {
        let (answers, lines) = {
            let mut mail = self.shared.mail();
            (
                std::mem::take(&mut mail.answers),
                std::mem::take(&mut mail.lines),
            )
        };
        for line in &lines {
            for client in &mut self.clients {
                client.tell(line);
            }
        }
        for (id, result) in &answers {
            let Some(index) = self.clients.iter().position(|client| client.id == *id) else {
                continue;
            };
            self.clients[index].answered(result);
        }
    }

    /// What an opener that has gone has not read, others may hear.
    fn leave_behind(&mut self, index: usize) {
        if self.clients[index].drained
            && let Some(answer) = self.clients[index].unread()
        {
            self.overheard(&answer);
        }
    }

    /// The answer of an opener that has gone reaches those who only listen.
    fn overheard(&mut self, answer: &Answer) {
        for client in &mut self.clients {
            if let Speech::Terminal(discipline) = &mut client.speech
                && !discipline.has_spoken()
                && !client.drained
            {
                discipline.overhear(answer);
            }
        }
    }

    fn admit_terminal(&mut self) {
        let Some(terminals) = self.terminals.as_mut() else {
            return;
        };
        let readable = |descriptor: BorrowedFd<'_>| {
            let now = Timespec::default();
            let mut ready = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
            matches!(poll(&mut ready, Some(&now)), Ok(1))
        };
        let opened = terminals.was_opened() || terminals.fresh().is_some_and(readable);
        if opened && let Some(master) = terminals.take(self.clients.len() + 1 < MOST_CLIENTS) {
            self.admit(master, Speech::Terminal(Box::default()));
        }
    }

    fn admit_socket(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // Out of descriptors, most likely: give clients time to leave.
                tracing::debug!("a client of the AT port could not be accepted: {error}");
                return std::thread::sleep(Duration::from_millis(100));
            }
        };
        let full = self.clients.len() >= MOST_CLIENTS;
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let may = may_speak(&stream);
        self.admit(
            stream.into(),
            Speech::Socket {
                partial: Vec::new(),
                output: VecDeque::new(),
                listens: false,
                done: false,
            },
        );
        if let Some(client) = self.clients.last_mut() {
            if !may {
                client.reject("only root and the user who runs uwwan are served");
            } else if full {
                client.reject("too many clients");
            }
        }
    }

    fn admit(&mut self, descriptor: OwnedFd, speech: Speech) {
        self.next_id += 1;
        self.clients.push(Client {
            id: self.next_id,
            descriptor,
            speech,
            ticket: None,
            last: None,
            hung_up: false,
            drained: false,
        });
    }

    fn serve(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.read();
        if let Some(command) = client.next(&self.port) {
            let id = client.id;
            let shared = Arc::clone(&self.shared);
            client.ticket = Some(self.port.submit(
                command,
                Box::new(move |result| {
                    shared.mail().answers.push((id, result));
                    shared.wake();
                }),
            ));
        }
        client.write();
    }
}

/// Bytes written to a terminal that nobody has read, by its controlling side.
///
/// Makes the system calls `ioctl` (TIOCGPTPEER, FIONREAD) and `close`.
fn waiting_in_terminal(master: &OwnedFd) -> u64 {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(master, flags)
        .and_then(ioctl_fionread)
        .unwrap_or(0)
}

fn may_speak(stream: &UnixStream) -> bool {
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => peer.uid.is_root() || peer.uid == rustix::process::geteuid(),
        Err(_) => false,
    }
}
