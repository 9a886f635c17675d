//! Forms in which several commands print JSON.
//!
//! A thing has one name and one form in all commands: a network is a `plmn` with a `name`, addresses are an
//! `ip`, a strength is `rssi_dbm`, the name of a duration ends with its unit, a network's refusal is a
//! `network_cause`. The names of version 0.1 stand beside them, marked as deprecated in the schemas.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::names::Names;
use uwwan_mbim::services::basic_connect::{DataClass, Provider};
use uwwan_mbim::status::NwError;

use crate::page::trimmed;

/// A network operator.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Operator {
    /// Digits of MCC and MNC.
    pub plmn: String,
    /// Name of the operator.
    pub name: String,
}

impl From<&Provider> for Operator {
    fn from(provider: &Provider) -> Self {
        Self {
            plmn: trimmed(&provider.provider_id).to_owned(),
            name: trimmed(&provider.provider_name).to_owned(),
        }
    }
}

/// A number with its name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Named {
    /// Number.
    pub number: u32,
    /// Name; null for one that this version does not know.
    pub name: Option<&'static str>,
}

/// The outcome of a change that has no other result.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    /// Whether it is done.
    pub done: bool,
}

/// Transfer of bytes that were sent as they are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sent {
    /// Number of the transfer, from 0.
    pub transfer: usize,
    /// Bytes that were sent.
    pub length: usize,
    /// The failure; null for none.
    pub error: Option<String>,
}

/// A control message, as [`Decoded::json`](uwwan_mbim::decode::Decoded::json) returns it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is the schema of what the codec writes")]
pub struct Message {
    /// Name of the type, or its number.
    #[schemars(rename = "type")]
    kind: Option<NameOrNumber>,
    /// Id of the transaction.
    transaction_id: Option<u32>,
    /// Total number of fragments and number of this one, for types that have fragments.
    #[schemars(skip_serializing_if = "Option::is_none")]
    fragment: Option<Fragment>,
    /// Name of the service, or its UUID.
    #[schemars(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Name of the command, or its number.
    #[schemars(skip_serializing_if = "Option::is_none")]
    cid: Option<NameOrNumber>,
    /// Query or set, of a command.
    #[schemars(skip_serializing_if = "Option::is_none")]
    command_type: Option<NameOrNumber>,
    /// Status of an answer.
    #[schemars(skip_serializing_if = "Option::is_none")]
    status: Option<NameOrNumber>,
    /// Content by the names of the standard, in snake case.
    fields: serde_json::Map<String, serde_json::Value>,
    /// Problems found.
    errors: Vec<Fault>,
}

/// A name, or a number that has none.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is the schema of what the codec writes")]
enum NameOrNumber {
    Name(String),
    Number(u32),
}

/// Place of a fragment.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is the schema of what the codec writes")]
struct Fragment {
    /// Number of fragments.
    total: u32,
    /// Number of this one, from 0.
    current: u32,
}

/// A problem in a message.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is the schema of what the codec writes")]
struct Fault {
    /// Bytes from the start of the message.
    offset: usize,
    /// Description of the problem.
    what: String,
}

/// Returns a network's cause (3GPP TS 24.008 and 24.301); `None` for none.
pub fn network_cause(cause: NwError) -> Option<u32> {
    (cause.0 != 0).then_some(cause.0)
}

/// Returns the names of data classes.
pub fn data_classes(classes: DataClass) -> Vec<String> {
    bits(DataClass::NAMES, classes.0)
}

/// Returns the names of the bits that are set. Those without a name follow as one hexadecimal number.
pub fn bits(names: &Names, set: u32) -> Vec<String> {
    let (mut list, rest) = names.bits_of(set.into());
    if rest != 0 {
        list.push(format!("{rest:#x}"));
    }
    list
}
