//! The built-in network stack serves as the host's end where namespaces or TUN interfaces are
//! forbidden.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uwwan_modem::host::{HostConfig, HostControl, HostData, HostEnd, HostProvider, Single};
use uwwan_modem::status::{Addresses, Interface};
use uwwan_netstack::client::{Client, ClientConfig};
use uwwan_netstack::socket::{PacketSocket, SocketLink};
use uwwan_netstack::{Error, StackConfig};

use crate::commands::network::{Network, STALL, Stream};
use crate::failure::{Failure, FailureKind};

/// Number of payload bytes in an echo request, as many as `ping` sends.
const PAYLOAD: usize = 56;
/// MTU in bytes where the network has told none.
const MTU: u16 = 1500;

/// The built-in stack, which is there once the modem has brought it up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Userspace(Arc<Mutex<Option<Arc<Client>>>>);

impl Userspace {
    fn client(&self) -> io::Result<Arc<Client>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the host's end is not up"))
    }
}

impl Network for Userspace {
    fn ping(
        &mut self,
        target: IpAddr,
        _sequence: u16,
        timeout: Duration,
    ) -> io::Result<Option<Duration>> {
        match self.client()?.ping(target, PAYLOAD, timeout) {
            Ok(time) => Ok(Some(time)),
            Err(Error::Timeout { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn connect(&mut self, target: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.client()?.connect(target, STALL)?;
        stream.set_read_timeout(Some(STALL));
        stream.set_write_timeout(Some(STALL));
        Ok(Box::new(stream))
    }
}

impl HostProvider for Userspace {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let refuse = |error: Error| {
            Failure::new(FailureKind::Host, "start the built-in network stack").because(error)
        };
        let (link, socket) = SocketLink::pair().map_err(refuse)?;
        let (addresses, name_servers) = lists(&config.addresses);
        let mtu = match config.addresses.mtu {
            0 => MTU,
            mtu => mtu,
        };
        let client = Client::start(
            ClientConfig {
                addresses,
                name_servers,
                stack: StackConfig {
                    mtu: mtu.into(),
                    ..StackConfig::default()
                },
            },
            link,
        )
        .map_err(refuse)?;
        let client = Arc::new(client);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(HostEnd {
            control: Box::new(Control(client)),
            data: HostData::Single(Box::new(Data(socket))),
        })
    }
}

fn lists(addresses: &Addresses) -> (Vec<(IpAddr, u8)>, Vec<IpAddr>) {
    let four = addresses.ipv4.map(|p| (p.address.into(), p.prefix));
    let six = addresses.ipv6.map(|p| (p.address.into(), p.prefix));
    let servers = addresses.dns4.iter().map(|a| IpAddr::from(*a));
    let servers = servers.chain(addresses.dns6.iter().map(|a| IpAddr::from(*a)));
    (four.into_iter().chain(six).collect(), servers.collect())
}

/// The half of the host's end that moves packets: the driver's side of the stack's link.
struct Data(PacketSocket);

impl AsFd for Data {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Single for Data {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.receive(buffer)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)
    }
}

/// The half of the host's end that sets the stack's addresses and name servers.
struct Control(Arc<Client>);

impl HostControl for Control {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        let (addresses, name_servers) = lists(&config.addresses);
        self.0
            .reconfigure(&addresses, &name_servers)
            .map_err(|error| {
                Failure::new(FailureKind::Host, "reconfigure the built-in network stack")
                    .because(error)
            })
    }

    fn interface(&self) -> Interface {
        Interface {
            name: "the built-in stack".into(),
            ..Interface::default()
        }
    }
}
