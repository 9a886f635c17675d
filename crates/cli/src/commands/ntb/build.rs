//! `uwwan ntb build` makes an NTB.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::options::Placement;

use super::assemble::{Built, assemble};
use super::description::{
    Datagram, Description, Kind, LONGEST, Ndp, Padding, Ping, Terminator, Value, Width,
};
use super::from_capture::Choice;
use crate::checks::{bad, words};
use crate::failure::{Failure, FailureKind};
use crate::hex;
use crate::input;
use crate::output::{note, say, say_json};

/// Faults that `--wrong` names.
const FAULTS: &str = "signature, header-length, block-length, ndp-index, append, cut, ndp-signature, \
                      ndp-length, next-ndp, terminator, datagram-index, datagram-length";

/// Arguments of `ntb build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan ntb build --ping 10.0.0.2,10.0.0.1                  an echo request, NDP at the end, as hexadecimal
  uwwan ntb build --ping 10.0.0.2,10.0.0.1 --ndp front --ntb 32 --file front.ntb
  uwwan ntb build --from trace.pcapng --count 3 | uwwan ntb decode -
  uwwan ntb build --zeros 100 --zeros 200 --chain 1         a chain of two NDPs
  uwwan ntb build --zeros 100 --wrong block-length=+1 --wrong datagram-length=0xffff
  uwwan ntb build odd.toml --output c                       all else is said in a description:

  sequence = 7                        # ntb, placement, divisor, remainder, ndp-alignment, padding,
  wrong.header-length = 16            # packet-size, spare-entries; wrong.signature, block-length,
                                      # ndp-index, append, cut
  [[ndp]]                             # one for each link of the chain
  stream = \"ips\"                      # ips, dss, ethernet, ethernet-crc
  session = 1
  wrong = { next = \"ndp 0\" }          # signature, length, entries, terminator
  [[ndp.datagram]]                    # hex, file, zeros or ping each
  ping = { from = \"10.0.0.2\", to = \"10.0.0.1\", bytes = 56 }
  wrong = { length = \"+4\" }           # index, length
  [[ndp]]
  datagram = [{ zeros = 40, wrong = { index = \"datagram 0\" } }]
  [[patch]]                           # any bytes, last
  at = 6
  hex = \"ffff\"

A wrong value is a number, +N or -N from the right one, or the offset of \"ndp N\" or \"datagram N\". What is
not named is right: an NTB without faults is one that the driver would send.")]
pub struct Arguments {
    /// A description (TOML), or - for standard input
    #[arg(value_name = "DESCRIPTION")]
    description: Option<PathBuf>,
    /// A datagram: hexadecimal digits or a file; may be repeated
    #[arg(long, value_name = "HEX|FILE", help_heading = "Datagrams")]
    datagram: Vec<String>,
    /// A datagram of so many zero bytes; may be repeated
    #[arg(long, value_name = "BYTES", help_heading = "Datagrams")]
    zeros: Vec<u16>,
    /// An ICMP echo request between two addresses, with so many bytes of data; may be repeated
    #[arg(long, value_name = "FROM,TO[,BYTES]", value_parser = ping, help_heading = "Datagrams")]
    ping: Vec<Ping>,
    #[command(flatten)]
    capture: Choice,
    /// Kind of the datagrams
    #[arg(long, value_name = "KIND", help_heading = "Layout")]
    stream: Option<Kind>,
    /// Number of the session
    #[arg(long, value_name = "N", help_heading = "Layout")]
    session: Option<u8>,
    /// Width of the length and index fields
    #[arg(long, value_name = "BITS", value_parser = ["16", "32"], help_heading = "Layout")]
    ntb: Option<String>,
    /// Place of the NDPs
    #[arg(long, value_name = "PLACE", value_parser = words(Placement::VALUES), help_heading = "Layout")]
    ndp: Option<Placement>,
    /// Begin another NDP after so many datagrams
    #[arg(long, value_name = "DATAGRAMS", help_heading = "Layout")]
    chain: Option<usize>,
    /// wSequence
    #[arg(long, value_name = "N", help_heading = "Layout")]
    sequence: Option<u16>,
    /// Divisor of the offsets of datagrams [default: 4]
    #[arg(long, value_name = "BYTES", help_heading = "Layout")]
    divisor: Option<u16>,
    /// Remainder of the offsets of datagrams
    #[arg(long, value_name = "BYTES", help_heading = "Layout")]
    remainder: Option<u16>,
    /// Alignment of the NDPs [default: 4]
    #[arg(long, value_name = "BYTES", help_heading = "Layout")]
    ndp_alignment: Option<u16>,
    /// End of the NTB: one byte more at multiples of the packet size (short), nothing (none), or zeros up
    /// to a length [default: short]
    #[arg(long, value_name = "PADDING", help_heading = "Layout")]
    pad: Option<Padding>,
    /// Zero entries behind the used ones, which wLength does not count
    #[arg(long, value_name = "N", help_heading = "Layout")]
    spare_entries: Option<u16>,
    /// A fault, as name=value; may be repeated. Of the first NDP and the first datagram, or with @N of
    /// another, counted from 0: datagram-length@2=+4. Names: signature, header-length, block-length,
    /// ndp-index, append, cut, ndp-signature, ndp-length, next-ndp, terminator=none, datagram-index, datagram-length
    #[arg(long, value_name = "NAME[@N]=VALUE", help_heading = "Faults")]
    wrong: Vec<String>,
    /// Form of what is printed [default: hex, or bytes into a file]
    #[arg(
        long,
        value_name = "FORM",
        conflicts_with = "json",
        help_heading = "Output"
    )]
    output: Option<Form>,
    /// Write into this file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "json",
        help_heading = "Output"
    )]
    file: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "file", help_heading = "Output")]
    force: bool,
    /// Print the NTB and where its parts lie as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// The bytes themselves
    Bytes,
    /// Hexadecimal digits
    Hex,
    /// An array in C
    C,
}

/// An NTB, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Format: 16 or 32.
    format: u8,
    /// Bytes of the transfer.
    length: usize,
    /// Whether a zero-length packet has to follow.
    zero_packet: bool,
    /// Offsets of the NDPs in bytes.
    ndps: Vec<usize>,
    /// Places of the datagrams.
    datagrams: Vec<Place>,
    /// The transfer in hexadecimal.
    hex: String,
}

/// Place of a datagram in an NTB.
#[derive(Debug, Serialize, JsonSchema)]
struct Place {
    /// Bytes from the start of the NTB.
    offset: usize,
    /// Bytes of the datagram.
    length: usize,
}

/// Builds the NTB and prints it.
///
/// # Errors
/// [`FailureKind::Usage`] when the description makes no sense or something does not fit.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let built = assemble(&described(arguments)?)?;
    if arguments.json {
        let datagrams = built.datagrams.iter();
        return say_json(&Output {
            format: built.format.bits(),
            length: built.bytes.len(),
            zero_packet: built.zero_packet,
            ndps: built.ndps.clone(),
            datagrams: datagrams
                .map(|range| Place {
                    offset: range.start,
                    length: range.len(),
                })
                .collect(),
            hex: hex::lines(&built.bytes).join(" "),
        });
    }
    let form = arguments.output.unwrap_or(match arguments.file {
        Some(_) => Form::Bytes,
        None => Form::Hex,
    });
    let content = match form {
        Form::Bytes if arguments.file.is_none() && std::io::stdout().is_terminal() => {
            return Err(bad("output", "bytes are not for a terminal")
                .next("name a file with --file FILE, or pipe them on"));
        }
        Form::Bytes => built.bytes.clone(),
        Form::Hex => text(&hex::lines(&built.bytes)),
        Form::C => text(&c_array(&built)),
    };
    match &arguments.file {
        Some(path) => write(path, &content, arguments.force)?,
        None if form == Form::Bytes => {
            let mut out = std::io::stdout().lock();
            out.write_all(&content)
                .and_then(|()| out.flush())
                .map_err(|error| {
                    Failure::new(FailureKind::Host, "cannot write to standard output")
                        .because(error)
                })?;
        }
        None => say(String::from_utf8_lossy(&content).trim_end())?,
    }
    if let Some(path) = &arguments.file {
        note(format!("{} bytes in {}", built.bytes.len(), path.display()));
    }
    Ok(())
}

/// Returns the description that the options make or complete.
fn described(arguments: &Arguments) -> Result<Description, Failure> {
    let given = given(arguments)?;
    let captured = arguments.capture.ndps()?;
    let mut description = match &arguments.description {
        Some(path) if given.is_empty() && captured.is_none() => read(path)?,
        Some(_) => {
            return Err(bad(
                "datagram, --zeros, --ping or --from",
                "the description has the datagrams",
            )
            .next("leave either out"));
        }
        None => Description {
            ndp: match (given.is_empty(), captured) {
                (true, Some(ndps)) => ndps,
                (false, None) => vec![Ndp {
                    datagram: given,
                    ..Ndp::default()
                }],
                (true, None) => {
                    return Err(Failure::new(FailureKind::Usage, "there is nothing to build")
                        .because("neither a description nor a datagram is given")
                        .next("give --ping FROM,TO, --datagram HEX, --from CAPTURE or a description"));
                }
                (false, Some(_)) => {
                    return Err(bad("from", "datagrams are given already").next("leave either out"));
                }
            },
            ..Description::default()
        },
    };
    if let Some(every) = arguments.chain {
        let every = every.max(1);
        let ndps = std::mem::take(&mut description.ndp);
        description.ndp = ndps.into_iter().flat_map(|ndp| split(ndp, every)).collect();
    }
    for ndp in &mut description.ndp {
        ndp.stream = arguments.stream.unwrap_or(ndp.stream);
        ndp.session = arguments.session.unwrap_or(ndp.session);
    }
    match arguments.ntb.as_deref() {
        Some("16") => description.ntb = Width::Ntb16,
        Some(_) => description.ntb = Width::Ntb32,
        None => {}
    }
    description.placement = arguments.ndp.or(description.placement);
    description.sequence = arguments.sequence.unwrap_or(description.sequence);
    description.divisor = arguments.divisor.or(description.divisor);
    description.remainder = arguments.remainder.unwrap_or(description.remainder);
    description.ndp_alignment = arguments.ndp_alignment.or(description.ndp_alignment);
    description.padding = arguments.pad.unwrap_or(description.padding);
    description.spare_entries = arguments.spare_entries.unwrap_or(description.spare_entries);
    for fault in &arguments.wrong {
        spoil(&mut description, fault)?;
    }
    Ok(description)
}

/// Returns the datagrams that options give.
fn given(arguments: &Arguments) -> Result<Vec<Datagram>, Failure> {
    let mut datagrams = Vec::new();
    for content in &arguments.datagram {
        datagrams.push(Datagram {
            bytes: Some(input::read(content)?),
            ..Datagram::default()
        });
    }
    datagrams.extend(arguments.zeros.iter().map(|count| Datagram {
        zeros: Some(*count),
        ..Datagram::default()
    }));
    let pings = arguments.ping.iter().enumerate();
    datagrams.extend(pings.map(|(number, ping)| Datagram {
        ping: Some(Ping {
            sequence: number as u16,
            ..ping.clone()
        }),
        ..Datagram::default()
    }));
    Ok(datagrams)
}

fn split(ndp: Ndp, every: usize) -> Vec<Ndp> {
    if ndp.datagram.len() <= every {
        return vec![ndp];
    }
    let datagrams = ndp.datagram.chunks(every);
    datagrams
        .map(|datagrams| Ndp {
            datagram: datagrams.to_vec(),
            ..ndp.clone()
        })
        .collect()
}

/// Reads a description and the files that it names.
fn read(path: &Path) -> Result<Description, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(FailureKind::Usage, "cannot read the description of the NTB")
            .at(path.display().to_string())
            .because(why)
    };
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
        file.take(LONGEST + 1).read_to_string(&mut text)
    };
    taken.map_err(|error| failed(&error))?;
    if text.len() as u64 > LONGEST {
        return Err(failed(&format_args!("it is longer than {LONGEST} bytes")));
    }
    let mut description = Description::parse(path, &text)?;
    for datagram in description.ndp.iter_mut().flat_map(|ndp| &mut ndp.datagram) {
        if let Some(file) = &datagram.file {
            datagram.bytes = Some(input::read(&file.display().to_string())?);
        }
    }
    Ok(description)
}

/// Adds the fault that an option names.
fn spoil(description: &mut Description, fault: &str) -> Result<(), Failure> {
    let wrong = |why: String| {
        bad("wrong", why)
            .at(format!("--wrong {fault}"))
            .next(format!(
                "the faults are {FAULTS}; a description can have more"
            ))
    };
    let (name, text) = fault
        .split_once('=')
        .ok_or_else(|| wrong("expected name=value".to_owned()))?;
    let (name, number) = match name.split_once('@') {
        Some((name, number)) => {
            let number = number.parse::<usize>();
            (
                name,
                number.map_err(|_| wrong("expected a number behind @".to_owned()))?,
            )
        }
        None => (name, 0),
    };
    let value = || text.parse::<Value>().map_err(&wrong);
    let ndps = description.ndp.len();
    let count = description
        .ndp
        .iter()
        .map(|ndp| ndp.datagram.len())
        .sum::<usize>();
    let header = &mut description.wrong;
    match name {
        "signature" => header.signature = Some(text.to_owned()),
        "header-length" => header.header_length = Some(value()?),
        "block-length" => header.block_length = Some(value()?),
        "ndp-index" => header.ndp_index = Some(value()?),
        "append" => header.append = Some(text.to_owned()),
        "cut" => {
            let length = text.parse();
            header.cut = Some(length.map_err(|_| wrong(format!("{text:?} is no length")))?);
        }
        "ndp-signature" | "ndp-length" | "next-ndp" | "terminator" => {
            let ndp = description.ndp.get_mut(number);
            let ndp = &mut ndp
                .ok_or_else(|| wrong(format!("there are {ndps} NDPs, counted from 0")))?
                .wrong;
            match name {
                "ndp-signature" => ndp.signature = Some(text.to_owned()),
                "ndp-length" => ndp.length = Some(value()?),
                "next-ndp" => ndp.next = Some(value()?),
                _ if text == "none" => ndp.terminator = Some(Terminator::Counted(false)),
                _ => return Err(wrong("a terminator can be none".to_owned())),
            }
        }
        "datagram-index" | "datagram-length" => {
            let mut datagrams = description.ndp.iter_mut().flat_map(|ndp| &mut ndp.datagram);
            let datagram = datagrams.nth(number);
            let datagram = datagram
                .ok_or_else(|| wrong(format!("there are {count} datagrams, counted from 0")))?;
            match name {
                "datagram-index" => datagram.wrong.index = Some(value()?),
                _ => datagram.wrong.length = Some(value()?),
            }
        }
        _ => return Err(wrong("there is no such fault".to_owned())),
    }
    Ok(())
}

/// Parses `FROM,TO[,BYTES]`.
fn ping(text: &str) -> Result<Ping, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (from, to, bytes) = match parts[..] {
        [from, to] => (from, to, None),
        [from, to, bytes] => (from, to, Some(bytes)),
        _ => return Err("expected two addresses: FROM,TO or FROM,TO,BYTES".to_owned()),
    };
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("{text:?} is no IP address"))
    };
    Ok(Ping {
        from: address(from)?,
        to: address(to)?,
        bytes: match bytes {
            Some(bytes) => Some(
                bytes
                    .parse()
                    .map_err(|_| format!("{bytes:?} is no number of bytes"))?,
            ),
            None => None,
        },
        identifier: 0x7577,
        sequence: 0,
    })
}

fn text(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}

/// Returns the NTB as an array in C.
fn c_array(built: &Built) -> Vec<String> {
    let mut lines = vec!["static const unsigned char ntb[] = {".to_owned()];
    lines.extend(built.bytes.chunks(12).map(|chunk| {
        let bytes: Vec<String> = chunk.iter().map(|byte| format!("0x{byte:02x},")).collect();
        format!("    {}", bytes.join(" "))
    }));
    lines.push("};".to_owned());
    lines
}

fn write(path: &Path, content: &[u8], force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(content));
    written.map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let kind = if exists {
            FailureKind::Usage
        } else {
            FailureKind::Host
        };
        let failure = Failure::new(kind, "cannot write the NTB")
            .at(path.display().to_string())
            .because(error);
        if exists {
            failure.next("choose another name, or replace it with --force")
        } else {
            failure
        }
    })
}
