//! Interfaces that are taken from a kernel driver and given back.

use std::sync::Arc;

use uwwan_usb::device::Device;
use uwwan_usb::error::Holder;

use crate::failure::Failure;

/// Claimed interfaces of a device. Dropping it releases them in the opposite order, and gives the first
/// back to the kernel driver that had it.
pub(super) struct Claim {
    device: Arc<dyn Device>,
    interfaces: Vec<u8>,
    /// Interface whose kernel driver was detached.
    detached: Option<u8>,
}

impl Claim {
    /// Detaches the first of the interfaces from its kernel driver and claims all, each once.
    ///
    /// # Errors
    /// [`Failure`] for an error of the USB backend.
    pub(super) fn take(device: &Arc<dyn Device>, interfaces: &[u8]) -> Result<Self, Failure> {
        let mut claim = Self {
            device: Arc::clone(device),
            interfaces: Vec::new(),
            detached: None,
        };
        for &interface in interfaces {
            if claim.interfaces.contains(&interface) {
                continue;
            }
            // The interface may be claimed by another program instead of a kernel driver; the claim
            // below then names the holder.
            if claim.interfaces.is_empty()
                && let Some(Holder::Driver(_)) = device.holder(interface).map_err(super::usb)?
            {
                device.detach_kernel_driver(interface).map_err(super::usb)?;
                claim.detached = Some(interface);
            }
            device.claim(interface).map_err(super::usb)?;
            claim.interfaces.push(interface);
        }
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for &interface in self.interfaces.iter().rev() {
            if let Err(error) = self.device.release(interface) {
                tracing::debug!("AT port: {error}");
            }
        }
        if let Some(interface) = self.detached
            && let Err(error) = self.device.attach_kernel_driver(interface)
        {
            tracing::debug!("AT port: {error}");
        }
    }
}
