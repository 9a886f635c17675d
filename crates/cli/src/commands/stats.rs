//! `uwwan stats` shows the modem's own packet counters.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{PACKET_STATISTICS, PacketStatistics};

use crate::failure::Failure;
use crate::output::{bytes, say_json};
use crate::page::Page;
use crate::reach::Reach;

/// Arguments of `stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan stats                        packets and bytes of all sessions, as the modem counts them
  uwwan stats --json | jq .downlink.bytes

uwwan status shows what the driver counts, NTBs and drops included.")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Counters of the modem, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// Traffic from network to host.
    downlink: Counted,
    /// Traffic from host to network.
    uplink: Counted,
    /// Copy of `downlink`.
    #[schemars(extend("deprecated" = true))]
    received: Counted,
    /// Copy of `uplink`.
    #[schemars(extend("deprecated" = true))]
    sent: Counted,
}

/// Counters of the modem in one direction.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Counted {
    /// Number of packets.
    packets: u64,
    /// Bytes in packets.
    bytes: u64,
    /// Number of packets with errors.
    errors: u32,
    /// Number of packets that were discarded.
    discards: u32,
}

/// Shows the packet counters.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses the query.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let stats: PacketStatistics = modem.query(PACKET_STATISTICS)?;
    modem.close()?;
    if arguments.json {
        let downlink = Counted {
            packets: stats.in_packets,
            bytes: stats.in_octets,
            errors: stats.in_errors,
            discards: stats.in_discards,
        };
        let uplink = Counted {
            packets: stats.out_packets,
            bytes: stats.out_octets,
            errors: stats.out_errors,
            discards: stats.out_discards,
        };
        return say_json(&Output {
            downlink,
            uplink,
            received: downlink,
            sent: uplink,
        });
    }
    let mut page = Page::default();
    let row = |packets, octets, errors, discards| {
        format!(
            "{packets} packets, {}, {errors} errors, {discards} discarded",
            bytes(octets)
        )
    };
    page.row(
        "received",
        row(
            stats.in_packets,
            stats.in_octets,
            stats.in_errors,
            stats.in_discards,
        ),
    );
    page.row(
        "sent",
        row(
            stats.out_packets,
            stats.out_octets,
            stats.out_errors,
            stats.out_discards,
        ),
    );
    page.print()
}
