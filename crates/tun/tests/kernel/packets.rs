//! Packets to and from the kernel, written and read by the tests.

use std::io::ErrorKind as Io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uwwan_tun::Tun;

use crate::{PATIENCE, ip};

/// Returns the next packet from the kernel that `wanted` accepts; others are skipped.
pub fn next_packet(tun: &Tun, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2000];
    while Instant::now() < deadline {
        match tun.receive(&mut buffer) {
            Ok(length) if wanted(&buffer[..length]) => return buffer[..length].to_vec(),
            Ok(_) => {}
            Err(error) if error.kind() == Io::WouldBlock => {
                let second = Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                poll(&mut [PollFd::new(tun, PollFlags::IN)], Some(&second)).expect("poll");
            }
            Err(error) => panic!("receive: {error}"),
        }
    }
    panic!("no such packet came from the kernel");
}

/// Returns the Internet checksum (RFC 1071) over all parts in turn.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Returns an IPv4 or IPv6 packet. For IPv6 the payload's checksum is written at `sum_at` within
/// it.
pub fn packet(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    hops: u8,
    payload: &[u8],
    sum_at: usize,
) -> Vec<u8> {
    let mut payload = payload.to_vec();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = (20 + payload.len()) as u16;
            let mut packet = vec![0x45, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0, 0, hops, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            if protocol == 1 {
                let sum = checksum(&[&payload]);
                payload[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
            }
            packet.extend(payload);
            packet
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = (payload.len() as u16).to_be_bytes();
            let pseudo = [0, protocol];
            let sum = checksum(&[&from.octets(), &to.octets(), &length, &pseudo, &payload]);
            payload[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(length);
            packet.extend([protocol, hops]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            packet
        }
        _ => panic!("{from} and {to} are of different families"),
    }
}

/// Returns a router advertisement of 2001:db8:7::/64 (RFC 4861 section 4.2).
pub fn advertisement(from: &str, to: &str) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([
        3, 4, 64, 0xc0, 0, 0, 0x1c, 0x20, 0, 0, 0x1c, 0x20, 0, 0, 0, 0,
    ]);
    message.extend(
        "2001:db8:7::"
            .parse::<Ipv6Addr>()
            .expect("an address")
            .octets(),
    );
    packet(ip(from), ip(to), 58, 255, &message, 2)
}
