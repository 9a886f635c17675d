//! Host ends that are datagram sockets: the driver has one side of a pair, the test the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard};

use uwwan_modem::host::Single;
use uwwan_modem::status::Interface;
use uwwan_modem::{Failure, HostConfig, HostControl, HostData, HostEnd, HostProvider};

/// Provider that makes a socket pair for each host end. Clones share the record of what was made.
#[derive(Clone, Default)]
pub struct Sockets(Arc<Mutex<Told>>);

/// Record of what the host ends were told, with the test's sides of their sockets.
#[derive(Default)]
pub struct Told {
    /// Configurations in order, including the first one of each end.
    pub configs: Vec<HostConfig>,
    /// Changes of the carrier in order.
    pub carriers: Vec<bool>,
    /// The test's side of each host end, with the interface name that was asked for.
    pub theirs: Vec<(Option<String>, Arc<UnixDatagram>)>,
}

impl Sockets {
    /// Locks the record.
    ///
    /// # Panics
    /// Panics when a test has panicked while it held the lock.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// Returns the test's side of the host end that was made last.
    ///
    /// # Panics
    /// Panics when none was made.
    #[must_use]
    pub fn last(&self) -> Arc<UnixDatagram> {
        let told = self.told();
        Arc::clone(&told.theirs.last().expect("a host's end").1)
    }

    /// Returns the test's side of the host end that was made last with this interface name.
    ///
    /// # Panics
    /// Panics when none was made.
    #[must_use]
    pub fn named(&self, name: &str) -> Arc<UnixDatagram> {
        let told = self.told();
        let mut made = told.theirs.iter().rev();
        let found = made.find(|(made, _)| made.as_deref() == Some(name));
        Arc::clone(&found.expect("a host's end of this name").1)
    }
}

impl HostProvider for Sockets {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut told = self.told();
        told.configs.push(config.clone());
        told.theirs.push((config.name.clone(), Arc::new(theirs)));
        Ok(HostEnd {
            control: Box::new(Control {
                name: config.name.clone().unwrap_or_else(|| "socket".into()),
                told: self.clone(),
            }),
            data: HostData::Single(Box::new(Data(ours))),
        })
    }
}

struct Control {
    name: String,
    told: Sockets,
}

impl HostControl for Control {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        self.told.told().configs.push(config.clone());
        Ok(())
    }

    fn set_carrier(&mut self, up: bool) {
        self.told.told().carriers.push(up);
    }

    fn interface(&self) -> Interface {
        Interface {
            name: self.name.clone(),
            mode: "a socket".into(),
            ..Interface::default()
        }
    }
}

struct Data(UnixDatagram);

impl AsFd for Data {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Single for Data {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)
    }
}
