//! Handle by which other threads give orders to the device's thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::knobs::Knobs;
use crate::presence::Presence;
use crate::upstream::Upstream;
use crate::waker::Waker;
use crate::watched::Watch;

/// Largest number of hosts that wait to be given the device, of which there is only one.
const MAX_HOSTS: usize = 4;

/// Request of the program that owns the emulator to the device's thread.
pub(crate) enum Order {
    /// The device is unplugged.
    Unplug,
    /// The device is plugged in again.
    Plug,
    /// Let the host suspend and resume.
    Suspend,
    /// Let the firmware crash.
    ResetFirmware,
    /// The transfers of remote hosts are reported to an observer.
    Observe(Box<Watch>),
    /// Knobs are turned.
    Adjust(Box<dyn FnOnce(&mut Knobs) + Send>),
    /// The knobs in force are returned.
    Knobs(Sender<Knobs>),
    /// The thread ends.
    Stop,
}

/// End of the other threads. Clones reach the same device.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    orders: Sender<Order>,
    hosts: Sender<Box<dyn Upstream>>,
    waker: Arc<Waker>,
    presence: Arc<Presence>,
}

/// End of the device's thread.
pub(crate) struct Inbox {
    /// Orders in the sequence in which they were given.
    pub orders: Receiver<Order>,
    /// Remote hosts that want the device.
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

    /// Offers the device to a remote host. The host is hung up on when another one has the device,
    /// when too many wait for it, or when the thread has ended.
    pub fn connect(&self, host: Box<dyn Upstream>) {
        if self.hosts.try_send(host).is_ok() {
            self.waker.wake();
        }
    }

    /// Returns the presence of the device, which any thread can watch.
    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }
}
