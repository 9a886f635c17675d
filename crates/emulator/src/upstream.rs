//! Who has the device, when it is not this process: a USB/IP host or a virtual machine.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::urb::{Completed, Token, Urb};
use crate::{usbip, usbredir};

/// A host at the other end of a socket.
pub(crate) enum Upstream {
    /// One that has imported it.
    UsbIp(Box<usbip::Connection>),
    /// One whose controller redirects it.
    Redir(Box<usbredir::Connection>),
}

impl Upstream {
    /// For polling.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::UsbIp(connection) => connection.descriptor(),
            Self::Redir(connection) => connection.descriptor(),
        }
    }

    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        match self {
            Self::UsbIp(connection) => connection.interest(),
            Self::Redir(connection) => connection.interest(),
        }
    }

    /// Reads what the host sent and starts its transfers. `false` when the host is gone or cannot
    /// be understood.
    pub fn receive(&mut self, submit: impl FnMut(Urb)) -> bool {
        match self {
            Self::UsbIp(connection) => connection.receive(submit),
            Self::Redir(connection) => connection.receive(submit),
        }
    }

    /// Whether the host has reset the port; what it sent afterwards has not been read.
    pub fn take_reset(&mut self) -> bool {
        match self {
            // Its virtual controller keeps resets to itself.
            Self::UsbIp(_) => false,
            Self::Redir(connection) => connection.take_reset(),
        }
    }

    /// Takes back what the host wants back; `cancel` tells whether the transfer was pending.
    pub fn revoke(&mut self, mut cancel: impl FnMut(Token) -> bool) {
        match self {
            Self::UsbIp(connection) => {
                while let Some((unlink, token)) = connection.next_unlink() {
                    let found = cancel(token);
                    connection.unlinked(unlink, token, found);
                }
            }
            Self::Redir(connection) => {
                while let Some(token) = connection.next_cancel() {
                    cancel(token);
                }
            }
        }
    }

    /// A transfer to submit that the host has not asked for itself.
    pub fn next_own(&mut self) -> Option<Urb> {
        match self {
            Self::UsbIp(_) => None,
            Self::Redir(connection) => connection.next_own(),
        }
    }

    /// Queues a transfer's answer.
    pub fn complete(&mut self, done: Completed) {
        match self {
            Self::UsbIp(connection) => connection.complete(done),
            Self::Redir(connection) => connection.complete(done),
        }
    }

    /// Writes answers, as many as the socket takes. `false` when the host is gone.
    pub fn flush(&mut self) -> bool {
        match self {
            Self::UsbIp(connection) => connection.flush(),
            Self::Redir(connection) => connection.flush(),
        }
    }
}
