//! The host end: TUN interfaces with their addresses, routes and DNS.
//!
//! * [`device`]: the interface itself, one packet a call straight from or into the caller's
//!   buffer.
//! * [`plan`] says what an interface should have, [`addresses`] makes it so over netlink, changes
//!   only the difference when the plan changes, and takes everything away again when dropped.
//! * [`dns`]: name servers, shown or set.
//! * [`namespace`]: a private network namespace, so that none of this needs root.
//!
//! Everything is synchronous and touches nothing but the interface it is given. Errors say what
//! was tried, why it failed and what to do about it.
#![deny(unsafe_code)]

pub mod addresses;
pub mod device;
pub mod dns;
mod error;
mod ffi;
pub mod namespace;
mod netlink;
pub mod plan;
mod sysctl;

pub use addresses::{Configuration, Observed, observe};
pub use device::Tun;
pub use error::{Error, ErrorKind};
pub use plan::{Address, Plan, Prefix, Route};
