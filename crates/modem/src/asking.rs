//! Questions to the network behind the modem, over the built-in network stack: whether a host answers, and
//! which addresses a name has.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uwwan_netstack::Error;
use uwwan_netstack::client::Client;

use crate::failure::{Failure, FailureKind};

/// Longest time that an answer may be waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Length of the longest name in bytes (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// MBIM session id of the data session that is asked over.
    pub session: u8,
    /// Time in milliseconds after which there is no answer, 60000 at most.
    pub wait_ms: u64,
    /// The question itself.
    pub what: Asked,
}

/// The subject of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Asked {
    /// The time until an echo request is answered.
    Echo {
        /// The host.
        to: IpAddr,
        /// Number of payload bytes.
        bytes: u16,
    },
    /// The addresses of a name.
    Addresses {
        /// The name.
        name: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The host has answered after this many microseconds.
    Echo(u64),
    /// The host has not answered in time.
    Silence,
    /// The name has these addresses, at least one.
    Addresses(Vec<IpAddr>),
}

impl Question {
    /// Asks over a stack, and waits for the answer.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] for a question that makes no sense, [`FailureKind::Refused`] when there is no
    /// such name or no way to the host, [`FailureKind::Timeout`] when no name server answers, otherwise
    /// [`FailureKind::Host`].
    pub fn ask(&self, over: &Client) -> Result<Answer, Failure> {
        let wait = Duration::from_millis(self.wait_ms).min(LONGEST_WAIT);
        match &self.what {
            Asked::Echo { to, bytes } => match over.ping(*to, usize::from(*bytes), wait) {
                Ok(time) => Ok(Answer::Echo(
                    u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
                )),
                Err(Error::Timeout { .. }) => Ok(Answer::Silence),
                Err(error) => Err(explained("send an echo request", &error)),
            },
            Asked::Addresses { name } if name.len() > LONGEST_NAME => {
                Err(explained("look a name up", &Error::BadName(name.clone())))
            }
            Asked::Addresses { name } => match over.lookup(name, wait) {
                Ok(addresses) => Ok(Answer::Addresses(addresses)),
                Err(error) => Err(explained("look a name up", &error)),
            },
        }
    }
}

fn explained(what: &str, error: &Error) -> Failure {
    let (kind, next) = match error {
        Error::BadName(_) | Error::TooLarge(..) => (FailureKind::Usage, "look at what was given"),
        Error::NoSuchName(_) => (FailureKind::Refused, "look at how the name is written"),
        Error::Unreachable(_) => (
            FailureKind::Refused,
            "ask for an address of a family that uwwan status shows",
        ),
        Error::NoAddress(_) => (
            FailureKind::Refused,
            "the name may be that of a domain; look at how it is written",
        ),
        Error::NameServerFailed(..) => (FailureKind::Refused, "try again, or take an address"),
        Error::NoNameServer => (
            FailureKind::Refused,
            "the network has given no name server; take an address",
        ),
        Error::Timeout { .. } => (
            FailureKind::Timeout,
            "uwwan status   tells how the modem is",
        ),
        _ => (FailureKind::Host, "try again"),
    };
    Failure::new(kind, what).because(error).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_netstack::client::ClientConfig;
    use uwwan_netstack::memory;

    #[test]
    fn what_cannot_be_asked_is_told_by_its_kind() {
        let (link, _far) = memory::pair(memory::Capacity::default());
        let config = ClientConfig {
            addresses: vec![("10.0.0.2".parse().unwrap(), 30)],
            ..ClientConfig::default()
        };
        let client = Client::start(config, link).unwrap();
        let kind = |what| {
            let question = Question {
                session: 0,
                wait_ms: 20,
                what,
            };
            question.ask(&client).map_err(|failure| failure.kind)
        };
        let echo = |to: &str| Asked::Echo {
            to: to.parse().unwrap(),
            bytes: 56,
        };
        let name = |name: &str| Asked::Addresses { name: name.into() };
        assert_eq!(kind(echo("10.0.0.1")), Ok(Answer::Silence));
        assert_eq!(kind(echo("2001:db8::1")), Err(FailureKind::Refused));
        assert_eq!(kind(echo("224.0.0.1")), Err(FailureKind::Refused));
        assert_eq!(kind(name("example.com")), Err(FailureKind::Refused));
        assert_eq!(kind(name(&"a".repeat(10_000))), Err(FailureKind::Usage));
        let own = "192.0.2.1".parse().unwrap();
        assert_eq!(kind(name("192.0.2.1")), Ok(Answer::Addresses(vec![own])));
    }
}
