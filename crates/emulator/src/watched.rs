//! A host whose transfers are reported to an observer.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use uwwan_usb::descriptors::{Descriptors, TransferKind};
use uwwan_usb::device::{Identity, Setup};
use uwwan_usb::observed::{Moment, Observer, Opened, Seen};

use crate::upstream::{HostGone, Request, Upstream};
use crate::urb::{Completed, Token, UrbStatus};

/// Observer, and the device that it observes.
#[derive(Clone)]
pub(crate) struct Watch {
    pub observer: Arc<dyn Observer>,
    pub identity: Identity,
    pub descriptors: Descriptors,
}

impl Watch {
    /// Returns the kind of an endpoint's transfers.
    fn kind(&self, endpoint: u8) -> TransferKind {
        if endpoint & 0x0f == 0 {
            return TransferKind::Control;
        }
        let configurations = self.descriptors.configurations.iter();
        configurations
            .flat_map(|configuration| &configuration.interfaces)
            .flat_map(|interface| &interface.alternates)
            .flat_map(|alternate| &alternate.endpoints)
            .find(|described| described.address == endpoint)
            .map_or(TransferKind::Bulk, |described| described.kind)
    }

    fn tell(&self, seen: Seen<'_>) {
        if self.observer.is_active() || seen.kind == TransferKind::Control {
            self.observer.transfer(&seen);
        }
    }

    fn seen(&self, token: Token, endpoint: u8) -> Seen<'static> {
        Seen {
            bus: self.identity.bus,
            address: self.identity.address,
            id: token,
            moment: Moment::Submitted,
            kind: self.kind(endpoint),
            endpoint,
            setup: None,
            length: 0,
            data: &[],
        }
    }
}

/// A remote host whose transfers are observed.
pub(crate) struct Watched {
    host: Box<dyn Upstream>,
    watch: Watch,
}

impl Watched {
    /// Puts an observer in front of `host`, which has just got the unconfigured device.
    pub fn new(host: Box<dyn Upstream>, watch: Watch) -> Self {
        watch.observer.opened(&Opened {
            identity: &watch.identity,
            descriptors: &watch.descriptors,
            active_configuration: 0,
        });
        Self { host, watch }
    }
}

impl Upstream for Watched {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.host.descriptor()
    }

    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone> {
        let before = requests.len();
        let received = self.host.receive(requests);
        for request in &requests[before..] {
            let Request::Submit(urb) = request else {
                continue;
            };
            let seen = self.watch.seen(urb.token, urb.endpoint);
            let sent = if urb.is_in() {
                &[][..]
            } else {
                urb.buffer.filled()
            };
            let setup = Setup {
                request_type: urb.setup.request_type,
                request: urb.setup.request,
                value: urb.setup.value,
                index: urb.setup.index,
            };
            let is_control = seen.kind == TransferKind::Control;
            self.watch.tell(Seen {
                setup: is_control.then(|| setup.bytes(urb.setup.length.into())),
                length: if urb.is_in() { urb.wanted } else { sent.len() },
                data: sent,
                ..seen
            });
        }
        received
    }

    fn has_more(&self) -> bool {
        self.host.has_more()
    }

    fn cancelled(&mut self, token: Token, pending: bool) {
        self.host.cancelled(token, pending);
    }

    fn complete(&mut self, completed: Completed) {
        let seen = self.watch.seen(completed.token, completed.endpoint);
        let came = if completed.endpoint & 0x80 != 0 {
            completed.buffer.filled()
        } else {
            &[][..]
        };
        self.watch.tell(Seen {
            moment: Moment::Completed(errno(completed.status)),
            length: completed.actual,
            data: came,
            ..seen
        });
        self.host.complete(completed);
    }

    fn flush(&mut self) -> Result<(), HostGone> {
        self.host.flush()
    }

    fn presence_changed(&mut self) {
        self.host.presence_changed();
    }
}

/// Returns the end of a transfer as usbmon shows it: 0 or a negative `errno` of Linux.
fn errno(status: UrbStatus) -> i32 {
    use rustix::io::Errno;
    let error = match status {
        UrbStatus::Done => return 0,
        UrbStatus::Stall => Errno::PIPE,
        UrbStatus::Overflow => Errno::OVERFLOW,
        UrbStatus::Cancelled => Errno::NOENT,
        UrbStatus::Gone => Errno::SHUTDOWN,
        UrbStatus::Fault => Errno::PROTO,
    };
    -error.raw_os_error()
}
