//! A host without a kernel interface.
//!
//! One thread moves packets; everything else is blocking calls on handles that any thread may make.
//! A handle that reads or writes lets the stack send at once, on the calling thread, and wakes the
//! packet thread only when its deadline moved. After each poll the packet thread wakes the threads
//! whose socket has an event for them, and no others.
//!
//! ```no_run
//! # use std::{io::{Read, Write}, time::Duration};
//! # use uwwan_netstack::{client::{Client, ClientConfig}, memory};
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (link, _modem) = memory::pair(memory::Capacity::default());
//! let client = Client::start(
//!     ClientConfig { addresses: vec![("10.0.0.2".parse()?, 30)], ..ClientConfig::default() },
//!     link,
//! )?;
//! let rtt = client.ping("1.1.1.1".parse()?, 56, Duration::from_secs(5))?;
//! let mut stream = client.connect("1.1.1.1:80".parse()?, Duration::from_secs(10))?;
//! stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
//! let mut answer = Vec::new();
//! stream.read_to_end(&mut answer)?;
//! # Ok(()) }
//! ```

mod answer;
mod flight;
mod lookup;
mod ping;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::{self, Socket};

use crate::core::{Core, StackConfig};
use crate::error::Error;
use crate::link::{Gone, PacketLink, Wait};
use crate::port::LinkCounters;

use flight::{Drains, Flight};
pub use tcp::TcpStream;
pub use udp::UdpSocket;

/// First port of the dynamic range (RFC 6335 section 6).
const FIRST_DYNAMIC_PORT: u16 = 49_152;
/// Time that the last data of a closed stream may take to be acknowledged.
const LINGER: Duration = Duration::from_secs(60);
/// Largest number of sockets other than TCP.
const MAX_OTHER_SOCKETS: usize = 256;
/// Largest number of name servers that the stack holds.
const MAX_NAME_SERVERS: usize = 4;

/// Configuration of a host.
#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    /// Addresses of the host, each with the length of its prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Name servers, of which the first four are used.
    pub name_servers: Vec<IpAddr>,
    /// Rest of the configuration. Its addresses are not used.
    pub stack: StackConfig,
}

/// A host without a kernel interface; see the [module](self). Dropping it stops the stack: calls on
/// the remaining streams and sockets fail with [`Error::Stopped`].
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    waiter: Arc<dyn Wait>,
}

/// Event that a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The stream has data to read, or has ended.
    Read(SocketHandle),
    /// The stream has room to write, or has ended.
    Write(SocketHandle),
    /// The opening of the stream has succeeded or failed.
    Open(SocketHandle),
    /// A datagram has arrived.
    Receive(SocketHandle),
    /// There is room for a datagram.
    Send(SocketHandle),
    /// A reply to an echo request has arrived.
    Reply(SocketHandle),
}

/// A thread that waits.
struct Waiting {
    number: u64,
    wanted: Wanted,
    thread: Thread,
}

struct State {
    core: Core<Box<dyn PacketLink>>,
    waiting: Vec<Waiting>,
    /// Number of the next thread that waits.
    next_waiting: u64,
    /// Bound on the bytes that each stream may have in flight.
    flights: HashMap<SocketHandle, Flight>,
    drains: Drains,
    /// Time until which the packet thread sleeps unless it is woken: `None` while it does not
    /// sleep, `Some(None)` when it sleeps for ever.
    asleep: Option<Option<Instant>>,
    /// TCP sockets whose handle was dropped, each with the time at which it is reset if its last
    /// data is not acknowledged by then.
    orphans: Vec<(SocketHandle, Instant)>,
    name_servers: Vec<IpAddr>,
    next_port: u16,
    next_ident: u16,
    stopped: bool,
}

impl Client {
    /// Starts a stack on one end of `link`.
    ///
    /// # Errors
    /// Returns the fault of the configuration, or [`Error::System`] when the system gives no
    /// thread.
    pub fn start(config: ClientConfig, link: impl PacketLink + 'static) -> Result<Client, Error> {
        let waiter = link.waiter();
        let mut stack = config.stack;
        stack.addresses = config.addresses;
        let seed = stack.seed;
        let link: Box<dyn PacketLink> = Box::new(link);
        let core = Core::new(stack, link, Instant::now())?;
        let mut state = State {
            core,
            waiting: Vec::new(),
            next_waiting: 0,
            flights: HashMap::new(),
            drains: Drains::new(Instant::now()),
            asleep: None,
            orphans: Vec::new(),
            name_servers: Vec::new(),
            next_port: FIRST_DYNAMIC_PORT + (seed % 16_000) as u16,
            next_ident: (seed >> 32) as u16,
            stopped: false,
        };
        state.set_name_servers(&config.name_servers);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            waiter,
        });
        let inside = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("uwwan-netstack".into())
            .spawn(move || inside.run())
            .map_err(Error::system("start the stack's thread"))?;
        Ok(Client {
            shared,
            thread: Some(thread),
        })
    }

    /// Replaces addresses and name servers. TCP connections from an address that stays are kept;
    /// those from an address that goes are closed.
    ///
    /// # Errors
    /// Returns the fault of the addresses; then nothing has changed.
    pub fn reconfigure(
        &self,
        addresses: &[(IpAddr, u8)],
        name_servers: &[IpAddr],
    ) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.core.set_addresses(addresses)?;
        state.set_name_servers(name_servers);
        state.act(&self.shared);
        // The stack has closed the streams whose address is gone.
        wake(state);
        Ok(())
    }

    /// Returns counters of what has crossed the link.
    #[must_use]
    pub fn counters(&self) -> LinkCounters {
        self.shared.lock().core.port.counters
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.waiter.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the stack's thread panicked");
        }
        wake(self.shared.lock());
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let now = Instant::now();
            let mut state = self.lock();
            state.asleep = None;
            let deadline = state.poll(now);
            if state.core.port.link.closed() {
                state.stopped = true;
            }
            if state.stopped {
                // Handles may keep the stack for long, so the other end of the link learns of the
                // stop here.
                state.core.port.link = Box::new(Gone);
                wake(state);
                return;
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                wake(state);
                // Other threads get the lock in between.
                std::thread::yield_now();
                continue;
            }
            state.asleep = Some(deadline);
            wake(state);
            self.waiter
                .wait(deadline.map(|at| at.saturating_duration_since(now)));
        }
    }

    /// Tries `attempt` at once and after each event of the kind `wanted`, until it has a result.
    /// Returns `None` when the time is over first.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the stack stops first.
    fn wait_for<R>(
        &self,
        wanted: Wanted,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<Option<R>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if let Some(result) = attempt(&mut state) {
                state.act(self);
                return Ok(Some(result));
            }
            if state.stopped {
                return Err(Error::Stopped);
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let number = state.next_waiting;
            state.next_waiting += 1;
            let thread = std::thread::current();
            state.waiting.push(Waiting {
                number,
                wanted,
                thread,
            });
            drop(state);
            match left {
                None => std::thread::park(),
                Some(left) => std::thread::park_timeout(left),
            }
            state = self.lock();
            state.waiting.retain(|waiting| waiting.number != number);
        }
    }
}

/// Returns whether a connection is neither open nor refused.
fn is_opening(socket: &socket::tcp::Socket<'_>) -> bool {
    use socket::tcp::State;
    matches!(socket.state(), State::SynSent | State::SynReceived)
}

/// Wakes the threads that have something to wake for, after the lock of the stack is released.
fn wake(mut state: MutexGuard<'_, State>) {
    let woken = state.due();
    drop(state);
    for thread in woken {
        thread.unpark();
    }
}

impl State {
    fn poll(&mut self, now: Instant) -> Option<Instant> {
        let more = self.core.exchange(now);
        let orphans_due = self.remove_orphans(now);
        let deadline = if more {
            Some(now)
        } else {
            self.core.next_deadline(now)
        };
        match (deadline, orphans_due) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Removes the threads that are to be woken from the waiting ones, and returns them.
    fn due(&mut self) -> Vec<Thread> {
        let mut due = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|one| {
            let is_due = self.stopped || self.is_due(one.wanted);
            if is_due {
                due.push(one.thread.clone());
            }
            !is_due
        });
        self.waiting = waiting;
        due
    }

    fn is_due(&mut self, wanted: Wanted) -> bool {
        // The waiting thread holds the handle, so the socket exists.
        let sockets = &self.core.sockets;
        match wanted {
            Wanted::Read(handle) => {
                let socket = sockets.get::<socket::tcp::Socket<'_>>(handle);
                socket.can_recv() || !socket.may_recv()
            }
            Wanted::Write(handle) => {
                let socket = sockets.get::<socket::tcp::Socket<'_>>(handle);
                !socket.may_send() || self.room(handle) > 0
            }
            Wanted::Open(handle) => !is_opening(sockets.get::<socket::tcp::Socket<'_>>(handle)),
            Wanted::Receive(handle) => sockets.get::<socket::udp::Socket<'_>>(handle).can_recv(),
            Wanted::Send(handle) => sockets.get::<socket::udp::Socket<'_>>(handle).can_send(),
            Wanted::Reply(handle) => sockets.get::<socket::icmp::Socket<'_>>(handle).can_recv(),
        }
    }

    /// Returns how many bytes a stream may write.
    fn room(&mut self, handle: SocketHandle) -> usize {
        let socket = self.core.sockets.get::<socket::tcp::Socket<'_>>(handle);
        let (queued, most) = (socket.send_queue(), socket.send_capacity());
        let flight = self.flights.get_mut(&handle);
        let now = Instant::now();
        let room = flight.map_or(most, |flight| flight.room(queued, now, &mut self.drains));
        room.min(most.saturating_sub(queued))
    }

    /// Removes the orphans that have ended. Returns the time at which the next one is reset.
    fn remove_orphans(&mut self, now: Instant) -> Option<Instant> {
        let sockets = &mut self.core.sockets;
        self.orphans.retain(|&(handle, until)| {
            let socket = sockets.get_mut::<socket::tcp::Socket<'_>>(handle);
            let state = socket.state();
            if state == socket::tcp::State::Closed {
                sockets.remove(handle);
                return false;
            }
            if now >= until {
                // The reset is sent by the next poll, which also finds the socket closed.
                socket.abort();
            }
            true
        });
        self.orphans.iter().map(|&(_, until)| until.max(now)).min()
    }

    /// Lets the stack send what a handle caused, and wakes the packet thread if it would sleep too
    /// long.
    fn act(&mut self, shared: &Shared) {
        let now = Instant::now();
        let more = self.core.send(now);
        let Some(planned) = self.asleep else { return };
        let wanted = if more {
            Some(now)
        } else {
            self.core.next_deadline(now)
        };
        let sooner = match (wanted, planned) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(wanted), Some(planned)) => wanted < planned,
        };
        if sooner {
            self.asleep = None;
            shared.waiter.wake();
        }
    }

    fn set_name_servers(&mut self, servers: &[IpAddr]) {
        let usable = |server: &&IpAddr| !server.is_unspecified() && !server.is_multicast();
        let servers = servers.iter().filter(usable).take(MAX_NAME_SERVERS);
        self.name_servers = servers.copied().collect();
    }

    /// Checks that there may be one more TCP socket, or one more of the other kinds. Orphans that
    /// only wait for stray segments are removed if need be.
    ///
    /// # Errors
    /// [`Error::TooManySockets`].
    fn check_room(&mut self, tcp: bool) -> Result<(), Error> {
        let is_tcp = |socket: &Socket<'_>| matches!(socket, Socket::Tcp(_));
        let used = self
            .core
            .sockets
            .iter()
            .filter(|(_, socket)| is_tcp(socket) == tcp)
            .count();
        let limit = if tcp {
            self.core.config.max_tcp_sockets
        } else {
            MAX_OTHER_SOCKETS
        };
        if used < limit {
            return Ok(());
        }
        let before = self.orphans.len();
        if tcp {
            let sockets = &mut self.core.sockets;
            self.orphans.retain(|&(handle, _)| {
                let state = sockets.get::<socket::tcp::Socket<'_>>(handle).state();
                let done = matches!(
                    state,
                    socket::tcp::State::TimeWait | socket::tcp::State::Closed
                );
                if done {
                    sockets.remove(handle);
                }
                !done
            });
        }
        if self.orphans.len() < before {
            Ok(())
        } else {
            Err(Error::TooManySockets(limit))
        }
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.stopped {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Checks that the stack has an address from which `to` can be reached.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    fn check_source(&self, to: IpAddr) -> Result<(), Error> {
        let any = self
            .core
            .config
            .addresses
            .iter()
            .any(|(own, _)| own.is_ipv4() == to.is_ipv4());
        let usable = !to.is_unspecified() && !to.is_multicast();
        if any && usable {
            Ok(())
        } else {
            Err(Error::Unreachable(to))
        }
    }

    /// Returns a local port that no socket of the stack uses; `None` when all are in use.
    fn free_port(&mut self) -> Option<u16> {
        let port = self.free_port_from(self.next_port)?;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
        Some(port)
    }

    /// Returns the first local port from `first` on that no socket of the stack uses; `None` when
    /// all are in use.
    fn free_port_from(&self, first: u16) -> Option<u16> {
        let from_first = (first..=u16::MAX).chain(FIRST_DYNAMIC_PORT..first);
        from_first.into_iter().find(|port| {
            let used = |socket: &Socket<'_>| match socket {
                Socket::Tcp(socket) => socket.local_endpoint().is_some_and(|own| own.port == *port),
                Socket::Udp(socket) => socket.endpoint().port == *port,
                _ => false,
            };
            !self.core.sockets.iter().any(|(_, socket)| used(socket))
        })
    }
}
