//! With arbitrary bytes nothing panics, nothing grows without bound, and nothing is lost.

use proptest::prelude::*;
use uwwan_tun::headers::{VNET_HEADER, VnetHeader};
use uwwan_tun::scatter::Scatter;
use uwwan_tun::segment::Plan;

use crate::traffic::blocks::{Blocks, coalescer, cut, merge, reading};
use crate::traffic::{Traffic, payload};

/// Returns bytes that resemble an IP packet.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((0..100_usize, any::<u8>()), 0..4);
    let traffic = (
        any::<bool>(),
        any::<bool>(),
        0..3000_usize,
        changes,
        0..200_usize,
    );
    let mangled = traffic.prop_map(|(v6, udp, length, changes, cut)| {
        let traffic = if udp {
            Traffic::udp(v6, length)
        } else {
            Traffic::tcp(v6, length)
        };
        let mut bytes = traffic.datagram();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if cut < 60 {
            bytes.truncate(cut);
        }
        bytes
    });
    prop_oneof![3 => mangled, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_packets_are_cut_or_refused(
        flags in 0..4_u8,
        kind in prop_oneof![Just(1_u8), Just(4), Just(5), any::<u8>()],
        numbers in prop::collection::vec(prop_oneof![0..100_u16, any::<u16>()], 4),
        packet in mangled(),
    ) {
        let mut vnet = vec![flags, kind];
        for number in &numbers {
            vnet.extend(number.to_ne_bytes());
        }
        let mut scatter = Scatter::new(1500);
        let mut blocks = Blocks::new(&[30_000], 4);
        for _ in 0..2 {
            let read = reading([&vnet, &packet]);
            let received = blocks.receive(&mut scatter, read).expect("placed or refused");
            let refused = scatter.counters().refused > 0;
            let mut bytes = received.bytes;
            prop_assert_eq!(refused, received.datagrams + received.waiting == 0);
            let mut rest = received.waiting;
            // Each datagram has at least one byte of the packet.
            prop_assert!(received.datagrams + rest <= packet.len().max(1));
            while let Some(length) = scatter.waiting() {
                let mut blocks = Blocks::new(&[length], 1);
                let more = blocks.drain(&mut scatter);
                prop_assert_eq!(more.datagrams, 1);
                bytes += more.bytes;
                rest -= 1;
            }
            prop_assert_eq!(rest, 0);
            prop_assert!(refused || bytes >= packet.len());
        }
    }

    #[test]
    fn plans_are_bounded(
        head in mangled(),
        vnet in any::<[u8; VNET_HEADER]>(),
        kind in prop_oneof![Just(1_u8), Just(4), Just(5)],
        total in 0..100_000_usize,
    ) {
        let mut vnet = vnet;
        vnet[0] &= 2;
        vnet[1] = kind;
        let Ok(header) = VnetHeader::parse(&vnet) else {
            return Ok(());
        };
        let Ok(plan) = Plan::new(&header, &head, total) else {
            return Ok(());
        };
        let mut end = plan.header();
        prop_assert!(plan.datagrams() <= total.max(1));
        for index in 0..plan.datagrams() {
            let payload = plan.payload(index);
            prop_assert_eq!(payload.start, end);
            prop_assert_eq!(plan.length(index), plan.header() + payload.len());
            end = payload.end;
        }
        prop_assert_eq!(end, total);
        prop_assert_eq!(plan.length(plan.datagrams()), 0);
        // A datagram of another length is left as it is.
        let mut wrong = vec![7; plan.length(0) + 1];
        plan.write(0, &mut wrong);
        prop_assert!(wrong.iter().all(|byte| *byte == 7));
        plan.write(usize::MAX, &mut []);
    }

    #[test]
    fn any_datagrams_come_through(datagrams in prop::collection::vec(mangled(), 0..40)) {
        let mut coalescer = coalescer();
        let packets = merge(&mut coalescer, &datagrams);
        let counters = coalescer.counters();
        prop_assert_eq!(counters.datagrams, datagrams.len() as u64);
        prop_assert!(counters.packets <= counters.datagrams);
        let bytes = packets.iter().map(|(_, packet)| packet.len()).sum::<usize>();
        prop_assert!(bytes <= datagrams.iter().map(Vec::len).sum());
        for (vnet, packet) in &packets {
            prop_assert!(packet.len() <= 65_535);
            if vnet[1] == 0 {
                prop_assert!(datagrams.contains(packet));
            }
        }
    }
}

#[test]
fn a_packet_as_long_as_the_buffer_was_cut_off() {
    let traffic = Traffic {
        payload: payload(80_000, 1),
        ..Traffic::udp(false, 0)
    };
    let bytes = [&[0; VNET_HEADER][..], &traffic.payload].concat();
    // Behind so many short packets another such is expected.
    for short in [0, 64] {
        let mut scatter = Scatter::new(1500);
        for _ in 0..short {
            let traffic = Traffic::tcp(false, 0);
            cut(&mut scatter, &traffic.vnet(0), &traffic.partial());
        }
        let mut blocks = Blocks::new(&[3000], 4);
        let received = blocks
            .receive(&mut scatter, reading([&bytes, &[]]))
            .expect("read");
        assert_eq!(received.datagrams, 0);
        assert_eq!(scatter.counters().refused, 1);
    }
}
