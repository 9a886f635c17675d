//! Which bytes of a transfer are kept.
//!
//! Of an NTB these are the header, the NDPs wherever they are, and the first bytes of each datagram.
//! Everything else stays whole: an NTB that cannot be read is the one to look at.

use uwwan_ncm::{DropCounters, Limits, Ntb};

/// Length of an NTB32's header in bytes; that of an NTB16 is shorter.
const HEADER: usize = 16;

/// Data of which only pieces are kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Length of the data in bytes.
    pub length: usize,
    /// Offset and length in bytes of each piece, in ascending order and apart from each other. Empty
    /// where all is kept.
    pub pieces: Vec<(u32, u32)>,
    /// The pieces' bytes.
    pub bytes: Vec<u8>,
}

impl Kept {
    /// Keeps all of `data`.
    pub fn whole(data: &[u8]) -> Self {
        Self {
            length: data.len(),
            pieces: Vec::new(),
            bytes: data.to_vec(),
        }
    }

    /// Keeps of `data` what is more than payload, and of each datagram the first `snap` bytes.
    pub fn snapped(data: &[u8], snap: usize) -> Self {
        let Some(pieces) = pieces(data, snap) else {
            return Self::whole(data);
        };
        let size = pieces.iter().map(|(_, length)| *length as usize).sum();
        let mut bytes = Vec::with_capacity(size);
        for (start, length) in &pieces {
            bytes.extend_from_slice(&data[*start as usize..][..*length as usize]);
        }
        Self {
            length: data.len(),
            pieces,
            bytes,
        }
    }

    /// Returns the data, piece by piece, with zeros for what was not kept.
    pub fn parts(&self) -> Vec<&[u8]> {
        const ZEROS: [u8; 4096] = [0; 4096];
        fn gap(parts: &mut Vec<&[u8]>, mut length: usize) {
            while length > 0 {
                let take = length.min(ZEROS.len());
                parts.push(&ZEROS[..take]);
                length -= take;
            }
        }
        if self.pieces.is_empty() {
            return vec![&self.bytes];
        }
        let mut parts = Vec::with_capacity(self.pieces.len() * 2 + 1);
        let (mut at, mut rest) = (0, &self.bytes[..]);
        for (start, length) in &self.pieces {
            gap(&mut parts, *start as usize - at);
            let (piece, after) = rest.split_at(*length as usize);
            parts.push(piece);
            rest = after;
            at = *start as usize + piece.len();
        }
        gap(&mut parts, self.length - at);
        parts
    }
}

/// Returns the pieces to keep, or `None` for anything but a sound NTB.
fn pieces(data: &[u8], snap: usize) -> Option<Vec<(u32, u32)>> {
    let limits = Limits {
        max_ntb: data.len(),
        max_datagrams: usize::from(u16::MAX),
        ..Limits::default()
    };
    let ntb = Ntb::parse(data, &limits).ok()?;
    let mut drops = DropCounters::default();
    let mut wanted = Vec::with_capacity(64);
    wanted.push((0, HEADER.min(data.len())));
    wanted.extend(
        ntb.datagrams(&mut drops)
            .map(|datagram| (datagram.range.start, datagram.range.len().min(snap))),
    );
    if drops.iter().any(|(_, count)| count > 0) {
        return None;
    }
    let ndps = ntb.ndps(&mut drops);
    wanted.extend(ndps.map(|ndp| (ndp.range.start, ndp.range.len())));
    wanted.sort_unstable();
    let mut pieces: Vec<(u32, u32)> = Vec::with_capacity(wanted.len());
    for (start, length) in wanted {
        let (start, stop) = (
            u32::try_from(start).ok()?,
            u32::try_from(start + length).ok()?,
        );
        match pieces.last_mut() {
            Some((before, kept)) if *before + *kept >= start => {
                *kept = (*kept).max(stop - *before);
            }
            _ => pieces.push((start, stop - start)),
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use uwwan_ncm::{Builder, Choices, Framing, NtbParameters, Stream};

    use super::*;

    fn ntb() -> Vec<u8> {
        let mut builder = Builder::new(Framing::negotiate(
            &NtbParameters::FALLBACK,
            &Choices::default(),
        ));
        let mut ntb = vec![0; 16_384];
        for fill in 1..=3u8 {
            let at = builder.put(Stream::Ips(0), 1_000, 1_000).unwrap();
            ntb[at..at + 1_000].fill(fill);
            ntb[at..at + 4].copy_from_slice(&[0x45, 0, 0x03, 0xe8]);
        }
        let length = builder.finish(&mut ntb).length;
        ntb.truncate(length);
        ntb
    }

    #[test]
    fn framing_stays_and_payload_becomes_zeros() {
        let ntb = ntb();
        let kept = Kept::snapped(&ntb, 100);
        assert!(kept.bytes.len() < 500, "{}", kept.bytes.len());
        let snapped = kept.parts().concat();
        assert_eq!(snapped.len(), ntb.len());
        let limits = Limits::default();
        let read = |bytes: &[u8]| -> Vec<std::ops::Range<usize>> {
            let mut drops = DropCounters::default();
            let ntb = Ntb::parse(bytes, &limits).unwrap();
            let datagrams = ntb.datagrams(&mut drops);
            datagrams.map(|datagram| datagram.range).collect()
        };
        let ranges = read(&ntb);
        assert_eq!(ranges.len(), 3);
        assert_eq!(read(&snapped), ranges);
        for range in ranges {
            assert_eq!(snapped[range.start..][..100], ntb[range.start..][..100]);
            assert!(
                snapped[range.start + 100..range.end]
                    .iter()
                    .all(|b| *b == 0)
            );
        }
    }

    #[test]
    fn anything_else_is_kept_whole() {
        let mut broken = ntb();
        let length = broken.len();
        broken[length - 6] = 0xff;
        for data in [&b"AT+CGMI\r"[..], &[], &broken] {
            assert_eq!(Kept::snapped(data, 10).parts().concat(), data);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_block_is_lengthened(at in 0usize..3_200, with: u32, snap in 0usize..200) {
            let mut data = ntb();
            let at = at.min(data.len() - 4);
            data[at..at + 4].copy_from_slice(&with.to_le_bytes());
            let parts = Kept::snapped(&data, snap).parts().concat();
            proptest::prop_assert_eq!(parts.len(), data.len());
        }
    }
}
