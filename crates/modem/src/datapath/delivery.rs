//! NTBs in hand, whose datagrams are on their way to the hosts.
//!
//! Datagrams are written to the host from where they lie in the NTBs: one a call, or runs of them,
//! also across NTBs, as one large packet. Datagrams that a host has no room for stay in place and
//! in order; other sessions' datagrams do not wait for them.

use std::io::{self, IoSlice};

use uwwan_ncm::{Receiver, Stream};
use uwwan_tun::coalesce::{Coalescer, Packet};
use uwwan_tun::headers::VNET_HEADER;
use uwwan_usb::buffer::Buffer;

use super::link::{Seen, Stripped};
use super::pace::SMALL;
use crate::counters::Tally;
use crate::host::{Large, Single};
use crate::kind::ETHERNET_HEADER;

/// Inspector of a datagram on its way to the host.
pub(super) trait Inspect {
    /// Sees a datagram before the host does. Returns `false` to keep it from the host.
    fn inspect(&mut self, datagram: &[u8], tally: &mut Tally) -> bool;

    /// Records that the host has taken `datagrams` datagrams, of `bytes` bytes together.
    fn delivered(&mut self, datagrams: u64, bytes: u64);
}

/// The host interface to which a session's datagrams are delivered.
pub(super) struct Outlet<'a> {
    /// Host interface that takes the datagrams.
    pub(super) sink: Sink<'a>,
    /// Inspector that sees each datagram before the host does.
    pub(super) inspect: &'a mut dyn Inspect,
}

/// A host interface, by the number of datagrams it takes in a call.
pub(super) enum Sink<'a> {
    /// Host interface that takes one datagram in a call.
    Single(&'a mut dyn Single),
    /// Host interface that takes many datagrams of a flow in a call, merged by the coalescer.
    Large(&'a mut dyn Large, &'a mut Coalescer),
}

/// The host interfaces of all sessions.
pub(super) trait Outlets {
    /// Returns the outlet for the datagrams of a session; `None` when there is no such session.
    fn outlet(&mut self, session: u8) -> Option<Outlet<'_>>;

    /// Returns whether any host interface takes many datagrams in a call, so that several NTBs are
    /// better handed over together.
    fn merge(&self) -> bool;
}

/// A datagram in one of the NTBs in hand.
#[derive(Debug, Clone, Copy)]
struct Datagram {
    /// Index of the datagram's NTB in [`Delivery::ntbs`].
    ntb: u16,
    /// Id of its data session.
    session: u8,
    /// Whether the session's inspector has seen it.
    inspected: bool,
    /// Offset of its first byte in the NTB's buffer.
    start: u32,
    /// Length in bytes.
    length: u32,
}

impl Datagram {
    #[inline]
    fn bytes<'b>(&self, ntbs: &'b [Buffer]) -> &'b [u8] {
        let start = self.start as usize;
        &ntbs[usize::from(self.ntb)].filled()[start..start + self.length as usize]
    }
}

/// The content of a device's transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    /// IP datagrams of any session.
    Datagrams,
    /// Ethernet frames of session 0, whose host interface carries frames as well; without NTBs where
    /// they are `bare`.
    Frames { bare: bool },
    /// Ethernet frames of session 0, whose host interface carries IP; without NTBs where they are
    /// `bare`.
    Stripped { bare: bool },
}

/// NTBs in hand, and those of their datagrams that are not delivered.
pub(super) struct Delivery {
    /// Content that is expected in the device's transfers.
    carries: Carries,
    /// The addresses and ARP packets found in frames whose host interfaces carry IP.
    pub(super) seen: Seen,
    /// Buffers of the NTBs in hand.
    ntbs: Vec<Buffer>,
    /// Datagrams to be delivered, in the order of their arrival.
    datagrams: Vec<Datagram>,
    /// Datagrams that the delivery in progress leaves for the next one.
    left: Vec<Datagram>,
    /// Number of small datagrams, and of calls with others, since the thread last let others run.
    in_a_row: usize,
}

impl Delivery {
    /// Number of small datagrams, or of calls with others, after which programs that wait for the
    /// thread's processor get a turn. The thread goes before them ([`super::priority`]), and a socket's
    /// receive buffer of the usual size holds fewer than 300 small packets (`net.core.rmem_default`, and
    /// 768 bytes for each), while an NTB of 64 KiB brings 600, in ten calls where they are merged.
    const IN_A_ROW: usize = 128;

    /// Returns a delivery with room for `ntbs` NTBs of `datagrams` datagrams each. It grows when
    /// there are more.
    pub(super) fn new(ntbs: usize, datagrams: usize) -> Self {
        Self {
            carries: Carries::Datagrams,
            seen: Seen::default(),
            ntbs: Vec::with_capacity(ntbs),
            datagrams: Vec::with_capacity(ntbs * datagrams),
            left: Vec::with_capacity(ntbs * datagrams),
            in_a_row: 0,
        }
    }

    /// Sets Ethernet frames, all of session 0, as the expected content. Each transfer is one frame
    /// where they are `bare`.
    pub(super) fn carry_frames(&mut self, bare: bool) {
        self.carries = Carries::Frames { bare };
    }

    /// Sets Ethernet frames, all of session 0, whose host interface carries IP, as the expected
    /// content. Each transfer is one frame where they are `bare`.
    pub(super) fn strip_frames(&mut self, bare: bool) {
        self.carries = Carries::Stripped { bare };
    }

    /// Returns the number of NTBs in hand.
    pub(super) fn ntbs(&self) -> usize {
        self.ntbs.len()
    }

    /// Returns the number of datagrams that wait to be delivered.
    pub(super) fn waiting(&self) -> usize {
        self.datagrams.len()
    }

    /// Returns whether datagrams of this session wait to be delivered.
    pub(super) fn waits_for(&self, session: u8) -> bool {
        self.datagrams
            .iter()
            .any(|datagram| datagram.session == session)
    }

    /// Takes an NTB in hand and lists its datagrams for delivery. Datagrams of unknown kinds are
    /// counted in `tally`.
    pub(super) fn take(&mut self, buffer: Buffer, receiver: &mut Receiver, tally: &mut Tally) {
        let bytes = buffer.filled();
        // There are as many NTBs as transfers, so the number fits.
        let ntb = self.ntbs.len() as u16;
        let datagrams = &mut self.datagrams;
        let other = &mut tally.no_session;
        let carries = self.carries;
        let seen = &mut self.seen;
        let take = |datagram: uwwan_ncm::Datagram| {
            let mut range = datagram.range;
            let session = match (datagram.stream, carries) {
                (Stream::Ips(session), Carries::Datagrams) => session,
                (Stream::Ethernet { .. }, Carries::Frames { .. }) => 0,
                (Stream::Ethernet { .. }, Carries::Stripped { .. }) => {
                    match seen.strip(&bytes[range.clone()]) {
                        Stripped::Ip(length) => {
                            range.start += usize::from(ETHERNET_HEADER);
                            range.end = range.start + length;
                        }
                        Stripped::Arp => return,
                        Stripped::Other => {
                            *other += 1;
                            return;
                        }
                    }
                    0
                }
                _ => {
                    *other += 1;
                    return;
                }
            };
            datagrams.push(Datagram {
                ntb,
                session,
                inspected: false,
                // The length of an NTB is bounded far below 4 GiB.
                start: range.start as u32,
                length: range.len() as u32,
            });
        };
        match carries {
            Carries::Stripped { bare: true } | Carries::Frames { bare: true } => {
                receiver.receive_frame(bytes, take)
            }
            _ => {
                receiver.receive(bytes, take);
            }
        }
        self.ntbs.push(buffer);
    }

    /// Hands all waiting datagrams over, session by session. Returns `false` when a host has no
    /// room for some of them; these keep waiting.
    ///
    /// Makes the system calls of [`Single::send`] and [`Large::send`].
    pub(super) fn deliver(&mut self, outlets: &mut dyn Outlets, tally: &mut Tally) -> bool {
        let mut seen = [0_u64; 4];
        let mut from = 0;
        let mut handled = 0;
        while handled < self.datagrams.len() {
            let is_new = |datagram: &Datagram| {
                let session = datagram.session;
                seen[usize::from(session / 64)] & 1 << (session % 64) == 0
            };
            let Some(step) = self.datagrams[from..].iter().position(is_new) else {
                break;
            };
            from += step;
            let session = self.datagrams[from].session;
            seen[usize::from(session / 64)] |= 1 << (session % 64);
            handled += self.deliver_to(session, from, outlets, tally);
        }
        std::mem::swap(&mut self.datagrams, &mut self.left);
        self.left.clear();
        self.datagrams.is_empty()
    }

    /// Hands over the datagrams of a session from index `from` on, and returns their number.
    fn deliver_to(
        &mut self,
        session: u8,
        from: usize,
        outlets: &mut dyn Outlets,
        tally: &mut Tally,
    ) -> usize {
        let Self {
            ntbs,
            datagrams,
            left,
            in_a_row,
            ..
        } = self;
        let all = datagrams[from..]
            .iter()
            .filter(|datagram| datagram.session == session);
        let mut count = 0;
        let all = all.inspect(|_| count += 1);
        let Some(Outlet { sink, inspect }) = outlets.outlet(session) else {
            all.for_each(|_| tally.no_session += 1);
            return count;
        };
        let mut done = Done {
            in_a_row: *in_a_row,
            ..Done::default()
        };
        match sink {
            Sink::Single(host) => {
                let mut blocked = false;
                for datagram in all {
                    let bytes = datagram.bytes(ntbs);
                    if blocked {
                        left.push(*datagram);
                    } else if !datagram.inspected && !inspect.inspect(bytes, tally) {
                        // The inspector keeps the datagram from the host.
                    } else if !done.add(1, bytes.len(), || host.send(bytes)) {
                        blocked = true;
                        left.push(Datagram {
                            inspected: true,
                            ..*datagram
                        });
                    }
                }
            }
            Sink::Large(host, coalescer) => {
                let before = coalescer.counters();
                let mut writer = Writer {
                    host,
                    ntbs,
                    datagrams: &datagrams[from..],
                    left,
                    blocked: false,
                    done: &mut done,
                };
                let mut batch = coalescer.batch(|packet| writer.write(packet));
                for datagram in all {
                    let bytes = datagram.bytes(ntbs);
                    if datagram.inspected || inspect.inspect(bytes, tally) {
                        batch.push(bytes);
                    }
                }
                batch.finish();
                let after = coalescer.counters();
                tally.host_merged += after.merged - before.merged;
                tally.host_damaged += after.damaged - before.damaged;
                tally.host_superseded += after.superseded - before.superseded;
            }
        }
        inspect.delivered(done.datagrams, done.bytes);
        tally.received_packets += done.datagrams;
        tally.received_bytes += done.bytes;
        tally.host_refused += done.refused;
        tally.host_writes += done.writes;
        *in_a_row = done.in_a_row;
        count
    }

    /// Drops the datagrams that wait to be delivered, and returns their number.
    pub(super) fn give_up(&mut self) -> usize {
        let count = self.datagrams.len();
        self.datagrams.clear();
        count
    }

    /// Returns the buffers of the NTBs in hand and leaves none. No datagram may be waiting.
    pub(super) fn release(&mut self) -> impl Iterator<Item = Buffer> {
        debug_assert!(self.datagrams.is_empty());
        self.ntbs.drain(..)
    }
}

/// Counts of one delivery.
#[derive(Debug, Default)]
struct Done {
    /// Number of datagrams the host has taken.
    datagrams: u64,
    /// Bytes in these datagrams.
    bytes: u64,
    /// Number of calls that handed datagrams over.
    writes: u64,
    /// Number of datagrams the host has refused.
    refused: u64,
    /// Number of small datagrams, and of calls with others, since the thread last let others run.
    in_a_row: usize,
}

impl Done {
    /// Counts a call that handed `datagrams` datagrams over, of `bytes` bytes together, and lets others
    /// run after many.
    ///
    /// Makes the system call `sched_yield`.
    #[inline]
    fn called(&mut self, datagrams: usize, bytes: usize) {
        self.writes += 1;
        self.in_a_row += if bytes <= datagrams * SMALL {
            datagrams
        } else {
            1
        };
        if self.in_a_row >= Delivery::IN_A_ROW {
            self.in_a_row = 0;
            std::thread::yield_now();
        }
    }

    /// Makes a call that hands `datagrams` datagrams over, of `bytes` bytes together, and counts
    /// its outcome. Returns `false` when the host has no room.
    #[inline]
    fn add(
        &mut self,
        datagrams: usize,
        bytes: usize,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> bool {
        match again(&mut call) {
            Ok(_) => {
                self.datagrams += datagrams as u64;
                self.bytes += bytes as u64;
                self.called(datagrams, bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => self.refused += datagrams as u64,
        }
        true
    }
}

/// Makes a system call, and repeats it as long as signals interrupt it.
#[inline]
fn again(call: &mut impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Writes the packets that a coalescer makes to the host.
struct Writer<'a> {
    host: &'a mut dyn Large,
    ntbs: &'a [Buffer],
    /// Datagrams that the packets are made of.
    datagrams: &'a [Datagram],
    /// Datagrams that wait for the next delivery.
    left: &'a mut Vec<Datagram>,
    /// Whether the host has no room. Every further packet waits then, so that order is kept.
    blocked: bool,
    done: &'a mut Done,
}

impl Writer<'_> {
    /// Writes one packet. Its datagrams are kept when the host has no room, and written one by one
    /// when it refuses the packet.
    #[inline]
    fn write(&mut self, packet: Packet<'_>) {
        if self.blocked {
            return self.keep(packet.slices);
        }
        let Some(head) = packet.slices.first() else {
            return;
        };
        let header = head.len().saturating_sub(VNET_HEADER);
        let bytes = packet.length + header * (packet.datagrams - 1);
        match again(&mut || self.host.send(packet.slices)) {
            Ok(_) => {
                self.done.datagrams += packet.datagrams as u64;
                self.done.bytes += bytes as u64;
                self.done.called(packet.datagrams, bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                self.keep(packet.slices);
            }
            Err(_) if packet.datagrams > 1 => self.one_by_one(packet.slices),
            Err(_) => self.done.refused += 1,
        }
    }

    /// Keeps the datagrams of a packet for the next delivery.
    #[cold]
    fn keep(&mut self, slices: &[IoSlice<'_>]) {
        for payload in slices.iter().skip(1) {
            let found = self.find(payload);
            self.left.extend(found.map(|datagram| Datagram {
                inspected: true,
                ..datagram
            }));
        }
    }

    /// Writes the datagrams of a packet that was refused one by one.
    #[cold]
    fn one_by_one(&mut self, slices: &[IoSlice<'_>]) {
        for payload in slices.iter().skip(1) {
            let Some(datagram) = self.find(payload) else {
                continue;
            };
            let bytes = datagram.bytes(self.ntbs);
            let slices = [IoSlice::new(&[0; VNET_HEADER]), IoSlice::new(bytes)];
            let host = &mut self.host;
            if self.blocked || !self.done.add(1, bytes.len(), || host.send(&slices)) {
                self.blocked = true;
                self.left.push(Datagram {
                    inspected: true,
                    ..datagram
                });
            }
        }
    }

    /// Returns the datagram that `payload` is part of.
    fn find(&self, payload: &[u8]) -> Option<Datagram> {
        let at = payload.as_ptr();
        self.datagrams
            .iter()
            .find(|datagram| datagram.bytes(self.ntbs).as_ptr_range().contains(&at))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_get_a_turn_after_many_small_datagrams_and_many_calls() {
        const MANY: usize = 3 * Delivery::IN_A_ROW;
        // A call hands over one small datagram, a run of small ones, or a run of large ones.
        for (datagrams, length, calls) in [(1, 64, MANY), (32, 92, MANY / 32), (44, 1500, MANY)] {
            let mut done = Done::default();
            let mut turns = 0;
            for _ in 0..calls {
                assert!(done.add(datagrams, datagrams * length, || Ok(1)));
                turns += usize::from(done.in_a_row == 0);
            }
            assert_eq!((turns, done.writes), (3, calls as u64), "{length} bytes");
            assert!(!done.add(1, 64, || Err(io::ErrorKind::WouldBlock.into())));
            assert_eq!(done.in_a_row, 0, "a call that did nothing is none");
        }
    }
}
