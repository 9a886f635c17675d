//! Measures how the packets of an offload TUN are cut and merged, without the system calls.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uwwan_benches::segments::{self, Large, Row, SEGMENTS};
use uwwan_tun::checksum::Sum;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::scatter::Scatter;

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in [40, 576, 1500] {
        let bytes = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| Sum::of(black_box(&bytes)).fold());
        });
    }
    group.finish();
}

fn segment(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segment");
    let large = Large::new(1);
    group.throughput(Throughput::Elements(SEGMENTS as u64));
    let mut datagrams = large.datagrams();
    group.bench_function("headers and checksums", |bencher| {
        bencher.iter(|| {
            let plan = black_box(&large).plan();
            for (index, datagram) in datagrams.iter_mut().enumerate() {
                plan.write(index, black_box(datagram));
            }
        });
    });
    let mut memory = segments::memory();
    let mut scatter = Scatter::new(1500);
    group.bench_function("scattered read without the copying", |bencher| {
        bencher.iter(|| {
            let mut row = Row::new(memory.len());
            scatter.receive(
                |buffers| large.read(buffers),
                &mut [black_box(&mut memory)],
                &mut row,
            )
        });
    });
    group.finish();
}

fn coalesce(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coalesce");
    let one: Vec<_> = Large::new(1).datagrams();
    let flows: Vec<_> = (0..4).map(|port| Large::new(port).datagrams()).collect();
    let four: Vec<_> = (0..SEGMENTS)
        .map(|at| flows[at % 4][at / 4].clone())
        .collect();
    // The segments have no payload, so none is merged.
    let acknowledgements: Vec<_> = one
        .iter()
        .map(|datagram| {
            let mut short = datagram[..52].to_vec();
            short[2..4].copy_from_slice(&[0, 52]);
            short
        })
        .collect();
    for (name, datagrams, packets) in [
        ("one flow", one, 1),
        ("four flows in turn", four, 4),
        ("acknowledgements", acknowledgements, SEGMENTS),
    ] {
        let mut coalescer = Coalescer::new(Merge {
            tcp: true,
            udp: true,
        });
        group.throughput(Throughput::Elements(SEGMENTS as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut sent = 0;
                let mut batch = coalescer.batch(|packet| {
                    black_box(packet.slices);
                    sent += 1;
                });
                for datagram in &datagrams {
                    batch.push(black_box(datagram));
                }
                batch.finish();
                assert_eq!(sent, packets);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, checksum, segment, coalesce);
criterion_main!(benches);
