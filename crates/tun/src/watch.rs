//! A watch on the kernel's announcements for changes of an interface, its addresses and routes.
//!
//! A thread of its own waits for announcements; it sleeps while nothing changes. The watch reports
//! only that something has changed, and its owner reads the state back.
//!
//! The system calls are those of netlink.rs, eventfd2, ppoll, read and write.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::error::Error;

/// Groups of announcements: links, and the addresses and routes of both families (RTMGRP_LINK,
/// RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Pause after the first announcement, during which others of the same change arrive.
const SETTLE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
/// Largest process id (PID_MAX_LIMIT). Larger port numbers are chosen by the kernel.
const MOST_PROCESSES: u32 = 1 << 22;

/// A watch on an interface. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    end: Arc<OwnedFd>,
    culprit: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the interface with an index in the network namespace of the calling thread.
    /// `changed` is called on a thread of the watch, at most five times a second, after the
    /// interface, its addresses, a route through it or any default route has changed, even by this
    /// process.
    ///
    /// # Errors
    /// Returns the system's error when there is no netlink socket or no thread to be had.
    pub fn start(index: u32, changed: impl Fn() + Send + 'static) -> Result<Self, Error> {
        let failed = |source| Error::system("watch the network configuration", source);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind(&SocketAddr::new(0, GROUPS)).map_err(failed)?;
        socket.set_non_blocking(true).map_err(failed)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let (end, culprit) = (Arc::new(end), Arc::new(AtomicU32::new(0)));
        let watching = Watching {
            socket,
            index,
            end: Arc::clone(&end),
            culprit: Arc::clone(&culprit),
        };
        let thread = std::thread::Builder::new()
            .name("uwwan-watch".into())
            .stack_size(128 * 1024)
            .spawn(move || watching.run(&changed))
            .map_err(failed)?;
        Ok(Self {
            end,
            culprit,
            thread: Some(thread),
        })
    }

    /// Returns the process that made the last change of the interface since the last call, as
    /// `process 42 (ip)`. It is derived from the port of the process's netlink socket, which the
    /// kernel passes on and which for most programs is the process id. Changes that the kernel
    /// makes by itself have no process.
    #[must_use]
    pub fn take_culprit(&self) -> Option<String> {
        let process = self.culprit.swap(0, Ordering::Relaxed);
        if process == 0 {
            return None;
        }
        let command = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        let command: String = command.trim().chars().filter(|c| !c.is_control()).collect();
        Some(match command.as_str() {
            "" => format!("process {process}, which has ended"),
            command => format!("process {process} ({command})"),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An eventfd takes this write unless its count is about to overflow.
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// State of the thread of a watch.
struct Watching {
    socket: Socket,
    index: u32,
    end: Arc<OwnedFd>,
    culprit: Arc<AtomicU32>,
}

impl Watching {
    fn run(self, changed: &dyn Fn()) {
        loop {
            let mut set = [
                PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
            ];
            match poll(&mut set, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!("the network configuration is watched no longer: {error}");
                    return;
                }
            }
            if !set[0].revents().is_empty() {
                return;
            }
            if !self.read() {
                continue;
            }
            let mut end = [PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN)];
            if matches!(poll(&mut end, Some(&SETTLE)), Ok(1..)) {
                return;
            }
            self.read();
            changed();
        }
    }

    /// Reads the announcements. Returns whether something of the interface may have changed.
    fn read(&self) -> bool {
        let mut concerns = false;
        loop {
            let bytes = match self.socket.recv_from_full() {
                Ok((bytes, _)) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return concerns,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // With ENOBUFS, announcements were dropped, and it is unknown which.
                Err(error) => {
                    tracing::debug!("reading the kernel's announcements: {error}");
                    // Another error would occur again at once.
                    std::thread::sleep(Duration::from_millis(10));
                    return true;
                }
            };
            let mut rest = bytes.as_slice();
            while rest.len() >= 16 {
                let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else {
                    // An announcement that cannot be parsed may concern the interface.
                    concerns = true;
                    break;
                };
                let step = (message.header.length as usize).max(16).next_multiple_of(4);
                rest = rest.get(step..).unwrap_or(&[]);
                if let NetlinkPayload::InnerMessage(content) = &message.payload
                    && self.concerns(content)
                {
                    concerns = true;
                    let port = message.header.port_number;
                    if port != 0 && port <= MOST_PROCESSES && port != std::process::id() {
                        self.culprit.store(port, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    fn concerns(&self, message: &RouteNetlinkMessage) -> bool {
        let through = |route: &RouteMessage| {
            let mut interfaces = route.attributes.iter();
            route.header.destination_prefix_length == 0
                || interfaces.any(|attribute| *attribute == RouteAttribute::Oif(self.index))
        };
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                link.header.index == self.index
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                address.header.index == self.index
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                through(route)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that made one change is not reported again for the next one.
    #[test]
    fn a_culprit_is_told_once() {
        let own = std::process::id();
        let watch = Watch {
            end: Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap()),
            culprit: Arc::new(AtomicU32::new(own)),
            thread: None,
        };
        let told = watch.take_culprit().unwrap();
        assert!(told.starts_with(&format!("process {own} (")), "{told}");
        assert_eq!(watch.take_culprit(), None);
    }
}
