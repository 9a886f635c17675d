//! Descriptions of NTBs, which `uwwan ntb build` reads from a TOML file, and which its options
//! complete.
//!
//! ```toml
//! ntb = 16                      # or 32
//! placement = "end"             # of the NDPs: "end" or "front"
//! sequence = 7
//! divisor = 4                   # of the offsets of datagrams, as wNdpOutDivisor,
//! remainder = 0                 # wNdpOutPayloadRemainder
//! ndp-alignment = 4             # and wNdpOutAlignment
//! padding = "short"             # one byte at multiples of packet-size; "none"; or fill up to a length
//! packet-size = 512             # of the bulk OUT endpoint
//! spare-entries = 0             # zero entries behind the used ones, which wLength does not count
//!
//! [[ndp]]                       # each a link of the chain
//! stream = "ips"                # "dss", "ethernet" or "ethernet-crc"
//! session = 0
//! datagram = [                  # one of hex, file, zeros and ping each
//!     { hex = "45000014…" },
//!     { zeros = 100 },
//!     { ping = { from = "10.0.0.2", to = "10.0.0.1", bytes = 56 }, wrong = { length = "+4" } },
//! ]
//!
//! [ndp.wrong]                   # what is wrong with the NDP
//! next = "ndp 0"
//!
//! [wrong]                       # and with the header
//! block-length = "-1"
//!
//! [[patch]]                     # any bytes, last
//! at = 6
//! hex = "ffff"
//! ```
//!
//! Without `wrong` and `patch` the NTB is a correct one. A wrong value is a number, `"+4"` or `"-4"`
//! relative to the right value, or the offset of `"ndp 1"` or `"datagram 3"`, counted from 0 over
//! the NTB.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use uwwan_modem::options::Placement;

use crate::failure::{Failure, FailureKind};

/// Size of the longest description in bytes.
pub const LONGEST: u64 = 1 << 20;
/// Length in bytes of the longest NTB that is built. NTB32 could be longer, but no device takes
/// that.
pub const LONGEST_NTB: usize = 1 << 20;

/// Description of an NTB.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Description {
    /// Width of the length and index fields in bits.
    pub ntb: Width,
    /// Place of the NDPs.
    pub placement: Option<Placement>,
    /// `wSequence`.
    pub sequence: u16,
    /// Divisor of the offsets of datagrams.
    pub divisor: Option<u16>,
    /// Remainder of the offsets of datagrams. For Ethernet it is that of the payload behind the
    /// header of 14 bytes.
    pub remainder: u16,
    /// Alignment of the offset of an NDP, in bytes.
    pub ndp_alignment: Option<u16>,
    /// End of the NTB.
    pub padding: Padding,
    /// `wMaxPacketSize` of the bulk OUT endpoint.
    pub packet_size: Option<u16>,
    /// Number of zero entries behind those that are used, in each NDP.
    pub spare_entries: u16,
    /// The NDPs in the order of their chain.
    pub ndp: Vec<Ndp>,
    /// Faults of the header.
    pub wrong: WrongHeader,
    /// Bytes that are overwritten at the end.
    pub patch: Vec<Patch>,
}

/// Width of an NTB's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "u8")]
pub enum Width {
    /// 16 bits.
    #[default]
    Ntb16,
    /// 32 bits.
    Ntb32,
}

impl TryFrom<u8> for Width {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        match bits {
            16 => Ok(Self::Ntb16),
            32 => Ok(Self::Ntb32),
            _ => Err("ntb is 16 or 32"),
        }
    }
}

/// End of an NTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Form")]
pub enum Padding {
    /// One zero byte where the length would be a multiple of the packet size.
    #[default]
    Short,
    /// Nothing is added.
    None,
    /// Zeros are added up to this length in bytes.
    To(usize),
}

impl FromStr for Padding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "short" => Ok(Self::Short),
            "none" => Ok(Self::None),
            number => match number.parse() {
                Ok(length) if (1..=LONGEST_NTB).contains(&length) => Ok(Self::To(length)),
                _ => Err(format!(
                    "{text:?} is neither short nor none nor a length from 1 to {LONGEST_NTB}"
                )),
            },
        }
    }
}

/// One NDP of the chain.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Ndp {
    /// Kind of the datagrams.
    pub stream: Kind,
    /// MBIM session id, for `ips` and `dss`.
    pub session: u8,
    /// The datagrams.
    pub datagram: Vec<Datagram>,
    /// Faults of the NDP.
    pub wrong: WrongNdp,
}

/// Kind of the datagrams of an NDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// IP packets of an MBIM session
    #[default]
    Ips,
    /// Data of an MBIM device service
    Dss,
    /// Ethernet frames
    Ethernet,
    /// Ethernet frames with a CRC-32 behind each
    EthernetCrc,
}

/// Datagram of an NDP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Datagram {
    /// Content as hexadecimal digits.
    pub hex: Option<String>,
    /// File with the content.
    pub file: Option<PathBuf>,
    /// Number of zero bytes that are the content.
    pub zeros: Option<u16>,
    /// Echo request that is the content.
    pub ping: Option<Ping>,
    /// Content, once it is known.
    #[serde(skip)]
    pub bytes: Option<Vec<u8>>,
    /// Faults of the entry.
    pub wrong: WrongEntry,
}

/// ICMP echo request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ping {
    /// Address of the sender.
    pub from: IpAddr,
    /// Address that is asked.
    pub to: IpAddr,
    /// Number of bytes behind the header.
    #[serde(default)]
    pub bytes: Option<u16>,
    /// Identifier of the request.
    #[serde(default)]
    pub identifier: u16,
    /// Sequence number of the request.
    #[serde(default)]
    pub sequence: u16,
}

/// Values of the header other than the right ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WrongHeader {
    /// Four bytes as hexadecimal digits.
    pub signature: Option<String>,
    /// `wHeaderLength`.
    pub header_length: Option<Value>,
    /// `wBlockLength` or `dwBlockLength`.
    pub block_length: Option<Value>,
    /// `wNdpIndex` or `dwNdpIndex`.
    pub ndp_index: Option<Value>,
    /// Bytes behind the NTB as hexadecimal digits, which the block length does not count.
    pub append: Option<String>,
    /// Length to which the transfer is cut.
    pub cut: Option<usize>,
}

/// Values of an NDP other than the right ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WrongNdp {
    /// Four bytes as hexadecimal digits.
    pub signature: Option<String>,
    /// `wLength`.
    pub length: Option<Value>,
    /// `wNextNdpIndex` or `dwNextNdpIndex`.
    pub next: Option<Value>,
    /// Entries behind those of the datagrams, each with an index and a length.
    pub entries: Vec<[Value; 2]>,
    /// Terminator of the NDP: `false` when `wLength` does not count it, or the entry that stands in
    /// its place.
    pub terminator: Option<Terminator>,
}

/// Terminator of an NDP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected true, false or [index, length]")]
pub enum Terminator {
    /// Whether `wLength` counts the terminator.
    Counted(bool),
    /// Index and length of the entry that stands in its place.
    Entry([Value; 2]),
}

/// Values of an entry other than the right ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WrongEntry {
    /// `wDatagramIndex` or `dwDatagramIndex`.
    pub index: Option<Value>,
    /// `wDatagramLength` or `dwDatagramLength`.
    pub length: Option<Value>,
}

/// Bytes that are overwritten.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Patch {
    /// Offset of the first byte.
    pub at: usize,
    /// The bytes as hexadecimal digits.
    pub hex: String,
}

/// Value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Form")]
pub enum Value {
    /// This number.
    Exact(u32),
    /// The right value plus this difference.
    By(i64),
    /// The offset of the NDP with this index.
    Ndp(usize),
    /// The offset of the datagram with this index.
    Datagram(usize),
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = |digits: &str| match digits.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if digits.starts_with('+') => None,
            None => digits.parse().ok(),
        };
        let value = if let Some(more) = text.strip_prefix('+') {
            number(more).map(|more| Self::By(i64::from(more)))
        } else if let Some(less) = text.strip_prefix('-') {
            number(less).map(|less| Self::By(-i64::from(less)))
        } else if let Some(which) = text.strip_prefix("ndp ") {
            which.parse().ok().map(Self::Ndp)
        } else if let Some(which) = text.strip_prefix("datagram ") {
            which.parse().ok().map(Self::Datagram)
        } else {
            number(text).map(Self::Exact)
        };
        value.ok_or_else(|| {
            format!(
                "{text:?} is no value: give a number of up to 32 bits, +N or -N from the right value, \
                 or the offset of \"ndp N\" or \"datagram N\""
            )
        })
    }
}

/// Number or text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a text")]
enum Form {
    Number(u32),
    Text(String),
}

impl TryFrom<Form> for Value {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Number(number) => Ok(Self::Exact(number)),
            Form::Text(text) => text.parse(),
        }
    }
}

impl TryFrom<Form> for Padding {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Number(number) => number.to_string().parse(),
            Form::Text(text) => text.parse(),
        }
    }
}

impl Description {
    /// Parses a description from the file `name`. Files that it names are looked for beside that file.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] with the place and the reason.
    pub fn parse(name: &Path, text: &str) -> Result<Self, Failure> {
        let mut description: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| {
                let line = 1 + text.get(..span.start).unwrap_or(text).matches('\n').count();
                format!("line {line}: ")
            });
            Failure::new(FailureKind::Usage, "cannot use the description of the NTB")
                .at(name.display().to_string())
                .because(format!("{}{}", place.unwrap_or_default(), error.message()))
                .next("uwwan ntb build --help has the form of a description")
        })?;
        let folder = name.parent().unwrap_or(Path::new(""));
        for datagram in description.ndp.iter_mut().flat_map(|ndp| &mut ndp.datagram) {
            if let Some(file) = &mut datagram.file {
                *file = folder.join(&*file);
            }
        }
        Ok(description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Description, Failure> {
        Description::parse(Path::new("dir/ntb.toml"), text)
    }

    #[test]
    fn all_forms_of_values_are_read() {
        for (text, value) in [
            ("12", Value::Exact(12)),
            ("\"0x30\"", Value::Exact(0x30)),
            ("\"+4\"", Value::By(4)),
            ("\"-0x10\"", Value::By(-16)),
            ("\"ndp 1\"", Value::Ndp(1)),
            ("\"datagram 0\"", Value::Datagram(0)),
        ] {
            let description = parse(&format!("wrong.block-length = {text}")).unwrap();
            assert_eq!(description.wrong.block_length, Some(value), "{text}");
        }
        for wrong in [
            "-1",
            "4294967296",
            "\"++1\"",
            "\"ndp\"",
            "\"\"",
            "true",
            "1.5",
        ] {
            let failure = parse(&format!("\nwrong.block-length = {wrong}")).unwrap_err();
            assert!(failure.to_string().contains("line 2: "), "{failure}");
        }
        assert_eq!(parse("padding = 512").unwrap().padding, Padding::To(512));
        assert_eq!(parse("padding = \"none\"").unwrap().padding, Padding::None);
        assert!(parse("padding = 0").is_err());
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_place() {
        for (text, told) in [
            ("sequnce = 1", "unknown field `sequnce`"),
            ("ntb = 8", "ntb is 16 or 32"),
            ("[[ndp]]\nstream = \"ip\"", "line 2"),
            ("[[ndp]]\ndatagram = [{ zeros = 70000 }]", "line 2"),
            ("sequence = 70000", "line 1"),
        ] {
            let failure = parse(text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            assert!(failure.to_string().contains(told), "{failure}");
        }
        let named = parse("[[ndp]]\ndatagram = [{ file = \"a.bin\" }]").unwrap();
        let file = named.ndp[0].datagram[0].file.as_deref();
        assert_eq!(file, Some(Path::new("dir/a.bin")));
    }
}
