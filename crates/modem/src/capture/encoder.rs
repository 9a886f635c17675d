//! The events of a capture in the form of its file.
//!
//! An event is put into that form by the thread whose transfer it is: the kept bytes are copied once,
//! to the place from which they are written, and the thread that writes looks at nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use uwwan_capture::LinkType;
use uwwan_capture::transfer::{Kind, Phase, Transfer};
use uwwan_capture::usbmon;
use uwwan_capture::write::{Interface, Section};
use uwwan_ncm::Stream;
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::observed::Seen;

use super::Options;
use super::content::{Content, ETHERNET_HEADER};
use super::devices::{DeviceState, MADE};
use super::snap::{self, Datagrams};

/// Capacity in bytes of memory that is kept for what comes. It is several times what waits in a steady
/// stream of transfers, which then asks the system for no memory.
const SPARE: usize = 1 << 20;
/// Name of the program in the files.
const APPLICATION: &str = concat!("uwwan ", env!("CARGO_PKG_VERSION"));

/// An event.
pub(super) struct Event<'a> {
    /// Time in nanoseconds since 1970.
    pub time: u64,
    pub seen: &'a Seen<'a>,
    pub phase: Phase,
    pub status: i32,
    pub content: &'a Content<'a>,
    /// The bytes of the transfer, without secrets.
    pub data: &'a [u8],
    /// Number of events of the capture that were dropped so far.
    pub dropped: u64,
}

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    /// Offsets in `bytes`, in ascending order, at which a file ends and the next one begins.
    pub ends: Vec<usize>,
    /// Number of events in the bytes.
    pub events: u64,
}

impl Encoded {
    /// Removes the bytes, and keeps some of the memory for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE);
        self.ends.clear();
        self.events = 0;
    }
}

/// The files of a capture, one after the other.
pub(super) struct Encoder {
    options: Options,
    /// Number of bytes after which the next file begins, if there are several.
    limit: Option<u64>,
    /// The devices that each file begins with.
    devices: Vec<DeviceState>,
    section: Section,
    usb: Interface,
    ip: Option<Interface>,
    /// What waits beside the section's own bytes.
    waiting: Encoded,
    /// Numbers of events in the file, and of those that were dropped before it began.
    events: u64,
    dropped_before: u64,
    /// Memory for the datagrams of an NTB.
    datagrams: Datagrams,
}

impl Encoder {
    /// Begins the first file with the devices that are open already.
    pub fn new(options: Options, limit: Option<u64>, devices: Vec<DeviceState>) -> Self {
        let mut section = Section::new(APPLICATION);
        let (usb, ip) = interfaces(&mut section, options);
        let mut encoder = Self {
            options,
            limit,
            devices,
            section,
            usb,
            ip,
            waiting: Encoded::default(),
            events: 0,
            dropped_before: 0,
            datagrams: Datagrams::default(),
        };
        encoder.tell_devices();
        encoder
    }

    /// Returns the number of bytes that wait.
    pub fn size(&self) -> usize {
        self.section.size()
    }

    /// Takes what waits in exchange for `encoded`, which is empty.
    pub fn swap(&mut self, encoded: &mut Encoded) {
        self.section.swap(&mut encoded.bytes);
        std::mem::swap(&mut self.waiting.ends, &mut encoded.ends);
        encoded.events = std::mem::take(&mut self.waiting.events);
    }

    /// Adds a device that was opened.
    pub fn device(&mut self, state: DeviceState) {
        self.tell(|tell| state.tell(tell));
        self.changed(state);
    }

    /// Takes over the state of a device that has changed.
    pub fn changed(&mut self, state: DeviceState) {
        let other = |known: &DeviceState| (known.bus, known.address) != (state.bus, state.address);
        self.devices.retain(other);
        self.devices.push(state);
    }

    /// Adds the request for the active configuration of a device in which one was selected.
    pub fn selected(&mut self, state: &DeviceState) {
        self.tell(|tell| state.tell_active(tell));
    }

    /// Adds an event. Returns whether it could be added, which is the case unless it is too long for the
    /// file's format.
    pub fn event(&mut self, event: &Event<'_>) -> bool {
        let Event {
            time,
            seen,
            content,
            data,
            ..
        } = *event;
        let transfer = Transfer {
            id: seen.id,
            phase: event.phase,
            kind: match seen.kind {
                TransferKind::Control => Kind::Control,
                TransferKind::Isochronous => Kind::Isochronous,
                TransferKind::Bulk => Kind::Bulk,
                TransferKind::Interrupt => Kind::Interrupt,
            },
            endpoint: seen.endpoint,
            bus: seen.bus.into(),
            device: seen.address,
            setup: seen.setup,
            status: event.status,
            length: u32::try_from(seen.length).unwrap_or(u32::MAX),
            data: &[],
        };
        let header = usbmon::header(&transfer, time, data.len());
        let datagrams = match (self.ip, content) {
            (Some(_), Content::Ntb(Some(ntb))) => {
                self.datagrams.read(ntb);
                Some(&self.datagrams)
            }
            _ => None,
        };
        let keep = self.options.snap.unwrap_or(usize::MAX);
        let original = u32::try_from(header.len() + data.len()).unwrap_or(u32::MAX);
        let added = self
            .section
            .packet(self.usb, time, &header, data, original, |kept| {
                if keep < data.len() {
                    snap::snap(content, data, keep, datagrams, kept);
                } else {
                    kept.keep(0..data.len());
                }
            });
        if added.is_err() {
            return false;
        }
        self.events += 1;
        self.waiting.events += 1;
        if let Some(ip) = self.ip {
            self.packets(ip, time, content, data);
        }
        if let Some(limit) = self.limit
            && self.section.written(self.options.packed) >= limit
        {
            self.next_file(event.dropped);
        }
        true
    }

    /// Adds the datagrams of an NTB, which were read, or that of a frame, as IP packets.
    fn packets(&mut self, interface: Interface, time: u64, content: &Content<'_>, data: &[u8]) {
        let keep = self.options.snap.unwrap_or(usize::MAX);
        let section = &mut self.section;
        let mut add = |packet: &[u8]| {
            let data = packet.get(..keep).unwrap_or(packet);
            let length = packet.len() as u32;
            // A datagram is shorter than what the file's format takes.
            let _ = section.packet(interface, time, &[], data, length, |kept| {
                kept.keep(0..data.len());
            });
        };
        match content {
            Content::Ntb(Some(_)) => {}
            Content::Frame(packet) => return add(packet),
            Content::Ntb(None) | Content::Other => return,
        }
        for datagram in self.datagrams.list() {
            let packet = data.get(datagram.range.clone()).unwrap_or_default();
            match datagram.stream {
                Stream::Ips(_) => add(packet),
                Stream::Dss(_) => {}
                Stream::Ethernet { .. } => {
                    if let Some(([.., 0x08, 0x00] | [.., 0x86, 0xdd], packet)) =
                        packet.split_at_checked(ETHERNET_HEADER)
                    {
                        add(packet);
                    }
                }
            }
        }
    }

    /// Ends the file with the numbers of events in it; `dropped` is the number of those of the capture
    /// that were dropped so far.
    pub fn end(&mut self, dropped: u64) {
        let dropped = dropped.saturating_sub(self.dropped_before);
        let received = self.events + dropped;
        self.section
            .statistics(self.usb, nanoseconds(), received, dropped);
        self.section.end();
    }

    fn next_file(&mut self, dropped: u64) {
        self.end(dropped);
        self.dropped_before = dropped;
        self.events = 0;
        self.waiting.ends.push(self.section.begin_next(APPLICATION));
        (self.usb, self.ip) = interfaces(&mut self.section, self.options);
        self.tell_devices();
    }

    fn tell_devices(&mut self) {
        for device in std::mem::take(&mut self.devices) {
            self.tell(|tell| device.tell(tell));
            self.devices.push(device);
        }
    }

    /// Adds the events with which `from` calls its argument, marked as made by the program.
    fn tell(
        &mut self,
        from: impl FnOnce(&mut dyn FnMut(&Transfer<'_>) -> std::io::Result<()>) -> std::io::Result<()>,
    ) {
        let time = nanoseconds();
        let (section, usb) = (&mut self.section, self.usb);
        // Descriptors are short, so that every one of these packets is added.
        let _ = from(&mut |transfer| {
            let header = usbmon::header(transfer, time, transfer.data.len());
            let length = (header.len() + transfer.data.len()) as u32;
            section.searched_packet(usb, time, &[&header, transfer.data], length, Some(MADE))
        });
    }
}

/// Adds the interfaces that each file has.
fn interfaces(section: &mut Section, options: Options) -> (Interface, Option<Interface>) {
    let usb = section.interface(LinkType::USBMON_MMAPPED, "usb", 0);
    let snap = u32::try_from(options.snap.unwrap_or(0)).unwrap_or(u32::MAX);
    let ip = options
        .ip
        .then(|| section.interface(LinkType::RAW_IP, "ip", snap));
    (usb, ip)
}

/// Returns the time in nanoseconds since 1970-01-01 00:00 UTC.
pub(super) fn nanoseconds() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
