//! Lookups of host names.
//!
//! The name servers are asked in turn, each question again after a while, from a port and with an
//! id that cannot be guessed (RFC 5452). An answer may come from any server that has been asked. A
//! question whose answer does not fit a datagram is asked again over TCP (RFC 7766).

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::answer::{self, Answer, Family};
use super::{Client, UdpSocket};
use crate::error::Error;

/// Port of name servers.
const PORT: u16 = 53;
/// Time that the first question waits for an answer. Each later question waits half as long again,
/// up to [`LAST`].
const FIRST: Duration = Duration::from_secs(1);
/// Longest time that a question waits for an answer.
const LAST: Duration = Duration::from_secs(10);
/// Length in bytes of the longest datagram that is read.
const LONGEST: usize = 4096;

impl Client {
    /// Looks up the IPv4 addresses of a name. A literal IPv4 address is returned as it is.
    ///
    /// # Errors
    /// [`Error::NoSuchName`], [`Error::NoAddress`], [`Error::Timeout`] when no server answers in time,
    /// [`Error::NameServerFailed`], [`Error::NoNameServer`], [`Error::BadName`],
    /// [`Error::TooManySockets`], [`Error::Stopped`].
    pub fn resolve_v4(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        self.resolve(name, &[Family::V4], timeout)
    }

    /// Looks up the IPv6 addresses of a name. A literal IPv6 address is returned as it is.
    ///
    /// # Errors
    /// As [`Client::resolve_v4`].
    pub fn resolve_v6(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        self.resolve(name, &[Family::V6], timeout)
    }

    /// Looks up the addresses of a name in both families at once, and returns those of IPv6 before
    /// those of IPv4, as a host with both prefers (RFC 6724). Where only one family has been
    /// answered when a question would be asked again, the addresses of that family are returned.
    ///
    /// # Errors
    /// As [`Client::resolve_v4`], when neither family has an address.
    pub fn lookup(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        self.resolve(name, &[Family::V6, Family::V4], timeout)
    }

    fn resolve(
        &self,
        name: &str,
        families: &[Family],
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = name.parse::<IpAddr>() {
            let family = match address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            };
            return match families.contains(&family) {
                true => Ok(vec![address]),
                false => Err(Error::NoAddress(name.into())),
            };
        }
        let servers = {
            let state = self.shared.lock();
            state.check_running()?;
            let reachable = |server: &IpAddr| state.check_source(*server).is_ok();
            let servers = state.name_servers.iter().copied();
            servers.filter(reachable).collect::<Vec<_>>()
        };
        if servers.is_empty() {
            return Err(Error::NoNameServer);
        }
        let random = RandomState::new();
        let questions = families.iter().enumerate().map(|(number, family)| {
            let id = random.hash_one(number) as u16;
            let bytes = answer::question(id, name, *family);
            let bytes = bytes.ok_or_else(|| Error::BadName(name.into()))?;
            Ok(Asked {
                family: *family,
                id,
                bytes,
                answer: None,
            })
        });
        let lookup = Lookup {
            client: self,
            name,
            servers,
            socket: self.udp_at(random.hash_one("port"))?,
            until: Instant::now() + timeout,
            timeout,
            asked: questions.collect::<Result<_, Error>>()?,
        };
        lookup.run()
    }
}

/// A question and the answer so far.
struct Asked {
    family: Family,
    id: u16,
    bytes: Vec<u8>,
    answer: Option<Answer>,
}

impl Asked {
    /// Returns whether no better answer can come.
    fn is_done(&self) -> bool {
        !matches!(&self.answer, None | Some(Answer::Failed(_) | Answer::Cut))
    }
}

/// A lookup in progress.
struct Lookup<'a> {
    client: &'a Client,
    name: &'a str,
    servers: Vec<IpAddr>,
    socket: UdpSocket,
    until: Instant,
    timeout: Duration,
    asked: Vec<Asked>,
}

impl Lookup<'_> {
    fn run(mut self) -> Result<Vec<IpAddr>, Error> {
        let servers = self.servers.clone();
        let mut time = FIRST;
        let mut round = 0;
        'asking: loop {
            for server in &servers {
                for asked in self.asked.iter().filter(|asked| !asked.is_done()) {
                    self.socket
                        .send_to(&asked.bytes, SocketAddr::new(*server, PORT))?;
                }
                let until = self.until.min(Instant::now() + time);
                self.receive(*server, until)?;
                let all = self.asked.iter().all(Asked::is_done);
                if all || self.has_found() || Instant::now() >= self.until {
                    break 'asking;
                }
            }
            round += 1;
            // Each server has failed with a response code, and would fail again.
            let failed = |asked: &Asked| asked.is_done() || asked.answer.is_some();
            if round >= 2 && self.asked.iter().all(failed) {
                break;
            }
            time = (time + time / 2).min(LAST);
        }
        self.outcome()
    }

    fn has_found(&self) -> bool {
        let mut asked = self.asked.iter();
        asked.any(|asked| matches!(asked.answer, Some(Answer::Addresses(_))))
    }

    /// Takes answers until each question has one from this server, or from one that was asked
    /// before.
    fn receive(&mut self, server: IpAddr, until: Instant) -> Result<(), Error> {
        let open = self.asked.iter().filter(|asked| !asked.is_done());
        // The questions are told apart by family, because a server may answer twice.
        let mut open: Vec<Family> = open.map(|asked| asked.family).collect();
        let mut buffer = [0; LONGEST];
        while !open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (length, from) = match self.socket.receive_from(&mut buffer, left) {
                Ok(received) => received,
                Err(Error::Timeout { .. }) => break,
                Err(error) => return Err(error),
            };
            if from.port() != PORT || !self.servers.contains(&from.ip()) {
                continue;
            }
            let datagram = &buffer[..length];
            let asked = self.asked.iter_mut().filter(|asked| !asked.is_done());
            let found = asked.into_iter().find_map(|asked| {
                let answer = answer::read(datagram, asked.id, self.name, asked.family)?;
                Some((asked, answer))
            });
            let Some((asked, answer)) = found else {
                continue;
            };
            let answer = match answer {
                Answer::Cut => whole(self.client, from, self.name, asked, until).unwrap_or(answer),
                answer => answer,
            };
            let failed = matches!(answer, Answer::Failed(_) | Answer::Cut);
            asked.answer = Some(answer);
            // A failure reported by a server that was asked before leaves this one its time.
            if !failed || from.ip() == server {
                open.retain(|family| *family != asked.family);
            }
        }
        Ok(())
    }

    /// Returns the result of the lookup from the answers.
    fn outcome(self) -> Result<Vec<IpAddr>, Error> {
        let name = || self.name.to_owned();
        let mut found = Vec::new();
        let mut error = None;
        for asked in self.asked {
            let (weight, failure) = match asked.answer {
                Some(Answer::Addresses(addresses)) => {
                    found.extend(addresses);
                    continue;
                }
                // The name does not exist in any family.
                Some(Answer::NoName) => (4, Error::NoSuchName(name())),
                None => (
                    3,
                    Error::Timeout {
                        peer: format!("the name servers asked for {}", self.name),
                        waited: self.timeout,
                    },
                ),
                Some(Answer::Failed(why)) => (2, Error::NameServerFailed(name(), why)),
                Some(Answer::Cut) => (2, Error::NameServerFailed(name(), "Truncated".into())),
                Some(Answer::NoAddress) => (1, Error::NoAddress(name())),
            };
            if error.as_ref().is_none_or(|(before, _)| *before < weight) {
                error = Some((weight, failure));
            }
        }
        match error {
            Some((_, error)) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

/// Asks over TCP. Returns `None` when no answer comes in time.
fn whole(
    client: &Client,
    server: SocketAddr,
    name: &str,
    asked: &Asked,
    until: Instant,
) -> Option<Answer> {
    let left = || until.saturating_duration_since(Instant::now());
    let mut stream = client.connect(server, left()).ok()?;
    let length = u16::try_from(asked.bytes.len()).ok()?;
    stream.set_write_timeout(Some(left()));
    stream
        .write_all(&[&length.to_be_bytes(), &asked.bytes[..]].concat())
        .ok()?;
    let mut bytes = Vec::new();
    let mut piece = [0; LONGEST];
    loop {
        if let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if let Some(message) = rest.get(..length) {
                return answer::read(message, asked.id, name, asked.family);
            }
        }
        stream.set_read_timeout(Some(left()));
        match stream.read(&mut piece).ok()? {
            0 => return None,
            length => bytes.extend(&piece[..length]),
        }
    }
}
