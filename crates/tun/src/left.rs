//! What a process that is killed leaves on the host, noted while it is there, so that another process
//! can take it back.
//!
//! An interface that was there before keeps the addresses and routes that it was given, and a resolver
//! keeps name servers. [`Note`] tells its keeper each change before it is made; the keeper writes it
//! where the next process finds it. [`Left::take_back`] removes what is named there and nothing else.
//! A note may be forged, so it names no program and no file.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::plan::{Address, Route};

/// Changes of the host that stay when their process is killed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Changes of an interface that was there before.
    pub interface: Option<LeftInterface>,
    /// Name servers that a resolver was given.
    pub name_servers: Option<LeftServers>,
}

/// Changes of an interface that was there before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftInterface {
    /// Index of the interface, which stays when it gets another name.
    pub index: u32,
    /// Addresses that were added.
    pub addresses: Vec<Address>,
    /// Routes that were added.
    pub routes: Vec<Route>,
    /// State of the interface before.
    pub before: Before,
}

/// State of an interface before it was configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Whether it was up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Number of packets that the kernel queued before it.
    pub tx_queue_length: Option<u32>,
    /// Number of the way in which the kernel made IPv6 addresses (`IN6_ADDR_GEN_MODE_*` in
    /// linux/if_link.h).
    pub gen_mode: Option<u8>,
    /// Names and values of IPv6 settings.
    pub settings: Vec<(String, String)>,
}

/// Name servers that a resolver was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftServers {
    /// systemd-resolved has those of the interface with this index.
    Resolved {
        /// Index of the interface.
        index: u32,
    },
    /// `resolvconf` has a record, or resolv.conf has them.
    Resolvconf {
        /// Name of the interface.
        interface: String,
        /// The name servers.
        servers: Vec<IpAddr>,
    },
}

impl Left {
    /// Returns whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether taking it back may run a program.
    #[must_use]
    pub fn needs_program(&self) -> bool {
        matches!(self.name_servers, Some(LeftServers::Resolvconf { .. }))
    }
}

/// Function that keeps what would be left at present.
type Keep = Box<dyn FnMut(&Left) + Send>;

/// Notes what would be left, for one interface. Clones note the same.
#[derive(Clone, Default)]
pub struct Note(Option<Arc<Mutex<(Left, Keep)>>>);

impl Note {
    /// Makes a note that `keep` keeps. It is called before each change.
    #[must_use]
    pub fn kept_by(keep: impl FnMut(&Left) + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new((
            Left::default(),
            Box::new(keep),
        )))))
    }

    /// Makes a note that nobody keeps.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Notes changes of an interface in place of those noted before.
    pub(crate) fn interface(&self, interface: LeftInterface) {
        self.change(|left| left.interface = Some(interface));
    }

    /// Notes name servers in place of those noted before.
    pub fn name_servers(&self, servers: Option<LeftServers>) {
        self.change(|left| left.name_servers = servers);
    }

    fn change(&self, change: impl FnOnce(&mut Left)) {
        let Some(note) = &self.0 else { return };
        let mut note = note.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, keep) = &mut *note;
        let before = left.clone();
        change(left);
        if *left != before {
            keep(left);
        }
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Note")
    }
}
