//! TCP of the kernel on both sides of the crate's path. What one interface sends is read, cut,
//! merged again and written to the other, with some of it lost on the way, as between two hosts.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io::{ErrorKind as Io, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uwwan_tun::scatter::Scatter;
use uwwan_tun::{Address, Configuration, Offload, Plan, Prefix, plan::Through};

use crate::router::offload;
use crate::traffic::blocks::{Blocks, coalescer};
use crate::traffic::payload;
use crate::{PATIENCE, ip, range};

const LENGTH: usize = 24 << 20;

/// Exchanges the addresses between the interfaces for others of the same sum, so that checksums
/// stay right without being recalculated: 10.1.0.1 and .2 become 10.0.0.2 and 10.2.0.1, and back.
fn translate(datagram: &mut [u8]) {
    let (source, length) = match datagram[0] >> 4 {
        4 => (12, 4),
        _ => (8, 16),
    };
    let destination = source + length;
    // The datagram comes from the near host itself, or back from the far one.
    let forth = datagram[source + 1] == 1;
    let [from, to] = if forth { [0, 2] } else { [1, 1] };
    datagram[source + 1] = from;
    datagram[destination + 1] = to;
    datagram[source + length - 1] = 2;
    datagram[destination + length - 1] = 1;
}

/// State of one direction.
struct Path {
    scatter: Scatter,
    coalescer: uwwan_tun::coalesce::Coalescer,
    count: usize,
    /// Number of datagrams of which one is lost; 0 for no loss.
    loss: usize,
}

impl Path {
    fn new(loss: usize) -> Path {
        Path {
            scatter: Scatter::new(1500),
            coalescer: coalescer(),
            count: 0,
            loss,
        }
    }

    /// Carries one packet over, and returns whether there was one.
    fn carry(&mut self, from: &mut Offload, to: &Offload) -> bool {
        let mut blocks = Blocks::new(&[16_384; 5], 4);
        let read = |buffers: &mut [IoSliceMut<'_>]| from.receive(buffers);
        match blocks.receive(&mut self.scatter, read) {
            Err(error) if error.kind() == Io::WouldBlock => return false,
            result => assert_eq!(result.expect("read").waiting, 0),
        }
        let mut datagrams = blocks.datagrams();
        datagrams.retain_mut(|datagram| {
            translate(datagram);
            self.count += 1;
            !self.count.is_multiple_of(self.loss)
        });
        let mut batch = self.coalescer.batch(|packet| {
            let sent = to.send(packet.slices).expect("the kernel takes it");
            assert_eq!(sent, packet.length + 10);
        });
        for datagram in &datagrams {
            batch.push(datagram);
        }
        batch.finish();
        true
    }
}

fn configure(interface: &Offload, addresses: [&str; 2], routes: &[Prefix]) -> Configuration {
    let [v4, v6] = addresses;
    let addresses = vec![Address::new(ip(v4), 24), Address::new(ip(v6), 64)];
    let through = Through::Ranges(routes.to_vec());
    let plan = Plan::for_modem(addresses, &[], &through, None, 1500);
    Configuration::apply(plan, interface).expect("applied")
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Sets timeouts, so that no call on the stream takes for ever when nothing is carried any more.
fn bound(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("set");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).expect("set");
            bound(&stream);
            return stream;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("nobody connected");
}

/// Checks that what was sent arrives, and that it comes back.
fn exchange(listen: &str, connect: &str, loss: usize) {
    let (mut near, mut far) = (offload(), offload());
    let _near = configure(&near, ["10.1.0.1", "fd01::1"], &[]);
    let back = [range("10.0.0.0/24"), range("fd00::/64")];
    let _far = configure(&far, ["10.2.0.1", "fd02::1"], &back);
    let listener = TcpListener::bind(listen).expect("listening");
    let port = listener.local_addr().expect("bound").port();
    let connect = SocketAddr::new(ip(connect), port);
    let done = AtomicBool::new(false);
    let data = payload(LENGTH, 77);
    let mut paths = [Path::new(loss), Path::new(loss.saturating_mul(3))];
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut stream = accept(&listener);
            let mut all = vec![0; LENGTH];
            stream.read_exact(&mut all).expect("all of it");
            stream.write_all(&all).expect("sent back");
            digest(&all)
        });
        let client = scope.spawn(|| {
            let mut stream = TcpStream::connect_timeout(&connect, PATIENCE).expect("connected");
            bound(&stream);
            stream.write_all(&data).expect("sent");
            let mut all = vec![0; LENGTH];
            stream.read_exact(&mut all).expect("all of it");
            done.store(true, Ordering::Relaxed);
            digest(&all)
        });
        let deadline = Instant::now() + 5 * PATIENCE;
        while !(server.is_finished() && client.is_finished()) && Instant::now() < deadline {
            let carried = [
                paths[0].carry(&mut near, &far),
                paths[1].carry(&mut far, &near),
            ];
            if carried == [false, false] {
                let short = Timespec {
                    tv_sec: 0,
                    tv_nsec: Duration::from_millis(20).subsec_nanos().into(),
                };
                let mut descriptors = [
                    PollFd::new(&near, PollFlags::IN),
                    PollFd::new(&far, PollFlags::IN),
                ];
                poll(&mut descriptors, Some(&short)).expect("poll");
            }
        }
        let expected = digest(&data);
        assert_eq!(server.join().expect("the server"), expected);
        assert_eq!(client.join().expect("the client"), expected);
    });
    assert!(done.load(Ordering::Relaxed));
    for path in &paths {
        let (read, written) = (path.scatter.counters(), path.coalescer.counters());
        assert!(read.cut > 100, "{read:?}");
        assert!(written.merged * 2 > written.datagrams, "{written:?}");
        assert_eq!((read.refused, written.damaged), (0, 0));
        // Most of the payload is read into place: only the first large packets are mispredicted.
        assert!(read.moved * 10 < read.payload, "{read:?}");
    }
}

pub fn streams_get_through_over_ipv4() {
    exchange("10.2.0.1:0", "10.1.0.2", 0);
}

pub fn streams_get_through_over_ipv6() {
    exchange("[fd02::1]:0", "fd01::2", 0);
}

pub fn streams_get_through_where_datagrams_are_lost() {
    exchange("10.2.0.1:0", "10.1.0.2", 1000);
}
