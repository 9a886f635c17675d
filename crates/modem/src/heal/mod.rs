//! Healing of the framing: the steps that are taken when a device of which nothing is known takes
//! every NTB and nothing comes back.
//!
//! Some firmware takes NTBs on USB and carries their datagrams only when the NDP stands at the right
//! place, when an NTB that fills its last packet ends as it expects, or in one of the two formats. The
//! driver finds out the right layout by trying others, with probes to the gateways and the name
//! servers:
//!
//! ```text
//! doubt: the watch tells of silence → probes in the present layout, 2 s
//!   something comes back → nothing is done
//!   nothing → noticed → the other NDP place, 3.5 s
//!                     → the other paddings, 2.5 s each, with NTBs that fill their last packet
//!                     → the other format with each NDP place, 3.5 s each, in a new session
//!                     → the first layout again: nothing is concluded, since a network may answer no probe
//! ```
//!
//! A layout that brings an answer is checked once more against the first one: if the first is answered as well, the
//! network was away for a while and nothing is wrong with the layout. The check of the other format takes two more
//! sessions; where they would not be up within 30 s of the notice, it is left out. Each probe has an identity, so that
//! a late answer shows which layout has carried it. Packets of the host go out in the layout that is tried, and an
//! answer to them counts, too.
//!
//! A link on which anything has come back since the modem was found has the right NDP place and format.
//! If it falls silent after an NTB whose end depends on the padding, the paddings alone are tried. The
//! padding `full` differs from `short` in long NTBs only, so such an NTB is sent then.
//!
//! Plain network devices are healed as modems are. Their host gets its addresses from elsewhere, so the
//! probes look for a DHCP server and resolve the gateway that the user has named. Silence that is not
//! healed is not reported with them, because the link may have no other station.
//!
//! The layout belongs to the device and not to a session. Session 0, which every modem has,
//! decides.
//!
//! Layouts that were all tried in vain are tried again an hour later at the earliest, in a session
//! that is silent from its beginning: each attempt takes new sessions.
//!
//! The layout that worked is [kept](memory) by vendor, product and firmware, and used at once the
//! next time.

mod machine;
pub mod memory;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::layout::Layout;

pub(crate) use machine::{Fills, Healer, Scope, Step};

/// Step of the healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealStep {
    /// A layout that worked on an earlier run is used.
    Remembered,
    /// The device takes NTBs, and nothing comes back.
    Noticed,
    /// A layout is tried.
    Try,
    /// Packets come back in a layout, which is used from here on.
    Healed,
    /// Packets come back in the first layout after all.
    Recovered,
    /// Nothing comes back in any layout. The first is used again.
    PutBack,
}

/// Step of the healing with the layout it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealEvent {
    /// Step of the healing.
    pub step: HealStep,
    /// Layout in use after the step.
    pub layout: Layout,
    /// Text for people.
    pub text: String,
}
