//! Load while the modem leaves and comes back.

use std::time::Duration;

use uwwan_at::dialogue::Command;
use uwwan_modem::Event;

use crate::Mode;
use crate::bench::{Bench, PATIENCE};
use crate::flows;
use uwwan_tests::allocator;

/// Number of bytes by which memory may grow after a loss without being a leak; a buffer is larger.
const SLACK: isize = 4 << 10;

/// Makes the modem leave `times` times under load, as `goes` does it, and waits for it each time.
fn again_and_again(bench: &Bench, times: usize, goes: impl Fn(&Bench, usize)) {
    let stream = std::thread::spawn(|| flows::download(16 << 20));
    let flows = bench.flows();
    let mut in_use = Vec::new();
    for time in 0..times {
        bench.flow_on(200);
        bench.wait_for("transfers both ways are in flight", |bench| {
            bench.outstanding() > 8
        });
        goes(bench, time);
        bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
        bench.until("back online", |event| event.is_online());
        in_use.push(allocator::in_use());
        assert_eq!(
            allocator::transfer_buffers(),
            bench.buffers_wanted(),
            "buffers after loss {time}"
        );
    }
    bench.flow_on(200);
    stream.join().expect("the download");
    let (sent, down) = flows.end();
    let up = bench.far.up();
    up.assert_sound("up");
    down.assert_sound("down");
    assert_eq!((up.end, down.end), (sent, bench.far.sent()));
    println!("bytes in use after each: {in_use:?}");
    // Queues now and then allocate memory that they need. A leak takes some at every loss, which
    // shows over many.
    if times < 20 {
        return;
    }
    let second_half = times / 2..times;
    let grown = second_half.clone().filter(|&time| {
        let most = in_use[..time].iter().max();
        most.is_none_or(|most| in_use[time] > most + SLACK)
    });
    let grown = grown.count();
    assert!(
        2 * grown <= second_half.len(),
        "memory grows with {grown} losses of {}: {in_use:?}",
        second_half.len()
    );
}

pub fn unplugged_in_full_flight_again_and_again(mode: Mode) {
    let bench = Bench::online(mode, "");
    again_and_again(&bench, 24, |bench, time| {
        bench.emulator.unplug();
        // The modem is back before the loss was noticed, or after it.
        std::thread::sleep(Duration::from_millis(40 * (time as u64 % 3)));
        bench.emulator.plug();
    });
    assert_eq!(bench.handle.status().attempts, 25);
    bench.stop();
}

pub fn reset_by_command_under_load(mode: Mode) {
    let bench = Bench::online(mode, "");
    let at = bench.handle.at_port().expect("an AT port");
    let reset = Command::new("AT^RESET").expect("a command");
    again_and_again(&bench, 6, |_, _| {
        at.wait_open(PATIENCE).expect("the AT port");
        // The answer may or may not come before the modem leaves.
        let _ = at.ask(reset.clone());
    });
    drop(at);
    assert_eq!(bench.emulator.report().counters.resets, 6);
    bench.stop();
}
