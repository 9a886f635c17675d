//! Tests of status and orders through real sockets. The AT port and the proxy are tested on an
//! emulated modem, in the tests of the workspace.

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::permissions::Caller;

const PATIENCE: Duration = Duration::from_secs(20);
const STATUS: &[u8] = b"{\"command\":\"status\"}\n";
const STOP: &[u8] = b"{\"command\":\"stop\"}\n";
const ASK: &[u8] = b"{\"command\":\"ask\",\"session\":0,\"wait_ms\":1,\"what\":{\"addresses\":{\"name\":\"a\"}}}\n";
const WATCH: &[u8] = b"{\"command\":\"watch\"}\n";

struct Fake(Arc<AtomicUsize>);

impl Responder for Fake {
    fn status(&self) -> serde_json::Value {
        // The status is large enough that a watcher that does not read fills its socket.
        serde_json::json!({"online": true, "filler": "x".repeat(50_000)})
    }
    fn stop(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Served {
    folder: PathBuf,
    stops: Arc<AtomicUsize>,
    changes: Changes,
    server: Option<Server>,
}

fn served() -> Served {
    served_by(Policy::default())
}

fn served_by(policy: Policy) -> Served {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = std::env::temp_dir().join(format!(
        "uwwan-share-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let stops = Arc::new(AtomicUsize::new(0));
    let mut builder = Builder::new(policy).unwrap();
    let fake = Box::new(Fake(Arc::clone(&stops)));
    let changes = builder.status(&folder.join("control"), "1-4", fake);
    Served {
        changes: changes.unwrap(),
        folder,
        stops,
        server: Some(builder.serve().unwrap()),
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server = None;
        // The socket is removed with the server.
        assert!(std::fs::remove_dir(&self.folder).is_ok() || std::thread::panicking());
    }
}

struct Talk(BufReader<UnixStream>);

impl Talk {
    fn say(&mut self, bytes: &[u8]) {
        // The server may close the connection before everything is written.
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Returns the next reply; `None` when the other end has closed.
    fn reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Served {
    fn connect(&self) -> Talk {
        let stream = UnixStream::connect(self.folder.join("control")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Talk(BufReader::new(stream))
    }

    fn exchange(&self, request: &[u8]) -> Option<Reply> {
        let mut talk = self.connect();
        talk.say(request);
        talk.reply()
    }

    fn still_serves(&self) {
        let reply = self.exchange(STATUS).unwrap();
        assert!(reply.ok, "{reply:?}");
        assert_eq!(reply.status.unwrap()["online"], true);
    }
}

#[test]
fn one_connection_may_ask_often_and_ahead() {
    let served = served();
    let mut talk = served.connect();
    talk.say(&STATUS.repeat(20));
    for _ in 0..20 {
        assert!(talk.reply().unwrap().ok);
    }
}

#[test]
fn garbage_is_refused_and_the_next_client_served() {
    let served = served();
    for garbage in [
        &b"\n"[..],
        b"hello\n",
        b"\xff\xfe\x00\x01\n",
        b"{\"command\":\"reboot\"}\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let reply = served.exchange(garbage).unwrap();
        assert!(!reply.ok && reply.error.is_some(), "{reply:?}");
    }
    served.still_serves();
}

#[test]
fn an_endless_line_is_cut_off() {
    let served = served();
    let reply = served.exchange(&vec![b'a'; 1 << 20]);
    assert!(reply.is_none_or(|reply| !reply.ok));
    served.still_serves();
}

#[test]
fn who_is_silent_or_leaves_or_watches_keeps_nobody_out() {
    let served = served();
    let silent: Vec<Talk> = (0..100).map(|_| served.connect()).collect();
    for _ in 0..50 {
        served.connect().say(b"{\"command\":");
    }
    served.still_serves();
    drop(silent);
    // Watchers are refused before they take all places.
    let mut watchers: Vec<Talk> = (0..20).map(|_| served.connect()).collect();
    let mut refused = 0;
    for talk in &mut watchers {
        talk.say(WATCH);
        let reply = talk.reply().unwrap();
        refused += usize::from(!reply.ok);
        if let Some(why) = reply.error {
            assert!(why.contains("too many"), "{why}");
        }
    }
    assert!((1..20).contains(&refused), "{refused}");
    served.still_serves();
    let mut order = served.connect();
    order.say(b"{\"command\":\"stop\"}\n");
    assert!(order.reply().unwrap().ok);
}

/// Clients that send nothing do not keep out others of the same user.
#[test]
fn a_silent_client_makes_room_for_the_next() {
    for pretended in [Caller::Everyone, Caller::Guest, Caller::Operator] {
        let served = served_by(Policy {
            pretended: Some(pretended),
            ..Policy::default()
        });
        let _silent: Vec<Talk> = (0..128).map(|_| served.connect()).collect();
        served.still_serves();
    }
}

/// Callers who may do more find some places of each service, whatever the others do.
#[test]
fn nobody_takes_the_places_of_those_who_may_do_more() {
    let mut before = 0;
    let others = [Caller::Everyone, Caller::Guest, Caller::Operator].map(Some);
    for pretended in others.into_iter().chain([None]) {
        let served = served_by(Policy {
            pretended,
            ..Policy::default()
        });
        let mut watchers: Vec<Talk> = (0..20).map(|_| served.connect()).collect();
        let mut places = 0;
        for talk in &mut watchers {
            talk.say(WATCH);
            places += usize::from(talk.reply().unwrap().ok);
        }
        assert!(places > before, "{pretended:?}: {places} after {before}");
        before = places;
    }
}

/// A user who may only read the status is told who may do more, also by a refusal, and operators
/// are told who may end the modem.
#[test]
fn a_user_who_may_only_look_is_told_who_may_use_the_modem() {
    for (pretended, operators) in [
        (Caller::Everyone, true),
        (Caller::Guest, true),
        (Caller::Operator, false),
    ] {
        let served = served_by(Policy {
            pretended: Some(pretended),
            operators: Allow {
                groups: vec![990],
                words: vec!["group uwwan".into()],
                ..Allow::default()
            },
            ..Policy::default()
        });
        let mut talk = served.connect();
        talk.say(STATUS);
        let told = talk.reply().unwrap().operators;
        assert_eq!(told.is_some(), operators, "{pretended:?}: {told:?}");
        assert!(told.is_none_or(|told| told.contains("group uwwan (--operator)")));
        for (order, least) in [(STOP, Caller::Owner), (ASK, Caller::Operator)] {
            let mut talk = served.connect();
            talk.say(order);
            let failure = talk.reply().unwrap().failure;
            let next = failure.map_or(String::new(), |failure| failure.next.join("; "));
            let named = next.contains("group uwwan (--operator)");
            let expected = pretended < least && least == Caller::Operator;
            assert_eq!(named, expected, "{pretended:?} {least:?}: {next}");
        }
    }
}

#[test]
fn a_watcher_who_does_not_read_is_dropped() {
    let served = served();
    let mut talk = served.connect();
    talk.say(WATCH);
    let deadline = Instant::now() + PATIENCE;
    // A write that fails shows the end; a read would let the server continue.
    while talk.0.get_mut().write_all(b" ").is_ok() {
        assert!(Instant::now() < deadline, "the watcher still has its place");
        served.changes.announce();
        std::thread::sleep(Duration::from_millis(50));
    }
    served.still_serves();
}

#[test]
fn the_caller_attends_when_it_is_due_though_nobody_wakes_the_loop() {
    let builder = Builder::new(Policy::default()).unwrap();
    let mut times = Vec::new();
    builder.serve_here(|| {
        times.push(Instant::now());
        match times.len() {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(Some(Instant::now() + Duration::from_millis(20))),
        }
    });
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        pauses
            .clone()
            .all(|pause| pause >= Duration::from_millis(20)),
        "{times:?}"
    );
}

#[test]
fn a_watcher_sees_changes_and_the_end() {
    let mut served = served();
    let mut talk = served.connect();
    talk.say(WATCH);
    for _ in 0..3 {
        assert!(talk.reply().unwrap().status.is_some());
        served.changes.announce();
    }
    served.server = None;
    while let Some(reply) = talk.reply() {
        assert!(reply.status.is_some());
    }
}

#[test]
fn a_stop_is_passed_on_and_its_end_told() {
    let mut served = served();
    let mut talk = served.connect();
    talk.say(b"{\"command\":\"stop\"}\n");
    let reply = talk.reply().unwrap();
    assert_eq!((reply.ok, reply.stopped), (true, None));
    assert_eq!(served.stops.load(Ordering::SeqCst), 1);
    served.server = None;
    assert_eq!(talk.reply().unwrap().stopped, Some(true));
    assert_eq!(talk.reply(), None);
}
