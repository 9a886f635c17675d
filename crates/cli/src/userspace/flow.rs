//! TCP flows: one between a program of this machine and a host beyond the modem, byte for byte.
//!
//! Each has two threads, one a direction, and ends when both ends have closed. What either end does
//! reaches the other as it is: a half-closed flow goes on the other way, and a reset is a reset.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream as Local};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use uwwan_netstack::client::TcpStream as Remote;

/// Number of flows and clients that there may be at a time.
pub const MOST: usize = 128;
/// Bytes that are moved at a time.
const PIECE: usize = 64 << 10;
/// Size of a thread's stack in bytes, beside the piece that it moves.
const STACK: usize = 256 << 10;
/// Time in which a client of a proxy is to say what it wants.
pub const TIME: Duration = Duration::from_secs(20);
/// Time without a byte after which the kernel asks whether a client is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// The places for flows. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<AtomicUsize>);

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Places {
    /// Takes a place, if one is left.
    pub fn take(&self) -> Option<Place> {
        let more = |taken: usize| (taken < MOST).then_some(taken + 1);
        let taken = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Starts a thread for a client. One that cannot be started is told in the log.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let builder = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK);
    if let Err(error) = builder.spawn(work) {
        tracing::warn!("a client is not served: no thread can be had: {error}");
    }
}

/// Moves bytes both ways until both ends have closed.
///
/// # Errors
/// Those of the system, when the client's socket cannot be used.
pub fn relay(local: &Local, remote: Remote) -> io::Result<()> {
    local.set_read_timeout(None)?;
    local.set_write_timeout(None)?;
    local.set_nodelay(true)?;
    // Else a client that has vanished would hold its place for ever.
    sockopt::set_socket_keepalive(local, true)?;
    sockopt::set_tcp_keepidle(local, SILENCE)?;
    let remote = &remote;
    std::thread::scope(|scope| {
        let down = std::thread::Builder::new()
            .name("uwwan-flow-down".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, move || {
                if moved(remote, local) {
                    let _ = local.shutdown(Shutdown::Write);
                    return;
                }
                // What one end has lost, the other is to lose too, not to take for the end: the socket
                // is reset when it is closed, and nothing more is read from it.
                remote.reset();
                let _ = sockopt::set_socket_linger(local, Some(Duration::ZERO));
                let _ = local.shutdown(Shutdown::Read);
            });
        if let Err(error) = down {
            remote.reset();
            return Err(error);
        }
        if moved(local, remote) {
            remote.shutdown_write();
        } else {
            remote.reset();
        }
        Ok(())
    })
}

/// Moves bytes from one end to the other, until the first ends. Returns whether it has ended well.
fn moved(mut from: impl Read, mut to: impl Write) -> bool {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return true,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        if to
            .write_all(piece.get(..length).unwrap_or_default())
            .is_err()
        {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_run_out_and_come_back() {
        let places = Places::default();
        let mut taken: Vec<Place> = (0..MOST).map_while(|_| places.take()).collect();
        assert_eq!(taken.len(), MOST);
        assert!(places.take().is_none());
        taken.pop();
        assert!(places.take().is_some());
    }
}
