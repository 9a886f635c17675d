//! The options that decide who may use the control session while `up` runs.

use serde::Deserialize;

/// Entrances to the control session that `up` opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entrances {
    /// All entrances: the public socket and those in the runtime directory.
    #[default]
    On,
    /// The entrances in the runtime directory alone.
    Private,
    /// No entrance.
    Off,
}

impl Entrances {
    /// All values, each with the word for it on the command line.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("on", Self::On),
        ("private", Self::Private),
        ("off", Self::Off),
    ];
}

/// Protection of the data sessions and settings that `up` holds from its clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// Commands of clients that would end what `up` holds are refused.
    #[default]
    On,
    /// Clients may send every command.
    Off,
}

impl Guard {
    /// All values, each with the word for it on the command line.
    pub const VALUES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}
