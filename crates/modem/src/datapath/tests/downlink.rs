//! The direction from the device to the host.

use super::*;

/// A downlink with its queue and its hosts.
struct Down {
    downlink: Downlink,
    queue: Fake,
    host: Arc<FakeHost>,
    tally: Tally,
    now: Instant,
    swallow: Option<Vec<u8>>,
}

struct Swallow(Option<Vec<u8>>, u32);

impl Inspect for Swallow {
    fn inspect(&mut self, datagram: &[u8], _tally: &mut Tally) -> bool {
        self.1 += 1;
        self.0.as_deref() != Some(datagram)
    }

    fn delivered(&mut self, _datagrams: u64, _bytes: u64) {}
}

/// The hosts of the sessions that are up.
struct Hosts {
    hosts: Vec<(u8, Arc<FakeHost>)>,
    inspect: Swallow,
    coalescer: Coalescer,
}

impl Hosts {
    fn new(hosts: &[(u8, &Arc<FakeHost>)], inspect: Swallow) -> Self {
        let hosts = hosts.iter().map(|(id, host)| (*id, Arc::clone(host)));
        Self {
            hosts: hosts.collect(),
            inspect,
            coalescer: Coalescer::new(Merge {
                tcp: true,
                udp: true,
            }),
        }
    }
}

impl Outlets for Hosts {
    fn outlet(&mut self, session: u8) -> Option<Outlet<'_>> {
        let mut hosts = self.hosts.iter_mut();
        let (_, host) = hosts.find(|(number, _)| *number == session)?;
        let sink = match host.mode {
            Mode::Single => Sink::Single(host),
            Mode::Large => Sink::Large(host, &mut self.coalescer),
        };
        Some(Outlet {
            sink,
            inspect: &mut self.inspect,
        })
    }

    fn merge(&self) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|(_, host)| host.mode == Mode::Large)
    }
}

impl Down {
    fn new(mode: Mode) -> Self {
        let queue = Fake::new(0x81);
        let now = Instant::now();
        let mut down = Self {
            downlink: Downlink::new(
                queue.boxed(),
                Limits::default(),
                ReceiveSizes {
                    most: 131_072,
                    ..sizes(16_000)
                },
                4,
                DropCounters::default(),
            ),
            queue,
            host: FakeHost::new(mode),
            tally: Tally::default(),
            now,
            swallow: None,
        };
        down.downlink.submit_idle(now, &mut down.tally).unwrap();
        down
    }

    fn round(&mut self) -> Result<bool, Fault> {
        let hosts = [(0, &self.host)];
        let mut hosts = Hosts::new(&hosts, Swallow(self.swallow.clone(), 0));
        self.downlink.run(&mut hosts, self.now, &mut self.tally)
    }

    fn incoming(&self) -> Vec<Vec<u8>> {
        self.host.script().incoming.clone()
    }
}

#[test]
fn after_a_large_ntb_alone_the_device_is_left_alone_for_a_moment() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        down.queue.deliver(&pack(&[packet(1, 60)]));
        down.round().unwrap();
        assert_eq!(down.downlink.resting(), None);
        let large: Vec<_> = (0..6).map(|number| packet(number, 1400)).collect();
        down.queue.deliver(&pack(&large));
        down.round().unwrap();
        let until = down.downlink.resting().expect("a rest");
        assert!(until > down.now);
        assert_eq!(down.incoming().len(), 7, "what was there is delivered");
        down.now = until;
        down.round().unwrap();
        assert_eq!(down.downlink.resting(), None);
    }
}

#[test]
fn ntbs_reach_the_host_from_usb_memory() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        assert_eq!(down.queue.lock().pending.len(), 4);
        assert!(
            down.queue
                .lock()
                .pending
                .iter()
                .all(|buffer| buffer.capacity() == 16_384),
            "whole packets"
        );
        let packets: Vec<_> = (0..20).map(|number| packet(number, 700)).collect();
        down.queue.deliver(&pack(&packets[..10]));
        down.queue.deliver(&pack(&packets[10..]));
        down.round().unwrap();
        assert_eq!(down.incoming(), packets);
        let state = down.queue.lock();
        assert_eq!(state.pending.len(), 4, "buffers are queued again");
        for place in &down.host.script().written {
            assert!(state.has(place));
        }
        assert_eq!(
            (down.tally.received_packets, down.tally.received_blocks),
            (20, 2)
        );
    }
}

#[test]
fn a_host_without_room_is_waited_for() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let packets: Vec<_> = (0..30).map(|number| packet(number, 700)).collect();
        for part in packets.chunks(10) {
            down.queue.deliver(&pack(part));
        }
        down.host.script().room = Some(4);
        down.round().unwrap();
        assert!(down.downlink.waits_for(0));
        assert_eq!(down.incoming().len(), 4);
        down.now += Duration::from_millis(150);
        down.host.script().room = Some(3);
        down.round().unwrap();
        down.now += Duration::from_millis(150);
        down.round().unwrap();
        assert!(down.downlink.waits_for(0), "it has moved since");
        down.host.script().room = None;
        down.round().unwrap();
        assert_eq!(
            down.incoming(),
            packets,
            "nothing lost, nothing out of order"
        );
        assert_eq!(down.tally.host_full, 0);
    }
}

#[test]
fn patience_with_the_host_is_bounded() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let packets: Vec<_> = (0..20).map(|number| packet(number, 700)).collect();
        down.queue.deliver(&pack(&packets[..10]));
        down.queue.deliver(&pack(&packets[10..]));
        down.host.script().room = Some(4);
        down.round().unwrap();
        let deadline = down.downlink.deadline().unwrap();
        assert!(deadline <= down.now + Downlink::PATIENCE);
        down.now = deadline;
        down.round().unwrap();
        // NTBs are handed over one by one, or both together.
        let lost = match mode {
            Mode::Single => 6,
            Mode::Large => 16,
        };
        assert_eq!(down.tally.host_full, lost);
        assert_eq!(down.downlink.waits_for(0), mode == Mode::Single);
        down.host.script().room = None;
        down.round().unwrap();
        assert_eq!(down.incoming().len(), 20 - lost as usize);
        assert_eq!(down.queue.lock().pending.len(), 4);
    }
}

#[test]
fn refused_and_swallowed_datagrams_cost_their_neighbours_nothing() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let packets: Vec<_> = (0..3).map(|number| packet(number, 100)).collect();
        down.swallow = Some(packets[1].clone());
        down.queue.deliver(&pack(&packets));
        down.round().unwrap();
        assert_eq!(down.incoming(), [packets[0].clone(), packets[2].clone()]);
        down.host.script().refuses = true;
        down.queue.deliver(&pack(&packets[..1]));
        down.round().unwrap();
        assert_eq!(down.tally.host_refused, 1);
    }
}

#[test]
fn a_datagram_held_is_inspected_once() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        down.queue.deliver(&pack(&[packet(1, 100)]));
        down.host.script().room = Some(0);
        let hosts = [(0, &down.host)];
        let mut hosts = Hosts::new(&hosts, Swallow(None, 0));
        for _ in 0..3 {
            down.downlink
                .run(&mut hosts, down.now, &mut down.tally)
                .unwrap();
        }
        down.host.script().room = None;
        down.downlink
            .run(&mut hosts, down.now, &mut down.tally)
            .unwrap();
        assert_eq!((hosts.inspect.1, down.incoming().len()), (1, 1));
    }
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        for bytes in [&b"CONNECT 21600000\r\n"[..], &[], &[0; 600], &[0xff; 3000]] {
            down.queue.deliver(bytes);
        }
        down.round().unwrap();
        assert_eq!(down.incoming(), Vec::<Vec<u8>>::new());
        assert_eq!(down.tally.refused.total(), 3);
        assert_eq!(down.queue.lock().pending.len(), 4);
        let before = down.tally.refused;
        // Another bring-up continues the counts.
        let queue = Fake::new(0x81);
        let mut next = Downlink::new(queue.boxed(), Limits::default(), sizes(16_384), 2, before);
        next.submit_idle(down.now, &mut down.tally).unwrap();
        queue.deliver(&[0xff; 3000]);
        let mut hosts = Hosts::new(&[], Swallow(None, 0));
        next.run(&mut hosts, down.now, &mut down.tally).unwrap();
        assert_eq!(down.tally.refused.total(), 4);
    }
}

#[test]
fn ntbs_longer_than_agreed_lead_to_larger_buffers() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        down.queue.deliver(&vec![0; 20_000]);
        down.round().unwrap();
        assert_eq!(down.tally.receive_overflow, 1);
        down.round().unwrap();
        let state = down.queue.lock();
        assert_eq!(state.pending.len(), 4);
        assert!(
            state
                .pending
                .iter()
                .all(|buffer| buffer.capacity() == 131_072)
        );
    }
}

/// The buffers hold whole packets, so an NTB that is too long continues in the next transfer
/// instead of ending in babble.
#[test]
fn ntbs_that_go_on_in_the_next_transfer_lead_to_larger_buffers() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let mut ntb = pack(&[packet(1, 1000)]);
        ntb[8..10].copy_from_slice(&20_000_u16.to_le_bytes());
        // A wrong length in the header alone leads to no larger buffers.
        down.queue.deliver(&ntb);
        down.round().unwrap();
        assert_eq!(down.tally.refused.block_length_beyond, 1);
        assert_eq!(down.tally.receive_overflow, 0);
        ntb.resize(20_000, 0);
        down.queue.deliver(&ntb[..16_384]);
        down.queue.deliver(&ntb[16_384..]);
        down.round().unwrap();
        assert_eq!(down.tally.receive_overflow, 1);
        let state = down.queue.lock();
        assert_eq!(state.pending.len(), 4);
        let large = |buffer: &Buffer| buffer.capacity() == 131_072;
        assert!(state.pending.iter().all(large));
    }
}

#[test]
fn a_halted_way_in_drains_and_goes_on() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        down.queue.complete(Err(TransferError::Stall));
        down.round().unwrap();
        down.round().unwrap();
        assert!(down.downlink.can_clear_halt());
        assert_eq!(down.queue.lock().pending.len(), 0);
        down.downlink.halt_cleared();
        down.round().unwrap();
        assert_eq!(down.queue.lock().pending.len(), 4);
        assert_eq!(down.tally.receive_stall, 1);
    }
}

#[test]
fn transfer_errors_are_throttled_and_then_final() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        down.queue.complete(Err(TransferError::Fault));
        down.round().unwrap();
        assert_eq!(down.queue.lock().pending.len(), 3, "paused");
        down.now = down.downlink.deadline().unwrap();
        down.round().unwrap();
        assert_eq!(down.queue.lock().pending.len(), 4);
        let mut failed = None;
        for _ in 0..200 {
            down.queue.complete(Err(TransferError::Fault));
            if let Err(fault) = down.round() {
                failed = Some(fault);
                break;
            }
            down.now += Duration::from_millis(130);
            down.round().unwrap();
        }
        assert_eq!(failed, Some(Fault::Receive(TransferError::Fault)));
        let mut down = Down::new(mode);
        down.queue.complete(Err(TransferError::Gone));
        assert_eq!(down.round(), Err(Fault::Gone));
    }
}

#[test]
fn every_session_has_its_host() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let other = FakeHost::new(mode);
        let packets: Vec<_> = (0..4).map(|number| packet(number, 100)).collect();
        down.queue.deliver(&pack_for(3, &packets[..2]));
        down.queue.deliver(&pack_for(0, &packets[2..3]));
        down.queue.deliver(&pack_for(7, &packets[3..]));
        let hosts = [(0, &down.host), (3, &other)];
        let mut hosts = Hosts::new(&hosts, Swallow(None, 0));
        down.downlink
            .run(&mut hosts, down.now, &mut down.tally)
            .unwrap();
        assert_eq!(other.script().incoming, packets[..2]);
        assert_eq!(down.incoming(), packets[2..3]);
        assert_eq!(
            (down.tally.no_session, down.tally.received_packets),
            (1, 3),
            "nobody has session 7"
        );
    }
}

#[test]
fn a_session_that_is_taken_off_holds_nothing_up() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let other = FakeHost::new(mode);
        other.script().room = Some(0);
        down.queue
            .deliver(&pack_for(3, &[packet(1, 100), packet(2, 100)]));
        down.queue.deliver(&pack(&[packet(3, 100)]));
        let both = [(0, &down.host), (3, &other)];
        let mut hosts = Hosts::new(&both, Swallow(None, 0));
        down.downlink
            .run(&mut hosts, down.now, &mut down.tally)
            .unwrap();
        assert!(down.downlink.waits_for(3) && !down.downlink.waits_for(0));
        down.round().unwrap();
        assert!(!down.downlink.is_held());
        assert_eq!((down.tally.no_session, down.incoming().len()), (2, 1));
    }
}

/// Returns segments of a flow, one behind the other.
fn run(flow: u8, count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| segment(flow, number * 1000, 1000))
        .collect()
}

#[test]
fn runs_are_handed_over_as_one_across_ntbs() {
    let mut down = Down::new(Mode::Large);
    let segments = run(1, 24);
    for part in segments.chunks(12) {
        down.queue.deliver(&pack(part));
    }
    down.round().unwrap();
    assert!(down.incoming() == segments);
    assert_eq!(down.host.script().writes, [24]);
    assert_eq!(
        (
            down.tally.host_writes,
            down.tally.host_merged,
            down.tally.received_packets
        ),
        (1, 24, 24)
    );
    let bytes: usize = segments.iter().map(Vec::len).sum();
    assert_eq!(down.tally.received_bytes, bytes as u64);
    let state = down.queue.lock();
    assert_eq!(state.pending.len(), 4);
    for place in &down.host.script().written {
        assert!(
            state.has(place),
            "written from memory that is no USB buffer"
        );
    }
}

#[test]
fn no_more_than_half_of_the_transfers_are_held_back() {
    let mut down = Down::new(Mode::Large);
    let segments = run(1, 40);
    for part in segments.chunks(10) {
        down.queue.deliver(&pack(part));
    }
    down.round().unwrap();
    assert!(down.incoming() == segments);
    assert!(down.host.script().writes.len() >= 2);
    assert_eq!(down.queue.lock().pending.len(), 4);
}

#[test]
fn flows_stay_in_order_when_a_host_has_no_room() {
    let mut down = Down::new(Mode::Large);
    let (one, two) = (run(1, 10), run(2, 10));
    let mixed: Vec<_> = one
        .iter()
        .zip(&two)
        .flat_map(|(a, b)| [a, b])
        .cloned()
        .collect();
    for part in mixed.chunks(10) {
        down.queue.deliver(&pack(part));
    }
    down.host.script().room = Some(10);
    down.round().unwrap();
    assert!(down.downlink.is_held());
    assert!(down.incoming() == one);
    down.now += Duration::from_millis(150);
    down.host.script().room = None;
    down.round().unwrap();
    let rest = down.incoming().split_off(10);
    assert!(rest == two);
    assert_eq!(down.host.script().writes, [10, 10], "merged again");
    assert_eq!(down.queue.lock().pending.len(), 4);
}

#[test]
fn of_a_large_packet_that_is_refused_the_datagrams_are_tried() {
    let mut down = Down::new(Mode::Large);
    down.host.script().refuses_large = true;
    down.queue.deliver(&pack(&run(1, 10)));
    down.host.script().room = Some(4);
    down.round().unwrap();
    assert!(down.incoming() == run(1, 4));
    assert!(down.downlink.is_held());
    down.host.script().room = None;
    down.round().unwrap();
    assert!(down.incoming() == run(1, 10));
    assert_eq!(
        (down.tally.received_packets, down.tally.host_refused),
        (10, 0)
    );
}

#[test]
fn a_session_without_room_does_not_hold_the_others_up() {
    for mode in Mode::BOTH {
        let mut down = Down::new(mode);
        let other = FakeHost::new(mode);
        other.script().room = Some(0);
        down.queue.deliver(&pack_front(&[
            (3, packet(1, 100)),
            (0, packet(2, 100)),
            (3, packet(3, 100)),
        ]));
        let both = [(0, &down.host), (3, &other)];
        let mut hosts = Hosts::new(&both, Swallow(None, 0));
        down.downlink
            .run(&mut hosts, down.now, &mut down.tally)
            .unwrap();
        assert!(down.incoming() == [packet(2, 100)]);
        assert!(down.downlink.waits_for(3) && !down.downlink.waits_for(0));
        other.script().room = None;
        down.downlink
            .run(&mut hosts, down.now, &mut down.tally)
            .unwrap();
        assert_eq!(other.script().incoming, [packet(1, 100), packet(3, 100)]);
        assert_eq!(hosts.inspect.1, 3);
    }
}

/// A smaller size is asked for before the number of transfers falls; no transfer in flight is
/// cancelled for it.
#[test]
fn scarce_memory_lessens_the_size_before_the_transfers() {
    for mode in Mode::BOTH {
        for (kilobytes, sizes, transfers) in [
            (1024, &[65_536][..], 8),
            (300, &[65_536, 32_768], 8),
            (150, &[65_536, 32_768, 16_384], 8),
            (80, &[65_536, 32_768, 16_384], 5),
            (16, &[65_536, 32_768, 16_384], 1),
        ] {
            let mut down = Down::new(mode);
            let queue = Fake::new(0x81);
            let budget = Arc::new(Mutex::new(kilobytes * 1024));
            queue.lock().budget = Some(Arc::clone(&budget));
            down.queue = queue.clone();
            down.downlink = Downlink::new(
                queue.boxed(),
                Limits::default(),
                ReceiveSizes {
                    agreed: 65_536,
                    least: 16_384,
                    most: 131_072,
                },
                8,
                DropCounters::default(),
            );
            down.downlink
                .submit_idle(down.now, &mut down.tally)
                .unwrap();
            let mut seen = vec![65_536];
            let mut number = 0;
            // An NTB arrives in every transfer, until the queue stays as it is.
            for _ in 0..64 {
                if down.downlink.take_short_of_memory() {
                    let size = seen.last().unwrap() / 2;
                    seen.push(size);
                    down.downlink.resize(size, 16_384);
                }
                if !down.queue.lock().pending.is_empty() {
                    down.queue.deliver(&pack(&[packet(number, 60)]));
                    number += 1;
                }
                down.round().unwrap();
            }
            assert_eq!(seen, sizes, "{kilobytes} KiB");
            assert_eq!(down.downlink.transfers(), transfers, "{kilobytes} KiB");
            let state = down.queue.lock();
            assert_eq!(state.pending.len(), transfers);
            let last = *sizes.last().unwrap();
            assert!(state.pending.iter().all(|buffer| buffer.capacity() == last));
            assert_eq!(state.cancelled, 0);
            assert_eq!(down.tally.transfers_given_up, 8 - transfers as u64);
            drop(state);
            let expected: Vec<_> = (0..number).map(|number| packet(number, 60)).collect();
            assert!(number > 16 && down.incoming() == expected);
        }
    }
}

/// The device keeps its size: the number of transfers falls until they fit. Transfers that were
/// given up are tried again later.
#[test]
fn a_size_that_stays_lessens_the_transfers() {
    let mut down = Down::new(Mode::Large);
    let queue = Fake::new(0x81);
    let budget = Arc::new(Mutex::new(200 * 1024));
    queue.lock().budget = Some(Arc::clone(&budget));
    let sizes = ReceiveSizes {
        agreed: 65_536,
        least: 16_384,
        most: 131_072,
    };
    let limits = Limits::default();
    let refused = DropCounters::default();
    down.downlink = Downlink::new(queue.boxed(), limits, sizes, 8, refused);
    down.downlink
        .submit_idle(down.now, &mut down.tally)
        .unwrap();
    assert!(down.downlink.take_short_of_memory() && !down.downlink.take_short_of_memory());
    assert_eq!(down.downlink.transfers(), 8);
    down.downlink.resize(65_536, 65_536);
    let rounds = |down: &mut Down, count: usize| {
        for _ in 0..count {
            queue.deliver(&pack(&[packet(1, 60)]));
            down.round().unwrap();
        }
    };
    rounds(&mut down, 64);
    assert!(!down.downlink.take_short_of_memory());
    assert_eq!((down.downlink.transfers(), queue.pending()), (3, 3));
    *budget.lock().unwrap() += 200 * 1024;
    rounds(&mut down, 64);
    assert_eq!(queue.pending(), 3, "it is not asked for at once");
    for _ in 0..10 {
        down.now += Duration::from_secs(70);
        rounds(&mut down, 8);
    }
    assert_eq!((down.downlink.transfers(), queue.pending()), (6, 6));
}
