//! A backend and a host end that pass everything on and record where bytes lie.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uwwan_modem::host::{Large, Single, TunProvider};
use uwwan_modem::{Failure, HostConfig, HostData, HostEnd, HostProvider};
use uwwan_tun::coalesce::Merge;
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Backend, Completion, Device, Found, Pump, Queue, Rejected};
use uwwan_usb::error::Error;

use uwwan_tests::allocator::{mark_this_thread, unmarked};

/// Address of the modem's notification endpoint.
const INTERRUPT: u8 = 0x82;
/// Largest number of buffers whose addresses are recorded; there are fewer.
const MOST_BUFFERS: usize = 1024;

/// Record of buffers and payload bytes.
pub struct Seen {
    /// Memory of every buffer that was ever in a transfer.
    buffers: Mutex<Vec<Range<usize>>>,
    /// Number of payload bytes that host and driver exchanged, inside of those buffers and outside.
    pub read_inside: AtomicU64,
    pub read_outside: AtomicU64,
    pub written_inside: AtomicU64,
    pub written_outside: AtomicU64,
}

impl Seen {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            buffers: Mutex::new(Vec::with_capacity(MOST_BUFFERS)),
            read_inside: AtomicU64::new(0),
            read_outside: AtomicU64::new(0),
            written_inside: AtomicU64::new(0),
            written_outside: AtomicU64::new(0),
        })
    }

    fn transferred(&self, buffer: &Buffer) {
        let memory = addresses_of(buffer.bytes());
        let mut buffers = self.buffers.lock().unwrap();
        if !buffers.contains(&memory) {
            assert!(buffers.len() < MOST_BUFFERS, "too many buffers");
            buffers.push(memory);
        }
    }

    fn note(&self, bytes: &[u8], inside: &AtomicU64, outside: &AtomicU64) {
        let place = addresses_of(bytes);
        let holds = |memory: &Range<usize>| memory.start <= place.start && place.end <= memory.end;
        let counter = if self.buffers.lock().unwrap().iter().any(holds) {
            inside
        } else {
            outside
        };
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn read(&self, bytes: &[u8]) {
        self.note(bytes, &self.read_inside, &self.read_outside);
    }

    fn written(&self, bytes: &[u8]) {
        self.note(bytes, &self.written_inside, &self.written_outside);
    }
}

fn addresses_of(bytes: &[u8]) -> Range<usize> {
    let range = bytes.as_ptr_range();
    range.start.addr()..range.end.addr()
}

/// A provider of TUN interfaces that are observed.
pub struct WatchedProvider(pub Arc<Seen>);

impl HostProvider for WatchedProvider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let HostEnd { control, data } = TunProvider::default().bring_up(config)?;
        let seen = Arc::clone(&self.0);
        let data = match data {
            HostData::Single(host) => HostData::Single(Box::new(WatchedHost { host, seen })),
            HostData::Large(host) => HostData::Large(Box::new(WatchedHost { host, seen })),
        };
        Ok(HostEnd { control, data })
    }
}

struct WatchedHost<T: ?Sized> {
    host: Box<T>,
    seen: Arc<Seen>,
}

impl<T: AsFd + ?Sized> AsFd for WatchedHost<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }
}

impl Single for WatchedHost<dyn Single> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        mark_this_thread(true);
        let length = self.host.receive(buffer)?;
        self.seen.read(&buffer[..length]);
        Ok(length)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.seen.written(datagram);
        self.host.send(datagram)
    }
}

impl Large for WatchedHost<dyn Large> {
    fn writable(&self) -> BorrowedFd<'_> {
        self.host.writable()
    }

    fn merge(&self) -> Merge {
        self.host.merge()
    }

    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        mark_this_thread(true);
        let length = self.host.receive(buffers)?;
        let mut rest = length;
        for (index, buffer) in buffers.iter().enumerate() {
            let part = rest.min(buffer.len());
            // The first buffer is that of the virtio header.
            if index > 0 && part > 0 {
                self.seen.read(&buffer[..part]);
            }
            rest -= part;
        }
        Ok(length)
    }

    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        // The first buffer has headers, which are newly made.
        for payload in &buffers[1..] {
            self.seen.written(payload);
        }
        self.host.send(buffers)
    }
}

/// A backend whose buffers are observed.
pub struct WatchedBackend {
    pub backend: Arc<dyn Backend>,
    pub seen: Arc<Seen>,
}

impl Backend for WatchedBackend {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.backend.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(WatchedDevice {
            inner: self.backend.open(found)?,
            seen: Arc::clone(&self.seen),
        }))
    }
}

struct WatchedDevice {
    inner: Arc<dyn Device>,
    seen: Arc<Seen>,
}

impl Device for WatchedDevice {
    uwwan_usb::forward!(identity descriptors active_configuration guard_port holder);
    uwwan_usb::forward!(set_configuration force_configuration set_alternate_setting);
    uwwan_usb::forward!(detach_kernel_driver attach_kernel_driver claim release);
    uwwan_usb::forward!(control_in control_out clear_halt reset);

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        let queue = self.inner.queue(endpoint)?;
        if endpoint == INTERRUPT {
            return Ok(Box::new(Notifications { inner: queue }));
        }
        Ok(Box::new(WatchedQueue {
            inner: queue,
            seen: Arc::clone(&self.seen),
        }))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        Ok(Box::new(UncountedPump(self.inner.pump()?)))
    }
}

/// A queue of the data path. Allocations of the emulated bus are not counted as those of the data
/// path.
struct WatchedQueue {
    inner: Box<dyn Queue>,
    seen: Arc<Seen>,
}

impl Queue for WatchedQueue {
    uwwan_usb::forward!(endpoint max_packet_size set_zero_packet pending);

    fn allocate(&mut self, capacity: usize) -> Buffer {
        // Whether the data path asks for buffers in steady state is counted.
        let buffer = self.inner.allocate(capacity);
        self.seen.transferred(&buffer);
        buffer
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        unmarked(|| self.inner.submit(buffer))
    }

    fn try_next(&mut self) -> Option<Completion> {
        unmarked(|| self.inner.try_next())
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        unmarked(|| self.inner.next(timeout))
    }

    fn cancel_all(&mut self) {
        unmarked(|| self.inner.cancel_all());
    }
}

struct UncountedPump(Box<dyn Pump>);

impl Pump for UncountedPump {
    fn descriptors(&self) -> &[(std::os::fd::RawFd, bool)] {
        self.0.descriptors()
    }

    fn process(&mut self) -> Result<(), Error> {
        unmarked(|| self.0.process())
    }

    fn timeout(&self) -> Option<Duration> {
        self.0.timeout()
    }
}

/// A queue of notifications, which are no datagrams: the thread's allocations are not counted from
/// a notification to the end of the queue.
struct Notifications {
    inner: Box<dyn Queue>,
}

impl Queue for Notifications {
    uwwan_usb::forward!(endpoint max_packet_size allocate set_zero_packet pending next);

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        unmarked(|| self.inner.submit(buffer))
    }

    fn try_next(&mut self) -> Option<Completion> {
        let completion = self.inner.try_next();
        mark_this_thread(completion.is_none());
        completion
    }

    fn cancel_all(&mut self) {
        unmarked(|| self.inner.cancel_all());
    }
}
