//! The AT port on the emulated modem: opened directly, in the driver, and through its terminals and
//! socket.

mod story;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_at::dialogue::Command;
use uwwan_emulator::{Emulator, FarSide};
use uwwan_modem::FailureKind;
use uwwan_modem::at_port::open::{Choice, open};
use uwwan_modem::at_port::{AtPort, Candidate, Line, Role};
use uwwan_modem::client::AtClient;
use uwwan_modem::share::{AtOptions, Builder, Policy, Server};
use uwwan_usb::device::{Backend, Device};
use uwwan_usb::functions::{SerialRole, at_candidates, at_pipe};

/// Time that is long enough for any step on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn emulator(knobs: &str) -> Emulator {
    let knobs = format!("settle_ms=20,absent_ms=200,{knobs}");
    Emulator::new(knobs.parse().unwrap(), FarSide::BuiltIn).unwrap()
}

fn command(line: &str) -> Command {
    Command::new(line).unwrap()
}

/// Returns the serial functions of a device in its active configuration.
fn serial_ports(device: &dyn Device) -> Vec<Candidate> {
    let active = device.active_configuration().unwrap();
    at_candidates(device.descriptors(), active)
        .into_iter()
        .map(Candidate::Serial)
        .collect()
}

/// Returns a port of the device that answers, in its active configuration.
fn attached(emulator: &Emulator) -> AtPort {
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let device = backend.open(&found).unwrap();
    let at = AtPort::start().unwrap();
    at.attach(Arc::clone(&device), serial_ports(&*device));
    at.wait_open(PATIENCE).unwrap();
    at
}

fn lines(at: &AtPort, line: &str) -> Vec<String> {
    let answer = at.ask(command(line)).unwrap();
    assert_eq!(answer.result, Ok(()), "{line}");
    answer.lines
}

fn no_violations(emulator: &Emulator) {
    let report = emulator.report();
    assert_eq!(report.total_violations(), 0, "{:#?}", report.violations);
}

#[test]
fn a_port_is_found_in_every_configuration() {
    for (start, configuration, role) in [
        (0, 3, SerialRole::Gps),
        (1, 1, SerialRole::Pcui),
        (2, 2, SerialRole::Pcui),
        (3, 3, SerialRole::Gps),
    ] {
        for drivers in ["bound", "none"] {
            let emulator = emulator(&format!(
                "start_configuration={start},host_drivers={drivers}"
            ));
            let backend = emulator.backend();
            let found = backend.devices().unwrap().remove(0);
            let opened = open(&*backend, &found, &Choice::default(), &mut |_| {}).unwrap();
            assert_eq!(
                (opened.port.configuration, opened.port.role),
                (configuration, Role::Serial(role)),
                "from {start}"
            );
            assert_eq!(lines(&opened.at, "AT+CSQ"), ["+CSQ: 21,99"]);
            drop(opened);
            let found = backend.devices().unwrap().remove(0);
            let option = found
                .kernel_drivers
                .iter()
                .filter(|(_, driver)| driver == "option")
                .count();
            if start != 0 && drivers == "bound" {
                assert_eq!(option, if start == 3 { 1 } else { 5 }, "given back");
            }
            no_violations(&emulator);
        }
    }
}

#[test]
fn encapsulated_commands_carry_at_where_no_port_answers() {
    for drivers in ["bound", "none"] {
        let emulator = emulator(&format!(
            "start_configuration=1,at_ports_silent=on,host_drivers={drivers}"
        ));
        let backend = emulator.backend();
        let found = backend.devices().unwrap().remove(0);
        let choice = Choice {
            patience: PATIENCE,
            ..Choice::default()
        };
        let opened = open(&*backend, &found, &choice, &mut |_| {}).unwrap();
        let port = &opened.port;
        assert_eq!(
            (port.configuration, port.interface, port.role),
            (1, 3, Role::Pipe)
        );
        assert_eq!(lines(&opened.at, "AT+CSQ"), ["+CSQ: 21,99"]);
        // The command and its answer are long, so the answer takes more than one response.
        let contexts = lines(&opened.at, "AT+CGDCONT?");
        assert!(contexts.iter().any(|line| line.starts_with("+CGDCONT: ")));
        drop(opened);
        let after = backend.devices().unwrap().remove(0);
        assert_eq!(after.kernel_drivers, found.kernel_drivers, "given back");
        no_violations(&emulator);
    }
}

#[test]
fn a_pipe_that_is_silent_is_tried_last_and_told() {
    let emulator = emulator("start_configuration=1,at_silent=on");
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let device = backend.open(&found).unwrap();
    let pipe = at_pipe(device.descriptors(), 1).unwrap();
    let at = AtPort::start().unwrap();
    let pipe = Candidate::Pipe {
        pipe,
        claimed: false,
    };
    at.attach(device, vec![pipe]);
    let error = at.wait_open(Duration::from_secs(4)).unwrap_err();
    assert_eq!(error.kind, FailureKind::Timeout, "{error}");
    assert!(error.to_string().contains("interface 3 "), "{error}");
    at.detach();
    no_violations(&emulator);
}

#[test]
fn position_data_comes_on_its_own_port() {
    let emulator = emulator("");
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let choice = Choice {
        prefer: Some(SerialRole::Gps),
        ..Choice::default()
    };
    let opened = open(&*backend, &found, &choice, &mut |_| {}).unwrap();
    assert_eq!(opened.port.role, Role::Serial(SerialRole::Gps));
    let heard = opened.at.subscribe();
    for line in uwwan_at::commands::gps::start(1).unwrap() {
        assert_eq!(opened.at.ask(line).unwrap().result, Ok(()));
    }
    let line = heard.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(&line, Line::Nmea(text) if text.starts_with("$GP")),
        "{line:?}"
    );
    // Commands are answered between the sentences.
    assert_eq!(lines(&opened.at, "AT+CSQ"), ["+CSQ: 21,99"]);
    let stop = uwwan_at::commands::gps::stop().unwrap();
    assert_eq!(opened.at.ask(stop).unwrap().result, Ok(()));
}

#[test]
fn several_clients_get_their_own_answers() {
    let emulator = emulator("nmea=on,start_configuration=3");
    let at = attached(&emulator);
    let asked = [
        ("AT+CSQ", "+CSQ: 21,99"),
        ("AT^IPV6CAP?", "^IPV6CAP: 1"),
        ("AT+CGMM", "ME906s-158"),
        ("AT+CPIN?", "+CPIN: READY"),
    ];
    let workers: Vec<_> = asked
        .into_iter()
        .map(|(line, expected)| {
            let at = at.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    assert_eq!(lines(&at, line), [expected]);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    no_violations(&emulator);
}

#[test]
fn a_silent_port_is_bounded_and_one_that_boots_is_waited_for() {
    let silent = emulator("at_silent=on,start_configuration=3");
    let backend = silent.backend();
    let found = backend.devices().unwrap().remove(0);
    let choice = Choice {
        patience: Duration::from_secs(4),
        ..Choice::default()
    };
    let begun = Instant::now();
    let error = open(&*backend, &found, &choice, &mut |_| {}).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(40));
    assert_eq!(error.kind, FailureKind::Timeout, "{error}");
    assert!(error.why[0].contains("interface 2"), "{error}");

    let booting = emulator("at_boot_ms=3500,start_configuration=3");
    let at = attached(&booting);
    assert_eq!(lines(&at, "AT+CSQ"), ["+CSQ: 21,99"]);
}

#[test]
fn what_spoils_the_port_for_others_is_not_sent() {
    let emulator = emulator("");
    let at = attached(&emulator);
    let error = at.ask(command("ATV0")).unwrap_err();
    assert_eq!(error.kind, FailureKind::Usage, "{error}");
    assert_eq!(lines(&at, "AT+CSQ"), ["+CSQ: 21,99"]);
}

#[test]
fn unplugging_is_told_at_once_and_the_next_device_taken() {
    let emulator = emulator("start_configuration=3");
    let at = attached(&emulator);
    emulator.unplug();
    let begun = Instant::now();
    let error = loop {
        match at.ask(command("AT+CSQ")) {
            Err(error) => break error,
            Ok(_) => assert!(begun.elapsed() < PATIENCE),
        }
    };
    assert!(
        matches!(error.kind, FailureKind::Gone | FailureKind::Missing),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    let error = at.ask(command("AT+CSQ")).unwrap_err();
    assert_eq!(error.kind, FailureKind::Missing, "{error}");
    emulator.plug();
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let device = backend.open(&found).unwrap();
    at.attach(Arc::clone(&device), serial_ports(&*device));
    at.wait_open(PATIENCE).unwrap();
    assert_eq!(lines(&at, "AT+CSQ"), ["+CSQ: 21,99"]);
    at.detach();
    assert!(at.port().is_none());
}

#[test]
fn another_owner_is_named() {
    let emulator = emulator("start_configuration=3");
    let at = attached(&emulator);
    let backend: Arc<dyn Backend> = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let choice = Choice {
        patience: Duration::from_secs(1),
        ..Choice::default()
    };
    let error = open(&*backend, &found, &choice, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    assert_eq!(lines(&at, "AT+CSQ"), ["+CSQ: 21,99"]);
}

// --- PTYs and socket ---

struct Served {
    _folder: tempfile::TempDir,
    places: AtOptions,
    at: AtPort,
    server: Option<Server>,
    emulator: Emulator,
}

fn serve(at: AtPort, places: &AtOptions) -> Server {
    let mut builder = Builder::new(Policy::default()).unwrap();
    builder.at(at, places).unwrap();
    builder.serve().unwrap()
}

fn served(knobs: &str) -> Served {
    let emulator = emulator(knobs);
    let at = attached(&emulator);
    let folder = tempfile::tempdir().unwrap();
    let places = AtOptions {
        socket: Some(folder.path().join("at.socket")),
        terminal: Some(folder.path().join("at")),
        ..AtOptions::default()
    };
    let server = serve(at.clone(), &places);
    Served {
        _folder: folder,
        places,
        at,
        server: Some(server),
        emulator,
    }
}

impl Served {
    fn link(&self) -> &Path {
        self.places.terminal.as_deref().unwrap()
    }

    fn target(&self) -> PathBuf {
        std::fs::read_link(self.link()).unwrap()
    }

    /// Opens the terminal and waits until the name leads to the next one.
    fn terminal(&self) -> Terminal {
        let before = self.target();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.link())
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.target() == before {
            assert!(Instant::now() < deadline, "the link stays");
            std::thread::sleep(Duration::from_millis(2));
        }
        Terminal {
            file,
            heard: String::new(),
        }
    }

    fn client(&self) -> AtClient {
        AtClient::through(self.places.socket.as_deref().unwrap()).unwrap()
    }
}

struct Terminal {
    file: File,
    heard: String,
}

impl Terminal {
    fn say(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until the text that was received ends with `end`, and returns it.
    fn until(&mut self, end: &str) -> String {
        let mut buffer = [0; 1024];
        while !self.heard.ends_with(end) {
            // The terminal is in blocking mode, so the test runner ends a test that receives
            // nothing.
            let count = self.file.read(&mut buffer).unwrap();
            assert!(count > 0, "closed after {:?}", self.heard);
            self.heard
                .push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        std::mem::take(&mut self.heard)
    }
}

#[test]
fn a_terminal_is_a_modem_port() {
    let served = served("");
    let mut terminal = served.terminal();
    terminal.say("AT^IPV6CAP?\r");
    assert_eq!(
        terminal.until("OK\r\n"),
        "AT^IPV6CAP?\r\r\n^IPV6CAP: 1\r\n\r\nOK\r\n"
    );
    terminal.say("ATE0\r");
    terminal.until("OK\r\n");
    terminal.say("AT+NONSENSE\rATV0\r");
    assert_eq!(terminal.until("0\r"), "\r\nERROR\r\n0\r");
    no_violations(&served.emulator);
}

#[test]
fn every_opener_has_a_terminal_of_its_own() {
    let served = served("");
    let mut openers: Vec<Terminal> = (0..4).map(|_| served.terminal()).collect();
    let commands = ["AT+CSQ", "AT^IPV6CAP?", "AT+CGMM", "AT+CPIN?"];
    let answers = ["+CSQ: 21,99", "^IPV6CAP: 1", "ME906s-158", "+CPIN: READY"];
    for _ in 0..20 {
        for (opener, command) in openers.iter_mut().zip(commands) {
            opener.say(&format!("{command}\r"));
        }
        for ((opener, command), answer) in openers.iter_mut().zip(commands).zip(answers) {
            assert_eq!(
                opener.until("OK\r\n"),
                format!("{command}\r\r\n{answer}\r\n\r\nOK\r\n")
            );
        }
    }
    // One program leaves in the middle of its command, which the others do not notice.
    let mut leaver = openers.pop().unwrap();
    leaver.say("AT+CGMI\rAT+CGMI\r");
    drop(leaver);
    openers[0].say("AT+CSQ\r");
    assert_eq!(
        openers[0].until("OK\r\n"),
        "AT+CSQ\r\r\n+CSQ: 21,99\r\n\r\nOK\r\n"
    );
}

#[test]
fn one_who_only_listens_hears_answers_nobody_else_will_take() {
    let served = served("");
    let mut listener = served.terminal();
    // `echo AT^IPV6CAP? >port` does the same.
    let mut writer = OpenOptions::new().write(true).open(served.link()).unwrap();
    writer.write_all(b"AT^IPV6CAP?\n").unwrap();
    drop(writer);
    assert_eq!(listener.until("OK\r\n"), "\r\n^IPV6CAP: 1\r\n\r\nOK\r\n");
}

#[test]
fn an_answer_that_came_before_its_opener_left_counts_when_it_was_read() {
    let served = served("");
    let mut listener = served.terminal();
    let link = served.link().read_link().unwrap();
    let mut slow = OpenOptions::new().write(true).open(link).unwrap();
    slow.write_all(b"AT^IPV6CAP?\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while rustix::io::ioctl_fionread(&slow).unwrap()
        < "AT^IPV6CAP?\r\n^IPV6CAP: 1\r\n\r\nOK\r\n".len() as u64
    {
        assert!(Instant::now() < deadline, "no answer");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(slow);
    assert_eq!(listener.until("OK\r\n"), "\r\n^IPV6CAP: 1\r\n\r\nOK\r\n");
    let mut reader = served.terminal();
    reader.say("AT+CGMM\r");
    reader.until("OK\r\n");
    drop(reader);
    let mut writer = OpenOptions::new().write(true).open(served.link()).unwrap();
    writer.write_all(b"AT+CSQ\n").unwrap();
    drop(writer);
    assert_eq!(listener.until("OK\r\n"), "\r\n+CSQ: 21,99\r\n\r\nOK\r\n");
}

#[test]
fn more_openers_than_places_find_no_terminal_until_one_leaves() {
    let served = served("");
    let mut openers = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while served.link().exists() {
        assert!(openers.len() < 200 && Instant::now() < deadline);
        if let Ok(file) = File::open(served.link()) {
            openers.push(file);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(openers);
    while !served.link().exists() {
        assert!(Instant::now() < deadline, "no terminal comes back");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut terminal = served.terminal();
    terminal.say("AT+CSQ\r");
    terminal.until("OK\r\n");
}

#[test]
fn the_socket_serves_commands_and_lines() {
    let served = served("nmea=on,start_configuration=3");
    let mut first = served.client();
    let mut second = served.client();
    assert!(first.port().unwrap().unwrap().contains("interface 2"));
    let mut heard = second.listen().unwrap();
    let answer = first.ask("AT^PLMNLIST?", None, None).unwrap();
    assert_eq!((answer.lines.len(), answer.result), (9, Ok(())));
    let answer = first.ask("AT+NONSENSE", None, Some(PATIENCE)).unwrap();
    assert!(answer.result.is_err());
    let error = first.ask("ATQ1", None, None).unwrap_err();
    assert_eq!(error.kind, FailureKind::Usage, "{error}");
    let line = heard.next(PATIENCE).unwrap().unwrap();
    assert!(matches!(line, Line::Nmea(_)), "{line:?}");
    assert_eq!(
        second.ask("AT+CSQ", None, None).unwrap().lines,
        ["+CSQ: 21,99"]
    );
}

#[test]
fn one_connection_may_listen_and_ask() {
    let served = served("nmea=on,start_configuration=3");
    let path = served.places.socket.clone().unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"{\"listen\":{}}\n{\"command\":{\"line\":\"AT+CSQ\"}}\n")
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("{\"state\":"));
    let (mut answered, mut heard) = (false, false);
    while !answered || !heard {
        let line = next();
        answered |= line.starts_with("{\"answer\":") && line.contains("+CSQ: 21,99");
        heard |= line.starts_with("{\"nmea\":");
    }
}

#[test]
fn garbage_on_the_socket_hurts_only_its_sender() {
    let served = served("");
    let path = served.places.socket.clone().unwrap();
    let long = vec![b'x'; 100_000];
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\x00\n",
        b"{\"command\":\"AT\"}\n",
        // Requests and brackets follow without end; neither is followed by recursion.
        &b"{\"state\":{}}".repeat(400),
        &b"{\"state\":{}}\n".repeat(20_000),
        &b"[".repeat(16_000),
        &long,
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
    }
    let silent: Vec<_> = (0..10)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
        .collect();
    assert_eq!(
        served.client().ask("AT+CSQ", None, None).unwrap().lines,
        ["+CSQ: 21,99"]
    );
    drop(silent);
}

#[test]
fn losses_are_told_and_the_places_stay() {
    let mut served = served("start_configuration=3");
    let mut terminal = served.terminal();
    let mut client = served.client();
    served.at.detach();
    terminal.say("AT\r");
    assert_eq!(terminal.until("ERROR\r\n"), "AT\r\r\nERROR\r\n");
    let error = client.ask("AT", None, None).unwrap_err();
    assert_eq!(error.kind, FailureKind::Missing, "{error}");
    assert_eq!(client.port().unwrap(), None);
    let backend = served.emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let device = backend.open(&found).unwrap();
    served
        .at
        .attach(Arc::clone(&device), serial_ports(&*device));
    served.at.wait_open(PATIENCE).unwrap();
    terminal.say("AT\r");
    terminal.until("OK\r\n");
    assert_eq!(client.ask("AT", None, None).unwrap().result, Ok(()));
    served.server = None;
    assert!(!served.link().exists() && !served.places.socket.clone().unwrap().exists());
    assert!(client.ask("AT", None, None).is_err());
}
