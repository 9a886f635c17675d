//! The queues of a TUN interface, which are read in turn.
//!
//! # Theory of operation
//!
//! A TUN interface accepts every packet until its queue is full, and never makes the layers above
//! wait. So the queueing discipline in front of it, such as fq_codel, has nothing to do, and the
//! packets of a large upload that are in the queue are ahead of those of every other flow. With
//! several queues (IFF_MULTI_QUEUE) the kernel puts each flow into one of them, chosen by a hash of
//! its addresses and ports (`tun_automq_select_queue` in drivers/net/tun.c), and reading them in
//! turn gives each flow its share: stochastic fairness queueing (P. McKenney, INFOCOM 1990). Within
//! a flow the order stays.
//!
//! From packets written through an attached queue, the kernel would learn that their answers belong
//! into this queue (`tun_flow_update`), and all flows would end up in the queue of the writer. So
//! packets are written through a further queue that is detached (TUNSETQUEUE), from which the
//! kernel learns nothing.
//!
//! An epoll descriptor tells which queues have packets, and is also what the caller waits for.
//! Asking it costs a system call, so [`Turn`] asks as seldom as it can without letting a queue
//! wait.
//!
//! The reader may have NTBs of a large packet left when it comes back for more. What others have sent
//! meanwhile need not wait behind these: [`Queues::read_other`] finds it, and leaves the queue of
//! the large packet and those of other uploads alone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};

use crate::waiting::NoWait;

/// Number of queues to ask for. Two flows share a queue with a probability of one in this number.
pub(crate) const QUEUES: usize = 32;
/// Length in bytes above which a packet is large.
const LARGE: usize = 2048;
/// Length of a turn, in units of [`UNIT`]: 64 KiB. With shorter turns, senders that share the link
/// send smaller packets, and everything takes more time.
const QUANTUM: u8 = 128;
/// Unit of a turn, in bytes.
const UNIT: usize = 512;
/// Largest number of small packets in a turn.
const MOST: u8 = 16;

/// The descriptors of one interface.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Queues that are read, at least one. There are several only where there are also an epoll
    /// descriptor and a writer.
    readers: Vec<OwnedFd>,
    fair: Option<Fair>,
    waiting: NoWait,
}

#[derive(Debug)]
struct Fair {
    /// Descriptor that is ready when one of the readers is.
    epoll: OwnedFd,
    /// Detached queue through which packets are written.
    writer: OwnedFd,
    turn: Turn,
}

impl Queues {
    /// Makes the queues of an interface that has one.
    pub(crate) fn one(descriptor: OwnedFd) -> Queues {
        Queues {
            readers: vec![descriptor],
            fair: None,
            waiting: NoWait::File,
        }
    }

    /// Makes the queues of an interface that has several, and one to write through, which is
    /// detached.
    ///
    /// # Errors
    /// Errors of `epoll_create` and `epoll_ctl`.
    pub(crate) fn several(mut readers: Vec<OwnedFd>, writer: OwnedFd) -> io::Result<Queues> {
        readers.truncate(QUEUES);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (place, reader) in (0u64..).zip(&readers) {
            let place = epoll::EventData::new_u64(place);
            epoll::add(&epoll, reader, place, epoll::EventFlags::IN)?;
        }
        Ok(Queues {
            readers,
            fair: Some(Fair {
                epoll,
                writer,
                turn: Turn::default(),
            }),
            waiting: NoWait::File,
        })
    }

    /// Sets how calls are kept from waiting.
    pub(crate) fn kept_by(self, waiting: NoWait) -> Queues {
        Queues { waiting, ..self }
    }

    /// Returns the number of queues that are read.
    pub(crate) fn count(&self) -> usize {
        self.readers.len()
    }

    /// Returns the descriptors of the queues to read, and then that of the writer if there is one.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let writer = self.fair.iter().map(|fair| fair.writer.as_fd());
        self.readers.iter().map(AsFd::as_fd).chain(writer).collect()
    }

    /// Returns the descriptor that is readable when a queue has a packet.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        match &self.fair {
            Some(fair) => fair.epoll.as_fd(),
            None => self.readers[0].as_fd(),
        }
    }

    /// Returns the descriptor that packets are written to.
    pub(crate) fn writable(&self) -> BorrowedFd<'_> {
        match &self.fair {
            Some(fair) => fair.writer.as_fd(),
            None => self.readers[0].as_fd(),
        }
    }

    /// Reads one packet from the queue whose turn it is and returns the number of bytes read.
    ///
    /// Makes the system calls `read` or `readv`, or else `preadv2`, and `epoll_wait`.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when no queue has a packet, or the caller must wait for
    /// another queue; otherwise the errors of these calls.
    #[inline]
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (readers, waiting) = (&self.readers, self.waiting);
        let Some(Fair { epoll, turn, .. }) = &mut self.fair else {
            return Ok(waiting.readv(&readers[0], buffers)?);
        };
        let read = |queue: u8| Ok(waiting.readv(&readers[usize::from(queue)], buffers)?);
        turn.read(read, || look(epoll))
    }

    /// Reads one packet from a queue other than the one of the last [`Queues::read`], and returns
    /// the number of bytes read. Queues whose last packet was large are left out.
    ///
    /// Makes the system calls `epoll_wait`, and `readv` or `preadv2`, where there are several
    /// queues.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when no such queue has a packet; otherwise the errors of
    /// `readv` and `epoll_wait`.
    pub(crate) fn read_other(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (readers, waiting) = (&self.readers, self.waiting);
        let Some(Fair { epoll, turn, .. }) = &mut self.fair else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let read = |queue: u8| Ok(waiting.readv(&readers[usize::from(queue)], buffers)?);
        turn.read_other(read, || look(epoll))
    }

    /// Writes one packet and returns the number of bytes written.
    ///
    /// Makes the system call `write` or `writev`, or else `pwritev2`.
    ///
    /// # Errors
    /// The errors of this call.
    #[inline]
    pub(crate) fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.waiting.writev(self.writable(), buffers)?)
    }
}

/// Returns the queues that have packets, one bit for each.
///
/// Makes the system call `epoll_wait`.
fn look(epoll: &OwnedFd) -> io::Result<u32> {
    let now = Timespec::default();
    let mut events = [MaybeUninit::uninit(); QUEUES];
    let (found, _) = epoll::wait(epoll, &mut events, Some(&now))?;
    Ok(found.iter().fold(0, |mask, event| {
        let place = event.data;
        mask | 1 << (place.u64() % QUEUES as u64)
    }))
}

/// The queue whose turn it is, and what is known of the others.
///
/// A look asks the epoll descriptor for the queues that have packets. A burst begins without a look
/// at the queue that had packets last, as long as it was the only one. It goes on with every queue
/// that a look finds, one large packet from each, and then looks again. A queue that is alone may
/// send more and more small packets between looks. The burst is over when a look finds no queue, or
/// when the only queue is empty; the next wait finds the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Turn {
    /// Queues that had packets at the last look and have not been read since, one bit for each.
    ready: u32,
    /// The queue that was read last.
    at: u8,
    /// Rest of the queue's turn, in units of [`UNIT`].
    left: u8,
    /// Number of small packets in a turn.
    most: u8,
    /// Whether a burst has begun and is not over.
    burst: bool,
    /// Whether this burst found several queues with packets.
    several: bool,
    /// Whether the next burst begins with a look.
    look: bool,
    /// Queues whose last packet was large, one bit for each.
    bulk: u32,
    /// Queues that may be read out of turn, one bit for each.
    others: u32,
}

impl Turn {
    /// Returns the next queue that is ready, behind the one that was read last.
    fn next(&self) -> u8 {
        let behind = (u32::from(self.at) + 1) % QUEUES as u32;
        let ahead = self.ready.rotate_right(behind).trailing_zeros();
        ((behind + ahead) % QUEUES as u32) as u8
    }

    /// Reads with `read` from the queue whose turn it is; `look` returns the queues that have
    /// packets, a bit each.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] as [`Queues::read`]; otherwise the errors of `read` and `look`.
    #[inline]
    fn read(
        &mut self,
        mut read: impl FnMut(u8) -> io::Result<usize>,
        look: impl Fn() -> io::Result<u32>,
    ) -> io::Result<usize> {
        let nothing = || Err(io::Error::from(io::ErrorKind::WouldBlock));
        let mut looked = false;
        self.others = 0;
        loop {
            let mine = 1 << self.at;
            if self.ready == 0 {
                if self.burst || self.look {
                    let before = self.burst;
                    self.ready = look()?;
                    looked = true;
                    if self.ready == 0 {
                        self.look = self.several;
                        (self.burst, self.several) = (false, false);
                        return nothing();
                    }
                    let another = before && self.ready & !mine != 0;
                    self.several |= another || self.ready.count_ones() > 1;
                    // A queue that is still alone may send more in a turn.
                    let alone = before && self.ready == mine;
                    self.most = if alone {
                        (self.most * 2).clamp(1, MOST)
                    } else {
                        1
                    };
                } else {
                    self.ready = mine;
                }
                self.left = 0;
            }
            if self.left == 0 || self.ready & mine == 0 {
                (self.at, self.left) = (self.next(), QUANTUM);
            }
            let queue = self.at;
            match read(queue) {
                Ok(length) => {
                    self.burst = true;
                    let large = self.is_large(queue, length);
                    let cost = if large {
                        (length / UNIT).min(usize::from(QUANTUM)) as u8
                    } else {
                        QUANTUM / self.most.max(1)
                    };
                    self.left = self.left.saturating_sub(cost);
                    if self.left == 0 {
                        // Packets may have come to other queues during a long turn.
                        self.ready &= if large { 0 } else { !(1 << queue) };
                    }
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready &= !(1 << queue);
                    self.most = (self.most / 2).max(1);
                    self.left = 0;
                    // Queues of an interface that is being deleted are reported as ready and are
                    // not.
                    if self.ready != 0 || (self.burst && self.several && !looked) {
                        continue;
                    }
                    // No queue was found, so the next burst begins with a look.
                    self.look = !self.burst;
                    self.burst = false;
                    return nothing();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns whether a packet of `length` bytes is large, and remembers that of its queue.
    #[inline]
    fn is_large(&mut self, queue: u8, length: usize) -> bool {
        let large = length > LARGE;
        self.bulk = self.bulk & !(1 << queue) | u32::from(large) << queue;
        large
    }

    /// Reads out of turn, from another queue than the one read last in turn; the arguments are
    /// those of [`Turn::read`].
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] as [`Queues::read_other`]; otherwise the errors of `read` and
    /// `look`.
    fn read_other(
        &mut self,
        mut read: impl FnMut(u8) -> io::Result<usize>,
        look: impl Fn() -> io::Result<u32>,
    ) -> io::Result<usize> {
        if self.others == 0 {
            self.others = look()? & !(self.bulk | 1 << self.at);
        }
        while self.others != 0 {
            let queue = self.others.trailing_zeros() as u8;
            match read(queue) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.others &= !(1 << queue);
                }
                Ok(length) => {
                    self.is_large(queue, length);
                    return Ok(length);
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const BIG: usize = 30_000;
    const SMALL: usize = 84;

    /// Queues that hold the lengths of packets, and a record of the calls made.
    #[derive(Default)]
    struct Fake {
        queues: RefCell<[VecDeque<usize>; QUEUES]>,
        reads: Cell<usize>,
        looks: Cell<usize>,
        turn: Cell<Turn>,
    }

    impl Fake {
        fn put(&self, queue: usize, lengths: &[usize]) {
            self.queues.borrow_mut()[queue].extend(lengths);
        }

        fn mask(&self) -> u32 {
            let filled =
                |(place, queue): (usize, &VecDeque<usize>)| u32::from(!queue.is_empty()) << place;
            self.queues.borrow().iter().enumerate().map(filled).sum()
        }

        /// Returns the queue that was read from; `None` for WouldBlock.
        fn read(&self) -> Option<u8> {
            self.read_with(false)
        }

        /// Returns the queue that was read from out of turn; `None` for WouldBlock.
        fn read_other(&self) -> Option<u8> {
            self.read_with(true)
        }

        fn read_with(&self, other: bool) -> Option<u8> {
            let mut turn = self.turn.get();
            let from = Cell::new(0);
            let read = |queue| {
                self.reads.set(self.reads.get() + 1);
                from.set(queue);
                let next = self.queues.borrow_mut()[usize::from(queue)].pop_front();
                next.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            };
            let look = || {
                self.looks.set(self.looks.get() + 1);
                Ok(self.mask())
            };
            let result = match other {
                true => turn.read_other(read, look),
                false => turn.read(read, look),
            };
            self.turn.set(turn);
            match result {
                Ok(_) => Some(from.get()),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    None
                }
            }
        }

        fn burst(&self) -> Vec<u8> {
            std::iter::from_fn(|| self.read()).collect()
        }

        fn asked(&self) -> (usize, usize) {
            (self.reads.take(), self.looks.take())
        }
    }

    #[test]
    fn out_of_turn_come_packets_of_queues_that_send_no_large_ones() {
        let fake = Fake::default();
        for queue in [2, 5] {
            fake.put(queue, &[BIG; 10]);
        }
        // The wait shows that some queue has a packet.
        assert_eq!(fake.burst().len(), 0);
        let turns = std::iter::from_fn(|| fake.read());
        assert!(turns.take(4).any(|queue| queue == 5));
        assert_eq!(fake.read_other(), None, "both are uploads");
        fake.asked();
        assert_eq!(fake.read_other(), None);
        assert_eq!(fake.asked(), (0, 1), "one look, no read");
        fake.put(5, &[SMALL]);
        fake.put(9, &[SMALL, SMALL]);
        fake.put(20, &[SMALL]);
        let others: Vec<_> = std::iter::from_fn(|| fake.read_other()).collect();
        assert_eq!(others, [9, 9, 20]);
        // The turns of the uploads go on.
        let turns: Vec<_> = std::iter::from_fn(|| fake.read()).take(8).collect();
        assert!(turns.contains(&2) && turns.contains(&5), "{turns:?}");
    }

    #[test]
    fn the_queue_that_was_read_last_is_never_read_out_of_turn() {
        let fake = Fake::default();
        fake.put(3, &[SMALL; 5]);
        assert_eq!(fake.burst().len(), 0);
        assert_eq!(fake.read(), Some(3));
        assert_eq!(fake.read_other(), None);
        fake.put(4, &[SMALL; 2]);
        assert_eq!(fake.read_other(), Some(4));
        assert_eq!(fake.read(), Some(4), "in turn");
        fake.put(4, &[SMALL]);
        assert_eq!(fake.read_other(), Some(3));
    }

    #[test]
    fn one_flow_alone_is_read_without_looking_first() {
        let fake = Fake::default();
        for _ in 0..5 {
            fake.put(0, &[SMALL]);
            assert_eq!(fake.burst(), [0]);
            assert_eq!(fake.asked(), (1, 1));
        }
    }

    #[test]
    fn a_packet_in_another_queue_is_found() {
        let fake = Fake::default();
        fake.put(6, &[SMALL]);
        // The wait shows that the queue still has a packet.
        assert_eq!(fake.burst(), []);
        assert_eq!(fake.burst(), [6]);
        fake.asked();
        fake.put(6, &[SMALL]);
        assert_eq!(fake.burst(), [6]);
        assert_eq!(fake.asked(), (1, 1), "that is where the next is looked for");
    }

    #[test]
    fn a_large_upload_keeps_nobody_waiting() {
        let fake = Fake::default();
        fake.put(0, &[BIG; 100]);
        assert_eq!(fake.read(), Some(0));
        assert_eq!(fake.read(), Some(0));
        fake.put(3, &[SMALL]);
        let until = (0..3)
            .filter_map(|_| fake.read())
            .position(|queue| queue == 3);
        assert!(until.is_some(), "{until:?}");
    }

    #[test]
    fn neither_does_a_flood_of_small_packets() {
        let fake = Fake::default();
        fake.put(0, &[SMALL; 1000]);
        for _ in 0..500 {
            assert_eq!(fake.read(), Some(0));
        }
        let (reads, looks) = fake.asked();
        assert!(reads == 500 && looks < 40, "{looks} looks");
        fake.put(5, &[SMALL; 2]);
        let until = (0..40)
            .filter_map(|_| fake.read())
            .position(|queue| queue == 5);
        assert!(
            until.is_some_and(|until| until <= usize::from(MOST)),
            "{until:?}"
        );
    }

    #[test]
    fn large_packets_take_turns() {
        let fake = Fake::default();
        for queue in [1, 4, 29] {
            fake.put(queue, &[BIG; 10]);
        }
        fake.burst();
        let order = fake.burst();
        assert_eq!(order.len(), 30);
        let turns: Vec<&[u8]> = order.chunk_by(|one, next| one == next).collect();
        assert!(turns.iter().all(|turn| turn.len() <= 3), "{order:?}");
        for three in turns[..turns.len() - 3].windows(3) {
            let mut three: Vec<u8> = three.iter().map(|turn| turn[0]).collect();
            three.sort_unstable();
            assert_eq!(three, [1, 4, 29], "{order:?}");
        }
    }

    #[test]
    fn queues_that_only_look_ready_end_the_call() {
        let mut turn = Turn::default();
        let looks = Cell::new(0);
        let two = || {
            looks.set(looks.get() + 1);
            Ok(6)
        };
        // Two queues had packets, and are then reported as ready without any.
        turn.look = true;
        turn.read(|_| Ok(SMALL), two).unwrap();
        for _ in 0..10 {
            let blocked = |_| Err(io::ErrorKind::WouldBlock.into());
            assert!(turn.read(blocked, two).is_err());
        }
        assert!(looks.get() <= 11, "{}", looks.get());
    }

    proptest! {
        /// Whenever packets come, waiting and reading brings all of them, and no wait is in vain.
        #[test]
        fn everything_is_read(
            arrivals in prop::collection::vec(
                (0..QUEUES, prop_oneof![Just(SMALL), Just(BIG)], 1..40usize, 0..30usize), 1..60),
        ) {
            let fake = Fake::default();
            let (mut put, mut got) = (0, 0);
            for (queue, length, count, reads) in arrivals {
                fake.put(queue, &vec![length; count]);
                put += count;
                got += (0..reads).filter(|_| fake.read().is_some()).count();
            }
            let mut in_vain = 0;
            while fake.mask() != 0 {
                let burst = fake.burst().len();
                in_vain = if burst == 0 { in_vain + 1 } else { 0 };
                prop_assert!(in_vain < 3, "{:?}", fake.turn.get());
                got += burst;
            }
            prop_assert_eq!(got, put);
        }
    }
}
