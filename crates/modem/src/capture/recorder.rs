//! One capture: its queue, and the thread that writes.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use uwwan_capture::LinkType;
use uwwan_capture::transfer::{Kind, Phase, Transfer};
use uwwan_capture::usbmon;
use uwwan_capture::write::{Interface, Writer};
use uwwan_ncm::{DropCounters, Limits, Ntb, Stream};
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::observed::{Moment, Seen};

use super::Options;
use super::destination::Destination;
use super::devices::{DeviceState, MADE};
use super::secrets::Blanker;
use super::snap::Kept;

/// Bytes that may wait to be written.
const MOST_QUEUED: usize = 16 << 20;
/// Bytes that an event takes beside its data, roughly.
const OVERHEAD: usize = 160;
/// Length of the buffer in front of the file, in bytes.
const BUFFER: usize = 256 << 10;
/// Time that a capture which nobody finishes gets for what is queued.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Time for which the thread rests between two rounds of writing while events come. Nobody who sends one
/// has to wake it meanwhile, which would cost more than all else.
const REST: Duration = Duration::from_millis(10);
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;

/// Outcome of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of events that were written.
    pub written: u64,
    /// Number of events that were lost, because they came faster than they could be written.
    pub dropped: u64,
    /// Reason why the capture could not be written to its end, if so.
    pub failure: Option<String>,
}

/// A capture, seen by the threads whose transfers it records.
pub(super) struct Recorder {
    queue: Sender<Message>,
    ended: Receiver<()>,
    options: Options,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queued: AtomicUsize,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
}

enum Message {
    Device(DeviceState),
    Event(Event),
    Finish,
}

/// An event with its data, as far as it is kept.
struct Event {
    time: u64,
    id: u64,
    phase: Phase,
    kind: Kind,
    endpoint: u8,
    bus: u8,
    address: u8,
    setup: Option<[u8; 8]>,
    status: i32,
    length: u32,
    data: Kept,
}

impl Recorder {
    /// Starts the thread, for devices that are there already.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        options: Options,
        destination: Destination,
        devices: Vec<DeviceState>,
    ) -> io::Result<Self> {
        let (queue, messages) = unbounded();
        let (ending, ended) = bounded(0);
        let shared = Arc::<Shared>::default();
        let scribe = Scribe {
            messages,
            shared: Arc::clone(&shared),
            options,
            destination,
            devices,
            blanker: Blanker::default(),
            order: None,
            finished: false,
        };
        std::thread::Builder::new()
            .name("uwwan-capture".into())
            .spawn(move || {
                scribe.run();
                drop(ending);
            })?;
        Ok(Self {
            queue,
            ended,
            options,
            shared,
        })
    }

    /// Records that a device was opened.
    pub fn device(&self, state: DeviceState) {
        let _ = self.queue.send(Message::Device(state));
    }

    /// Records an event, unless there is no room for it.
    pub fn transfer(&self, seen: &Seen<'_>) {
        let data = match (self.options.snap, seen.kind) {
            (Some(snap), TransferKind::Bulk) => Kept::snapped(seen.data, snap),
            _ => Kept::whole(seen.data),
        };
        let size = OVERHEAD + data.bytes.len();
        let shared = &self.shared;
        let full = shared.queued.fetch_add(size, Ordering::Relaxed) + size > MOST_QUEUED;
        if full || shared.failed.load(Ordering::Relaxed) {
            shared.queued.fetch_sub(size, Ordering::Relaxed);
            if shared.dropped.fetch_add(1, Ordering::Relaxed) == 0 && full {
                tracing::warn!("the capture is written too slowly; transfers are missing in it");
            }
            return;
        }
        let (phase, status) = match seen.moment {
            Moment::Submitted => (Phase::Submit, Transfer::IN_PROGRESS),
            Moment::Rejected(status) => (Phase::Error, status),
            Moment::Completed(status) => (Phase::Complete, status),
        };
        let event = Event {
            time: nanoseconds(),
            id: seen.id,
            phase,
            kind: match seen.kind {
                TransferKind::Control => Kind::Control,
                TransferKind::Isochronous => Kind::Isochronous,
                TransferKind::Bulk => Kind::Bulk,
                TransferKind::Interrupt => Kind::Interrupt,
            },
            endpoint: seen.endpoint,
            bus: seen.bus,
            address: seen.address,
            setup: seen.setup,
            status,
            length: u32::try_from(seen.length).unwrap_or(u32::MAX),
            data,
        };
        let _ = self.queue.send(Message::Event(event));
    }

    /// Returns whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Lets the thread write what is queued and end.
    pub fn end(&self) {
        let _ = self.queue.send(Message::Finish);
    }

    /// Lets the thread write what is queued, and waits for that as long as `patience`.
    pub fn finish(&self, patience: Duration) -> Outcome {
        self.end();
        let late = matches!(
            self.ended.recv_timeout(patience),
            Err(crossbeam_channel::RecvTimeoutError::Timeout)
        );
        let shared = &self.shared;
        let failure = shared.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).clone();
        let late = late.then(|| "what was captured last could not be written in time".to_owned());
        Outcome {
            written: shared.written.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            failure: failure.or(late),
        }
    }
}

fn nanoseconds() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The thread that writes.
struct Scribe {
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    options: Options,
    destination: Destination,
    /// The devices that each file begins with.
    devices: Vec<DeviceState>,
    blanker: Blanker,
    /// Request that changes a device's state and has not ended, with its number.
    order: Option<(u64, [u8; 8])>,
    /// Whether nothing more is to be written.
    finished: bool,
}

/// The file that is written.
struct Sheet {
    writer: Writer<BufWriter<Box<dyn Write + Send>>>,
    usb: Interface,
    ip: Option<Interface>,
    /// Number of events of the capture when the file began: written and dropped.
    before: (u64, u64),
}

impl Scribe {
    fn run(mut self) {
        if let Err(error) = self.write() {
            // Whoever reads from a pipe may have enough.
            let closed = error.kind() == io::ErrorKind::BrokenPipe;
            let why = (!closed).then(|| error.to_string());
            if let Some(why) = &why {
                tracing::warn!("the capture ends: {why}");
            }
            let failure = self.shared.failure.lock();
            *failure.unwrap_or_else(PoisonError::into_inner) = why;
            self.shared.failed.store(true, Ordering::Relaxed);
            // What is sent from here on is counted as dropped.
            while !self.finished
                && let Ok(message) = self.messages.recv()
            {
                match message {
                    Message::Event(_) => {
                        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Message::Finish => self.finished = true,
                    Message::Device(_) => {}
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut sheet = self.begin()?;
        let mut came = false;
        loop {
            let message = match self.messages.try_recv() {
                Ok(message) => {
                    came = true;
                    message
                }
                Err(_) => {
                    // Whoever looks on sees all there is.
                    sheet.writer.flush()?;
                    if std::mem::take(&mut came) {
                        std::thread::sleep(REST);
                        continue;
                    }
                    match self.messages.recv() {
                        Ok(message) => message,
                        Err(_) => return self.end(sheet),
                    }
                }
            };
            match message {
                Message::Finish => {
                    self.finished = true;
                    return self.end(sheet);
                }
                Message::Device(state) => {
                    sheet.tell(&state)?;
                    let other = |known: &DeviceState| {
                        (known.bus, known.address) != (state.bus, state.address)
                    };
                    self.devices.retain(other);
                    self.devices.push(state);
                }
                Message::Event(event) => {
                    let size = OVERHEAD + event.data.bytes.len();
                    self.shared.queued.fetch_sub(size, Ordering::Relaxed);
                    self.event(&mut sheet, event)?;
                    self.shared.written.fetch_add(1, Ordering::Relaxed);
                }
            }
            if let Some(limit) = self.destination.limit()
                && sheet.writer.written() >= limit
            {
                self.end(sheet)?;
                sheet = self.begin()?;
            }
        }
    }

    /// Begins a file with what is known of the devices.
    fn begin(&mut self) -> io::Result<Sheet> {
        let out = BufWriter::with_capacity(BUFFER, self.destination.open_next()?);
        let application = concat!("uwwan ", env!("CARGO_PKG_VERSION"));
        let mut writer = Writer::new(out, application)?;
        let usb = writer.interface(LinkType::USBMON_MMAPPED, "usb", 0)?;
        let snap = u32::try_from(self.options.snap.unwrap_or(0)).unwrap_or(u32::MAX);
        let ip = self
            .options
            .ip
            .then(|| writer.interface(LinkType::RAW_IP, "ip", snap))
            .transpose()?;
        let mut sheet = Sheet {
            writer,
            usb,
            ip,
            before: self.counted(),
        };
        for device in &self.devices {
            sheet.tell(device)?;
        }
        Ok(sheet)
    }

    fn end(&self, mut sheet: Sheet) -> io::Result<()> {
        let (written, dropped) = self.counted();
        let (before, lost) = sheet.before;
        let (usb, now) = (sheet.usb, nanoseconds());
        let dropped = dropped - lost;
        sheet
            .writer
            .statistics(usb, now, written - before + dropped, dropped)?;
        sheet.writer.flush()
    }

    fn counted(&self) -> (u64, u64) {
        (
            self.shared.written.load(Ordering::Relaxed),
            self.shared.dropped.load(Ordering::Relaxed),
        )
    }

    fn event(&mut self, sheet: &mut Sheet, mut event: Event) -> io::Result<()> {
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
        let is_block = matches!(event.data.bytes.get(..4), Some(b"NCMH" | b"ncmh"));
        if !self.options.secrets && !is_block {
            match event.kind {
                Kind::Control => self.blanker.message(&mut event.data.bytes),
                Kind::Bulk => {
                    let device = (event.bus.into(), event.address);
                    self.blanker
                        .serial(device, event.endpoint, &mut event.data.bytes);
                }
                Kind::Interrupt | Kind::Isochronous => {}
            }
        }
        sheet.usb(&event)?;
        if is_block && event.kind == Kind::Bulk {
            sheet.datagrams(&event, self.options.snap)?;
        }
        match selected {
            Some(device) => sheet.made(|tell| device.tell_active(tell)),
            None => Ok(()),
        }
    }
}

impl Sheet {
    /// Writes the requests and answers that tell of a device.
    fn tell(&mut self, device: &DeviceState) -> io::Result<()> {
        self.made(|tell| device.tell(tell))
    }

    /// Writes the events that `from` calls its argument with, marked as made.
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

    fn usb(&mut self, event: &Event) -> io::Result<()> {
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
        let mut parts = event.data.parts();
        parts.insert(0, &header);
        let original = u32::try_from(header.len() + length).unwrap_or(u32::MAX);
        self.writer
            .packet(self.usb, event.time, &parts, original, None)
    }

    /// Writes the datagrams of an NTB as IP packets.
    fn datagrams(&mut self, event: &Event, snap: Option<usize>) -> io::Result<()> {
        let Some(interface) = self.ip else {
            return Ok(());
        };
        let whole;
        let ntb = if event.data.pieces.is_empty() {
            &event.data.bytes
        } else {
            whole = event.data.parts().concat();
            &whole
        };
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
}
