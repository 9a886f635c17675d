//! Large packets of an offload TUN, and the datagrams they are cut into.

use std::io::{self, IoSliceMut};

use uwwan_tun::headers::{Cut, Kind, VNET_HEADER, VnetHeader};
use uwwan_tun::scatter::{Layout, Place};
use uwwan_tun::segment::Plan;

/// Length in bytes of the payload of a segment, with timestamps and an MTU of 1500.
const SEGMENT: usize = 1448;
/// Number of segments in a packet.
pub const SEGMENTS: usize = 44;
/// Length of the headers in bytes: IPv4, TCP, timestamps.
const HEADER: usize = 20 + 32;
/// Distance in bytes from one datagram to the next, aligned as in an NTB.
const STEP: usize = 1500;

/// A packet of the largest size of a TCP connection, as an offload TUN delivers it.
#[derive(Debug)]
pub struct Large {
    /// Header that the TUN puts in front of the packet.
    pub vnet: VnetHeader,
    /// Headers, followed by the payload.
    pub bytes: Vec<u8>,
}

impl Large {
    /// Makes a packet of a flow from the TCP port `port`.
    #[must_use]
    pub fn new(port: u16) -> Large {
        let total = HEADER + SEGMENTS * SEGMENT;
        let mut bytes: Vec<u8> = (0..total).map(|at| (at * 7 + at / 251) as u8).collect();
        bytes[..HEADER].fill(0);
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        bytes[6] = 0x40;
        bytes[8..10].copy_from_slice(&[64, 6]);
        bytes[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        bytes[20..22].copy_from_slice(&port.to_be_bytes());
        bytes[32] = 0x80;
        bytes[33] = 0x10;
        bytes[40..44].copy_from_slice(&[1, 1, 8, 10]);
        let size = SEGMENT as u16;
        Large {
            // The checksum field is empty, so the checksum is computed from the addresses.
            vnet: VnetHeader {
                checksum: None,
                cut: Some(Cut {
                    kind: Kind::Tcp4,
                    ecn: false,
                    size,
                }),
                header: HEADER as u16,
            },
            bytes,
        }
    }

    /// Returns how the packet is cut.
    ///
    /// # Panics
    /// None occur, because the packet can be cut.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(&self.vnet, &self.bytes, self.bytes.len()).expect("a good packet")
    }

    /// Returns the datagrams that the packet is cut into.
    #[must_use]
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        let plan = self.plan();
        let datagram = |index| {
            let mut datagram = vec![0; plan.header()];
            datagram.extend(&self.bytes[plan.payload(index)]);
            plan.write(index, &mut datagram);
            datagram
        };
        (0..plan.datagrams()).map(datagram).collect()
    }

    /// Reads the packet into buffers, except its payload, because the kernel copies that. Returns
    /// the number of bytes read.
    ///
    /// # Errors
    /// None occur.
    pub fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        buffers[0].copy_from_slice(&self.vnet.encode());
        buffers[1][..HEADER].copy_from_slice(&self.bytes[..HEADER]);
        Ok(VNET_HEADER + self.bytes.len())
    }
}

/// Places for datagrams, one behind the other.
#[derive(Debug)]
pub struct Row {
    end: usize,
    room: usize,
}

impl Row {
    /// Makes places in `room` bytes.
    #[must_use]
    pub fn new(room: usize) -> Row {
        Row { end: 0, room }
    }
}

impl Layout for Row {
    fn place(&mut self, length: usize) -> Option<Place> {
        let offset = self.end;
        self.end = (offset + length).next_multiple_of(4);
        (offset + length <= self.room).then_some(Place { area: 0, offset })
    }

    fn keep(&mut self, count: usize) {
        self.end = count * STEP;
    }
}

/// Returns memory for the datagrams of one packet.
#[must_use]
pub fn memory() -> Vec<u8> {
    vec![0x5a; SEGMENTS * STEP]
}
