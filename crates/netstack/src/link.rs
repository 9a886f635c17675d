//! The packet link a stack sits on.

use std::sync::Arc;
use std::time::Duration;

/// Largest IP packet any link carries.
pub const MAX_PACKET: usize = 65_535;

/// One end of a link that carries whole IP packets, both ways, without loss of its own: when it is
/// full the sender waits.
///
/// All methods but [`PacketLink::wait`] return at once.
pub trait PacketLink: Send {
    /// Takes the oldest packet that arrived into `buffer` and returns its length; `None` when none
    /// waits. A packet longer than `buffer` is taken and comes back as length 0.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// Whether a packet can be sent. After `false`, [`PacketLink::wait`] also ends when there is
    /// room again.
    fn ready(&mut self) -> bool;

    /// Sends one packet; `false` when there was no room or nobody is at the other end, and the
    /// packet is lost.
    fn send(&mut self, packet: &[u8]) -> bool;

    /// Whether the other end is gone for good and all it sent has been taken.
    fn closed(&self) -> bool;

    /// What to wait for this end with; it stays good as long as the link lives.
    fn waiter(&self) -> Arc<dyn Wait>;

    /// [`Wait::wait`] on this end.
    fn wait(&self, timeout: Option<Duration>) {
        self.waiter().wait(timeout);
    }
}

/// Waits for one end of a link, apart from the end itself so that others can use that meanwhile.
pub trait Wait: Send + Sync {
    /// Blocks until a packet may have come, room may have come after [`PacketLink::ready`] said
    /// `false`, [`Wait::wake`] was called, the other end has gone, or the timeout (`None`: never)
    /// is over. May end early for no reason. For one thread at a time.
    fn wait(&self, timeout: Option<Duration>);

    /// Ends the present wait, or the next one if there is none.
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
