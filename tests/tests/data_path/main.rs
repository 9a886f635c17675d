//! The whole data path at work: kernel TCP over a real TUN interface, the driver, and the emulated
//! modem. In steady state the data thread allocates nothing, and every payload byte is read into
//! and written from a USB buffer.
//!
//! Each check runs in a private network namespace of its own, entered while the process has one
//! thread. There is therefore no test harness, and every check is a process. Where namespaces or
//! TUN interfaces cannot be had, the run fails and says so.

mod watched;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::options::{Format, Routes, SessionOptions, TunMode};
use uwwan_modem::status::Status;
use uwwan_modem::{Event, Handle, Modem, Options, Selector};
use uwwan_netstack::server::{DEFAULT_V4, HTTP_PORT};
use uwwan_tests::allocator::{self, Counting};
use watched::{Seen, WatchedBackend, WatchedProvider};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Time that is long enough for any step on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Payload in bytes of the transfers that lead to the steady state, and of those that are observed.
const WARM: u64 = 4_000_000;
const BYTES: u64 = 20_000_000;

const CHECKS: &[(&str, fn())] = &[
    ("plain_packets_take_no_allocation_and_no_copy", || {
        steady_state(TunMode::Plain, None, None, false);
    }),
    ("large_packets_take_no_allocation_and_no_copy", || {
        steady_state(TunMode::Offload, None, None, false);
    }),
    ("neither_do_long_blocks_of_32_bits", || {
        steady_state(TunMode::Offload, Some(Format::Ntb32), Some(65_536), false);
        steady_state(TunMode::Plain, Some(Format::Ntb32), Some(65_536), false);
    }),
    ("neither_does_the_ack_filter", || {
        steady_state(TunMode::Offload, None, None, true);
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // Test runners ask for the ignored tests as well, of which there are none.
        if !arguments.iter().any(|argument| argument == "--ignored") {
            for (name, _) in CHECKS {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(*part));
    let checks: Vec<_> = CHECKS.iter().filter(|(name, _)| wanted(name)).collect();
    let failed = match &checks[..] {
        [(name, check)] => usize::from(!run(name, check)),
        several => several
            .iter()
            .filter(|(name, _)| {
                let program = std::env::current_exe().expect("this program");
                !Command::new(program)
                    .arg(name)
                    .status()
                    .is_ok_and(|status| status.success())
            })
            .count(),
    };
    println!("\ntest result: {} checks, {failed} failed", checks.len());
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run(name: &str, check: &fn()) -> bool {
    if let Err(error) = uwwan_tun::namespace::enter() {
        println!("test {name} ... FAILED: it cannot run here");
        println!("\nerror: {error}");
        return false;
    }
    let passed = std::panic::catch_unwind(check).is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}

/// Sends traffic in both directions, first to reach the steady state, then to observe it.
fn steady_state(tun_mode: TunMode, ntb: Option<Format>, block: Option<u32>, ack_filter: bool) {
    let knobs: Knobs = "settle_ms=20,ntb_in_max=131072,ntb_out_max=131072"
        .parse()
        .expect("knobs");
    let emulator = Emulator::new(knobs, FarSide::BuiltIn).expect("the emulator");
    let seen = Seen::new();
    let backend = WatchedBackend {
        backend: emulator.backend(),
        seen: Arc::clone(&seen),
    };
    let options = Options {
        settle: Some(Duration::from_millis(60)),
        sessions: vec![SessionOptions {
            routes: Routes::Default,
            tun_mode,
            ..SessionOptions::default()
        }],
        ntb,
        block_size: block,
        input_size: block,
        ack_filter,
        ..Options::default()
    };
    let (sender, events) = mpsc::channel();
    let handle = Modem::start(
        Arc::new(backend),
        Selector::Any,
        options,
        Box::new(WatchedProvider(Arc::clone(&seen))),
        Box::new(move |event| {
            let _ = sender.send(event);
        }),
    )
    .expect("a modem");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left);
        match event.unwrap_or_else(|_| panic!("not online: {:#?}", handle.status())) {
            event if event.is_online() => break,
            Event::Stopped { failure } => panic!("stopped: {failure:?}"),
            _ => {}
        }
    }
    download(WARM);
    let status = look_at(&handle, &seen, || download(BYTES));
    assert!(status.traffic.downlink.bytes > BYTES, "{status:#?}");
    upload(WARM);
    let status = look_at(&handle, &seen, || upload(BYTES));
    assert!(status.traffic.uplink.bytes > BYTES, "{status:#?}");

    let mode = &status.interface().expect("an interface").mode;
    assert!(mode.starts_with(tun_mode.word()), "{mode}");
    let traffic = &status.traffic;
    let calls = traffic.host;
    let packets = traffic.uplink.packets + traffic.downlink.packets;
    match tun_mode {
        TunMode::Plain => {
            assert_eq!(calls.cut + calls.merged + calls.moved_bytes, 0);
            // The probe and its answer are the driver's own packets.
            assert!(calls.reads + calls.writes + 10 > packets, "{status:#?}");
        }
        TunMode::Offload | TunMode::OffloadTcp => {
            assert!(calls.cut > 0 && calls.merged > 0, "{status:#?}");
            assert!((calls.reads + calls.writes) * 2 < packets, "{status:#?}");
        }
    }
    assert_eq!(calls.damaged, 0);
    assert_eq!(calls.superseded_acks > 0, ack_filter, "{calls:?}");
    assert!(traffic.dropped.is_empty(), "{:?}", traffic.dropped);
    assert!(traffic.errors.is_empty(), "{:?}", traffic.errors);
    handle.stop();
    assert_eq!(handle.wait(), Ok(()));
    let report = emulator.report();
    assert_eq!(report.total_violations(), 0, "{:#?}", report.violations);
}

/// Runs traffic during which the data thread must not allocate, and all payload must lie in USB
/// buffers.
fn look_at(handle: &Handle, seen: &Seen, traffic: impl FnOnce()) -> Status {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let outside = || (load(&seen.read_outside), load(&seen.written_outside));
    let (asked, before) = (allocator::marked_requests(), outside());
    let moved = handle.status().traffic.host.moved_bytes;
    let inside = load(&seen.read_inside) + load(&seen.written_inside);
    traffic();
    assert_eq!(
        allocator::marked_requests(),
        asked,
        "the data thread has allocated"
    );
    assert_eq!(outside(), before, "payload outside of USB buffers");
    let status = handle.status();
    assert_eq!(status.traffic.host.moved_bytes, moved, "payload was copied");
    let inside = load(&seen.read_inside) + load(&seen.written_inside) - inside;
    assert!(inside > BYTES, "{inside}");
    status
}

fn connect() -> TcpStream {
    let target = SocketAddr::from((DEFAULT_V4, HTTP_PORT));
    let stream = TcpStream::connect_timeout(&target, PATIENCE).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

fn download(bytes: u64) {
    let mut stream = connect();
    let request =
        format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: there\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asked");
    let mut buffer = vec![0; 256 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).expect("received") {
            0 => break,
            count => received += count as u64,
        }
    }
    assert!(received > bytes, "{received} of {bytes} bytes");
}

fn upload(bytes: u64) {
    let mut stream = connect();
    let request = format!(
        "POST /upload HTTP/1.1\r\nHost: there\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("asked");
    let buffer = vec![0x55; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(buffer.len() as u64);
        stream.write_all(&buffer[..count as usize]).expect("sent");
        left -= count;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.contains(&format!("\"bytes\":{bytes}")), "{answer}");
}
