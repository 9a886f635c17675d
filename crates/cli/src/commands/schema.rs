//! `uwwan schema` prints the JSON schemas of the output of commands, made from the types that are
//! printed.

use schemars::{JsonSchema, Schema};
use uwwan_figures::Figures;
use uwwan_modem::Event;
use uwwan_modem::capture::scrub;

use super::{
    ask, at, bench, capture, config, contexts, demo, doctor, down, info, ip_filters, ipv6, lab,
    list, mbim, ntb, operator, packet_service, phonebook, pin, quirks, radio, record, reset,
    services, sessions, signal, sim, sms, stats, up, usage, usb, ussd,
};
use crate::failure::{ErrorReport, Failure, FailureKind};
use crate::forms::{Done, Message};
use crate::json::schema;
use crate::output::say;
use crate::{emulated, story};

/// A command and the function that makes its schema.
type Described = (&'static str, fn() -> Schema);

/// Either of two forms.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is a schema alone")]
enum Either<A, B> {
    One(A),
    Other(B),
}

const ALL: [Described; 70] = [
    ("at", schema::<at::Shown>),
    ("attach", schema::<packet_service::Shown>),
    ("bench", schema::<bench::outcome::Output>),
    ("bench compare", schema::<Figures>),
    ("capture scrub", schema::<scrub::Report>),
    (
        "capture show",
        schema::<Either<story::form::Shown, capture::show::Compared>>,
    ),
    ("config check", schema::<config::Checked>),
    ("connect", schema::<sessions::Shown>),
    ("contexts", schema::<Vec<contexts::Shown>>),
    ("demo", schema::<demo::outcome::Outcome>),
    ("detach", schema::<packet_service::Shown>),
    ("disconnect", schema::<sessions::Ended>),
    ("doctor", schema::<Vec<doctor::Finding>>),
    ("down", schema::<down::Output>),
    ("emulate", schema::<uwwan_emulator::Report>),
    ("emulate knobs", schema::<Vec<uwwan_emulator::KnobInfo>>),
    ("emulate set", schema::<emulated::Turned>),
    ("error", schema::<ErrorReport>),
    ("exec", schema::<Event>),
    ("info", schema::<info::Shown>),
    ("ip-filters", schema::<ip_filters::Output>),
    ("ipv6 disable", schema::<ipv6::Shown>),
    ("ipv6 enable", schema::<ipv6::Shown>),
    ("ipv6 status", schema::<ipv6::Shown>),
    ("lab bisect", schema::<lab::bisect::Bisected>),
    ("lab discover", schema::<lab::found::Discovery>),
    ("lab sweep", schema::<lab::report::Swept>),
    ("list", schema::<Vec<list::Shown>>),
    ("mbim decode", schema::<Either<Message, story::form::Shown>>),
    ("mbim send", schema::<Either<Message, mbim::raw::Told>>),
    ("ntb build", schema::<ntb::build::Output>),
    ("ntb decode", schema::<ntb::decode::Shown>),
    ("ntb send", schema::<ntb::send::Told>),
    ("operator home", schema::<operator::Shown>),
    ("operator preferred", schema::<Vec<operator::Shown>>),
    ("operator register", schema::<operator::Registration>),
    ("operator scan", schema::<Vec<operator::Shown>>),
    ("phonebook delete", schema::<Done>),
    ("phonebook list", schema::<phonebook::Output>),
    ("phonebook write", schema::<Done>),
    ("pin change", schema::<pin::Shown>),
    ("pin disable", schema::<pin::Shown>),
    ("pin enable", schema::<pin::Shown>),
    ("pin enter", schema::<pin::Shown>),
    ("pin status", schema::<pin::Output>),
    ("pin unblock", schema::<pin::Shown>),
    ("ping", schema::<ask::Pinged>),
    ("quirks list", schema::<quirks::Output>),
    ("radio", schema::<Either<radio::Shown, radio::Unlocked>>),
    ("record", schema::<record::Output>),
    ("reset", schema::<reset::Output>),
    ("resolve", schema::<ask::Resolved>),
    ("services", schema::<services::Output>),
    ("sessions", schema::<Vec<sessions::Shown>>),
    ("signal", schema::<signal::Shown>),
    ("sim", schema::<sim::Output>),
    ("sms delete", schema::<sms::Deleted>),
    ("sms list", schema::<Vec<sms::store::Shown>>),
    ("sms read", schema::<Vec<sms::store::Shown>>),
    ("sms send", schema::<sms::SentMessage>),
    ("stats", schema::<stats::Output>),
    ("status", schema::<up::Told>),
    ("up", schema::<Event>),
    ("usage", schema::<usage::Output>),
    ("usb bulk", schema::<usb::transfer::Told>),
    ("usb config", schema::<usb::Configured>),
    ("usb control", schema::<usb::request::Output>),
    ("usb descriptors", schema::<usb::descriptors::form::Shown>),
    ("usb interrupt", schema::<usb::transfer::Told>),
    ("ussd", schema::<Vec<ussd::Shown>>),
];

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan schema                       the commands whose form is described
  uwwan schema usage                 of uwwan usage --json
  uwwan schema config check          of a line of uwwan config check --json
  uwwan schema error                 of the line on standard error when a command with --json fails

The schemas are those of JSON Schema 2020-12, of one line. Fields may be added; what is there keeps its name
and its form for as long as `version` stays, and what is marked as deprecated goes with the next one.")]
pub struct Arguments {
    /// The command, or `error`
    #[arg(value_name = "COMMAND", num_args = 0..)]
    command: Vec<String>,
}

/// Prints a schema, or a list of the commands that have one.
///
/// # Errors
/// [`FailureKind::Usage`] for a command that has none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let names = ALL.map(|(name, _)| name);
    if arguments.command.is_empty() {
        return names.iter().try_for_each(say);
    }
    let wanted = arguments.command.join(" ");
    match ALL.iter().find(|(name, _)| *name == wanted) {
        Some((_, make)) => say_schema(&make()),
        None => Err(Failure::new(FailureKind::Usage, "there is no such schema")
            .at(format!("{wanted:?}"))
            .next(format!("there are: {}", names.join(", ")))),
    }
}

/// Prints a schema on one line.
fn say_schema(schema: &Schema) -> Result<(), Failure> {
    say(schema.as_value().to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::Arguments as Program;

    /// Collects the commands with `--json`.
    fn with_json(command: &clap::Command, name: &str, found: &mut Vec<String>) {
        if command.get_arguments().any(|one| one.get_id() == "json") {
            found.push(name.trim().to_owned());
        }
        for one in command.get_subcommands() {
            with_json(one, &format!("{name} {}", one.get_name()), found);
        }
    }

    #[test]
    fn every_command_with_json_has_a_schema_and_no_other() {
        let mut found = vec!["error".to_owned()];
        with_json(&Program::command(), "", &mut found);
        found.sort();
        assert_eq!(found, ALL.map(|(name, _)| name));
    }

    #[test]
    fn every_schema_is_one_and_asks_for_the_version() {
        for (name, make) in ALL {
            let schema = make();
            let value = schema.as_value();
            assert!(jsonschema::meta::is_valid(value), "{name}: {value}");
            let validator = jsonschema::validator_for(value).unwrap();
            assert!(!validator.is_valid(&serde_json::json!({})), "{name}");
            assert!(!validator.is_valid(&serde_json::json!([{}])), "{name}");
        }
    }

    /// Collects the descriptions of deprecated fields, each with the field that it stands for.
    fn deprecated(value: &serde_json::Value, found: &mut Vec<String>) {
        for (name, field) in value["properties"].as_object().into_iter().flatten() {
            if field["deprecated"] == true {
                found.push(name.clone());
            }
        }
        let children = value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.values());
        let items = value.as_array().into_iter().flatten();
        children
            .chain(items)
            .for_each(|child| deprecated(child, found));
    }

    #[test]
    fn old_names_are_marked() {
        for (name, old) in [
            (
                "status",
                &[
                    "addresses",
                    "cause",
                    "data_classes",
                    "diagnoses",
                    "provider",
                    "provider_id",
                ][..],
            ),
            ("signal", &["dbm"]),
            ("operator scan", &["dbm"]),
            ("down", &["device"]),
        ] {
            let (_, make) = ALL.iter().find(|(known, _)| *known == name).unwrap();
            let mut found = Vec::new();
            deprecated(make().as_value(), &mut found);
            found.sort();
            found.dedup();
            assert_eq!(found, old, "{name}");
        }
    }
}
