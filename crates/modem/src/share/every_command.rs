//! Sends every command that the codecs know to an emulated modem with a PIN, as each of the four
//! callers, through the real sockets.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use uwwan_at::commands::known::KNOWN;
use uwwan_at::dialogue::Command as AtCommand;
use uwwan_emulator::{Emulator, FarSide};
use uwwan_mbim::CommandKind;
use uwwan_mbim::registry::{CidId, services};
use uwwan_mbim::services::basic_connect::{PIN, PinInfo, PinOperation, PinSet, PinState, PinType};
use uwwan_mbim::services::proxy_control;
use uwwan_mbim::session::Command;
use uwwan_mbim::status::Status;

use super::*;
use crate::client::{AtClient, Client, StatusClient};
use crate::failure::{Failure, FailureKind};
use crate::host::{Carries, HostConfig, HostControl, HostData, HostEnd, HostProvider, Single};
use crate::join::JoinOptions;
use crate::options::{Options, Secret};
use crate::permissions::{Caller, at_names};
use crate::status::Interface;
use crate::{Handle, Modem, Selector};

/// Long enough for any step on a loaded machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Host interface that drops all packets.
struct Sink {
    ours: UnixDatagram,
    /// The far end of the sockets, kept open.
    _theirs: UnixDatagram,
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

impl Single for Sink {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ours.recv(buffer)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        Ok(datagram.len())
    }
}

struct Sinks;

/// Returns a host's end for packets that nobody takes.
pub(super) fn sink() -> HostData {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    HostData::Single(Box::new(Sink {
        ours,
        _theirs: theirs,
    }))
}

impl HostProvider for Sinks {
    fn bring_up(&mut self, _: &HostConfig) -> Result<HostEnd, Failure> {
        Ok(HostEnd {
            control: Box::new(Sinks),
            data: sink(),
        })
    }
}

impl HostControl for Sinks {
    fn reconfigure(&mut self, _: &HostConfig) -> Result<(), Failure> {
        Ok(())
    }

    fn interface(&self) -> Interface {
        Interface {
            name: "sink".into(),
            mode: "a socket".into(),
            ..Interface::default()
        }
    }
}

struct Stops(Arc<AtomicUsize>);

impl Responder for Stops {
    fn status(&self) -> serde_json::Value {
        serde_json::json!({})
    }
    fn stop(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A driver online on an emulated modem.
struct Bench {
    emulator: Emulator,
    handle: Handle,
    folder: PathBuf,
    stops: Arc<AtomicUsize>,
}

/// Returns an emulated modem with a PIN, and a driver that is online on it.
pub(super) fn online() -> (Emulator, Handle) {
    let knobs = "settle_ms=20,absent_ms=200,pin=1234";
    let emulator = Emulator::new(knobs.parse().unwrap(), FarSide::BuiltIn).unwrap();
    let options = Options {
        settle: Some(Duration::from_millis(60)),
        probe: false,
        pin: Secret::new("1234".to_owned()),
        ..Options::default()
    };
    let handle = Modem::start(
        emulator.backend(),
        Selector::Any,
        options,
        Box::new(Sinks),
        Box::new(|_| {}),
    )
    .unwrap();
    assert!(
        handle.wait_online(PATIENCE).is_ok(),
        "{:?}",
        handle.status()
    );
    (emulator, handle)
}

impl Bench {
    fn start() -> Self {
        let (emulator, handle) = online();
        handle.at_port().unwrap().wait_open(PATIENCE).unwrap();
        let folder = std::env::temp_dir().join(format!("uwwan-every-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            emulator,
            handle,
            folder,
            stops: Arc::default(),
        }
    }

    /// Opens all entrances; every peer is taken for `caller`.
    fn serve(&self, caller: Caller) -> Server {
        let mut builder = Builder::new(Policy {
            pretended: Some(caller),
            ..Policy::default()
        })
        .unwrap();
        let stops = Box::new(Stops(Arc::clone(&self.stops)));
        let control = self.folder.join("control");
        builder.status(&control, "1-1", stops).unwrap();
        let options = MbimOptions {
            socket: self.folder.join("mbim"),
            ..MbimOptions::default()
        };
        builder.mbim(&self.handle, &options);
        let options = AtOptions {
            socket: Some(self.folder.join("at.socket")),
            ..AtOptions::default()
        };
        builder
            .at(self.handle.at_port().unwrap(), &options)
            .unwrap();
        builder.serve().unwrap()
    }

    fn pin(&self) -> PinInfo {
        Client::beside(&self.handle).unwrap().query(PIN).unwrap()
    }

    fn nothing_is_lost(&self, who: Caller, after: &str) {
        let status = self.handle.status();
        assert!(status.online, "{who:?}, {after}: {}", status.why);
        assert_eq!(status.attempts, 1, "{who:?}, {after}");
        assert_eq!(
            self.emulator.report().counters.resets,
            0,
            "{who:?}, {after}"
        );
        assert_eq!(self.stops.load(Ordering::SeqCst), 0, "{who:?}, {after}");
    }

    fn no_attempt_is_lost(&self, who: Caller, after: &str) {
        self.nothing_is_lost(who, after);
        let pin = self.pin();
        let found = (pin.pin_state, pin.remaining_attempts);
        assert_eq!(found, (PinState::UNLOCKED, 3), "{who:?}, {after}");
    }
}

fn every_cid() -> impl Iterator<Item = CidId> {
    services().iter().flat_map(|service| {
        let cids = service.cids.iter();
        cids.map(move |cid| CidId {
            service: service.uuid,
            cid: cid.number,
        })
    })
}

fn wrong_pins() -> Vec<Command> {
    let mut commands = Vec::new();
    for pin_type in [PinType::PIN1, PinType::PUK1] {
        for pin_operation in [
            PinOperation::ENTER,
            PinOperation::DISABLE,
            PinOperation::ENABLE,
            PinOperation::CHANGE,
        ] {
            let content = PinSet {
                pin_type,
                pin_operation,
                pin: "0000".into(),
                new_pin: "1111".into(),
            };
            commands.push(Command::set(PIN, &content));
        }
    }
    commands
}

fn send_every_mbim_command(bench: &Bench, who: Caller) {
    let socket = bench.folder.join("mbim");
    let mut client = Client::through(&socket).unwrap();
    let word = |value: u32| value.to_le_bytes().repeat(24);
    let infos = [Vec::new(), word(0), word(1), word(2), word(u32::MAX)];
    for id in every_cid() {
        for kind in [CommandKind::QUERY, CommandKind::SET, CommandKind(7)] {
            if id == PIN && who == Caller::Owner && kind != CommandKind::QUERY {
                continue;
            }
            for info in &infos {
                let info = info.clone();
                let answer = client.command(Command { id, kind, info }, PATIENCE);
                // The proxy disconnects a client that names another modem.
                if answer.is_err_and(|failure| failure.kind == FailureKind::Gone) {
                    assert_eq!(id.service, proxy_control::UUID, "{who:?}");
                    client = Client::through(&socket).unwrap();
                }
            }
        }
        bench.nothing_is_lost(who, &id.to_string());
    }
    client.close().unwrap();
}

fn send_every_at_command(bench: &Bench, who: Caller) {
    let mut client = AtClient::through(&bench.folder.join("at.socket")).unwrap();
    let mut names: Vec<&str> = at_names().collect();
    names.extend(KNOWN.iter().map(|known| {
        let name = &known.command[2..];
        &name[..name.find(['=', '?']).unwrap_or(name.len())]
    }));
    names.sort_unstable();
    names.dedup();
    for name in names {
        for form in [
            "",
            "?",
            "=?",
            "=0",
            "=1",
            "=1,1",
            "=2",
            "=1,0",
            "=0,0",
            "=6",
            "=\"0000\"",
            "=\"0000\",\"1111\"",
            "=\"SC\",1,\"0000\"",
            "=\"SC\",0,\"0000\"",
            "=\"SC\",\"0000\",\"1111\"",
            "=\"SC\",2",
            "*99#",
        ] {
            if who < Caller::Operator && !form.is_empty() {
                // The port does not serve these callers at all.
                continue;
            }
            let line = format!("AT{name}{form}");
            // A command line with another command as its text is never sent.
            let wants = AtCommand::new(&*line).is_ok_and(|command| command.wants_text());
            if who == Caller::Operator {
                let commands = client.ask(&line, Some("\rAT^RESET\r"), Some(PATIENCE));
                let failure = commands.unwrap_err();
                let kinds = [FailureKind::Permission, FailureKind::Usage];
                assert!(kinds.contains(&failure.kind), "{line}: {failure}");
            }
            match client.ask(&line, wants.then_some("00"), Some(PATIENCE)) {
                Ok(_) => assert!(who >= Caller::Operator, "{who:?}: {line}"),
                Err(failure) => {
                    let kinds = [FailureKind::Permission, FailureKind::Usage];
                    let refused = kinds.contains(&failure.kind);
                    assert!(refused || who < Caller::Operator, "{line}: {failure}");
                    if who < Caller::Operator {
                        client = AtClient::through(&bench.folder.join("at.socket")).unwrap();
                    }
                }
            }
        }
        bench.nothing_is_lost(who, name);
    }
}

fn orders(bench: &Bench, who: Caller) {
    for (order, everybody) in [
        ("status", true),
        ("watch", true),
        ("end_captures", false),
        ("stop", false),
    ] {
        let mut stream = UnixStream::connect(bench.folder.join("control")).unwrap();
        writeln!(stream, "{{\"command\":\"{order}\"}}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        let reply: Reply = serde_json::from_str(&line).unwrap();
        let allowed = everybody || who == Caller::Owner;
        assert_eq!(reply.ok, allowed, "{who:?} {order}: {line}");
        if !allowed {
            let failure = reply.failure.unwrap();
            assert_eq!(failure.kind, FailureKind::Permission);
            assert!(failure.next[0].contains("root"), "{failure}");
        }
    }
    let client = StatusClient::connect(&bench.folder.join("control")).unwrap();
    let options = JoinOptions {
        carries: Carries::Packet,
        apn: None,
        ip_type: None,
        mtu: None,
    };
    let null = std::fs::File::open("/dev/null").unwrap();
    let failure = client.join(options, &[null.as_fd()]).unwrap_err();
    // The interface is examined when the caller may have a session.
    let kind = match who {
        Caller::Everyone | Caller::Guest => FailureKind::Permission,
        Caller::Operator | Caller::Owner => FailureKind::Missing,
    };
    assert_eq!(failure.kind, kind, "{who:?}: {failure}");
}

#[test]
fn nobody_loses_what_the_table_protects() {
    let bench = Bench::start();
    for who in [Caller::Everyone, Caller::Guest, Caller::Operator] {
        let server = bench.serve(who);
        send_every_mbim_command(&bench, who);
        let mut client = Client::through(&bench.folder.join("mbim")).unwrap();
        for command in wrong_pins() {
            let answer = client.command(command, PATIENCE).unwrap();
            assert_eq!(answer.status, Status::OPERATION_NOT_ALLOWED);
        }
        assert!(client.insist().is_err());
        drop(client);
        bench.no_attempt_is_lost(who, "MBIM");
        send_every_at_command(&bench, who);
        bench.no_attempt_is_lost(who, "AT");
        orders(&bench, who);
        bench.no_attempt_is_lost(who, "orders");
        drop(server);
    }
    let who = Caller::Owner;
    let server = bench.serve(who);
    send_every_mbim_command(&bench, who);
    send_every_at_command(&bench, who);
    bench.no_attempt_is_lost(who, "all but PIN");
    // The PIN commands themselves cost attempts, but not the last one.
    let mut client = Client::through(&bench.folder.join("mbim")).unwrap();
    for command in wrong_pins().into_iter().cycle().take(40) {
        client.command(command, PATIENCE).unwrap();
        bench.nothing_is_lost(who, "PIN");
    }
    let pin = bench.pin();
    let found = (pin.pin_state, pin.remaining_attempts);
    assert_eq!(found, (PinState::UNLOCKED, 1));
    drop(client);
    orders(&bench, who);
    assert_eq!(bench.stops.load(Ordering::SeqCst), 1);
    drop(server);
    std::fs::remove_dir(&bench.folder).unwrap();
    bench.handle.stop();
    bench.handle.wait().unwrap();
}
