//! `uwwan ntb`: look into a transfer block.

use serde_json::json;
use uwwan_ncm::{DropCounters, Limits, Ntb, NtbParameters, Stream, strict};

use crate::failure::{Failure, FailureKind};
use crate::input;
use crate::output::{say, say_json};

/// Arguments of `ntb`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show a block's header, datagrams and faults
    Decode(Decode),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ntb decode block.bin                      one USB transfer from a capture
  xxd -p block.bin | uwwan ntb decode -           the same as hexadecimal on standard input
  uwwan ntb decode --json block.bin | jq .datagrams

The exit status is 1 when the block cannot be read or a datagram in it is dropped.")]
struct Decode {
    /// A file (bytes or hexadecimal text), - for standard input, or hexadecimal digits
    #[arg(value_name = "INPUT")]
    input: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand.
///
/// # Errors
/// When the input cannot be read or is no faultless block.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Decode(decode) = &arguments.command;
    let bytes = input::read(&decode.input)?;
    let limits = Limits {
        max_block: bytes.len(),
        max_datagrams: usize::from(u16::MAX),
        ..Limits::default()
    };
    let block = Ntb::parse(&bytes, &limits).map_err(|error| {
        Failure::new(FailureKind::Other, "this is no transfer block")
            .at(decode.input.clone())
            .because(error)
            .next("a block starts with NCMH (NTB16) or ncmh (NTB32); give one whole bulk transfer")
    })?;
    let mut drops = DropCounters::default();
    let datagrams: Vec<(Stream, std::ops::Range<usize>)> = block
        .datagrams(&mut drops)
        .map(|datagram| (datagram.stream, datagram.range))
        .collect();
    let placement = match datagrams.first() {
        Some((_, first)) if block.ndp_index() < first.start => "front",
        Some(_) => "end",
        None => "none",
    };
    let format = block.format().wire();
    let width = if format == uwwan_ncm::Format::Ntb16.wire() {
        16
    } else {
        32
    };
    // What the strictest firmware would say, parameters aside.
    let verdict = strict::check(
        &bytes[..block.length()],
        false,
        &NtbParameters {
            out_max: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            ..NtbParameters::FALLBACK
        },
        &strict::Rules {
            max_datagram_size: usize::from(u16::MAX),
            ..strict::Rules::default()
        },
    )
    .err()
    .map(|violation| violation.to_string());
    let dropped: Vec<(&str, u64)> = drops.iter().filter(|(_, count)| *count > 0).collect();
    let payload: usize = datagrams.iter().map(|(_, range)| range.len()).sum();
    if decode.json {
        say_json(&json!({
            "format": width,
            "sequence": block.sequence(),
            "block_length": block.length(),
            "transfer_length": bytes.len(),
            "table_offset": block.ndp_index(),
            "ndp": placement,
            "payload": payload,
            "datagrams": datagrams.iter().map(|(stream, range)| json!({
                "stream": name(*stream), "offset": range.start, "length": range.len(),
                "about": about(&bytes[range.clone()]),
            })).collect::<Vec<_>>(),
            "dropped": dropped.iter().map(|(name, count)| json!({"reason": name, "count": count})).collect::<Vec<_>>(),
            "strict": verdict,
        }))?;
    } else {
        say(format!(
            "NTB{width}, sequence {}, {} bytes of a transfer of {}",
            block.sequence(),
            block.length(),
            bytes.len()
        ))?;
        say(format!(
            "pointer table at {}, {placement}; {} datagrams with {payload} bytes ({:.1} % of the block)",
            block.ndp_index(),
            datagrams.len(),
            payload as f64 * 100.0 / block.length().max(1) as f64
        ))?;
        for (stream, range) in &datagrams {
            say(format!(
                "  {:>6}  {:>5} bytes  {:<10} {}",
                range.start,
                range.len(),
                name(*stream),
                about(&bytes[range.clone()])
            ))?;
        }
        for (reason, count) in &dropped {
            say(format!("dropped: {reason} {count}"))?;
        }
        say(match &verdict {
            Some(violation) => format!("strict firmware would refuse it: {violation}"),
            None => "strict firmware would take it".to_owned(),
        })?;
    }
    if dropped.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(FailureKind::Other, "the block is faulty")
            .at(decode.input.clone())
            .because(
                dropped
                    .iter()
                    .map(|(reason, count)| format!("{reason}: {count}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ))
    }
}

fn name(stream: Stream) -> String {
    match stream {
        Stream::Ips(session) => format!("IP {session}"),
        Stream::Dss(session) => format!("DSS {session}"),
        Stream::Ethernet { crc: false } => "Ethernet".to_owned(),
        Stream::Ethernet { crc: true } => "Ethernet+CRC".to_owned(),
    }
}

/// Addresses and protocol of an IP packet; empty for anything else.
fn about(packet: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let protocol = |number: u8| match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("protocol {other}"),
    };
    match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            let address = |at: usize| {
                Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
            };
            format!("{} > {} {}", address(12), address(16), protocol(packet[9]))
        }
        Some(6) if packet.len() >= 40 => {
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&packet[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            format!("{} > {} {}", address(8), address(24), protocol(packet[6]))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_named() {
        let mut packet = [0; 40];
        assert_eq!(about(&packet), "");
        packet[0] = 0x45;
        packet[9] = 17;
        packet[15] = 9;
        assert_eq!(about(&packet), "0.0.0.9 > 0.0.0.0 UDP");
        packet[0] = 0x60;
        packet[6] = 58;
        assert!(about(&packet).ends_with("ICMPv6"));
        assert_eq!(about(&[0x45]), "");
        assert_eq!(about(&[]), "");
    }
}
