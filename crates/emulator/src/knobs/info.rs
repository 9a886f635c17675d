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

/// Time at which a knob that is turned while the modem runs takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// At once, or the next time that the behaviour it describes occurs.
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
    /// Returns the time of the effect as text.
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

/// Description of a knob for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KnobInfo {
    /// Name of the knob, as in `name=value`.
    pub name: &'static str,
    /// Family of the knob: the part of the modem that it concerns.
    pub family: &'static str,
    /// Kind of the knob's values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Unit of the values, if they have one.
    pub unit: Option<&'static str>,
    /// Least and greatest value of a number.
    pub range: Option<(u64, u64)>,
    /// Words of a choice.
    pub choices: &'static [&'static str],
    /// Default of the knob, as it would be written.
    pub default: String,
    /// Description of the behaviour that the knob changes.
    pub about: String,
    /// Firmware, report or specification in which the behaviour was seen, if it was.
    pub seen: Option<&'static str>,
    /// Time at which the knob takes effect if it is turned while the modem runs.
    pub effect: Effect,
}
