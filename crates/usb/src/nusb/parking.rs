//! Where a queue leaves its endpoint while no transfer is pending.
//!
//! nusb clears halts through the endpoint, and changes alternate settings only while nobody has
//! it. Both are asked of the device, by any thread. A queue with transfers pending has its endpoint
//! to itself, without a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::nusb::transfer::{BulkOrInterrupt, EndpointDirection};
use ::nusb::{Endpoint, MaybeFuture};

/// One queue's place, whatever the endpoint's type.
pub(super) trait Place: Send + Sync {
    /// The interface the endpoint belongs to.
    fn interface(&self) -> u8;

    /// The endpoint's address.
    fn address(&self) -> u8;

    /// Whether the queue has it, because transfers are pending.
    fn is_away(&self) -> bool;

    /// Closes it if it is here; its queue opens it again with its next transfer.
    fn close(&self);

    /// Clears its halt, if it is here.
    fn clear_halt(&self) -> Option<Result<(), ::nusb::Error>>;
}

/// Where the endpoint is.
pub(super) enum Parked<K: BulkOrInterrupt, D: EndpointDirection> {
    Here(Endpoint<K, D>),
    Away,
    Closed,
}

/// One queue's place.
pub(super) struct Parking<K: BulkOrInterrupt, D: EndpointDirection> {
    interface: u8,
    address: u8,
    parked: Mutex<Parked<K, D>>,
}

impl<K: BulkOrInterrupt, D: EndpointDirection> Parking<K, D> {
    pub(super) fn new(interface: u8, endpoint: Endpoint<K, D>) -> Self {
        Self {
            interface,
            address: endpoint.endpoint_address(),
            parked: Mutex::new(Parked::Here(endpoint)),
        }
    }

    /// What is here; held, nothing can happen to it.
    pub(super) fn look(&self) -> MutexGuard<'_, Parked<K, D>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it to the queue. `Err` when it was closed; the place is taken for away then, too.
    pub(super) fn leave(&self) -> Result<Endpoint<K, D>, Closed> {
        match std::mem::replace(&mut *self.look(), Parked::Away) {
            Parked::Here(endpoint) => Ok(endpoint),
            Parked::Away | Parked::Closed => Err(Closed),
        }
    }

    /// Leaves it here again; `None` when there is none to leave.
    pub(super) fn enter(&self, endpoint: Option<Endpoint<K, D>>) {
        *self.look() = endpoint.map_or(Parked::Closed, Parked::Here);
    }
}

/// There is no open endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl<K: BulkOrInterrupt, D: EndpointDirection> Place for Parking<K, D> {
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
            Parked::Here(endpoint) => Some(endpoint.clear_halt().wait()),
            Parked::Away | Parked::Closed => None,
        }
    }
}
