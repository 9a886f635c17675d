//! Datagrams between programs of this machine and hosts beyond the modem.
//!
//! One socket of this machine serves all programs: it is opened at the start, because no socket can be
//! made later. Each program, identified by the address it sends from, has a socket of the built-in
//! stack, to which the answers for it are addressed. A thread carries the answers back.
//!
//! * A forwarded port leads to one host. A program is forgotten when no datagram has passed for a while.
//! * A SOCKS client (RFC 1928, 7) has an association as long as its connection lasts, and each datagram
//!   names its host.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as Local};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
/// Interval at which a thread checks whether its program is still there.
const LOOK: Duration = Duration::from_secs(2);
/// Number of datagrams of a program that wait for a name, and number of their bytes.
const QUEUE: usize = 64;
const QUEUE_BYTES: usize = 256 << 10;
/// Number of names whose addresses an association remembers.
const NAMES: usize = 64;
/// Bytes before the address in a SOCKS datagram: two reserved ones and the number of the fragment.
const RESERVED: [u8; 3] = [0; 3];
/// Size of the largest datagram with its header in bytes.
const LARGEST: usize = 65_535 + 300;

/// Receives the datagrams of programs, and continues after any error of theirs.
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

/// Makes a queue for the datagrams of a program.
fn queue() -> (Outbox, Waiting) {
    let (sender, receiver) = sync_channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        sender,
        bytes: Arc::clone(&bytes),
    };
    (outbox, Waiting { receiver, bytes })
}

/// The end of a queue where datagrams are put. A datagram that has no room is dropped.
struct Outbox {
    sender: SyncSender<Vec<u8>>,
    /// Bytes in the queue.
    bytes: Arc<AtomicUsize>,
}

impl Outbox {
    fn put(&self, datagram: &[u8]) {
        let length = datagram.len();
        let before = self.bytes.fetch_add(length, Ordering::AcqRel);
        let fits = before + length <= QUEUE_BYTES;
        if !fits || self.sender.try_send(datagram.to_vec()).is_err() {
            self.bytes.fetch_sub(length, Ordering::AcqRel);
        }
    }
}

/// The end of a queue from which datagrams are taken.
struct Waiting {
    receiver: Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Waiting {
    /// Returns the next datagram, or `None` when there is none for a while.
    fn next(&self) -> Option<Vec<u8>> {
        let datagram = self.receiver.recv_timeout(LOOK).ok()?;
        self.bytes.fetch_sub(datagram.len(), Ordering::AcqRel);
        Some(datagram)
    }
}

// --- a forwarded port ---

/// A program that uses a forwarded port.
struct Peer {
    outbox: Outbox,
    state: Arc<PeerState>,
}

struct PeerState {
    /// Time at which a datagram passed last.
    used: Mutex<Instant>,
    /// Whether its host can no longer be reached.
    ended: AtomicBool,
}

impl PeerState {
    fn lives(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && held(&self.used).elapsed() < IDLE
    }

    fn is_used(&self) {
        *held(&self.used) = Instant::now();
    }
}

/// Forwards the datagrams of a socket to a host, and the answers back.
pub fn forward(local: &Arc<Local>, to: &Target, network: &Userspace) {
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    receive(local, |datagram, from| {
        peers.retain(|_, peer| peer.state.lives());
        if !peers.contains_key(&from) && peers.len() < MOST {
            peers.insert(from, begin(local, to, network, from));
        }
        if let Some(peer) = peers.get(&from) {
            peer.state.is_used();
            peer.outbox.put(datagram);
        }
    });
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to serve a program, in a thread: its host's name may take a while to look up.
fn begin(local: &Arc<Local>, to: &Target, network: &Userspace, from: SocketAddr) -> Peer {
    let (outbox, waiting) = queue();
    let state = Arc::new(PeerState {
        used: Mutex::new(Instant::now()),
        ended: AtomicBool::new(false),
    });
    let peer = Peer {
        outbox,
        state: Arc::clone(&state),
    };
    let (local, to, network) = (Arc::clone(local), to.clone(), network.clone());
    flow::spawn("uwwan-udp-out", move || {
        if let Err(error) = send_on(&local, &to, &network, from, &waiting, &state) {
            tracing::debug!("UDP to {to}: {error}");
        }
        state.ended.store(true, Ordering::Release);
    });
    peer
}

/// Sends a program's datagrams to its host, as long as that works.
fn send_on(
    local: &Arc<Local>,
    target: &Target,
    network: &Userspace,
    from: SocketAddr,
    waiting: &Waiting,
    state: &Arc<PeerState>,
) -> io::Result<()> {
    let network = network.client()?;
    let to = target.addresses(&network)?;
    let to = *to.first().ok_or(io::ErrorKind::NotFound)?;
    let remote = Arc::new(network.udp()?);
    let (back, local, theirs) = (Arc::clone(&remote), Arc::clone(local), Arc::clone(state));
    flow::spawn("uwwan-udp-back", move || {
        let mut buffer = vec![0; LARGEST];
        while theirs.lives() {
            match back.receive_from(&mut buffer, LOOK) {
                Ok((length, who)) if who == to => {
                    theirs.is_used();
                    let _ = local.send_to(buffer.get(..length).unwrap_or_default(), from);
                }
                Ok(_) | Err(Error::Timeout { .. }) => {}
                Err(_) => return,
            }
        }
    });
    while state.lives() {
        if let Some(datagram) = waiting.next() {
            match remote.send_to(&datagram, to) {
                // The datagram is lost, as a network may lose it, and the next one may fit.
                Ok(()) | Err(Error::TooLarge(..) | Error::Timeout { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

// --- SOCKS ---

/// The associations of a SOCKS proxy.
pub struct Associations {
    local: Arc<Local>,
    port: u16,
    open: Mutex<Vec<Arc<Entry>>>,
}

/// An association, as the proxy's socket knows it.
struct Entry {
    /// The client that has opened the association.
    client: IpAddr,
    /// The port from which the client sends, once it is known.
    port: Mutex<Option<u16>>,
    outbox: Outbox,
    closed: AtomicBool,
}

/// An association, which ends when this value is dropped.
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
    /// Fails when the socket has no port.
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
        let (outbox, waiting) = queue();
        let entry = Arc::new(Entry {
            client,
            port: Mutex::new(port),
            outbox,
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

    /// Puts a datagram into the queue of its association's thread. A datagram that belongs to no
    /// association is dropped (RFC 1928, 7), as is one beyond the room of the queue.
    fn take(&self, datagram: &[u8], from: SocketAddr) {
        let client = from.ip().to_canonical();
        let open = held(&self.open);
        let theirs = || open.iter().filter(|entry| entry.client == client);
        let known = theirs().find(|entry| *held(&entry.port) == Some(from.port()));
        let entry = known.or_else(|| {
            // The first datagram shows the port from which the client sends.
            let new = theirs().find(|entry| held(&entry.port).is_none())?;
            *held(&new.port) = Some(from.port());
            Some(new)
        });
        if let Some(entry) = entry {
            entry.outbox.put(datagram);
        }
    }

    /// Carries the datagrams for an association to its client.
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

/// Sends the waiting datagrams of an association until that has ended. A name's first address is
/// remembered.
fn send_out(entry: &Entry, waiting: &Waiting, remote: &Remote, network: &Client) {
    let mut names: HashMap<String, IpAddr> = HashMap::new();
    while !entry.closed.load(Ordering::Acquire) {
        let Some(datagram) = waiting.next() else {
            continue;
        };
        // A fragment, which no known client sends, is dropped (RFC 1928, 7).
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
