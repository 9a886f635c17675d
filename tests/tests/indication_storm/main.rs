//! Ten thousand indications a second come: memory does not grow, data and commands continue, and
//! the session is never lost. It is a test program of its own, so that the memory measured is that
//! of this test.

use std::time::Instant;

use uwwan_mbim::services::basic_connect::{self as bc, SignalState};
use uwwan_modem::Event;
use uwwan_modem::client::Client;
use uwwan_modem::share::{Builder, MbimOptions, Policy};
use uwwan_tests::bench::{Bench, PATIENCE, quick};

/// Number of indications that pass while memory is observed. If they were kept for ever, with their
/// 64 bytes and the cost of an allocation each, they would be several times [`GROWTH`].
const COUNT: u32 = 30_000;
/// Growth in KiB that is allowed once everything has been used, because of the allocator.
const GROWTH: u64 = 2048;

#[test]
fn ten_thousand_a_second_cost_no_memory_and_no_session() {
    let mut bench = Bench::start("indication_storm_hz=10000", quick());
    bench.online();
    let folder = tempfile::tempdir().unwrap();
    let options = MbimOptions {
        socket: folder.path().join("mbim"),
        public: None,
        ..MbimOptions::default()
    };
    let mut builder = Builder::new(Policy::default()).unwrap();
    builder.mbim(&bench.handle, &options);
    let entrance = builder.serve().unwrap();
    let mut counting = Client::through(&options.socket).unwrap();
    let mut asking = Client::through(&options.socket).unwrap();
    asking.subscribe(&[bc::RADIO_STATE]).unwrap();
    // This client is subscribed, as every client is at first, and never reads.
    let stalled = Client::through(&options.socket).unwrap();

    hear(&mut counting, COUNT / 4);
    bench.ping_many();
    let before = resident();
    for _ in 0..10 {
        hear(&mut counting, COUNT / 10);
        let signal: SignalState = asking.query(bc::SIGNAL_STATE).unwrap();
        assert_eq!(signal.rssi, 21);
        bench.ping_many();
    }
    let after = resident();
    assert!(
        after < before + GROWTH,
        "{before} KiB before and {after} KiB after {COUNT} indications"
    );
    let status = bench.handle.status();
    assert!(status.online && status.attempts == 1, "{status:#?}");
    let lost = |event: &Event| matches!(event, Event::Lost { .. } | Event::RungFailed { .. });
    let seen = bench
        .seen
        .iter()
        .chain(bench.events.try_iter().collect::<Vec<_>>().iter())
        .filter(|event| lost(event))
        .count();
    assert_eq!(seen, 0);
    drop((counting, asking, stalled, entrance));
    bench.stop();
}

/// Waits until `count` indications of signal strength have come, however busy the machine is.
fn hear(client: &mut Client, count: u32) {
    let deadline = Instant::now() + 5 * PATIENCE;
    for heard in 0..count {
        let news = client.next_indication(PATIENCE).unwrap();
        assert!(
            news.is_some_and(|news| news.id == bc::SIGNAL_STATE) && Instant::now() < deadline,
            "{heard} of {count} indications came"
        );
    }
}

/// Returns the memory that this process uses, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
