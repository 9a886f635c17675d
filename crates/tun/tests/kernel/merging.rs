//! Runs that the coalescer merges are compared with what the kernel's receive offload makes of the
//! same datagrams, and the kernel cuts them into the datagrams they were made of.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::napi::Napi;
use crate::router::{Router, datagrams, inject, offload, packets, plain};
use crate::traffic::blocks::{Large, coalescer, merge};
use crate::traffic::{ACK, CWR, ECE, FIN, PSH, SYN, Traffic, URG, payload, timestamps};

const SIZE: usize = 1000;
/// Number of times that a batch is sent. The kernel also flushes at its timer tick, and a batch
/// that met one is sent again.
const TRIES: usize = 30;

/// Returns a few consecutive segments.
fn run(v6: bool, count: usize) -> Vec<Traffic> {
    let mut whole = Traffic::tcp(v6, count * SIZE);
    whole.payload = payload(count * SIZE, 3);
    whole.cut(SIZE)
}

/// Returns the datagrams of a batch as bytes, those at the indices in `damaged` damaged.
fn wire(batch: &[Traffic], damaged: &[usize]) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<_> = batch.iter().map(Traffic::datagram).collect();
    for index in damaged {
        let last = datagrams[*index].last_mut().expect("not empty");
        *last ^= 1;
    }
    datagrams
}

fn datagram_count((vnet, packet): &Large) -> usize {
    let size = usize::from(u16::from_ne_bytes([vnet[4], vnet[5]]));
    if vnet[1] == 0 {
        return 1;
    }
    let transport = usize::from(u16::from_ne_bytes([vnet[6], vnet[7]]));
    let header = transport + usize::from(packet[transport + 12] >> 4) * 4;
    (packet.len() - header).div_ceil(size)
}

/// Returns the packets by flow, each flow in its order. Two fields of the virtio header are left
/// out, which only hint: the length that the kernel keeps contiguous, and the flag that it has
/// verified a checksum.
///
/// The kernel sends damaged segments ahead of what it holds of their flow, which the coalescer does
/// not; where some are damaged, order is not compared.
fn by_flow(packets: &[Large], damaged: bool) -> BTreeMap<u16, Vec<Large>> {
    let mut flows = BTreeMap::<u16, Vec<Large>>::new();
    for (vnet, packet) in packets {
        let mut vnet = *vnet;
        vnet[2..4].fill(0);
        if vnet[0] == 2 {
            vnet[0] = 0;
        }
        let at = match packet[0] >> 4 {
            4 => usize::from(packet[0] & 15) * 4,
            _ if packet[6] == 60 => 48,
            _ => 40,
        };
        let port = u16::from_be_bytes([packet[at], packet[at + 1]]);
        flows.entry(port).or_default().push((vnet, packet.clone()));
    }
    if damaged {
        flows.values_mut().for_each(|flow| flow.sort());
    }
    flows
}

/// Returns batches with the indices of their damaged datagrams.
fn batches(v6: bool) -> Vec<(String, Vec<Traffic>, Vec<usize>)> {
    let mut all = Vec::new();
    let mut case = |name: &str, batch: Vec<Traffic>| all.push((name.to_owned(), batch, vec![]));
    type Change = fn(&mut Traffic);
    let changes: [(&str, Change); 14] = [
        ("PSH", |traffic| traffic.flags |= PSH),
        ("FIN", |traffic| traffic.flags |= FIN),
        ("ECE", |traffic| traffic.flags |= ECE),
        ("SYN", |traffic| traffic.flags |= SYN),
        ("URG", |traffic| traffic.flags |= URG),
        ("no ACK", |traffic| traffic.flags &= !ACK),
        ("another acknowledgement", |traffic| {
            traffic.acknowledgement += 1
        }),
        ("another window", |traffic| traffic.window += 1),
        ("another timestamp", |traffic| {
            traffic.tcp_options = timestamps(1, 2)
        }),
        ("other options", |traffic| traffic.tcp_options = vec![1; 8]),
        ("no payload", |traffic| traffic.payload.clear()),
        ("shorter", |traffic| traffic.payload.truncate(SIZE - 1)),
        ("another type of service", |traffic| traffic.tos = 3),
        ("another hop limit", |traffic| traffic.hops = 63),
    ];
    case("a run", run(v6, 7));
    case("a single segment", run(v6, 1));
    case("two segments", run(v6, 2));
    case("the longest run", run(v6, 64));
    for (name, change) in changes {
        for at in [0, 1, 3, 6] {
            let mut batch = run(v6, 7);
            change(&mut batch[at]);
            case(&format!("{name} at {at}"), batch);
        }
        let mut batch = run(v6, 7);
        batch.iter_mut().for_each(change);
        case(&format!("{name} everywhere"), batch);
    }
    let mut batch = run(v6, 7);
    batch[3].flags |= CWR;
    case("CWR inside", batch);
    let mut batch = run(v6, 7);
    batch.remove(3);
    case("one missing", batch);
    let mut batch = run(v6, 7);
    batch.insert(3, batch[3].clone());
    case("one twice", batch);
    let mut batch = run(v6, 7);
    batch.swap(2, 4);
    case("out of order", batch);
    let mut batch = run(v6, 7);
    batch[4].payload = payload(SIZE + 100, 5);
    case("one longer", batch);
    let mut batch = run(v6, 8);
    for traffic in &mut batch[4..] {
        traffic.sequence = traffic.sequence.wrapping_add(17);
    }
    case("a gap", batch);
    let mut batch = run(v6, 70);
    batch[69].flags |= PSH;
    case("more than a packet holds", batch);
    let mut batch = run(v6, 4);
    for traffic in &mut batch {
        traffic.sequence = traffic.sequence.wrapping_sub(0x0102_0304 + 2500);
    }
    case("the sequence number wraps", batch);
    let mut batch = Vec::new();
    for segment in run(v6, 6) {
        for flow in 1..=5 {
            batch.push(Traffic {
                flow,
                ..segment.clone()
            });
        }
    }
    case("flows side by side", batch);
    let mut batch = run(v6, 6);
    for traffic in &mut batch {
        traffic.options = if v6 { vec![60] } else { vec![1; 4] };
    }
    case("options", batch);
    if !v6 {
        let mut batch = run(v6, 6);
        for (index, traffic) in batch.iter_mut().enumerate() {
            traffic.id = 0xfffd_u16.wrapping_add(index as u16);
            traffic.dont_fragment = false;
        }
        case("identifications that wrap", batch);
        let mut batch = run(v6, 6);
        for traffic in &mut batch[3..] {
            traffic.id += 5;
        }
        case("an identification that jumps", batch);
        let mut batch = run(v6, 6);
        batch[3].dont_fragment = false;
        case("fragmentation allowed for one", batch);
    }
    for damaged in [0, 3, 6] {
        all.push((format!("{damaged} damaged"), run(v6, 7), vec![damaged]));
    }
    all
}

pub fn runs_are_merged_as_the_kernel_merges_them() {
    let mut router = Router::new(Napi::open(Duration::from_millis(30)), offload());
    let mut merged = 0;
    for v6 in [false, true] {
        for (name, batch, damaged) in batches(v6) {
            let sent = wire(&batch, &damaged);
            let mut hopped = batch.clone();
            for traffic in &mut hopped {
                traffic.hops -= 1;
            }
            let ours = by_flow(
                &merge(&mut coalescer(), &wire(&hopped, &damaged)),
                !damaged.is_empty(),
            );
            let mut kernels = BTreeMap::new();
            for _ in 0..TRIES {
                for datagram in &sent {
                    router.source.send(datagram).expect("sent");
                }
                let enough =
                    |all: &[Large]| all.iter().map(datagram_count).sum::<usize>() >= sent.len();
                kernels = by_flow(&packets(&mut router.sink, enough), !damaged.is_empty());
                if kernels == ours {
                    break;
                }
            }
            let lengths = |flows: &BTreeMap<u16, Vec<Large>>| -> Vec<Vec<usize>> {
                let of = |flow: &Vec<Large>| flow.iter().map(datagram_count).collect();
                flows.values().map(of).collect()
            };
            assert_eq!(lengths(&ours), lengths(&kernels), "v6 {v6}, {name}");
            for (ours, kernels) in ours.values().flatten().zip(kernels.values().flatten()) {
                assert_eq!(ours.0, kernels.0, "v6 {v6}, {name}: the virtio header");
                let headers = |packet: &Large| packet.1[..packet.1.len().min(100)].to_vec();
                assert_eq!(headers(ours), headers(kernels), "v6 {v6}, {name}");
                assert!(ours == kernels, "v6 {v6}, {name}: the payload");
            }
            merged += ours
                .values()
                .flatten()
                .filter(|packet| packet.0[1] != 0)
                .count();
        }
    }
    assert!(merged > 100, "only {merged} large packets");
}

/// The kernel must cut what the coalescer merged, and gives the datagrams back.
pub fn what_was_merged_is_cut_by_the_kernel_into_what_it_was() {
    let mut router = Router::new(offload(), plain());
    let mut cases = Vec::new();
    for v6 in [false, true] {
        cases.extend(
            batches(v6)
                .into_iter()
                .map(|(_, batch, damaged)| (batch, damaged)),
        );
        let mut whole = Traffic::udp(v6, 0);
        for (length, size) in [(10_000, 1200), (20_000, 500), (7200, 1200), (30_000, 300)] {
            whole.payload = payload(length, 8);
            cases.push((whole.cut(size), vec![]));
            cases.push((whole.cut(size), vec![2]));
        }
    }
    let mut merged = 0;
    for (batch, damaged) in cases {
        let large = merge(&mut coalescer(), &wire(&batch, &damaged));
        merged += large.iter().filter(|packet| packet.0[1] != 0).count();
        for (vnet, packet) in &large {
            inject(&router.source, vnet, packet);
        }
        let mut hopped = batch.clone();
        for traffic in &mut hopped {
            traffic.hops -= 1;
        }
        let mut sent = wire(&hopped, &damaged);
        let mut out = datagrams(&mut router.sink, |all| all.len() >= sent.len());
        // Between flows the order may change; within one the numbers show it.
        let flow = |bytes: &Vec<u8>| match bytes[0] >> 4 {
            4 => bytes[20..22].to_vec(),
            _ => bytes[40..42].to_vec(),
        };
        sent.sort_by_key(flow);
        out.sort_by_key(flow);
        assert!(sent == out, "{batch:?}");
    }
    assert!(merged > 100, "only {merged} large packets");
}
