//! The direction from the host to the device.

use super::*;
use crate::datapath::inlet::MOST_EMPTY;
use crate::datapath::pace::REST;

/// An uplink with its queue and its host.
struct Up {
    uplink: Uplink,
    queue: Fake,
    host: Arc<FakeHost>,
    scatter: Scatter,
    watch: Watch,
    carried: SessionTally,
    tally: Tally,
    now: Instant,
}

impl Up {
    fn new(mode: Mode, depth: usize) -> Self {
        Self::with(mode, framing(), depth)
    }

    fn with(mode: Mode, framing: Framing, depth: usize) -> Self {
        let queue = Fake::new(0x01);
        let now = Instant::now();
        Self {
            uplink: Uplink::new(queue.boxed(), framing, depth),
            queue,
            host: FakeHost::new(mode),
            scatter: Scatter::new(usize::from(MTU)),
            watch: Watch::new(now),
            carried: SessionTally::default(),
            tally: Tally::default(),
            now,
        }
    }

    fn round(&mut self) -> Result<(), Fault> {
        self.now += REST;
        self.uplink.reap(self.now, &mut self.tally)?;
        let host = Arc::clone(&self.host);
        let filled = self.fill(0, &host)?;
        self.uplink.set_left_off(filled);
        self.uplink.flush(&mut self.tally)
    }

    fn fill(&mut self, session: u8, host: &Arc<FakeHost>) -> Result<Filled, Fault> {
        let mut host = Arc::clone(host);
        let source = match host.mode {
            Mode::Single => Source::Single(&mut host),
            Mode::Large => Source::Large(&mut host, &mut self.scatter),
        };
        let inlet = Inlet {
            source,
            stream: Stream::Ips(session),
            mtu: usize::from(MTU),
            watch: &mut self.watch,
            carried: &mut self.carried,
        };
        self.uplink.fill(inlet, self.now, &mut self.tally)
    }

    fn sent(&self) -> Vec<Vec<Vec<u8>>> {
        self.queue
            .lock()
            .sent
            .iter()
            .map(|ntb| unpack(ntb))
            .collect()
    }
}

/// Returns datagrams for half of an NTB, so that it leaves behind one that is in flight.
fn half() -> Vec<Vec<u8>> {
    (100..106).map(|number| packet(number, 1400)).collect()
}

#[test]
fn a_lone_packet_leaves_at_once() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        up.host.sends([packet(1, 60)]);
        up.round().unwrap();
        assert_eq!(up.sent(), [[packet(1, 60)]]);
        assert_eq!(up.tally.closed_idle, 1);
        assert_eq!(
            (
                up.tally.sent_packets,
                up.tally.sent_bytes,
                up.tally.sent_blocks
            ),
            (1, 60, 1)
        );
    }
}

#[test]
fn packets_gather_while_the_bus_is_busy() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        for number in 0..6 {
            up.host.sends([packet(number, 60)]);
            up.round().unwrap();
        }
        assert_eq!(
            up.queue.lock().sent.len(),
            1,
            "one in flight, the rest waits"
        );
        up.host.sends(half());
        up.round().unwrap();
        let mut gathered: Vec<_> = (1..6).map(|number| packet(number, 60)).collect();
        gathered.extend(half());
        assert_eq!(up.sent()[1], gathered, "half an NTB leaves behind one");
        up.host.sends(half());
        up.round().unwrap();
        assert_eq!(up.queue.lock().sent.len(), 2, "but not behind two");
        up.queue.complete(Ok(0));
        up.round().unwrap();
        assert_eq!(up.sent()[2], half());
    }
}

#[test]
fn full_ntbs_leave_and_the_host_waits_when_all_are_in_flight() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 2);
        up.host.sends((0..100).map(|number| packet(number, 1500)));
        up.round().unwrap();
        assert_eq!(up.queue.lock().sent.len(), 2);
        assert_eq!(up.tally.closed_full, 2);
        assert!(!up.uplink.wants_input(false));
        let left = up.host.script().outgoing.len();
        up.round().unwrap();
        assert_eq!(
            up.host.script().outgoing.len(),
            left,
            "not read while nothing is free"
        );
        while !up.host.script().outgoing.is_empty() || up.queue.pending() > 0 {
            up.queue.complete(Ok(0));
            up.round().unwrap();
        }
        let all: Vec<_> = up.sent().into_iter().flatten().collect();
        assert_eq!(
            all,
            (0..100)
                .map(|number| packet(number, 1500))
                .collect::<Vec<_>>()
        );
        assert_eq!(up.tally.sent_packets, 100);
    }
}

#[test]
fn packets_are_read_into_usb_memory() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        up.host.sends((0..30).map(|number| packet(number, 700)));
        up.round().unwrap();
        let state = up.queue.lock();
        let script = up.host.script();
        assert_eq!(script.read.len(), 30);
        for place in &script.read[..20] {
            assert!(state.has(place));
        }
    }
}

#[test]
fn what_is_no_datagram_is_dropped_and_counted() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        let mut cut = packet(2, 100);
        cut[3] = 200;
        up.host.sends([
            b"hello there, this is no IP".to_vec(),
            cut,
            packet(3, usize::from(MTU) + 1),
            Vec::new(),
            packet(4, 60),
        ]);
        up.round().unwrap();
        assert_eq!(up.sent(), [[packet(4, 60)]]);
        assert_eq!((up.tally.host_not_ip, up.tally.host_too_long), (2, 2));
    }
}

#[test]
fn a_halted_way_out_drains_and_goes_on() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        for packets in [vec![packet(0, 60)], half()] {
            up.host.sends(packets);
            up.round().unwrap();
        }
        up.queue.complete(Err(TransferError::Stall));
        up.host.sends([packet(2, 60)]);
        up.round().unwrap();
        assert!(up.uplink.halted && !up.uplink.wants_input(false));
        up.round().unwrap();
        assert!(up.uplink.can_clear_halt());
        assert_eq!(
            up.queue.lock().sent.len(),
            2,
            "nothing goes to a halted endpoint"
        );
        up.uplink.halt_cleared();
        up.round().unwrap();
        while up.queue.pending() > 0 {
            up.queue.complete(Ok(0));
            up.round().unwrap();
        }
        // NTBs that the device has not taken are sent again, in order and ahead of others.
        let again: Vec<_> = up.sent().into_iter().skip(2).flatten().collect();
        assert_eq!(
            again,
            [vec![packet(0, 60)], half(), vec![packet(2, 60)]].concat()
        );
        assert_eq!((up.tally.send_stall, up.tally.lost_in_transfer), (1, 0));
    }
}

#[test]
fn without_kernel_memory_the_queue_shrinks_and_nothing_is_lost() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        up.host.sends([packet(0, 60)]);
        up.round().unwrap();
        up.queue.lock().refuse = Some(Error::NoMemory {
            operation: "submit".into(),
        });
        up.host.sends(half());
        up.round().unwrap();
        assert!(!up.uplink.wants_input(false));
        up.queue.lock().refuse = None;
        up.queue.complete(Ok(0));
        up.round().unwrap();
        assert_eq!(up.sent(), [vec![packet(0, 60)], half()]);
        assert_eq!(up.tally.transfers_given_up, 1);
        up.host.sends([packet(2, 60)]);
        up.queue.complete(Ok(0));
        up.round().unwrap();
        assert_eq!(up.sent()[2], [packet(2, 60)]);
    }
}

#[test]
fn a_way_out_that_keeps_failing_ends() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        let mut failed = None;
        for number in 0..200 {
            up.host.sends([packet(number, 60)]);
            if let Err(fault) = up.round() {
                failed = Some(fault);
                break;
            }
            if !up.queue.lock().pending.is_empty() {
                up.queue.complete(Err(TransferError::Fault));
            }
        }
        assert_eq!(failed, Some(Fault::Send(TransferError::Fault)));
        let mut up = Up::new(mode, 4);
        up.host.sends([packet(0, 60)]);
        up.round().unwrap();
        up.queue.complete(Err(TransferError::Gone));
        assert_eq!(up.round(), Err(Fault::Gone));
        let mut up = Up::new(mode, 4);
        up.host.script().broken = true;
        assert!(matches!(up.round(), Err(Fault::Host(_))));
    }
}

#[test]
fn a_host_end_whose_other_side_is_closed_fails_after_its_last_datagram() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        up.host.sends([packet(1, 60)]);
        // A closed socket returns empty reads for ever.
        up.host.script().closed = true;
        assert!(matches!(up.round(), Err(Fault::Host(_))), "{mode:?}");
        let empty = up.tally.host_reads - 1;
        assert!(empty <= MOST_EMPTY.into(), "{mode:?}: {empty}");
    }
}

#[test]
fn injected_datagrams_share_the_ntb() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 1);
        up.uplink
            .inject(Stream::Ips(0), &packet(1, 72), &mut up.tally)
            .unwrap();
        up.host.sends([packet(2, 60)]);
        up.round().unwrap();
        assert_eq!(up.sent(), [[packet(1, 72), packet(2, 60)]]);
        up.uplink
            .inject(Stream::Ips(0), &packet(3, 72), &mut up.tally)
            .unwrap();
        assert_eq!(up.tally.own_no_room, 1, "all buffers are in flight");
    }
}

#[test]
fn an_ntb_carries_one_session() {
    for mode in Mode::BOTH {
        let mut up = Up::new(mode, 4);
        let other = FakeHost::new(mode);
        let host = Arc::clone(&up.host);
        host.sends([packet(1, 60), packet(2, 60)]);
        other.sends([packet(3, 60)]);
        for (session, host) in [(0, &host), (3, &other)] {
            assert_eq!(up.fill(session, host), Ok(Filled::Drained));
        }
        up.queue.complete(Ok(0));
        up.uplink.reap(up.now, &mut up.tally).unwrap();
        up.uplink.flush(&mut up.tally).unwrap();
        assert_eq!(
            up.sent(),
            [vec![packet(1, 60), packet(2, 60)], vec![packet(3, 60)]]
        );
        assert_eq!((up.tally.closed_stream, up.tally.closed_idle), (1, 1));
        assert_eq!((up.carried.sent_packets, up.carried.sent_bytes), (3, 180));
        let sessions: Vec<_> = up
            .queue
            .lock()
            .sent
            .iter()
            .map(|ntb| {
                let ntb = Ntb::parse(ntb, &Limits::default()).unwrap();
                let mut drops = DropCounters::default();
                let mut datagrams = ntb.datagrams(&mut drops);
                datagrams.next().unwrap().stream
            })
            .collect();
        assert_eq!(sessions, [Stream::Ips(0), Stream::Ips(3)]);
    }
}

/// Completes transfers as they come, and returns all datagrams sent.
fn drain(up: &mut Up) -> Vec<Vec<u8>> {
    for _ in 0..1000 {
        up.round().unwrap();
        if up.queue.lock().pending.is_empty() && up.host.script().outgoing.is_empty() {
            break;
        }
        if !up.queue.lock().pending.is_empty() {
            up.queue.complete(Ok(0));
        }
    }
    up.sent().into_iter().flatten().collect()
}

#[test]
fn large_packets_are_cut_into_usb_memory() {
    let mut up = Up::new(Mode::Large, 8);
    let mut expected = Vec::new();
    for number in 0..10 {
        let (bytes, datagrams) = large(1, number * 60_000, 60_000, 1460);
        up.host.sends_as_they_are([bytes]);
        expected.extend(datagrams);
    }
    // No read expected the first packet.
    up.round().unwrap();
    let moved = up.tally.host_moved;
    assert!(up.host.script().outgoing.len() < 10);
    up.host.script().read.clear();
    assert_eq!(drain(&mut up), expected);
    assert_eq!(up.tally.host_cut, 10);
    assert_eq!(up.tally.host_moved, moved, "payload was copied");
    assert_eq!(up.tally.host_reads, 10);
    assert_eq!(up.tally.sent_packets, expected.len() as u64);
    assert_eq!(up.carried.sent_packets, expected.len() as u64);
    let bytes: usize = expected.iter().map(Vec::len).sum();
    assert_eq!(up.carried.sent_bytes, bytes as u64);
    let state = up.queue.lock();
    let script = up.host.script();
    assert!(script.read.len() > 300);
    for place in &script.read {
        assert!(state.has(place), "read to memory that is no USB buffer");
    }
    // Every NTB but the last is full.
    let ntbs = up.tally.sent_blocks;
    assert!(up.tally.closed_full >= ntbs - 1, "{:?}", up.tally);
}

#[test]
fn large_packets_go_through_whatever_room_there_is() {
    let parameters = NtbParameters {
        formats: 3,
        in_max: 131_072,
        out_max: 131_072,
        out_divisor: 32,
        out_remainder: 2,
        out_alignment: 4,
        ..NtbParameters::FALLBACK
    };
    let linux = Framing::negotiate(
        &parameters,
        &Choices {
            ndp_size: uwwan_ncm::NdpSize::Full,
            padding: uwwan_ncm::Padding::Full { min_tx_pkt: 14_848 },
            ..Choices::default()
        },
    );
    let mut framings = vec![linux, framing()];
    for block_size in [2048, 4096, 16_384, 65_536, 131_072] {
        for format in [uwwan_ncm::Format::Ntb16, uwwan_ncm::Format::Ntb32] {
            for placement in [uwwan_ncm::Placement::End, uwwan_ncm::Placement::Front] {
                framings.push(Framing::negotiate(
                    &parameters,
                    &Choices {
                        format,
                        placement,
                        block_size,
                        ..Choices::default()
                    },
                ));
            }
        }
    }
    for framing in framings {
        for depth in [1, 2, 3, 8, 32] {
            let mut up = Up::with(Mode::Large, framing, depth);
            let mut expected = Vec::new();
            for number in 0..20 {
                let payload = [60_000, 1460, 1, 64_000, 3000][number as usize % 5];
                let (bytes, datagrams) = large(number as u8 % 3, number * 65_536, payload, 1460);
                let lone = packet(number, 60 + 70 * number as usize);
                let plain = [vec![0; VNET_HEADER], lone.clone()].concat();
                up.host.sends_as_they_are([bytes, plain]);
                expected.extend(datagrams);
                expected.push(lone);
            }
            assert!(drain(&mut up) == expected, "{framing:?}, {depth} buffers");
        }
    }
}

#[test]
fn segments_longer_than_the_mtu_are_dropped() {
    let mut up = Up::new(Mode::Large, 8);
    let (long, datagrams) = large(1, 0, 30_000, 1461);
    up.host.sends_as_they_are([long]);
    up.host.sends([packet(4, 60)]);
    assert_eq!(drain(&mut up), [packet(4, 60)]);
    assert_eq!(up.tally.host_too_long, datagrams.len() as u64);
}

#[test]
fn ntbs_that_a_read_has_filled_wait_their_turn_without_kernel_memory() {
    let mut up = Up::new(Mode::Large, 8);
    up.host.sends([packet(0, 60)]);
    up.round().unwrap();
    up.queue.lock().refuse = Some(Error::NoMemory {
        operation: "submit".into(),
    });
    let (bytes, datagrams) = large(1, 0, 60_000, 1460);
    up.host.sends_as_they_are([bytes]);
    up.round().unwrap();
    up.round().unwrap();
    assert_eq!(up.queue.lock().sent.len(), 1);
    assert!(!up.uplink.wants_input(false));
    up.queue.lock().refuse = None;
    up.queue.complete(Ok(0));
    let expected: Vec<_> = std::iter::once(packet(0, 60)).chain(datagrams).collect();
    assert_eq!(drain(&mut up), expected);
}

/// Returns an uplink that is busy with large packets of one flow, of which as many NTBs leave as may
/// be in flight, and the datagrams of these packets.
fn busy() -> (Up, Vec<Vec<u8>>) {
    let mut up = Up::new(Mode::Large, 8);
    let mut expected = Vec::new();
    for number in 0..20 {
        let (bytes, datagrams) = large(1, number * 60_000, 60_000, 1460);
        up.host.sends_as_they_are([bytes]);
        expected.extend(datagrams);
    }
    for _ in 0..20 {
        take_one(&mut up);
    }
    (up, expected)
}

/// Makes a round, and has the device take an NTB in half a millisecond.
fn take_one(up: &mut Up) {
    up.round().unwrap();
    up.now += REST;
    if !up.queue.lock().pending.is_empty() {
        up.queue.complete(Ok(0));
    }
}

/// Returns the sequence numbers of the NTBs that were sent.
fn sequences(up: &Up) -> Vec<u16> {
    let number = |ntb: &Vec<u8>| u16::from_le_bytes([ntb[6], ntb[7]]);
    up.queue.lock().sent.iter().map(number).collect()
}

/// Returns a packet as an offload interface gives it.
fn with_header(packet: Vec<u8>) -> Vec<u8> {
    [vec![0; VNET_HEADER], packet].concat()
}

#[test]
fn a_packet_of_another_flow_passes_ntbs_that_wait() {
    let (mut up, expected) = busy();
    let mut passed = 0;
    for number in 0..12 {
        let lone = packet(1000 + number, 84);
        let before = up.queue.lock().sent.len();
        up.host.script().others.push_back(with_header(lone.clone()));
        up.round().unwrap();
        let sent = up.sent();
        // It leaves in an NTB without datagrams of the upload, ahead of one with them.
        let others = |ntb: &Vec<Vec<u8>>| ntb.iter().all(|datagram| datagram.len() == 84);
        if sent.get(before).is_some_and(others) {
            assert!(sent[before].contains(&lone));
            assert!(sent.len() > before + 1, "what was passed leaves, too");
            passed += 1;
        }
        up.now += REST;
        up.queue.complete(Ok(0));
    }
    assert!(passed >= 3, "{passed}");
    let mut all = drain(&mut up);
    all.retain(|datagram| datagram.len() != 84);
    assert!(all == expected, "the order within the flow");
    let sequences = sequences(&up);
    let count = sequences.len() as u16;
    assert_eq!(sequences, (0..count).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_small_packets_does_not_hold_an_upload_up() {
    let (mut up, _) = busy();
    let upload = |up: &Up| {
        let all = up.sent().into_iter().flatten();
        all.filter(|datagram| datagram.len() > 84).count()
    };
    let before = upload(&up);
    for _ in 0..40 {
        while up.host.script().others.len() < 300 {
            let lone = with_header(packet(7, 84));
            up.host.script().others.push_back(lone);
        }
        take_one(&mut up);
    }
    // Of 40 NTBs at least a third are the upload's, with 10 datagrams or more each.
    let large = upload(&up) - before;
    assert!(large > 10 * 13, "{large}");
}

#[test]
fn another_session_passes_ntbs_that_wait() {
    for mode in Mode::BOTH {
        let (mut up, expected) = busy();
        let other = FakeHost::new(mode);
        let mut scatter = Scatter::new(usize::from(MTU));
        let mut alone = 0;
        for number in 0..12 {
            other.sends([packet(1000 + number, 84)]);
            up.now += REST;
            up.uplink.reap(up.now, &mut up.tally).unwrap();
            if up.uplink.may_be_passed() {
                let before = up.queue.lock().sent.len();
                std::mem::swap(&mut scatter, &mut up.scatter);
                up.fill(3, &other).unwrap();
                std::mem::swap(&mut scatter, &mut up.scatter);
                let lone = packet(1000 + number, 84);
                alone += usize::from(up.sent()[before].contains(&lone));
            }
            let host = Arc::clone(&up.host);
            let filled = up.fill(0, &host).unwrap();
            up.uplink.set_left_off(filled);
            up.uplink.flush(&mut up.tally).unwrap();
            up.now += REST;
            up.queue.complete(Ok(0));
        }
        assert!(alone > 3, "{mode:?}: {alone}");
        let mut all = drain(&mut up);
        all.retain(|datagram| datagram.len() != 84);
        assert!(all == expected, "{mode:?}");
    }
}

#[test]
fn own_datagrams_have_room_behind_ntbs_that_wait() {
    let (mut up, _) = busy();
    for number in 0..8 {
        let own = packet(2000 + number, 84);
        up.uplink
            .inject(Stream::Ips(0), &own, &mut up.tally)
            .unwrap();
        take_one(&mut up);
    }
    let all = drain(&mut up);
    let own = all.iter().filter(|datagram| datagram.len() == 84).count();
    assert_eq!(own as u64 + up.tally.own_no_room, 8);
    assert!(own >= 4, "{own}");
    up.uplink.hold(&mut up.tally).unwrap();
    assert!(!up.uplink.wants_input(false) && !up.uplink.may_be_passed());
}
