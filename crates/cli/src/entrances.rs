//! Who may use the control session while `up` runs, as chosen.

use serde::Deserialize;

/// Which entrances there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entrances {
    /// All.
    #[default]
    On,
    /// Those in the runtime directory alone.
    Private,
    /// None.
    Off,
}

impl Entrances {
    /// Every value with its word.
    pub const VALUES: &'static [(&'static str, Self)] = &[
        ("on", Self::On),
        ("private", Self::Private),
        ("off", Self::Off),
    ];
}

/// Whether clients are kept from what `up` holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// They are.
    #[default]
    On,
    /// They may do everything.
    Off,
}

impl Guard {
    /// Every value with its word.
    pub const VALUES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}
