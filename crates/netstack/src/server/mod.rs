//! A whole network behind one link.
//!
//! The stack has every address that a packet is for. It answers:
//!
//! | where | what |
//! | --- | --- |
//! | ICMP, ICMPv6 | echo requests |
//! | UDP 7 | echo |
//! | UDP 9, TCP 9 | discard, counted |
//! | UDP 53 | DNS: the configured names, NXDOMAIN for all others |
//! | TCP 80 | HTTP, see below |
//! | ICMPv6 router solicitations | an advertisement, if configured |
//!
//! In HTTP, `GET /bytes/N` and `GET /download?bytes=N` send N bytes of [`crate::pattern`]. `POST`
//! or `PUT /upload` takes a body (with a length or chunked) and answers with
//! `{"bytes":N,"crc32":"xxxxxxxx"}` (CRC-32 as in gzip and zlib). `GET /` describes this.

mod dns;
mod http;
mod report;
mod thread;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::IpListenEndpoint;

use crate::core::{CongestionControl, Core, StackConfig};
use crate::error::Error;
use crate::link::PacketLink;
use crate::port::Connections;
use crate::router::RouterAdvertisement;

pub use report::ServerReport;
pub use thread::ServerThread;

/// Port of the echo service (RFC 862).
pub(crate) const ECHO_PORT: u16 = 7;
/// Port of the discard service (RFC 863).
pub(crate) const DISCARD_PORT: u16 = 9;
/// Port of the name service.
pub(crate) const DNS_PORT: u16 = 53;
/// Port of the HTTP service.
pub const HTTP_PORT: u16 = 80;

/// TCP ports, each with the number of sockets that are kept listening. As many connections can
/// arrive within one poll.
const TCP_PORTS: [(u16, usize); 2] = [(HTTP_PORT, 32), (DISCARD_PORT, 8)];
/// Least number of TCP sockets, whatever the configuration says.
const MIN_TCP_SOCKETS: usize = 64;
/// Time after which the connection of a silent peer ends.
const SILENCE: Duration = Duration::from_secs(60);
/// Time between two probes of an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Largest number of datagrams and of bytes that are queued in each direction at a UDP service.
const UDP_QUEUE: (usize, usize) = (256, 512 << 10);

/// Configuration of a network.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Configuration of the stack. Its addresses are those of the router.
    pub stack: StackConfig,
    /// Host names with their addresses. Neither case nor a final dot matters.
    pub names: Vec<(String, Vec<IpAddr>)>,
    /// Answer to router solicitations; with `None` there is no answer.
    pub router: Option<RouterAdvertisement>,
}

/// IPv4 address of the server unless another is configured (a documentation address, RFC 5737).
pub const DEFAULT_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// IPv6 address of the server unless another is configured (a documentation address, RFC 3849).
pub const DEFAULT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 1);

impl Default for ServerConfig {
    /// Returns a network with the addresses [`DEFAULT_V4`], [`DEFAULT_V6`] and `fe80::1`. The name
    /// `test.uwwan` has the first two, `ipv4.test.uwwan` and `ipv6.test.uwwan` have one each. There
    /// are no router advertisements, and no congestion control, because the link loses nothing.
    fn default() -> ServerConfig {
        let stack = StackConfig {
            addresses: vec![
                (DEFAULT_V4.into(), 24),
                (DEFAULT_V6.into(), 64),
                (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), 64),
            ],
            congestion: CongestionControl::None,
            ..StackConfig::default()
        };
        ServerConfig {
            stack,
            names: vec![
                (
                    "test.uwwan".into(),
                    vec![DEFAULT_V4.into(), DEFAULT_V6.into()],
                ),
                ("ipv4.test.uwwan".into(), vec![DEFAULT_V4.into()]),
                ("ipv6.test.uwwan".into(), vec![DEFAULT_V6.into()]),
            ],
            router: None,
        }
    }
}

/// A whole network behind one link; see the [module](self).
pub struct Server<L> {
    core: Core<L>,
    names: dns::Names,
    flows: Vec<Flow>,
    echo: SocketHandle,
    discard: SocketHandle,
    dns: SocketHandle,
    report: ServerReport,
}

struct Flow {
    handle: SocketHandle,
    port: u16,
    accepted: bool,
    service: Service,
}

enum Service {
    Http(http::Connection),
    Discard,
}

impl<L: PacketLink> Server<L> {
    /// Makes a server at one end of `link`. It does nothing until it is polled.
    ///
    /// # Errors
    /// Returns the fault of the configuration.
    pub fn new(config: ServerConfig, link: L, now: Instant) -> Result<Server<L>, Error> {
        let mut core = Core::new(config.stack, link, now)?;
        core.interface.set_any_ip(true);
        core.port.router = config.router;
        core.port.connections = Some(Connections::default());
        let mut service = |port: u16| -> Result<SocketHandle, Error> {
            let queue = || {
                udp::PacketBuffer::new(
                    vec![udp::PacketMetadata::EMPTY; UDP_QUEUE.0],
                    vec![0; UDP_QUEUE.1],
                )
            };
            let mut socket = udp::Socket::new(queue(), queue());
            socket.bind(port).map_err(|error| Error::System {
                doing: "bind a UDP service",
                source: std::io::Error::other(error),
            })?;
            Ok(core.sockets.add(socket))
        };
        let (echo, discard, dns) = (
            service(ECHO_PORT)?,
            service(DISCARD_PORT)?,
            service(DNS_PORT)?,
        );
        let mut server = Server {
            core,
            names: dns::Names::new(config.names),
            flows: Vec::new(),
            echo,
            discard,
            dns,
            report: ServerReport::default(),
        };
        server.listen();
        Ok(server)
    }

    /// Moves packets and serves connections, a bounded amount. Returns when it is to be called next
    /// if no packet comes and no room on the link: a time in the past if there is more to do,
    /// `None` for never.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        let mut more = self.core.exchange(now);
        self.serve_tcp();
        self.serve_udp();
        more |= self.core.send(now);
        if more {
            Some(now)
        } else {
            self.core.next_deadline(now)
        }
    }

    /// Returns counters of what the server has done.
    pub fn report(&self) -> ServerReport {
        ServerReport {
            link: self.core.port.counters,
            ..self.report
        }
    }

    /// Returns the server's end of the link.
    pub fn link(&self) -> &L {
        &self.core.port.link
    }

    /// Keeps as many sockets listening as [`TCP_PORTS`] says, as far as the limit allows.
    fn listen(&mut self) {
        for (port, backlog) in TCP_PORTS {
            let listening = self
                .flows
                .iter()
                .filter(|flow| flow.port == port && !flow.accepted)
                .count();
            for _ in listening..backlog {
                if self.flows.len() >= self.core.config.max_tcp_sockets.max(MIN_TCP_SOCKETS) {
                    self.evict();
                    break;
                }
                let mut socket = self.core.tcp_socket();
                socket.set_timeout(Some(SILENCE.into()));
                socket.set_keep_alive(Some(KEEP_ALIVE.into()));
                if socket.listen(IpListenEndpoint::from(port)).is_err() {
                    break;
                }
                let service = match port {
                    HTTP_PORT => Service::Http(http::Connection::default()),
                    _ => Service::Discard,
                };
                let handle = self.core.sockets.add(socket);
                self.flows.push(Flow {
                    handle,
                    port,
                    accepted: false,
                    service,
                });
            }
        }
    }

    /// Removes connections that only wait for stray segments of a peer that has closed.
    fn evict(&mut self) {
        for flow in &self.flows {
            let socket = self.core.sockets.get_mut::<tcp::Socket<'_>>(flow.handle);
            if socket.state() == tcp::State::TimeWait {
                socket.abort();
            }
        }
    }

    fn serve_tcp(&mut self) {
        let connections = self.core.port.connections.as_mut();
        let mut changed = connections.is_some_and(|all| std::mem::take(&mut all.asked));
        let mut open = 0;
        for flow in &mut self.flows {
            let socket = self.core.sockets.get_mut::<tcp::Socket<'_>>(flow.handle);
            let state = socket.state();
            match state {
                // A peer that withdraws its SYN leaves the socket listening again.
                tcp::State::Listen => changed |= std::mem::take(&mut flow.accepted),
                tcp::State::Closed => changed = true,
                _ => {
                    open += 1;
                    if !flow.accepted {
                        flow.accepted = true;
                        changed = true;
                        self.report.connections += 1;
                    }
                    match &mut flow.service {
                        // To a service, a connection that is not open yet looks like one that the
                        // peer has closed.
                        _ if state == tcp::State::SynReceived => {}
                        Service::Http(connection) => connection.drive(socket, &mut self.report),
                        Service::Discard => discard(socket, &mut self.report),
                    }
                }
            }
        }
        self.report.open_connections = open;
        if changed {
            let sockets = &mut self.core.sockets;
            self.flows.retain(|flow| {
                let closed =
                    sockets.get::<tcp::Socket<'_>>(flow.handle).state() == tcp::State::Closed;
                if closed {
                    sockets.remove(flow.handle);
                }
                !closed
            });
            self.note_connections();
            self.listen();
        }
    }

    /// Notes which connections exist, except those that only wait for stray segments.
    fn note_connections(&mut self) {
        let Some(connections) = &mut self.core.port.connections else {
            return;
        };
        let (sockets, flows) = (&self.core.sockets, self.flows.iter());
        let there = flows.filter_map(|flow| {
            let socket = sockets.get::<tcp::Socket<'_>>(flow.handle);
            let over = socket.state() == tcp::State::TimeWait;
            let ends = (socket.remote_endpoint()?, socket.local_endpoint()?);
            (!over).then_some(ends)
        });
        connections.open = there.collect();
    }

    fn serve_udp(&mut self) {
        let echo = self.core.sockets.get_mut::<udp::Socket<'_>>(self.echo);
        let mut datagram = [0; 2048];
        while echo.can_send() {
            // Longer datagrams (reassembled from fragments) are dropped, because nothing here needs
            // them.
            match echo.recv_slice(&mut datagram) {
                Ok((length, from)) => {
                    if echo.send_slice(&datagram[..length], from).is_ok() {
                        self.report.echoed_datagrams += 1;
                    }
                }
                Err(udp::RecvError::Truncated) => {}
                Err(udp::RecvError::Exhausted) => break,
            }
        }
        let sink = self.core.sockets.get_mut::<udp::Socket<'_>>(self.discard);
        while let Ok((data, _)) = sink.recv() {
            self.report.discarded_bytes += data.len() as u64;
        }
        let dns = self.core.sockets.get_mut::<udp::Socket<'_>>(self.dns);
        while dns.can_send() {
            let Ok((query, from)) = dns.recv() else { break };
            match self.names.answer(query) {
                Some(answer) => {
                    // When the queue is full, the answer is lost as in a network.
                    let _ = dns.send_slice(&answer, from);
                    self.report.dns_queries += 1;
                }
                None => self.report.dns_malformed += 1,
            }
        }
    }
}

fn discard(socket: &mut tcp::Socket<'_>, report: &mut ServerReport) {
    while socket.can_recv() {
        let Ok(taken) = socket.recv(|data| (data.len(), data.len())) else {
            break;
        };
        report.discarded_bytes += taken as u64;
    }
    if !socket.may_recv() && socket.may_send() {
        socket.close();
    }
}

impl<L> std::fmt::Debug for Server<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
