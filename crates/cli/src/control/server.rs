//! The serving end, in a running `up`.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::protocol::{
    LONGEST_REQUEST, MOST_CLIENTS, REPLY_TIME, REQUEST_TIME, Reply, Request, parse_request,
};
use crate::failure::{Failure, FailureKind};

/// What the server asks of the running modem.
pub trait Responder: Send + Sync {
    /// The state as JSON.
    fn status(&self) -> serde_json::Value;
    /// Begin a clean stop; returns at once.
    fn stop(&self);
}

/// Serves clients until dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    wake: UnixStream,
}

#[derive(Debug)]
struct Shared {
    device: String,
    clients: AtomicUsize,
    ending: AtomicBool,
    /// Counts state changes; watchers wait on it.
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Shared {
    fn reply(&self) -> Reply {
        Reply {
            ok: true,
            pid: std::process::id(),
            device: self.device.clone(),
            error: None,
            status: None,
            stopped: None,
        }
    }

    fn refusal(&self, error: impl Into<String>) -> Reply {
        Reply {
            ok: false,
            error: Some(error.into()),
            ..self.reply()
        }
    }

    /// Waits for a change after `seen`, at most `patience`. Returns the count of changes.
    fn wait(&self, seen: u64, patience: Duration) -> u64 {
        let guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self
            .changed
            .wait_timeout_while(guard, patience, |count| {
                *count == seen && !self.ending.load(Ordering::SeqCst)
            })
            .unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}

impl Server {
    /// Binds the socket (mode 0600) and serves it from threads of its own.
    ///
    /// # Errors
    /// [`FailureKind::Host`] when the socket cannot be made.
    pub fn start(
        socket: &Path,
        device: &str,
        responder: Arc<dyn Responder>,
    ) -> Result<Self, Failure> {
        let refuse = |error: io::Error| {
            Failure::new(FailureKind::Host, "cannot open the control socket")
                .at(socket.display().to_string())
                .because(error)
                .next("name another directory with --runtime-dir DIR")
        };
        // The directory is 0700, so nobody gets in between bind and chmod.
        let listener = UnixListener::bind(socket).map_err(refuse)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let (wake, woken) = UnixStream::pair().map_err(refuse)?;
        let shared = Arc::new(Shared {
            device: device.to_owned(),
            clients: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            changes: Mutex::new(0),
            changed: Condvar::new(),
        });
        let accepting = std::thread::Builder::new()
            .name("control".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &woken, &shared, &responder)
            })
            .map_err(refuse)?;
        Ok(Self {
            shared,
            accepting: Some(accepting),
            wake,
        })
    }

    /// Tells the watchers that the state has changed.
    pub fn announce(&self) {
        *self
            .shared
            .changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.announce();
        let _ = self.wake.write_all(&[0]);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        // Clients who wait for the end of a stop get their last line before the process exits.
        let patience = Instant::now() + Duration::from_millis(500);
        while self.shared.clients.load(Ordering::SeqCst) > 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn accept(
    listener: &UnixListener,
    woken: &UnixStream,
    shared: &Arc<Shared>,
    responder: &Arc<dyn Responder>,
) {
    use rustix::event::{PollFd, PollFlags, poll};
    while !shared.ending.load(Ordering::SeqCst) {
        let mut ready = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(woken, PollFlags::IN),
        ];
        if let Err(error) = poll(&mut ready, None)
            && error != rustix::io::Errno::INTR
        {
            tracing::warn!(%error, "the control socket can no longer be served");
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => admit(stream, shared, responder),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Out of descriptors, most likely: give clients time to leave.
                tracing::debug!(%error, "a control client could not be accepted");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn admit(mut stream: UnixStream, shared: &Arc<Shared>, responder: &Arc<dyn Responder>) {
    if stream.set_nonblocking(false).is_err()
        || stream.set_write_timeout(Some(REPLY_TIME)).is_err()
        || !may_speak(&stream)
    {
        let _ = send(
            &mut stream,
            &shared.refusal("only root and the user who runs uwwan are served"),
        );
        return;
    }
    if shared.clients.fetch_add(1, Ordering::SeqCst) >= MOST_CLIENTS {
        shared.clients.fetch_sub(1, Ordering::SeqCst);
        let _ = send(&mut stream, &shared.refusal("too many clients"));
        return;
    }
    let slot = Slot(Arc::clone(shared));
    let responder = Arc::clone(responder);
    let spawned = std::thread::Builder::new()
        .name("control client".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            if let Err(error) = serve(&mut stream, &slot.0, responder.as_ref()) {
                tracing::debug!(%error, "a control client left");
            }
        });
    if let Err(error) = spawned {
        tracing::debug!(%error, "no thread for a control client");
    }
}

/// A client's place; given back however its thread ends.
struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::SeqCst);
    }
}

fn may_speak(stream: &UnixStream) -> bool {
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => peer.uid.is_root() || peer.uid == rustix::process::geteuid(),
        Err(_) => false,
    }
}

fn serve(stream: &mut UnixStream, shared: &Shared, responder: &dyn Responder) -> io::Result<()> {
    let mut pending = Vec::new();
    while let Some(line) = read_line(stream, &mut pending, shared)? {
        match parse_request(&line) {
            Err(why) => {
                send(stream, &shared.refusal(why))?;
                return Ok(());
            }
            Ok(Request::Status {}) => {
                let mut reply = shared.reply();
                reply.status = Some(responder.status());
                send(stream, &reply)?;
            }
            Ok(Request::Watch {}) => return watch(stream, shared, responder),
            Ok(Request::Stop {}) => {
                responder.stop();
                send(stream, &shared.reply())?;
                let mut seen = 0;
                while !shared.ending.load(Ordering::SeqCst) {
                    seen = shared.wait(seen, Duration::from_secs(1));
                }
                let mut reply = shared.reply();
                reply.stopped = Some(true);
                return send(stream, &reply);
            }
        }
    }
    Ok(())
}

fn watch(stream: &mut UnixStream, shared: &Shared, responder: &dyn Responder) -> io::Result<()> {
    let mut seen = shared.wait(u64::MAX, Duration::ZERO);
    while !shared.ending.load(Ordering::SeqCst) {
        let mut reply = shared.reply();
        reply.status = Some(responder.status());
        send(stream, &reply)?;
        // At most ten lines a second, however fast the state changes.
        std::thread::sleep(Duration::from_millis(100));
        seen = shared.wait(seen, Duration::from_millis(900));
    }
    Ok(())
}

/// The next line without its end; `None` when the client is done, too slow, or the server ends.
fn read_line(
    stream: &mut UnixStream,
    pending: &mut Vec<u8>,
    shared: &Shared,
) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + REQUEST_TIME;
    loop {
        if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = pending.drain(..=end).collect();
            line.pop();
            return Ok(Some(line));
        }
        if pending.len() >= LONGEST_REQUEST {
            send(
                stream,
                &shared.refusal(format!("a request has at most {LONGEST_REQUEST} bytes")),
            )?;
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.ending.load(Ordering::SeqCst) {
            return Ok(None);
        }
        // Short turns, so that the end of the server is noticed.
        stream.set_read_timeout(Some(left.min(Duration::from_millis(200))))?;
        let mut chunk = [0; 512];
        let room = chunk.len().min(LONGEST_REQUEST - pending.len());
        match stream.read(&mut chunk[..room]) {
            Ok(0) => return Ok(None),
            Ok(count) => pending.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

fn send(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::Client;
    use std::io::{BufRead, BufReader};

    struct Fake {
        stops: AtomicUsize,
    }

    impl Responder for Fake {
        fn status(&self) -> serde_json::Value {
            // Large enough that a watcher who does not read fills its socket.
            serde_json::json!({"online": true, "filler": "x".repeat(50_000)})
        }
        fn stop(&self) {
            self.stops.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Place {
        base: tempfile::TempDir,
        socket: std::path::PathBuf,
        fake: Arc<Fake>,
        server: Option<Server>,
    }

    fn place() -> Place {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("1-4");
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("control");
        let fake = Arc::new(Fake {
            stops: AtomicUsize::new(0),
        });
        let server =
            Server::start(&socket, "1-4", Arc::clone(&fake) as Arc<dyn Responder>).unwrap();
        Place {
            base,
            socket,
            fake,
            server: Some(server),
        }
    }

    impl Place {
        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(&self.socket).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream
        }

        fn exchange(&self, request: &[u8]) -> Option<Reply> {
            let mut stream = self.connect();
            // The server may close before everything is written.
            let _ = stream.write_all(request);
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).ok()?;
            serde_json::from_str(&line).ok()
        }

        fn still_serves(&self) {
            let reply = self.exchange(b"{\"command\":\"status\"}\n").unwrap();
            assert!(reply.ok, "{reply:?}");
            assert_eq!(reply.status.unwrap()["online"], true);
        }
    }

    #[test]
    fn only_the_owner_may_open_it() {
        let place = place();
        let mode = std::fs::metadata(&place.socket)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        place.still_serves();
    }

    #[test]
    fn one_connection_may_ask_often() {
        let place = place();
        let mut stream = place.connect();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for _ in 0..3 {
            stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains("\"ok\":true"), "{line}");
        }
    }

    #[test]
    fn garbage_is_refused_and_the_next_client_served() {
        let place = place();
        for garbage in [
            &b"\n"[..],
            b"hello\n",
            b"\xff\xfe\x00\x01\n",
            b"{\"command\":\"reboot\"}\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let reply = place.exchange(garbage).unwrap();
            assert!(!reply.ok && reply.error.is_some(), "{reply:?}");
        }
        place.still_serves();
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let place = place();
        let reply = place.exchange(&vec![b'a'; 1 << 20]);
        assert!(reply.is_none_or(|reply| !reply.ok));
        place.still_serves();
    }

    #[test]
    fn silent_dropped_and_many_clients_do_no_harm() {
        let place = place();
        let silent: Vec<UnixStream> = (0..MOST_CLIENTS - 1).map(|_| place.connect()).collect();
        for _ in 0..50 {
            let mut dropped = place.connect();
            let _ = dropped.write_all(b"{\"command\":");
        }
        // One place is left, and dropped clients give theirs back.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match place.exchange(b"{\"command\":\"status\"}\n") {
                Some(reply) if reply.ok => break,
                _ => assert!(Instant::now() < deadline, "nobody is served any more"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // However many more come, the house is full at some point, and says so.
        let mut more = Vec::new();
        let refused = loop {
            more.push(place.connect());
            match place.exchange(b"{\"command\":\"status\"}\n") {
                Some(reply) if reply.ok => assert!(more.len() < 1000, "nobody is refused"),
                Some(reply) => break reply,
                None => {}
            }
        };
        assert!(refused.error.unwrap().contains("too many"));
        drop(silent);
    }

    #[test]
    fn a_watcher_who_does_not_read_is_dropped() {
        let place = place();
        let mut stream = place.connect();
        stream.write_all(b"{\"command\":\"watch\"}\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let server = place.server.as_ref().unwrap();
        loop {
            server.announce();
            std::thread::sleep(Duration::from_millis(50));
            if server.shared.clients.load(Ordering::SeqCst) == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "the watcher still has its place");
        }
        place.still_serves();
    }

    #[test]
    fn a_watcher_sees_changes_and_the_end() {
        let mut place = place();
        let mut client = Client::find(Some(place.base.path()), None).unwrap();
        client.ask(Request::Watch {}).unwrap();
        for _ in 0..3 {
            let reply = client.reply(Duration::from_secs(5)).unwrap().unwrap();
            assert!(reply.status.is_some());
            place.server.as_ref().unwrap().announce();
        }
        place.server = None;
        let end = Instant::now() + Duration::from_secs(10);
        while client.reply(Duration::from_secs(5)).unwrap().is_some() {
            assert!(Instant::now() < end);
        }
    }

    #[test]
    fn a_stop_is_passed_on_and_its_end_told() {
        let mut place = place();
        let mut client = Client::find(Some(place.base.path()), Some("1-4")).unwrap();
        client.ask(Request::Stop {}).unwrap();
        let reply = client.reply(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!((reply.ok, reply.stopped), (true, None));
        assert_eq!(place.fake.stops.load(Ordering::SeqCst), 1);
        place.server = None;
        let reply = client.reply(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!(reply.stopped, Some(true));
        assert!(client.reply(Duration::from_secs(5)).unwrap().is_none());
    }

    #[test]
    fn nobody_there_and_several_there_are_told_apart() {
        let empty = tempfile::tempdir().unwrap();
        let failure = Client::find(Some(empty.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Missing);

        let place = place();
        let second = place.base.path().join("2-1");
        std::fs::create_dir(&second).unwrap();
        let stale = second.join("control");
        drop(UnixListener::bind(&stale).unwrap());
        // A dead owner's socket does not count.
        Client::find(Some(place.base.path()), None).unwrap();
        std::fs::remove_file(&stale).unwrap();
        let other = Server::start(&stale, "2-1", Arc::clone(&place.fake) as Arc<dyn Responder>);
        let failure = Client::find(Some(place.base.path()), None).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Several);
        assert!(failure.to_string().contains("1-4, 2-1"), "{failure}");
        drop(other);
    }
}
