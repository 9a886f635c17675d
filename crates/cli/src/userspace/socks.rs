//! A SOCKS5 proxy (RFC 1928) with or without a login (RFC 1929): CONNECT and UDP ASSOCIATE.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use uwwan_netstack::Error;
use zeroize::Zeroizing;

use super::address::{self, kind};
use super::datagrams::Associations;
use super::flow::{self, Place};
use super::login::Login;
use super::target::{Host, Target};
use crate::head::Client;
use uwwan_modem::host::Userspace;

/// The version of the protocol.
const VERSION: u8 = 5;
/// The version of the login's negotiation.
const LOGIN_VERSION: u8 = 1;

/// Methods of authentication (RFC 1928, 3).
mod method {
    pub const NONE: u8 = 0;
    pub const LOGIN: u8 = 2;
    pub const UNACCEPTABLE: u8 = 0xff;
}

/// The commands of a request (RFC 1928, 4).
mod command {
    pub const CONNECT: u8 = 1;
    pub const UDP_ASSOCIATE: u8 = 3;
}

/// Answers to a request (RFC 1928, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Reply {
    Succeeded = 0,
    GeneralFailure = 1,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    TimeToLiveExpired = 6,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        match error {
            Error::Refused(_) => Self::ConnectionRefused,
            Error::Timeout { .. } => Self::TimeToLiveExpired,
            Error::Unreachable(_) | Error::Stopped => Self::NetworkUnreachable,
            Error::NoSuchName(_)
            | Error::NoAddress(_)
            | Error::NameServerFailed(..)
            | Error::BadName(_)
            | Error::NoNameServer => Self::HostUnreachable,
            _ => Self::GeneralFailure,
        }
    }
}

/// A proxy.
pub struct Socks {
    pub network: Userspace,
    pub login: Option<Arc<Login>>,
    pub associations: Arc<Associations>,
}

impl Socks {
    /// Serves a client to its end.
    ///
    /// # Errors
    /// The reason why it ended before its flow began.
    pub fn serve(&self, stream: &TcpStream, place: &Place) -> io::Result<()> {
        let mut client = Client::new(stream, flow::TIME);
        self.greet(&mut client)?;
        let [version, asked, _, kind] = client.exactly()?;
        if version != VERSION {
            return Err(ErrorKind::InvalidData.into());
        }
        let Some(target) = target(&mut client, kind)? else {
            return refuse(&mut client, Reply::AddressTypeNotSupported);
        };
        place.keep()?;
        match asked {
            command::CONNECT => self.connect(stream, client, &target),
            command::UDP_ASSOCIATE => self.associate(stream, client, &target),
            _ => refuse(&mut client, Reply::CommandNotSupported),
        }
    }

    /// Agrees on a method, and checks the login where there is one.
    fn greet(&self, client: &mut Client<'_, TcpStream>) -> io::Result<()> {
        let [version, count] = client.exactly()?;
        if version != VERSION {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut methods = vec![0; count.into()];
        client.fill(&mut methods)?;
        let wanted = match self.login {
            Some(_) => method::LOGIN,
            None => method::NONE,
        };
        if !methods.contains(&wanted) {
            client.answer(&[VERSION, method::UNACCEPTABLE])?;
            return Err(ErrorKind::PermissionDenied.into());
        }
        client.answer(&[VERSION, wanted])?;
        let Some(login) = &self.login else {
            return Ok(());
        };
        let [version, length] = client.exactly()?;
        if version != LOGIN_VERSION {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; length.into()];
        client.fill(&mut name)?;
        let [length] = client.exactly()?;
        let mut password = Zeroizing::new(vec![0; length.into()]);
        client.fill(&mut password)?;
        let right = login.is(&name, &password);
        client.answer(&[LOGIN_VERSION, u8::from(!right)])?;
        match right {
            true => Ok(()),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    fn connect(
        &self,
        stream: &TcpStream,
        mut client: Client<'_, TcpStream>,
        target: &Target,
    ) -> io::Result<()> {
        let Ok(network) = self.network.client() else {
            return refuse(&mut client, Reply::NetworkUnreachable);
        };
        match target.connect(&network) {
            Ok(remote) => {
                // The address beyond the modem is left out, because it means nothing here.
                let none = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                client.answer(&reply(Reply::Succeeded, none))?;
                flow::relay(stream, remote)
            }
            Err(error) => {
                tracing::debug!("SOCKS: {error}");
                refuse(&mut client, Reply::from(&error))
            }
        }
    }

    /// Opens an association for datagrams, which lasts as long as the client's connection.
    fn associate(
        &self,
        mut stream: &TcpStream,
        mut client: Client<'_, TcpStream>,
        expected: &Target,
    ) -> io::Result<()> {
        let Ok(network) = self.network.client() else {
            return refuse(&mut client, Reply::NetworkUnreachable);
        };
        let peer = stream.peer_addr()?.ip().to_canonical();
        // The port from which the client is going to send, where it knows that.
        let port = (expected.port > 0).then_some(expected.port);
        let association = match self.associations.open(&network, peer, port) {
            Ok(association) => association,
            Err(error) => {
                tracing::debug!("SOCKS: {error}");
                return refuse(&mut client, Reply::from(&error));
            }
        };
        let at = SocketAddr::new(stream.local_addr()?.ip(), self.associations.port());
        client.answer(&reply(Reply::Succeeded, at))?;
        stream.set_read_timeout(None)?;
        let mut rest = [0; 256];
        // Nothing more is expected on the connection but its end.
        while stream.read(&mut rest)? > 0 {}
        drop(association);
        Ok(())
    }
}

/// Reads an address of that kind with a port. Returns `None` for another kind and for anything that is
/// no name.
fn target(client: &mut Client<'_, TcpStream>, kind: u8) -> io::Result<Option<Target>> {
    let host = match kind {
        kind::IPV4 => Some(Host::Address(Ipv4Addr::from(client.exactly::<4>()?).into())),
        kind::IPV6 => Some(Host::Address(
            Ipv6Addr::from(client.exactly::<16>()?).into(),
        )),
        kind::NAME => {
            let [length] = client.exactly()?;
            let mut name = vec![0; length.into()];
            client.fill(&mut name)?;
            String::from_utf8(name)
                .ok()
                .and_then(|name| Host::parse(&name))
        }
        _ => None,
    };
    let port = u16::from_be_bytes(client.exactly()?);
    Ok(host.map(|host| Target { host, port }))
}

fn reply(what: Reply, at: SocketAddr) -> Vec<u8> {
    [&[VERSION, what as u8, 0][..], &address::bytes(at)].concat()
}

fn refuse(client: &mut Client<'_, TcpStream>, why: Reply) -> io::Result<()> {
    client.answer(&reply(why, (Ipv4Addr::UNSPECIFIED, 0).into()))
}
