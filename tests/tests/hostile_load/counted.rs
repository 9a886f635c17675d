//! A backend that counts what the driver does with its transfers.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Backend, Completion, Device, Found, Pump, Queue, Rejected};
use uwwan_usb::error::Error;

/// Counters of the objects and transfers.
#[derive(Debug, Default)]
pub struct Tally {
    /// Number of devices, queues and pumps that exist.
    pub objects: AtomicI64,
    /// Number of transfers submitted and not taken back.
    pub outstanding: AtomicI64,
    /// Largest number of such transfers at once.
    pub most: AtomicI64,
    /// Number of transfers of the MBIM function that were outstanding when their queue was dropped.
    pub abandoned: AtomicI64,
    /// Number of buffers that were allocated.
    pub allocated: AtomicI64,
}

/// Counts one object for as long as it lives.
struct Alive(Arc<Tally>);

impl Alive {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.objects.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tally))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.objects.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct CountedBackend {
    pub inner: Arc<dyn Backend>,
    pub tally: Arc<Tally>,
}

impl Backend for CountedBackend {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.inner.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(CountedDevice {
            inner: self.inner.open(found)?,
            alive: Alive::new(&self.tally),
        }))
    }
}

struct CountedDevice {
    inner: Arc<dyn Device>,
    alive: Alive,
}

impl Device for CountedDevice {
    uwwan_usb::forward!(identity descriptors active_configuration guard_port holder);
    uwwan_usb::forward!(set_configuration force_configuration set_alternate_setting);
    uwwan_usb::forward!(detach_kernel_driver attach_kernel_driver claim release);
    uwwan_usb::forward!(control_in control_out clear_halt reset);

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        Ok(Box::new(CountedQueue {
            inner: self.inner.queue(endpoint)?,
            alive: Alive::new(&self.alive.0),
        }))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        Ok(Box::new(CountedPump {
            inner: self.inner.pump()?,
            _alive: Alive::new(&self.alive.0),
        }))
    }
}

struct CountedQueue {
    inner: Box<dyn Queue>,
    alive: Alive,
}

impl CountedQueue {
    fn taken(&self, completion: Option<Completion>) -> Option<Completion> {
        if completion.is_some() {
            self.alive.0.outstanding.fetch_sub(1, Ordering::SeqCst);
        }
        completion
    }
}

impl Queue for CountedQueue {
    uwwan_usb::forward!(endpoint max_packet_size set_zero_packet pending cancel_all);

    fn allocate(&mut self, capacity: usize) -> Buffer {
        self.alive.0.allocated.fetch_add(1, Ordering::SeqCst);
        self.inner.allocate(capacity)
    }

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        self.inner.submit(buffer)?;
        let tally = &self.alive.0;
        let outstanding = tally.outstanding.fetch_add(1, Ordering::SeqCst) + 1;
        tally.most.fetch_max(outstanding, Ordering::SeqCst);
        Ok(())
    }

    fn try_next(&mut self) -> Option<Completion> {
        let completion = self.inner.try_next();
        self.taken(completion)
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let completion = self.inner.next(timeout);
        self.taken(completion)
    }
}

impl Drop for CountedQueue {
    fn drop(&mut self) {
        let pending = i64::try_from(self.inner.pending()).unwrap_or(i64::MAX);
        let tally = &self.alive.0;
        // Transfers of the AT port, on other endpoints, may end in this way.
        if matches!(self.inner.endpoint(), 0x81 | 0x01 | 0x82) {
            tally.abandoned.fetch_add(pending, Ordering::SeqCst);
        }
        tally.outstanding.fetch_sub(pending, Ordering::SeqCst);
    }
}

struct CountedPump {
    inner: Box<dyn Pump>,
    _alive: Alive,
}

impl Pump for CountedPump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        self.inner.descriptors()
    }

    fn process(&mut self) -> Result<(), Error> {
        self.inner.process()
    }

    fn timeout(&self) -> Option<Duration> {
        self.inner.timeout()
    }
}
