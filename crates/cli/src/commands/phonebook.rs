//! `uwwan phonebook` lists, writes and deletes the entries of the SIM card's phonebook.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::services::Empty;
use uwwan_mbim::services::phonebook::{
    CONFIGURATION, Configuration, DELETE, DeleteSet, PhonebookEntry, PhonebookFlag,
    PhonebookWriteFlag, READ, ReadInfo, ReadQuery, WRITE, WriteSet,
};
use uwwan_modem::client::Client;

use crate::failure::{Failure, FailureKind};
use crate::forms::Done;
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;

/// Arguments of `phonebook`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the entries, or show one
    List(ListArguments),
    /// Write an entry
    Write(WriteArguments),
    /// Delete entries
    Delete(DeleteArguments),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan phonebook list               all entries, and how many fit
  uwwan phonebook list 3             one of them
  uwwan phonebook list --json | jq '.entries[].name'")]
struct ListArguments {
    /// Only this entry
    #[arg(value_name = "INDEX")]
    index: Option<u32>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan phonebook write Help +4790002100             into the first free place
  uwwan phonebook write Help +4790002100 --index 3   into this one, whatever it holds")]
struct WriteArguments {
    /// Name
    #[arg(value_name = "NAME")]
    name: String,
    /// Telephone number
    #[arg(value_name = "NUMBER", allow_hyphen_values = true)]
    number: String,
    /// Into this place
    #[arg(long, value_name = "INDEX")]
    index: Option<u32>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan phonebook delete 3 4         these entries
  uwwan phonebook delete --all       every entry")]
struct DeleteArguments {
    /// The entries
    #[arg(value_name = "INDEX", required_unless_present = "all")]
    index: Vec<u32>,
    /// Every entry
    #[arg(long, conflicts_with = "index")]
    all: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists, writes or deletes entries.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses, or when an entry does not fit.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(arguments) => list(arguments),
        Command::Write(arguments) => write(arguments),
        Command::Delete(arguments) => delete(arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let configuration: Configuration = modem.query(CONFIGURATION)?;
    let query = ReadQuery {
        filter_flag: flag(arguments.index.is_some()),
        filter_message_index: arguments.index.unwrap_or(0),
    };
    let read: ReadInfo = modem.query_with(READ, &query)?;
    modem.close()?;
    if arguments.json {
        return say_json(&Output {
            places: configuration.number_of_entries,
            used: configuration.used_entries,
            longest_number: configuration.max_number_length,
            longest_name: configuration.max_name,
            entries: read.entries.iter().map(Shown::of).collect(),
        });
    }
    let mut page = Page::default();
    for entry in &read.entries {
        page.row(
            &entry.entry_index.to_string(),
            format!("{}  {}", entry.number, entry.name),
        );
    }
    page.line(format!(
        "{} of {} places used",
        configuration.used_entries, configuration.number_of_entries
    ));
    page.print()
}

/// The phone book, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// Number of places.
    places: u32,
    /// Number of places in use.
    used: u32,
    /// Characters of the longest number.
    longest_number: u32,
    /// Characters of the longest name.
    longest_name: u32,
    /// Entries.
    entries: Vec<Shown>,
}

/// An entry of the phone book.
#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    /// Place, from 1.
    index: u32,
    /// Telephone number.
    number: String,
    /// Name.
    name: String,
}

impl Shown {
    fn of(entry: &PhonebookEntry) -> Self {
        Self {
            index: entry.entry_index,
            number: entry.number.clone(),
            name: entry.name.clone(),
        }
    }
}

fn flag(one: bool) -> PhonebookFlag {
    if one {
        PhonebookFlag::INDEX
    } else {
        PhonebookFlag::ALL
    }
}

/// Checks that the SIM takes a name and a number of that many characters. A limit of 0 means that
/// there is none. Fails with [`FailureKind::Usage`] when one is too long.
fn fits(modem: &mut Client, name: &str, number: &str) -> Result<(), Failure> {
    let configuration: Configuration = modem.query(CONFIGURATION)?;
    let checks = [
        ("name", name.chars().count(), configuration.max_name),
        (
            "number",
            number.trim_start_matches('+').chars().count(),
            configuration.max_number_length,
        ),
    ];
    for (what, length, most) in checks {
        if most != 0 && length > most as usize {
            return Err(
                Failure::new(FailureKind::Usage, format!("the {what} is too long"))
                    .because(format!("it has {length} characters; this SIM takes {most}")),
            );
        }
    }
    Ok(())
}

fn write(arguments: &WriteArguments) -> Result<(), Failure> {
    let number: uwwan_mbim::gsm::Address = arguments.number.parse().map_err(|error| {
        Failure::new(FailureKind::Usage, "this is no telephone number").because(error)
    })?;
    let mut modem = arguments.reach.open()?;
    fits(&mut modem, &arguments.name, number.text())?;
    let set = WriteSet {
        save_flag: if arguments.index.is_some() {
            PhonebookWriteFlag::INDEX
        } else {
            PhonebookWriteFlag::UNUSED
        },
        save_index: arguments.index.unwrap_or(0),
        number: number.text().to_owned(),
        name: arguments.name.clone(),
    };
    let _: Empty = modem.set(WRITE, &set)?;
    modem.close()?;
    done(arguments.json, "written")
}

fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let one = |index| DeleteSet {
        filter_flag: PhonebookFlag::INDEX,
        filter_message_index: index,
    };
    if arguments.all {
        let _: Empty = modem.set(DELETE, &DeleteSet::default())?;
    }
    for index in &arguments.index {
        let _: Empty = modem.set(DELETE, &one(*index))?;
    }
    modem.close()?;
    done(arguments.json, "deleted")
}

fn done(json: bool, word: &str) -> Result<(), Failure> {
    if json {
        return say_json(&Done { done: true });
    }
    let mut page = Page::default();
    page.line(word);
    page.print()
}
