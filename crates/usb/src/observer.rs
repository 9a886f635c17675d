//! The trait of an observer of transfers, and what it is told.

use crate::descriptors::{Descriptors, TransferKind};
use crate::identity::Identity;

/// Somebody who watches transfers. The calls come from the threads that make the transfers, and must
/// not block.
pub trait Observer: Send + Sync {
    /// Returns whether bulk and interrupt transfers are to be reported at the moment. Control
    /// transfers always are, so that an observer that begins late knows the device's state.
    fn is_active(&self) -> bool;

    /// Reports that a device was opened.
    fn opened(&self, opened: &Opened<'_>);

    /// Reports an event of a transfer.
    fn transfer(&self, seen: &Seen<'_>);
}

/// Facts about a device that was opened.
#[derive(Debug, Clone, Copy)]
pub struct Opened<'a> {
    /// Place where the device is plugged in, and what it says it is.
    pub identity: &'a Identity,
    /// Descriptors of the device.
    pub descriptors: &'a Descriptors,
    /// `bConfigurationValue` of the active configuration, 0 when unconfigured.
    pub active_configuration: u8,
}

/// Event in the life of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The transfer was submitted.
    Submitted,
    /// The transfer could not be submitted. The value is the error as a negative `errno` of Linux.
    Rejected(i32),
    /// The transfer ended. The value is 0, or the error as a negative `errno` of Linux.
    Completed(i32),
}

/// An event of a transfer, with the facts that usbmon shows.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Number of the bus.
    pub bus: u8,
    /// Number of the device on its bus.
    pub address: u8,
    /// Number that all events of a transfer share.
    pub id: u64,
    /// Event that this is: the submission, its rejection or the end of the transfer.
    pub moment: Moment,
    /// Kind of the transfer.
    pub kind: TransferKind,
    /// Address of the endpoint, direction bit included.
    pub endpoint: u8,
    /// Setup stage as it is on the bus; present at the submission of a control transfer only.
    pub setup: Option<[u8; 8]>,
    /// Number of bytes asked for or to be sent; at the end, the number of bytes moved.
    pub length: usize,
    /// Bytes that are sent, at the submission, or that were received, at the end.
    pub data: &'a [u8],
}
