//! The built-in network: the userspace stack's server on a thread of its own.

use std::sync::Arc;

use uwwan_netstack::link::PacketLink;
use uwwan_netstack::memory::{self, Capacity, MemoryLink};
use uwwan_netstack::server::{Server, ServerConfig, ServerThread};

use crate::far_side::Network;
use crate::wake::Wake;

/// This end of the server's link, and the server. Dropping it ends both.
pub(crate) struct BuiltIn {
    link: MemoryLink,
    _server: ServerThread,
}

impl BuiltIn {
    /// Starts the server.
    ///
    /// # Errors
    /// When its configuration makes no sense or its thread cannot be started.
    pub(crate) fn start(config: ServerConfig, wake: &Arc<Wake>) -> std::io::Result<Self> {
        let (link, far) = memory::pair(Capacity::default());
        let wake = Arc::clone(wake);
        link.on_event(move || wake.raise());
        let server = Server::spawn(config, far).map_err(std::io::Error::other)?;
        Ok(Self {
            link,
            _server: server,
        })
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
