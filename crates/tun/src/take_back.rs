//! The taking back of what a process that was killed has left on the host.

use crate::addresses::Configuration;
use crate::device::check_name;
use crate::dns::{self, Paths};
use crate::error::{Error, ErrorKind};
use crate::left::{Left, LeftServers};

impl Left {
    /// Takes all of it back that is still there. `paths` are those of the resolver's program and file.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when another process has the interface now, which is left as it is then;
    /// [`ErrorKind::Invalid`] for a name that no interface has; those of netlink and of the resolver.
    pub fn take_back(self, paths: &Paths) -> Result<(), Error> {
        let servers = match self.name_servers {
            Some(LeftServers::Resolved { index }) => dns::forget_link(index),
            Some(LeftServers::Resolvconf { interface, servers }) => check_name(&interface)
                .and_then(|()| dns::forget_record(&interface, &servers, paths)),
            None => Ok(()),
        };
        let interface = self.interface.map_or(Ok(()), Configuration::take_back);
        match interface {
            // Nothing is left on an interface that is gone.
            Err(error) if error.kind == ErrorKind::Gone => servers,
            result => result.and(servers),
        }
    }
}
