//! The host end: TUN and TAP interfaces with their addresses, routes and DNS.
//!
//! - [`device`] is the interface itself, whose calls move one packet directly from or into the
//!   caller's buffer.
//! - [`offload`] is an interface with segmentation offload, whose calls move many datagrams.
//!   [`flows`] keeps the flows of an interface with one queue apart.
//!   [`scatter`] reads the kernel's packets so that every payload lands in place, [`segment`] makes
//!   datagrams of them, and [`coalesce`] makes large packets of runs of datagrams for the kernel.
//! - [`plan`] says what an interface should have. [`addresses`] applies the plan over netlink,
//!   changes only the difference when the plan changes, and removes everything again when dropped.
//!   [`Watch`] reports changes that the kernel announces, so that what others removed can be added
//!   again.
//! - [`left`] notes what a process that is killed leaves on the host, so that another takes it back.
//! - [`dns`] shows name servers or sets them.
//! - [`program`] runs programs to their end, within a time.
//! - [`namespace`] makes a private network namespace, so that none of this needs root, [`resolver`]
//!   gives the programs in one name servers of their own, and [`veth`] connects two of them by a
//!   virtual cable, for comparisons.
//!
//! Every call is synchronous and touches only the interface it is given. Errors say what was tried,
//! why it failed and what to do about it.
//!
//! ```no_run
//! # use uwwan_tun::{Address, Configuration, Plan, Tun, plan::Through};
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let tun = Tun::open(None)?;
//! let addresses = vec![Address::new("10.169.198.77".parse::<std::net::IpAddr>()?, 30)];
//! let gateways = ["10.169.198.78".parse()?];
//! let plan = Plan::for_modem(addresses, &gateways, &Through::Everything, None, 1500);
//! let configuration = Configuration::apply(plan, &tun)?;
//! let mut packet = [0; 1500];
//! let length = tun.receive(&mut packet)?;
//! # Ok(()) }
//! ```
#![deny(unsafe_code)]

mod ack_filter;
pub mod addresses;
pub mod checksum;
pub mod coalesce;
pub mod device;
pub mod dns;
mod error;
mod ffi;
pub mod flows;
pub mod handed;
pub mod headers;
pub mod left;
pub mod namespace;
mod netlink;
mod observed;
pub mod offload;
pub mod plan;
pub mod program;
mod queues;
mod resolved;
pub mod resolver;
pub mod rules;
pub mod scatter;
pub mod segment;
mod sysctl;
mod take_back;
pub mod veth;
mod waiting;
mod watch;

pub use addresses::Configuration;
pub use device::{Interface, Tap, Tun};
pub use error::{Error, ErrorKind};
pub use observed::{Observed, observe};
pub use offload::{Offload, Offloads};
pub use plan::{Address, Change, Plan, Prefix, Route};
pub use waiting::NoWait;
pub use watch::Watch;
