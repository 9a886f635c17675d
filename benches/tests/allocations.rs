//! Counts allocations: none is made for a packet on its way.

use uwwan_benches::segments::{self, Large, Row, SEGMENTS};
use uwwan_benches::{WORKLOADS, fill, framing, ntb};
use uwwan_ncm::{Builder, Format, Limits, Receiver};
use uwwan_tests::allocator::{self, Counting};
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::scatter::Scatter;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = allocator::requests();
    work();
    allocator::requests() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))),
        1
    );
}

#[test]
fn building_allocates_nothing() {
    for workload in &WORKLOADS {
        for (format, linux) in [
            (Format::Ntb16, false),
            (Format::Ntb32, false),
            (Format::Ntb16, true),
        ] {
            let framing = framing(format, linux, workload);
            let mut builder = Builder::new(framing);
            let mut bytes = vec![0; framing.max_ntb];
            let mut datagrams = 0;
            let count = allocations(|| {
                for _ in 0..3 {
                    datagrams += fill(&mut builder, &mut bytes, workload).1;
                }
            });
            assert!(datagrams >= 30);
            assert_eq!(count, 0, "{} {format} {linux}", workload.name);
        }
    }
}

#[test]
fn parsing_allocates_nothing() {
    for workload in &WORKLOADS {
        for format in [Format::Ntb16, Format::Ntb32] {
            let bytes = ntb(framing(format, false, workload), workload);
            let mut receiver = Receiver::new(Limits::default());
            let mut payload = 0;
            let count = allocations(|| {
                receiver.receive(&bytes, |datagram| payload += datagram.range.len());
            });
            assert!(payload > 13000);
            assert_eq!(count, 0, "{} {format}", workload.name);
        }
    }
}

#[test]
fn reading_large_packets_allocates_nothing() {
    let large = Large::new(1);
    let mut memory = segments::memory();
    let mut scatter = Scatter::new(1500);
    let mut datagrams = 0;
    let count = allocations(|| {
        for _ in 0..3 {
            let mut row = Row::new(memory.len());
            let read = |buffers: &mut [std::io::IoSliceMut<'_>]| large.read(buffers);
            let received = scatter.receive(read, &mut [&mut memory], &mut row);
            datagrams += received.expect("placed").datagrams;
        }
    });
    assert_eq!(datagrams, 3 * SEGMENTS);
    assert_eq!(count, 0);
}

#[test]
fn merging_allocates_nothing() {
    let datagrams = Large::new(1).datagrams();
    let mut coalescer = Coalescer::new(Merge {
        tcp: true,
        udp: true,
    });
    let mut packets = 0;
    let count = allocations(|| {
        for _ in 0..3 {
            let mut batch = coalescer.batch(|_| packets += 1);
            for datagram in &datagrams {
                batch.push(datagram);
            }
            batch.finish();
        }
    });
    assert_eq!(packets, 3);
    assert_eq!(count, 0);
}
