//! Datagrams between programs of this machine and hosts beyond the modem.
//!
//! One socket of this machine serves all programs: it is opened at the start, because later no socket
//! can be had. Each program, known by the address it sends from, has a socket of the built-in stack, to
//! which what comes for it is addressed. A thread carries what comes back.
//!
//! * A forwarded port leads to one host. A program is forgotten when nothing has passed for a while.
//! * A SOCKS client (RFC 1928, 7) has an association as long as its connection lasts, and each datagram
//!   tells its host.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as Local};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uwwan_netstack::Error;
use uwwan_netstack::client::{Client, UdpSocket as Remote};

use super::address;
use super::flow;
use super::target::{Host, Target};
use uwwan_modem::host::Userspace;

/// Number of programs that a socket serves at a time.
const MOST: usize = 64;
/// Time without a datagram after which a program of a forwarded port is forgotten (RFC 4787, REQ-5).
const IDLE: Duration = Duration::from_secs(120);
/// Time after which a thread looks whether its program is still there.
const LOOK: Duration = Duration::from_secs(2);
/// Number of datagrams of a program that wait for a name.
const QUEUE: usize = 64;
/// Number of names whose addresses an association remembers.
const NAMES: usize = 64;
/// Bytes before the address in a SOCKS datagram: two reserved ones and the number of the fragment.
const RESERVED: [u8; 3] = [0; 3];
/// Size of the largest datagram with its header in bytes.
const LARGEST: usize = 65_535 + 300;

/// Receives what programs send, and goes on whatever they do.
fn receive(local: &Local, mut each: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match local.recv_from(&mut buffer) {
            Ok((length, from)) => each(buffer.get(..length).unwrap_or_default(), from),
            // An earlier answer was refused.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!("datagrams are no longer taken: {error}");
                return;
            }
        }
    }
}

// --- a forwarded port ---

/// A program that uses a forwarded port.
struct Peer {
    remote: Arc<Remote>,
    to: SocketAddr,
    /// When a datagram passed last.
    used: Arc<Mutex<Instant>>,
}

/// Forwards what comes at a socket to a host, and back.
pub fn forward(local: &Arc<Local>, to: &Target, network: &Userspace) {
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    receive(local, |datagram, from| {
        peers.retain(|_, peer| held(&peer.used).elapsed() < IDLE);
        if !peers.contains_key(&from) && peers.len() < MOST {
            match begin(local, to, network, from) {
                Ok(peer) => drop(peers.insert(from, peer)),
                Err(error) => tracing::debug!("UDP to {to}: {error}"),
            }
        }
        if let Some(peer) = peers.get(&from) {
            *held(&peer.used) = Instant::now();
            if let Err(error) = peer.remote.send_to(datagram, peer.to) {
                tracing::debug!("UDP to {to}: {error}");
                peers.remove(&from);
            }
        }
    });
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn begin(
    local: &Arc<Local>,
    target: &Target,
    network: &Userspace,
    from: SocketAddr,
) -> io::Result<Peer> {
    let network = network.client()?;
    let to = target.addresses(&network)?;
    let to = *to.first().ok_or(io::ErrorKind::NotFound)?;
    let peer = Peer {
        remote: Arc::new(network.udp()?),
        to,
        used: Arc::new(Mutex::new(Instant::now())),
    };
    let (local, remote, used) = (
        Arc::clone(local),
        Arc::clone(&peer.remote),
        Arc::clone(&peer.used),
    );
    flow::spawn("uwwan-udp", move || {
        let mut buffer = vec![0; LARGEST];
        while held(&used).elapsed() < IDLE {
            match remote.receive_from(&mut buffer, LOOK) {
                Ok((length, who)) if who == to => {
                    *held(&used) = Instant::now();
                    let _ = local.send_to(buffer.get(..length).unwrap_or_default(), from);
                }
                Ok(_) => {}
                Err(Error::Timeout { .. }) => {}
                Err(_) => return,
            }
        }
    });
    Ok(peer)
}

// --- SOCKS ---

/// The associations of a SOCKS proxy.
pub struct Associations {
    local: Arc<Local>,
    port: u16,
    open: Mutex<Vec<Arc<Entry>>>,
}

/// An association as the proxy's socket knows it.
struct Entry {
    /// The client that has opened it.
    client: IpAddr,
    /// The port it sends from, once that is known.
    port: Mutex<Option<u16>>,
    queue: SyncSender<Vec<u8>>,
    closed: AtomicBool,
}

/// An association, which ends when this is dropped.
pub struct Association {
    all: Arc<Associations>,
    entry: Arc<Entry>,
}

impl Drop for Association {
    fn drop(&mut self) {
        self.entry.closed.store(true, Ordering::Release);
        held(&self.all.open).retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

impl Associations {
    /// Begins to take datagrams at a socket.
    ///
    /// # Errors
    /// That of the system when the socket has no port.
    pub fn start(local: Local) -> io::Result<Arc<Self>> {
        let all = Arc::new(Self {
            port: local.local_addr()?.port(),
            local: Arc::new(local),
            open: Mutex::default(),
        });
        let taking = Arc::clone(&all);
        flow::spawn("uwwan-socks-udp", move || {
            receive(&taking.local, |datagram, from| taking.take(datagram, from));
        });
        Ok(all)
    }

    /// Returns the port that takes datagrams.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Opens an association for a client, which sends from that port where it is known.
    ///
    /// # Errors
    /// Those of [`Client::udp`], and [`Error::TooManySockets`].
    pub fn open(
        self: &Arc<Self>,
        network: &Arc<Client>,
        client: IpAddr,
        port: Option<u16>,
    ) -> Result<Association, Error> {
        let remote = Arc::new(network.udp()?);
        let (queue, waiting) = sync_channel(QUEUE);
        let entry = Arc::new(Entry {
            client,
            port: Mutex::new(port),
            queue,
            closed: AtomicBool::new(false),
        });
        {
            let mut open = held(&self.open);
            if open.len() >= MOST {
                return Err(Error::TooManySockets(MOST));
            }
            open.push(Arc::clone(&entry));
        }
        let (all, there, back) = (Arc::clone(self), Arc::clone(&entry), Arc::clone(&remote));
        flow::spawn("uwwan-socks-back", move || all.bring_back(&there, &back));
        let (there, network) = (Arc::clone(&entry), Arc::clone(network));
        flow::spawn("uwwan-socks-out", move || {
            send_out(&there, &waiting, &remote, &network);
        });
        Ok(Association {
            all: Arc::clone(self),
            entry,
        })
    }

    /// Puts a datagram where its association's thread finds it. What belongs to none is dropped
    /// (RFC 1928, 7), as is what is more than the thread can send.
    fn take(&self, datagram: &[u8], from: SocketAddr) {
        let client = from.ip().to_canonical();
        let open = held(&self.open);
        let theirs = || open.iter().filter(|entry| entry.client == client);
        let known = theirs().find(|entry| *held(&entry.port) == Some(from.port()));
        let entry = known.or_else(|| {
            // The first datagram tells from where the client sends.
            let new = theirs().find(|entry| held(&entry.port).is_none())?;
            *held(&new.port) = Some(from.port());
            Some(new)
        });
        if let Some(entry) = entry {
            let _ = entry.queue.try_send(datagram.to_vec());
        }
    }

    /// Carries what comes for an association to its client.
    fn bring_back(&self, entry: &Entry, remote: &Remote) {
        let mut buffer = vec![0; LARGEST];
        while !entry.closed.load(Ordering::Acquire) {
            match remote.receive_from(&mut buffer, LOOK) {
                Ok((length, who)) => {
                    let Some(port) = *held(&entry.port) else {
                        continue;
                    };
                    let datagram = buffer.get(..length).unwrap_or_default();
                    let framed = [&RESERVED[..], &address::bytes(who), datagram].concat();
                    let client = self.reachable(entry.client);
                    let _ = self.local.send_to(&framed, (client, port));
                }
                Err(Error::Timeout { .. }) => {}
                Err(_) => return,
            }
        }
    }

    /// Returns a client's address in the family of the proxy's socket.
    fn reachable(&self, client: IpAddr) -> IpAddr {
        match (client, self.local.local_addr()) {
            (IpAddr::V4(four), Ok(SocketAddr::V6(_))) => four.to_ipv6_mapped().into(),
            _ => client,
        }
    }
}

/// Sends what waits for an association until that has ended. A name's first address is remembered.
fn send_out(entry: &Entry, waiting: &Receiver<Vec<u8>>, remote: &Remote, network: &Client) {
    let mut names: HashMap<String, IpAddr> = HashMap::new();
    while !entry.closed.load(Ordering::Acquire) {
        let Ok(datagram) = waiting.recv_timeout(LOOK) else {
            continue;
        };
        // A fragment, which nobody sends, is dropped (RFC 1928, 7).
        let Some(framed) = datagram.strip_prefix(&RESERVED) else {
            continue;
        };
        let Some((target, payload)) = address::split(framed) else {
            continue;
        };
        let known = match &target.host {
            Host::Name(name) => names.get(name).copied(),
            Host::Address(_) => None,
        };
        let address = match known {
            Some(address) => Some(SocketAddr::new(address, target.port)),
            None => {
                let found = target.addresses(network).unwrap_or_default();
                found.first().copied()
            }
        };
        let Some(to) = address else { continue };
        if let Host::Name(name) = target.host {
            if names.len() >= NAMES {
                names.clear();
            }
            names.insert(name, to.ip());
        }
        if let Err(error) = remote.send_to(payload, to) {
            tracing::debug!("SOCKS datagram to {to}: {error}");
        }
    }
}
