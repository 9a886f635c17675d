//! Segmentation: a large packet is cut into the datagrams that it stands for, as the kernel would
//! cut it.
//!
//! # Theory of operation
//!
//! The kernel hands an offload TUN up to 64 KiB of one flow as one packet: the headers once, then
//! the payload of many segments. A [`Plan`] derives from those headers how many datagrams the
//! packet becomes and how long each is, and writes the headers of each in front of its payload,
//! wherever that lies. Payload is read for the checksum and never moved.
//!
//! The rules are those of the kernel's own segmentation (`tcp_gso_segment` in
//! net/ipv4/tcp_offload.c, `__udp_gso_segment` in net/ipv4/udp_offload.c, `inet_gso_segment` and
//! `ipv6_gso_segment`), byte for byte:
//!
//! * Every segment carries the same options and extension headers, and lengths and checksums of its
//!   own.
//! * The TCP sequence number advances. FIN and PSH are set on the last segment only, CWR on the
//!   first only.
//! * The IPv4 identification counts up from the packet's. (The kernel has flows whose
//!   identification stays; the virtio header cannot say so, and the kernel cuts those itself.)
//! * A packet whose payload is no longer than one segment is not cut. Only its checksum is
//!   completed, as is that of any packet that asks for it. A checksum of 0 is then written as
//!   0xffff (`skb_checksum_help`), and in UDP segments too; cut TCP segments keep 0.

use crate::checksum::Sum;
use crate::headers::{
    Kind, MAX_HEADER, Network, Refused, TCP, TCP_CHECKSUM, TCP_HEADER, UDP, UDP_CHECKSUM,
    UDP_HEADER, VnetHeader, flags,
};

/// Plan of the datagrams that one packet from an offload TUN becomes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Template of the headers; `None` for a packet that is not cut.
    cut: Option<Template>,
    checksum: Checksum,
    /// Length of the packet, in bytes.
    total: usize,
    /// Length of the headers in bytes; 0 for a packet that is not cut.
    header: usize,
    /// Length in bytes of the payload of every datagram but the last.
    size: usize,
    /// Number of datagrams.
    count: usize,
}

/// Checksum of a packet that the kernel leaves to the reader: the offset in bytes at which the
/// checksummed part of the packet begins, and the offset of the checksum; `None` when none is to be
/// completed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checksum(Option<(usize, usize)>);

impl Checksum {
    /// Returns the checksum that `vnet` leaves to the reader of a packet of `total` bytes.
    ///
    /// # Errors
    /// [`Refused::Checksum`] when it would lie outside the packet.
    #[inline]
    pub(crate) fn of(vnet: &VnetHeader, total: usize) -> Result<Checksum, Refused> {
        let Some((start, offset)) = vnet.checksum else {
            return Ok(Checksum(None));
        };
        let start = usize::from(start);
        let at = start + usize::from(offset);
        if at + 2 > total {
            return Err(Refused::Checksum);
        }
        Ok(Checksum(Some((start, at))))
    }

    /// Completes the checksum in the whole packet.
    #[inline]
    pub(crate) fn complete(self, packet: &mut [u8]) {
        if let Some((start, at)) = self.0 {
            let checksum = Sum::of(&packet[start..]).checksum_not_zero();
            packet[at..at + 2].copy_from_slice(&checksum);
        }
    }
}

/// Headers that all segments share, and the sums of their checksums.
#[derive(Debug, Clone)]
struct Template {
    /// The headers; fields that differ from segment to segment are zero.
    header: [u8; MAX_HEADER],
    /// Whether the packet is IPv6; otherwise it is IPv4.
    v6: bool,
    /// Whether the packet is TCP; otherwise it is UDP.
    tcp: bool,
    /// Offset of the transport header in bytes.
    transport: usize,
    /// Sum of the IPv4 header.
    network_sum: Sum,
    /// Sum of the pseudo-header and the transport header.
    transport_sum: Sum,
    /// IPv4 identification of the first segment.
    identification: u16,
    /// TCP sequence number of the first segment.
    sequence: u32,
    /// Bytes 12 and 13 of the TCP header: header length and flags.
    flags: [u8; 2],
}

impl Plan {
    /// Makes the plan for a packet of `total` bytes that begins with `head`, which must have all
    /// headers.
    ///
    /// # Errors
    /// [`Refused::Short`] when `head` ends inside the headers, and other kinds for packets that no
    /// kernel sends.
    #[inline]
    pub fn new(vnet: &VnetHeader, head: &[u8], total: usize) -> Result<Plan, Refused> {
        if total == 0 {
            return Err(Refused::Short);
        }
        let head = &head[..head.len().min(total)];
        let whole = Plan {
            cut: None,
            checksum: Checksum::of(vnet, total)?,
            total,
            header: 0,
            size: total,
            count: 1,
        };
        match vnet.cut {
            None => Ok(whole),
            Some(cut) => {
                let mut plan = whole;
                plan.cut(cut.kind, cut.size, head)?;
                Ok(plan)
            }
        }
    }

    /// Adds the cut into segments of `size` bytes of payload.
    ///
    /// # Errors
    /// As [`Plan::new`].
    fn cut(&mut self, kind: Kind, size: u16, head: &[u8]) -> Result<(), Refused> {
        let network = Network::parse(head)?;
        let tcp = kind != Kind::Udp;
        let fits = match kind {
            Kind::Tcp4 => !network.v6 && network.protocol == TCP,
            Kind::Tcp6 => network.v6 && network.protocol == TCP,
            Kind::Udp => network.protocol == UDP,
        };
        if network.fragment {
            return Err(Refused::Fragment);
        }
        if !fits {
            return Err(Refused::Kind(kind as u8));
        }
        let transport = network.transport;
        let field = transport + if tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
        if self
            .checksum
            .0
            .is_some_and(|place| place != (transport, field))
        {
            return Err(Refused::Checksum);
        }
        let header = if tcp {
            let length = usize::from(head.get(transport + 12).ok_or(Refused::Short)? >> 4) * 4;
            if length < TCP_HEADER {
                return Err(Refused::NotIp);
            }
            transport + length
        } else {
            transport + UDP_HEADER
        };
        if header > MAX_HEADER {
            return Err(Refused::HeaderTooLong);
        }
        if header > head.len() {
            return Err(Refused::Short);
        }
        let payload = self.total - header;
        let segment = usize::from(size);
        if payload <= segment {
            return Ok(());
        }
        if header + segment > usize::from(u16::MAX) {
            return Err(Refused::Size(size));
        }
        self.header = header;
        self.size = segment;
        self.count = payload.div_ceil(segment);
        let partial = self.checksum.0.is_some();
        let template = Template::new(&network, tcp, partial, self.total, &head[..header]);
        self.cut = Some(template);
        Ok(())
    }

    /// Returns the number of datagrams, at least 1.
    #[inline]
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.count
    }

    /// Returns the number of datagrams that are as long as the first.
    #[inline]
    #[must_use]
    pub(crate) fn full_datagrams(&self) -> usize {
        let last = self.count - 1;
        last + usize::from(self.length(last) == self.length(0))
    }

    /// Returns whether the packet becomes several datagrams.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Returns the number of bytes to leave in front of each payload for the headers; 0 for a
    /// packet that is not cut, whose headers count as payload.
    #[inline]
    #[must_use]
    pub fn header(&self) -> usize {
        self.header
    }

    /// Returns the length in bytes of the datagram of that number, from 0, headers included; 0
    /// beyond the last.
    #[inline]
    #[must_use]
    pub fn length(&self, index: usize) -> usize {
        match self.payload(index).len() {
            0 => 0,
            payload => self.header + payload,
        }
    }

    /// Returns the range of the packet's bytes that is the payload of the datagram of that number.
    #[inline]
    #[must_use]
    pub fn payload(&self, index: usize) -> std::ops::Range<usize> {
        let start = self
            .size
            .saturating_mul(index)
            .saturating_add(self.header)
            .min(self.total);
        start..start.saturating_add(self.size).min(self.total)
    }

    /// Completes the datagram of that number, whose payload is in place behind [`Plan::header`]
    /// bytes of room, by writing the headers and the checksums. A datagram of another length than
    /// [`Plan::length`] is left as it is.
    #[inline]
    pub fn write(&self, index: usize, datagram: &mut [u8]) {
        if datagram.len() != self.length(index) || index >= self.count {
            return;
        }
        match &self.cut {
            Some(template) => {
                let last = index + 1 == self.count;
                template.write(index, last, self.size, self.header, datagram);
            }
            None => self.checksum.complete(datagram),
        }
    }
}

impl Template {
    /// Makes the template from the headers `head` of a packet of `total` bytes. If its checksum
    /// field holds a `partial` sum, that sum is used with the length exchanged, as the kernel does:
    /// with a routing header the sum covers other addresses than those in the IP header.
    fn new(network: &Network, tcp: bool, partial: bool, total: usize, head: &[u8]) -> Template {
        let mut header = [0; MAX_HEADER];
        header[..head.len()].copy_from_slice(head);
        let at = network.transport;
        let mut identification = 0;
        if !network.v6 {
            identification = u16::from_be_bytes([head[4], head[5]]);
            header[2..6].fill(0);
            header[10..12].fill(0);
        }
        let (mut sequence, mut flags) = (0, [0; 2]);
        let mut transport_sum = network.pseudo(head);
        if partial {
            let (field, length) = if tcp {
                (TCP_CHECKSUM, (total - at) as u32)
            } else {
                (
                    UDP_CHECKSUM,
                    u32::from(u16::from_be_bytes([head[at + 4], head[at + 5]])),
                )
            };
            let field = [head[at + field], head[at + field + 1]];
            // In one's complement, a number is subtracted by adding its complement.
            transport_sum = Sum::of(&field) + Sum::of_u32(!length);
        }
        if tcp {
            sequence = u32::from_be_bytes([head[at + 4], head[at + 5], head[at + 6], head[at + 7]]);
            flags = [head[at + 12], head[at + 13]];
            header[at + 4..at + 8].fill(0);
            header[at + 12..at + 14].fill(0);
            header[at + TCP_CHECKSUM..at + TCP_CHECKSUM + 2].fill(0);
        } else {
            header[at + 4..at + 8].fill(0);
        }
        Template {
            v6: network.v6,
            tcp,
            transport: at,
            network_sum: Sum::of(&header[..at]),
            transport_sum: transport_sum + Sum::of(&header[at..head.len()]),
            identification,
            sequence,
            flags,
            header,
        }
    }

    /// Writes the headers of a segment in front of its payload. `size` is the length in bytes of
    /// the payload of every segment but the last, and `header` is that of the headers.
    #[inline]
    fn write(&self, index: usize, last: bool, size: usize, header: usize, datagram: &mut [u8]) {
        let total = datagram.len();
        let (head, payload) = datagram.split_at_mut(header);
        head.copy_from_slice(&self.header[..header]);
        let (network, transport) = head.split_at_mut(self.transport);
        if self.v6 {
            network[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
        } else {
            let identification = self.identification.wrapping_add(index as u16);
            network[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            network[4..6].copy_from_slice(&identification.to_be_bytes());
            let sum = self.network_sum + Sum::of_u16(total as u16) + Sum::of_u16(identification);
            network[10..12].copy_from_slice(&sum.checksum());
        }
        let length = (total - self.transport) as u16;
        let mut sum = self.transport_sum + Sum::of(payload) + Sum::of_u16(length);
        if self.tcp {
            let sequence = self.sequence.wrapping_add((index * size) as u32);
            let mut flags = self.flags;
            if !last {
                flags[1] &= !(flags::FIN | flags::PSH);
            }
            if index > 0 {
                flags[1] &= !flags::CWR;
            }
            transport[4..8].copy_from_slice(&sequence.to_be_bytes());
            transport[12..14].copy_from_slice(&flags);
            sum += Sum::of_u32(sequence) + Sum::of_u16(u16::from_be_bytes(flags));
            transport[16..18].copy_from_slice(&sum.checksum());
        } else {
            transport[4..6].copy_from_slice(&length.to_be_bytes());
            sum += Sum::of_u16(length);
            transport[6..8].copy_from_slice(&sum.checksum_not_zero());
        }
    }
}
