//! The host interface: the end of the data path that datagrams of the host come from and go to.
//!
//! The driver asks a [`HostProvider`] for a [`HostEnd`] when the first addresses are known and
//! keeps it over losses of the modem, so that flows survive a modem reset. It has two separate
//! halves:
//!
//! * [`HostControl`] configures the host and is used by the control thread, which tells it when
//!   the addresses change. Dropping it undoes what it did to the host.
//! * [`HostData`] moves packets. It goes from one data path to the next, and the thread that moves
//!   the packets has it to itself.

mod control;
mod data;
mod fair;
mod handed;
mod plan;
mod provider;
mod tap;
mod tun;
mod upkeep;
mod userspace;

pub(crate) use control::HeldHost;
pub use control::{HostControl, HostEnd, HostNews, HostProvider};
pub(crate) use data::{DataSlot, TakenData};
pub use data::{HostData, Large, Single};
pub use handed::{Carries, HostInterface, InterfaceKind};
pub use plan::{Ethernet, HostConfig};
pub use provider::TunProvider;
pub use tap::about as about_tap;
pub use tun::HostTun;
pub use userspace::Userspace;
