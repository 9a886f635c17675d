//! The kernel's view of a device through sysfs and its device node, which the backends for real
//! devices have in common.
//!
//! Devices are found by reading sysfs, which needs no rights and no udev and shows every
//! configuration's descriptors, the active configuration and the bound drivers without opening
//! anything.

#[allow(unsafe_code)]
pub(crate) mod ioctl;
pub(crate) mod node;
pub(crate) mod place;
pub(crate) mod sysfs;

#[cfg(test)]
mod tests;
