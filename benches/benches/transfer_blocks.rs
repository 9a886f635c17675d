//! Measures how full NTBs are built and parsed, those of 64 KiB as well as those of 16.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uwwan_benches::{WORKLOADS, fill, framing, ntb};
use uwwan_ncm::{Builder, Format, Limits, Receiver};

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for workload in &WORKLOADS {
        for (form, format, linux) in [
            ("NTB16 minimal", Format::Ntb16, false),
            ("NTB32 minimal", Format::Ntb32, false),
            ("NTB16 as Linux", Format::Ntb16, true),
        ] {
            let framing = framing(format, linux, workload);
            let mut builder = Builder::new(framing);
            let mut bytes = vec![0; framing.max_ntb];
            let (_, datagrams) = fill(&mut builder, &mut bytes, workload);
            group.throughput(Throughput::Elements(datagrams as u64));
            group.bench_function(BenchmarkId::new(form, workload.name), |bencher| {
                bencher.iter(|| black_box(fill(&mut builder, black_box(&mut bytes), workload)));
            });
        }
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for workload in &WORKLOADS {
        for (form, format) in [("NTB16", Format::Ntb16), ("NTB32", Format::Ntb32)] {
            let bytes = ntb(framing(format, false, workload), workload);
            let mut receiver = Receiver::new(Limits::default());
            let datagrams = receiver.receive(&bytes, |_| ()).datagrams;
            group.throughput(Throughput::Elements(datagrams as u64));
            group.bench_function(BenchmarkId::new(form, workload.name), |bencher| {
                bencher.iter(|| {
                    receiver.receive(black_box(&bytes), |datagram| {
                        black_box(datagram);
                    })
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, build, parse);
criterion_main!(benches);
