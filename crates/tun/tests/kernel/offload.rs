//! Packets that the crate cuts are compared, byte for byte, with those that the kernel cuts in
//! software because the interface they leave by cannot.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;

use uwwan_tun::scatter::Scatter;
use uwwan_tun::{Interface, Offload, Offloads, Tun};

use crate::napi::attach;
use crate::router::{Router, collect, datagrams, inject, offload, packets, plain};
use crate::traffic::blocks::cut;
use crate::traffic::{ACK, CWR, ECE, FIN, PSH, Traffic, payload};

/// Returns cases in which the kernel's rules differ, and many in between.
pub fn cases() -> Vec<(Traffic, usize)> {
    let mut cases = Vec::new();
    for v6 in [false, true] {
        let base = Traffic::tcp(v6, 10_000);
        let with = |change: &dyn Fn(&mut Traffic)| {
            let mut traffic = base.clone();
            change(&mut traffic);
            traffic
        };
        cases.extend([
            (base.clone(), 1448),
            (with(&|traffic| traffic.payload.truncate(200)), 1),
            (base.clone(), 5000),
            (base.clone(), 9999),
            (with(&|traffic| traffic.payload.truncate(1449)), 1448),
            (with(&|traffic| traffic.payload.truncate(2 * 1448)), 1448),
            (with(&|traffic| traffic.flags = ACK | PSH), 1448),
            (with(&|traffic| traffic.flags = ACK | PSH | FIN), 1000),
            (with(&|traffic| traffic.flags = ACK | CWR), 1448),
            (with(&|traffic| traffic.flags = ACK | CWR | ECE | PSH), 1447),
            (with(&|traffic| traffic.sequence = 0xffff_f000), 1448),
            (with(&|traffic| traffic.id = 0xfffe), 1448),
            (with(&|traffic| traffic.dont_fragment = false), 1448),
            (with(&|traffic| traffic.tos = 0x2e << 2 | 1), 1448),
            (with(&|traffic| traffic.tcp_options = Vec::new()), 1460),
            (with(&|traffic| traffic.tcp_options = vec![1; 40]), 1420),
            (with(&|traffic| traffic.payload = payload(65_000, 9)), 1448),
            (with(&|traffic| traffic.payload = vec![0xff; 4000]), 1300),
            (with(&|traffic| traffic.payload = vec![0; 4000]), 1300),
            // The options do nothing; the headers are hop-by-hop, destination and routing headers.
            (
                with(&|traffic| traffic.options = if v6 { vec![60] } else { vec![1; 8] }),
                1448,
            ),
            (
                with(&|traffic| traffic.options = if v6 { vec![0, 60, 43] } else { vec![1; 40] }),
                1400,
            ),
        ]);
        let datagrams = Traffic::udp(v6, 10_000);
        let mut zero = datagrams.clone();
        zero.payload = vec![0; 3000];
        let mut extended = datagrams.clone();
        extended.options = if v6 { vec![60] } else { vec![1; 4] };
        cases.extend([
            (datagrams.clone(), 1200),
            (datagrams.clone(), 1472),
            (datagrams.clone(), 5000),
            (datagrams.clone(), 101),
            (zero, 999),
            (extended, 1200),
        ]);
        // These cases are random, and the same in each run.
        let mut state = 0x5eed_u32 + u32::from(v6);
        let mut next = |most: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % most
        };
        for seed in 0..60 {
            let mut traffic = if next(4) == 0 {
                Traffic::udp(v6, 0)
            } else {
                Traffic::tcp(v6, 0)
            };
            let size = 20 + next(3000);
            traffic.payload = payload((size + 1 + next(40_000)).min(size * 100), seed);
            traffic.tos = (next(64) * 4) as u8;
            traffic.id = next(65536) as u16;
            traffic.dont_fragment = next(2) == 0;
            traffic.sequence = (next(65536) << 16) as u32;
            traffic.flags = ACK | [0, PSH, FIN, CWR, ECE][next(5)];
            traffic.window = next(65536) as u16;
            if !traffic.udp {
                traffic.tcp_options = vec![1; 4 * next(11)];
            }
            cases.push((traffic, size));
        }
    }
    cases
}

pub fn packets_are_cut_as_the_kernel_cuts_them() {
    let mut router = Router::new(offload(), plain());
    let mut scatter = Scatter::new(1500);
    for (traffic, size) in cases() {
        inject(&router.source, &traffic.vnet(size), &traffic.partial());
        let count = traffic.payload.len().div_ceil(size);
        let kernels = datagrams(&mut router.sink, |all| all.len() >= count);
        // The forwarded packet has one hop less.
        let mut hopped = traffic.clone();
        hopped.hops -= 1;
        let ours = cut(&mut scatter, &hopped.vnet(size), &hopped.partial());
        assert_eq!(ours.len(), kernels.len(), "{traffic:?}");
        for (index, (ours, kernels)) in ours.iter().zip(&kernels).enumerate() {
            assert_eq!(
                ours, kernels,
                "segment {index} of {size} bytes: {traffic:?}"
            );
        }
        let written: Vec<_> = hopped.cut(size).iter().map(Traffic::datagram).collect();
        assert!(
            written == kernels,
            "the checks' own rules are not the kernel's"
        );
    }
    assert!(scatter.counters().cut > 100);
}

/// Packets that are not cut have their checksum completed, and so has UDP too short to be cut.
pub fn checksums_are_completed_as_the_kernel_does() {
    let mut router = Router::new(offload(), plain());
    let mut scatter = Scatter::new(1500);
    for v6 in [false, true] {
        for udp in [false, true] {
            for length in [0, 1, 7, 100, 1333, 1400, 4000] {
                let make = if udp { Traffic::udp } else { Traffic::tcp };
                let mut traffic = make(v6, length);
                // The kernel itself fails where it takes TCP options for payload.
                for size in [0, 4096] {
                    inject(&router.source, &traffic.vnet(size), &traffic.partial());
                    let kernels = datagrams(&mut router.sink, |all| !all.is_empty());
                    traffic.hops -= 1;
                    let ours = cut(&mut scatter, &traffic.vnet(size), &traffic.partial());
                    assert_eq!(ours, kernels);
                    assert_eq!(ours, [traffic.datagram()]);
                    traffic.hops += 1;
                }
            }
            // The payload brings the sum to zero, which is written as 0xffff.
            let mut traffic = if udp {
                Traffic::udp(v6, 2)
            } else {
                Traffic::tcp(v6, 2)
            };
            traffic.hops -= 1;
            traffic.payload = vec![0, 0];
            let sent = traffic.datagram();
            let field = traffic.transport_offset() + traffic.checksum_offset();
            traffic.payload = sent[field..field + 2].to_vec();
            let ours = cut(&mut scatter, &traffic.vnet(0), &traffic.partial());
            traffic.hops += 1;
            inject(&router.source, &traffic.vnet(0), &traffic.partial());
            let kernels = datagrams(&mut router.sink, |all| !all.is_empty());
            assert_eq!(kernels[0][field..field + 2], [0xff, 0xff]);
            assert_eq!(ours, kernels);
        }
    }
}

/// A sum that begins with other addresses than those of the IP header, as with a routing header, is
/// continued.
pub fn sums_begun_are_gone_on_with() {
    let mut router = Router::new(offload(), plain());
    let mut scatter = Scatter::new(1500);
    for v6 in [false, true] {
        for mut traffic in [Traffic::tcp(v6, 4000), Traffic::udp(v6, 4000)] {
            let field = traffic.transport_offset() + traffic.checksum_offset();
            let begun = |traffic: &Traffic| {
                let mut packet = traffic.partial();
                packet[field..field + 2].copy_from_slice(&[0x12, 0x34]);
                packet
            };
            inject(&router.source, &traffic.vnet(1400), &begun(&traffic));
            let kernels = datagrams(&mut router.sink, |all| all.len() == 3);
            traffic.hops -= 1;
            let ours = cut(&mut scatter, &traffic.vnet(1400), &begun(&traffic));
            assert!(ours == kernels, "{traffic:?}");
            let right: Vec<_> = traffic.cut(1400).iter().map(Traffic::datagram).collect();
            assert!(ours != right);
        }
    }
}

/// A packet that enters one offload interface large leaves the other one large. Cut by the crate,
/// it becomes what the kernel would have made of it.
pub fn packets_from_the_kernel_are_cut() {
    let mut router = Router::new(offload(), offload());
    let mut scatter = Scatter::new(1500);
    for (traffic, size) in cases() {
        inject(&router.source, &traffic.vnet(size), &traffic.partial());
        let large = packets(&mut router.sink, |all| !all.is_empty());
        let [(vnet, packet)] = &large[..] else {
            panic!("{} packets of one", large.len());
        };
        let mut hopped = traffic.clone();
        hopped.hops -= 1;
        let expected: Vec<_> = hopped.cut(size).iter().map(Traffic::datagram).collect();
        let ours = cut(&mut scatter, vnet, packet);
        assert!(ours == expected, "{traffic:?} in segments of {size}");
    }
}

pub fn offloads_are_those_asked_for() {
    for wanted in [
        Offloads::empty(),
        Offloads::CHECKSUM,
        Offloads::TCP,
        Offloads::TCP | Offloads::UDP,
    ] {
        let interface = Offload::open(None, wanted).expect("an interface");
        assert_eq!(interface.offloads(), wanted);
        assert!(!interface.attached());
    }
    // Without offload the kernel does all the work, and the virtio header is empty.
    let none = Offload::open(None, Offloads::empty()).expect("an interface");
    let mut router = Router::new(offload(), none);
    let traffic = Traffic::tcp(false, 4000);
    inject(&router.source, &traffic.vnet(1448), &traffic.partial());
    let all = packets(&mut router.sink, |all| all.len() == 3);
    assert!(all.iter().all(|(vnet, _)| *vnet == [0; 10]));
    let empty = router
        .sink
        .receive(&mut [IoSliceMut::new(&mut [0; 100])])
        .expect_err("nothing more came");
    assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
}

fn prepare(name: &str) {
    let made = std::process::Command::new("ip")
        .args(["tuntap", "add", "dev", name, "mode", "tun"])
        .status()
        .expect("ip is there");
    assert!(made.success());
}

/// Sends a large packet to the sink's network and returns what comes out.
fn through<Out: Interface>(sink: Out, take: impl Fn(&mut Out) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut router = Router::new(offload(), sink);
    let traffic = Traffic::tcp(false, 4000);
    inject(&router.source, &traffic.vnet(1448), &traffic.partial());
    take(&mut router.sink)
}

/// A reader without offload, as another program would be.
struct Foreign {
    descriptor: OwnedFd,
    index: u32,
}

impl Interface for Foreign {
    fn name(&self) -> &str {
        "kept0"
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn attached(&self) -> bool {
        true
    }
}

/// An interface that root made stays, and the next reader gets plain packets.
pub fn a_prepared_interface_is_given_back_plain() {
    prepare("kept0");
    let ours = Offload::open(Some("kept0"), Offloads::TCP).expect("attached");
    assert!(ours.attached());
    let index = ours.index();
    drop(ours);
    let descriptor = attach("kept0", 0, 0);
    let all = through(Foreign { descriptor, index }, |foreign| {
        let mut buffer = vec![0; 70_000];
        let read = |descriptor: &mut OwnedFd| {
            let length = rustix::io::read(descriptor, &mut buffer[..])?;
            Ok(buffer[..length].to_vec())
        };
        collect(
            &mut foreign.descriptor,
            read,
            |packet| packet,
            |all| all.len() == 3,
        )
    });
    assert_eq!(all.len(), 3);
}

/// A plain reader gets no large packets, although the one before took them and was killed.
pub fn a_plain_interface_is_plain() {
    prepare("kept0");
    let all = Offloads::TCP | Offloads::UDP;
    drop(attach("kept0", 0, all.bits() as usize));
    let tun = Tun::open(Some("kept0")).expect("attached");
    assert!(tun.attached());
    let all = through(tun, |tun| datagrams(tun, |all| all.len() == 3));
    assert_eq!(all.len(), 3);
}
