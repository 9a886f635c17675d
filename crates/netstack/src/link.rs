//! The packet link at whose end a stack is.

use std::sync::Arc;
use std::time::Duration;

/// Length in bytes of the largest IP packet that a link carries.
pub const MAX_PACKET: usize = 65_535;

/// End of a link that carries whole IP packets in both directions and loses none itself: when it is
/// full, the sender waits.
///
/// All methods but [`PacketLink::wait`] return at once.
pub trait PacketLink: Send {
    /// Takes the oldest packet that arrived into `buffer` and returns its length in bytes; `None`
    /// when no packet waits. A packet longer than `buffer` is dropped, and 0 is returned as its
    /// length.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// Returns whether a packet can be sent. After `false`, [`PacketLink::wait`] also ends when there
    /// is room again.
    fn ready(&mut self) -> bool;

    /// Sends one packet. Returns `false` when the packet is lost, because there was no room or the
    /// other end is gone.
    fn send(&mut self, packet: &[u8]) -> bool;

    /// Returns whether the other end is gone for good and all packets that it sent were taken.
    fn closed(&self) -> bool;

    /// Returns a waiter for this end, which lives as long as the link.
    fn waiter(&self) -> Arc<dyn Wait>;

    /// Waits for this end as [`Wait::wait`] does.
    fn wait(&self, timeout: Option<Duration>) {
        self.waiter().wait(timeout);
    }
}

/// Waiter for one end of a link. It is separate from the end itself, which other threads can use
/// meanwhile.
pub trait Wait: Send + Sync {
    /// Blocks until a packet may have come, there may be room after [`PacketLink::ready`] returned
    /// `false`, [`Wait::wake`] was called, the other end has gone, or the timeout is over; `None`
    /// is no timeout. It may return early without a reason. Only one thread at a time may wait.
    fn wait(&self, timeout: Option<Duration>);

    /// Ends the wait in progress, or the next one when there is none.
    fn wake(&self);
}

impl<L: PacketLink + ?Sized> PacketLink for Box<L> {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        (**self).receive(buffer)
    }
    fn ready(&mut self) -> bool {
        (**self).ready()
    }
    fn send(&mut self, packet: &[u8]) -> bool {
        (**self).send(packet)
    }
    fn closed(&self) -> bool {
        (**self).closed()
    }
    fn waiter(&self) -> Arc<dyn Wait> {
        (**self).waiter()
    }
}

/// The link of a stack that has stopped.
pub(crate) struct Gone;

impl PacketLink for Gone {
    fn receive(&mut self, _buffer: &mut [u8]) -> Option<usize> {
        None
    }
    fn ready(&mut self) -> bool {
        false
    }
    fn send(&mut self, _packet: &[u8]) -> bool {
        false
    }
    fn closed(&self) -> bool {
        true
    }
    fn waiter(&self) -> Arc<dyn Wait> {
        Arc::new(Gone)
    }
}

impl Wait for Gone {
    fn wait(&self, _timeout: Option<Duration>) {}
    fn wake(&self) {}
}
