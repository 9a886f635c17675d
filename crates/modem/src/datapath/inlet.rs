//! The host interface that the uplink reads, and the account of what a session sends by it.

use std::io;
use std::time::Instant;

use uwwan_ncm::Stream;
use uwwan_tun::scatter::Scatter;

use crate::counters::{SessionTally, Tally};
use crate::host::{Large, Single};
use crate::packet;
use crate::watch::Watch;

/// The host interface from which a session's datagrams are read.
pub(super) struct Inlet<'a> {
    /// Half of the host interface to read.
    pub(super) source: Source<'a>,
    /// Kind of the datagrams, which determines the signature of their NDP.
    pub(super) stream: Stream,
    /// Length of the longest datagram in bytes.
    pub(super) mtu: usize,
    /// Watch that sees the datagrams that ask for an answer.
    pub(super) watch: &'a mut Watch,
    /// Counts of the session's traffic.
    pub(super) carried: &'a mut SessionTally,
}

/// Half of a host interface from which datagrams are read.
pub(super) enum Source<'a> {
    /// Host interface that gives one datagram in a call.
    Single(&'a mut dyn Single),
    /// Host interface that gives many datagrams in a call, cut by the scatter.
    Large(&'a mut dyn Large, &'a mut Scatter),
}

/// Number of empty reads in a row after which a host interface is taken for closed. One may be an
/// empty datagram; the end of a stream or a closed socket returns empty reads for ever.
pub(super) const MOST_EMPTY: u32 = 16;

/// Passes on the result of a read from a host interface, and counts in `empty` the empty reads in a
/// row.
///
/// # Errors
/// That of the read, and [`io::ErrorKind::UnexpectedEof`] after [`MOST_EMPTY`] empty ones.
pub(super) fn still_open(read: io::Result<usize>, empty: &mut u32) -> io::Result<usize> {
    let length = read?;
    *empty = if length == 0 { *empty + 1 } else { 0 };
    if *empty > MOST_EMPTY {
        let why = "its other side is closed";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(length)
}

/// Account of the datagrams that one session sends.
pub(super) struct Account<'a> {
    pub(super) stream: Stream,
    pub(super) mtu: usize,
    /// The watch that sees datagrams that ask for an answer, and the time of this round.
    armed: Option<(&'a mut Watch, Instant)>,
    carried: &'a mut SessionTally,
}

impl<'a> Account<'a> {
    /// Returns the source of a session's datagrams and the account of what is read from it in the
    /// round that began at `now`.
    pub(super) fn open(inlet: Inlet<'a>, now: Instant) -> (Source<'a>, Self) {
        // On an Ethernet link silence proves nothing, except while the healing looks for a layout.
        let judged = !packet::is_ethernet(inlet.stream) || inlet.watch.is_eager();
        let armed = judged && inlet.watch.armed(now);
        let account = Self {
            stream: inlet.stream,
            mtu: inlet.mtu,
            armed: armed.then_some((inlet.watch, now)),
            carried: inlet.carried,
        };
        (inlet.source, account)
    }
}

impl Account<'_> {
    /// Returns whether a packet that was read alone is a datagram the session carries, and counts
    /// it if it is not.
    #[inline]
    pub(super) fn accepts(&mut self, datagram: &[u8], tally: &mut Tally) -> bool {
        if !packet::fits(self.stream, datagram) {
            tally.host_not_ip += 1;
            return false;
        }
        if packet::is_too_long(self.stream, datagram, self.mtu) {
            tally.host_too_long += 1;
            return false;
        }
        if let Some((watch, now)) = &mut self.armed {
            let ends = match packet::is_ethernet(self.stream) {
                true if packet::frame_deserves_answer(datagram) => packet::frame_ends(datagram),
                false if packet::deserves_answer(datagram) => packet::ends(datagram),
                _ => return true,
            };
            watch.sent(*now);
            if let Some((_, destination)) = ends {
                watch.asked_of(destination);
            }
        }
        true
    }

    /// Adds to the session's counts.
    #[inline]
    pub(super) fn add(&mut self, datagrams: usize, bytes: usize) {
        self.carried.sent_packets += datagrams as u64;
        self.carried.sent_bytes += bytes as u64;
    }
}
