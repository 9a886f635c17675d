//! Captures without identities and payload, fit to be handed over.
//!
//! ```text
//!  file ──first pass──> what control and serial transfers become, and all identities
//!  file ──second pass─> the same packets: control and serial as found, NTBs and datagrams scrubbed,
//!                       everything looked through for identities
//! ```
//!
//! - `identities`: the replacements, the same for the same identity in whatever form.
//! - `message`: MBIM, by the layouts of the codec.
//! - `serial`: AT dialogues, put together to lines; `line`: the parts of a line; `rules`: the meaning of its
//!   arguments; `syntax`: their places; `pdu`: short messages.
//! - `control`: descriptors, strings, other requests, notifications.
//! - `ntb`, `datagram`: NTBs, Ethernet frames and IP packets.
//! - `text`: logs and the like beside the capture.
//! - `sweep`: the search for identities in the bytes that are kept.
//! - `report`: the account.
//!
//! Lengths, framing and times stay, so that Wireshark dissects the result as it dissects the original.
//! These stay besides: access strings, names and numbers of operators, versions, models, signal,
//! states, and the time of each message. Content that is not understood is blanked.

mod control;
mod datagram;
mod first;
mod identities;
mod line;
mod message;
mod ntb;
mod pdu;
mod report;
mod rules;
mod serial;
mod sweep;
mod syntax;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::io::{self, Read, Write};

use uwwan_capture::LinkType;
use uwwan_capture::read::{Packet, Reader};
use uwwan_capture::transfer::Kind as TransferKind;
use uwwan_capture::usbmon;
use uwwan_capture::write::{Interface, Writer};

pub use identities::Kind;
pub use report::{Replaced, Report, ScrubError};

use datagram::Scrubber;
use first::{Changed, First};
use identities::Identities;
use ntb::is_ntb;
use sweep::Sweep;

/// Name of the program that has written the result.
const APPLICATION: &str = concat!("uwwan ", env!("CARGO_PKG_VERSION"));

/// Options of the treatment of a capture's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the payload of datagrams stays. The payload of DNS and DHCP never does.
    pub keep_payload: bool,
    /// Whether the result is a packed file
    /// ([`Writer::packed`](uwwan_capture::write::Writer::packed)).
    pub packed: bool,
}

/// Reads a capture, which `open` opens twice, and writes it to `out` without identities and payload.
///
/// A broken capture is scrubbed up to the place where it breaks; [`Report::broken`] gives the
/// reason.
///
/// # Errors
/// [`ScrubError`]. `out` then holds nothing that should not be handed over, but ends early.
pub fn scrub<R: Read + Send>(
    open: impl FnMut() -> io::Result<R>,
    out: impl Write,
    options: Options,
) -> Result<Report, ScrubError> {
    scrub_beside(open, out, options, &mut [])
}

/// Replaces whatever looks like an identity in texts: addresses, and numbers of devices, cards and
/// people.
pub fn scrub_texts(texts: &mut [String]) {
    let mut identities = Identities::default();
    let sweep = Sweep::new(&identities);
    for text in texts {
        *text = text::scrub(text, &sweep, &mut identities);
    }
}

/// Scrubs a capture as [`scrub`] does, and texts beside it, such as a log: whatever looks like an identity
/// and the identities of the capture are replaced. The same identity has the same replacement in all of
/// them.
///
/// # Errors
/// Those of [`scrub`]. The texts are scrubbed only when there is none.
pub fn scrub_beside<R: Read + Send>(
    mut open: impl FnMut() -> io::Result<R>,
    out: impl Write,
    options: Options,
    texts: &mut [String],
) -> Result<Report, ScrubError> {
    let mut report = Report::default();
    let mut identities = Identities::default();
    let (changed, sweep) = {
        let mut first = First::new(&mut identities, &mut report);
        let mut reader = Reader::new(open()?)?;
        let broken = loop {
            match reader.next_packet() {
                Ok(Some(packet)) => first.packet(&packet)?,
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        let found = first.finish();
        report.broken = broken;
        found
    };
    // Datagrams bring addresses, but no text that is looked for elsewhere.
    let mut second = Second {
        sweep,
        writer: if options.packed {
            Writer::packed(out, APPLICATION)?
        } else {
            Writer::new(out, APPLICATION)?
        },
        interfaces: HashMap::new(),
        changed,
        options,
        identities: &mut identities,
        report: &mut report,
    };
    let mut reader = Reader::new(open()?)?;
    while let Ok(Some(packet)) = reader.next_packet() {
        second.packet(packet)?;
    }
    second.writer.end()?;
    for text in texts {
        *text = text::scrub(text, &second.sweep, second.identities);
    }
    report.finish(&identities);
    Ok(report)
}

struct Second<'a, W> {
    sweep: Sweep,
    writer: Writer<W>,
    interfaces: HashMap<u16, Interface>,
    changed: Changed,
    options: Options,
    identities: &'a mut Identities,
    report: &'a mut Report,
}

impl<W: Write> Second<'_, W> {
    fn packet(&mut self, mut packet: Packet) -> io::Result<()> {
        if packet.link == LinkType::RAW_IP {
            let mut scrubber = Scrubber {
                identities: self.identities,
                report: self.report,
                keep_payload: self.options.keep_payload,
            };
            let before = self.options.keep_payload.then(|| packet.data.clone());
            scrubber.packet(&mut packet.data);
            if let Some(before) = before {
                self.sweep.pass(&before, &mut packet.data);
            }
            return self.write(packet.link, packet.time, &[&packet.data], packet.original);
        }
        let (Some(transfer), Some(range)) = (packet.transfer(), packet.transfer_data()) else {
            self.report.left_out += 1;
            return Ok(());
        };
        let mut data = transfer.data.to_vec();
        match transfer.kind {
            TransferKind::Bulk if is_ntb(&data) => {
                let mut scrubber = Scrubber {
                    identities: self.identities,
                    report: self.report,
                    keep_payload: self.options.keep_payload,
                };
                ntb::scrub(&mut data, &mut scrubber);
                if self.options.keep_payload {
                    self.sweep.pass(transfer.data, &mut data);
                }
            }
            TransferKind::Bulk if first::is_command_block(&data) => {}
            TransferKind::Bulk if !serial::is_text(&data) => {
                control::blank(&mut data, "bulk transfers that are no text", self.report);
            }
            TransferKind::Control | TransferKind::Bulk => {
                if let Some(changed) = self.changed.remove(&packet.number)
                    && changed.len() == data.len()
                {
                    data = changed;
                } else {
                    // The file has changed since the first pass.
                    data.fill(0);
                }
                self.sweep.pass(transfer.data, &mut data);
            }
            TransferKind::Interrupt => control::interrupt(&mut data, self.report),
            TransferKind::Isochronous => {
                control::blank(&mut data, "isochronous transfers", self.report);
            }
        }
        let header;
        let (link, head) = if packet.is_big_endian() && packet.link != LinkType::USBPCAP {
            // The result is written in little-endian byte order.
            header = usbmon::header(&transfer, packet.time, data.len());
            (LinkType::USBMON_MMAPPED, &header[..])
        } else {
            (packet.link, &packet.data[..range.start])
        };
        let cut = (packet.data.len() - range.len()).saturating_sub(head.len());
        let original = packet.original.saturating_sub(cut as u32);
        let least = (head.len() + data.len()) as u32;
        self.write(link, packet.time, &[head, &data], original.max(least))
    }

    fn write(
        &mut self,
        link: LinkType,
        time: u64,
        parts: &[&[u8]],
        original: u32,
    ) -> io::Result<()> {
        let interface = match self.interfaces.get(&link.0) {
            Some(interface) => *interface,
            None => {
                let name = if link == LinkType::RAW_IP {
                    "ip"
                } else {
                    "usb"
                };
                let interface = self.writer.interface(link, name, 0)?;
                self.interfaces.insert(link.0, interface);
                interface
            }
        };
        self.report.packets += 1;
        self.writer.packet(interface, time, parts, original, None)
    }
}
