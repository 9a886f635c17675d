//! The core of every stack: smoltcp's interface and sockets over a link.

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

/// Number of packets taken from the link before sockets may send again.
const INGRESS_BATCH: usize = 64;
/// Number of rounds of sending, with one packet for each socket, before packets are received again.
const EGRESS_ROUNDS: usize = 256;

/// Choice of which checksums (IPv4 header, TCP, UDP, ICMP) the stack computes and verifies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksums {
    /// The stack computes them when sending and verifies them when receiving.
    #[default]
    Full,
    /// The stack computes them when sending and trusts the link when receiving.
    SendOnly,
    /// The stack does neither; both ends of the link must agree on that.
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
    /// Only the peer's window limits the flow, as on a link without loss that no other flow shares.
    None,
    /// CUBIC (RFC 9438).
    Cubic,
}

/// Configuration of a stack.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Addresses of the interface, at most eight, each with the length of its prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Length in bytes of the largest IP packet sent, from 576 to 65535; at least 1280 with IPv6.
    pub mtu: usize,
    /// Which checksums are computed and verified.
    pub checksums: Checksums,
    /// Congestion control of TCP sockets.
    pub congestion: CongestionControl,
    /// Size in bytes of the receive buffer and of the send buffer of each TCP socket. The receive
    /// buffer is the receive window.
    pub tcp_buffer: usize,
    /// Largest number of TCP sockets at a time.
    pub max_tcp_sockets: usize,
    /// Time of silence after which a client's stream probes whether its peer is still there. A peer
    /// that is silent for five times as long has vanished.
    pub silence: std::time::Duration,
    /// Seed of initial sequence numbers and ports, which is no secret.
    pub seed: u64,
}

impl Default for StackConfig {
    /// Returns an MTU of 1500, buffers of 1 MiB, 256 TCP sockets, CUBIC, full checksums, a minute
    /// of silence and a random seed, without addresses.
    fn default() -> StackConfig {
        use std::hash::{BuildHasher, RandomState};
        StackConfig {
            addresses: Vec::new(),
            mtu: 1500,
            checksums: Checksums::Full,
            congestion: CongestionControl::Cubic,
            tcp_buffer: 1 << 20,
            max_tcp_sockets: 256,
            silence: std::time::Duration::from_secs(60),
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

    /// Replaces the interface's addresses. smoltcp closes the TCP sockets that are bound to an
    /// address that has gone; the others stay open.
    ///
    /// # Errors
    /// Returns the fault of the addresses, which have not changed then.
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

    /// Returns the time since the stack was made, as smoltcp counts it.
    pub(crate) fn stack_time(&self, now: Instant) -> smoltcp::time::Instant {
        let elapsed = now.saturating_duration_since(self.started);
        smoltcp::time::Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    /// Moves a bounded number of packets both ways. Returns whether work is left.
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

    /// Sends a bounded amount of the data that sockets have. Returns whether there is more to send
    /// and room for it.
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

    /// Returns when the stack is to be polled next if no packet comes; `None` for never. While the
    /// link has no room that is not a time in the past, because the link ends the wait when it has
    /// room.
    pub(crate) fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let time = self.stack_time(now);
        let at = self.interface.poll_at(time, &self.sockets)?;
        if at <= time {
            if self.port.link.ready() {
                return Some(now);
            }
            // While the link is full, timers are late by no more than this.
            return Some(now + std::time::Duration::from_millis(50));
        }
        Some(now + std::time::Duration::from_micros((at - time).total_micros()))
    }

    /// Makes a TCP socket with the configured buffers and options.
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
