//! The network behind the modem: built in, a packet descriptor of the machine, or one that the
//! caller implements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use uwwan_netstack::link::PacketLink;
use uwwan_netstack::memory::{self, Capacity, MemoryLink};
use uwwan_netstack::server::{Server, ServerConfig, ServerThread};

use crate::knobs::Knobs;
use crate::waker::Waker;

/// Choice of the network behind the modem.
pub enum FarSide {
    /// The built-in server: any address answers ping, DNS, HTTP with a large body, TCP and UDP sinks
    /// and UDP echo (see `uwwan_netstack::server`).
    BuiltIn,
    /// The built-in server with a configuration that the caller makes.
    Server(Box<ServerConfig>),
    /// A descriptor that moves one IP packet with each read and write, without a header: a TUN
    /// device opened with `IFF_NO_PI`, or a datagram socket. Its addresses and routes are up to the
    /// caller; [`v4`] and [`v6`] return those that the modem reports.
    Descriptor(OwnedFd),
    /// A network that the caller implements.
    Network(Box<dyn Network>),
}

impl std::fmt::Debug for FarSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BuiltIn => "BuiltIn",
            Self::Server(_) => "Server",
            Self::Descriptor(_) => "Descriptor",
            Self::Network(_) => "Network",
        })
    }
}

impl FarSide {
    /// Starts the network. `waker` wakes the device's thread.
    ///
    /// # Errors
    /// Fails when the descriptor cannot be made non-blocking, or a thread cannot be started.
    pub(crate) fn start(self, waker: &Arc<Waker>) -> std::io::Result<Box<dyn Network>> {
        Ok(match self {
            Self::BuiltIn => Box::new(BuiltIn::start(ServerConfig::default(), waker)?),
            Self::Server(config) => Box::new(BuiltIn::start(*config, waker)?),
            Self::Descriptor(descriptor) => Box::new(Descriptor::new(descriptor)?),
            Self::Network(mut network) => {
                let waker = Arc::clone(waker);
                network.on_event(Box::new(move || waker.wake()));
                network
            }
        })
    }
}

/// A network at the device's end of the radio link. No method blocks.
pub trait Network: Send {
    /// Takes a packet from the modem. Returns `false` when there is no room; the packet is offered again
    /// then.
    fn send(&mut self, packet: &[u8]) -> bool;

    /// Puts the oldest packet for the modem into `room` and returns its length in bytes. A packet
    /// that does not fit is lost and returned with length 0.
    fn receive(&mut self, room: &mut [u8]) -> Option<usize>;

    /// Returns a descriptor that becomes readable when [`Network::receive`] has something, and writable
    /// when [`Network::send`] has room.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns whether a packet for which there was no room can be offered again once the
    /// descriptor is writable. Otherwise it can be after the time that [`Network::advance`]
    /// returns.
    fn waits_for_descriptor(&self) -> bool {
        true
    }

    /// Sets the function to call, from any thread, when there may be a packet or room again. It is
    /// for networks without a descriptor.
    fn on_event(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        drop(notify);
    }

    /// Lets the network act, and returns the time after which it must be called again at the
    /// latest. It is called before and after the modem has acted, so that a network may collect
    /// packets and send several at once.
    fn advance(&mut self) -> Option<Duration> {
        None
    }
}

/// The built-in network: the server of the userspace stack on a thread of its own. Dropping it ends
/// the server.
struct BuiltIn {
    /// This end of the server's link.
    link: MemoryLink,
    _server: ServerThread,
}

impl BuiltIn {
    fn start(config: ServerConfig, waker: &Arc<Waker>) -> std::io::Result<Self> {
        let (link, far) = memory::pair(Capacity::default());
        let waker = Arc::clone(waker);
        link.on_event(move || waker.wake());
        let server = Server::spawn(config, far).map_err(std::io::Error::other)?;
        Ok(Self {
            link,
            _server: server,
        })
    }
}

impl Network for BuiltIn {
    fn send(&mut self, packet: &[u8]) -> bool {
        Network::send(&mut self.link, packet)
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        PacketLink::receive(&mut self.link, room)
    }
}

/// A packet descriptor. It makes the system calls `read` and `write`, one for each packet.
struct Descriptor {
    descriptor: OwnedFd,
}

impl Descriptor {
    fn new(descriptor: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self { descriptor })
    }
}

impl Network for Descriptor {
    fn send(&mut self, packet: &[u8]) -> bool {
        match rustix::io::write(self.descriptor.as_fd(), packet) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => false,
            // A TUN that is down or refuses the packet loses it, as any network may.
            _ => true,
        }
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        rustix::io::read(self.descriptor.as_fd(), room).ok()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }
}

impl Network for MemoryLink {
    fn send(&mut self, packet: &[u8]) -> bool {
        // A link whose other end is gone loses every packet, so that the modem does not wait for
        // it.
        PacketLink::send(self, packet) || self.closed()
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        PacketLink::receive(self, room)
    }

    fn on_event(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        MemoryLink::on_event(self, notify);
    }
}

/// Configuration of a data session for IPv4. Session 0 has the addresses that T. Anderson's unit
/// had ("Huawei ME906s / HP lt4132: enabling IPv6", 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V4 {
    /// Address of the host.
    pub address: Ipv4Addr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// Address of the gateway.
    pub gateway: Ipv4Addr,
    /// Addresses of the name servers.
    pub dns: [Ipv4Addr; 2],
}

/// Configuration of a data session for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V6 {
    /// Address of the host.
    pub address: Ipv6Addr,
    /// Prefix length in bits.
    pub prefix: u8,
    /// Address of the gateway. It is `::`, which means none; the default route is on-link.
    pub gateway: Ipv6Addr,
    /// Addresses of the name servers.
    pub dns: [Ipv6Addr; 2],
}

/// Returns the IPv4 configuration of a data session.
#[must_use]
pub fn v4(session: u8) -> V4 {
    // Session n has the n-th network of four addresses after 10.169.198.76/30, that of session 0.
    let network = u32::from(Ipv4Addr::new(10, 169, 198, 76)) + u32::from(session) * 4;
    V4 {
        address: (network + 1).into(),
        prefix: 30,
        gateway: (network + 2).into(),
        dns: [
            Ipv4Addr::new(193, 213, 112, 4),
            Ipv4Addr::new(130, 67, 15, 198),
        ],
    }
}

/// Returns the IPv6 configuration of a data session.
#[must_use]
pub fn v6(session: u8) -> V6 {
    V6 {
        address: Ipv6Addr::new(
            0x2a02,
            0x2121,
            0x2c4,
            0x7105 + u16::from(session),
            0x5a2c,
            0x80ff,
            0xfe13,
            0x9208,
        ),
        prefix: 64,
        gateway: Ipv6Addr::UNSPECIFIED,
        dns: [
            Ipv6Addr::new(0x2001, 0x4600, 4, 0xfff, 0, 0, 0, 0x52),
            Ipv6Addr::new(0x2001, 0x4600, 4, 0x1fff, 0, 0, 0, 0x52),
        ],
    }
}

/// Returns the IPv4 configuration of a data session, as the knobs set it.
pub(crate) fn v4_of(session: u8, knobs: &Knobs) -> V4 {
    let usual = v4(session);
    if session != 0 {
        let Some(known) = knobs.session_addresses.of(session, true) else {
            return usual;
        };
        let (IpAddr::V4(address), gateway) = (known.address, known.gateway) else {
            return usual;
        };
        return V4 {
            address,
            gateway: match gateway {
                Some(IpAddr::V4(gateway)) => gateway,
                // The gateway is the other host of the network of four addresses.
                _ => (u32::from(address) ^ 3).into(),
            },
            ..usual
        };
    }
    V4 {
        address: knobs.ipv4_address.unwrap_or(usual.address),
        prefix: knobs
            .ipv4_address
            .map_or(usual.prefix, |_| knobs.ipv4_prefix),
        gateway: knobs.ipv4_gateway.unwrap_or(usual.gateway),
        dns: knobs.ipv4_dns.map_or(usual.dns, |server| [server; 2]),
    }
}

/// Returns the IPv6 configuration of a data session, as the knobs set it.
pub(crate) fn v6_of(session: u8, knobs: &Knobs) -> V6 {
    let usual = v6(session);
    if session != 0 {
        let known = knobs.session_addresses.of(session, false);
        return match known.map(|known| (known.address, known.gateway)) {
            Some((IpAddr::V6(address), gateway)) => V6 {
                address,
                gateway: match gateway {
                    Some(IpAddr::V6(gateway)) => gateway,
                    _ => usual.gateway,
                },
                ..usual
            },
            _ => usual,
        };
    }
    V6 {
        address: knobs.ipv6_address.unwrap_or(usual.address),
        gateway: knobs.ipv6_gateway.unwrap_or(usual.gateway),
        dns: knobs.ipv6_dns.map_or(usual.dns, |server| [server; 2]),
        ..usual
    }
}

/// Returns the link-local address with the interface identifier of `address`.
#[must_use]
pub fn link_local(address: Ipv6Addr) -> Ipv6Addr {
    let segments = address.segments();
    let [_, _, _, _, a, b, c, d] = segments;
    Ipv6Addr::new(0xfe80, 0, 0, 0, a, b, c, d)
}

/// Returns the data session that an IP packet for the host belongs to, by its destination: the
/// session with that IPv4 address or that IPv6 prefix, and session 0 for every other destination.
pub(crate) fn session_of(packet: &[u8], knobs: &Knobs) -> u8 {
    let destination = destination(packet);
    let meant = |own: IpAddr| match (own, destination) {
        (IpAddr::V4(own), Some(IpAddr::V4(to))) => own == to,
        (IpAddr::V6(own), Some(IpAddr::V6(to))) => own.segments()[..4] == to.segments()[..4],
        _ => false,
    };
    let mut further = knobs.session_addresses.iter();
    if let Some(known) = further.find(|known| meant(known.address)) {
        return known.session;
    }
    match destination {
        Some(IpAddr::V4(address)) if knobs.ipv4_address == Some(address) => 0,
        Some(IpAddr::V6(address))
            if knobs
                .ipv6_address
                .is_some_and(|own| own.segments()[..4] == address.segments()[..4]) =>
        {
            0
        }
        Some(IpAddr::V4(address)) => {
            let offset = u32::from(address).wrapping_sub(u32::from(v4(0).address));
            if offset < 1024 && offset % 4 == 0 {
                (offset / 4) as u8
            } else {
                0
            }
        }
        Some(IpAddr::V6(address)) => {
            let (segments, base) = (address.segments(), v6(0).address.segments());
            let offset = segments[3].wrapping_sub(base[3]);
            if segments[..3] == base[..3] && offset < 256 {
                offset as u8
            } else {
                0
            }
        }
        None => 0,
    }
}

/// Returns the destination address of an IP packet, or `None` for bytes that are no IP packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(
            <[u8; 16]>::try_from(packet.get(24..40)?).ok()?,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sessions_have_the_addresses_they_are_told() {
        let text = "1:100.65.0.9-100.65.0.10+1:2001:db8:1::5+2:100.66.0.5";
        let mut knobs = Knobs::default();
        knobs.set("session_addresses", text).unwrap();
        assert_eq!(knobs.to_string(), format!("session_addresses={text}"));
        let addresses = |session| {
            let (four, six) = (v4_of(session, &knobs), v6_of(session, &knobs));
            [
                four.address.to_string(),
                four.gateway.to_string(),
                six.address.to_string(),
            ]
        };
        assert_eq!(addresses(1), ["100.65.0.9", "100.65.0.10", "2001:db8:1::5"]);
        assert_eq!(addresses(2)[..2], ["100.66.0.5", "100.66.0.6"]);
        assert_eq!(v4_of(3, &knobs), v4(3));
        let to = |address: Ipv4Addr| {
            let mut packet = vec![0x45; 20];
            packet[16..20].copy_from_slice(&address.octets());
            session_of(&packet, &knobs)
        };
        assert_eq!(to([100, 65, 0, 9].into()), 1);
        assert_eq!(to([100, 66, 0, 5].into()), 2);
        assert_eq!(to(v4(3).address), 3);
        assert_eq!(to(v4(0).address), 0);
        for wrong in [
            "0:10.0.0.1",
            "1",
            "1:x",
            "1:10.0.0.1-2001:db8::1",
            "1:10.0.0.1+",
        ] {
            assert!(knobs.set("session_addresses", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn session_0_has_the_addresses_of_the_post() {
        assert_eq!(v4(0).address.to_string(), "10.169.198.77");
        assert_eq!(v4(0).gateway.to_string(), "10.169.198.78");
        assert_eq!(
            v6(0).address.to_string(),
            "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"
        );
        assert_eq!(v6(0).dns[0].to_string(), "2001:4600:4:fff::52");
    }

    #[test]
    fn packets_find_their_session() {
        let mut packet = [0u8; 40];
        packet[0] = 0x45;
        for session in [0, 1, 7, 255] {
            packet[16..20].copy_from_slice(&v4(session).address.octets());
            assert_eq!(session_of(&packet, &Knobs::default()), session);
        }
        packet[16..20].copy_from_slice(&[8, 8, 8, 8]);
        assert_eq!(session_of(&packet, &Knobs::default()), 0);
        // An address that a knob gives to session 0 belongs to it, even if another session has it
        // by default.
        let own: Knobs = "ipv4_address=10.169.198.81".parse().unwrap();
        packet[16..20].copy_from_slice(&v4(1).address.octets());
        assert_eq!(session_of(&packet, &own), 0);
        packet[0] = 0x60;
        packet[24..40].copy_from_slice(&v6(3).address.octets());
        assert_eq!(session_of(&packet, &Knobs::default()), 3);
        assert_eq!(session_of(&[], &Knobs::default()), 0);
        assert_eq!(session_of(&[0x60; 10], &Knobs::default()), 0);
    }
}
