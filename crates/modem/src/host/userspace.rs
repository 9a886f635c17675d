//! The built-in network stack as the host interface: a host in this process, of which the kernel
//! knows nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use uwwan_netstack::client::{Client, ClientConfig};
use uwwan_netstack::socket::{PacketSocket, SocketLink};
use uwwan_netstack::{Error, StackConfig};

use super::control::{HostControl, HostEnd, HostProvider};
use super::data::{HostData, Single};
use super::plan::HostConfig;
use crate::failure::{Failure, FailureKind};
use crate::status::{Addresses, Interface, InterfaceType};

/// MTU in bytes where the network has given none.
const MTU: u16 = 1500;

/// The built-in stacks, one for each data session. A stack exists once the modem has brought its session
/// up. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Userspace {
    clients: Arc<Mutex<BTreeMap<u8, Arc<Client>>>>,
    /// MBIM session id of the session whose stack is returned.
    session: u8,
    /// Descriptions of the listeners for other programs, each with the data session they lead to.
    told: Arc<[(u8, String)]>,
}

impl Userspace {
    /// Returns stacks whose status names these listeners for other programs.
    pub fn telling(told: &[(u8, String)]) -> Self {
        Self {
            clients: Arc::default(),
            session: 0,
            told: told.into(),
        }
    }

    /// Returns the stack of another data session.
    #[must_use]
    pub fn of_session(&self, session: u8) -> Self {
        Self {
            session,
            ..self.clone()
        }
    }

    /// Returns the stack, that of session 0 unless [`Userspace::of_session`] has chosen another.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] while the modem has not brought it up.
    pub fn client(&self) -> io::Result<Arc<Client>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.get(&self.session).map(Arc::clone);
        client.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, "the host interface is not up")
        })
    }
}

impl HostProvider for Userspace {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        if config.ethernet.is_some() {
            return Err(Failure::new(FailureKind::Usage, "an option makes no sense")
                .at("--net userspace")
                .because(
                    "the device carries Ethernet frames, and the built-in network stack IP alone",
                )
                .next("leave it out"));
        }
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
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(config.session, Arc::clone(&client));
        let told = self.told.iter().filter(|(of, _)| *of == config.session);
        Ok(HostEnd {
            control: Box::new(Control {
                client,
                told: told.map(|(_, line)| line.clone()).collect(),
            }),
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

/// The half of the host interface that moves packets: the driver's side of the stack's link.
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

/// The half of the host interface that sets the stack's addresses and name servers.
struct Control {
    client: Arc<Client>,
    told: Vec<String>,
}

impl HostControl for Control {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        let (addresses, name_servers) = lists(&config.addresses);
        self.client
            .reconfigure(&addresses, &name_servers)
            .map_err(|error| {
                Failure::new(FailureKind::Host, "reconfigure the built-in network stack")
                    .because(error)
            })
    }

    fn interface(&self) -> Interface {
        Interface {
            name: "the built-in stack".into(),
            kind: InterfaceType::BuiltIn,
            applied: self.told.clone(),
            ..Interface::default()
        }
    }
}
