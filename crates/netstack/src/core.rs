//! The stack proper: smoltcp's interface and sockets over a link, polled.

use std::net::IpAddr;
use std::time::Instant;

use smoltcp::config::IFACE_MAX_ADDR_COUNT;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::error::Error;
use crate::link::{MAX_PACKET, PacketLink};
use crate::port::Port;

/// Packets taken from the link before sockets get to send again.
const INGRESS_BATCH: usize = 64;
/// Rounds of sending, one packet a socket each, before packets are taken again.
const EGRESS_ROUNDS: usize = 256;

/// Which checksums (IPv4 header, TCP, UDP, ICMP) the stack computes and verifies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksums {
    /// Computes when sending, verifies when receiving.
    #[default]
    Full,
    /// Computes when sending, trusts the link when receiving.
    SendOnly,
    /// Neither; both ends of the link must agree.
    None,
}

impl Checksums {
    fn capabilities(self) -> ChecksumCapabilities {
        let each = match self {
            Checksums::Full => Checksum::Both,
            Checksums::SendOnly => Checksum::Tx,
            Checksums::None => Checksum::None,
        };
        let mut capabilities = ChecksumCapabilities::default();
        capabilities.ipv4 = each;
        capabilities.udp = each;
        capabilities.tcp = each;
        capabilities.icmpv4 = each;
        capabilities.icmpv6 = each;
        capabilities
    }
}

/// TCP congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CongestionControl {
    /// The peer's window alone: for links without loss and without anybody else on them.
    None,
    /// CUBIC (RFC 9438).
    Cubic,
}

/// What every stack needs to know.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// The interface's own addresses with prefix length; at most eight.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Largest IP packet sent, bytes.
    pub mtu: usize,
    /// Checksum work.
    pub checksums: Checksums,
    /// Congestion control of TCP sockets.
    pub congestion: CongestionControl,
    /// Bytes of receive and of send buffer for each TCP socket; the receive buffer is the window.
    pub tcp_buffer: usize,
    /// Most TCP sockets at a time.
    pub max_tcp_sockets: usize,
    /// Seeds initial sequence numbers and ports. Not a secret.
    pub seed: u64,
}

impl Default for StackConfig {
    /// MTU 1500, 1 MiB buffers, 256 TCP sockets, CUBIC, full checksums, a random seed.
    fn default() -> StackConfig {
        use std::hash::{BuildHasher, RandomState};
        StackConfig {
            addresses: Vec::new(),
            mtu: 1500,
            checksums: Checksums::Full,
            congestion: CongestionControl::Cubic,
            tcp_buffer: 1 << 20,
            max_tcp_sockets: 256,
            seed: RandomState::new().hash_one(0_u8),
        }
    }
}

pub(crate) struct Core<L> {
    pub(crate) port: Port<L>,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) config: StackConfig,
    started: Instant,
}

impl<L: PacketLink> Core<L> {
    pub(crate) fn new(config: StackConfig, link: L, now: Instant) -> Result<Core<L>, Error> {
        if !(576..=MAX_PACKET).contains(&config.mtu) {
            return Err(Error::BadMtu(config.mtu));
        }
        let mut port = Port::new(link, config.mtu, config.checksums.capabilities());
        let mut hardware = Config::new(HardwareAddress::Ip);
        hardware.random_seed = config.seed;
        let interface = Interface::new(hardware, &mut port, smoltcp::time::Instant::ZERO);
        let mut core = Core {
            port,
            interface,
            sockets: SocketSet::new(Vec::new()),
            config,
            started: now,
        };
        let addresses = std::mem::take(&mut core.config.addresses);
        core.set_addresses(&addresses)?;
        Ok(core)
    }

    /// Replaces the interface's addresses. TCP sockets bound to one that has gone are closed by
    /// smoltcp; others live on.
    pub(crate) fn set_addresses(&mut self, addresses: &[(IpAddr, u8)]) -> Result<(), Error> {
        if addresses.len() > IFACE_MAX_ADDR_COUNT {
            return Err(Error::TooManyAddresses(
                addresses.len(),
                IFACE_MAX_ADDR_COUNT,
            ));
        }
        let mut checked = Vec::with_capacity(addresses.len());
        for &(address, prefix) in addresses {
            let (bits, broadcast) = match address {
                IpAddr::V4(v4) => (32, v4.is_broadcast()),
                IpAddr::V6(_) => (128, false),
            };
            if prefix > bits || broadcast || address.is_multicast() || address.is_unspecified() {
                return Err(Error::BadAddress(address, prefix));
            }
            if address.is_ipv6() && self.config.mtu < 1280 {
                return Err(Error::BadMtu(self.config.mtu));
            }
            checked.push(IpCidr::new(address.into(), prefix));
        }
        self.interface.update_ip_addrs(|own| {
            own.clear();
            own.extend(checked);
        });
        self.config.addresses = addresses.to_vec();
        Ok(())
    }

    pub(crate) fn stack_time(&self, now: Instant) -> smoltcp::time::Instant {
        let elapsed = now.saturating_duration_since(self.started);
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    /// Moves packets both ways, a bounded number. Whether it stopped with work left.
    pub(crate) fn exchange(&mut self, now: Instant) -> bool {
        let time = self.stack_time(now);
        self.interface.poll_maintenance(time);
        self.port.interrupted = false;
        let mut left = true;
        for _ in 0..INGRESS_BATCH {
            if self
                .interface
                .poll_ingress_single(time, &mut self.port, &mut self.sockets)
                == PollIngressSingleResult::None
            {
                left = self.port.interrupted;
                break;
            }
        }
        left | self.send(now)
    }

    /// Sends what sockets have to send, a bounded amount. Whether it stopped with more to send and
    /// room for it.
    pub(crate) fn send(&mut self, now: Instant) -> bool {
        let time = self.stack_time(now);
        for _ in 0..EGRESS_ROUNDS {
            if self
                .interface
                .poll_egress(time, &mut self.port, &mut self.sockets)
                == PollResult::None
            {
                return false;
            }
        }
        true
    }

    /// When the stack wants to be polled next, if ever, packets aside. While the link has no room
    /// this is not a moment in the past: the link will wake whoever waits.
    pub(crate) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let time = self.stack_time(now);
        let at = self.interface.poll_at(time, &self.sockets)?;
        if at <= time {
            if self.port.link.ready() {
                return Some(now);
            }
            // Timers do not run late by more than this while the link is full.
            return Some(now + std::time::Duration::from_millis(50));
        }
        Some(now + std::time::Duration::from_micros((at - time).total_micros()))
    }

    pub(crate) fn tcp_socket(&self) -> tcp::Socket<'static> {
        let size = self.config.tcp_buffer.clamp(4096, 1 << 30);
        let buffer = || tcp::SocketBuffer::new(vec![0; size]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(match self.config.congestion {
            CongestionControl::None => tcp::CongestionControl::None,
            CongestionControl::Cubic => tcp::CongestionControl::Cubic,
        });
        socket
    }
}
