//! Datagrams in blocks of memory, and packets from and to slices: what a caller does around
//! scattered reads and gathered writes.

use std::io::{self, IoSliceMut};

use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::scatter::{Layout, Place, Received, Scatter};

/// Byte with which blocks are filled before anything is placed in them.
pub const EMPTY: u8 = 0xee;

/// Blocks of memory, filled one after the other from the front.
pub struct Blocks {
    pub memory: Vec<Vec<u8>>,
    pub rows: Rows,
}

/// Ranges of the datagrams in the blocks.
#[derive(Clone, Default)]
pub struct Rows {
    pub places: Vec<(Place, usize)>,
    /// Number of bytes of each block.
    pub sizes: Vec<usize>,
    /// Number of bytes of which the offset of each datagram is a multiple.
    pub alignment: usize,
    /// Content when the last read began.
    kept: usize,
}

impl Blocks {
    pub fn new(sizes: &[usize], alignment: usize) -> Blocks {
        Blocks {
            memory: sizes.iter().map(|size| vec![EMPTY; *size]).collect(),
            rows: Rows {
                sizes: sizes.to_vec(),
                alignment,
                ..Rows::default()
            },
        }
    }

    /// Makes one block with room for a packet in the smallest pieces in which it comes here.
    pub fn roomy() -> Blocks {
        Blocks::new(&[400_000], 4)
    }

    pub fn receive(
        &mut self,
        scatter: &mut Scatter,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Received> {
        self.rows.kept = self.rows.places.len();
        let mut areas: Vec<&mut [u8]> = self.memory.iter_mut().map(Vec::as_mut_slice).collect();
        scatter.receive(read, &mut areas, &mut self.rows)
    }

    pub fn drain(&mut self, scatter: &mut Scatter) -> Received {
        let mut areas: Vec<&mut [u8]> = self.memory.iter_mut().map(Vec::as_mut_slice).collect();
        scatter.drain(&mut areas, &mut self.rows).expect("placed")
    }

    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        let bytes = |(place, length): &(Place, usize)| {
            self.memory[place.area][place.offset..place.offset + length].to_vec()
        };
        self.rows.places.iter().map(bytes).collect()
    }

    /// Returns whether memory outside the places is unchanged.
    pub fn is_clean_elsewhere(&self) -> bool {
        let mut memory = self.memory.clone();
        for (place, length) in &self.rows.places {
            memory[place.area][place.offset..place.offset + length].fill(EMPTY);
        }
        memory.iter().flatten().all(|byte| *byte == EMPTY)
    }
}

impl Layout for Rows {
    fn place(&mut self, length: usize) -> Option<Place> {
        let (mut area, end) = self.places.last().map_or((0, 0), |(place, length)| {
            (place.area, place.offset + length)
        });
        let mut offset = end.next_multiple_of(self.alignment.max(1));
        while offset + length > *self.sizes.get(area)? {
            area += 1;
            offset = 0;
        }
        let place = Place { area, offset };
        self.places.push((place, length));
        Some(place)
    }

    fn keep(&mut self, count: usize) {
        self.places.truncate(self.kept + count);
    }
}

/// Returns a read that brings these bytes, as far as there is room.
pub fn reading(
    parts: [&[u8]; 2],
) -> impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize> + use<> {
    let bytes = parts.concat();
    move |buffers| {
        let mut rest = &bytes[..];
        for buffer in buffers {
            let length = buffer.len().min(rest.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
        Ok(bytes.len() - rest.len())
    }
}

/// Returns the datagrams that a packet is cut into.
pub fn cut(scatter: &mut Scatter, vnet: &[u8], packet: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = Blocks::roomy();
    let received = blocks
        .receive(scatter, reading([vnet, packet]))
        .expect("placed");
    assert_eq!(received.waiting, 0);
    assert_eq!(received.datagrams, blocks.rows.places.len());
    blocks.datagrams()
}

/// Virtio header of a packet, and the packet.
pub type Large = ([u8; 10], Vec<u8>);

/// Returns the packets that datagrams are merged into.
pub fn merge(coalescer: &mut Coalescer, datagrams: &[Vec<u8>]) -> Vec<Large> {
    let superseded = coalescer.counters().superseded;
    let (mut all, mut count) = (Vec::new(), 0);
    let mut batch = coalescer.batch(|packet| {
        let slices = packet.slices.iter().flat_map(|slice| &**slice);
        let bytes: Vec<u8> = slices.copied().collect();
        let (vnet, bytes) = bytes.split_first_chunk::<10>().expect("a virtio header");
        assert_eq!(bytes.len(), packet.length);
        count += packet.datagrams;
        all.push((*vnet, bytes.to_vec()));
    });
    for datagram in datagrams {
        batch.push(datagram);
    }
    batch.finish();
    let superseded = coalescer.counters().superseded - superseded;
    assert_eq!(count + superseded as usize, datagrams.len());
    all
}

/// Returns a coalescer that merges TCP and UDP.
pub fn coalescer() -> Coalescer {
    Coalescer::new(Merge {
        tcp: true,
        udp: true,
    })
}
