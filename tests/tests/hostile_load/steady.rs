//! Load while the modem stays, and misbehaves.

use crate::Mode;
use crate::bench::{Bench, count};
use crate::flows::{self, WINDOW};

/// Number of datagrams in each direction.
const DATAGRAMS: u64 = 30_000;

/// The modem drops and corrupts datagrams, stalls, babbles and sends empty transfers. Exactly the
/// datagrams that it lost are lost.
pub fn only_what_was_injected_is_lost(mode: Mode) {
    let bench = Bench::online(
        mode,
        "drop_out_ppm=2000,drop_in_ppm=2000,corrupt_in_ppm=2000,stall_in_ppm=20000,\
         stall_out_ppm=20000,empty_in_ppm=5000,babble_in_ppm=20000",
    );
    let flows = bench.flows();
    bench.flow_on(DATAGRAMS);
    let (sent, down) = flows.end();
    let (up, traffic) = (bench.far.up(), bench.traffic());
    let counters = bench.emulator.report().counters;
    println!(
        "up {up:?}, down {down:?}, {counters:?}, {:?}",
        traffic.errors
    );
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert_eq!(up.missing(), counters.dropped_out, "lost on the way up");
    assert_eq!(down.missing(), counters.dropped_in, "lost on the way down");
    assert!(counters.dropped_out > 0 && counters.dropped_in > 0);
    let errors = |name| count(&traffic.errors, name);
    assert_eq!(
        errors("send_stall") + errors("receive_stall"),
        counters.stalls
    );
    assert_eq!(errors("halts_cleared"), counters.stalls);
    assert!(errors("send_stall") > 0 && errors("receive_stall") > 0);
    assert_eq!(errors("receive_overflow"), counters.failed_transfers);
    assert!(counters.failed_transfers > 0);
    assert_eq!(counters.blocks_missing, 0);
    bench.stop();
}

/// NTBs far longer than agreed on cost only those that come before the buffers have grown.
pub fn ntbs_longer_than_agreed_are_taken(mode: Mode) {
    let bench = Bench::online(mode, "ignore_input_size=on");
    let flows = bench.flows();
    bench.flow_on(DATAGRAMS);
    let lost = bench.errors("receive_overflow");
    bench.flow_on(DATAGRAMS);
    let (sent, down) = flows.end();
    let up = bench.far.up();
    println!("up {up:?}, down {down:?}, {lost} NTBs were too long");
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert!(
        (1..=16).contains(&lost),
        "no more than were in flight: {lost}"
    );
    assert_eq!(bench.errors("receive_overflow"), lost);
    // No NTB holds more datagrams than are under way at once.
    assert!(down.missing() <= lost * WINDOW, "{down:?}");
    assert_eq!(up.missing(), 0);
    bench.stop();
}

/// Garbage in the framing, NTBs cut short and transfers that fail each cost their own datagrams and
/// no others.
pub fn a_garbled_ntb_costs_no_other(mode: Mode) {
    let bench = Bench::online(
        mode,
        "garbage_in_ppm=5000,short_in_ppm=5000,fault_in_ppm=20000,fault_out_ppm=20000",
    );
    let flows = bench.flows();
    bench.flow_on(DATAGRAMS);
    let (sent, down) = flows.end();
    let (up, traffic) = (bench.far.up(), bench.traffic());
    let counters = bench.emulator.report().counters;
    println!("up {up:?}, down {down:?}, {counters:?}, {traffic:?}");
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert!(counters.spoiled_in > 0 && down.missing() > 0);
    assert!(
        down.missing() <= counters.spoiled_in,
        "more is lost than was in spoiled NTBs"
    );
    let lost = count(&traffic.dropped, "blocks_lost_in_transfer");
    assert_eq!(lost, count(&traffic.errors, "send_fault"));
    assert_eq!(counters.blocks_missing, lost, "NTBs lost on the way up");
    assert!(lost > 0 && up.missing() >= lost);
    let faults = lost + count(&traffic.errors, "receive_fault");
    assert_eq!(faults, counters.failed_transfers);
    bench.stop();
}

/// There are more small NTBs than a sequence number can count, and 65535 is followed by 0 in both
/// directions.
pub fn sequence_numbers_wrap(mode: Mode) {
    let bench = Bench::online(mode, "ntb_in_max=2048,ntb_out_max=2048,ntb_max_datagrams=1");
    let flows = bench.flows();
    let ntbs = |bench: &Bench| {
        let counters = bench.emulator.report().counters;
        counters.blocks_out.min(counters.blocks_in)
    };
    while ntbs(&bench) < 66_000 {
        bench.flow_on(2000);
    }
    let (sent, down) = flows.end();
    let (up, traffic) = (bench.far.up(), bench.traffic());
    println!("up {up:?}, down {down:?}, {traffic:?}");
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    assert_eq!((up.missing(), down.missing()), (0, 0));
    assert_eq!(bench.emulator.report().counters.blocks_missing, 0);
    assert!(traffic.dropped.is_empty() && traffic.errors.is_empty());
    bench.stop();
}

/// TCP notices none of these faults but delay.
pub fn streams_get_through_all_of_it(mode: Mode) {
    const BYTES: u64 = 8 << 20;
    let bench = Bench::online(
        mode,
        "drop_out_ppm=300,drop_in_ppm=300,corrupt_in_ppm=300,garbage_in_ppm=300,short_in_ppm=300,\
         stall_in_ppm=1000,stall_out_ppm=1000,empty_in_ppm=1000,babble_in_ppm=300,\
         fault_in_ppm=100,fault_out_ppm=100",
    );
    let flows = bench.flows();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flows::download(BYTES));
            scope.spawn(|| flows::upload(BYTES));
        }
    });
    let (_, down) = flows.end();
    bench.far.up().assert_sound("up");
    down.assert_sound("down");
    println!("{:?}", bench.traffic());
    bench.stop();
}
