//! A far machine whose interface does segmentation and receive offload, as a server's does.
//!
//! The network behind a real modem looks the same from the host: the far TCP sends up to 64 KiB in
//! a packet, and takes received segments merged. A plain TUN interface carries one packet a call
//! both ways, which costs the emulated network more than everything else together.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use uwwan_emulator::far_side::Network;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::headers::{VNET_HEADER, VnetHeader};
use uwwan_tun::segment::Plan;
use uwwan_tun::{Offload, Offloads};

/// Size of a packet in bytes, with room to spare.
const LONGEST: usize = (64 << 10) + 256;
/// Most bytes from the modem that wait to be merged.
const BATCH: usize = 64 << 10;

/// A TUN interface that takes and gives large packets.
///
/// Makes the system calls `readv`, `epoll_wait` and `writev`.
pub(super) struct OffloadNetwork {
    interface: Offload,
    coalescer: Coalescer,
    /// Datagrams of the modem, one behind the other, that have not been written.
    batch: Vec<u8>,
    /// Lengths in bytes of the datagrams in `batch`.
    lengths: VecDeque<usize>,
    /// The packet that was read last.
    packet: Box<[u8]>,
    /// The plan by which the packet is cut, and the index of the next datagram; `None` when all
    /// have been given.
    cut: Option<(Plan, usize)>,
}

impl OffloadNetwork {
    /// Puts a network behind an interface.
    pub(super) fn new(interface: Offload) -> Self {
        let merge = Merge::accepted_with(interface.offloads());
        Self {
            interface,
            coalescer: Coalescer::new(merge),
            batch: Vec::with_capacity(BATCH + LONGEST),
            lengths: VecDeque::new(),
            packet: vec![0; LONGEST].into(),
            cut: None,
        }
    }

    /// The offloads that a server's interface has. UDP is left out, because kernels up to 6.8.4
    /// lose some merged datagrams.
    pub(super) const WANTED: Offloads = Offloads::TCP;

    /// Writes the datagrams of the modem, merged.
    fn flush(&mut self) {
        let interface = &self.interface;
        let mut rest = self.batch.as_slice();
        // A TUN interface that is down or refuses a packet loses it, as any network may.
        let send = |slices: &[IoSlice<'_>]| {
            let _ = interface.send(slices);
        };
        let mut batch = self.coalescer.batch(|packet| send(packet.slices));
        for length in self.lengths.drain(..) {
            let Some((datagram, behind)) = rest.split_at_checked(length) else {
                break;
            };
            batch.push(datagram);
            rest = behind;
        }
        batch.finish();
        drop(batch);
        self.batch.clear();
    }

    /// Reads the next packet. Returns `false` when there is none.
    fn read(&mut self) -> bool {
        let mut header = [0; VNET_HEADER];
        let read = self.interface.receive(&mut [
            IoSliceMut::new(&mut header),
            IoSliceMut::new(&mut self.packet),
        ]);
        let Some(length) = read
            .ok()
            .and_then(|read| read.checked_sub(VNET_HEADER))
            .filter(|length| *length <= self.packet.len())
        else {
            return false;
        };
        let plan = VnetHeader::parse(&header)
            .and_then(|vnet| Plan::new(&vnet, &self.packet[..length], length));
        self.cut = plan.ok().map(|plan| (plan, 0));
        true
    }
}

impl Network for OffloadNetwork {
    fn send(&mut self, packet: &[u8]) -> bool {
        self.batch.extend_from_slice(packet);
        self.lengths.push_back(packet.len());
        if self.batch.len() >= BATCH {
            self.flush();
        }
        true
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        loop {
            let Some((plan, next)) = &mut self.cut else {
                if !self.read() {
                    return None;
                }
                continue;
            };
            if *next == plan.datagrams() {
                self.cut = None;
                continue;
            }
            let index = *next;
            *next += 1;
            let (length, payload) = (plan.length(index), plan.payload(index));
            let payload = self.packet.get(payload).unwrap_or_default();
            let Some(room) = room.get_mut(..length) else {
                return Some(0);
            };
            let header = length.saturating_sub(payload.len());
            room[header..].copy_from_slice(payload);
            plan.write(index, room);
            return Some(length);
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.interface.as_fd())
    }

    fn advance(&mut self) -> Option<Duration> {
        self.flush();
        None
    }
}
