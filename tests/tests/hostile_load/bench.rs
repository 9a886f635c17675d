//! A driver on an emulated modem, with a TUN interface as the host end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::host::TunProvider;
use uwwan_modem::options::{Routes, SessionOptions};
use uwwan_modem::status::Traffic;
use uwwan_modem::{Event, Handle, Modem, Options, Selector};

use crate::Mode;
use crate::counted::{CountedBackend, Tally};
use crate::far::{Far, FarNetwork};
use crate::flows::{self, Running};
use uwwan_tests::allocator;

/// Time that is long enough for any step on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub emulator: Emulator,
    pub far: Arc<Far>,
    pub handle: Handle,
    tally: Arc<Tally>,
    events: Receiver<Event>,
}

impl Bench {
    /// Starts a driver and waits until it is online, with the far side's addresses routed through
    /// the modem.
    pub fn online(mode: Mode, knobs: &str) -> Self {
        let knobs: Knobs = format!("settle_ms=20,absent_ms=100,{knobs}")
            .parse()
            .expect("knobs");
        let (far, network) = FarNetwork::start();
        let emulator =
            Emulator::new(knobs, FarSide::Network(Box::new(network))).expect("an emulator");
        let mut options = Options {
            settle: Some(Duration::from_millis(60)),
            sessions: vec![SessionOptions {
                routes: Routes::Prefixes(vec!["198.51.100.0/24".into()]),
                ..SessionOptions::default()
            }],
            probe: false,
            block_size: Some(allocator::TRANSFER_BUFFER),
            input_size: Some(allocator::TRANSFER_BUFFER),
            ..Options::default()
        };
        mode.apply(&mut options);
        let tally = Arc::<Tally>::default();
        let backend = CountedBackend {
            inner: emulator.backend(),
            tally: Arc::clone(&tally),
        };
        let (sender, events) = mpsc::channel();
        let handle = Modem::start(
            Arc::new(backend),
            Selector::Any,
            options,
            Box::new(TunProvider::default()),
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )
        .expect("a driver");
        let bench = Self {
            emulator,
            far,
            handle,
            tally,
            events,
        };
        bench.until("online", |event| event.is_online());
        bench
    }

    /// Waits for an event that `fits` accepts.
    pub fn until(&self, what: &str, fits: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if fits(&event) => return,
                Ok(Event::Stopped { failure }) => panic!("stopped before {what}: {failure:?}"),
                Ok(_) => {}
                Err(_) => panic!("{what} did not happen: {:#?}", self.handle.status()),
            }
        }
    }

    /// Waits until `so` returns true for the bench.
    pub fn wait_for(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:#?}",
                self.handle.status()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn interface(&self) -> String {
        self.handle
            .status()
            .interface()
            .expect("an interface")
            .name
            .clone()
    }

    /// Starts both numbered flows.
    pub fn flows(&self) -> Running {
        flows::both(&self.far, &Arc::new(AtomicBool::new(false)))
    }

    /// Waits until both flows have advanced by that number of datagrams.
    pub fn flow_on(&self, datagrams: u64) {
        let (up, down) = (self.far.up().end + datagrams, self.far.sent() + datagrams);
        self.wait_for("the flows have dried up", |bench| {
            bench.far.up().end >= up && bench.far.sent() >= down
        });
    }

    /// Returns the counters, once they no longer change.
    pub fn traffic(&self) -> Traffic {
        let mut last = self.handle.status().traffic;
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let traffic = self.handle.status().traffic;
            if traffic == last {
                return traffic;
            }
            last = traffic;
        }
    }

    /// Returns the number of errors of a kind so far.
    pub fn errors(&self, name: &str) -> u64 {
        count(&self.handle.status().traffic.errors, name)
    }

    /// Returns the number of buffers that there should be: one for each transfer of either
    /// direction.
    pub fn buffers_wanted(&self) -> isize {
        let framing = self.handle.status().framing.expect("a framing");
        (framing.receive_transfers + framing.send_transfers) as isize
    }

    /// Returns the number of transfers in flight.
    pub fn outstanding(&self) -> i64 {
        self.tally.outstanding.load(Ordering::SeqCst)
    }

    /// Stops the driver, and checks what is left.
    pub fn stop(self) {
        let attempts = self.handle.status().attempts;
        self.handle.stop();
        self.until("the stop", |event| {
            matches!(event, Event::Stopped { failure: None })
        });
        assert_eq!(self.handle.wait(), Ok(()));
        let report = self.emulator.report();
        assert_eq!(report.total_violations(), 0, "{:#?}", report.violations);
        let tally = &self.tally;
        // The thread of the AT port releases the device a moment later.
        let deadline = Instant::now() + PATIENCE;
        while tally.objects.load(Ordering::SeqCst) != 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            tally.objects.load(Ordering::SeqCst),
            0,
            "devices, queues or pumps are left"
        );
        assert_eq!(
            tally.outstanding.load(Ordering::SeqCst),
            0,
            "transfers are left"
        );
        assert_eq!(allocator::transfer_buffers(), 0, "buffers are left");
        if attempts == 1 {
            let abandoned = tally.abandoned.load(Ordering::SeqCst);
            assert_eq!(abandoned, 0, "the MBIM function's queues were not drained");
        }
        println!(
            "{} buffers, at most {} transfers in flight",
            tally.allocated.load(Ordering::SeqCst),
            tally.most.load(Ordering::SeqCst)
        );
    }
}

/// Returns a counter of the driver by its name; 0 when it is not there.
pub fn count(list: &[uwwan_modem::status::Counter], name: &str) -> u64 {
    list.iter()
        .find(|counter| counter.name == name)
        .map_or(0, |counter| counter.count)
}
