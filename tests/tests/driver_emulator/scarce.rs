//! A host whose kernel has little memory for USB transfers, and the sizes that the driver and the
//! device agree on then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use uwwan_modem::{Event, Options};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::device::{Backend, Completion, Device, Found, Pump, Queue, Rejected};
use uwwan_usb::error::Error;

use uwwan_tests::bench::{Bench, emulator, quick};

/// A backend whose transfers share a limited number of bytes of memory, as those of usbfs do.
struct Scarce {
    inner: Arc<dyn Backend>,
    left: Arc<Mutex<usize>>,
}

impl Backend for Scarce {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn devices(&self) -> Result<Vec<Found>, Error> {
        self.inner.devices()
    }

    fn open(&self, found: &Found) -> Result<Arc<dyn Device>, Error> {
        Ok(Arc::new(ScarceDevice {
            inner: self.inner.open(found)?,
            left: Arc::clone(&self.left),
        }))
    }
}

struct ScarceDevice {
    inner: Arc<dyn Device>,
    left: Arc<Mutex<usize>>,
}

impl Device for ScarceDevice {
    uwwan_usb::forward!(identity descriptors active_configuration guard_port holder);
    uwwan_usb::forward!(set_configuration force_configuration set_alternate_setting);
    uwwan_usb::forward!(detach_kernel_driver attach_kernel_driver claim release);
    uwwan_usb::forward!(control_in control_out clear_halt reset);

    fn queue(&self, endpoint: u8) -> Result<Box<dyn Queue>, Error> {
        Ok(Box::new(ScarceQueue {
            inner: self.inner.queue(endpoint)?,
            left: Arc::clone(&self.left),
        }))
    }

    fn pump(&self) -> Result<Box<dyn Pump>, Error> {
        self.inner.pump()
    }
}

struct ScarceQueue {
    inner: Box<dyn Queue>,
    left: Arc<Mutex<usize>>,
}

impl ScarceQueue {
    /// Gives back the memory of a transfer that has ended.
    fn ended(&self, completion: Option<Completion>) -> Option<Completion> {
        let completion = completion?;
        *self.left.lock().unwrap() += completion.buffer.capacity();
        Some(completion)
    }
}

impl Queue for ScarceQueue {
    uwwan_usb::forward!(endpoint max_packet_size allocate set_zero_packet pending cancel_all);

    fn submit(&mut self, buffer: Buffer) -> Result<(), Rejected> {
        let mut left = self.left.lock().unwrap();
        let capacity = buffer.capacity();
        if *left < capacity {
            let operation = "submit a transfer".into();
            let error = Error::NoMemory { operation };
            return Err(Rejected { buffer, error });
        }
        self.inner.submit(buffer)?;
        *left -= capacity;
        Ok(())
    }

    fn try_next(&mut self) -> Option<Completion> {
        let completion = self.inner.try_next();
        self.ended(completion)
    }

    fn next(&mut self, timeout: Duration) -> Option<Completion> {
        let completion = self.inner.next(timeout);
        self.ended(completion)
    }
}

/// The size agreed on is the usual one, or the device's own where that is less, or the user's.
#[test]
fn the_largest_ntb_from_the_device_is_agreed_on() {
    for (announced, chosen, agreed) in [
        (131_072, None, 65_536),
        (65_536, None, 65_536),
        (32_768, None, 32_768),
        (16_384, None, 16_384),
        (4096, None, 4096),
        (131_072, Some(131_072), 131_072),
        (131_072, Some(16_384), 16_384),
        (16_384, Some(131_072), 16_384),
    ] {
        let options = Options {
            input_size: chosen,
            ..quick()
        };
        let mut bench = Bench::start(&format!("ntb_in_max={announced}"), options);
        bench.online();
        bench.ping_many();
        let framing = bench.handle.status().framing.unwrap();
        assert_eq!(framing.input_size, agreed, "{announced} {chosen:?}");
        assert_eq!(framing.receive_transfers, 16);
        bench.stop();
    }
}

/// With little memory, NTBs become smaller, down to 16 KiB, before transfers become fewer. A size
/// that the user chose stays, and so does that of a device that refuses another one.
#[test]
fn scarce_memory_makes_ntbs_smaller_and_then_transfers_fewer() {
    for (kilobytes, knobs, chosen, size, transfers) in [
        (900, "", None, 32_768, 16),
        (450, "", None, 16_384, 16),
        (190, "", None, 16_384, 11),
        (900, "", Some(65_536), 65_536, 14),
        (
            900,
            "refuse_input_size=on,ntb_in_max=65536",
            None,
            65_536,
            14,
        ),
    ] {
        let name = format!("{kilobytes} KiB {knobs}");
        let emulator = emulator(knobs);
        let backend = Arc::new(Scarce {
            inner: emulator.backend(),
            left: Arc::new(Mutex::new(kilobytes * 1024)),
        });
        let options = Options {
            input_size: chosen,
            ..quick()
        };
        let mut bench = Bench::through(emulator, backend, options, |_, _| {}).unwrap();
        bench.online();
        let mut size_told = || {
            // Traffic makes the larger transfers leave the queue.
            bench.ping_many();
            let framing = bench.handle.status().framing.unwrap();
            (framing.input_size, framing.receive_transfers)
        };
        let mut told = size_told();
        for _ in 0..20 {
            if told.0 == size && told.1 <= transfers {
                break;
            }
            told = size_told();
        }
        assert_eq!(told.0, size, "{name}");
        assert_eq!(told.1 < 16, transfers < 16, "{name}: {told:?}");
        assert!((4..=transfers).contains(&told.1), "{name}: {told:?}");
        let notices = bench
            .seen
            .iter()
            .filter(|event| matches!(event, Event::Notice { text } if text.contains("memory")));
        assert!(notices.count() <= 2, "{name}");
        let traffic = bench.handle.status().traffic;
        assert!(traffic.dropped.is_empty(), "{name}: {:?}", traffic.dropped);
        bench.stop();
    }
}
