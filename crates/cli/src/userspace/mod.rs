//! The host interface in this process: no interface of the kernel, no route and no capability is
//! needed, and the machine's own network is left alone.
//!
//! The data session ends in the built-in network stack ([`Userspace`]). Other programs reach hosts beyond
//! the modem by a SOCKS5 proxy ([`socks`]), an HTTP proxy ([`http`]), or ports that are forwarded. Names
//! are looked up over the modem, never by this machine's resolver.
//!
//! # Theory of operation
//!
//! All sockets of this machine are opened by [`Servers::bind`], before the process confines itself: it can
//! make none later. [`Servers::start`] gives each a thread. A client has a thread until its flow begins and
//! two from then on, all with blocking calls, and one of a bounded number of places ([`flow::MOST`]). Where
//! all are occupied, a client that has not sent its request makes room for the next. The failure of a client
//! ends no other.

mod address;
mod datagrams;
mod flow;
mod http;
mod login;
pub mod options;
mod socks;
mod target;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::datagrams::Associations;
use self::flow::Place;
pub use self::flow::{Places, spawn};
use self::http::Http;
use self::login::Login;
use self::options::{Forward, Listen, Protocol};
use self::socks::Socks;
use self::target::{Target, is_local};
use crate::failure::Failure;
use crate::listening::open;
use uwwan_modem::host::Userspace;

/// Least time between two lines in the log about clients that are sent away.
const QUIET: Duration = Duration::from_secs(10);

/// The listeners that are asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'s> {
    pub socks: &'s [Listen],
    pub http: &'s [Listen],
    pub forwards: &'s [Forward],
    /// File with the login of both proxies.
    pub login: Option<&'s Path>,
}

impl Wanted<'_> {
    /// Returns the data sessions that have listeners, each with the option that names it.
    pub fn sessions(&self) -> Vec<(&'static str, u8)> {
        let mut all = Vec::new();
        all.extend(self.socks.iter().map(|one| ("socks", one.session)));
        all.extend(self.http.iter().map(|one| ("http-proxy", one.session)));
        all.extend(self.forwards.iter().map(|one| ("forward", one.session)));
        all
    }
}

/// The open sockets.
pub struct Servers {
    login: Option<Arc<Login>>,
    /// Sockets of the SOCKS proxies, each with the data session behind it, as with the others.
    socks: Vec<(u8, TcpListener, UdpSocket)>,
    http: Vec<(u8, TcpListener)>,
    forwards: Vec<(u8, Forwarded, Target)>,
    /// The listeners and their addresses, a line each.
    told: Vec<(u8, String)>,
}

enum Forwarded {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Servers {
    /// Opens the sockets.
    ///
    /// # Errors
    /// Fails when a socket cannot be opened, or the login cannot be read.
    pub fn bind(wanted: &Wanted<'_>) -> Result<Self, Failure> {
        let login = wanted
            .login
            .map(Login::from_file)
            .transpose()?
            .map(Arc::new);
        let mut told = Vec::new();
        let mut socks = Vec::new();
        for Listen { at, session } in wanted.socks {
            let tcp = listen("--socks", *at)?;
            // The socket for datagrams may have another port.
            let at = tcp.local_addr().unwrap_or(*at);
            let udp = open("--socks", SocketAddr::new(at.ip(), 0), UdpSocket::bind)?;
            told.push((*session, format!("SOCKS5 proxy at {at}")));
            socks.push((*session, tcp, udp));
            warn_of_everybody("--socks", at, login.is_some());
        }
        let mut http = Vec::new();
        for Listen { at, session } in wanted.http {
            let tcp = listen("--http-proxy", *at)?;
            let at = tcp.local_addr().unwrap_or(*at);
            told.push((*session, format!("HTTP proxy at {at}")));
            http.push((*session, tcp));
            warn_of_everybody("--http-proxy", at, login.is_some());
        }
        let mut forwards = Vec::new();
        for forward in wanted.forwards {
            let at = forward.local;
            let (forwarded, at) = match forward.protocol {
                Protocol::Tcp => {
                    let tcp = listen("--forward", at)?;
                    let at = tcp.local_addr().unwrap_or(at);
                    (Forwarded::Tcp(tcp), at)
                }
                Protocol::Udp => {
                    let udp = open("--forward", at, UdpSocket::bind)?;
                    let at = udp.local_addr().unwrap_or(at);
                    (Forwarded::Udp(udp), at)
                }
            };
            let bound = Forward {
                local: at,
                ..forward.clone()
            };
            told.push((forward.session, format!("forwarded: {bound}")));
            warn_of_everybody("--forward", at, false);
            forwards.push((forward.session, forwarded, forward.remote.clone()));
        }
        Ok(Self {
            login,
            socks,
            http,
            forwards,
            told,
        })
    }

    /// Returns descriptions of the listeners, each with the data session behind it.
    pub fn told(&self) -> &[(u8, String)] {
        &self.told
    }

    /// Begins to serve. Clients are refused while the stack is not up.
    ///
    /// # Errors
    /// The system's error.
    pub fn start(self, network: &Userspace) -> io::Result<()> {
        let places = Places::default();
        for (session, tcp, udp) in self.socks {
            let socks = Socks {
                network: network.of_session(session),
                login: self.login.clone(),
                associations: Associations::start(udp)?,
            };
            accept("uwwan-socks", tcp, &places, move |client, place| {
                socks.serve(client, place)
            });
        }
        for (session, tcp) in self.http {
            let http = Http {
                network: network.of_session(session),
                login: self.login.clone(),
            };
            accept("uwwan-http", tcp, &places, move |client, place| {
                http.serve(client, place)
            });
        }
        for (session, forwarded, to) in self.forwards {
            let network = network.of_session(session);
            match forwarded {
                Forwarded::Tcp(tcp) => {
                    accept("uwwan-forward", tcp, &places, move |client, place| {
                        place.keep()?;
                        let remote = to.connect(&*network.client()?)?;
                        flow::relay(client, remote)
                    })
                }
                Forwarded::Udp(udp) => {
                    let local = Arc::new(udp);
                    flow::spawn("uwwan-forward", move || {
                        datagrams::forward(&local, &to, &network);
                    });
                }
            }
        }
        Ok(())
    }
}

fn listen(option: &str, at: SocketAddr) -> Result<TcpListener, Failure> {
    open(option, at, TcpListener::bind)
}

/// Warns where other machines may use the modem at the expense of the SIM's owner.
fn warn_of_everybody(option: &str, at: SocketAddr, login: bool) {
    if !is_local(at.ip()) && !login {
        tracing::warn!("{option}: everybody who reaches {at} can use the modem");
    }
}

/// Serves the clients of a socket, each in a thread of its own.
fn accept(
    name: &'static str,
    listener: TcpListener,
    places: &Places,
    serve: impl Fn(&TcpStream, &Place) -> io::Result<()> + Send + Sync + 'static,
) {
    let places = places.clone();
    let serve = Arc::new(serve);
    flow::spawn(name, move || {
        let mut quiet: Option<Instant> = None;
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => Arc::new(client),
                // The client has closed the connection already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tracing::warn!("{name}: no client is taken: {error}");
                    // Descriptors may have run out: some become free again.
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let Some(place) = places.take_for(&client) else {
                // A program can cause such a line at no cost, so lines are limited.
                if quiet.is_none_or(|until| until <= Instant::now()) {
                    quiet = Some(Instant::now() + QUIET);
                    tracing::warn!("{name}: clients are sent away: {} are served", flow::MOST);
                }
                continue;
            };
            let serve = Arc::clone(&serve);
            flow::spawn(name, move || {
                if let Err(error) = serve(&client, &place) {
                    tracing::debug!("{name}: {error}");
                }
                drop(place);
            });
        }
    });
}

/// Reads the bytes of a client, as far as they are valid.
#[cfg(fuzzing)]
pub fn read_client(bytes: &[u8]) {
    let _ = address::split(bytes);
    let http = Http {
        network: Userspace::default(),
        login: None,
    };
    let _ = http.read(bytes);
}
