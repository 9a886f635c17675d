//! USB devices: found, described, switched, claimed, and driven with queued transfers.

pub mod buffer;
pub mod descriptors;
pub mod device;
pub mod error;
