//! The packet link that a stack is at the end of.

use std::sync::Arc;
use std::time::Duration;

/// Length in bytes of the largest IP packet that a link carries.
pub const MAX_PACKET: usize = 65_535;

/// One end of a link that carries whole IP packets both ways and loses none itself: when it is full
/// the sender waits.
///
/// All methods but [`PacketLink::wait`] return at once.
pub trait PacketLink: Send {
    /// Takes the oldest packet that arrived into `buffer` and returns its length in bytes, `None`
    /// when no packet waits. A packet longer than `buffer` is dropped, and its length returned as 0.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// Returns whether a packet can be sent. After `false`, [`PacketLink::wait`] also ends when there
    /// is room again.
    fn ready(&mut self) -> bool;

    /// Sends one packet. Returns `false` when the packet is lost, because there was no room or the
    /// other end is gone.
    fn send(&mut self, packet: &[u8]) -> bool;

    /// Returns whether the other end is gone for good and all packets it sent were taken.
    fn closed(&self) -> bool;

    /// Returns what to wait for this end with, as long as the link lives.
    fn waiter(&self) -> Arc<dyn Wait>;

    /// Waits for this end as [`Wait::wait`] does.
    fn wait(&self, timeout: Option<Duration>) {
        self.waiter().wait(timeout);
    }
}

/// Waits for one end of a link. It is apart from the end itself, which others can use meanwhile.
pub trait Wait: Send + Sync {
    /// Blocks until a packet may have come, there may be room after [`PacketLink::ready`] returned
    /// `false`, [`Wait::wake`] was called, the other end has gone, or the timeout is over, which
    /// `None` never is. May return early for no reason. One thread at a time may wait.
    fn wait(&self, timeout: Option<Duration>);

    /// Ends the wait that goes on, or the next one when none does.
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
