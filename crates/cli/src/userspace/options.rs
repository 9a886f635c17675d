//! The values of the options for a host interface in this process: where something listens, what is
//! forwarded.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

use super::target::Target;

/// The kind of the host interface of the data session.
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

/// An address to listen at, and the data session that is behind it: `PORT` stands for the loopback address
/// and session 0, `ADDRESS:PORT` for another address, and `@N` behind either for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen {
    /// Address and port.
    pub at: SocketAddr,
    /// MBIM session id.
    pub session: u8,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, session) = behind(text)?;
        Ok(Self {
            at: address(place)?,
            session,
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Splits the data session from the end of a text. Without one it is session 0.
fn behind(text: &str) -> Result<(&str, u8), String> {
    let Some((rest, session)) = text.rsplit_once('@') else {
        return Ok((text, 0));
    };
    let session = session.parse().map_err(|_| {
        format!("{text:?} does not end in the number of a data session, such as @3")
    })?;
    Ok((rest, session))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        format!(
            "{text:?} is neither a port (1080) nor an address with one (192.0.2.1:1080, [::1]:1080)"
        )
    })
}

/// A protocol that is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of this machine that stands for a port beyond the modem: `[udp:]LOCAL=REMOTE:PORT`,
/// with `@N` behind it where data session N leads there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Forward {
    /// Protocol, TCP unless another is given.
    pub protocol: Protocol,
    /// The address at which this machine's programs reach it.
    pub local: SocketAddr,
    /// The address to which it leads.
    pub remote: Target,
    /// MBIM session id.
    pub session: u8,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, session) = behind(text)?;
        let (protocol, rest) = match rest.split_once(':') {
            Some(("udp", rest)) => (Protocol::Udp, rest),
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            _ => (Protocol::Tcp, rest),
        };
        let (local, remote) = rest.split_once('=').ok_or_else(|| {
            format!(
                "{text:?} has no \"=\": expected [udp:]LOCAL=REMOTE:PORT, such as 8080=192.0.2.1:80"
            )
        })?;
        Ok(Self {
            protocol,
            local: address(local)?,
            remote: remote.parse()?,
            session,
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
        write!(f, "{protocol} {} to {}", self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_at_the_loopback_address() {
        let listen = |at: &str, session| Listen {
            at: at.parse().unwrap(),
            session,
        };
        for (text, expected) in [
            ("1080", listen("127.0.0.1:1080", 0)),
            ("[::1]:1080", listen("[::1]:1080", 0)),
            ("0@3", listen("127.0.0.1:0", 3)),
            ("192.0.2.1:1080@255", listen("192.0.2.1:1080", 255)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "70000",
            "host:1080",
            "127.0.0.1",
            "1080@",
            "1080@256",
            "@3",
            "1@2@3",
        ] {
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
        let forward: Forward = "udp:53=a:53@7".parse().unwrap();
        assert_eq!((forward.session, forward.protocol), (7, Protocol::Udp));
        for wrong in [
            "8080",
            "8080=example.com:80@x",
            "8080=example.com",
            "x=example.com:80",
            "8080=:80",
            "8080=a b:80",
        ] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }
}
