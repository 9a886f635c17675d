//! A model of what Linux 6.12 takes as a host: `cdc_mbim_rx_fixup` and `cdc_ncm_rx_fixup` with
//! their `verify_nth` and `verify_ndp`. The laxest receiver in wide use.
//!
//! Where the two differ the MBIM rules are applied to IP and device service NDPs and the NCM
//! rules to Ethernet NDPs; NTB32 is taken for both though `cdc_mbim` itself speaks NTB16 only.

use super::{Delivered, four, u16_at, u32_at};

/// Largest number of NDPs followed behind the first.
const MOST_FURTHER_NDPS: usize = 50;

/// Returns the datagrams that are delivered from a transfer, or nothing when its header is refused.
///
/// `Err` carries what was delivered before something made the driver give up on the rest.
pub fn receive(transfer: &[u8], rx_max: usize) -> Result<Vec<Delivered>, Vec<Delivered>> {
    let mut delivered = Vec::new();
    let (wide, nth, ndp_header) = match transfer.get(..4) {
        Some(b"NCMH") => (false, 12, 8),
        Some(b"ncmh") => (true, 16, 16),
        _ => return Err(delivered),
    };
    if transfer.len() < nth + ndp_header {
        return Err(delivered);
    }
    let word = |at| {
        if wide {
            u32_at(transfer, at)
        } else {
            u16_at(transfer, at)
        }
    };
    if word(8) > rx_max {
        return Err(delivered);
    }
    let mut ndp = word(if wide { 12 } else { 10 });
    let mut further = MOST_FURTHER_NDPS;
    loop {
        if ndp + ndp_header > transfer.len() {
            return Err(delivered);
        }
        let entry = if wide { 8 } else { 4 };
        let length = u16_at(transfer, ndp + 4);
        if length < ndp_header + 2 * entry {
            return Err(delivered);
        }
        let entries = (length - ndp_header) / entry - 1;
        if ndp + ndp_header + entries * entry > transfer.len() {
            return Err(delivered);
        }
        let signature = four(transfer, ndp);
        let kind = signature[..3].to_ascii_uppercase();
        let ethernet = kind == b"NCM" && signature[3] == b'0';
        if (ethernet || kind == b"IPS" || kind == b"DSS") && (kind == signature[..3]) != wide {
            for index in 0..entries {
                let at = ndp + ndp_header + index * entry;
                let (offset, length) = (word(at), word(at + entry / 2));
                if offset == 0 || length == 0 {
                    break;
                }
                let outside = offset + length > transfer.len() || length > rx_max;
                if ethernet {
                    if outside || length < 14 {
                        break;
                    }
                } else if outside
                    || kind == b"IPS" && (length < 20 || !matches!(transfer[offset] >> 4, 4 | 6))
                {
                    return Err(delivered);
                }
                delivered.push((signature, offset, length));
            }
        }
        ndp = word(ndp + if wide { 8 } else { 6 });
        if ndp == 0 {
            return Ok(delivered);
        }
        if further == 0 {
            return Ok(delivered);
        }
        further -= 1;
    }
}
