//! A large packet from the host: wherever NTBs end and whatever packet was expected, the datagrams
//! are those that one roomy NTB gets, and no byte outside their places changes.
#![no_main]

use std::io::{self, IoSliceMut};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_tun::headers::VNET_HEADER;
use uwwan_tun::scatter::{Layout, Place, Scatter};

#[derive(Debug, Arbitrary)]
struct Input {
    packets: Vec<Packet>,
    /// Sizes of the NTBs in bytes.
    ntbs: Vec<u16>,
    alignment: u8,
    mtu: u16,
}

#[derive(Debug, Arbitrary)]
struct Packet {
    vnet: [u8; VNET_HEADER],
    bytes: Vec<u8>,
    /// More payload, so that few bytes of input make large packets.
    more: u16,
}

fuzz_target!(|input: Input| {
    let sizes: Vec<usize> = input
        .ntbs
        .iter()
        .take(16)
        .map(|size| usize::from(*size))
        .collect();
    let mut scatter = Scatter::new(input.mtu.into());
    for packet in input.packets.iter().take(8) {
        let mut bytes = packet.vnet.to_vec();
        bytes.extend(&packet.bytes);
        bytes.resize(bytes.len() + usize::from(packet.more), 0x5a);
        bytes.truncate(VNET_HEADER + 65_535);
        let length = bytes.len() - VNET_HEADER;

        let before = scatter.counters();
        let mut rows = Rows::new(sizes.clone(), input.alignment);
        let mut datagrams = rows.receive(&mut scatter, &bytes);
        while let Some(next) = scatter.waiting() {
            assert!(next > 0);
            let mut rows = Rows::new(vec![next], 1);
            let mut areas: Vec<&mut [u8]> = rows.memory.iter_mut().map(Vec::as_mut_slice).collect();
            let drained = scatter.drain(&mut areas, &mut rows.layout).expect("placed");
            assert_eq!(drained.datagrams, 1);
            datagrams.extend(rows.datagrams());
        }
        let after = scatter.counters();
        let refused = after.refused > before.refused;
        assert_eq!(refused, datagrams.is_empty());
        assert_eq!(after.datagrams - before.datagrams, datagrams.len() as u64);
        assert!(datagrams.len() <= length.max(1));

        // The same packet is cut without earlier packets and in one piece.
        let mut fresh = Scatter::new(1500);
        let room = datagrams.iter().map(Vec::len).sum::<usize>() + 1;
        let mut roomy = Rows::new(vec![room], 1);
        let expected = roomy.receive(&mut fresh, &bytes);
        assert_eq!(fresh.waiting(), None);
        assert!(datagrams == expected);
    }
});

struct Rows {
    memory: Vec<Vec<u8>>,
    layout: Row,
}

struct Row {
    sizes: Vec<usize>,
    alignment: usize,
    places: Vec<(Place, usize)>,
}

impl Rows {
    fn new(sizes: Vec<usize>, alignment: u8) -> Rows {
        Rows {
            memory: sizes.iter().map(|size| vec![0; *size]).collect(),
            layout: Row {
                sizes,
                alignment: usize::from(alignment).max(1),
                places: Vec::new(),
            },
        }
    }

    fn receive(&mut self, scatter: &mut Scatter, bytes: &[u8]) -> Vec<Vec<u8>> {
        let read = |buffers: &mut [IoSliceMut<'_>]| -> io::Result<usize> {
            let mut rest = bytes;
            for buffer in buffers {
                let length = buffer.len().min(rest.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
            Ok(bytes.len() - rest.len())
        };
        let mut areas: Vec<&mut [u8]> = self.memory.iter_mut().map(Vec::as_mut_slice).collect();
        let received = scatter
            .receive(read, &mut areas, &mut self.layout)
            .expect("placed or refused");
        assert_eq!(received.datagrams, self.layout.places.len());
        self.datagrams()
    }

    fn datagrams(&self) -> Vec<Vec<u8>> {
        let bytes = |(place, length): &(Place, usize)| {
            self.memory[place.area][place.offset..place.offset + length].to_vec()
        };
        self.layout.places.iter().map(bytes).collect()
    }
}

impl Layout for Row {
    fn place(&mut self, length: usize) -> Option<Place> {
        let (mut area, end) = self.places.last().map_or((0, 0), |(place, length)| {
            (place.area, place.offset + length)
        });
        let mut offset = end.next_multiple_of(self.alignment);
        while offset + length > *self.sizes.get(area)? {
            area += 1;
            offset = 0;
        }
        let place = Place { area, offset };
        self.places.push((place, length));
        Some(place)
    }

    fn keep(&mut self, count: usize) {
        self.places.truncate(count);
    }
}
