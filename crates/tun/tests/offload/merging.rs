//! Merging is undone by cutting, and keeps the order of every flow.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::scatter::Scatter;

use crate::traffic::blocks::{Large, coalescer, cut, merge};
use crate::traffic::{ACK, CWR, ECE, FIN, PSH, SYN, Traffic, payload};

const SIZE: usize = 200;

fn run(v6: bool, count: usize) -> Vec<Traffic> {
    let mut whole = Traffic::tcp(v6, 0);
    whole.payload = payload(count * SIZE, 2);
    whole.cut(SIZE)
}

fn wire(batch: &[Traffic]) -> Vec<Vec<u8>> {
    batch.iter().map(Traffic::datagram).collect()
}

fn is_large(packet: &Large) -> bool {
    packet.0[1] != 0
}

/// Returns the datagrams that the packets stand for.
fn cut_all(packets: &[Large]) -> Vec<Vec<u8>> {
    let mut scatter = Scatter::new(1500);
    packets
        .iter()
        .flat_map(|(vnet, packet)| cut(&mut scatter, vnet, packet))
        .collect()
}

#[test]
fn a_run_is_one_packet() {
    for v6 in [false, true] {
        let batch = run(v6, 50);
        let packets = merge(&mut coalescer(), &wire(&batch));
        assert_eq!(packets.len(), 1);
        let (vnet, packet) = &packets[0];
        let mut whole = Traffic::tcp(v6, 0);
        whole.payload = payload(50 * SIZE, 2);
        assert_eq!(*vnet, whole.vnet(SIZE));
        assert!(*packet == whole.partial());
    }
}

#[test]
fn udp_of_one_size_is_one_packet() {
    for v6 in [false, true] {
        let mut whole = Traffic::udp(v6, 0);
        whole.payload = payload(20 * SIZE - 7, 2);
        let packets = merge(&mut coalescer(), &wire(&whole.cut(SIZE)));
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].0, whole.vnet(SIZE));
        assert!(packets[0].1 == whole.partial());
        let mut counting = coalescer();
        merge(&mut counting, &wire(&whole.cut(SIZE)));
        assert_eq!(counting.counters().merged, 20);
        assert_eq!(counting.counters().packets, 1);
        // No more datagrams are merged than the kernel accepts at once.
        whole.payload = payload(100 * SIZE, 2);
        let packets = merge(&mut coalescer(), &wire(&whole.cut(SIZE)));
        let lengths: Vec<_> = packets.iter().map(|packet| packet.1.len()).collect();
        let header = whole.header_length();
        assert_eq!(lengths, [header + 64 * SIZE, header + 36 * SIZE]);
    }
}

#[test]
fn what_is_not_to_be_merged_is_not() {
    let mut udp = Traffic::udp(false, 0);
    udp.payload = payload(5 * SIZE, 2);
    let mut all = wire(&udp.cut(SIZE));
    all.extend(wire(&run(false, 5)));
    for (tcp, udp, expected) in [(false, false, 10), (true, false, 6), (false, true, 6)] {
        let mut coalescer = Coalescer::new(Merge { tcp, udp });
        let packets = merge(&mut coalescer, &all);
        assert_eq!(packets.len(), expected, "TCP {tcp}, UDP {udp}");
    }
}

/// Each change keeps one datagram, the fourth of seven, out of the run, or ends the run.
#[test]
fn the_unusual_goes_alone() {
    type Change = fn(&mut Traffic);
    let changes: [(&str, Change, usize); 6] = [
        ("CWR", |traffic| traffic.flags |= CWR, 3),
        ("SYN", |traffic| traffic.flags |= SYN, 3),
        ("no payload", |traffic| traffic.payload.clear(), 3),
        ("PSH", |traffic| traffic.flags |= PSH, 2),
        ("FIN", |traffic| traffic.flags |= FIN, 2),
        ("a type of service", |traffic| traffic.tos = 8, 3),
    ];
    for v6 in [false, true] {
        for (name, change, expected) in changes {
            let mut batch = run(v6, 7);
            change(&mut batch[3]);
            let sent = wire(&batch);
            let packets = merge(&mut coalescer(), &sent);
            assert_eq!(packets.len(), expected, "{name}");
            assert!(cut_all(&packets) == sent, "{name}");
        }
    }
}

#[test]
fn extension_headers_must_be_the_same() {
    let mut batch = run(true, 7);
    for traffic in &mut batch {
        traffic.options = vec![60];
    }
    let mut sent = wire(&batch);
    assert_eq!(merge(&mut coalescer(), &sent).len(), 1);
    // The changed byte is part of no checksum.
    sent[3][45] ^= 1;
    let packets = merge(&mut coalescer(), &sent);
    assert_eq!(packets.len(), 3);
    assert!(cut_all(&packets) == sent);
}

#[test]
fn identifications_stay_only_where_fragments_are_forbidden() {
    let mut batch = run(false, 6);
    for traffic in &mut batch {
        traffic.id = 0;
    }
    let packets = merge(&mut coalescer(), &wire(&batch));
    assert_eq!(packets.len(), 1);
    // After being cut again they count up, which means nothing in packets that are never
    // fragmented.
    for (index, traffic) in batch.iter_mut().enumerate() {
        traffic.id = index as u16;
    }
    assert!(cut_all(&packets) == wire(&batch));
    for traffic in &mut batch {
        traffic.id = 0;
        traffic.dont_fragment = false;
    }
    let packets = merge(&mut coalescer(), &wire(&batch));
    assert_eq!(packets.len(), 6);
    assert!(!packets.iter().any(is_large));
}

/// The sequence numbers and identifications of a long flow begin again at 0 within a run.
#[test]
fn numbers_that_wrap_go_on() {
    for v6 in [false, true] {
        for at in 1..10 {
            let mut whole = Traffic::tcp(v6, 0);
            whole.payload = payload(10 * SIZE, 2);
            whole.sequence = 0_u32.wrapping_sub((at * SIZE) as u32);
            whole.id = 0_u16.wrapping_sub(at as u16);
            let sent = wire(&whole.cut(SIZE));
            for sequence in [whole.sequence, whole.sequence.wrapping_add(7)] {
                let whole = Traffic {
                    sequence,
                    ..whole.clone()
                };
                let sent = wire(&whole.cut(SIZE));
                let packets = merge(&mut coalescer(), &sent);
                assert_eq!(packets.len(), 1, "{at} segments before the end");
                assert!(packets[0].1 == whole.partial());
                assert!(cut_all(&packets) == sent);
            }
            // A missing datagram ends the run.
            let mut gap = sent.clone();
            gap.remove(at);
            let packets = merge(&mut coalescer(), &gap);
            // Without the last datagram there is no gap.
            assert_eq!(packets.len(), if at == 9 { 1 } else { 2 });
            assert!(cut_all(&packets) == gap);
        }
    }
}

#[test]
fn a_flow_overtakes_nothing_of_its_own() {
    // These are an IPv4 packet with options, a fragment and padding; the run of their flow or
    // addresses is written first.
    let batch = run(false, 6);
    let mut sent = wire(&batch);
    let mut optioned = batch[3].clone();
    optioned.options = vec![1; 4];
    sent[3] = optioned.datagram();
    assert!(cut_all(&merge(&mut coalescer(), &sent)) == sent);
    let mut sent = wire(&batch);
    sent[2][6] = 0x20;
    assert!(cut_all(&merge(&mut coalescer(), &sent)) == sent);
    let mut sent = wire(&batch);
    sent[2].extend([0; 6]);
    let packets = merge(&mut coalescer(), &sent);
    assert!(cut_all(&packets) == sent);
    assert_eq!(packets.len(), 3);
    // This datagram is of another protocol between the same hosts.
    let mut sent = wire(&batch);
    sent[2][9] = 47;
    assert!(cut_all(&merge(&mut coalescer(), &sent)) == sent);
}

#[test]
fn damage_is_not_passed_off_as_good() {
    for damaged in 0..6 {
        for at in [0, 5, 15, 30, 60] {
            let mut sent = wire(&run(false, 6));
            let length = sent[damaged].len();
            sent[damaged][length - 1 - at] ^= 0x10;
            let mut coalescer = coalescer();
            let packets = merge(&mut coalescer, &sent);
            assert!(cut_all(&packets) == sent);
            let alone = packets.iter().any(|packet| packet.1 == sent[damaged]);
            assert!(alone, "{damaged} at {at}");
        }
    }
}

#[test]
fn more_flows_than_are_held_still_come_through() {
    let mut sent = Vec::new();
    for segment in run(true, 5) {
        for flow in 0..12 {
            let traffic = Traffic {
                flow,
                ..segment.clone()
            };
            sent.push(traffic.datagram());
        }
    }
    let packets = merge(&mut coalescer(), &sent);
    assert_eq!(by_flow(&cut_all(&packets)), by_flow(&sent));
    // Eight flows at most are held. Of twelve in turn the one that comes next is never held, but
    // one flow among few is merged.
    let few: Vec<_> = sent
        .iter()
        .filter(|bytes| bytes[41] < 144)
        .cloned()
        .collect();
    let packets = merge(&mut coalescer(), &few);
    assert!(packets.iter().all(is_large));
}

fn by_flow(datagrams: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows = BTreeMap::<_, Vec<_>>::new();
    for datagram in datagrams {
        let mut network = datagram.clone();
        let at = match datagram[0] >> 4 {
            4 => usize::from(datagram[0] & 15) * 4,
            _ => 40,
        };
        network.truncate(at + 4);
        let key = match datagram[0] >> 4 {
            4 => [&network[9..10], &network[12..20], &network[at..]].concat(),
            _ => [&network[6..7], &network[8..]].concat(),
        };
        flows.entry(key).or_default().push(datagram.clone());
    }
    flows
}

/// Event that may happen to a flow between two datagrams.
#[derive(Debug, Clone, Copy)]
enum Event {
    Next,
    Full,
    Short,
    Flags(u8),
    Lost,
    Twice,
    Acknowledgement,
    Window,
    Tos,
    Damaged,
    Identification,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => Just(Event::Next),
        2 => Just(Event::Full),
        1 => Just(Event::Short),
        2 => prop_oneof![Just(PSH), Just(FIN), Just(CWR), Just(SYN)].prop_map(Event::Flags),
        1 => Just(Event::Lost),
        1 => Just(Event::Twice),
        1 => Just(Event::Acknowledgement),
        1 => Just(Event::Window),
        1 => Just(Event::Tos),
        1 => Just(Event::Damaged),
        1 => Just(Event::Identification),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Merging what was cut from one packet gives that packet back, byte for byte.
    #[test]
    fn merging_undoes_cutting(
        v6 in any::<bool>(),
        udp in any::<bool>(),
        size in 1..1449_usize,
        segments in 2..65_usize,
        missing in 0..1448_usize,
        tcp_options in 0..11_usize,
        extensions in 0..3_usize,
        numbers in any::<(u16, u32, u32, u16, u8)>(),
        flags in prop::sample::select(vec![0, PSH, FIN, PSH | FIN, ECE, ECE | PSH]),
        dont_fragment in any::<bool>(),
    ) {
        let mut whole = if udp { Traffic::udp(v6, 0) } else { Traffic::tcp(v6, 0) };
        whole.options = if v6 { vec![60; extensions] } else { Vec::new() };
        whole.tcp_options = vec![1; if udp { 0 } else { 4 * tcp_options }];
        (whole.id, whole.sequence, whole.acknowledgement, whole.window, whole.tos) = numbers;
        whole.flags = ACK | flags;
        whole.dont_fragment = dont_fragment;
        let most = 65_535 - whole.header_length();
        whole.payload = payload((segments * size - missing % size).min(most), 9);
        prop_assume!(whole.payload.len() > size);
        let sent = wire(&whole.cut(size));
        let mut coalescer = coalescer();
        let packets = merge(&mut coalescer, &sent);
        prop_assert_eq!(packets.len(), 1);
        prop_assert_eq!(packets[0].0, whole.vnet(size));
        prop_assert!(packets[0].1 == whole.partial());
        prop_assert_eq!(coalescer.counters().merged, sent.len() as u64);
    }

    /// Cutting what was merged gives the datagrams back, with each flow in its order, in any number
    /// of batches.
    #[test]
    fn cutting_undoes_merging(
        steps in prop::collection::vec((0..4_u8, event()), 1..150),
        batches in 1..4_usize,
    ) {
        // Flows 1 and 3 are TCP, 0 and 2 UDP; 2 and 3 are IPv6.
        let mut flows: Vec<Traffic> = (0..4).map(|flow| {
            let mut traffic = if flow % 2 == 0 {
                Traffic::udp(flow > 1, SIZE)
            } else {
                Traffic::tcp(flow > 1, SIZE)
            };
            traffic.flow = flow;
            // Otherwise a datagram that comes twice could be one of a flow whose identification
            // stays.
            traffic.dont_fragment = flow != 0;
            traffic
        }).collect();
        let mut sent = Vec::new();
        for (flow, event) in steps {
            let state = &mut flows[usize::from(flow)];
            let mut traffic = state.clone();
            let mut damaged = false;
            traffic.flags = ACK;
            match event {
                Event::Next | Event::Twice | Event::Lost => {}
                Event::Full => traffic.payload = payload(1400, 3),
                Event::Short => traffic.payload.truncate(10),
                Event::Flags(flags) => traffic.flags |= flags,
                Event::Acknowledgement => traffic.acknowledgement ^= 1,
                Event::Window => traffic.window ^= 1,
                Event::Tos => traffic.tos ^= 1,
                Event::Damaged => damaged = true,
                Event::Identification => traffic.id = traffic.id.wrapping_add(100),
            }
            let length = traffic.payload.len() as u32;
            state.sequence = traffic.sequence.wrapping_add(length);
            state.id = traffic.id.wrapping_add(1);
            let mut bytes = traffic.datagram();
            if damaged {
                bytes[30] ^= 4;
            }
            if matches!(event, Event::Lost) {
                continue;
            }
            sent.push(bytes.clone());
            if matches!(event, Event::Twice) {
                sent.push(bytes);
            }
        }
        let mut coalescer = coalescer();
        let mut packets = Vec::new();
        for batch in sent.chunks(sent.len().div_ceil(batches).max(1)) {
            packets.extend(merge(&mut coalescer, batch));
        }
        let counters = coalescer.counters();
        prop_assert_eq!(counters.datagrams, sent.len() as u64);
        prop_assert_eq!(counters.packets, packets.len() as u64);
        let large = packets.iter().filter(|packet| is_large(packet)).count() as u64;
        prop_assert_eq!(counters.packets - large + counters.merged, counters.datagrams);
        let back = cut_all(&packets);
        prop_assert_eq!(by_flow(&back), by_flow(&sent));
    }
}
