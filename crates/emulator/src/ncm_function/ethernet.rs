//! The frames of an Ethernet function (IEEE 802.3, 3.1): packets for the network are taken out of
//! them, and packets for the host are put into them.

use crate::knobs::ArpManner;

/// An Ethernet address.
pub(super) type Address = [u8; 6];

/// Length of the header in bytes.
pub(super) const HEADER: usize = 14;
/// Ethernet address of the router at the other end of the link.
pub(super) const ROUTER: Address = [0x02, 0x50, 0xf3, 0, 0, 0];
/// Address to which frames are sent while that of the host is not known.
const BROADCAST: Address = [0xff; 6];

/// Returns the sender of a frame and the packet in it, or `None` when the frame carries neither IP
/// nor ARP.
pub(super) fn unwrap(frame: &[u8]) -> Option<(Address, &[u8])> {
    let (header, packet) = frame.split_first_chunk::<HEADER>()?;
    let source = *header[6..].first_chunk()?;
    let known = match [header[12], header[13]] {
        [0x08, 0x00] => packet.first()? >> 4 == 4,
        [0x86, 0xdd] => packet.first()? >> 4 == 6,
        [0x08, 0x06] => packet.starts_with(&[0, 1, 8, 0, 6, 4]),
        _ => false,
    };
    known.then_some((source, packet))
}

/// Addresses of both ends of the link, as the router sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// Address of the host, once a frame of it has arrived.
    pub host: Option<Address>,
    /// Address of the router.
    pub router: Address,
}

impl Ends {
    /// Returns the ends of a link with that host. A modem that takes the host's address for its own
    /// does so once it knows the address.
    pub fn of(host: Option<Address>, arp: ArpManner) -> Self {
        let borrowed = host.filter(|_| arp == ArpManner::Own);
        Self {
            host,
            router: borrowed.unwrap_or(ROUTER),
        }
    }
}

/// Returns the header of the frame with a packet for the host, which is IPv4, IPv6 or ARP.
pub(super) fn header(packet: &[u8], ends: Ends) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..6].copy_from_slice(&ends.host.unwrap_or(BROADCAST));
    header[6..12].copy_from_slice(&ends.router);
    header[12..].copy_from_slice(match packet.first().map(|byte| byte >> 4) {
        Some(4) => &[0x08, 0x00],
        Some(6) => &[0x86, 0xdd],
        _ => &[0x08, 0x06],
    });
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_their_frames() {
        let host = [2, 0, 0, 0, 0, 1];
        let ends = Ends::of(Some(host), ArpManner::Answers);
        for packet in [&[0x45, 1, 2][..], &[0x60, 1], &[0, 1, 8, 0, 6, 4, 0, 1]] {
            let mut frame = header(packet, ends).to_vec();
            assert_eq!(frame[..6], host);
            frame.extend(packet);
            assert_eq!(unwrap(&frame), Some((ROUTER, packet)));
        }
        let unknown = Ends::of(None, ArpManner::Own);
        assert_eq!(header(&[0x45], unknown)[..6], BROADCAST);
        assert_eq!(header(&[0x45], unknown)[6..12], ROUTER);
        let own = Ends::of(Some(host), ArpManner::Own);
        assert_eq!(header(&[0x45], own)[6..12], host);
        // The frames have a VLAN tag, a type that does not match the packet, and nothing but a
        // header.
        for frame in [
            [&[0; 12][..], &[0x81, 0, 0, 1, 8, 0, 0x45]].concat(),
            [&[0; 12][..], &[0x08, 0, 0x60]].concat(),
            [&[0; 12][..], &[0x08, 0]].concat(),
            vec![0; 13],
        ] {
            assert_eq!(unwrap(&frame), None);
        }
    }
}
