//! The terms of the table: callers, rules and orders.

/// Kind of user who gives a command. The order is that of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Any user of the machine.
    Everyone,
    /// User who is served at the control session beside root and the owner.
    Guest,
    /// User who may use the modem as the owner does, without ending it.
    Operator,
    /// Root, or the user who started this process.
    Owner,
}

/// Rule of the table for one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The command is allowed.
    Free,
    /// The command is refused while it would end a held session. The owner may force it.
    UnlessHeld,
    /// The command is refused unless the owner forces it.
    WithForce,
    /// The command is refused.
    Never,
}

/// Order to a running `up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Read the status.
    Look,
    /// Count the commands that follow as forced.
    Force,
    /// Record all transfers on the bus, with PINs and payload.
    Capture,
    /// Change knobs of the emulated modem.
    Emulate,
    /// Send bytes as they are, past all rules on messages and NTBs, and receive the transfers that
    /// follow.
    Raw,
    /// Ask a question to the network behind the modem.
    Ask,
    /// Have a data session beside those of the running `up`, for an interface of one's own.
    Join,
    /// Stop cleanly.
    Stop,
}
