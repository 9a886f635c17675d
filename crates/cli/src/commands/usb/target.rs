//! Finds the device that a subcommand of `usb` is about.

use std::sync::Arc;

use uwwan_modem::Selector;
use uwwan_usb::backend::BackendKind;
use uwwan_usb::device::Backend;

use crate::emulated::Wanted;
use crate::failure::Failure;
use crate::settings::Device;

/// Returns the backend of the device, and the selector that finds it there.
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
