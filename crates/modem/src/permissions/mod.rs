//! The permissions of local programs with a running modem: one table, which every service consults.
//!
//! A program is one of four [`Caller`]s, by the credentials of its connection. Its request is an
//! MBIM command, an AT command or an [`Order`] to the running `up`. The table has a row for each of
//! them with a [`Rule`] for each caller; the README of this crate shows it. A command without a row
//! is for the owner alone.
//!
//! - `rule`: callers, rules and orders. `table`: the rows. `mbim`, `at`: which row applies to a command, and
//!   what it decides.
//!
//! Sending control messages and NTBs as they are is an order that the owner alone may give. USB
//! transfers on a device that a running `up` owns are offered to nobody.

mod at;
mod mbim;
mod rule;
mod table;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use at::names as at_names;
pub(crate) use at::{judge as judge_at, spoils};
pub(crate) use mbim::{judge as judge_mbim, patience, redacted, told, version_answer};
pub use rule::Caller;
pub(crate) use rule::Order;

use rule::Rule;

/// Decision on a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The command goes to the modem.
    Allow,
    /// The command may go to the modem if it cannot cost the last attempt of PIN or PUK; the text
    /// says what it would do.
    UnlessLastAttempt(&'static str),
    /// The command is refused; the text says what it would do.
    Refuse(&'static str),
}

/// What judgements on commands rest on beside the caller, at one time. Commands are judged where they
/// come in and sent by the control thread, which changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Basis {
    /// MBIM session ids of the sessions that `up` holds, those of programs that have joined included.
    pub(crate) held: Vec<u32>,
    /// Number of changes that may have made a command forbidden: of sessions that have begun to be held,
    /// and of PINs that the driver has sent.
    pub(crate) age: u64,
}

/// Program that asks, and the state on which the rules depend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerState<'a> {
    /// Caller that the program is.
    pub(crate) caller: Caller,
    /// Whether the owner forces its commands. The flag has no effect for other callers.
    pub(crate) forced: bool,
    /// MBIM session ids of the sessions that `up` holds.
    pub(crate) held: &'a [u32],
}

impl CallerState<'_> {
    fn decide(&self, rules: table::Rules, ends_held: bool, effect: &'static str) -> Decision {
        let forced = self.forced && self.caller == Caller::Owner;
        match rules[self.caller as usize] {
            Rule::Free => Decision::Allow,
            Rule::UnlessHeld if forced || !ends_held || self.held.is_empty() => Decision::Allow,
            Rule::WithForce if forced => Decision::Allow,
            Rule::UnlessHeld | Rule::WithForce | Rule::Never => Decision::Refuse(effect),
        }
    }
}

/// Returns whether a caller may give an order.
pub(crate) fn may_order(caller: Caller, order: Order) -> bool {
    let row = table::ORDERS.iter().find(|(of, _)| *of == order);
    let rules = row.map_or(table::UNLISTED, |(_, rules)| *rules);
    rules[caller as usize] == Rule::Free
}
