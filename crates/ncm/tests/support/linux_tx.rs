//! The layout Linux 6.12 `cdc_ncm` gives the NTBs it sends (`cdc_ncm_fill_tx_frame` with
//! `cdc_ncm_ndp16` and `cdc_ncm_ndp32`, `cdc_ncm_align_tail`, `cdc_ncm_update_rxtx_max`), as
//! numbers without bytes. Independent of this crate's code: it judges the builder.
//!
//! Linux rounds up to the divisor and then adds the remainder, which may pass several offsets that
//! would do. It reserves the NDP's full size and the widest padding that may come before it.

use uwwan_ncm::{Format, NtbParameters, Placement};

/// Most datagrams in an NTB (`CDC_NCM_DPT_DATAGRAMS_MAX`).
const MOST_DATAGRAMS: usize = 40;
/// Size of an NTB unless the device says less (`CDC_NCM_NTB_DEF_SIZE_TX`), in bytes.
const USUAL_SIZE: usize = 16384;
/// Smallest and largest NTB it agrees to (`USB_CDC_NCM_NTB_MIN_OUT_SIZE`,
/// `CDC_NCM_NTB_MAX_SIZE_TX`), in bytes.
const SIZES: (usize, usize) = (2048, 65536);
/// Least value of `min_tx_pkt` (`CDC_NCM_MIN_TX_PKT`), in bytes.
const LEAST_MIN_TX_PKT: usize = 512;

/// A sender with what it agreed on with the device. All sizes are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    nth: usize,
    ndp_header: usize,
    entry: usize,
    at_end: bool,
    divisor: usize,
    /// Remainder of datagram offsets modulo `divisor`, with the Ethernet header taken off where
    /// there is one.
    pub remainder: usize,
    ndp_alignment: usize,
    /// Length of the longest NTB that the sender builds.
    pub tx_max: usize,
    /// Length above which NTBs are padded to `tx_max`.
    pub min_tx_pkt: usize,
    /// Largest number of datagrams in an NTB.
    pub max_datagrams: usize,
    packet: usize,
}

/// An NTB as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Offset of each datagram, in the order they were offered.
    pub offsets: Vec<usize>,
    /// Offset and `wLength` of each NDP, in the order of the chain.
    pub ndps: Vec<(usize, usize)>,
    /// NTB length, padding included.
    pub length: usize,
}

impl Sender {
    /// Returns the framing that Linux agrees on with a device of these parameters, `packet` being
    /// the bulk endpoint's `wMaxPacketSize`. Parameters that need mending are not for this model.
    pub fn new(
        parameters: &NtbParameters,
        format: Format,
        placement: Placement,
        ethernet: bool,
        packet: usize,
    ) -> Self {
        let (nth, ndp_header, entry) = match format {
            Format::Ntb16 => (12, 8, 4),
            Format::Ntb32 => (16, 16, 8),
        };
        let announced = parameters.out_max as usize;
        let most = match announced {
            0 => SIZES.1,
            size => size.clamp(SIZES.0, SIZES.1),
        };
        let mut tx_max = USUAL_SIZE.min(most);
        if tx_max != announced && tx_max.is_multiple_of(packet) {
            tx_max += 1;
        }
        let divisor = usize::from(parameters.out_divisor);
        let header = if ethernet { 14 } else { 0 };
        let remainder = usize::from(parameters.out_remainder);
        Self {
            nth,
            ndp_header,
            entry,
            at_end: placement == Placement::End,
            divisor,
            remainder: remainder.wrapping_sub(header) & (divisor - 1),
            ndp_alignment: usize::from(parameters.out_alignment),
            tx_max,
            min_tx_pkt: tx_max
                .saturating_sub(3 * packet)
                .clamp(LEAST_MIN_TX_PKT, tx_max),
            max_datagrams: match usize::from(parameters.out_max_datagrams) {
                0 => MOST_DATAGRAMS,
                limit => limit.min(MOST_DATAGRAMS),
            },
            packet,
        }
    }

    /// Returns the NTB that takes as many of the datagrams as it can, each given by its session id
    /// and its length. `None` is returned when not even the first fits.
    pub fn fill(&self, datagrams: &[(u8, usize)]) -> Option<Layout> {
        let full_ndp = self.ndp_header + (self.max_datagrams + 1) * self.entry;
        // This is `delayed_ndp_size` of the driver.
        let reserve = if self.at_end {
            full_ndp + self.ndp_alignment.max(self.divisor + self.remainder) - 1
        } else {
            0
        };
        let mut tail = self.nth;
        let mut offsets = Vec::new();
        // Each element has the session id, the offset, and the number of entries used.
        let mut ndps: Vec<(u8, usize, usize)> = Vec::new();
        for (session, length) in datagrams.iter().copied() {
            if offsets.len() == self.max_datagrams {
                break;
            }
            let ndp = match ndps.iter().position(|ndp| ndp.0 == session) {
                Some(known) => known,
                // With the NDP at the end, an NTB has one NDP only.
                None if self.at_end && !ndps.is_empty() => {
                    tail = self.align(tail, self.divisor, self.remainder, self.tx_max);
                    break;
                }
                None => {
                    let at = if self.at_end {
                        tail
                    } else {
                        tail = self.align(tail, self.ndp_alignment, 0, self.tx_max);
                        tail
                    };
                    let needed = length + self.divisor + self.remainder + full_ndp;
                    if at + needed > self.tx_max {
                        tail = self.align(tail, self.divisor, self.remainder, self.tx_max);
                        break;
                    }
                    if !self.at_end {
                        tail += full_ndp;
                    }
                    ndps.push((session, at, 0));
                    ndps.len() - 1
                }
            };
            tail = self.align(tail, self.divisor, self.remainder, self.tx_max);
            if tail + length + reserve > self.tx_max {
                // The padding that was added for the refused datagram stays.
                break;
            }
            offsets.push(tail);
            ndps[ndp].2 += 1;
            tail += length;
        }
        if offsets.is_empty() {
            return None;
        }
        if self.at_end {
            tail = self.align(tail, self.ndp_alignment, 0, self.tx_max - full_ndp);
            ndps[0].1 = tail;
            tail += full_ndp;
        }
        let length = if tail > self.min_tx_pkt {
            self.tx_max
        } else if tail < self.tx_max && tail.is_multiple_of(self.packet) {
            tail + 1
        } else {
            tail
        };
        Some(Layout {
            offsets,
            ndps: ndps
                .into_iter()
                .map(|(_, at, used)| (at, self.ndp_header + (used + 1) * self.entry))
                .collect(),
            length,
        })
    }

    /// Returns where the tail is after padding that may not go beyond `most`, as
    /// `cdc_ncm_align_tail` does.
    fn align(&self, tail: usize, modulus: usize, remainder: usize, most: usize) -> usize {
        (tail.next_multiple_of(modulus) + remainder).min(most.max(tail))
    }
}
