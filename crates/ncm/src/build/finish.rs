//! The bytes that a builder adds to the datagrams of an NTB: header, NDPs and padding.

use super::{Builder, Entry, Finished};
use crate::crc::crc32;
use crate::framing::{NdpSize, Padding, Placement};
use crate::layout::{BLOCK_LENGTH, HEADER_LENGTH, NDP_LENGTH, SEQUENCE, Stream};

impl Builder {
    /// Writes header, NDPs and padding around the datagrams in `ntb` and starts the next
    /// NTB. With nothing placed, nothing is written and the length is 0.
    ///
    /// # Panics
    /// When `ntb` is shorter than the NTB became; [`Framing::max_ntb`](crate::Framing::max_ntb) bytes always do.
    pub fn finish(&mut self, ntb: &mut [u8]) -> Finished {
        let datagrams = self.count;
        let sequence = self.sequence;
        let mut finished = Finished {
            length: 0,
            datagrams,
            payload: self.payload - datagrams * self.headroom,
            zero_packet: false,
            reason: self.full.take(),
            sequence,
        };
        if datagrams > 0 {
            if let Some(link) = self.framing.link {
                for entry in &self.entries[..datagrams] {
                    link.write(&mut ntb[entry.offset as usize..][..entry.length as usize]);
                }
            }
            if self.framing.bare {
                let filler = usize::from(self.entries[0].filler);
                ntb[self.tail - filler..self.tail].fill(0);
            } else {
                let first_ndp = self.write_ndps(ntb);
                self.pad(ntb);
                self.write_header(ntb, first_ndp, self.tail);
                self.sequence = self.framing.sequence.next(sequence);
            }
            finished.length = self.tail;
            finished.zero_packet = self.framing.needs_zero_packet(finished.length);
        }
        self.count = 0;
        self.ndp_count = 0;
        self.open_ndp = 0;
        self.simple = self.usual;
        self.tail = if self.framing.bare {
            0
        } else {
            self.layout.header
        };
        self.payload = 0;
        finished
    }

    /// Writes an NTB without datagrams: its header, and an NDP of the shortest length whose entries are all
    /// zero. Returns its length in bytes. Datagrams that are placed stay, for the NTB after it.
    ///
    /// # Panics
    /// When `ntb` has fewer bytes than the framing's longest NTB.
    pub fn finish_empty(&mut self, stream: Stream, ntb: &mut [u8]) -> usize {
        let layout = self.layout;
        let stream = self.on_wire(stream);
        let size = layout.shortest_ndp();
        // The alignment yields where it would make the NTB longer than the device takes.
        let at = match self.ndp_alignment.up(layout.header) {
            at if at + size <= self.framing.max_ntb => at,
            _ => layout.header,
        };
        let length = at + size;
        let ndp = &mut ntb[layout.header..length];
        ndp.fill(0);
        let ndp = &mut ndp[at - layout.header..];
        ndp[..4].copy_from_slice(&stream.signature(layout.format));
        ndp[NDP_LENGTH..][..2].copy_from_slice(&(size as u16).to_le_bytes());
        self.write_header(ntb, at, length);
        self.sequence = self.framing.sequence.next(self.sequence);
        length
    }

    /// Returns whether some datagram can have padding in front of it or at its end, or a CRC behind
    /// it. The NTB must have a datagram, and its tail must be the end of the last.
    fn has_padding_or_crc(&self) -> bool {
        let first = self.entries[0];
        // The last datagram ends here if nothing lies between any two datagrams.
        let end = first.offset as usize + self.payload;
        first.gap != 0 || end != self.tail || self.framing.min_datagram_size != 0
    }

    /// Returns the number of datagrams that the NDP with the index `ndp` lists.
    fn entries_of(&self, ndp: usize) -> usize {
        let entries = self.entries[..self.count].iter();
        entries.filter(|entry| entry.ndp as usize == ndp).count()
    }

    /// Writes all NDPs, the padding in front of NDPs and datagrams, and checksums. Returns the
    /// first NDP's offset.
    fn write_ndps(&mut self, ntb: &mut [u8]) -> usize {
        let layout = self.layout;
        let padded = self.has_padding_or_crc();
        if self.framing.placement == Placement::End {
            for index in 0..self.ndp_count {
                let at = self.ndp_alignment.up(self.tail);
                let size = match self.framing.ndp_size {
                    NdpSize::Minimal if self.ndp_count == 1 => layout.ndp_with(self.count),
                    NdpSize::Minimal => layout.ndp_with(self.entries_of(index)),
                    NdpSize::Full => self.full_ndp,
                };
                self.ndps[index].at = at;
                self.ndps[index].gap = at - self.tail;
                self.ndps[index].end = at + size;
                self.tail = at + size;
            }
        }
        let padded = if padded { self.count } else { 0 };
        for entry in &self.entries[..padded] {
            let (offset, length) = (entry.offset as usize, entry.length as usize);
            // Most datagrams have no gap, and a test is cheaper than a call that clears nothing.
            if entry.gap != 0 {
                ntb[offset - usize::from(entry.gap)..offset].fill(0);
            }
            let trailer = self.ndps[entry.ndp as usize].stream.trailer();
            if entry.filler != 0 {
                let end = offset + length - trailer;
                ntb[end - usize::from(entry.filler)..end].fill(0);
            }
            if trailer != 0 {
                let stored = &mut ntb[offset..offset + length];
                let (datagram, crc) = stored.split_at_mut(length - trailer);
                crc.copy_from_slice(&crc32(datagram).to_le_bytes());
            }
        }
        let ndps = &self.ndps[..self.ndp_count];
        for (index, ndp) in ndps.iter().enumerate() {
            let at = ndp.at;
            ntb[at - ndp.gap..at].fill(0);
            let (head, fields) = ntb[at..ndp.end].split_at_mut(layout.ndp);
            head.fill(0);
            head[..4].copy_from_slice(&ndp.stream.signature(layout.format));
            let next = ndps.get(index + 1).map_or(0, |next| next.at);
            layout.put_word(head, layout.next_ndp, next);

            let entries = self.entries[..self.count].iter();
            let field = |entry: &Entry| (entry.offset, entry.length);
            let used = if ndps.len() == 1 {
                layout.put_entries(fields, entries.map(field))
            } else {
                let entries = entries.filter(|entry| entry.ndp as usize == index);
                layout.put_entries(fields, entries.map(field))
            };
            let length = layout.ndp_with(used) as u16;
            head[NDP_LENGTH..][..2].copy_from_slice(&length.to_le_bytes());
        }
        self.ndps[0].at
    }

    /// Adds the padding of the framing's rule behind everything else.
    fn pad(&mut self, ntb: &mut [u8]) {
        let length = self.tail;
        let padded = match self.framing.padding {
            Padding::Full { min_tx_pkt } if length > min_tx_pkt => self.limit,
            Padding::Never => length,
            _ if length < self.framing.max_ntb
                && length.is_multiple_of(self.framing.max_packet_size) =>
            {
                length + 1
            }
            _ => length,
        };
        ntb[length..padded].fill(0);
        self.tail = padded;
    }

    fn write_header(&self, ntb: &mut [u8], first_ndp: usize, length: usize) {
        let layout = self.layout;
        let header = &mut ntb[..layout.header];
        header[..4].copy_from_slice(&layout.signature);
        header[HEADER_LENGTH..][..2].copy_from_slice(&(layout.header as u16).to_le_bytes());
        header[SEQUENCE..][..2].copy_from_slice(&self.sequence.to_le_bytes());
        layout.put_word(header, BLOCK_LENGTH, length);
        layout.put_word(header, layout.ndp_index(), first_ndp);
    }
}
