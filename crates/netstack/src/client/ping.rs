//! ICMP echo requests.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, SendError, Socket};
use smoltcp::wire::Ipv6Address;

use super::{Client, State, Wanted};
use crate::echo::{self, HEADER};
use crate::error::Error;
use crate::pattern;

impl Client {
    /// Sends one echo request with `payload` bytes of data and waits for its reply. Returns the
    /// round-trip time.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Unreachable`] without an address of that family,
    /// [`Error::TooLarge`], [`Error::TooManySockets`], [`Error::Stopped`].
    pub fn ping(&self, to: IpAddr, payload: usize, timeout: Duration) -> Result<Duration, Error> {
        let mut state = self.shared.lock();
        state.check_running()?;
        state.check_source(to)?;
        state.check_room(false)?;
        let most = match to {
            IpAddr::V4(_) => 65_535 - 20 - HEADER,
            IpAddr::V6(_) => state.core.config.mtu - 40 - HEADER,
        };
        if payload > most {
            return Err(Error::TooLarge(payload, most));
        }
        let ident = state.next_ident;
        state.next_ident = ident.wrapping_add(1);
        let mut data = vec![0; payload];
        pattern::fill(u64::from(ident), &mut data);

        let queue = || {
            PacketBuffer::new(
                vec![PacketMetadata::EMPTY; 4],
                vec![0; 4 * (HEADER + payload)],
            )
        };
        let mut socket = Socket::new(queue(), queue());
        let mut message = vec![0; HEADER + data.len()];
        if socket.bind(Endpoint::Ident(ident)).is_err() {
            return Err(Error::Unreachable(to));
        }
        // The stack computes checksums when it sends, because the source address is not known here.
        let checksums = ChecksumCapabilities::ignored();
        let source = Ipv6Address::UNSPECIFIED;
        echo::emit(&mut message, source, to, ident, 1, &data, &checksums);
        match socket.send_slice(&message, to.into()) {
            Ok(()) => {}
            Err(SendError::Unaddressable) => return Err(Error::Unreachable(to)),
            Err(SendError::BufferFull) => return Err(Error::TooLarge(payload, most)),
        }
        let handle = state.core.sockets.add(socket);
        let sent = Instant::now();
        state.act(&self.shared);
        drop(state);
        let outcome =
            self.shared
                .wait_for(Wanted::Reply(handle), Some(timeout), |state: &mut State| {
                    let socket = state.core.sockets.get_mut::<Socket<'_>>(handle);
                    while let Ok((reply, from)) = socket.recv() {
                        if IpAddr::from(from) == to && is_reply(reply, to, ident, &data) {
                            return Some(sent.elapsed());
                        }
                    }
                    None
                });
        self.shared.lock().core.sockets.remove(handle);
        outcome?.ok_or(Error::Timeout {
            peer: to.to_string(),
            waited: timeout,
        })
    }
}

/// Returns whether a message that passed the checks of the stack is the reply to the request. The
/// checksum of ICMPv6 covers addresses that are not known here; the stack has verified it.
fn is_reply(message: &[u8], to: IpAddr, ident: u16, data: &[u8]) -> bool {
    let kind = match to {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 129,
    };
    message.first() == Some(&kind)
        && message.get(4..6) == Some(&ident.to_be_bytes())
        && message.get(6..8) == Some(&1_u16.to_be_bytes())
        && message.get(HEADER..) == Some(data)
}
