//! A model of what the Linux gadget `f_ncm` takes (`ncm_unwrap_ntb`, with the bounds of 2026). The
//! NDP signature is a parameter here, so that the model also judges MBIM NTBs. It is the strictest
//! receiver in wide use: any fault refuses the whole transfer.

use super::{Delivered, four, u16_at, u32_at};

/// The configuration of the gadget.
pub struct Gadget {
    /// Whether the format is NTB32 rather than NTB16.
    pub wide: bool,
    /// NDP signatures that the gadget takes, by their first three bytes.
    pub kinds: &'static [&'static [u8; 3]],
    /// `dwNtbOutMaxSize`.
    pub ntb_max: usize,
    /// Lengths in bytes of the shortest and the longest datagram.
    pub datagram: std::ops::RangeInclusive<usize>,
}

impl Gadget {
    /// Returns the datagrams that are delivered, or why the transfer is refused.
    pub fn receive(&self, transfer: &[u8]) -> Result<Vec<Delivered>, String> {
        let mut delivered = Vec::new();
        let mut base = 0;
        loop {
            let length = self.ntb(&transfer[base..], base, &mut delivered)?;
            base += length;
            let rest = &transfer[base..];
            if matches!(rest, [] | [0]) {
                return Ok(delivered);
            }
        }
    }

    fn ntb(
        &self,
        ntb: &[u8],
        base: usize,
        delivered: &mut Vec<Delivered>,
    ) -> Result<usize, String> {
        let word = |at| {
            if self.wide {
                u32_at(ntb, at)
            } else {
                u16_at(ntb, at)
            }
        };
        let (nth, ndp_header, entry, signature) = if self.wide {
            (16, 16, 8, b"ncmh")
        } else {
            (12, 8, 4, b"NCMH")
        };
        if ntb.len() < nth {
            return Err(format!("{} bytes", ntb.len()));
        }
        if &four(ntb, 0) != signature {
            return Err("wrong NTH signature".to_owned());
        }
        if u16_at(ntb, 4) != nth {
            return Err("wrong NTB header size".to_owned());
        }
        let end = match word(8) {
            0 => ntb.len(),
            length => length,
        };
        if end < nth + ndp_header || end > self.ntb_max.min(ntb.len()) {
            return Err(format!("NTB length {end}"));
        }
        let mut ndp = word(8 + entry / 2);
        while ndp != 0 || delivered.is_empty() {
            if !ndp.is_multiple_of(4) || ndp < nth || ndp > end - ndp_header {
                return Err(format!("NDP index {ndp}"));
            }
            let signature = four(ntb, ndp);
            if !self.kinds.iter().any(|kind| kind[..] == signature[..3]) {
                return Err(format!("NDP signature {signature:02x?}"));
            }
            let mut length = u16_at(ntb, ndp + 4);
            if length < ndp_header + 2 * entry || !length.is_multiple_of(entry) {
                return Err(format!("NDP length {length}"));
            }
            if ndp + length > end {
                return Err(format!("NDP with {length} bytes at {ndp}"));
            }
            let mut at = ndp + ndp_header;
            length -= ndp_header;
            while length > entry {
                let (offset, size) = (word(at), word(at + entry / 2));
                if offset == 0 || size == 0 {
                    break;
                }
                if offset < nth || offset > end || size > end - offset {
                    return Err(format!("datagram with {size} bytes at {offset}"));
                }
                if !self.datagram.contains(&size) {
                    return Err(format!("datagram of {size} bytes"));
                }
                delivered.push((signature, base + offset, size));
                at += entry;
                length -= entry;
            }
            ndp = word(ndp + if self.wide { 8 } else { 6 });
            if ndp == 0 {
                break;
            }
        }
        Ok(end)
    }
}
