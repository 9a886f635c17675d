//! The destination that a program wants to reach beyond the modem: an address or a name, with a
//! port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use uwwan_netstack::Error;
use uwwan_netstack::client::{Client, TcpStream};

/// Time within which name servers have to answer.
const LOOKUP: Duration = Duration::from_secs(10);
/// Time within which one of the addresses of a name has to be connected.
const CONNECT: Duration = Duration::from_secs(30);
/// Time for an address while there is another one to try.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Length of the longest name in bytes (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;

/// An address or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// A name, which is looked up by the name servers of the network behind the modem.
    Name(String),
}

impl Host {
    /// Returns a host from its notation in a URL or on a command line, an IPv6 address with
    /// brackets or without. Returns `None` for text that is neither an address nor like a name.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Some(Self::Address(address));
        }
        let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let fits = (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(sane);
        fits.then(|| Self::Name(text.trim_end_matches('.').to_owned()))
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no host with a port, such as example.com:80 or [2001:db8::1]:80")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // Without brackets the end of an IPv6 address is ambiguous.
        if host.contains(':') && !host.starts_with('[') {
            return Err(wrong());
        }
        Ok(Self {
            host: Host::parse(host).ok_or_else(wrong)?,
            port: port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Target {
    /// Returns the addresses in the order of [`Client::lookup`]. The name servers
    /// are those of the modem's network, never this machine's.
    ///
    /// # Errors
    /// Those of [`Client::lookup`], and [`Error::Unreachable`] for an address of this machine.
    pub fn addresses(&self, network: &Client) -> Result<Vec<SocketAddr>, Error> {
        let found = match &self.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => network.lookup(name, LOOKUP)?,
        };
        let first = found.first().copied();
        let found: Vec<_> = found
            .into_iter()
            .filter(|address| !is_local(*address))
            .collect();
        match (found.is_empty(), first) {
            (true, Some(first)) => Err(Error::Unreachable(first)),
            _ => Ok(found
                .into_iter()
                .map(|address| (address, self.port).into())
                .collect()),
        }
    }

    /// Opens a TCP connection to the first address that accepts one.
    ///
    /// # Errors
    /// Those of [`Target::addresses`], otherwise that of the last address ([`Client::connect`]).
    pub fn connect(&self, network: &Client) -> Result<TcpStream, Error> {
        let addresses = self.addresses(network)?;
        let until = Instant::now() + CONNECT;
        let mut last = Error::Stopped;
        for (number, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let others = number + 1 < addresses.len();
            let time = if others { left.min(ATTEMPT) } else { left };
            match network.connect(*address, time) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Returns whether only this machine's programs reach an address.
pub fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in [
            "example.com:80",
            "192.0.2.1:65535",
            "[2001:db8::1]:53",
            "a_b-c:1",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!(
            "example.com.:80".parse::<Target>().unwrap().to_string(),
            "example.com:80"
        );
        let long = format!("{}:80", "a".repeat(254));
        for wrong in [
            "",
            ":80",
            "host",
            "host:0",
            "host:65536",
            "2001:db8::1:53",
            "a/b:80",
            &long,
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
