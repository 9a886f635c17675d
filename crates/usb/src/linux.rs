//! The kernel's view of a device through sysfs and its device node, which the backends for real
//! devices have in common.
//!
//! Devices are found by reading sysfs. That needs no rights and no udev, and shows the descriptors
//! of every configuration, the active configuration and the bound drivers without opening anything.

#[allow(unsafe_code)]
pub(crate) mod ioctl;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod sysfs;

#[cfg(test)]
mod tests;
