//! The built-in network: the userspace stack's server on a thread of its own.

use std::sync::Arc;

use uwwan_netstack::link::PacketLink;
use uwwan_netstack::memory::{self, Capacity, MemoryLink};

use crate::far_side::Network;
use crate::wake::Wake;

/// The server's thread and this end of its link. Dropping it ends both.
pub(crate) struct BuiltIn {
    link: MemoryLink,
    _far: MemoryLink,
}

impl BuiltIn {
    /// Starts the server.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub(crate) fn start(wake: &Arc<Wake>) -> std::io::Result<Self> {
        let (link, far) = memory::pair(Capacity::default());
        let wake = Arc::clone(wake);
        link.on_event(move || wake.raise());
        Ok(Self { link, _far: far })
    }
}

impl Network for BuiltIn {
    fn send(&mut self, packet: &[u8]) -> bool {
        Network::send(&mut self.link, packet)
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        PacketLink::receive(&mut self.link, room)
    }
}
