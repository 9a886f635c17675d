//! `uwwan contexts` lists the access points with which the modem or the SIM is provisioned.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::basic_connect::{
    AuthProtocol, PROVISIONED_CONTEXTS, ProvisionedContextElement, ProvisionedContexts,
    context_type_name,
};
use uwwan_mbim::uuid::Uuid;

use crate::failure::Failure;
use crate::output::say_json;
use crate::page::{Page, personal};
use crate::reach::Reach;

/// Arguments of `contexts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan contexts                      number, purpose and access point name of each
  uwwan contexts --json | jq '.[].apn'
  uwwan contexts --show-personal      user names too; passwords are never shown

What uwwan connect without --apn uses is the operator's or the modem's choice among these.")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Show user names
    #[arg(long)]
    show_personal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists the provisioned contexts.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses the query.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let contexts: ProvisionedContexts = modem.query(PROVISIONED_CONTEXTS)?;
    modem.close()?;
    let show = arguments.show_personal;
    if arguments.json {
        let list: Vec<Shown> = contexts
            .provisioned_contexts
            .iter()
            .map(|context| Shown::of(context, show))
            .collect();
        return say_json(&list);
    }
    let mut page = Page::default();
    for context in &contexts.provisioned_contexts {
        page.row(&context.context_id.to_string(), words(context, show));
    }
    if page.is_empty() {
        page.line("none is provisioned");
    }
    page.print()
}

/// Returns the name of a context type, or its UUID when it has none.
pub fn purpose(context_type: Uuid) -> String {
    context_type_name(context_type).map_or_else(|| context_type.to_string(), str::to_owned)
}

fn words(context: &ProvisionedContextElement, show: bool) -> String {
    let mut words = purpose(context.context_type);
    if context.access_string.is_empty() {
        words.push_str(", no access point name");
    } else {
        words.push_str(&format!(", APN {}", context.access_string));
    }
    if context.auth_protocol != AuthProtocol::NONE {
        words.push_str(&format!(", {}", context.auth_protocol));
    }
    if !context.user_name.is_empty() {
        words.push_str(&format!(", user {}", personal(&context.user_name, show)));
    }
    words
}

/// An access point, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Number of the entry.
    id: u32,
    /// Purpose of the access point.
    purpose: String,
    /// Access point name.
    apn: String,
    /// Protocol by which the network asks for name and password.
    auth: String,
    /// Name of the user, hidden unless it is asked for.
    user: String,
    /// Compression of data and headers.
    compression: String,
}

impl Shown {
    fn of(context: &ProvisionedContextElement, show: bool) -> Self {
        Self {
            id: context.context_id,
            purpose: purpose(context.context_type),
            apn: context.access_string.clone(),
            auth: context.auth_protocol.to_string(),
            user: personal(&context.user_name, show),
            compression: context.compression.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let context = ProvisionedContextElement {
            context_id: 3,
            access_string: "internet".into(),
            user_name: "me".into(),
            password: "swordfish".into(),
            auth_protocol: AuthProtocol::CHAP,
            ..ProvisionedContextElement::default()
        };
        let told = format!("{} {:?}", words(&context, true), Shown::of(&context, true));
        assert!(
            told.contains("user me") && !told.contains("swordfish"),
            "{told}"
        );
        assert!(!words(&context, false).contains("user me"));
    }
}
