//! The direction from the host to the device, in which datagrams are read straight into the open
//! NTB.
//!
//! [`Uplink::fill`] reads datagrams from the host to their final offsets in USB buffers: one a call,
//! or many with one scattered read that may fill several NTBs ([`Open`]). An NTB leaves when nothing
//! more fits, or when the host has nothing more to send and little is in flight ([`Pace`]).
//! Otherwise it stays open and keeps filling, and leaves at the completion of a transfer ahead of
//! it.
//!
//! A large packet fills several NTBs at once, of which only as many leave as may be in flight
//! ([`Backlog`]); the others wait, and the host is not polled meanwhile, because the rest of the upload
//! keeps it readable. Instead each completion that makes room is also the occasion to look for packets
//! of other flows. These go into an NTB of their own, which passes those that wait: it could not have
//! left earlier in any case. Within a flow the order stays, because the flow whose datagrams wait is
//! left out, and sequence numbers are given to NTBs when they leave.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use uwwan_ncm::{Framing, Full, LinkHeader, Stream};
use uwwan_tun::scatter::Scatter;
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::Queue;
use uwwan_usb::error::{Error, TransferError};

use super::allowance::Allowance;
use super::backlog::Backlog;
use super::fault::{Fault, Faults};
use super::inlet::{Account, Inlet, Source, still_open};
use super::open::Open;
use super::pace::Pace;
use crate::counters::Tally;
use crate::host::{Large, Single};
use crate::packet;

/// Reason why no more is read from a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Filled {
    /// The host has no further packet.
    Drained,
    /// No buffer is free, so the open NTB does not wait for more.
    NoRoom,
    /// The host may have more, and the other direction gets its turn.
    RoundOver,
}

/// The transmit side of one bring-up.
pub(super) struct Uplink {
    queue: Box<dyn Queue>,
    /// The NTBs being filled, and the complete ones that wait for room in flight.
    open: Open,
    /// NTB that passes those that wait. While it is filled, it and [`Uplink::open`] are exchanged.
    passing: Open,
    /// Stream of the datagrams in the complete NTBs and the open one behind them, where such wait.
    waiting: Stream,
    /// Sequence number of the next NTB that leaves.
    sequence: u16,
    /// Pace at which NTBs leave.
    pub(super) pace: Pace,
    /// The bytes in flight, bounded by time.
    backlog: Backlog,
    /// Time at which this round began.
    now: Instant,
    /// Finished NTBs for which the kernel had no memory, or that a halted endpoint did not take.
    /// They are sent before all others, in their order.
    again: VecDeque<Buffer>,
    /// Number of buffers, in transfers and out of them.
    buffers: usize,
    /// Limit on the number of buffers.
    allowance: Allowance,
    /// Whether the kernel had no memory for a transfer, so that idle buffers are to be freed.
    short_of_memory: bool,
    /// Whether there was no memory although no transfer was in flight, because the other direction
    /// has all of it.
    starved: bool,
    /// Layout of the NTBs.
    framing: Framing,
    /// Reason why no more was read from the hosts.
    left_off: Filled,
    faults: Faults,
    /// Whether the endpoint is halted.
    pub(super) halted: bool,
    /// Whether an NTB was sent whose end on the bus may have depended on the padding.
    filled: bool,
    /// Whether the driver sends nothing of its own, because a program sends.
    held: bool,
    /// Program's transfer, from its submission until its end is taken.
    raw: RawTransfer,
}

/// State of a program's transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RawTransfer {
    None,
    InFlight,
    Done(Result<usize, TransferError>),
}

impl Uplink {
    /// Number of full NTBs built in one round before the other direction gets its turn.
    const NTBS_PER_ROUND: usize = 4;

    /// Makes the transmit side with `depth` buffers for NTBs laid out as `framing` says.
    pub(super) fn new(mut queue: Box<dyn Queue>, framing: Framing, depth: usize) -> Self {
        let depth = depth.max(1);
        let open = Open::new(framing, depth, |size| queue.allocate(size));
        Self {
            passing: Open::new(framing, 0, |size| queue.allocate(size)),
            queue,
            open,
            waiting: Stream::Ips(0),
            sequence: 0,
            pace: Pace::default(),
            backlog: Backlog::new(framing.max_ntb),
            now: Instant::now(),
            again: VecDeque::with_capacity(depth),
            buffers: depth,
            allowance: Allowance::new(depth),
            short_of_memory: false,
            starved: false,
            framing,
            left_off: Filled::Drained,
            faults: Faults::default(),
            halted: false,
            filled: false,
            held: false,
            raw: RawTransfer::None,
        }
    }

    /// Sends all NTBs with datagrams, and nothing of the driver's own after them.
    pub(super) fn hold(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        self.held = true;
        self.close_all(tally)
    }

    /// Allows the driver's own sending again.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Returns whether nothing is in flight, and nothing waits to be sent again.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.pending() == 0 && self.again.is_empty() && !self.halted
    }

    /// Sends bytes as they are. The endpoint must be [quiet](Uplink::is_quiet).
    pub(super) fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut buffer = self.queue.allocate(bytes.len());
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        buffer.set_len(bytes.len());
        let zero_packet = self.framing.needs_zero_packet(bytes.len());
        self.queue.set_zero_packet(zero_packet);
        self.queue
            .submit(buffer)
            .map_err(|rejected| rejected.error)?;
        self.raw = RawTransfer::InFlight;
        Ok(())
    }

    /// Returns the result of the transfer that was sent as it is, once it has ended. A second call
    /// returns `None`.
    pub(super) fn take_raw(&mut self) -> Option<Result<usize, TransferError>> {
        let RawTransfer::Done(result) = self.raw else {
            return None;
        };
        self.raw = RawTransfer::None;
        Some(result)
    }

    /// Cancels the transfer that was sent as it is.
    pub(super) fn cancel_raw(&mut self) {
        self.queue.cancel_all();
    }

    /// Returns whether an NTB was sent whose end may have depended on the padding. A second call
    /// returns `false`.
    pub(super) fn take_filled(&mut self) -> bool {
        std::mem::take(&mut self.filled)
    }

    /// Changes the layout of NTBs to one of the same longest length, from the next one on.
    pub(super) fn reframe(&mut self, framing: Framing, tally: &mut Tally) -> Result<(), Fault> {
        self.close_all(tally)?;
        if self.open.is_empty() && framing.max_ntb == self.framing.max_ntb {
            let link = self.framing.link;
            let framing = Framing { link, ..framing };
            self.framing = framing;
            self.open.reframe(framing);
            self.passing.reframe(framing);
        }
        Ok(())
    }

    /// Writes other Ethernet headers, from the open NTB on.
    pub(super) fn set_link(&mut self, link: LinkHeader) {
        self.framing.link = Some(link);
        self.open.set_link(link);
        self.passing.set_link(link);
    }

    /// Sends datagrams of the driver's own making in an NTB that carries nothing else.
    pub(super) fn inject_alone<'a>(
        &mut self,
        stream: Stream,
        datagrams: impl Iterator<Item = &'a [u8]>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        if self.can_fill(1) {
            self.close_all(tally)?;
        }
        for datagram in datagrams {
            self.inject(stream, datagram, tally)?;
        }
        self.close_all(tally)
    }

    /// Returns the address of the bulk OUT endpoint.
    pub(super) fn endpoint(&self) -> u8 {
        self.queue.endpoint()
    }

    /// Returns whether the buffers are memory that the kernel shares with the program.
    pub(super) fn is_mapped(&self) -> bool {
        self.open.is_mapped()
    }

    /// Returns the number of buffers, in transfers and out of them.
    pub(super) fn buffers(&self) -> usize {
        self.buffers
    }

    /// Frees buffers for the other direction, which lacks their memory. Nothing may have been sent
    /// before. Returns `false` when no buffer can be spared.
    pub(super) fn make_way(&mut self) -> bool {
        let gone = self.open.halve();
        self.buffers -= gone;
        self.allowance.lower(self.now, self.buffers);
        gone > 0
    }

    /// Returns whether the last NTB could not leave because the other direction has all the memory.
    /// A second call returns `false`.
    pub(super) fn take_starved(&mut self) -> bool {
        std::mem::take(&mut self.starved)
    }

    /// Returns whether idle buffers are to be freed because there was no memory for a transfer.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.short_of_memory
    }

    /// Keeps idle buffers although there was no memory for a transfer.
    pub(super) fn keep_buffers(&mut self) {
        self.short_of_memory = false;
    }

    /// Returns whether NTBs wait to be sent and no transfer in flight will make room for them.
    pub(super) fn is_stuck(&self) -> bool {
        !self.halted && !self.again.is_empty() && self.queue.pending() == 0
    }

    /// Returns whether there is room for a datagram, or for a packet of 64 KiB if `large`. The host
    /// is read only then, so that packets without room wait in the host's own queues.
    pub(super) fn wants_input(&self, large: bool) -> bool {
        let ntbs = if large {
            self.open.span().min(self.buffers)
        } else {
            1
        };
        self.open.complete() == 0 && self.can_fill(ntbs) && self.backlog.has_room()
    }

    /// Returns whether there are buffers for this many NTBs, and nothing keeps NTBs from leaving.
    fn can_fill(&self, ntbs: usize) -> bool {
        !self.held && !self.halted && self.again.is_empty() && self.open.ready() >= ntbs.max(1)
    }

    /// Returns whether NTBs wait that others may pass.
    pub(super) fn may_be_passed(&self) -> bool {
        self.open.complete() > 0 && self.can_fill(1) && self.backlog.has_room()
    }

    /// Takes the buffers of completed transfers back and sends waiting NTBs again.
    ///
    /// # Errors
    /// [`Fault`] when the device is gone, the backend fails, or there were more transfer errors
    /// than [`Faults`] bears.
    pub(super) fn reap(&mut self, now: Instant, tally: &mut Tally) -> Result<(), Fault> {
        self.now = now;
        if std::mem::take(&mut self.short_of_memory) {
            self.buffers -= self.open.shrink();
            self.allowance.lower(now, self.buffers);
        }
        if self.allowance.raise(now) {
            let more = self.allowance.limit().saturating_sub(self.buffers);
            self.open.grow(more, |size| self.queue.allocate(size));
            self.buffers += more;
        }
        while let Some(completion) = self.queue.try_next() {
            if self.raw == RawTransfer::InFlight {
                self.raw = RawTransfer::Done(completion.result);
                match completion.result {
                    Err(TransferError::Gone) => return Err(Fault::Gone),
                    Err(TransferError::Stall) => {
                        tally.send_stall += 1;
                        self.halted = true;
                    }
                    _ => {}
                }
                continue;
            }
            self.backlog.ended(completion.buffer.filled().len());
            match completion.result {
                Ok(_) => self.faults.clear(),
                Err(TransferError::Gone) => return Err(Fault::Gone),
                Err(error @ (TransferError::Stall | TransferError::Cancelled)) => {
                    if error == TransferError::Stall {
                        if !self.halted {
                            tally.send_stall += 1;
                        }
                        self.halted = true;
                        self.queue.cancel_all();
                        self.faults.add(now).map_err(|()| Fault::Send(error))?;
                    }
                    // The device has not taken this NTB.
                    self.again.push_back(completion.buffer);
                    continue;
                }
                Err(error) => {
                    tally.lost_in_transfer += 1;
                    tally.send_fault += 1;
                    self.faults.add(now).map_err(|()| Fault::Send(error))?;
                }
            }
            self.open.give_back(completion.buffer);
        }
        let waiting = self.left_off == Filled::NoRoom;
        self.backlog.reaped(now, self.queue.pending(), waiting);
        if !self.halted {
            for _ in 0..self.again.len() {
                let Some(buffer) = self.again.pop_front() else {
                    break;
                };
                if !self.submit(buffer, tally)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns whether the endpoint is halted and has nothing queued, so that the halt can be
    /// cleared.
    pub(super) fn can_clear_halt(&self) -> bool {
        self.halted && self.queue.pending() == 0
    }

    /// Records that the control thread has cleared the endpoint's halt.
    pub(super) fn halt_cleared(&mut self) {
        self.halted = false;
    }

    /// Reads from a session's host until it has no further packet, no buffer is free, or the round
    /// is over, and returns which. An open NTB of another session is closed first where it can
    /// carry only one session.
    ///
    /// Makes the system calls of [`Single::receive`] or [`Large::receive`], and of
    /// [`Queue::submit`].
    ///
    /// # Errors
    /// [`Fault`] when a datagram of the length of the MTU fits into no NTB, the host interface
    /// fails, or a transfer cannot be submitted.
    pub(super) fn fill(
        &mut self,
        inlet: Inlet<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<Filled, Fault> {
        let (mut source, mut to) = Account::open(inlet, now);
        if self.open.complete() > 0 {
            self.pass(&mut source, &mut to, tally)?;
            self.send_complete(tally)?;
            if self.open.complete() > 0 {
                return Ok(Filled::NoRoom);
            }
        }
        self.read(&mut source, false, &mut to, tally)
    }

    /// Lets packets of flows whose datagrams do not wait pass those that do, if there is room in
    /// flight, and then sends one of the NTBs that wait, so that these leave in any case.
    fn pass(
        &mut self,
        source: &mut Source<'_>,
        to: &mut Account<'_>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let own = self.waiting == to.stream;
        let may = match source {
            Source::Single(_) => !own,
            Source::Large(_, scatter) => {
                scatter.waiting().is_none() && (own || !scatter.expects_large())
            }
        };
        if !may || !self.may_be_passed() {
            return Ok(());
        }
        let Some(buffer) = self.open.spare() else {
            return Ok(());
        };
        let sent = tally.sent_blocks;
        self.passing.give_back(buffer);
        std::mem::swap(&mut self.open, &mut self.passing);
        let filled = self.read(source, own, to, tally);
        let closed = filled.and_then(|_| self.close(tally));
        std::mem::swap(&mut self.open, &mut self.passing);
        if let Some(buffer) = self.passing.spare() {
            self.open.give_back(buffer);
        }
        closed?;
        if tally.sent_blocks > sent && self.again.is_empty() {
            self.close(tally)?;
        }
        Ok(())
    }

    /// Sends complete NTBs as far as there is room in flight.
    fn send_complete(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        while self.open.complete() > 0
            && !self.halted
            && self.again.is_empty()
            && self.backlog.has_room()
        {
            self.close(tally)?;
        }
        Ok(())
    }

    /// Reads from a host until one of the reasons of [`Filled`]; with `others` only packets of other
    /// flows than the one that sent the last large packet.
    fn read(
        &mut self,
        source: &mut Source<'_>,
        others: bool,
        to: &mut Account<'_>,
        tally: &mut Tally,
    ) -> Result<Filled, Fault> {
        match source {
            Source::Single(host) => self.fill_singly(&mut **host, to, tally),
            Source::Large(host, scatter) => {
                let before = scatter.counters();
                let result = self.fill_large(&mut **host, scatter, others, to, tally);
                let after = scatter.counters();
                tally.host_cut += after.cut - before.cut;
                tally.host_moved += after.moved - before.moved;
                tally.host_not_ip += after.refused - before.refused;
                result
            }
        }
    }

    /// Reads from a host one datagram at a time; see [`Uplink::fill`].
    fn fill_singly(
        &mut self,
        host: &mut dyn Single,
        to: &mut Account<'_>,
        tally: &mut Tally,
    ) -> Result<Filled, Fault> {
        let stream = to.stream;
        // With one byte more than the longest frame, a frame that was cut off can be recognised.
        let want = to.mtu + usize::from(packet::is_ethernet(stream));
        let (mut ntbs, mut empty) = (0, 0);
        loop {
            if !self.wants_input(false) {
                return Ok(Filled::NoRoom);
            }
            if self.open.is_empty() && ntbs == Self::NTBS_PER_ROUND {
                return Ok(Filled::RoundOver);
            }
            let slot = match self.open.place(stream, want) {
                Ok(slot) => slot,
                Err(Full::TooLong) => return Err(Fault::Framing),
                Err(_) => {
                    self.close(tally)?;
                    ntbs += 1;
                    continue;
                }
            };
            let room = self.open.room(&slot);
            let length = match still_open(host.receive(room), &mut empty) {
                Ok(length) => length,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(Filled::Drained),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(Fault::Host(error.to_string())),
                },
            };
            tally.host_reads += 1;
            if to.accepts(&room[..length], tally) {
                self.open.commit(slot, length);
                to.add(1, length);
            }
        }
    }

    /// Reads from a host packets of up to 64 KiB; see [`Uplink::read`].
    fn fill_large(
        &mut self,
        host: &mut dyn Large,
        scatter: &mut Scatter,
        others: bool,
        to: &mut Account<'_>,
        tally: &mut Tally,
    ) -> Result<Filled, Fault> {
        let stream = to.stream;
        let mut ntbs = 0;
        loop {
            if !self.wants_input(scatter.expects_large()) {
                return Ok(Filled::NoRoom);
            }
            if ntbs >= Self::NTBS_PER_ROUND {
                return Ok(Filled::RoundOver);
            }
            let read = scatter.waiting().is_none();
            let fresh = self.open.is_empty();
            let placed = match self.open.receive(scatter, stream, |buffers| match others {
                true => host.receive_other(buffers),
                false => host.receive(buffers),
            }) {
                Ok(placed) => placed,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(Filled::Drained),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(Fault::Host(error.to_string())),
                },
            };
            tally.host_reads += u64::from(read);
            let refused = match self.open.only(&placed) {
                Some(datagram) => !to.accepts(datagram, tally),
                None if placed.longest > to.mtu => {
                    tally.host_too_long += (placed.datagrams + placed.waiting) as u64;
                    (0..placed.waiting).for_each(|_| scatter.skip());
                    true
                }
                None => false,
            };
            if refused {
                self.open.take_back(&placed);
                continue;
            }
            to.add(placed.datagrams, placed.bytes);
            self.open.accept(&placed);
            self.send_complete(tally)?;
            if self.open.complete() > 0 {
                self.waiting = stream;
            }
            ntbs += placed.complete;
            if fresh && placed.datagrams == 0 && placed.waiting > 0 {
                return Err(Fault::Framing);
            }
        }
    }

    /// Puts a datagram of the driver's own making into the open NTB, or counts that there was no
    /// room for it.
    pub(super) fn inject(
        &mut self,
        stream: Stream,
        datagram: &[u8],
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        for _ in 0..2 {
            if !self.can_fill(1) {
                break;
            }
            match self.open.place(stream, datagram.len()) {
                Ok(slot) => {
                    self.open.room(&slot)[..datagram.len()].copy_from_slice(datagram);
                    self.open.commit(slot, datagram.len());
                    return Ok(());
                }
                Err(Full::TooLong) => break,
                Err(_) => self.close_all(tally)?,
            }
        }
        tally.own_no_room += 1;
        Ok(())
    }

    /// Records the reason why no more was read from the hosts: of several, the greatest in the
    /// order of [`Filled`].
    pub(super) fn set_left_off(&mut self, why: Filled) {
        self.left_off = why;
    }

    /// Returns whether the hosts had no further packet when they were read last.
    pub(super) fn is_drained(&self) -> bool {
        self.left_off == Filled::Drained
    }

    /// Sends complete NTBs as far as there is room in flight, and the open NTB behind them if it has
    /// nothing to wait for.
    pub(super) fn flush(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        self.send_complete(tally)?;
        let leaves = self.left_off != Filled::RoundOver
            && !self.halted
            && self.again.is_empty()
            && self.open.complete() == 0
            && !self.open.is_empty()
            && self
                .pace
                .leaves(self.queue.pending(), self.open.is_half_full());
        if leaves { self.close(tally) } else { Ok(()) }
    }

    /// Sends the complete NTBs and the open one.
    fn close_all(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        for _ in 0..=self.open.complete() {
            self.close(tally)?;
        }
        Ok(())
    }

    /// Sends the first complete NTB, or else the open one, or lets it wait behind those to be sent
    /// again.
    fn close(&mut self, tally: &mut Tally) -> Result<(), Fault> {
        for _ in 0..self.framing.empty_before {
            let Some(buffer) = self.open.empty_ntb(&mut self.sequence) else {
                break;
            };
            tally.sent_blocks += 1;
            tally.sent_block_bytes += buffer.filled().len() as u64;
            self.send(buffer, tally)?;
        }
        let Some((buffer, finished)) = self.open.close(&mut self.sequence) else {
            return Ok(());
        };
        match finished.reason {
            None => tally.closed_idle += 1,
            Some(Full::Datagrams) => tally.closed_datagrams += 1,
            Some(Full::Stream) => tally.closed_stream += 1,
            Some(Full::Room | Full::TooLong) => tally.closed_full += 1,
        }
        let full = matches!(finished.reason, Some(Full::Room | Full::TooLong));
        self.pace
            .ntb_left(self.now, finished.datagrams, finished.payload, full);
        tally.sent_packets += finished.datagrams as u64;
        tally.sent_bytes += finished.payload as u64;
        tally.sent_blocks += 1;
        tally.sent_block_bytes += finished.length as u64;
        self.filled |= self.framing.depends_on_padding(finished.length);
        self.send(buffer, tally)
    }

    /// Submits an NTB, behind those that wait to be sent again.
    fn send(&mut self, buffer: Buffer, tally: &mut Tally) -> Result<(), Fault> {
        if self.again.is_empty() {
            self.submit(buffer, tally).map(drop)
        } else {
            self.again.push_back(buffer);
            Ok(())
        }
    }

    /// Submits an NTB. Returns `false` when it has to wait.
    fn submit(&mut self, buffer: Buffer, tally: &mut Tally) -> Result<bool, Fault> {
        let length = buffer.filled().len();
        self.queue
            .set_zero_packet(self.framing.needs_zero_packet(length));
        let Err(rejected) = self.queue.submit(buffer) else {
            self.backlog.submitted(self.now, length);
            return Ok(true);
        };
        match rejected.error {
            // With others in flight the NTB waits for one of them, otherwise for the other
            // direction.
            Error::NoMemory { .. } => {
                tally.transfers_given_up += 1;
                self.short_of_memory = true;
                self.starved = self.queue.pending() == 0;
                self.again.push_front(rejected.buffer);
                Ok(false)
            }
            Error::Gone { .. } => Err(Fault::Gone),
            error => Err(Fault::Backend(error.to_string())),
        }
    }

    /// Returns the queue, to be drained.
    pub(super) fn into_queue(self) -> Box<dyn Queue> {
        self.queue
    }
}

impl std::fmt::Debug for Uplink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uplink")
            .field("pending", &self.queue.pending())
            .field("ready", &self.open.ready())
            .field("open", &self.open.datagrams())
            .finish_non_exhaustive()
    }
}
