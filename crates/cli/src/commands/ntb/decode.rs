//! `uwwan ntb decode` shows an NTB.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_ncm::{DropCounters, Function, Limits, Ndp, Ntb, NtbParameters, Stream, strict};

use crate::failure::{Failure, FailureKind};
use crate::input::{self, Input};
use crate::output::{note, say, say_json};
use crate::story::{Story, What};

/// Arguments of `ntb decode`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ntb decode ntb.bin                        one USB transfer from a capture
  xxd -p ntb.bin | uwwan ntb decode -             the same as hexadecimal on standard input
  uwwan ntb decode --json ntb.bin | jq .datagrams
  uwwan ntb decode --direction in ntb.bin         from a device: the rules for NTBs to one are left out

The exit status is 1 when the NTB cannot be read or a datagram in it is dropped.")]
pub struct Arguments {
    /// A capture (pcapng or pcap), a file of bytes or hexadecimal text, - for standard input, or hexadecimal digits
    #[arg(value_name = "INPUT")]
    input: String,
    /// Which way the NTB went; without it the rules for NTBs to a device are told as a
    /// condition
    #[arg(long, value_name = "WAY")]
    direction: Option<Direction>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The direction in which an NTB went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// To the device
    Out,
    /// From the device
    In,
}

impl Direction {
    /// Returns the word of the direction.
    pub fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// Decodes the NTB and shows its content.
///
/// # Errors
/// Fails when the input cannot be read, is no NTB, or has a datagram that is dropped.
pub fn run(decode: &Arguments) -> Result<(), Failure> {
    match input::open(&decode.input)? {
        Input::Bytes(bytes) => show(&bytes, decode.direction, decode.json, &decode.input, None),
        Input::Capture(story) => of_capture(*story, decode),
    }
}

/// Shows each NTB of a capture that went in the chosen direction.
fn of_capture(mut story: Story<'static>, decode: &Arguments) -> Result<(), Failure> {
    let (mut told, mut faulty) = (0, 0);
    while let Some(entry) = story.next_entry()? {
        let What::Ntb { bytes, length } = &entry.what else {
            continue;
        };
        let way = if entry.out {
            Direction::Out
        } else {
            Direction::In
        };
        if decode.direction.is_some_and(|wanted| wanted != way) {
            continue;
        }
        if told > 0 && !decode.json {
            say("")?;
        }
        told += 1;
        let packet = entry.packet;
        let shown = if bytes.len() < *length {
            Err(
                Failure::new(FailureKind::Other, "the NTB is cut off in the capture")
                    .because(format!("{} of {length} bytes were captured", bytes.len())),
            )
        } else {
            show(bytes, Some(way), decode.json, &decode.input, Some(packet))
        };
        if let Err(failure) = shown {
            if failure.kind == FailureKind::Closed {
                return Err(failure);
            }
            faulty += 1;
            note(format!("packet {packet}: {}", failure.one_line()));
        }
    }
    let failed = |what: String| Err(Failure::new(FailureKind::Other, what).at(&decode.input));
    match (told, faulty) {
        (0, _) => failed("no NTB was captured".to_owned()),
        (_, 0) => Ok(()),
        _ => failed(format!("{faulty} of {told} NTBs are faulty")),
    }
}

/// Shows an NTB, which is the transfer of a capture's packet if `packet` is given.
fn show(
    bytes: &[u8],
    direction: Option<Direction>,
    json: bool,
    input: &str,
    packet: Option<u64>,
) -> Result<(), Failure> {
    let seen = Seen::of(bytes, direction).map_err(|failure| failure.at(input.to_owned()))?;
    if json {
        say_json(&Shown {
            packet,
            ..seen.shown()
        })?;
    } else {
        if let Some(packet) = packet {
            let way = match direction {
                Some(Direction::In) => "from",
                _ => "to",
            };
            say(format!("packet {packet}, {way} the device"))?;
        }
        for line in seen.text() {
            say(line)?;
        }
    }
    seen.verdict()
        .map_err(|failure| failure.at(input.to_owned()))
}

/// Content of an NTB, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Format: 16 or 32.
    format: u8,
    /// Direction of the NTB: `out` to the device, `in` from it; null when that is not known.
    direction: Option<&'static str>,
    /// Sequence number.
    sequence: u16,
    /// Bytes of the NTB.
    ntb_length: usize,
    /// Copy of `ntb_length`.
    #[schemars(extend("deprecated" = true))]
    block_length: usize,
    /// Bytes of the transfer.
    transfer_length: usize,
    /// Offset of the first NDP in bytes.
    ndp_offset: usize,
    /// Offsets in bytes of the NDPs that can be read, in the order of their chain.
    ndp_offsets: Vec<usize>,
    /// Copy of `ndp_offset`.
    #[schemars(extend("deprecated" = true))]
    table_offset: usize,
    /// Place of the first NDP: `end`, `front`, or `none` without a datagram.
    ndp: &'static str,
    /// Bytes in datagrams.
    payload: usize,
    /// Datagrams.
    datagrams: Vec<Datagram>,
    /// Dropped datagrams, counted by reason.
    dropped: Vec<Dropped>,
    /// Oddities, in words.
    notes: Vec<String>,
    /// Objection of the strictest firmware to the NTB; null for none.
    strict: Option<String>,
    /// Number of the packet in the capture. The field is absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<u64>,
}

/// A datagram of an NTB.
#[derive(Debug, Serialize, JsonSchema)]
struct Datagram {
    /// Stream of the datagram: `IP 0` and so on.
    stream: String,
    /// Bytes from the start of the NTB.
    offset: usize,
    /// Bytes of the datagram.
    length: usize,
    /// Description of the datagram in a few words.
    about: String,
}

/// Datagrams that were dropped for one reason.
#[derive(Debug, Serialize, JsonSchema)]
struct Dropped {
    /// Name of the reason.
    reason: &'static str,
    /// Number of the datagrams.
    count: u64,
}

/// The content of an NTB.
pub struct Seen<'a> {
    bytes: &'a [u8],
    direction: Option<Direction>,
    ntb: Ntb<'a>,
    datagrams: Vec<(Stream, std::ops::Range<usize>)>,
    /// Offsets in bytes of the NDPs that can be read, in the order of their chain.
    ndps: Vec<usize>,
    /// Place of the first NDP.
    placement: &'static str,
    notes: Vec<String>,
    dropped: Vec<(&'static str, u64)>,
    /// The objection of the strictest firmware to the NTB.
    strict: Option<String>,
}

impl<'a> Seen<'a> {
    /// Reads a transfer.
    ///
    /// # Errors
    /// Fails when the transfer is no NTB.
    pub fn of(bytes: &'a [u8], direction: Option<Direction>) -> Result<Self, Failure> {
        let limits = Limits {
            max_ntb: bytes.len(),
            max_datagrams: usize::from(u16::MAX),
            ..Limits::default()
        };
        let ntb = Ntb::parse(bytes, &limits).map_err(|error| {
            Failure::new(FailureKind::Other, "this is no NTB")
                .because(error)
                .next(
                    "an NTB starts with NCMH (NTB16) or ncmh (NTB32); give one whole bulk transfer",
                )
        })?;
        let mut drops = DropCounters::default();
        let datagrams: Vec<(Stream, std::ops::Range<usize>)> = ntb
            .datagrams(&mut drops)
            .map(|datagram| (datagram.stream, datagram.range))
            .collect();
        let ndps: Vec<Ndp> = ntb.ndps(&mut DropCounters::default()).collect();
        let placement = match datagrams.first() {
            Some((_, first)) if ntb.ndp_index() < first.start => "front",
            Some(_) => "end",
            None => "none",
        };
        let to_device = direction != Some(Direction::In);
        let mut notes: Vec<String> = ndps.iter().flat_map(oddities).collect();
        if to_device && placement == "front" {
            notes.push(
                "the NDP lies in front of the datagrams: Huawei firmware acknowledges such an NTB \
                 and swallows it"
                    .to_owned(),
            );
        }
        Ok(Self {
            bytes,
            direction,
            ntb,
            datagrams,
            ndps: ndps.iter().map(|ndp| ndp.range.start).collect(),
            placement,
            notes,
            dropped: drops.iter().filter(|(_, count)| *count > 0).collect(),
            strict: to_device
                .then(|| verdict(&bytes[..ntb.length()], &ndps))
                .flatten(),
        })
    }

    fn payload(&self) -> usize {
        self.datagrams.iter().map(|(_, range)| range.len()).sum()
    }

    /// Returns the content of the NTB as JSON.
    pub fn shown(&self) -> Shown {
        let datagrams = self.datagrams.iter();
        let dropped = self.dropped.iter();
        Shown {
            format: self.ntb.format().bits(),
            direction: self.direction.map(Direction::word),
            sequence: self.ntb.sequence(),
            ntb_length: self.ntb.length(),
            block_length: self.ntb.length(),
            transfer_length: self.bytes.len(),
            ndp_offset: self.ntb.ndp_index(),
            ndp_offsets: self.ndps.clone(),
            table_offset: self.ntb.ndp_index(),
            ndp: self.placement,
            payload: self.payload(),
            datagrams: datagrams
                .map(|(stream, range)| Datagram {
                    stream: name(*stream),
                    offset: range.start,
                    length: range.len(),
                    about: about(&self.bytes[range.clone()]),
                })
                .collect(),
            dropped: dropped
                .map(|(reason, count)| Dropped {
                    reason,
                    count: *count,
                })
                .collect(),
            notes: self.notes.clone(),
            strict: self.strict.clone(),
            packet: None,
        }
    }

    /// Returns a line about the NTB and one for each datagram.
    pub fn short(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "NTB{}, sequence {}, {} bytes of a transfer of {}",
            self.ntb.format(),
            self.ntb.sequence(),
            self.ntb.length(),
            self.bytes.len()
        )];
        lines.extend(self.datagram_lines());
        lines
    }

    fn datagram_lines(&self) -> impl Iterator<Item = String> {
        let datagrams = self.datagrams.iter().map(|(stream, range)| {
            format!(
                "  {:>6}  {:>5} bytes  {:<10} {}",
                range.start,
                range.len(),
                name(*stream),
                about(&self.bytes[range.clone()])
            )
        });
        let dropped = self.dropped.iter();
        datagrams.chain(dropped.map(|(reason, count)| format!("dropped: {reason} {count}")))
    }

    /// Returns all lines about the NTB.
    fn text(&self) -> Vec<String> {
        let mut lines = self.short();
        let payload = self.payload();
        let offsets = match self.ndps.as_slice() {
            [] | [_] => format!("NDP at {}", self.ntb.ndp_index()),
            several => {
                let several: Vec<String> = several.iter().map(usize::to_string).collect();
                format!("NDPs at {}", several.join(", "))
            }
        };
        let about_ndp = format!(
            "{offsets}, {}; {} datagrams with {payload} bytes ({:.1} % of the NTB)",
            self.placement,
            self.datagrams.len(),
            payload as f64 * 100.0 / self.ntb.length().max(1) as f64
        );
        lines.insert(1, about_ndp);
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.push(match (self.direction, &self.strict) {
            (Some(Direction::In), _) => {
                "from a device: the rules for NTBs to one do not apply".to_owned()
            }
            (Some(Direction::Out), Some(violation)) => {
                format!("strict firmware would refuse it: {violation}")
            }
            (Some(Direction::Out), None) => "strict firmware would take it".to_owned(),
            (None, Some(violation)) => format!(
                "if it goes to a device, strict firmware would refuse it: {violation} (an NTB from a \
                 device may be like that: --direction in)"
            ),
            (None, None) => "if it goes to a device, strict firmware would take it".to_owned(),
        });
        lines
    }

    /// Checks that every datagram can be read.
    ///
    /// # Errors
    /// A failure that lists the datagrams that were dropped, by reason.
    fn verdict(&self) -> Result<(), Failure> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        let dropped = self.dropped.iter();
        let dropped: Vec<String> = dropped
            .map(|(reason, count)| format!("{reason}: {count}"))
            .collect();
        Err(Failure::new(FailureKind::Other, "the NTB is faulty").because(dropped.join(", ")))
    }
}

/// Returns the objection of the strictest firmware to an NTB, or `None` when it would take it. The
/// parameters of a particular device are not considered.
fn verdict(ntb: &[u8], ndps: &[Ndp]) -> Option<String> {
    let ethernet = ndps.iter().find_map(|ndp| match ndp.stream {
        Stream::Ethernet { crc } => Some(crc),
        Stream::Ips(_) | Stream::Dss(_) => None,
    });
    let length = u32::try_from(ntb.len()).unwrap_or(u32::MAX);
    strict::check(
        ntb,
        false,
        &NtbParameters {
            out_max: length,
            ..NtbParameters::FALLBACK
        },
        &strict::Rules {
            function: match ethernet {
                Some(_) => Function::Ncm,
                None => Function::Mbim,
            },
            crc: ethernet == Some(true),
            max_datagram_size: usize::from(u16::MAX),
            ..strict::Rules::default()
        },
    )
    .err()
    .map(|violation| violation.to_string())
}

/// Returns the oddities of an NDP that can be read all the same.
fn oddities(ndp: &Ndp) -> Vec<String> {
    let at = ndp.range.start;
    let mut found = Vec::new();
    if ndp.backwards {
        found.push(format!(
            "the NDP at {at} lies in front of the one that names it: the chain goes backwards"
        ));
    }
    if ndp.announced_length != ndp.range.len() {
        found.push(format!(
            "wLength {} of the NDP at {at} is no whole number of entries: read as {}",
            ndp.announced_length,
            ndp.range.len()
        ));
    }
    found
}

fn name(stream: Stream) -> String {
    match stream {
        Stream::Ips(session) => format!("IP {session}"),
        Stream::Dss(session) => format!("DSS {session}"),
        Stream::Ethernet { crc: false } => "Ethernet".to_owned(),
        Stream::Ethernet { crc: true } => "Ethernet+CRC".to_owned(),
    }
}

/// Returns the addresses and the protocol of an IP packet, or an empty text for anything else.
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
