//! The driver and the emulated modem in this process, between the kernel's TCP in two namespaces.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use uwwan_emulator::{Emulator, FarSide, Knobs, far_side};
use uwwan_figures::Kind;
use uwwan_modem::capture::Capture;
use uwwan_modem::host::{HostProvider, TunProvider, Userspace};
use uwwan_modem::status::FramingStatus;
use uwwan_modem::{Event, Handle, Modem, Selector};
use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Configuration, Plan, Tun, namespace};

use super::contenders::Contender;
use super::cost::{self, Time};
use super::far::{Far, Inside};
use super::link::{Amount, Direction, Link};
use super::near::{self, Near};
use super::outcome;
use crate::capture;
use crate::failure::{Failure, FailureKind};

/// Longest time for a bring-up.
const ONLINE_TIME: Duration = Duration::from_secs(60);
/// Longest time for a stop.
const STOP_TIME: Duration = Duration::from_secs(30);
/// Pause in configuration 0, long enough for the emulated firmware. The switch is no part of the
/// measurement.
const SETTLE: Duration = Duration::from_millis(200);
/// MTU of the link, in bytes.
pub const MTU: u32 = 1500;

/// Moves this process into a private network namespace.
///
/// # Errors
/// Fails with [`FailureKind::Permission`] where no namespace or TUN interface can be made.
pub fn enter() -> Result<(), Failure> {
    let refuse = |error: uwwan_tun::Error| {
        Failure::new(FailureKind::Permission, format!("cannot {}", error.what))
            .because(&error.why)
            .next(error.next.clone())
            .next("uwwan bench --device loopback needs none")
    };
    namespace::enter().map_err(refuse)?;
    // A machine without TUN interfaces is reported before the first visit.
    Tun::open(None).map_err(refuse)?;
    Ok(())
}

/// Returns the address of the far machine.
pub fn far_address() -> IpAddr {
    far_side::v4(0).gateway.into()
}

/// Returns the addresses and the MTU of the interface at the near end or at the far one.
pub fn plan(near: bool) -> Plan {
    let network = far_side::v4(0);
    let address = if near {
        network.address
    } else {
        network.gateway
    };
    let addresses = vec![Address::new(address, network.prefix)];
    Plan::for_modem(addresses, &[], &Through::Nothing, None, MTU)
}

/// An emulated modem that is online, with its driver and its far machine.
pub struct Emulated {
    handle: Handle,
    /// Stack at the near end.
    near: Near,
    /// Capture of this visit alone.
    capture: Option<Capture>,
    emulator: Emulator,
    /// The far machine is the last field, so that it is dropped last: it holds the modem's network.
    far: Far,
}

impl Emulated {
    /// Starts the far machine, the emulated modem and the driver, and waits until the modem is
    /// online. `capture` is one that ends with the visit.
    ///
    /// # Errors
    /// Fails when one of the three cannot be started, when the modem is not online in time, or when
    /// the interface has another TUN mode than the one chosen.
    pub fn start(
        contender: &Contender,
        knobs: &Knobs,
        capture: Option<Capture>,
        observed: bool,
    ) -> Result<Emulated, Failure> {
        let mut options = contender.options()?;
        options.settle = Some(SETTLE);
        // Only the traffic of the measurement is to be sent.
        options.probe = false;
        options.at_port = false;
        let (far, network) = Far::start(|| {
            let tun = Tun::open(None)?;
            let configuration = Configuration::apply(plan(false), &tun)?;
            let network = tun.as_fd().try_clone_to_owned();
            Ok(Inside {
                gift: network,
                kept: Box::new((configuration, tun)),
            })
        })?;
        let network = network.map_err(|error| {
            Failure::new(FailureKind::Host, "cannot use the far machine's interface").because(error)
        })?;
        let emulator =
            Emulator::new(knobs.clone(), FarSide::Descriptor(network)).map_err(|error| {
                Failure::new(FailureKind::Host, "cannot switch the emulated modem on")
                    .because(error)
            })?;
        let (sender, events) = unbounded();
        let backend = match observed {
            true => capture::observed(emulator.backend()),
            false => emulator.backend(),
        };
        let (near, provider): (_, Box<dyn HostProvider>) = match contender.is_userspace() {
            true => {
                let stack = Userspace::default();
                (Near::Userspace(stack.clone()), Box::new(stack))
            }
            false => (Near::Kernel, Box::new(TunProvider::default())),
        };
        let handle = Modem::start(
            backend,
            Selector::Any,
            options,
            provider,
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )?;
        let online = wait_online(&events);
        let link = Emulated {
            handle,
            near,
            capture,
            emulator,
            far,
        };
        let as_chosen = online.and_then(|()| {
            let interface = link
                .handle
                .status()
                .interface()
                .cloned()
                .unwrap_or_default();
            contender.check_mode(&interface.mode)
        });
        if let Err(failure) = as_chosen {
            let _ = link.stop();
            return Err(failure);
        }
        Ok(link)
    }

    fn stop(&self) -> Result<(), Failure> {
        self.handle.stop();
        match self.handle.wait_timeout(STOP_TIME) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::new(
                FailureKind::Timeout,
                "the modem did not stop in time",
            )),
        }
    }
}

fn wait_online(events: &Receiver<Event>) -> Result<(), Failure> {
    let deadline = Instant::now() + ONLINE_TIME;
    let late = || {
        Failure::new(
            FailureKind::Refused,
            "the emulated modem is not online in time",
        )
    };
    loop {
        match events.recv_deadline(deadline) {
            Ok(event) if event.is_online() => return Ok(()),
            Ok(Event::RungFailed { failure, .. }) => return Err(failure),
            Ok(Event::Stopped {
                failure: Some(failure),
            }) => return Err(failure),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(late()),
        }
    }
}

impl Link for Emulated {
    fn stream(&mut self, direction: Direction, time: Duration) -> Result<Amount, Failure> {
        near::stream(&self.near, far_address(), direction, time)
    }

    fn small(&mut self, direction: Direction, time: Duration) -> Result<Option<Amount>, Failure> {
        match self.near {
            Near::Kernel => near::small(far_address(), direction, time).map(Some),
            // The proxies are not meant for small packets at such rates.
            Near::Userspace(_) => Ok(None),
        }
    }

    fn ping(
        &mut self,
        load: Option<Direction>,
        time: Duration,
    ) -> Result<Option<Vec<Duration>>, Failure> {
        near::ping(&self.near, far_address(), load, time).map(Some)
    }

    fn framing(&self) -> Option<FramingStatus> {
        self.handle.status().framing
    }

    fn processor(&self) -> Time {
        let capture = |name: &str| name == "uwwan-capture";
        let driver = |name: &str| {
            matches!(name, "uwwan-data" | "uwwan-control" | "uwwan-netstack") || capture(name)
        };
        let of = |counts: &dyn Fn(&str) -> bool| cost::of_threads(std::process::id(), counts);
        Time {
            driver: of(&driver),
            capture: self.capture.as_ref().and_then(|_| of(&capture)),
            all: Some(cost::own()),
        }
    }

    fn end(mut self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
        let memory = cost::memory(std::process::id(), "VmRSS");
        let stopped = self.stop();
        let captured = self.capture.take().map(|it| it.finish(capture::PATIENCE));
        let report = self.emulator.report();
        drop(self.far);
        stopped?;
        if report.total_violations() > 0 {
            let total = report.total_violations();
            let failure = Failure::new(
                FailureKind::Other,
                format!("the driver broke {total} rules of the emulated modem"),
            );
            return Err(report
                .violations
                .iter()
                .take(3)
                .fold(failure, |failure, violation| failure.because(violation)));
        }
        let counters = &report.counters;
        let mut figures = Vec::new();
        if let Some(captured) = captured {
            if let Some(why) = captured.failure {
                return Err(
                    Failure::new(FailureKind::Host, "the capture is not complete").because(why),
                );
            }
            figures.extend(outcome::captured(captured.written, captured.dropped));
        }
        figures.extend(outcome::memory(
            "of this process: driver, emulated modem, both ends",
            memory,
        ));
        figures.extend(outcome::filling(
            "to the modem",
            counters.datagrams_out,
            counters.blocks_out,
        ));
        figures.extend(outcome::filling(
            "from the modem",
            counters.datagrams_in,
            counters.blocks_in,
        ));
        Ok(figures)
    }
}
