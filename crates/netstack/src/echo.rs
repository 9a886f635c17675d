//! ICMP echo requests as messages and as whole packets.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv4Repr, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    IpRepr, Ipv4Packet, Ipv6Address, Ipv6Packet,
};

/// Length of the header of an echo message in bytes.
pub(crate) const HEADER: usize = 8;
/// Hop limit of a packet, the same as in Linux.
const HOP_LIMIT: u8 = 64;

/// Returns an echo request as a whole IP packet with its checksums. Returns `None` when the
/// addresses are not of one family, or the packet would be longer than its length field can state.
#[must_use]
pub fn request(
    from: IpAddr,
    to: IpAddr,
    ident: u16,
    sequence: u16,
    data: &[u8],
) -> Option<Vec<u8>> {
    let protocol = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => IpProtocol::Icmp,
        (IpAddr::V6(_), IpAddr::V6(_)) => IpProtocol::Icmpv6,
        _ => return None,
    };
    let length = HEADER + data.len();
    let header = IpRepr::new(from.into(), to.into(), protocol, length, HOP_LIMIT);
    if header.buffer_len() > usize::from(u16::MAX) {
        return None;
    }
    let checksums = ChecksumCapabilities::default();
    let mut packet = vec![0; header.buffer_len()];
    header.emit(&mut packet[..], &checksums);
    let message = &mut packet[header.header_len()..];
    let source = match from {
        IpAddr::V6(from) => from,
        IpAddr::V4(_) => Ipv6Address::UNSPECIFIED,
    };
    emit(message, source, to, ident, sequence, data, &checksums);
    Some(packet)
}

/// Writes an echo request to `to` without its IP header into `message`, which has [`HEADER`] bytes
/// more than `data`. The checksum of ICMPv6 covers `source`.
pub(crate) fn emit(
    message: &mut [u8],
    source: Ipv6Address,
    to: IpAddr,
    ident: u16,
    seq_no: u16,
    data: &[u8],
    checksums: &ChecksumCapabilities,
) {
    match to {
        IpAddr::V4(_) => Icmpv4Repr::EchoRequest {
            ident,
            seq_no,
            data,
        }
        .emit(&mut Icmpv4Packet::new_unchecked(message), checksums),
        IpAddr::V6(to) => Icmpv6Repr::EchoRequest {
            ident,
            seq_no,
            data,
        }
        .emit(
            &source,
            &to,
            &mut Icmpv6Packet::new_unchecked(message),
            checksums,
        ),
    }
}

/// An echo reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Identifier of the request.
    pub ident: u16,
    /// Data of the request as they came back.
    pub data: &'a [u8],
    /// Whether the checksums fit.
    pub sound: bool,
}

/// Reads a whole IP packet. Returns `None` for anything but an echo reply without IPv6 extension
/// headers.
#[must_use]
pub fn reply(packet: &[u8]) -> Option<Reply<'_>> {
    match packet.first()? >> 4 {
        4 => {
            let outer = Ipv4Packet::new_checked(packet).ok()?;
            let start = usize::from(outer.header_len());
            let end = usize::from(outer.total_len());
            if outer.next_header() != IpProtocol::Icmp {
                return None;
            }
            let inner = Icmpv4Packet::new_checked(packet.get(start..end)?).ok()?;
            (inner.msg_type() == Icmpv4Message::EchoReply).then_some(())?;
            Some(Reply {
                ident: inner.echo_ident(),
                data: packet.get(start + HEADER..end)?,
                sound: outer.verify_checksum() && inner.verify_checksum(),
            })
        }
        6 => {
            let outer = Ipv6Packet::new_checked(packet).ok()?;
            let (start, end) = (outer.header_len(), outer.total_len());
            if outer.next_header() != IpProtocol::Icmpv6 {
                return None;
            }
            let inner = Icmpv6Packet::new_checked(packet.get(start..end)?).ok()?;
            (inner.msg_type() == Icmpv6Message::EchoReply).then_some(())?;
            Some(Reply {
                ident: inner.echo_ident(),
                data: packet.get(start + HEADER..end)?,
                sound: inner.verify_checksum(&outer.src_addr(), &outer.dst_addr()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_packets() {
        let v4: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let v6: [IpAddr; 2] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let packet = request(v4[0], v4[1], 0x1234, 7, b"abc").unwrap();
        // The bytes follow RFC 791 and RFC 792, with checksums calculated by hand.
        assert_eq!(
            packet,
            [
                0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 1, 0xb6, 0xda, 192, 0, 2, 1, 192, 0, 2,
                2, //
                8, 0, 0x21, 0x62, 0x12, 0x34, 0, 7, b'a', b'b', b'c'
            ]
        );
        let packet = request(v6[0], v6[1], 0x1234, 7, b"abc").unwrap();
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 11, 58, 64]);
        assert_eq!((packet.len(), packet[40]), (51, 128));
        assert_eq!(request(v4[0], v6[0], 1, 1, b""), None);
        assert_eq!(request(v4[0], v4[1], 1, 1, &[0; 65_508]), None);
    }

    /// Turns a request into its reply, with the checksum corrected (RFC 1624).
    fn answered(mut packet: Vec<u8>) -> Vec<u8> {
        let (at, kind, other) = match packet[0] >> 4 {
            4 => (20, 0, 8),
            _ => (40, 129, 128),
        };
        assert_eq!(packet[at], other);
        packet[at] = kind;
        let old = u32::from(!u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
        let difference = (u32::from(kind) << 8) + u32::from(!(u16::from(other) << 8));
        let sum = old + difference;
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
        packet[at + 2..at + 4].copy_from_slice(&(!sum).to_be_bytes());
        packet
    }

    #[test]
    fn replies_are_read() {
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let asked = request(from, to, 9, 7, b"some data").unwrap();
            assert_eq!(reply(&asked), None, "a request is no reply");
            let mut packet = answered(asked);
            let read = reply(&packet).unwrap();
            assert_eq!(
                (read.ident, read.data, read.sound),
                (9, &b"some data"[..], true)
            );
            let last = packet.len() - 1;
            packet[last] ^= 1;
            assert!(!reply(&packet).unwrap().sound);
            for length in 0..packet.len() {
                assert_eq!(reply(&packet[..length]), None, "{length}");
            }
        }
        for bytes in [&[][..], &[0x45; 60], &[0x60; 60], &[0xff; 60]] {
            assert_eq!(reply(bytes), None);
        }
    }
}
