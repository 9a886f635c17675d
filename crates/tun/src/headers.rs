//! Headers in front of a payload: the virtio network header of an offload TUN, and the outermost
//! headers of an IP packet, which tell where its transport header begins.
//!
//! The virtio header is that of `linux/virtio_net.h`, 10 bytes, with 16-bit fields in the machine's
//! byte order (the TUN driver's default). IP headers are those of RFC 791 and RFC 8200. The IPv6
//! extension headers that are skipped are those of `ipv6_gso_pull_exthdrs` in
//! net/ipv6/ip6_offload.c.

use thiserror::Error;

use crate::checksum::Sum;

/// Length of the virtio network header, in bytes.
pub const VNET_HEADER: usize = 10;
/// Length in bytes of the longest headers (IP with options or extensions, and TCP or UDP) of a
/// packet that is cut.
pub const MAX_HEADER: usize = 512;

/// Bit of the virtio header's `flags` that asks for the checksum to be completed.
const NEEDS_CSUM: u8 = 1;
/// Values of the virtio header's `gso_type`.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// Offsets of the checksum field in the transport headers.
pub(crate) const TCP_CHECKSUM: usize = 16;
pub(crate) const UDP_CHECKSUM: usize = 6;
pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const UDP_HEADER: usize = 8;
/// TCP flags, in byte 13 of the header.
pub(crate) mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const CWR: u8 = 0x80;
}

/// Reason why a packet with a virtio header cannot be cut or completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Refused {
    /// The packet ends inside its headers.
    #[error("the packet ends inside its headers")]
    Short,
    /// The packet is neither IPv4 nor IPv6, or the length of a header is impossible.
    #[error("it is no IP packet")]
    NotIp,
    /// The packet's headers are longer than [`MAX_HEADER`].
    #[error("its headers are too long")]
    HeaderTooLong,
    /// The kind of offload is unknown, or is not that of the packet.
    #[error("the kind of offload {0:#04x} is unknown, or does not fit the packet")]
    Kind(u8),
    /// The segments asked for have no bytes, or more than an IP packet can have.
    #[error("no packet can be cut into segments of {0} bytes")]
    Size(u16),
    /// The checksum would lie outside the packet, or not where the protocol has it.
    #[error("the checksum lies outside the packet, or not where the protocol has it")]
    Checksum,
    /// The packet is a fragment.
    #[error("a fragment cannot be cut")]
    Fragment,
}

/// Virtio network header, by which an offload TUN describes the packet behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VnetHeader {
    /// Offset in the packet from which the checksum is to be summed, and distance from there to the
    /// checksum field, both in bytes; `None` when the checksum is complete. The field holds the sum
    /// of the pseudo-header.
    pub checksum: Option<(u16, u16)>,
    /// Cut of a large packet into segments; `None` when the packet is one datagram.
    pub cut: Option<Cut>,
    /// Length of the headers in bytes, which the kernel keeps contiguous. In packets from the
    /// kernel it is a hint, and may be more.
    pub header: u16,
}

/// Cut of a large packet into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Kind of the packet.
    pub kind: Kind,
    /// Whether congestion was signalled (RFC 3168), so that only the first segment has the CWR
    /// flag.
    pub ecn: bool,
    /// Length in bytes of the payload of each segment but the last.
    pub size: u16,
}

/// Kind of a large packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP packet over IPv4.
    Tcp4,
    /// A TCP packet over IPv6.
    Tcp6,
    /// A UDP packet over IPv4 or IPv6.
    Udp,
}

impl VnetHeader {
    /// Header in front of a packet that is complete as it is.
    pub const PLAIN: VnetHeader = VnetHeader {
        checksum: None,
        cut: None,
        header: 0,
    };

    /// Reads a header as the kernel wrote it, in the host's byte order.
    ///
    /// # Errors
    /// [`Refused::Kind`] for kinds of offload that were not asked for, and [`Refused::Size`].
    #[inline]
    pub fn parse(bytes: &[u8; VNET_HEADER]) -> Result<VnetHeader, Refused> {
        let field = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let kind = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(Kind::Tcp4),
            GSO_TCPV6 => Some(Kind::Tcp6),
            GSO_UDP_L4 => Some(Kind::Udp),
            _ => return Err(Refused::Kind(bytes[1])),
        };
        let size = field(4);
        if kind.is_some() && size == 0 {
            return Err(Refused::Size(size));
        }
        Ok(VnetHeader {
            checksum: (bytes[0] & NEEDS_CSUM != 0).then(|| (field(6), field(8))),
            cut: kind.map(|kind| Cut {
                kind,
                ecn: bytes[1] & GSO_ECN != 0,
                size,
            }),
            header: field(2),
        })
    }

    /// Returns the header as the kernel reads it, in the host's byte order.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; VNET_HEADER] {
        let mut bytes = [0; VNET_HEADER];
        let mut field = |at: usize, value: u16| {
            bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        };
        field(2, self.header);
        if let Some(cut) = self.cut {
            field(4, cut.size);
        }
        if let Some((start, offset)) = self.checksum {
            field(6, start);
            field(8, offset);
            bytes[0] = NEEDS_CSUM;
        }
        if let Some(cut) = self.cut {
            bytes[1] = match cut.kind {
                Kind::Tcp4 => GSO_TCPV4,
                Kind::Tcp6 => GSO_TCPV6,
                Kind::Udp => GSO_UDP_L4,
            };
            if cut.ecn {
                bytes[1] |= GSO_ECN;
            }
        }
        bytes
    }
}

/// An IP packet's outermost headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// Whether the packet is IPv6; otherwise it is IPv4.
    pub v6: bool,
    /// Offset of the transport header in bytes.
    pub transport: usize,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Whether the packet is a fragment of a datagram.
    pub fragment: bool,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

impl Network {
    /// Reads the outermost headers of the packet that begins with `head`.
    #[inline]
    pub fn parse(head: &[u8]) -> Result<Network, Refused> {
        match head.first().ok_or(Refused::Short)? >> 4 {
            4 => {
                let header = head.get(..20).ok_or(Refused::Short)?;
                let transport = usize::from(header[0] & 15) * 4;
                if transport < 20 {
                    return Err(Refused::NotIp);
                }
                Ok(Network {
                    v6: false,
                    transport,
                    protocol: header[9],
                    // A fragment has the flag "more fragments", or an offset.
                    fragment: u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0,
                })
            }
            6 => {
                let mut protocol = *head.get(6).ok_or(Refused::Short)?;
                let mut transport = 40;
                while let HOP_BY_HOP | ROUTING | DESTINATION = protocol {
                    let extension = head.get(transport..transport + 2).ok_or(Refused::Short)?;
                    protocol = extension[0];
                    transport += 8 + usize::from(extension[1]) * 8;
                }
                Ok(Network {
                    v6: true,
                    transport,
                    protocol,
                    fragment: protocol == FRAGMENT,
                })
            }
            _ => Err(Refused::NotIp),
        }
    }

    /// Returns the sum of the pseudo-header (RFC 793, RFC 8200 section 8.1) without the length.
    /// `head` is the packet that was parsed.
    #[inline]
    pub fn pseudo(&self, head: &[u8]) -> Sum {
        let addresses = if self.v6 {
            head[8..].first_chunk::<32>().map(Sum::of_array)
        } else {
            head[12..].first_chunk::<8>().map(Sum::of_array)
        };
        addresses.unwrap_or_default() + Sum::of_u16(self.protocol.into())
    }
}

/// Writes the length, and the checksum that follows from it, into an IPv4 header, or the length
/// into an IPv6 header. `length` is that of the whole packet in bytes. The rest of the header is
/// complete already.
#[inline]
pub(crate) fn set_network_length(v6: bool, header: &mut [u8], length: u16) {
    if v6 {
        header[4..6].copy_from_slice(&length.saturating_sub(40).to_be_bytes());
    } else {
        header[2..4].copy_from_slice(&length.to_be_bytes());
        header[10..12].fill(0);
        let checksum = Sum::of(header).checksum();
        header[10..12].copy_from_slice(&checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtio_headers_read_as_written() {
        for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Udp] {
            for ecn in [false, true] {
                let header = VnetHeader {
                    checksum: Some((40, 16)),
                    cut: Some(Cut {
                        kind,
                        ecn,
                        size: 1448,
                    }),
                    header: 72,
                };
                assert_eq!(VnetHeader::parse(&header.encode()), Ok(header));
            }
        }
        assert_eq!(VnetHeader::PLAIN.encode(), [0; VNET_HEADER]);
        assert_eq!(VnetHeader::parse(&[0; VNET_HEADER]), Ok(VnetHeader::PLAIN));
        // The flag DATA_VALID says nothing that a sender needs.
        assert_eq!(
            VnetHeader::parse(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Ok(VnetHeader::PLAIN)
        );
    }

    #[test]
    fn the_layout_is_the_kernels() {
        // The fields of `struct virtio_net_hdr` are flags, gso_type, hdr_len, gso_size, csum_start
        // and csum_offset.
        let bytes = VnetHeader {
            checksum: Some((0x0101, 0x0202)),
            cut: Some(Cut {
                kind: Kind::Tcp6,
                ecn: true,
                size: 0x0303,
            }),
            header: 0x0404,
        }
        .encode();
        assert_eq!(bytes, [1, 0x84, 4, 4, 3, 3, 1, 1, 2, 2]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let of = |kind: u8, size: u8| VnetHeader::parse(&[0, kind, 0, 0, size, size, 0, 0, 0, 0]);
        // The kinds are UDP fragmentation offload, and a number without meaning.
        assert_eq!(of(3, 1), Err(Refused::Kind(3)));
        assert_eq!(of(0x7f, 1), Err(Refused::Kind(0x7f)));
        assert_eq!(of(1, 0), Err(Refused::Size(0)));
    }

    #[test]
    fn extension_headers_are_passed() {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = HOP_BY_HOP;
        packet.extend([DESTINATION, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([ROUTING, 1]);
        packet.extend([0; 14]);
        packet.extend([TCP, 0, 0, 0, 0, 0, 0, 0]);
        let network = Network::parse(&packet).expect("complete");
        assert_eq!(
            network,
            Network {
                v6: true,
                transport: 40 + 8 + 16 + 8,
                protocol: TCP,
                fragment: false
            }
        );
        assert_eq!(Network::parse(&packet[..65]), Err(Refused::Short));
        packet[40] = FRAGMENT;
        assert!(Network::parse(&packet).expect("complete").fragment);
    }

    #[test]
    fn what_is_no_ip_is_told() {
        assert_eq!(Network::parse(&[]), Err(Refused::Short));
        assert_eq!(Network::parse(&[0x45; 19]), Err(Refused::Short));
        assert_eq!(Network::parse(&[0x44; 20]), Err(Refused::NotIp));
        assert_eq!(Network::parse(&[0x55; 60]), Err(Refused::NotIp));
    }
}
