//! An operator by its code, and the source of that code.

use schemars::JsonSchema;
use serde::Serialize;

/// An operator by its code, which is no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Operator {
    /// Country and network code: five or six digits.
    pub code: String,
    /// The source of the length of the network code.
    pub source: Source,
}

/// The source of the length of a network code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The user has given the code.
    Chosen,
    /// The modem reports it as MBIM's home provider.
    HomeProvider,
    /// The SIM's file EF-AD holds it.
    SimFile,
    /// The modem's own list of profiles has the code.
    List,
    /// The usual length in the country was taken, which is a guess.
    Country,
}

/// Returns whether text can be an operator's code: five or six digits.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (5..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
