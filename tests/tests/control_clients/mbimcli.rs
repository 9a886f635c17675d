//! Debian's `mbimcli` through every entrance, where it is installed (package libmbim-utils).
//!
//! The public entrance is an abstract socket, of which each network namespace has its own, so each
//! test runs once more in a namespace of its own.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use uwwan_emulator::Emulator;
use uwwan_modem::share::PUBLIC_NAME;

use crate::shared::Shared;
use uwwan_tests::bench::PATIENCE;

/// Environment variable that is set for the inner run.
const ALONE: &str = "UWWAN_TEST_ALONE";
/// Time below which a result was an answer, because mbimcli waits ten seconds where it waits by
/// itself.
const SOON: Duration = Duration::from_secs(9);

/// Returns whether this is the run in a namespace of its own. Otherwise that run has been made, and
/// has passed.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    if Command::new("mbimcli").arg("--version").output().is_err() {
        eprintln!("{test}: mbimcli is not installed here (package libmbim-utils)");
        return false;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("mbimcli::{test}"), "--nocapture"])
        .env(ALONE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its namespace");
    false
}

fn online() -> Shared {
    Shared::start("", |options| {
        options.public = Some(PUBLIC_NAME.into());
    })
}

struct Run {
    output: String,
    success: bool,
    took: Duration,
}

fn finish(child: std::process::Child, started: Instant) -> Run {
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Run {
        output: String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr),
        success: status.success(),
        took: started.elapsed(),
    }
}

/// Starts mbimcli with `-d PATH` and these options.
fn begin(path: &std::path::Path, options: &[&str]) -> std::process::Child {
    Command::new("timeout")
        .args(["60", "mbimcli", "-d"])
        .arg(path)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(path: &std::path::Path, options: &[&str]) -> Run {
    let started = Instant::now();
    finish(begin(path, options), started)
}

/// Options for which the modem has an answer, with a text in the answer.
const KNOWN: &[(&str, &str)] = &[
    ("--query-device-caps", "Firmware info: '11.617."),
    (
        "--query-subscriber-ready-status",
        "Ready state: 'initialized'",
    ),
    ("--query-radio-state", "Software radio state: 'on'"),
    ("--query-device-services", "basic-connect"),
    ("--query-pin-state", "PIN state"),
    ("--query-pin-list", "PIN1"),
    ("--query-home-provider", "24201"),
    ("--query-registration-state", "Register state: 'home'"),
    ("--query-signal-state", "RSSI"),
    (
        "--query-packet-service-state",
        "Packet service state: 'attached'",
    ),
    ("--query-packet-statistics", "Packets (in)"),
    ("--query-connection-state", "Activation state: 'activated'"),
    (
        "--query-ip-configuration",
        "IPv4 configuration available: 'address",
    ),
    ("--noop", ""),
];

/// Other options. The modem may have no answer, but it must be the modem that says so.
const OTHERS: &[&str] = &[
    "--query-preferred-providers",
    "--query-visible-providers",
    "--query-ip-packet-filters",
    "--query-provisioned-contexts",
    "--query-network-idle-hint",
    "--query-emergency-mode",
    "--phonebook-query-configuration",
    "--phonebook-read-all",
    "--ms-query-firmware-id",
    "--ms-query-sar-config",
    "--ms-query-transmission-status",
    "--ms-query-pco",
    "--ms-query-lte-attach-configuration",
    "--ms-query-lte-attach-info",
    "--ms-query-sys-caps",
    "--ms-query-device-caps",
    "--ms-query-slot-info-status=0",
    "--ms-query-device-slot-mappings",
    "--ms-query-location-info-status",
    "--ms-query-provisioned-contexts",
    "--ms-query-base-stations-info",
    "--ms-query-registration-parameters",
    "--ms-query-modem-configuration",
    "--ms-query-wake-reason",
    "--ms-query-uicc-application-list",
    "--ms-query-nitz",
    "--atds-query-signal",
    "--atds-query-location",
    "--quectel-query-radio-state",
    "--intel-query-rfim",
];

fn all_questions(path: &std::path::Path, how: &[&str]) {
    for (option, word) in KNOWN {
        let run = run(path, &[how, &[option]].concat());
        assert!(
            run.success && run.output.contains(word),
            "{option}: {}",
            run.output
        );
    }
    for option in OTHERS {
        let run = run(path, &[how, &[option]].concat());
        let answered = run.success
            || run.output.contains("operation failed: NoDeviceSupport")
            || run
                .output
                .contains("operation failed: InvalidDeviceServiceOperation");
        assert!(
            answered && run.took < SOON,
            "{option}, after {:?}: {}",
            run.took,
            run.output
        );
    }
}

#[test]
fn every_question_through_the_proxy() {
    if alone("every_question_through_the_proxy") {
        let shared = online();
        all_questions(&shared.socket(), &["-p"]);
        shared.stop();
    }
}

#[test]
fn every_question_through_the_terminal() {
    if alone("every_question_through_the_terminal") {
        let shared = online();
        let terminal = shared.folder.join("mbim-terminal");
        all_questions(&terminal, &[]);
        shared.stop();
    }
}

#[test]
fn a_second_session_but_not_the_drivers() {
    if !alone("a_second_session_but_not_the_drivers") {
        return;
    }
    let shared = online();
    let socket = shared.socket();
    let up = run(&socket, &["-p", "--connect=session-id=3,apn=internet"]);
    assert!(
        up.success && up.output.contains("Activation state: 'activated'"),
        "{}",
        up.output
    );
    let down = run(&socket, &["-p", "--disconnect=3"]);
    assert!(down.success, "{}", down.output);
    for option in [
        "--disconnect",
        "--disconnect=0",
        "--connect=apn=internet",
        "--set-radio-state=off",
        "--detach-packet-service",
        "--ms-notify-host-shutdown",
    ] {
        let run = run(&socket, &["-p", option]);
        assert!(
            !run.success && run.output.contains("OperationNotAllowed"),
            "{option}: {}",
            run.output
        );
    }
    // Commands that change nothing are allowed.
    for option in [
        "--set-radio-state=on",
        "--attach-packet-service",
        "--register-automatic",
    ] {
        let run = run(&socket, &["-p", option]);
        assert!(run.success, "{option}: {}", run.output);
    }
    shared.stop();
}

#[test]
fn odd_ways_to_open() {
    if !alone("odd_ways_to_open") {
        return;
    }
    let shared = online();
    let socket = shared.socket();
    // The terminal has the port's name and is found there, too.
    let port = shared.folder.with_extension("link");
    let _ = std::fs::remove_file(&port);
    std::os::unix::fs::symlink(shared.folder.file_name().unwrap(), &port).unwrap();
    let link = port.join(socket.file_name().unwrap());
    for (path, options) in [
        (&link, &["-p", "--query-device-caps"][..]),
        (&socket, &["-p", "--no-close", "--query-device-caps"]),
        (&socket, &["-p", "--no-open=77", "--query-device-caps"]),
        (
            &socket,
            &["-p", "--device-open-ms-mbimex-v2", "--query-signal-state"],
        ),
        (
            &socket,
            &[
                "-p",
                "--device-open-ms-mbimex-v3",
                "--query-connection-state",
            ],
        ),
    ] {
        let run = run(path, options);
        assert!(
            run.success && run.took < SOON,
            "{options:?}: {}",
            run.output
        );
    }
    std::fs::remove_file(&port).unwrap();
    shared.stop();
}

#[test]
fn two_at_once_one_killed_and_the_modem_unplugged() {
    if !alone("two_at_once_one_killed_and_the_modem_unplugged") {
        return;
    }
    let mut shared = online();
    let socket = shared.socket();
    let emulator = shared.bench.emulator.clone();
    let children: Vec<_> = (0..6)
        .map(|_| begin(&socket, &["-p", "--query-device-caps"]))
        .collect();
    for child in children {
        let run = finish(child, Instant::now());
        assert!(run.success, "{}", run.output);
    }

    emulator.adjust(|knobs| knobs.connect_ms = 2000);
    let messages = emulator.report().counters.messages_out;
    let mut killed = begin(&socket, &["-p", "--connect=session-id=3,apn=internet"]);
    wait_for_clients(&shared, 1);
    wait_for_messages(&emulator, messages + 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let other = run(&socket, &["-p", "--query-connection-state=3"]);
    assert!(other.success && other.took < SOON, "{}", other.output);

    emulator.adjust(|knobs| knobs.connect_ms = 120_000);
    let messages = emulator.report().counters.messages_out;
    let started = Instant::now();
    let hanging = begin(&socket, &["-p", "--connect=session-id=4,apn=internet"]);
    wait_for_messages(&emulator, messages + 1);
    emulator.unplug();
    let run = finish(hanging, started);
    assert!(
        !run.success && run.took < Duration::from_secs(20),
        "after {:?}: {}",
        run.took,
        run.output
    );
    assert!(run.output.contains("NotOpened"), "{}", run.output);

    emulator.adjust(|knobs| knobs.connect_ms = 0);
    emulator.plug();
    shared.bench.online();
    shared.stop();
}

fn wait_for_clients(shared: &Shared, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while shared.mbim.status().clients < count {
        assert!(Instant::now() < deadline, "no client comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the modem has received that number of messages.
fn wait_for_messages(emulator: &Emulator, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while emulator.report().counters.messages_out < count {
        assert!(Instant::now() < deadline, "no message comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn another_proxy_is_left_alone() {
    if !alone("another_proxy_is_left_alone") {
        return;
    }
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let name = SocketAddr::from_abstract_name(PUBLIC_NAME).unwrap();
    let _other = UnixListener::bind_addr(&name).unwrap();
    let shared = online();
    let proxy = &shared.mbim;
    assert_eq!(proxy.status().public, None);
    assert_eq!(proxy.notices().len(), 1);
    assert!(
        proxy.notices()[0].contains("is the mbim-proxy here"),
        "{:?}",
        proxy.notices()
    );
    // The other entrances are open.
    let terminal = shared.folder.join("mbim-terminal");
    let run = run(&terminal, &["--query-device-caps"]);
    assert!(run.success, "{}", run.output);
    shared.client().close().unwrap();
    shared.stop();
}
