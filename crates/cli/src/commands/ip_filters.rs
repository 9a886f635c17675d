//! `uwwan ip-filters` shows or sets which packets may wake the host.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::print::hex;
use uwwan_mbim::services::basic_connect::{IP_PACKET_FILTERS, IpPacketFilters, PacketFilter};

use crate::failure::{Failure, FailureKind};
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;

/// Greatest length of a filter in bytes, the largest value of `bMaxFilterSize`.
const LONGEST: usize = 255;

/// Arguments of `ip-filters`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ip-filters                          those of session 0
  uwwan ip-filters --session 3 --json
  uwwan ip-filters --set 4500/f000
      only packets whose first byte begins with 4: IPv4
  uwwan ip-filters --set 45000000000000000006/ff000000000000000000ff --set 60/f0
      TCP over IPv4, and all of IPv6
  uwwan ip-filters --clear                  none: every packet passes

A filter is bytes and a mask of the same length, from the start of the packet. While the host is
suspended only packets that match one of them wake it.")]
pub struct Arguments {
    /// Number of the session
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..256))]
    session: u32,
    /// Replace the filters: bytes and mask in hexadecimal; may be repeated
    #[arg(long, value_name = "BYTES/MASK", value_parser = filter)]
    set: Vec<PacketFilter>,
    /// Remove all filters
    #[arg(long, conflicts_with = "set")]
    clear: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn filter(text: &str) -> Result<PacketFilter, String> {
    let form = || "expected bytes and a mask of the same length, as in 4500/f000".to_owned();
    let (filter, mask) = text.split_once('/').ok_or_else(form)?;
    let bytes = |text: &str| -> Option<Vec<u8>> {
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()?;
        digits.len().is_multiple_of(2).then(|| {
            digits
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect()
        })
    };
    let filter = PacketFilter {
        packet_filter: bytes(filter).ok_or_else(form)?,
        packet_mask: bytes(mask).ok_or_else(form)?,
    };
    let length = filter.packet_filter.len();
    if length == 0 || length > LONGEST || length != filter.packet_mask.len() {
        return Err(form());
    }
    Ok(filter)
}

/// Filters of a data session, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// MBIM session id.
    session: u32,
    /// Filters; a packet passes if it matches one of them.
    filters: Vec<Shown>,
}

/// A filter.
#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    /// Bytes in hexadecimal.
    filter: String,
    /// Bits that count, in hexadecimal.
    mask: String,
}

/// Shows or replaces the filters of a data session.
///
/// # Errors
/// Fails when the modem cannot be reached, refuses, or answers about another data session.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let wanted = IpPacketFilters {
        session_id: arguments.session,
        packet_filters: arguments.set.clone(),
    };
    let change = arguments.clear || !arguments.set.is_empty();
    let filters: IpPacketFilters = if change {
        modem.set(IP_PACKET_FILTERS, &wanted)?
    } else {
        modem.query_with(IP_PACKET_FILTERS, &wanted)?
    };
    modem.close()?;
    if filters.session_id != arguments.session {
        return Err(Failure::new(
            FailureKind::Unreadable,
            "the answer is about another session",
        )
        .because(format!(
            "asked for {}, told of {}",
            arguments.session, filters.session_id
        )));
    }
    if arguments.json {
        let list = filters.packet_filters.iter();
        return say_json(&Output {
            session: filters.session_id,
            filters: list
                .map(|filter| Shown {
                    filter: hex(&filter.packet_filter),
                    mask: hex(&filter.packet_mask),
                })
                .collect(),
        });
    }
    let mut page = Page::default();
    for (index, filter) in filters.packet_filters.iter().enumerate() {
        let text = format!(
            "{}/{}",
            hex(&filter.packet_filter),
            hex(&filter.packet_mask)
        );
        page.row(&format!("filter {index}"), text);
    }
    if page.is_empty() {
        page.line("no filter: every packet passes");
    }
    page.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_bytes_and_a_mask_as_long() {
        let good = filter("4500/f00F").unwrap();
        assert_eq!(good.packet_filter, [0x45, 0]);
        assert_eq!(good.packet_mask, [0xf0, 0x0f]);
        let long = "00".repeat(256);
        for bad in [
            "",
            "45",
            "45/",
            "/",
            "45/f0f0",
            "4/f",
            "zz/ff",
            &format!("{long}/{long}"),
        ] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
