//! Two interfaces and a kernel that forwards between them. A packet that enters at one with its
//! work left to the kernel leaves by the other with the work done.

use std::io::{ErrorKind as Io, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uwwan_tun::{Address, Configuration, Interface, Offload, Offloads, Plan, Tun, plan::Through};

use crate::{PATIENCE, ip};

/// MTU that is large enough that no packet here is too long to be forwarded.
const MTU: u32 = 16_000;

pub struct Router<In, Out> {
    pub source: In,
    pub sink: Out,
    _configurations: [Configuration; 2],
}

/// Makes the kernel forward.
fn forwarding() {
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{setting}"), "1").expect("forwarding can be had");
    }
}

fn configure(interface: &impl Interface, network: u8) -> Configuration {
    let addresses = vec![
        Address::new(ip(&format!("10.{network}.0.1")), 24),
        Address::new(ip(&format!("fd0{network}::1")), 64),
    ];
    let plan = Plan::for_modem(addresses, &[], &Through::Nothing, None, MTU);
    Configuration::apply(plan, interface).expect("applied")
}

impl<In: Interface, Out: Interface> Router<In, Out> {
    /// Packets from 10.1.0.0/24 and fd01::/64 to 10.2.0.0/24 and fd02::/64 are forwarded.
    pub fn new(source: In, sink: Out) -> Router<In, Out> {
        forwarding();
        let _configurations = [configure(&source, 1), configure(&sink, 2)];
        Router {
            source,
            sink,
            _configurations,
        }
    }
}

/// Opens an interface that leaves all work to the kernel.
pub fn plain() -> Tun {
    Tun::open(None).expect("a TUN interface")
}

/// Opens an interface that takes every offload.
pub fn offload() -> Offload {
    let all = Offloads::TCP | Offloads::UDP;
    let offload = Offload::open(None, all).expect("a TUN interface with offload");
    assert_eq!(
        offload.offloads(),
        all,
        "this kernel is too old for these checks"
    );
    offload
}

pub fn inject(source: &Offload, vnet: &[u8], packet: &[u8]) {
    let buffers = [IoSlice::new(vnet), IoSlice::new(packet)];
    let sent = source.send(&buffers).expect("the kernel takes it");
    assert_eq!(sent, vnet.len() + packet.len());
}

/// Waits for input, and returns whether there is some.
pub fn wait(interface: impl AsFd, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: patience.as_secs().try_into().expect("short"),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut descriptors = [PollFd::new(&interface, PollFlags::IN)];
    poll(&mut descriptors, Some(&timeout)).expect("poll") > 0
}

/// Returns the packets that come out, until `enough` accepts those that have come so far. Packets
/// that the kernel sends by itself are left out.
pub fn collect<I: AsFd, P>(
    interface: &mut I,
    mut read: impl FnMut(&mut I) -> std::io::Result<P>,
    bytes: impl Fn(&P) -> &[u8],
    enough: impl Fn(&[P]) -> bool,
) -> Vec<P> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while !enough(&all) && Instant::now() < deadline {
        match read(interface) {
            Ok(packet) => {
                let forwarded = match bytes(&packet) {
                    [4 | 0x40..=0x4f, rest @ ..] => rest.get(11..14) == Some(&[10, 1, 0]),
                    [0x60..=0x6f, rest @ ..] => rest.get(7..9) == Some(&[0xfd, 1]),
                    _ => false,
                };
                if forwarded {
                    all.push(packet);
                }
            }
            Err(error) if error.kind() == Io::WouldBlock => {
                wait(&*interface, Duration::from_millis(200));
            }
            Err(error) => panic!("receive: {error}"),
        }
    }
    all
}

pub fn datagrams(sink: &mut Tun, enough: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 70_000];
    let read = |sink: &mut Tun| {
        let length = sink.receive(&mut buffer)?;
        Ok(buffer[..length].to_vec())
    };
    collect(sink, read, |packet| packet, enough)
}

/// Returns packets with their virtio headers.
pub fn packets(
    sink: &mut Offload,
    enough: impl Fn(&[([u8; 10], Vec<u8>)]) -> bool,
) -> Vec<([u8; 10], Vec<u8>)> {
    let mut buffer = vec![0; 70_000];
    let read = |sink: &mut Offload| {
        let mut header = [0; 10];
        let mut buffers = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut buffer)];
        let length = sink.receive(&mut buffers)? - 10;
        Ok((header, buffer[..length].to_vec()))
    };
    collect(sink, read, |(_, packet)| packet, enough)
}
