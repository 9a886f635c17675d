//! Diagnoses: what is wrong with a modem that runs, as events and the status tell it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Diagnosis of what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// Kind of what is wrong, for programs.
    #[serde(rename = "diagnosis")]
    pub kind: DiagnosisKind,
    /// Text for people.
    pub text: String,
}

impl Diagnosis {
    /// Makes a diagnosis.
    pub fn new(kind: DiagnosisKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

/// Kind of what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiagnosisKind {
    /// Datagrams are sent and nothing comes back.
    NothingComesBack,
    /// The device sends NTBs of the format that was not chosen.
    OtherNtbFormat,
    /// The healing of the layout of NTBs has found none that works, and has put the first one back.
    NotHealed,
    /// Something could not be set up on the host, or was taken away and is left so.
    Host,
    /// A hook has failed.
    Hook,
    /// As much data is used as the quota allows.
    Quota,
}
