//! The trait of a service: bytes of its clients and the time go in, bytes for its clients come out.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::failure::Failure;
use crate::permissions::Caller;

/// Id of a client among those of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u64);

/// Entrance by which a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The abstract socket of mbim-proxy, where a client first names the modem that it wants.
    Public,
    /// A socket in the runtime directory.
    Private,
    /// A terminal, where bytes that a person types by mistake are tolerated.
    Terminal,
}

/// Service for local programs. It does no I/O: the server moves the bytes.
pub(crate) trait Service: Send {
    /// Adds a client. Returns `None` to turn it away.
    fn connect(&mut self, now: Instant, entrance: Entrance, caller: Caller) -> Option<ClientId>;

    /// Disconnects the oldest of the clients that have sent no request and of which `may_go` returns
    /// true. Returns `false` when there is none.
    fn make_room(&mut self, now: Instant, may_go: &dyn Fn(ClientId) -> bool) -> bool;

    /// Returns whether another terminal is to be offered.
    fn has_room(&self) -> bool {
        true
    }

    /// Returns the bytes to send to a client that is turned away.
    fn turned_away(&self, failure: Failure) -> Vec<u8> {
        drop(failure);
        Vec::new()
    }

    /// Returns the number of bytes that the service takes from a client at present.
    fn room(&self, client: ClientId) -> usize;

    /// Takes bytes of a client, at most [`Service::room`].
    fn receive(&mut self, now: Instant, client: ClientId, bytes: &[u8]);

    /// Returns whether descriptors that come beside the bytes of a client are taken. Those of other
    /// clients are closed by the kernel.
    fn takes_descriptors(&self, client: ClientId) -> bool {
        let _ = client;
        false
    }

    /// Takes descriptors of a client, which came with the bytes of the next [`Service::receive`].
    fn receive_descriptors(&mut self, client: ClientId, descriptors: Vec<OwnedFd>) {
        let _ = (client, descriptors);
    }

    /// Records that nothing more will come from a client. `unread` is the number of bytes that were
    /// written to it and that it left unread, where the kernel reports it.
    fn input_ended(&mut self, now: Instant, client: ClientId, unread: u64);

    /// Returns the bytes that wait for a client, as many as one write takes at best.
    fn output(&self, client: ClientId) -> &[u8];

    /// Removes `count` bytes, which have been written, from a client's output.
    fn wrote(&mut self, now: Instant, client: ClientId, count: usize);

    /// Removes a client that has gone: nothing more comes from it, and nothing reaches it.
    fn disconnect(&mut self, now: Instant, client: ClientId);

    /// Returns a client whose connection is to be closed, and removes it.
    fn take_finished(&mut self, now: Instant) -> Option<ClientId>;

    /// Handles messages that other threads have left, and does what is due. Returns `true` when
    /// there may be more.
    fn work(&mut self, now: Instant) -> bool;

    /// Returns the time at which to call [`Service::work`] even if nothing has happened.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Puts last messages into the clients' outputs, because the server stops.
    fn stop(&mut self, now: Instant);
}
