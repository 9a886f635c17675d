//! TCP and UDP over IPv4 and IPv6, written field by field from the specifications. The code shares
//! nothing with the crate, and sums checksums word by word.
#![allow(dead_code)]

pub mod blocks;

/// TCP flags.
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
pub const ECE: u8 = 0x40;
pub const CWR: u8 = 0x80;

/// One packet, by its fields.
#[derive(Clone, PartialEq, Eq)]
pub struct Traffic {
    pub v6: bool,
    pub udp: bool,
    /// Part of the ports, by which flows differ.
    pub flow: u8,
    /// Type of service of IPv4, or traffic class of IPv6.
    pub tos: u8,
    pub hops: u8,
    /// Identification, of IPv4 only.
    pub id: u16,
    /// Flag "don't fragment", of IPv4 only.
    pub dont_fragment: bool,
    /// For IPv4, options whose length is a multiple of 4 bytes. For IPv6, the numbers of extension
    /// headers of 8 bytes each.
    pub options: Vec<u8>,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    /// TCP options, whose length is a multiple of 4 bytes.
    pub tcp_options: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Returns two no-operations and timestamps (RFC 7323 appendix A).
pub fn timestamps(value: u32, echo: u32) -> Vec<u8> {
    let mut options = vec![1, 1, 8, 10];
    options.extend(value.to_be_bytes());
    options.extend(echo.to_be_bytes());
    options
}

/// Returns bytes that differ from each other.
pub fn payload(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

impl std::fmt::Debug for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match (self.udp, self.v6) {
            (false, false) => "TCP over IPv4",
            (false, true) => "TCP over IPv6",
            (true, false) => "UDP over IPv4",
            (true, true) => "UDP over IPv6",
        };
        f.debug_struct(kind)
            .field("flow", &self.flow)
            .field("tos", &self.tos)
            .field("id", &self.id)
            .field("dont_fragment", &self.dont_fragment)
            .field("options", &self.options)
            .field("sequence", &self.sequence)
            .field("acknowledgement", &self.acknowledgement)
            .field("flags", &self.flags)
            .field("window", &self.window)
            .field("tcp_options", &self.tcp_options)
            .field("payload", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Traffic {
    /// Returns a TCP segment as Linux sends it.
    pub fn tcp(v6: bool, length: usize) -> Traffic {
        Traffic {
            v6,
            udp: false,
            flow: 1,
            tos: 0,
            hops: 64,
            id: 0x1234,
            dont_fragment: true,
            options: Vec::new(),
            sequence: 0x0102_0304,
            acknowledgement: 0x0506_0708,
            flags: ACK,
            window: 501,
            tcp_options: timestamps(0x1111_2222, 0x3333_4444),
            payload: payload(length, 1),
        }
    }

    /// Returns a UDP datagram.
    pub fn udp(v6: bool, length: usize) -> Traffic {
        Traffic {
            udp: true,
            tcp_options: Vec::new(),
            ..Traffic::tcp(v6, length)
        }
    }

    pub fn transport_offset(&self) -> usize {
        match self.v6 {
            false => 20 + self.options.len(),
            true => 40 + 8 * self.options.len(),
        }
    }

    pub fn header_length(&self) -> usize {
        let transport = if self.udp {
            8
        } else {
            20 + self.tcp_options.len()
        };
        self.transport_offset() + transport
    }

    fn protocol(&self) -> u8 {
        if self.udp { 17 } else { 6 }
    }

    /// Returns source and destination. Forwarding leads from the first network to the second.
    pub fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            let mut both = vec![0; 32];
            both[..2].copy_from_slice(&[0xfd, 1]);
            both[15] = 2;
            both[16..18].copy_from_slice(&[0xfd, 2]);
            both[31] = 2;
            both
        } else {
            vec![10, 1, 0, 2, 10, 2, 0, 2]
        }
    }

    /// Returns the sum of the pseudo-header.
    fn pseudo(&self, length: usize) -> u16 {
        let mut bytes = self.addresses();
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend([0, self.protocol()]);
        sum(&bytes)
    }

    /// Returns the packet with a checksum field of zero.
    fn without_checksum(&self) -> Vec<u8> {
        let total = self.header_length() + self.payload.len();
        let mut bytes = Vec::with_capacity(total);
        if self.v6 {
            let tos = u16::from(self.tos) << 4;
            bytes.extend((0x6000 | tos).to_be_bytes());
            bytes.extend([0, 7]);
            bytes.extend(((total - 40) as u16).to_be_bytes());
            let mut chain = self.options.clone();
            chain.push(self.protocol());
            bytes.push(chain[0]);
            bytes.push(self.hops);
            bytes.extend(self.addresses());
            for pair in chain.windows(2) {
                // The header has one PadN option (RFC 8200 section 4.2), or is a routing header
                // without segments.
                let body = if pair[0] == 43 {
                    [0, 253, 0, 0, 0, 0, 0]
                } else {
                    [0, 1, 4, 0, 0, 0, 0]
                };
                bytes.push(pair[1]);
                bytes.extend(body);
            }
        } else {
            let header = 20 + self.options.len();
            bytes.extend([0x40 | (header / 4) as u8, self.tos]);
            bytes.extend((total as u16).to_be_bytes());
            bytes.extend(self.id.to_be_bytes());
            bytes.extend([u8::from(self.dont_fragment) << 6, 0]);
            bytes.extend([self.hops, self.protocol(), 0, 0]);
            bytes.extend(self.addresses());
            bytes.extend(&self.options);
            let check = (!sum(&bytes)).to_be_bytes();
            bytes[10..12].copy_from_slice(&check);
        }
        bytes.extend((5000 + u16::from(self.flow)).to_be_bytes());
        bytes.extend(443_u16.to_be_bytes());
        if self.udp {
            bytes.extend(((8 + self.payload.len()) as u16).to_be_bytes());
            bytes.extend([0, 0]);
        } else {
            bytes.extend(self.sequence.to_be_bytes());
            bytes.extend(self.acknowledgement.to_be_bytes());
            let header = 20 + self.tcp_options.len();
            bytes.extend([(header / 4 * 16) as u8, self.flags]);
            bytes.extend(self.window.to_be_bytes());
            bytes.extend([0, 0, 0, 0]);
            bytes.extend(&self.tcp_options);
        }
        bytes.extend(&self.payload);
        bytes
    }

    pub fn checksum_offset(&self) -> usize {
        if self.udp { 6 } else { 16 }
    }

    /// Returns the packet as it is sent.
    pub fn datagram(&self) -> Vec<u8> {
        let mut bytes = self.without_checksum();
        let at = self.transport_offset();
        let pseudo = self.pseudo(bytes.len() - at).to_be_bytes();
        let mut check = !fold(u64::from(sum(&bytes[at..])) + u64::from(u16::from_be_bytes(pseudo)));
        if self.udp && check == 0 {
            check = 0xffff;
        }
        let field = at + self.checksum_offset();
        bytes[field..field + 2].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    /// Returns the packet as one side hands it to the other, with only the sum of the pseudo-header
    /// in the checksum field.
    pub fn partial(&self) -> Vec<u8> {
        let mut bytes = self.without_checksum();
        let at = self.transport_offset();
        let pseudo = self.pseudo(bytes.len() - at);
        let field = at + self.checksum_offset();
        bytes[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        bytes
    }

    /// Returns the virtio header for [`Traffic::partial`], in the machine's byte order.
    pub fn vnet(&self, size: usize) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[0] = 1;
        if size > 0 {
            bytes[1] = match (self.udp, self.v6) {
                (true, _) => 5,
                (false, false) => 1,
                (false, true) => 4,
            };
            if !self.udp && self.flags & CWR != 0 {
                bytes[1] |= 0x80;
            }
        }
        let fields = [
            self.header_length(),
            size,
            self.transport_offset(),
            self.checksum_offset(),
        ];
        for (at, field) in fields.into_iter().enumerate() {
            bytes[2 + 2 * at..4 + 2 * at].copy_from_slice(&(field as u16).to_ne_bytes());
        }
        bytes
    }

    /// Returns the packets that this one stands for when it is cut into segments of `size` bytes.
    pub fn cut(&self, size: usize) -> Vec<Traffic> {
        let pieces: Vec<&[u8]> = self.payload.chunks(size).collect();
        let count = pieces.len();
        let segment = |(index, piece): (usize, &&[u8])| {
            let mut segment = Traffic {
                payload: piece.to_vec(),
                ..self.clone()
            };
            segment.id = self.id.wrapping_add(index as u16);
            segment.sequence = self.sequence.wrapping_add((index * size) as u32);
            if index + 1 < count {
                segment.flags &= !(PSH | FIN);
            }
            if index > 0 {
                segment.flags &= !CWR;
            }
            segment
        };
        pieces.iter().enumerate().map(segment).collect()
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u64::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]))
    });
    fold(words.sum())
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
