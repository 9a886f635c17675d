//! The values of the options for a host's end in this process: where something listens, what is
//! forwarded.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

use super::target::Target;

/// What the data session ends in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Net {
    /// A network interface of this machine.
    #[default]
    Kernel,
    /// A network stack in this process, which other programs reach by proxies.
    Userspace,
}

impl Net {
    /// All values, each with the word for it on the command line.
    pub const VALUES: &'static [(&'static str, Self)] =
        &[("kernel", Self::Kernel), ("userspace", Self::Userspace)];
}

/// An address to listen at: `PORT` stands for the loopback address, and `ADDRESS:PORT` for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is neither a port (1080) nor an address with one (192.0.2.1:1080, [::1]:1080)")
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A protocol that is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of this machine that stands for a port beyond the modem: `[udp:]LOCAL=REMOTE:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Forward {
    /// Protocol, TCP unless it is told.
    pub protocol: Protocol,
    /// Where this machine's programs reach it.
    pub local: Listen,
    /// Where it leads.
    pub remote: Target,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, rest) = match text.split_once(':') {
            Some(("udp", rest)) => (Protocol::Udp, rest),
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            _ => (Protocol::Tcp, text),
        };
        let (local, remote) = rest.split_once('=').ok_or_else(|| {
            format!(
                "{text:?} has no \"=\": expected [udp:]LOCAL=REMOTE:PORT, such as 8080=192.0.2.1:80"
            )
        })?;
        Ok(Self {
            protocol,
            local: local.parse()?,
            remote: remote.parse()?,
        })
    }
}

impl TryFrom<String> for Forward {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        write!(f, "{protocol} {} to {}", self.local.0, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_at_the_loopback_address() {
        assert_eq!(
            "1080".parse(),
            Ok(Listen("127.0.0.1:1080".parse().unwrap()))
        );
        assert_eq!(
            "[::1]:1080".parse(),
            Ok(Listen("[::1]:1080".parse().unwrap()))
        );
        for wrong in ["", "70000", "host:1080", "127.0.0.1"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_forward_names_both_ends() {
        let told = |text: &str| text.parse::<Forward>().map(|forward| forward.to_string());
        assert_eq!(
            told("8080=example.com:80").unwrap(),
            "TCP 127.0.0.1:8080 to example.com:80"
        );
        assert_eq!(
            told("udp:0.0.0.0:5353=[2001:db8::1]:53").unwrap(),
            "UDP 0.0.0.0:5353 to [2001:db8::1]:53"
        );
        for wrong in [
            "8080",
            "8080=example.com",
            "x=example.com:80",
            "8080=:80",
            "8080=a b:80",
        ] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }
}
