//! The description of a knob, for people and programs that show the list of knobs.

use schemars::JsonSchema;
use serde::Serialize;

/// Kind of the values of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `on` or `off`.
    Switch,
    /// A whole number, decimal or, with 0x in front, hexadecimal.
    Number,
    /// One of several words.
    Choice,
    /// Any text.
    Text,
    /// An IP address, or nothing.
    Address,
}

/// When a knob that is turned while the modem runs has its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// At once, or the next time that what it is about happens.
    Now,
    /// From the next MBIM_OPEN on.
    Open,
    /// From the next selection of a configuration, or of alternate setting 0 of the data interface, on.
    Selection,
    /// From the next start of the firmware on: a reset, or a replug.
    Reset,
    /// Only when the modem is switched on: the knob cannot be turned while it runs.
    Start,
}

impl Effect {
    /// Returns the time of the effect in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Now => "at once",
            Self::Open => "from the next MBIM_OPEN on",
            Self::Selection => {
                "from the next selection of a configuration, or of data alternate setting 0, on"
            }
            Self::Reset => "from the next start of the firmware on",
            Self::Start => "when the modem is switched on only",
        }
    }
}

/// A knob as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KnobInfo {
    /// Name of the knob, as in `name=value`.
    pub name: &'static str,
    /// Family of the knob: the part of the modem it is about.
    pub family: &'static str,
    /// Kind of its values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Unit of its values, if they have one.
    pub unit: Option<&'static str>,
    /// The least and the greatest value of a number.
    pub range: Option<(u64, u64)>,
    /// The words of a choice.
    pub choices: &'static [&'static str],
    /// Default of the knob, as it would be written.
    pub default: String,
    /// What the knob does.
    pub about: String,
    /// The firmware, the report or the specification its behaviour was seen in, if it was.
    pub seen: Option<&'static str>,
    /// When the knob has its effect if it is turned while the modem runs.
    pub effect: Effect,
}
