//! Lookups of host names.

use std::net::IpAddr;
use std::time::Duration;

use smoltcp::socket::dns::{GetQueryResultError, Socket, StartQueryError};
use smoltcp::wire::DnsQueryType;

use super::{Client, MAX_OTHER_SOCKETS};
use crate::error::Error;

/// The family of the addresses that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Client {
    /// Looks up the IPv4 addresses of a name. A literal IPv4 address is returned as it is.
    ///
    /// # Errors
    /// [`Error::NoSuchName`] (also when no server answered for ten seconds), [`Error::Timeout`],
    /// [`Error::NoNameServer`], [`Error::BadName`], [`Error::Stopped`].
    pub fn resolve_v4(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        self.resolve(name, Family::V4, timeout)
    }

    /// Looks up the IPv6 addresses of a name. A literal IPv6 address is returned as it is.
    ///
    /// # Errors
    /// As [`Client::resolve_v4`].
    pub fn resolve_v6(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        self.resolve(name, Family::V6, timeout)
    }

    /// Looks up the addresses of a name in both families at once, and returns those of IPv6 before those of
    /// IPv4, as a host with both prefers (RFC 6724).
    ///
    /// # Errors
    /// As [`Client::resolve_v4`], when neither family has an address.
    pub fn lookup(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        let (six, four) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new();
            let six = other.spawn_scoped(scope, || self.resolve_v6(name, timeout));
            let four = self.resolve_v4(name, timeout);
            let six = match six {
                Ok(six) => six.join().unwrap_or(Err(Error::Stopped)),
                Err(error) => Err(Error::system("start a thread")(error)),
            };
            (six, four)
        });
        match (six, four) {
            (Ok(mut six), Ok(four)) => {
                six.extend(four);
                Ok(six)
            }
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(_), Err(error)) => Err(error),
        }
    }

    fn resolve(&self, name: &str, family: Family, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return if address.is_ipv4() == (family == Family::V4) {
                Ok(vec![address])
            } else {
                Err(Error::NoSuchName(name.into()))
            };
        }
        let kind = match family {
            Family::V4 => DnsQueryType::A,
            Family::V6 => DnsQueryType::Aaaa,
        };
        let mut state = self.shared.lock();
        state.check_running()?;
        if !state.has_name_servers {
            return Err(Error::NoNameServer);
        }
        let resolver = state.resolver;
        let core = &mut state.core;
        let socket = core.sockets.get_mut::<Socket<'_>>(resolver);
        let query = socket
            .start_query(core.interface.context(), name, kind)
            .map_err(|error| match error {
                StartQueryError::NoFreeSlot => Error::TooManySockets(MAX_OTHER_SOCKETS),
                StartQueryError::InvalidName | StartQueryError::NameTooLong => {
                    Error::BadName(name.into())
                }
            })?;
        state.act(&self.shared);
        drop(state);
        let found = self.shared.wait_for(Some(timeout), |state| {
            let socket = state.core.sockets.get_mut::<Socket<'_>>(resolver);
            match socket.get_query_result(query) {
                Ok(addresses) => Some(Ok(addresses.iter().copied().map(IpAddr::from).collect())),
                Err(GetQueryResultError::Failed) => Some(Err(Error::NoSuchName(name.into()))),
                Err(GetQueryResultError::Pending) => None,
            }
        });
        match found {
            Ok(Some(result)) => result,
            unfinished => {
                let mut state = self.shared.lock();
                state
                    .core
                    .sockets
                    .get_mut::<Socket<'_>>(resolver)
                    .cancel_query(query);
                Err(unfinished.err().unwrap_or(Error::Timeout {
                    peer: format!("name server for {name}"),
                    waited: timeout,
                }))
            }
        }
    }
}
