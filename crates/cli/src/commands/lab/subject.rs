//! The modem with which a command of the laboratory experiments, and how it is reached.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uwwan_modem::{Options, Selector};
use uwwan_usb::backend::BackendKind;

use super::bench::Bench;
use super::failures::Failures;
use super::link::Subject;
use super::trial::Prober;
use crate::candidates;
use crate::capture;
use crate::checks::{within, words};
use crate::emulated::EmulatedModem;
use crate::failure::{Failure, FailureKind};
use crate::modem_manager::{Inhibitor, Kept};
use crate::reach::interrupts;
use crate::settings::{Device, Settings};

/// Modem to try, and how.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The modem: vendor:product (03f0:a31d), port (1-4.2), bus/device (3/12), or `emulator`. Needed only
    /// when several are present
    #[arg(long, short, value_name = "DEVICE")]
    device: Option<Device>,
    /// What drives the USB device [default: libusb]
    #[arg(long, value_name = "BACKEND", value_parser = words(BackendKind::VALUES))]
    usb: Option<BackendKind>,
    #[command(flatten)]
    emulated: EmulatedModem,
    /// Address that answers echo requests [default: whichever gateway or name server answers]
    #[arg(long, value_name = "ADDRESS")]
    target: Option<IpAddr>,
    /// Time for which an answer is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    wait: f64,
    /// Time for which MBIM_OPEN may stay unanswered
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    open_wait: f64,
    /// Time within which the modem must be online, and be back after a trial that it did not survive
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0)]
    online_wait: f64,
    #[command(flatten)]
    capture: capture::Options,
    /// Leave a capture of each trial that fails in this directory, up to 100 of them
    #[arg(long, value_name = "DIR", help_heading = "Capture")]
    failures: Option<PathBuf>,
    /// Further options of `uwwan up`, such as --apn and --pin-file
    #[arg(last = true, value_name = "OPTION OF UP")]
    up: Vec<String>,
}

/// The device on the bench: its names for the report and for the quirk table.
pub struct About {
    pub vendor: u16,
    pub product: u16,
    pub name: String,
}

impl Common {
    /// Returns the bench with the modem, which is not online yet.
    pub fn bench(&self, beyond: bool) -> Result<(Bench, About), Failure> {
        within("wait", self.wait, 0.05, 600.0)?;
        within("open-wait", self.open_wait, 0.1, 600.0)?;
        within("online-wait", self.online_wait, 1.0, 3600.0)?;
        let mut base = Settings::from_words(&self.up)?.options()?;
        base.experiment.beyond = beyond;
        let capture = self.capture.prepare()?;
        let failures = self.failures.as_deref().map(Failures::new).transpose()?;
        let (backend, selector) = match &self.device {
            Some(Device::Emulator) => {
                let wanted = self.emulated.wanted()?;
                capture.start()?;
                let backend = wanted.start_in_process()?.backend;
                (capture::observed(backend), wanted.selector())
            }
            other => {
                self.emulated.refuse()?;
                capture.start()?;
                let selector = match other {
                    Some(Device::Usb(selector)) => selector.clone(),
                    _ => Selector::Any,
                };
                let inhibitor = Inhibitor::start();
                let access = Arc::new(Kept::new(inhibitor));
                let backend = self.usb.unwrap_or_default().start_through(access);
                let backend = capture::observed(backend);
                (backend, selector)
            }
        };
        let candidate = match self.device {
            // No other process has the emulated modem.
            Some(Device::Emulator) => candidates::select(backend.as_ref(), &selector)?,
            _ => candidates::usable(backend.as_ref(), &selector, false, base.mode)?,
        };
        // A modem that is dialled by AT commands gets its addresses from the network.
        if candidate.is_ethernet() && base.mode.is_none() && !has_ipv4(&base) {
            return Err(Failure::new(
                FailureKind::Usage,
                "there is no address to send datagrams from",
            )
            .at(candidate.name())
            .because("it is a plain network device, which tells its host no addresses")
            .next("give IPv4 addresses of its network, this host's and its router's: … -- --address 192.0.2.2/24 --gateway 192.0.2.1"));
        }
        let identity = &candidate.found.identity;
        let about = About {
            vendor: identity.vendor,
            product: identity.product,
            name: candidate.model(),
        };
        let interrupted = interrupts()?;
        let subject = Subject {
            backend,
            // A modem that comes back after a crash may have another product id.
            selector: match self.device {
                Some(Device::Emulator) => selector,
                _ => Selector::Port(identity.port.clone()),
            },
            online_time: Duration::from_secs_f64(self.online_wait),
            open_time: Duration::from_secs_f64(self.open_wait),
            interrupted: interrupted.clone(),
        };
        let wait = Duration::from_secs_f64(self.wait);
        let prober = Prober::new(self.target, wait, interrupted);
        Ok((Bench::new(subject, prober, base, failures), about))
    }
}

/// Returns whether the user gave the host an IPv4 address.
fn has_ipv4(options: &Options) -> bool {
    let first = options.sessions.first();
    first.is_some_and(|session| {
        let given = session.static_addresses.addresses.iter();
        given.filter(|given| given.address.is_ipv4()).count() > 0
    })
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({:04x}:{:04x})",
            self.name, self.vendor, self.product
        )
    }
}
