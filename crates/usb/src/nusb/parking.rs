//! The place in which a queue leaves its endpoint while no transfer is pending.
//!
//! nusb clears halts through the endpoint, and changes alternate settings only while nobody has it
//! open. Any thread can ask the device for both. A queue with transfers pending has its endpoint to
//! itself, without a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::nusb::transfer::{BulkOrInterrupt, EndpointDirection};

use super::memory::Lender;

/// The parking of one queue, whatever the endpoint's type.
pub(super) trait AnyParking: Send + Sync {
    /// Returns the number of the interface the endpoint belongs to.
    fn interface(&self) -> u8;

    /// Returns the endpoint's address, direction bit included.
    fn address(&self) -> u8;

    /// Returns whether the queue has the endpoint, because transfers are pending.
    fn is_away(&self) -> bool;

    /// Closes the endpoint if it is parked; its queue opens it again with its next transfer.
    fn close(&self);

    /// Clears the endpoint's halt if it is parked, and returns `None` otherwise.
    fn clear_halt(&self) -> Option<Result<(), ::nusb::Error>>;
}

/// Place of the endpoint of a queue.
pub(super) enum Parked<K: BulkOrInterrupt, D: EndpointDirection> {
    /// The endpoint is parked: no transfer is pending.
    Here(Lender<K, D>),
    /// The queue has the endpoint.
    Away,
    /// Nobody has the endpoint open.
    Closed,
}

/// The parking of one queue.
pub(super) struct Parking<K: BulkOrInterrupt, D: EndpointDirection> {
    interface: u8,
    address: u8,
    parked: Mutex<Parked<K, D>>,
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Parking<K, D> {
    /// Parks an endpoint of `interface`.
    pub(super) fn new(interface: u8, endpoint: Lender<K, D>) -> Self {
        Self {
            interface,
            address: endpoint.address(),
            parked: Mutex::new(Parked::Here(endpoint)),
        }
    }

    /// Returns where the endpoint is; it stays there for as long as the guard lives.
    pub(super) fn look(&self) -> MutexGuard<'_, Parked<K, D>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the endpoint to the queue.
    ///
    /// # Errors
    /// [`Closed`] when nobody has the endpoint open; the queue counts as having it all the same.
    pub(super) fn leave(&self) -> Result<Lender<K, D>, Closed> {
        match std::mem::replace(&mut *self.look(), Parked::Away) {
            Parked::Here(endpoint) => Ok(endpoint),
            Parked::Away | Parked::Closed => Err(Closed),
        }
    }

    /// Parks the endpoint again, or notes that the queue has none open.
    pub(super) fn enter(&self, endpoint: Option<Lender<K, D>>) {
        *self.look() = endpoint.map_or(Parked::Closed, Parked::Here);
    }
}

/// Error for an endpoint that nobody has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl<K: BulkOrInterrupt, D: EndpointDirection> AnyParking for Parking<K, D> {
    fn interface(&self) -> u8 {
        self.interface
    }

    fn address(&self) -> u8 {
        self.address
    }

    fn is_away(&self) -> bool {
        matches!(*self.look(), Parked::Away)
    }

    fn close(&self) {
        let mut parked = self.look();
        if matches!(*parked, Parked::Here(_)) {
            *parked = Parked::Closed;
        }
    }

    fn clear_halt(&self) -> Option<Result<(), ::nusb::Error>> {
        match &mut *self.look() {
            Parked::Here(endpoint) => Some(endpoint.clear_halt()),
            Parked::Away | Parked::Closed => None,
        }
    }
}
