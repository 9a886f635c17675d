//! ICMP echo requests as messages and as whole packets.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr, Ipv6Address,
};

/// Length of the header of an echo message in bytes.
pub(crate) const HEADER: usize = 8;
/// Hop limit of a packet, as Linux sets it.
const HOP_LIMIT: u8 = 64;

/// Returns an echo request as a whole IP packet, checksums included. `None` is returned when the
/// addresses are not of one family, or the packet would be longer than its length field can tell.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_packets() {
        let v4: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let v6: [IpAddr; 2] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let packet = request(v4[0], v4[1], 0x1234, 7, b"abc").unwrap();
        // RFC 791 and RFC 792; the checksums by hand.
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
}
