//! Ethernet headers that a builder puts in front of IP datagrams, for a host whose own end carries
//! IP alone on a link that carries Ethernet frames.

/// Length of an Ethernet header in bytes (IEEE 802.3, without a VLAN tag).
pub const HEADER: usize = 14;

/// Addresses of the Ethernet headers that [`crate::Builder`] writes in front of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkHeader {
    /// Address of the other end, which every datagram to a single station goes to.
    pub to: [u8; 6],
    /// Address of the host.
    pub from: [u8; 6],
}

impl LinkHeader {
    /// Address of all stations on a link.
    pub const BROADCAST: [u8; 6] = [0xff; 6];

    /// Writes the header into the first 14 bytes of `frame`, in front of what lies there: an IP datagram,
    /// or an ARP packet (RFC 826). Datagrams to a group go to the group's address on the link (RFC 1112
    /// section 6.4, RFC 2464 section 7). A frame without room for the header is left as it is.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) {
        let Some((header, packet)) = frame.split_first_chunk_mut::<HEADER>() else {
            return;
        };
        let (ethertype, to) = match packet.first().map(|byte| byte >> 4) {
            Some(4) => ([0x08, 0x00], self.station_v4(packet)),
            Some(6) => ([0x86, 0xdd], self.station_v6(packet)),
            // The hardware type of Ethernet, with which ARP begins, is 0x0001.
            _ => ([0x08, 0x06], self.to),
        };
        header[..6].copy_from_slice(&to);
        header[6..12].copy_from_slice(&self.from);
        header[12..].copy_from_slice(&ethertype);
    }

    #[inline]
    fn station_v4(&self, packet: &[u8]) -> [u8; 6] {
        match packet.get(16..20) {
            Some([255, 255, 255, 255]) => Self::BROADCAST,
            Some([224..=239, b, c, d]) => [0x01, 0x00, 0x5e, b & 0x7f, *c, *d],
            _ => self.to,
        }
    }

    #[inline]
    fn station_v6(&self, packet: &[u8]) -> [u8; 6] {
        match (packet.get(24), packet.get(36..40)) {
            (Some(0xff), Some([a, b, c, d])) => [0x33, 0x33, *a, *b, *c, *d],
            _ => self.to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkHeader = LinkHeader {
        to: [2, 0, 0, 0, 0, 2],
        from: [2, 0, 0, 0, 0, 1],
    };

    /// Returns the header in front of a packet.
    fn header(packet: &[u8]) -> [u8; HEADER] {
        let mut frame = vec![0xee; HEADER];
        frame.extend(packet);
        LINK.write(&mut frame);
        assert_eq!(frame[HEADER..], *packet);
        frame[..HEADER].try_into().unwrap()
    }

    #[test]
    fn datagrams_go_to_the_other_end_or_to_their_group() {
        let v4 = |to: [u8; 4]| {
            let mut packet = vec![0; 20];
            packet[0] = 0x45;
            packet[16..].copy_from_slice(&to);
            header(&packet)
        };
        assert_eq!(v4([10, 0, 0, 1])[..6], LINK.to);
        assert_eq!(v4([10, 0, 0, 1])[6..], [2, 0, 0, 0, 0, 1, 0x08, 0x00]);
        assert_eq!(v4([255; 4])[..6], LinkHeader::BROADCAST);
        assert_eq!(v4([239, 0x81, 2, 3])[..6], [0x01, 0x00, 0x5e, 0x01, 2, 3]);
        let v6 = |to: &str| {
            let mut packet = vec![0; 40];
            packet[0] = 0x60;
            packet[24..].copy_from_slice(&to.parse::<std::net::Ipv6Addr>().unwrap().octets());
            header(&packet)
        };
        assert_eq!(v6("2001:db8::1")[..6], LINK.to);
        assert_eq!(v6("2001:db8::1")[12..], [0x86, 0xdd]);
        assert_eq!(v6("ff02::1:ff00:42")[..6], [0x33, 0x33, 0xff, 0, 0, 0x42]);
        assert_eq!(header(&[0, 1, 8, 0, 6, 4, 0, 2])[12..], [0x08, 0x06]);
    }

    #[test]
    fn what_is_too_short_is_left_alone() {
        for length in 0..HEADER {
            let mut frame = vec![7; length];
            LINK.write(&mut frame);
            assert_eq!(frame, vec![7; length]);
        }
        assert_eq!(header(&[0x45, 0])[..6], LINK.to);
        assert_eq!(header(&[])[12..], [0x08, 0x06]);
    }
}
