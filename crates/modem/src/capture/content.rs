//! What the data of a transfer is, as far as a capture makes a difference.

use uwwan_ncm::{Limits, Ntb};
use uwwan_usb::descriptors::TransferKind;

/// Length of an Ethernet header in bytes.
pub(super) const ETHERNET_HEADER: usize = 14;
/// Length of the shortest Ethernet frame in bytes, without its CRC (IEEE 802.3, 3.2.8).
const LEAST_FRAME: usize = 60;
/// Length of an IPv6 header in bytes (RFC 8200, 3).
pub(super) const IPV6_HEADER: usize = 40;

/// Content of a transfer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// An NTB, which others may follow. `None` where its header cannot be read.
    Ntb(Option<Ntb<'a>>),
    /// An Ethernet frame that is a transfer of its own (CDC ECM), with this IP packet.
    Frame(&'a [u8]),
    /// Anything else: control messages, notifications, AT lines, and transfers without data.
    Other,
}

impl<'a> Content<'a> {
    /// Looks at the bytes of a transfer.
    pub fn of(kind: TransferKind, data: &'a [u8]) -> Self {
        if kind != TransferKind::Bulk {
            return Self::Other;
        }
        if let Some(b"NCMH" | b"ncmh") = data.first_chunk() {
            let limits = Limits {
                max_ntb: data.len(),
                max_datagrams: usize::from(u16::MAX),
                ..Limits::default()
            };
            return Self::Ntb(Ntb::parse(data, &limits).ok());
        }
        packet(data).map_or(Self::Other, Self::Frame)
    }
}

/// Returns the IP packet in an Ethernet frame that is a transfer of its own. Only such a frame has an
/// EtherType of IP at its place and, behind it, an IP header whose length is exactly that of the rest, or
/// that of a packet padded to the shortest frame; other transfers of a bulk endpoint do not.
fn packet(frame: &[u8]) -> Option<&[u8]> {
    let (header, rest) = frame.split_first_chunk::<ETHERNET_HEADER>()?;
    let word = |at: usize| {
        let word = rest.get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*word)))
    };
    let length = match (header, rest.first()? >> 4) {
        ([.., 0x08, 0x00], 4) => word(2)?,
        ([.., 0x86, 0xdd], 6) => word(4)? + IPV6_HEADER,
        _ => return None,
    };
    let packet = rest.get(..length)?;
    (length == rest.len() || frame.len() == LEAST_FRAME).then_some(packet)
}
