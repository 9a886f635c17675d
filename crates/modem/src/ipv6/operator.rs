//! An operator by its codes, and how they are known.

use schemars::JsonSchema;
use serde::Serialize;

/// An operator, by its codes: no personal data.
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
    /// The user says so.
    Chosen,
    /// MBIM's home provider.
    HomeProvider,
    /// The SIM's file EF-AD.
    SimFile,
    /// The modem's own list has it.
    List,
    /// The habit of the country: a guess.
    Country,
}

/// Whether it can be an operator's code: five or six digits.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (5..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
