//! Assembles an NTB from its description: the builder of the driver makes a correct one, and wrong
//! values are written over the right ones after that.

use std::ops::Range;

use uwwan_modem::options::Placement;
use uwwan_ncm::{
    Builder, DropCounters, Field, Format, Framing, Full, Function, Limits, MOST_DATAGRAMS,
    MOST_NDPS, NdpSize, Ntb, Padding as End, Placement as Place, Stream,
};
use uwwan_netstack::echo;

use super::description::{
    Datagram, Description, Kind, LONGEST_NTB, Ndp, Padding, Terminator, Value, Width,
};
use crate::failure::{Failure, FailureKind};
use crate::hex::from_hex;

/// Number of bytes behind the header of an echo request, as many as ping sends.
const ECHO_BYTES: u16 = 56;

/// NTB that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The whole transfer.
    pub bytes: Vec<u8>,
    /// Format of the NTB.
    pub format: Format,
    /// Whether a zero-length packet has to end the transfer.
    pub zero_packet: bool,
    /// Offsets of the NDPs, in the order of the chain.
    pub ndps: Vec<usize>,
    /// Ranges of the datagrams' bytes, without CRC.
    pub datagrams: Vec<Range<usize>>,
}

/// Builds the NTB.
///
/// # Errors
/// [`FailureKind::Usage`] when something in the description makes no sense or does not fit.
pub fn assemble(description: &Description) -> Result<Built, Failure> {
    let contents = contents(description)?;
    let framing = framing(description, contents.iter().map(Vec::len).sum());
    let format = framing.format;
    let mut bytes = vec![0; framing.max_ntb];
    let mut builder = Builder::new(framing);
    builder.set_sequence(description.sequence);
    let mut datagrams = Vec::new();
    for (ndp, contents) in description.ndp.iter().zip(&contents) {
        builder.begin_next_ndp();
        for content in contents {
            let place = format!("datagram {}", datagrams.len());
            let at = builder
                .put(stream(ndp), 0, content.len())
                .map_err(|full| too_much(&place, full, &builder))?;
            bytes[at..][..content.len()].copy_from_slice(content);
            if !ndp.datagram.is_empty() {
                datagrams.push(at..at + content.len());
            }
        }
    }
    let finished = builder.finish(&mut bytes);
    bytes.truncate(finished.length);
    let limits = Limits {
        max_ntb: LONGEST_NTB,
        ..Limits::default()
    };
    let ndps: Vec<usize> = match Ntb::parse(&bytes, &limits) {
        Ok(ntb) => {
            let mut drops = DropCounters::default();
            let ndps = ntb.ndps(&mut drops);
            ndps.map(|ndp| ndp.range.start).collect()
        }
        Err(_) => Vec::new(),
    };
    let mut block = Block {
        bytes,
        format,
        ndps,
        datagrams,
    };
    block.spoil(description, &contents)?;
    Ok(Built {
        zero_packet: framing.needs_zero_packet(block.bytes.len()),
        bytes: block.bytes,
        format,
        ndps: block.ndps,
        datagrams: block.datagrams,
    })
}

/// Returns the contents of the datagrams of each NDP. An NDP without datagrams gets a zero byte,
/// which no entry describes.
fn contents(description: &Description) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
    let ndps = &description.ndp;
    if ndps.is_empty() {
        return Err(wrong("ndp", "there is none: an NTB has at least one")
            .next("give a datagram, or [[ndp]] without one for an empty NTB"));
    }
    if ndps.len() > MOST_NDPS {
        return Err(wrong("ndp", format!("there are more than {MOST_NDPS}")));
    }
    let mut number = 0;
    let mut bytes = 0;
    let mut all = Vec::new();
    for ndp in ndps {
        let mut contents = Vec::new();
        for datagram in &ndp.datagram {
            let place = format!("datagram {number}");
            let content = content(datagram, &place)?;
            number += 1;
            bytes += content.len();
            if number > MOST_DATAGRAMS || bytes > LONGEST_NTB {
                let why = format!("more than {MOST_DATAGRAMS} datagrams or {LONGEST_NTB} bytes");
                return Err(wrong(&place, why));
            }
            contents.push(content);
        }
        if contents.is_empty() {
            contents.push(vec![0]);
        }
        all.push(contents);
    }
    Ok(all)
}

fn content(datagram: &Datagram, place: &str) -> Result<Vec<u8>, Failure> {
    let Datagram {
        hex,
        file,
        zeros,
        ping,
        bytes,
        ..
    } = datagram;
    let content = match (hex, zeros, ping, bytes) {
        (Some(digits), None, None, None) => from_hex(digits.as_bytes())
            .ok_or_else(|| wrong(place, format!("{digits:?} is not hexadecimal")))?,
        (None, Some(count), None, None) => vec![0; usize::from(*count)],
        (None, None, Some(ping), None) => {
            let data = vec![0x5a; usize::from(ping.bytes.unwrap_or(ECHO_BYTES))];
            echo::request(ping.from, ping.to, ping.identifier, ping.sequence, &data).ok_or_else(
                || {
                    wrong(
                        place,
                        "the addresses of the ping are not of one family, or it is too long",
                    )
                },
            )?
        }
        (None, None, None, Some(bytes)) => bytes.clone(),
        (None, None, None, None) if file.is_some() => {
            return Err(wrong(place, "its file was not read"));
        }
        _ => return Err(wrong(place, "give one of hex, file, zeros and ping")),
    };
    if content.is_empty() {
        return Err(
            wrong(place, "it is empty, and an entry of length 0 ends an NDP")
                .next("write wrong = { length = 0 } for such an entry"),
        );
    }
    Ok(content)
}

fn stream(ndp: &Ndp) -> Stream {
    match ndp.stream {
        Kind::Ips => Stream::Ips(ndp.session),
        Kind::Dss => Stream::Dss(ndp.session),
        Kind::Ethernet => Stream::Ethernet { crc: false },
        Kind::EthernetCrc => Stream::Ethernet { crc: true },
    }
}

/// Returns the framing for an NTB with so many datagrams.
fn framing(description: &Description, datagrams: usize) -> Framing {
    let format = match description.ntb {
        Width::Ntb16 => Format::Ntb16,
        Width::Ntb32 => Format::Ntb32,
    };
    let further = description.ndp.iter().map(|ndp| ndp.wrong.entries.len());
    let spare = usize::from(description.spare_entries).max(further.max().unwrap_or(0));
    let longest = LONGEST_NTB.min(format.max_ntb());
    let (padding, max_ntb) = match description.padding {
        Padding::Short => (End::ShortPacket, longest),
        Padding::None => (End::Never, longest),
        Padding::To(length) => (End::Full { min_tx_pkt: 0 }, length.min(longest)),
    };
    let divisor = usize::from(description.divisor.unwrap_or(4));
    let function = match description.ndp.first().map(|ndp| ndp.stream) {
        Some(Kind::Ethernet | Kind::EthernetCrc) => Function::Ncm,
        _ => Function::Mbim,
    };
    Framing {
        format,
        placement: match description.placement {
            Some(Placement::Front) => Place::Front,
            Some(Placement::End) | None => Place::End,
        },
        ndp_size: match spare {
            0 => NdpSize::Minimal,
            _ => NdpSize::Full,
        },
        padding,
        divisor,
        remainder: function.offset_remainder(divisor, usize::from(description.remainder)),
        ndp_alignment: usize::from(description.ndp_alignment.unwrap_or(4)),
        max_ntb,
        // Only an NTB that is filled up ends with the device's longest.
        device_max_ntb: match description.padding {
            Padding::To(length) => length,
            _ => usize::MAX,
        },
        max_datagrams: datagrams + spare,
        min_datagram_size: 0,
        max_datagram_size: usize::from(u16::MAX),
        max_packet_size: usize::from(description.packet_size.unwrap_or(512)),
        sequence: uwwan_ncm::Sequence::Rising,
        empty_before: 0,
        link: None,
        bare: false,
    }
}

fn too_much(place: &str, full: Full, builder: &Builder) -> Failure {
    let why = match full {
        Full::Room | Full::TooLong => format!(
            "the NTB has no room left for it: it has at most {} bytes",
            builder.framing().max_ntb
        ),
        Full::Datagrams => format!(
            "the NDPs have no room for it: together they have at most {} entries",
            builder.framing().max_datagrams
        ),
        Full::Stream => full.to_string(),
    };
    wrong(place, why).next("give fewer datagrams, or ntb = 32")
}

/// NTB in which values are overwritten.
struct Block {
    bytes: Vec<u8>,
    format: Format,
    ndps: Vec<usize>,
    datagrams: Vec<Range<usize>>,
}

impl Block {
    /// Writes wrong values over the right ones.
    fn spoil(
        &mut self,
        description: &Description,
        contents: &[Vec<Vec<u8>>],
    ) -> Result<(), Failure> {
        let header = &description.wrong;
        self.signature(
            "wrong.signature",
            Field::Signature,
            header.signature.as_deref(),
        )?;
        for (name, field, value) in [
            ("header-length", Field::HeaderLength, header.header_length),
            ("block-length", Field::BlockLength, header.block_length),
            ("ndp-index", Field::NdpIndex, header.ndp_index),
        ] {
            self.set(&format!("wrong.{name}"), field, value)?;
        }
        let ndps = self.ndps.clone();
        for (number, (ndp, at)) in description.ndp.iter().zip(ndps).enumerate() {
            self.spoil_entries(number, ndp, at, contents[number].len())?;
            let wrong = &ndp.wrong;
            let place = format!("ndp {number}: wrong");
            let signature = Field::NdpSignature { at };
            self.signature(
                &format!("{place}.signature"),
                signature,
                wrong.signature.as_deref(),
            )?;
            self.set(
                &format!("{place}.length"),
                Field::NdpLength { at },
                wrong.length,
            )?;
            self.set(&format!("{place}.next"), Field::NextNdp { at }, wrong.next)?;
        }
        for (number, patch) in description.patch.iter().enumerate() {
            let place = format!("patch {number}");
            let new = bytes_of(&place, &patch.hex)?;
            let length = self.bytes.len();
            let end = patch.at.checked_add(new.len());
            let old = end.and_then(|end| self.bytes.get_mut(patch.at..end));
            old.ok_or_else(|| {
                wrong(
                    &place,
                    format!("it ends behind the NTB, which has {length} bytes"),
                )
            })?
            .copy_from_slice(&new);
        }
        if let Some(digits) = &header.append {
            let more = bytes_of("wrong.append", digits)?;
            self.bytes.extend_from_slice(&more);
        }
        if let Some(length) = header.cut {
            self.bytes.truncate(length);
        }
        Ok(())
    }

    /// Overwrites the entries of an NDP, of which the first `used` are those of datagrams.
    fn spoil_entries(
        &mut self,
        number: usize,
        ndp: &Ndp,
        at: usize,
        used: usize,
    ) -> Result<(), Failure> {
        let index = |entry| Field::DatagramIndex { at, entry };
        let length = |entry| Field::DatagramLength { at, entry };
        if ndp.datagram.is_empty() {
            self.set("", index(0), Some(Value::Exact(0)))?;
            self.set("", length(0), Some(Value::Exact(0)))?;
        }
        for (entry, datagram) in ndp.datagram.iter().enumerate() {
            let place = format!("ndp {number}: datagram {entry}: wrong");
            self.set(
                &format!("{place}.index"),
                index(entry),
                datagram.wrong.index,
            )?;
            self.set(
                &format!("{place}.length"),
                length(entry),
                datagram.wrong.length,
            )?;
        }
        let further = &ndp.wrong.entries;
        for (entry, [at, long]) in further.iter().enumerate() {
            let place = format!("ndp {number}: wrong.entries");
            self.set(&place, index(used + entry), Some(*at))?;
            self.set(&place, length(used + entry), Some(*long))?;
        }
        let place = format!("ndp {number}: wrong.terminator");
        let mut entries = further.len() as i64;
        match ndp.wrong.terminator {
            Some(Terminator::Counted(false)) => entries -= 1,
            Some(Terminator::Entry([at, long])) => {
                self.set(&place, index(used + further.len()), Some(at))?;
                self.set(&place, length(used + further.len()), Some(long))?;
            }
            Some(Terminator::Counted(true)) | None => {}
        }
        let size = match self.format {
            Format::Ntb16 => 4,
            Format::Ntb32 => 8,
        };
        let more = Value::By(entries * size);
        self.set(
            &place,
            Field::NdpLength { at },
            (entries != 0).then_some(more),
        )
    }

    fn signature(
        &mut self,
        place: &str,
        field: Field,
        digits: Option<&str>,
    ) -> Result<(), Failure> {
        let Some(digits) = digits else { return Ok(()) };
        let bytes = bytes_of(place, digits)?;
        let [a, b, c, d] = bytes[..] else {
            return Err(wrong(
                place,
                format!("it has {} bytes instead of 4", bytes.len()),
            ));
        };
        let value = u32::from_le_bytes([a, b, c, d]);
        self.set(place, field, Some(Value::Exact(value)))
    }

    fn set(&mut self, place: &str, field: Field, value: Option<Value>) -> Result<(), Failure> {
        let Some(value) = value else { return Ok(()) };
        let unknown = |what: &str, count: usize| {
            wrong(place, format!("there are {count} {what}, counted from 0"))
        };
        let new = match value {
            Value::Exact(value) => Some(i64::from(value)),
            Value::By(more) => field
                .read(self.format, &self.bytes)
                .map(|right| i64::from(right) + more),
            Value::Ndp(which) => {
                let at = self.ndps.get(which).map(|at| *at as i64);
                Some(at.ok_or_else(|| unknown("NDPs", self.ndps.len()))?)
            }
            Value::Datagram(which) => {
                let at = self.datagrams.get(which).map(|range| range.start as i64);
                Some(at.ok_or_else(|| unknown("datagrams", self.datagrams.len()))?)
            }
        };
        let bits = field.range(self.format).map_or(0, |range| range.len() * 8);
        new.and_then(|new| u32::try_from(new).ok())
            .filter(|new| field.write(self.format, &mut self.bytes, *new))
            .map(|_| ())
            .ok_or_else(|| {
                let new = new.map_or_else(String::new, |new| format!("{new} "));
                wrong(
                    place,
                    format!("the value {new}does not fit into {bits} bits"),
                )
            })
    }
}

fn bytes_of(place: &str, digits: &str) -> Result<Vec<u8>, Failure> {
    match from_hex(digits.as_bytes()) {
        Some(bytes) if bytes.len() <= LONGEST_NTB => Ok(bytes),
        Some(_) => Err(wrong(
            place,
            format!("it has more than {LONGEST_NTB} bytes"),
        )),
        None => Err(wrong(place, format!("{digits:?} is not hexadecimal"))),
    }
}

fn wrong(place: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, "the NTB cannot be built")
        .at(place)
        .because(why)
}
