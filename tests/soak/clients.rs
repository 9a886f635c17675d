//! Local programs that connect to the sockets of the running `up` and leave again: well-behaved
//! ones, and ones that are silent, send nonsense, do not read, or leave in the middle.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use uwwan_mbim::services::basic_connect::{self as bc, DeviceCaps, SignalState};
use uwwan_mbim::session::Command;
use uwwan_modem::FailureKind;
use uwwan_modem::capture;
use uwwan_modem::client::{AtClient, Client, StatusClient};
use uwwan_modem::share::Request;

use crate::run::{Chance, Run};

/// Time that is long enough for any answer on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kind of client, which makes one request and returns whether it was served. While the modem is
/// away, none is served.
type Kind = fn(&Run, &mut Chance) -> bool;

/// The kinds of clients by name.
pub const KINDS: &[(&str, Kind)] = &[
    ("status", status),
    ("watcher", watcher),
    ("AT client", at),
    ("AT terminal", terminal),
    ("MBIM client", mbim),
    ("capture", captured),
    ("nuisance", nuisance),
];

/// Lets clients of one kind connect one after the other.
pub fn work(run: &Run, seed: u64, (name, kind): (&'static str, Kind)) {
    let mut chance = Chance::new(seed);
    while let Some(busy) = run.gate.pass() {
        run.tried(name, kind(run, &mut chance));
        drop(busy);
        run.gate.rest(Duration::from_millis(20 + chance.below(300)));
    }
}

fn control(run: &Run) -> Option<StatusClient> {
    StatusClient::connect(&run.sockets.join("control")).ok()
}

fn status(run: &Run, _: &mut Chance) -> bool {
    let client = StatusClient::connect(&run.sockets.join("control"));
    let reply = client.and_then(|mut client| client.status());
    let told = reply.and_then(|reply| reply.decode());
    if let Err(failure) = &told {
        eprintln!("no status: {}", failure.one_line());
    }
    told.is_ok()
}

/// Watches for a while, and reads all of the status lines or none.
fn watcher(run: &Run, chance: &mut Chance) -> bool {
    let Some(mut client) = control(run) else {
        return false;
    };
    let asked = client.ask(Request::Watch {}).is_ok();
    if chance.below(2) == 0 {
        run.gate.rest(Duration::from_millis(chance.below(4000)));
        return asked;
    }
    (0..=chance.below(5)).all(|_| matches!(client.reply(PATIENCE), Ok(Some(_))))
}

fn at(run: &Run, chance: &mut Chance) -> bool {
    let Ok(mut client) = AtClient::through(&run.sockets.join("at.socket")) else {
        return false;
    };
    let lines = (chance.below(3) == 0).then(|| client.listen());
    let served = ["AT+CSQ", "ATI", "AT+COPS?"].iter().all(|line| {
        let answer = client.ask(line, None, None);
        answer.is_ok_and(|answer| !answer.lines.is_empty())
    });
    drop(lines);
    served
}

/// Opens the terminal, sends a command, and reads the answer or leaves without it.
fn terminal(run: &Run, chance: &mut Chance) -> bool {
    let path = run.sockets.join("at");
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    let Ok(mut terminal) = options.read(true).write(true).open(path) else {
        return false;
    };
    if terminal.write_all(b"AT+CSQ\r").is_err() || chance.below(4) == 0 {
        return false;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut answer = Vec::new();
    let mut chunk = [0; 256];
    while Instant::now() < deadline {
        match terminal.read(&mut chunk) {
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        if answer.windows(4).any(|text| text == b"OK\r\n") {
            return answer.windows(5).any(|text| text == b"+CSQ:");
        }
    }
    false
}

/// Sends a command, subscribes, and closes properly or leaves with a command under way.
fn mbim(run: &Run, chance: &mut Chance) -> bool {
    let Ok(mut client) = Client::through(&run.sockets.join("mbim")) else {
        return false;
    };
    let Ok(caps) = client.query::<DeviceCaps>(bc::DEVICE_CAPS) else {
        return false;
    };
    if !caps.firmware_info.starts_with("11.617.") {
        run.failed(format!("a client got the answer of another: {caps:?}"));
    }
    let wanted = [bc::SIGNAL_STATE, bc::REGISTER_STATE, bc::CONNECT];
    let wanted = &wanted[..chance.below(4) as usize];
    if client.subscribe(wanted).is_err() || client.query::<SignalState>(bc::SIGNAL_STATE).is_err() {
        return false;
    }
    let _ = client.next_indication(Duration::from_millis(chance.below(500)));
    if chance.below(2) == 0 {
        let _ = client.start(Command::query(bc::VISIBLE_PROVIDERS), PATIENCE);
        return true;
    }
    client.close().is_ok()
}

/// Records a capture for a while, and ends it properly or leaves.
fn captured(run: &Run, chance: &mut Chance) -> bool {
    let Some(client) = control(run) else {
        return false;
    };
    let options = capture::Options {
        snap: Some(64),
        ..capture::Options::default()
    };
    let (mut bytes, stream) = match client.capture(options) {
        Ok(started) => started,
        Err(failure) if failure.kind == FailureKind::Busy => return false,
        Err(_) => return false,
    };
    let mut head = [0; 4096];
    if bytes.read_exact(&mut head).is_err() {
        return false;
    }
    run.gate.rest(Duration::from_millis(chance.below(2000)));
    if chance.below(2) == 0 {
        return true;
    }
    // The rest of the file follows, and then its end.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    std::io::copy(&mut bytes, &mut std::io::sink()).is_ok()
}

/// Connects to any socket and sends nothing, nonsense, or half of a request.
fn nuisance(run: &Run, chance: &mut Chance) -> bool {
    const SAYINGS: &[&[u8]] = &[
        b"",
        b"{\"command\":",
        b"{\"command\":\"status\"}\n{\"command\":\"watch\"}\n{\"command\":\"status\"}\n",
        b"{\"command\":{\"line\":\"AT+CGSN\"}}\n{\"command\":{\"line\":\"AT",
        &[1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0, 0, 3, 0, 0],
        &[0xff; 5000],
    ];
    let sockets = ["control", "at.socket", "mbim"];
    let socket = sockets[chance.below(3) as usize];
    let Ok(mut stream) = UnixStream::connect(run.sockets.join(socket)) else {
        return false;
    };
    let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
    let _ = stream.write_all(SAYINGS[chance.below(SAYINGS.len() as u64) as usize]);
    run.gate.rest(Duration::from_millis(chance.below(500)));
    true
}
