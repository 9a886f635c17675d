//! Interfaces in another network namespace than the driver's. A process there opens and configures
//! them for a driver that stays in the namespace of the device.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use uwwan_modem::host::HostConfig;

use super::channel::Channel;
use super::check::refused;
use super::driver::{Monitor, Provider};
use super::ends::Ends;
use super::reply::{self, Answer, Reply};
use super::request::Request;
use crate::failure::{Failure, FailureKind};

/// The interfaces of a driver's data sessions, in the namespace of the process that serves them.
pub struct Interfaces {
    channel: Channel,
    ends: Ends,
}

/// Returns the two ends of the connection between a driver and the process that will have its
/// interfaces: the end of that process, and the driver's. `sessions` are the configurations planned at
/// the start, one for each data session.
///
/// # Errors
/// [`FailureKind::Host`] when the system refuses a socket.
pub fn interfaces(sessions: Vec<HostConfig>) -> Result<(Interfaces, Provider), Failure> {
    let (ours, theirs) = Channel::pair().map_err(|error| {
        Failure::new(FailureKind::Host, "cannot reach another process").because(error)
    })?;
    let monitor = Monitor::new(theirs, sessions.clone(), rustix::process::getpid());
    let interfaces = Interfaces {
        channel: ours,
        ends: Ends::new(sessions, Arc::default(), None),
    };
    Ok((interfaces, Provider(monitor)))
}

impl Interfaces {
    /// Opens and configures interfaces in this process's network namespace until the driver has ended,
    /// then closes them. `name_servers` is called with the network's name servers whenever an
    /// interface has changed.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn serve(self, name_servers: &mut dyn FnMut(&[IpAddr])) -> io::Result<()> {
        let mut server = Server {
            ends: self.ends,
            name_servers,
        };
        reply::until_ended(&self.channel, &mut server)
    }
}

struct Server<'a> {
    ends: Ends,
    name_servers: &'a mut dyn FnMut(&[IpAddr]),
}

impl Answer for Server<'_> {
    fn answer(&mut self, request: Request) -> Result<Reply, Failure> {
        let reply = self.ends.answer(&request);
        let reply = reply.unwrap_or_else(|| Err(refused("it is not about an interface")))?;
        if !matches!(request, Request::Attend { .. } | Request::Carrier { .. }) {
            (self.name_servers)(&self.ends.name_servers());
        }
        Ok(reply)
    }

    fn with_descriptors(
        &mut self,
        reply: &Reply,
        send: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<()>,
    ) -> io::Result<()> {
        let sent = self.ends.with_descriptors(reply, send);
        sent.unwrap_or_else(|| send(&[]))
    }

    fn undo(&mut self, reply: &Reply) {
        self.ends.undo(reply);
    }
}
