//! Handle by which other threads reach the device's thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::knobs::Knobs;
use crate::presence::Presence;
use crate::upstream::Upstream;
use crate::waker::Waker;
use crate::watched::Watch;

/// Hosts that may wait to be given the device; there is one device to give.
const MAX_HOSTS: usize = 4;

/// Request of the program that owns the emulator to the device's thread.
pub(crate) enum Order {
    /// Pull the plug.
    Unplug,
    /// Plug the device in again.
    Plug,
    /// Let the host suspend and resume.
    Suspend,
    /// Let the firmware crash.
    ResetFirmware,
    /// Tell of the transfers of hosts elsewhere.
    Observe(Box<Watch>),
    /// Turn knobs.
    Adjust(Box<dyn FnOnce(&mut Knobs) + Send>),
    /// Tell the knobs as they stand.
    Knobs(Sender<Knobs>),
    /// End the thread.
    Stop,
}

/// The other threads' end. Clones reach the same device.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    orders: Sender<Order>,
    hosts: Sender<Box<dyn Upstream>>,
    waker: Arc<Waker>,
    presence: Arc<Presence>,
}

/// The device's thread's end.
pub(crate) struct Inbox {
    /// Orders in the sequence they were given.
    pub orders: Receiver<Order>,
    /// Hosts elsewhere that want the device.
    pub hosts: Receiver<Box<dyn Upstream>>,
}

/// Makes both ends.
pub(crate) fn pair(waker: Arc<Waker>, presence: Arc<Presence>) -> (Handle, Inbox) {
    let (orders, taken_orders) = crossbeam_channel::unbounded();
    let (hosts, taken_hosts) = crossbeam_channel::bounded(MAX_HOSTS);
    let handle = Handle {
        orders,
        hosts,
        waker,
        presence,
    };
    let inbox = Inbox {
        orders: taken_orders,
        hosts: taken_hosts,
    };
    (handle, inbox)
}

impl Handle {
    /// Gives an order. Nothing happens when the thread has ended.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.waker.wake();
        }
    }

    /// Offers the device to a host elsewhere. The host is hung up on when another one has the
    /// device, when too many wait for it, or when the thread has ended.
    pub fn connect(&self, host: Box<dyn Upstream>) {
        if self.hosts.try_send(host).is_ok() {
            self.waker.wake();
        }
    }

    /// Returns where the device's presence can be watched.
    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }
}
