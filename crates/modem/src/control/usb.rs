//! The USB steps of the ladder: find, switch, listen, negotiate, reset the port, release and give back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uwwan_usb::configuration::{self, Step, SwitchPlan, ViaZero};
use uwwan_usb::device::Device;
use uwwan_usb::error::Error as UsbError;
use uwwan_usb::functions::DialledKind;
use uwwan_usb::give_back::{self, GiveBack, GivenBack};

use super::Control;
use super::device::{Held, LinkState, look};
use super::found::AsFound;
use crate::askers::Message;
use crate::at_port;
use crate::datapath::{DataPlan, Depth, Reactor, Report, SessionPlan};
use crate::event::{BoundDriver, Event};
use crate::explain;
use crate::failure::{Failure, Rung};
use crate::function;
use crate::kind::{Choice, Function};
use crate::ladder::{UsbDone, UsbFailed, UsbStep};
use crate::selector::Selector;

/// Numbers of transfers in flight unless the user chooses others. More bulk IN transfers cost the
/// host less, as more NTBs are handed over together; beyond 16 there is little more to gain. Bulk
/// OUT transfers are a queue in which packets wait, so there are only as many as one large packet
/// and the bus need.
const USUAL_DEPTH: Depth = Depth {
    receive: 16,
    send: 8,
};
/// Number of transfers in flight that have one frame each: as many bytes as some NTBs.
const FRAMES_DEPTH: Depth = Depth {
    receive: 64,
    send: 32,
};
/// Largest number of notifications on their way to the control thread; more are dropped.
const MOST_NOTIFICATIONS: u32 = 64;
/// Largest number of messages on their way to the control thread with which another datagram of the
/// link's own protocols is added. Datagrams that are dropped come again, because DHCP and routers
/// repeat them.
const MOST_WITH_LINK: usize = 256;

impl Control {
    pub(super) fn usb_step(&mut self, step: UsbStep) -> Result<UsbDone, UsbFailed> {
        match step {
            UsbStep::Find => self.find(),
            UsbStep::Switch { settle, always } => self.switch(settle, always),
            UsbStep::Listen => self.listen(),
            UsbStep::DataFunction => self.set_up(),
            UsbStep::ResetPort => self.reset_port(),
        }
        .map_err(|failure| UsbFailed { failure })
    }

    fn find(&mut self) -> Result<UsbDone, Failure> {
        self.tear_down(false);
        let moved = matches!(self.selector, Selector::Any | Selector::Id(..));
        let choice = Choice::new(&self.options, self.ethernet_acceptable);
        let found = match look(&*self.backend, &self.selector, self.port.as_deref(), choice) {
            // The device may have been plugged in at another port.
            Err((_, true)) if self.port.is_some() && moved => {
                look(&*self.backend, &self.selector, None, choice)
            }
            result => result,
        };
        let found = match found {
            Ok(found) => found,
            Err((failure, absent)) => {
                self.absent = absent;
                return Err(failure);
            }
        };
        let late = std::mem::take(&mut self.absent);
        self.as_found
            .get_or_insert_with(|| AsFound::new(&found, late));
        let device = self
            .backend
            .open(&found)
            .map_err(|error| explain::usb(Rung::Found, &error))?;
        let Some(function) = Function::of(device.descriptors(), choice) else {
            let error = UsbError::Other {
                operation: format!("read the descriptors of {}", found.identity),
                reason: "its network function has gone".into(),
            };
            return Err(explain::usb(Rung::Found, &error));
        };
        if self.options.tap && !function.gives_frames() {
            return Err(explain::failure(
                Rung::Found,
                true,
                format!(
                    "{} is driven by MBIM, which carries IP datagrams",
                    found.identity
                ),
                "a TAP interface carries Ethernet frames",
                "--mode ncm or --mode ecm, where uwwan list shows that the modem has them; or leave --tap out",
            ));
        }
        let identity = device.identity();
        self.quirk = function.quirk(identity.vendor, identity.product);
        let ids = (identity.vendor, identity.product);
        self.port = Some(identity.port.clone());
        for fault in &device.descriptors().faults {
            tracing::warn!("descriptors of {identity}: {fault}");
        }
        let name = identity.to_string();
        let detail = format!("{}, {name}", self.quirk.name);
        if !self.quirk.story.is_empty() {
            tracing::debug!("{}: {}", self.quirk.name, self.quirk.story);
        }
        self.device = Some(Held {
            device,
            function,
            link: LinkState::default(),
            name,
            claimed: Vec::new(),
            switched: None,
            reactor: None,
            at: None,
            dialled: None,
            negotiated: None,
            data_running: false,
            running: None,
        });
        self.heal_device(ids);
        Ok(UsbDone {
            detail,
            quirk: Some(self.quirk),
            ..UsbDone::default()
        })
    }

    fn switch(&mut self, settle: std::time::Duration, always: bool) -> Result<UsbDone, Failure> {
        let quirk = self.quirk;
        let mut steps = Vec::new();
        let held = self
            .device
            .as_mut()
            .ok_or_else(|| gone(Rung::Configuration))?;
        held.let_go();
        let function = &held.function;
        let plan = SwitchPlan {
            via_zero: match (quirk.via_zero, always) {
                (false, _) => ViaZero::Never,
                (true, true) => ViaZero::Always,
                (true, false) => ViaZero::IfDifferent,
            },
            settle,
            ..SwitchPlan::new(
                function.configuration,
                [function.control_interface, function.data_interface],
            )
        };
        self.expect(
            "the modem in its configuration",
            plan.settle + plan.patience,
        );
        let held = self
            .device
            .as_mut()
            .ok_or_else(|| gone(Rung::Configuration))?;
        let result = configuration::switch(&*held.device, &plan, &mut |step| steps.push(step));
        if result.is_ok() {
            held.claimed.clone_from(&plan.claim);
        }
        if let Some(found) = &mut self.as_found {
            found.switched(&plan, &steps, result.is_ok());
        }
        if let Some(text) = detached(&steps) {
            self.tell(Event::Notice { text });
        }
        for step in steps {
            let text = step.to_string();
            match step {
                Step::TookBack { .. } | Step::Interfered { .. } | Step::Forced { .. } => {
                    self.tell(Event::Notice { text });
                }
                _ => tracing::debug!("{text}"),
            }
        }
        let switched = result.map_err(|error| explain::usb(Rung::Configuration, &error))?;
        let (before, after) = (switched.before, switched.after);
        let detail = match (before == after, switched.via_zero) {
            (true, false) => format!("{after} already"),
            (_, true) => format!("{before} → 0 → {after}"),
            (false, false) => format!("{before} → {after}"),
        };
        if let Some(held) = self.device.as_mut() {
            held.switched = Some(switched);
        }
        self.tell(Event::Configuration { before, after });
        Ok(UsbDone {
            detail,
            ..UsbDone::default()
        })
    }

    fn listen(&mut self) -> Result<UsbDone, Failure> {
        let words = |error: UsbError| explain::usb(Rung::Claim, &error);
        let shared = Arc::clone(&self.shared);
        let outbox = self.outbox.clone();
        let held = self.device.as_mut().ok_or_else(|| gone(Rung::Claim))?;
        let function = &held.function;
        if function.control_alternate != 0 {
            held.device
                .set_alternate_setting(function.control_interface, function.control_alternate)
                .map_err(words)?;
        }
        if function::opens_first(function, &self.options) {
            function::rest(&*held.device, function, self.quirk).map_err(words)?;
        }
        // Where control and data share an interface, its alternate setting is chosen first.
        let interrupt = match function.shares_interface() {
            true => None,
            false => held.notification_queue().map_err(words)?,
        };
        let pump = held.device.pump().map_err(words)?;
        let counters = Arc::clone(&shared.counters);
        let report = Box::new(move |report: Report| {
            if matches!(report, Report::Notification(_)) {
                if shared.notifications.load(Ordering::Relaxed) >= MOST_NOTIFICATIONS {
                    shared.notifications_missed.store(true, Ordering::Relaxed);
                    return false;
                }
                shared.notifications.fetch_add(1, Ordering::Relaxed);
            }
            if matches!(report, Report::Link(..)) && outbox.len() >= MOST_WITH_LINK {
                return false;
            }
            outbox.send(Message::Report(report)).is_ok()
        });
        let nice = self.options.nice;
        let reactor = Reactor::spawn(pump, interrupt, counters, nice, report).map_err(|error| {
            explain::failure(
                Rung::Claim,
                true,
                format!("start the data thread: {error}"),
                "the system has no thread or descriptor left",
                "raise the limits (`ulimit -n`, `ulimit -u`)",
            )
        })?;
        held.reactor = Some(reactor);
        let dialled = held.function.dialled().is_some();
        if let Some(at) = self
            .shared
            .at
            .as_ref()
            .filter(|_| !held.function.is_ethernet() && !dialled)
        {
            let ports = at_port::candidates(
                held.device.descriptors(),
                held.function.configuration,
                self.quirk,
                None,
            );
            at.attach(Arc::clone(&held.device), ports);
            held.at = Some(at.clone());
        }
        let interfaces: Vec<String> = held.claimed.iter().map(u8::to_string).collect();
        if dialled {
            self.start_dialled()?;
        }
        Ok(UsbDone {
            detail: format!("interfaces {}", interfaces.join(" and ")),
            ..UsbDone::default()
        })
    }

    fn set_up(&mut self) -> Result<UsbDone, Failure> {
        let options = self.healing.over(&self.options);
        let held = self
            .device
            .as_mut()
            .ok_or_else(|| gone(Rung::DataFunction))?;
        let words = |error: UsbError| explain::usb(Rung::DataFunction, &error);
        let shared = held.function.shares_interface();
        // No transfer may be pending on an interface whose alternate setting changes.
        if shared && let Some(reactor) = held.reactor() {
            reactor.listen(None);
        }
        let negotiated = function::negotiate(&*held.device, &held.function, &options, self.quirk)
            .map_err(words)?;
        if shared && let Some(reactor) = held.reactor() {
            reactor.listen(held.notification_queue().map_err(words)?);
        }
        let detail = negotiated.detail();
        let notices = negotiated.notices.clone();
        held.negotiated = Some(negotiated);
        for text in notices {
            self.tell(Event::Notice { text });
        }
        self.read_address();
        self.head_frames();
        Ok(UsbDone {
            detail,
            quirk: None,
            ethernet: self.is_ethernet(),
        })
    }

    fn reset_port(&mut self) -> Result<UsbDone, Failure> {
        let held = self.device.as_mut().ok_or_else(|| gone(Rung::Open))?;
        held.let_go();
        held.device
            .reset()
            .map_err(|error| explain::usb(Rung::Open, &error))?;
        Ok(UsbDone::default())
    }

    pub(super) fn clear_halt(&mut self, endpoint: u8) {
        let Some(held) = self.device.as_ref() else {
            return;
        };
        match held.device.clear_halt(endpoint) {
            Ok(()) => {
                if let Some(reactor) = &held.reactor {
                    reactor.halt_cleared(endpoint);
                }
            }
            Err(error) => self.lost(Rung::Found, error.to_string()),
        }
    }

    /// Starts the data path with its first session. Returns a description, or the reason why it
    /// does not start.
    pub(super) fn start_data(&mut self, session: SessionPlan) -> Result<String, String> {
        let depth = match self.options.in_flight {
            None => USUAL_DEPTH,
            Some(depth) => Depth {
                receive: depth.clamp(1, 256),
                send: depth.clamp(1, 256),
            },
        };
        let held = self.device.as_mut().ok_or("the device is gone")?;
        let depth = match (self.options.in_flight, held.function.dialled()) {
            (None, Some(DialledKind::Ecm)) => FRAMES_DEPTH,
            _ => depth,
        };
        let reactor = held.reactor.as_ref().ok_or("the data thread is gone")?;
        let negotiated = held
            .negotiated
            .as_ref()
            .ok_or("the data function is not set up")?;
        let queue = |endpoint: u8| {
            held.device
                .queue(endpoint)
                .map_err(|error| error.to_string())
        };
        let plan = DataPlan {
            bulk_in: queue(held.function.bulk_in.address)?,
            bulk_out: queue(held.function.bulk_out.address)?,
            framing: negotiated.framing,
            limits: negotiated.limits,
            receive: negotiated.receive,
            depth,
            sessions: vec![session],
        };
        let running = reactor.start(plan).map_err(|fault| fault.to_string())?;
        held.data_running = true;
        held.running = Some(running);
        Ok(format!(
            "{} transfers from the modem, {} to it",
            running.receive_transfers, running.send_transfers
        ))
    }

    /// Agrees with the device on smaller NTBs, because memory for the transfers is scarce.
    pub(super) fn receive_less(&mut self) {
        let Some(held) = self.device.as_mut().filter(|held| held.data_running) else {
            return;
        };
        let (Some(negotiated), Some(reactor)) = (held.negotiated.as_mut(), &held.reactor) else {
            return;
        };
        let before = negotiated.receive.agreed;
        if let Err(error) = negotiated.receive_less(&*held.device, &held.function) {
            return self.lost(Rung::Found, error.to_string());
        }
        let size = negotiated.receive.agreed;
        reactor.resize(size, negotiated.receive.least);
        if size != before {
            self.tell(Event::Notice {
                text: format!(
                    "memory for USB transfers is scarce: NTBs from the modem have {size} bytes at \
                     most, instead of {before}"
                ),
            });
        }
    }

    pub(super) fn stop_data(&mut self) {
        if let Some(held) = self.device.as_mut() {
            held.stop_data();
        }
    }

    /// Releases the device; at the end it is given back to the kernel's drivers. With `politely` the
    /// data and control sessions are closed before, for a device that is still there.
    pub(super) fn tear_down(&mut self, politely: bool) {
        self.rest_sessions(true, "the modem is away");
        self.set_carrier(false);
        if politely {
            self.stop_data();
            self.close_session();
        }
        let device = self.device.take().map(|mut held| {
            held.let_go();
            held.device
        });
        if self.finished_or_stopping() {
            self.give_back(device);
        }
        self.control_session.handle_lost("let go");
        while self.control_session.poll_event().is_some() {}
        self.drop_all_askers();
    }

    fn finished_or_stopping(&self) -> bool {
        self.finished.is_some() || self.shared.stops.load(Ordering::Relaxed) > 0
    }

    /// Gives the device back to the kernel's drivers, if they had it at the start and it was changed
    /// since. `held` is the device that was just released, if there was one.
    fn give_back(&mut self, held: Option<Arc<dyn Device>>) {
        let back = self.as_found.as_mut().and_then(|found| found.take_back());
        let Some(back) = back.filter(|_| self.options.reattach_drivers) else {
            return;
        };
        let given = match held.map(|device| attempt(&*device, &back)) {
            // The device may have come back under another device number.
            None | Some(Ok(GivenBack::Gone)) => {
                self.reopened().map_or(Ok(GivenBack::Gone), |device| {
                    let back = GiveBack {
                        left_in: None,
                        ..back
                    };
                    attempt(&*device, &back)
                })
            }
            Some(given) => given,
        };
        let not = |why: &dyn std::fmt::Display| Event::Notice {
            text: format!("the kernel's drivers do not have the modem again: {why}"),
        };
        self.tell(match given {
            Ok(GivenBack::Drivers {
                configuration,
                drivers,
            }) => Event::GivenBack {
                configuration,
                drivers: drivers
                    .into_iter()
                    .map(|(interface, driver)| BoundDriver { interface, driver })
                    .collect(),
            },
            Ok(GivenBack::Taken(by)) => not(&by),
            Ok(GivenBack::Gone) => return,
            Err(error) => not(&error),
        });
    }

    /// Opens the device that is at the port of the modem, if there is one.
    fn reopened(&self) -> Option<Arc<dyn Device>> {
        let port = self.port.as_deref()?;
        let devices = self.backend.devices().ok()?;
        let found = devices.iter().find(|found| found.identity.port == port)?;
        self.backend.open(found).ok()
    }
}

fn attempt(device: &dyn Device, back: &GiveBack) -> Result<GivenBack, UsbError> {
    give_back::give_back(device, back, &mut |step| {
        tracing::debug!("giving back: {step}")
    })
}

fn gone(rung: Rung) -> Failure {
    explain::usb(
        rung,
        &UsbError::Gone {
            operation: format!("reach the rung `{rung}`"),
        },
    )
}

/// Returns all detached drivers in one line, such as `detached: cdc_ether from 0, option from 2 3`.
fn detached(steps: &[Step]) -> Option<String> {
    let mut drivers: Vec<(&str, Vec<String>)> = Vec::new();
    for step in steps {
        if let Step::Detached { interface, driver } = step {
            match drivers.iter_mut().find(|(name, _)| name == driver) {
                Some((_, interfaces)) => interfaces.push(interface.to_string()),
                None => drivers.push((driver, vec![interface.to_string()])),
            }
        }
    }
    let lines: Vec<String> = drivers
        .into_iter()
        .map(|(driver, interfaces)| format!("{driver} from {}", interfaces.join(" ")))
        .collect();
    (!lines.is_empty()).then(|| format!("detached: {}", lines.join(", ")))
}
