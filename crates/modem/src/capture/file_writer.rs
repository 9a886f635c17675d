//! The thread that writes a capture.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uwwan_capture::LinkType;
use uwwan_capture::transfer::{Kind, Transfer};
use uwwan_capture::usbmon;
use uwwan_capture::write::{Interface, Part, Writer};
use uwwan_ncm::{DropCounters, Limits, Ntb, Stream};

use super::Options;
use super::destination::Destination;
use super::devices::{DeviceState, MADE};
use super::queue::{Entry, Event, Heap, Queue};
use super::secrets::Blanker;
use super::snap::{self, Store};

/// Length in bytes of the buffer between the events and the file.
const BUFFER: usize = 256 << 10;
/// Longest time for which the thread rests between two rounds of writing while events come. The threads
/// that add events need not wake it meanwhile: waking would cost more than all else, and a round costs the
/// same for few events as for many. A program that reads the file sees an event after this time at the
/// latest.
const REST: Duration = Duration::from_millis(100);
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;

/// The state that the recorder shares with the thread that writes.
#[derive(Default)]
pub(super) struct Shared {
    pub queue: Queue,
    pub written: AtomicU64,
    pub dropped: AtomicU64,
    pub failed: AtomicBool,
    pub failure: Mutex<Option<String>>,
}

/// The thread that writes.
pub(super) struct FileWriter {
    shared: Arc<Shared>,
    options: Options,
    destination: Destination,
    /// The devices that each file begins with.
    devices: Vec<DeviceState>,
    blanker: Blanker,
    /// Request that changes a device's state and has not ended, with its number.
    order: Option<(u64, [u8; 8])>,
}

/// The file that is being written.
struct OpenFile {
    writer: Writer<BufWriter<Box<dyn Write + Send>>>,
    usb: Interface,
    ip: Option<Interface>,
    /// Numbers of events of the capture, written and dropped, when the file began.
    before: (u64, u64),
}

impl FileWriter {
    pub fn new(
        shared: Arc<Shared>,
        options: Options,
        destination: Destination,
        devices: Vec<DeviceState>,
    ) -> Self {
        Self {
            shared,
            options,
            destination,
            devices,
            blanker: Blanker::default(),
            order: None,
        }
    }

    /// Writes until the capture is finished, or until a write fails.
    pub fn run(mut self) {
        let mut heap = Heap::default();
        if let Err(error) = self.write(&mut heap) {
            // The program that reads from a pipe may have closed it because it has seen enough.
            let closed = error.kind() == io::ErrorKind::BrokenPipe;
            let why = (!closed).then(|| error.to_string());
            if let Some(why) = &why {
                tracing::warn!("the capture ends: {why}");
            }
            let failure = self.shared.failure.lock();
            *failure.unwrap_or_else(PoisonError::into_inner) = why;
            // The sender counts every event from here on as dropped.
            self.shared.failed.store(true, Ordering::Relaxed);
            let is_event = |entry: &&Entry| matches!(entry, Entry::Event(_));
            let mut lost = heap.entries.iter().filter(is_event).count();
            heap = Heap::default();
            self.shared.queue.take(&mut heap);
            lost += heap.entries.iter().filter(is_event).count();
            self.shared
                .dropped
                .fetch_add(lost as u64, Ordering::Relaxed);
        }
    }

    fn write(&mut self, heap: &mut Heap) -> io::Result<()> {
        let mut file = self.begin()?;
        loop {
            let finished = self.shared.queue.take(heap);
            let idle = heap.entries.is_empty();
            let mut written = 0;
            let mut entries = std::mem::take(&mut heap.entries);
            let mut result = Ok(());
            for entry in &entries {
                result = self.entry(&mut file, entry, &mut heap.store);
                if result.is_err() {
                    break;
                }
                written += 1;
            }
            entries.drain(..written);
            heap.entries = entries;
            result?;
            heap.clear();
            if idle && finished {
                return self.end(&mut file);
            }
            // A program that reads the file meanwhile sees all events so far.
            file.writer.flush()?;
            if idle {
                self.shared.queue.wait();
            } else {
                self.shared.queue.rest(REST);
            }
        }
    }

    fn entry(&mut self, file: &mut OpenFile, entry: &Entry, store: &mut Store) -> io::Result<()> {
        match entry {
            Entry::Device(state) => {
                file.tell(state)?;
                let other =
                    |known: &DeviceState| (known.bus, known.address) != (state.bus, state.address);
                self.devices.retain(other);
                self.devices.push(DeviceState::clone(state));
            }
            Entry::Event(event) => {
                self.event(file, event, store)?;
                self.shared.written.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(limit) = self.destination.limit()
            && file.writer.written() >= limit
        {
            self.end(file)?;
            *file = self.begin()?;
        }
        Ok(())
    }

    /// Begins a file with the known state of the devices.
    fn begin(&mut self) -> io::Result<OpenFile> {
        let out = BufWriter::with_capacity(BUFFER, self.destination.open_next()?);
        let application = concat!("uwwan ", env!("CARGO_PKG_VERSION"));
        let mut writer = if self.options.packed {
            Writer::packed(out, application)?
        } else {
            Writer::new(out, application)?
        };
        let usb = writer.interface(LinkType::USBMON_MMAPPED, "usb", 0)?;
        let snap = u32::try_from(self.options.snap.unwrap_or(0)).unwrap_or(u32::MAX);
        let ip = self
            .options
            .ip
            .then(|| writer.interface(LinkType::RAW_IP, "ip", snap))
            .transpose()?;
        let mut file = OpenFile {
            writer,
            usb,
            ip,
            before: self.counted(),
        };
        for device in &self.devices {
            file.tell(device)?;
        }
        Ok(file)
    }

    fn end(&self, file: &mut OpenFile) -> io::Result<()> {
        let (written, dropped) = self.counted();
        let (before, lost) = file.before;
        let (usb, now) = (file.usb, nanoseconds());
        let dropped = dropped - lost;
        file.writer
            .statistics(usb, now, written - before + dropped, dropped)?;
        file.writer.end()
    }

    fn counted(&self) -> (u64, u64) {
        (
            self.shared.written.load(Ordering::Relaxed),
            self.shared.dropped.load(Ordering::Relaxed),
        )
    }

    fn event(&mut self, file: &mut OpenFile, event: &Event, store: &mut Store) -> io::Result<()> {
        let meant =
            |known: &&mut DeviceState| (known.bus, known.address) == (event.bus, event.address);
        let mut selected = None;
        if let Some(setup) = event.setup.filter(|setup| DeviceState::is_order(*setup)) {
            self.order = Some((event.id, setup));
        } else if let Some((id, setup)) = self.order
            && id == event.id
        {
            self.order = None;
            if event.status == 0
                && let Some(device) = self.devices.iter_mut().find(meant)
            {
                device.obey(setup);
                selected = DeviceState::is_selection(setup).then(|| device.clone());
            }
        }
        let is_ntb = matches!(store.bytes(&event.data).get(..4), Some(b"NCMH" | b"ncmh"));
        if !self.options.secrets && !is_ntb {
            match event.kind {
                Kind::Control => self.blanker.message(store.bytes_mut(&event.data)),
                Kind::Bulk => {
                    let device = (event.bus.into(), event.address);
                    let bytes = store.bytes_mut(&event.data);
                    self.blanker.serial(device, event.endpoint, bytes);
                }
                Kind::Interrupt | Kind::Isochronous => {}
            }
        }
        file.usb(event, store)?;
        match event.kind {
            Kind::Bulk if is_ntb => file.datagrams(event, store, self.options.snap)?,
            Kind::Bulk => file.lone_datagram(event, store, self.options.snap)?,
            Kind::Control | Kind::Interrupt | Kind::Isochronous => {}
        }
        match selected {
            Some(device) => file.made(|tell| device.tell_active(tell)),
            None => Ok(()),
        }
    }
}

impl OpenFile {
    /// Writes the requests and answers that describe a device.
    fn tell(&mut self, device: &DeviceState) -> io::Result<()> {
        self.made(|tell| device.tell(tell))
    }

    /// Writes the events with which `from` calls its argument, marked as made by the program.
    fn made(
        &mut self,
        from: impl FnOnce(&mut dyn FnMut(&Transfer<'_>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let time = nanoseconds();
        let (writer, usb) = (&mut self.writer, self.usb);
        from(&mut |transfer| {
            let header = usbmon::header(transfer, time, transfer.data.len());
            let length = (header.len() + transfer.data.len()) as u32;
            writer.packet(usb, time, &[&header, transfer.data], length, Some(MADE))
        })
    }

    fn usb(&mut self, event: &Event, store: &Store) -> io::Result<()> {
        let transfer = Transfer {
            id: event.id,
            phase: event.phase,
            kind: event.kind,
            endpoint: event.endpoint,
            bus: event.bus.into(),
            device: event.address,
            setup: event.setup,
            status: event.status,
            length: event.length,
            data: &[],
        };
        let length = event.data.length;
        let header = usbmon::header(&transfer, event.time, length);
        let parts = std::iter::once(Part::Bytes(&header)).chain(store.parts(&event.data));
        let captured = header.len() + length;
        let original = u32::try_from(captured).unwrap_or(u32::MAX);
        self.writer
            .packet_with_gaps(self.usb, event.time, captured, parts, original, None)
    }

    /// Writes the datagrams of an NTB as IP packets.
    fn datagrams(&mut self, event: &Event, store: &Store, snap: Option<usize>) -> io::Result<()> {
        let Some(interface) = self.ip else {
            return Ok(());
        };
        let ntb = &store.whole(&event.data)[..];
        let limits = Limits {
            max_ntb: ntb.len(),
            ..Limits::default()
        };
        let Ok(read) = Ntb::parse(ntb, &limits) else {
            return Ok(());
        };
        for datagram in read.datagrams(&mut DropCounters::default()) {
            let mut packet = &ntb[datagram.range];
            match datagram.stream {
                Stream::Ips(_) => {}
                Stream::Dss(_) => continue,
                Stream::Ethernet { .. } => match packet.get(12..ETHERNET_HEADER) {
                    Some([0x08, 0x00] | [0x86, 0xdd]) => packet = &packet[ETHERNET_HEADER..],
                    _ => continue,
                },
            }
            let original = packet.len() as u32;
            let kept = packet.len().min(snap.unwrap_or(usize::MAX));
            self.writer
                .packet(interface, event.time, &[&packet[..kept]], original, None)?;
        }
        Ok(())
    }

    /// Writes the datagram of a frame that is alone in its transfer as an IP packet.
    fn lone_datagram(
        &mut self,
        event: &Event,
        store: &Store,
        snap: Option<usize>,
    ) -> io::Result<()> {
        let found = snap::frame(store.bytes(&event.data), event.data.length);
        let (Some(interface), Some((packet, length))) = (self.ip, found) else {
            return Ok(());
        };
        let kept = packet.len().min(snap.unwrap_or(usize::MAX));
        self.writer.packet(
            interface,
            event.time,
            &[&packet[..kept]],
            length as u32,
            None,
        )
    }
}

/// Returns the time in nanoseconds since 1970-01-01 00:00 UTC.
pub(super) fn nanoseconds() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
