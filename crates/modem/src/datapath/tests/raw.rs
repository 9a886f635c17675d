//! NTBs of a program that are sent as they are.

use super::*;
use crate::datapath::raw::RawNtbs;
use crate::raw::{Listener, Raw, RawEvent, To};

const SECOND: Duration = Duration::from_secs(1);

/// Both directions, with NTBs of a program begun while one of the driver's own is open.
struct Bench {
    uplink: Uplink,
    downlink: Downlink,
    out: Fake,
    tally: Tally,
    raw: RawNtbs,
    listener: Option<Listener>,
    now: Instant,
}

impl Bench {
    fn new(ntbs: &[&[u8]]) -> Self {
        let (out, back) = (Fake::new(1), Fake::new(0x81));
        let mut uplink = Uplink::new(out.boxed(), framing(), 4);
        let limits = Limits::default();
        let drops = DropCounters::default();
        let mut downlink = Downlink::new(back.boxed(), limits, sizes(16_384), 4, drops);
        let mut tally = Tally::default();
        uplink
            .inject(Stream::Ips(0), &packet(1, 60), &mut tally)
            .unwrap();
        let transfers = ntbs.iter().map(|ntb| ntb.to_vec()).collect();
        let (raw, listener) = Raw::new(To::Data, transfers, SECOND, None).unwrap();
        let raw = RawNtbs::begin(raw, &mut uplink, &mut downlink, &mut tally).unwrap();
        Self {
            uplink,
            downlink,
            out,
            tally,
            raw,
            listener: Some(listener),
            now: Instant::now(),
        }
    }

    /// Completes the oldest transfer to the device, and takes a turn.
    fn complete(&mut self, result: Result<usize, TransferError>) -> bool {
        self.out.complete(result);
        self.turn()
    }

    fn turn(&mut self) -> bool {
        self.uplink.reap(self.now, &mut self.tally).unwrap();
        self.raw
            .turn(&mut self.uplink, &mut self.downlink, self.now)
            .unwrap()
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        self.out.lock().sent.clone()
    }

    fn heard(&mut self) -> Vec<RawEvent> {
        let listener = self.listener.as_mut().unwrap();
        std::iter::from_fn(|| listener.try_next().ok().flatten()).collect()
    }

    /// Asserts that the driver sends again.
    fn sends_again(&mut self) {
        assert!(!self.raw.pauses() && self.uplink.wants_input(false));
        let before = self.sent().len();
        self.uplink
            .inject(Stream::Ips(0), &packet(2, 60), &mut self.tally)
            .unwrap();
        self.uplink.flush(&mut self.tally).unwrap();
        let sent = self.sent();
        assert_eq!(sent.len(), before + 1);
        assert_eq!(unpack(&sent[before]), [packet(2, 60)]);
    }
}

fn sent(transfer: usize, length: usize, error: Option<&str>) -> RawEvent {
    RawEvent::Sent {
        transfer,
        length,
        error: error.map(str::to_owned),
    }
}

#[test]
fn they_go_out_between_whole_ntbs_of_the_drivers() {
    let mut bench = Bench::new(&[b"first", b"second"]);
    // The open NTB leaves first, and nothing is read from the host meanwhile.
    assert_eq!(unpack(&bench.sent()[0]), [packet(1, 60)]);
    assert!(bench.turn() && bench.raw.pauses());
    assert!(!bench.uplink.wants_input(false));
    assert_eq!(bench.sent().len(), 1);
    assert!(bench.complete(Ok(88)));
    assert_eq!(bench.sent()[1], b"first");
    assert!(!bench.uplink.wants_input(false));
    assert!(bench.complete(Ok(5)));
    assert_eq!(bench.sent()[2], b"second");
    assert!(bench.complete(Ok(6)));
    assert_eq!(bench.heard(), [sent(0, 5, None), sent(1, 6, None)]);
    bench.sends_again();
    assert_eq!(bench.tally.sent_blocks, 2, "the driver's own are counted");
    // Received transfers are reported until the time to wait is over.
    assert!(bench.turn() && bench.downlink.tells());
    bench.now = bench.raw.deadline();
    assert!(!bench.turn() && !bench.downlink.tells());
    assert!(bench.listener.unwrap().next().is_none());
}

#[test]
fn one_that_is_refused_is_told_and_no_other_follows() {
    let mut bench = Bench::new(&[b"first", b"second"]);
    assert!(bench.complete(Ok(88)));
    assert!(bench.complete(Err(TransferError::Stall)));
    assert_eq!(bench.heard(), [sent(0, 5, Some("endpoint halted (STALL)"))]);
    assert_eq!(bench.sent().len(), 2);
    // The halt is cleared as any other, and the refused NTB is not sent again.
    assert!(bench.uplink.can_clear_halt());
    bench.uplink.halt_cleared();
    assert!(bench.turn());
    bench.sends_again();
}

#[test]
fn a_device_that_takes_nothing_holds_nothing_up() {
    let mut bench = Bench::new(&[b"first", b"second"]);
    assert!(bench.complete(Ok(88)));
    bench.now = bench.raw.deadline();
    assert!(bench.turn(), "its transfer is cancelled");
    assert!(bench.turn());
    assert_eq!(bench.heard(), [sent(0, 5, Some("not taken in 5 s"))]);
    bench.sends_again();

    // The driver's own NTB does not leave.
    let mut bench = Bench::new(&[b"first"]);
    bench.now = bench.raw.deadline();
    assert!(!bench.turn());
    let heard = bench.heard();
    let [RawEvent::Failed { failure }] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert!(failure.to_string().contains("do not leave"), "{failure}");
    assert!(bench.uplink.wants_input(false));
}

#[test]
fn a_program_that_vanishes_ends_it() {
    let mut bench = Bench::new(&[b"first", b"second"]);
    assert!(bench.complete(Ok(88)));
    bench.listener = None;
    assert!(!bench.complete(Ok(5)), "nobody listens");
    assert_eq!(bench.sent().len(), 2);
    assert!(!bench.downlink.tells());
    bench.sends_again();
}
