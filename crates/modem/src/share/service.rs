//! What a service is: bytes of its clients and time in, bytes for its clients out.

use std::time::Instant;

/// Names a client among those of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u64);

/// Where a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// The abstract socket of mbim-proxy: the client says first which modem it means.
    Public,
    /// The same, by somebody who is let in beside its owner.
    PublicGuest,
    /// A socket in the runtime directory.
    Private,
    /// The same, by somebody who is let in beside its owner.
    PrivateGuest,
    /// A terminal: whoever types into it by mistake is borne with.
    Terminal,
}

impl Entrance {
    /// Returns whether the client is neither root nor the user who runs this process.
    pub(crate) const fn is_guest(self) -> bool {
        matches!(self, Self::PublicGuest | Self::PrivateGuest)
    }
}

/// A service for local programs. No I/O: the server moves the bytes.
pub(crate) trait Service: Send {
    /// A client has come in. `None` turns it away.
    fn connect(&mut self, now: Instant, entrance: Entrance) -> Option<ClientId>;

    /// Returns whether another terminal is to be offered.
    fn has_room(&self) -> bool {
        true
    }

    /// Returns the last words for a client that is turned away, with the reason.
    fn turned_away(&self, why: &str) -> Vec<u8> {
        let _ = why;
        Vec::new()
    }

    /// Returns how many bytes are wanted of a client at present.
    fn room(&self, client: ClientId) -> usize;

    /// Takes bytes of a client, at most [`Service::room`].
    fn receive(&mut self, now: Instant, client: ClientId, bytes: &[u8]);

    /// Nothing more will come from a client. `unread` is the number of bytes that were written to
    /// it and that it left unread, where that can be told.
    fn input_ended(&mut self, now: Instant, client: ClientId, unread: u64);

    /// Returns the bytes that wait for a client, as many as one write takes at best.
    fn output(&self, client: ClientId) -> &[u8];

    /// `count` bytes of the output have been written.
    fn wrote(&mut self, now: Instant, client: ClientId, count: usize);

    /// A client has gone: nothing more comes from it, and nothing reaches it.
    fn disconnect(&mut self, now: Instant, client: ClientId);

    /// Returns a client to hang up on. It is forgotten thereby.
    fn take_finished(&mut self, now: Instant) -> Option<ClientId>;

    /// Takes what other threads have left, and does what is due. `true` when there may be more.
    fn work(&mut self, now: Instant) -> bool;

    /// Returns when to call [`Service::work`] without anything having happened.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The server stops: last words are to be said.
    fn stop(&mut self, now: Instant);
}
