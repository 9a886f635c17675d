//! The device that a subcommand of `usb` is about: it is found and opened, and failures are explained.

use std::sync::Arc;

use uwwan_modem::Selector;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::{Backend, Device as UsbDevice};
use uwwan_usb::error::Error;

use crate::candidates;
use crate::capture;
use crate::checks::words;
use crate::emulated::Wanted;
use crate::failure::{Failure, FailureKind};
use crate::settings::Device;

/// Returns the backend of the device, and the selector that finds the device there.
///
/// # Errors
/// Fails when the emulated modem cannot be started.
pub fn find(
    device: Option<&Device>,
    kind: BackendKind,
) -> Result<(Arc<dyn Backend>, Selector), Failure> {
    match device {
        Some(Device::Emulator) => {
            let wanted = Wanted::default();
            Ok((wanted.start_in_process()?.backend, wanted.selector()))
        }
        Some(Device::Usb(selector)) => Ok((kind.start(), selector.clone())),
        None => Ok((kind.start(), Selector::Any)),
    }
}

/// An open device, with its backend, which has to live as long.
pub type Opened = (Arc<dyn Backend>, Arc<dyn UsbDevice>);

/// Options of a subcommand that makes transfers.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The device: vendor:product, port, bus/device, or `emulator`; needed only when several are
    /// present
    #[arg(long, short, value_name = "DEVICE")]
    device: Option<Device>,
    /// What drives it [default: libusb]
    #[arg(long, value_name = "BACKEND", value_parser = words(BackendKind::VALUES))]
    usb: Option<BackendKind>,
    #[command(flatten)]
    capture: capture::Options,
}

impl Target {
    /// Opens the device.
    ///
    /// # Errors
    /// Fails when there is no such device, or several, or it cannot be opened.
    pub fn open(&self) -> Result<Opened, Failure> {
        let (backend, selector) = find(self.device.as_ref(), self.usb.unwrap_or_default())?;
        let backend = self.capture.around(backend)?;
        let found = candidates::select(backend.as_ref(), &selector)?.found;
        let device = backend
            .open(&found)
            .map_err(|error| usb_failure("cannot open the device", &error))?;
        Ok((backend, device))
    }
}

/// Returns a USB error as a failure of the program.
pub fn usb_failure(what: &str, error: &Error) -> Failure {
    let exit = match error {
        Error::NoPermission { .. } => FailureKind::Permission,
        Error::Busy { .. } => FailureKind::Busy,
        Error::Gone { .. } => FailureKind::Missing,
        _ => FailureKind::Host,
    };
    let failure = Failure::new(exit, what).because(error);
    match exit {
        FailureKind::Permission => failure.next(
            "install the udev rule (packaging/70-uwwan.rules) and plug the modem in again, or use sudo",
        ),
        FailureKind::Busy => failure.next("stop what holds it: uwwan down, ModemManager, or another program"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_permission_names_the_way_out() {
        let failure = usb_failure(
            "cannot open the device",
            &Error::NoPermission {
                operation: "open 03f0:a31d at 1-4".into(),
                node: Some("/dev/bus/usb/001/004".into()),
            },
        );
        assert_eq!(failure.kind, FailureKind::Permission);
        assert_eq!(
            failure.to_string(),
            "cannot open the device\n\
             \x20 why:   open 03f0:a31d at 1-4: permission denied\n\
             \x20 next:  install the udev rule (packaging/70-uwwan.rules) and plug the modem in again, or use sudo"
        );
    }
}
