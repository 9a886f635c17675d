//! TCP flows: one between a program of this machine and a host beyond the modem, byte for byte.
//!
//! Each has two threads, one a direction, and ends when both ends have closed. Every event of one
//! end reaches the other unchanged: a half-closed flow continues in the other direction, and a
//! reset is a reset.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream as Local};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use uwwan_netstack::client::TcpStream as Remote;

/// Largest number of flows and clients at a time.
pub const MOST: usize = 128;
/// Number of bytes that are moved at a time.
const PIECE: usize = 64 << 10;
/// Size of a thread's stack in bytes, beside the piece that it moves.
const STACK: usize = 256 << 10;
/// Time within which a client of a proxy has to send its request.
pub const TIME: Duration = Duration::from_secs(20);
/// Time for which a client keeps its place for certain before it has sent its request.
const GRACE: Duration = Duration::from_secs(1);
/// Time without a byte after which the kernel probes whether a client is still there.
const SILENCE: Duration = Duration::from_secs(60);

/// The places for flows. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// The occupied places in that order, with the clients that have not sent their requests.
    places: BTreeMap<u64, Option<Silent>>,
}

/// A client that has not sent its request.
#[derive(Debug)]
struct Silent {
    since: Instant,
    client: Arc<Local>,
}

/// An occupied place, which is freed when this value is dropped.
#[derive(Debug)]
pub struct Place {
    all: Places,
    number: u64,
}

impl Places {
    /// Takes a place for good, if one is free.
    pub fn take(&self) -> Option<Place> {
        self.enter(self.lock(), None)
    }

    /// Takes a place for a client, if one is free. When none is, the client that has been silent
    /// longest loses its own, unless it came within the last second.
    pub fn take_for(&self, client: &Arc<Local>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.places.len() >= MOST {
            let late = |silent: &Silent| silent.since.elapsed() >= GRACE;
            let mut places = taken.places.iter();
            let oldest = places.find(|(_, silent)| silent.as_ref().is_some_and(late));
            let number = oldest.map(|(number, _)| *number)?;
            if let Some(Some(silent)) = taken.places.remove(&number) {
                // The client's thread reads the end, and ends.
                let _ = silent.client.shutdown(Shutdown::Both);
            }
        }
        let silent = Silent {
            since: Instant::now(),
            client: Arc::clone(client),
        };
        self.enter(taken, Some(silent))
    }

    fn enter(&self, mut taken: MutexGuard<'_, Taken>, silent: Option<Silent>) -> Option<Place> {
        if taken.places.len() >= MOST {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        taken.places.insert(number, silent);
        let all = self.clone();
        Some(Place { all, number })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Keeps the place whichever clients come later, because its client has sent its request.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`] when another client has the place already.
    pub fn keep(&self) -> io::Result<()> {
        match self.all.lock().places.get_mut(&self.number) {
            Some(place) => {
                *place = None;
                Ok(())
            }
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().places.remove(&self.number);
    }
}

/// Starts a thread for a client. A failure to start it is logged.
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
/// The system's error, when the client's socket cannot be used.
pub fn relay(local: &Local, remote: Remote) -> io::Result<()> {
    local.set_read_timeout(None)?;
    local.set_write_timeout(None)?;
    local.set_nodelay(true)?;
    // Without keepalive, a client that has vanished would keep its place for ever.
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
                // Bytes that one end has lost have to be lost for the other as well, and must not look
                // like the end: the socket is reset when it is closed, and nothing more is read from
                // it.
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

/// Moves bytes from one end to the other, until the first ends. Returns whether it has ended
/// without an error.
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
    use std::net::TcpListener;

    use super::*;

    /// Returns a client as the listener accepts it, and the client's own end.
    fn client(listener: &TcpListener) -> (Arc<Local>, Local) {
        let own = Local::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(listener.accept().unwrap().0), own)
    }

    #[test]
    fn places_run_out_and_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, _own) = client(&listener);
        let places = Places::default();
        let mut taken: Vec<Place> = (0..MOST).map_while(|_| places.take_for(&one)).collect();
        assert_eq!(taken.len(), MOST);
        assert!(places.take_for(&one).is_none(), "all have come just now");
        taken.pop();
        assert!(places.take_for(&one).is_some());
    }

    #[test]
    fn who_has_been_silent_longest_makes_way_and_who_has_a_flow_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let places = Places::default();
        let (kept, mut kept_own) = client(&listener);
        let owner = places.take_for(&kept).unwrap();
        owner.keep().unwrap();
        let (silent, mut silent_own) = client(&listener);
        let silent_place = places.take_for(&silent).unwrap();
        let (other, _own) = client(&listener);
        let _taken: Vec<Place> = (2..MOST).map_while(|_| places.take_for(&other)).collect();
        assert!(places.take_for(&other).is_none());
        std::thread::sleep(GRACE);
        let new = places.take_for(&other).unwrap();
        assert!(matches!(silent_own.read(&mut [0]), Ok(0)), "it is told");
        kept_own.set_nonblocking(true).unwrap();
        let error = kept_own.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // The place that was lost is neither kept nor freed a second time.
        assert!(silent_place.keep().is_err());
        drop(silent_place);
        assert_eq!(places.lock().places.len(), MOST);
        drop(new);
        drop(owner);
        assert_eq!(places.lock().places.len(), MOST - 2);
    }
}
