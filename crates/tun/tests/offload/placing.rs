//! Tests of the places at which datagrams of large packets end up.

use std::io;

use proptest::prelude::*;
use uwwan_tun::scatter::{Layout, Place, Scatter};

use crate::traffic::blocks::{Blocks, cut, reading};
use crate::traffic::{ACK, PSH, Traffic, payload};

fn large(v6: bool, segments: usize, size: usize) -> Traffic {
    let mut traffic = Traffic::tcp(v6, 0);
    traffic.payload = payload(segments * size - 10, 7);
    traffic.flags = ACK | PSH;
    traffic
}

fn receive(scatter: &mut Scatter, blocks: &mut Blocks, traffic: &Traffic, size: usize) {
    let read = reading([&traffic.vnet(size), &traffic.partial()]);
    let received = blocks.receive(scatter, read).expect("placed");
    assert_eq!(received.waiting, 0);
}

#[test]
fn a_connection_is_read_into_place() {
    let mut scatter = Scatter::new(1500);
    let traffic = large(false, 44, 1448);
    let expected: Vec<_> = traffic.cut(1448).iter().map(Traffic::datagram).collect();
    for round in 0..3 {
        // Five blocks of memory of the usual size hold one packet of the largest size.
        let mut blocks = Blocks::new(&[16_384; 5], 4);
        receive(&mut scatter, &mut blocks, &traffic, 1448);
        assert!(blocks.datagrams() == expected);
        assert!(blocks.is_clean_elsewhere());
        // The length of segments is unknown before the first packet only, whose beginning is in
        // place.
        let counters = scatter.counters();
        assert_eq!(counters.moved, traffic.payload.len() as u64 - 1448);
        assert_eq!(counters.cut, round + 1);
    }
}

#[test]
fn nothing_moves_while_a_connection_goes_on() {
    let mut scatter = Scatter::new(1500);
    let traffic = large(true, 11, 1428);
    receive(&mut scatter, &mut Blocks::new(&[20_000], 4), &traffic, 1428);
    let before = scatter.counters();
    for segments in [11, 2, 10, 3, 7] {
        // Acknowledgements of the other direction come in between.
        for length in [0, 0, 300] {
            let mut blocks = Blocks::new(&[16_384, 16_384], 4);
            let small = Traffic::tcp(true, length);
            receive(&mut scatter, &mut blocks, &small, 0);
            assert_eq!(blocks.datagrams(), [small.datagram()]);
        }
        let mut blocks = Blocks::new(&[16_384, 16_384], 4);
        let traffic = large(true, segments, 1428);
        receive(&mut scatter, &mut blocks, &traffic, 1428);
        assert_eq!(blocks.rows.places.len(), segments);
    }
    let after = scatter.counters();
    assert_eq!(after.moved, before.moved);
    assert_eq!(after.cut, before.cut + 5);
    assert_eq!(after.packets, before.packets + 20);
    assert!(after.payload > before.payload + 5 * 1428);
}

/// Lets the scatter expect short packets.
fn read_short_ones(scatter: &mut Scatter) {
    let short = Traffic::udp(false, 64);
    for _ in 0..64 {
        let ours = cut(scatter, &short.vnet(0), &short.partial());
        assert_eq!(ours, [short.datagram()]);
    }
}

#[test]
fn short_packets_in_a_row_are_read_into_one_buffer() {
    let mut scatter = Scatter::new(1500);
    read_short_ones(&mut scatter);
    let buffers = |scatter: &mut Scatter, length: usize| {
        let traffic = Traffic::udp(true, length);
        let read = reading([&traffic.vnet(0), &traffic.partial()]);
        let mut blocks = Blocks::new(&[16_384], 4);
        let mut count = 0;
        let counted = |buffers: &mut [io::IoSliceMut<'_>]| {
            count = buffers.len();
            read(buffers)
        };
        blocks.receive(scatter, counted).expect("placed");
        assert_eq!(blocks.datagrams(), [traffic.datagram()]);
        assert!(blocks.is_clean_elsewhere());
        count
    };
    // The longest short packet has 256 bytes, 48 of them headers.
    assert_eq!(
        [208, 0, 208].map(|length| buffers(&mut scatter, length)),
        [1; 3]
    );
    assert_eq!(scatter.counters().moved, 0);
    assert_eq!(
        [209, 64].map(|length| buffers(&mut scatter, length)),
        [1, 3]
    );
    assert_eq!(scatter.counters().moved, 257);
}

/// The sequence numbers and identifications of a long flow begin again at 0 within a packet.
#[test]
fn numbers_that_wrap_go_on() {
    for v6 in [false, true] {
        for at in 1..10_u16 {
            let mut traffic = large(v6, 10, 1400);
            traffic.sequence = 3_u32.wrapping_sub(u32::from(at) * 1400);
            traffic.id = 0_u16.wrapping_sub(at);
            let mut scatter = Scatter::new(1500);
            let ours = cut(&mut scatter, &traffic.vnet(1400), &traffic.partial());
            let expected: Vec<_> = traffic.cut(1400).iter().map(Traffic::datagram).collect();
            assert!(ours == expected, "{at} segments before the end");
        }
    }
}

#[test]
fn a_packet_larger_than_its_blocks_waits() {
    let mut scatter = Scatter::new(1500);
    let traffic = large(false, 30, 1448);
    let expected: Vec<_> = traffic.cut(1448).iter().map(Traffic::datagram).collect();
    for room in [0, 1000, 1500, 16_384] {
        let mut all = Vec::new();
        let mut blocks = Blocks::new(&[room], 4);
        let read = reading([&traffic.vnet(1448), &traffic.partial()]);
        let received = blocks.receive(&mut scatter, read).expect("placed");
        assert_eq!(received.datagrams + received.waiting, 30);
        assert_eq!(scatter.waiting(), Some(1500));
        all.extend(blocks.datagrams());
        // The next packet is not read before the waiting datagrams are gone.
        let error = blocks
            .receive(&mut scatter, |_| panic!("read while some wait"))
            .expect_err("some wait");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        while scatter.waiting().is_some() {
            let mut blocks = Blocks::new(&[16_384], 4);
            let more = blocks.drain(&mut scatter);
            assert!(more.datagrams > 0);
            assert!(blocks.is_clean_elsewhere());
            all.extend(blocks.datagrams());
        }
        assert!(all == expected, "with room for {room} bytes");
    }
}

#[test]
fn what_fits_nowhere_can_be_skipped() {
    let mut scatter = Scatter::new(1500);
    let traffic = large(false, 5, 1448);
    let mut blocks = Blocks::new(&[100], 4);
    let read = reading([&traffic.vnet(1448), &traffic.partial()]);
    blocks.receive(&mut scatter, read).expect("read");
    for _ in 0..5 {
        assert!(scatter.waiting().is_some());
        scatter.skip();
    }
    assert_eq!(scatter.waiting(), None);
    scatter.skip();
    assert_eq!(scatter.counters().skipped, 5);
}

#[test]
fn a_read_that_fails_leaves_the_layout_as_it_was() {
    let mut scatter = Scatter::new(1500);
    let mut blocks = Blocks::new(&[16_384], 4);
    receive(&mut scatter, &mut blocks, &Traffic::tcp(false, 100), 0);
    for _ in 0..2 {
        let error = blocks
            .receive(&mut scatter, |_| Err(io::ErrorKind::WouldBlock.into()))
            .expect_err("nothing waits");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(blocks.rows.places.len(), 1);
    }
    let error = blocks
        .receive(&mut scatter, |_| Ok(9))
        .expect_err("less than a virtio header");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(blocks.rows.places.len(), 1);
}

/// A layout that gives the places it was told.
struct Told(Vec<Place>);

impl Layout for Told {
    fn place(&mut self, _: usize) -> Option<Place> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    fn keep(&mut self, _: usize) {}
}

#[test]
fn places_that_are_none_are_refused() {
    let place = |area, offset| Place { area, offset };
    let far = usize::MAX;
    for (second, third) in [
        (place(0, 0), place(0, 100)),
        (place(0, 1499), place(1, 0)),
        (place(1, 0), place(0, 1500)),
        (place(0, far), place(0, 0)),
        (place(far, 0), place(0, 0)),
        (place(1, 2500), place(1, 4000)),
    ] {
        for known in [false, true] {
            let mut scatter = Scatter::new(1500);
            let traffic = large(false, 3, 1448);
            if known {
                receive(&mut scatter, &mut Blocks::roomy(), &traffic, 1448);
            }
            let (mut first_area, mut second_area) = (vec![0; 3000], vec![0; 3000]);
            // The first place is for what is expected, and the others are for what came.
            let mut told = vec![place(0, 0), second, third];
            if !known {
                told.insert(0, place(0, 0));
            } else {
                told.extend([place(0, 0), second, third]);
            }
            let result = scatter.receive(
                reading([&traffic.vnet(1448), &traffic.partial()]),
                &mut [&mut first_area, &mut second_area],
                &mut Told(told),
            );
            if let Ok(received) = result {
                assert!(received.waiting > 0, "{second:?} {third:?}");
            }
        }
    }
}

prop_compose! {
    fn any_traffic()(
        v6 in any::<bool>(),
        udp in prop::bool::weighted(0.2),
        length in 0..20_000_usize,
        size in prop_oneof![Just(1448_usize), Just(1428), 1..3000_usize],
        tcp_options in 0..11_usize,
        options in 0..3_usize,
        numbers in any::<(u16, u32, u32, u16)>(),
        flags in any::<u8>(),
        tos in any::<u8>(),
        dont_fragment in any::<bool>(),
        seed in any::<u32>(),
    ) -> (Traffic, usize) {
        let mut traffic = if udp { Traffic::udp(v6, 0) } else { Traffic::tcp(v6, 0) };
        // There are at most as many segments as the memory of these tests holds.
        traffic.payload = payload(length.min(size * 200), seed);
        traffic.options = if v6 { vec![60; options] } else { vec![1; 4 * options] };
        traffic.tcp_options = vec![1; if udp { 0 } else { 4 * tcp_options }];
        (traffic.id, traffic.sequence, traffic.acknowledgement, traffic.window) = numbers;
        traffic.flags = flags;
        traffic.tos = tos;
        traffic.dont_fragment = dont_fragment;
        (traffic, size)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was expected and wherever blocks of memory end, the datagrams are right, and
    /// nothing around them is touched.
    #[test]
    fn datagrams_are_right_wherever_they_lie(
        packets in prop::collection::vec(any_traffic(), 1..8),
        sizes in prop::collection::vec(prop_oneof![Just(16_384_usize), 0..9000_usize], 1..10),
        alignment in prop_oneof![Just(1_usize), Just(4), Just(32)],
        rounds in 0..3_usize,
        short in any::<bool>(),
    ) {
        let mut scatter = Scatter::new(1500);
        for (traffic, size) in packets {
            if short {
                read_short_ones(&mut scatter);
            }
            let whole = traffic.payload.len() <= size;
            let expected: Vec<_> = if whole {
                vec![traffic.datagram()]
            } else {
                traffic.cut(size).iter().map(Traffic::datagram).collect()
            };
            for _ in 0..=rounds {
                let mut blocks = Blocks::new(&sizes, alignment);
                let read = reading([&traffic.vnet(size), &traffic.partial()]);
                let received = blocks.receive(&mut scatter, read).expect("placed");
                prop_assert_eq!(received.datagrams, blocks.rows.places.len());
                let clean = blocks.is_clean_elsewhere();
                let mut all = blocks.datagrams();
                let bytes: usize = all.iter().map(Vec::len).sum();
                prop_assert_eq!(received.bytes, bytes);
                while scatter.waiting().is_some() {
                    let mut blocks = Blocks::new(&[70_000], alignment);
                    blocks.drain(&mut scatter);
                    prop_assert!(blocks.is_clean_elsewhere());
                    all.extend(blocks.datagrams());
                }
                prop_assert_eq!(&all, &expected);
                // A wrong prediction may leave traces in places that were not used in the end.
                prop_assert!(clean || scatter.counters().moved > 0);
            }
        }
    }
}

#[test]
fn prediction_does_not_change_what_comes_out() {
    // Every kind of traffic follows every other.
    let kinds = [
        (large(false, 9, 1448), 1448),
        (large(true, 9, 1428), 1428),
        (large(false, 20, 536), 536),
        (large(true, 3, 8000), 8000),
        (Traffic::udp(false, 9000), 1200),
        (Traffic::tcp(false, 0), 0),
        (Traffic::udp(true, 1400), 0),
    ];
    for (first, first_size) in &kinds {
        for (second, second_size) in &kinds {
            let mut scatter = Scatter::new(1500);
            if first.payload.is_empty() {
                read_short_ones(&mut scatter);
            }
            cut(&mut scatter, &first.vnet(*first_size), &first.partial());
            let ours = cut(&mut scatter, &second.vnet(*second_size), &second.partial());
            let size = if *second_size == 0 {
                65_000
            } else {
                *second_size
            };
            let expected: Vec<_> = if second.payload.is_empty() {
                vec![second.datagram()]
            } else {
                second.cut(size).iter().map(Traffic::datagram).collect()
            };
            assert!(ours == expected, "{first:?} then {second:?}");
        }
    }
}
