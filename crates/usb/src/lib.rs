//! USB devices: found, described, switched, claimed, and driven with queued transfers.
//!
//! [`device`] holds the traits everything goes through, [`backend`] the backends for real devices:
//! [`libusb`] and [`nusb`].
//! [`access`] is what takes a right.
//! [`descriptors`] and [`functions`] tell what a device offers, in the numbers that [`codes`] names;
//! [`configuration`] makes it offer the right thing, and [`give_back`] leaves it as it was found.
//! [`requests`] are the class requests of its network functions, [`notifications`] what these tell of
//! their link. [`observed`] is what the backends tell of every transfer, and [`forward!`] writes what a device in front of
//! another one hands on.

#![deny(unsafe_code)]

pub mod access;
pub mod backend;
pub mod buffer;
pub mod codes;
pub mod configuration;
mod deadline;
pub mod descriptors;
pub mod device;
pub mod error;
mod forward;
pub mod functions;
pub mod give_back;
mod identity;
pub mod libusb;
mod linux;
pub mod notifications;
pub mod nusb;
pub mod observed;
mod observer;
pub mod requests;

#[cfg(test)]
mod fake;

/// The examples in the README are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
