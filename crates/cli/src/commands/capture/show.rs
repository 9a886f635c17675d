//! `uwwan capture show` prints the content of a capture.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::decode::decode;
use uwwan_mbim::print::Personal;
use uwwan_mbim::registry::Version;

use crate::failure::{Failure, FailureKind};
use crate::input::{self, Input};
use crate::output::{note, say, say_json};
use crate::story::filter::MessageFilter;
use crate::story::form::Shown;
use crate::story::tell::Teller;
use crate::story::{Entry, Story, What};

/// Number of entries shown on each side where two captures differ.
const AFTER: usize = 3;

/// Arguments of `capture show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan capture show trace.pcapng                        a line for everything that passed
  uwwan capture show trace.pcapng --kind mbim,at         control messages and AT lines only
  uwwan capture show trace.pcapng --status bad --json    what was refused, one object a line
  uwwan capture show --diff good.pcapng bad.pcapng       where two captures of the same story part
  tcpdump -i usbmon1 -U -w - | uwwan capture show -      live

Reads pcapng and pcap with usbmon's records (link types 189 and 220) or USBPcap's (249). Messages are
put together from their fragments, and answers tell what they answer and after which time. uwwan mbim
decode and ntb decode show the fields.")]
pub struct Arguments {
    /// The capture, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "diff")]
    file: Option<String>,
    /// Compare two captures: what was said in what order, not when. NTBs, interrupts and
    /// standard requests are left out
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with = "file")]
    diff: Option<Vec<PathBuf>>,
    /// Show these only, by commas
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        value_parser = ["mbim", "ntb", "at", "control", "interrupt"],
        help_heading = "Choose"
    )]
    kind: Vec<String>,
    #[command(flatten)]
    filter: MessageFilter,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Print what identifies or belongs to a person too
    #[arg(long = "show-personal")]
    personal: bool,
}

/// Prints the content of a capture, or the place where two differ.
///
/// # Errors
/// Fails when a capture cannot be read, and when two of them differ.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let teller = Teller {
        json: arguments.json,
        version: Version::V1,
        personal: if arguments.personal {
            Personal::Show
        } else {
            Personal::Hide
        },
    };
    if let Some([a, b]) = arguments.diff.as_deref() {
        let open = |path: &PathBuf| Side::open(arguments, &path.display().to_string());
        return differ(&teller, open(a)?, open(b)?);
    }
    let name = arguments.file.as_deref().unwrap_or("-");
    let mut side = Side::open(arguments, name)?;
    while let Some(entry) = side.next()? {
        teller.line(&entry, side.start())?;
    }
    if side.story.skipped > 0 {
        note(format!(
            "{} packets are no USB transfers",
            side.story.skipped
        ));
    }
    Ok(())
}

/// A capture, of which some entries are shown.
struct Side<'a> {
    story: Story<'static>,
    /// Time of the capture's first entry.
    start: Option<u64>,
    arguments: &'a Arguments,
}

impl<'a> Side<'a> {
    fn open(arguments: &'a Arguments, name: &str) -> Result<Self, Failure> {
        let Input::Capture(story) = input::open(name)? else {
            return Err(Failure::new(FailureKind::Usage, "this is no capture")
                .at(name.to_owned())
                .next("give a pcapng or pcap file"));
        };
        Ok(Self {
            story: *story,
            start: None,
            arguments,
        })
    }

    fn start(&self) -> u64 {
        self.start.unwrap_or(0)
    }

    /// Returns `first` and the entries after it, [`AFTER`] together at most.
    fn rest(&mut self, first: Option<Entry>) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        let mut next = first;
        while let Some(entry) = next {
            entries.push(entry);
            next = match entries.len() {
                AFTER => None,
                _ => self.next()?,
            };
        }
        Ok(entries)
    }

    fn next(&mut self) -> Result<Option<Entry>, Failure> {
        let filter = &self.arguments.filter;
        while let Some(entry) = self.story.next_entry()? {
            self.start.get_or_insert(entry.time);
            let kinds = &self.arguments.kind;
            if !kinds.is_empty() && !kinds.iter().any(|kind| kind == entry.kind()) {
                continue;
            }
            if self.arguments.diff.is_some() && !is_said(&entry) {
                continue;
            }
            let wanted = match &entry.what {
                What::Message { bytes, .. } => {
                    !filter.is_chosen() || filter.allows(&decode(bytes, Version::V1))
                }
                _ => !filter.is_chosen(),
            };
            if wanted {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// Returns whether an entry is part of the dialogue with the modem, apart from enumeration and
/// packets.
fn is_said(entry: &Entry) -> bool {
    match &entry.what {
        What::Ntb { .. } | What::Notification { .. } => false,
        // The mask selects class requests to an interface; those of hubs have other recipients.
        What::Control { setup, .. } => setup[0] & 0x7f == 0x21,
        What::Message { .. } | What::Serial { .. } => true,
    }
}

/// What two captures have in common, and how they go on.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// Number of entries that are the same, from the first one on.
    same: usize,
    /// The next entries of the first capture, three at most; none where the captures are the same.
    a: Vec<Shown>,
    /// The next entries of the second capture.
    b: Vec<Shown>,
}

fn differ<'a>(teller: &Teller, mut a: Side<'a>, mut b: Side<'a>) -> Result<(), Failure> {
    // Personal values are compared too.
    let said = |entry: &Option<Entry>| {
        entry.as_ref().map(|entry| match &entry.what {
            What::Message { bytes, .. } => {
                let shown = decode(bytes, teller.version).json(Personal::Show);
                let mut shown = shown.clone();
                shown["transaction_id"] = serde_json::Value::Null;
                (entry.out, shown.to_string())
            }
            _ => (entry.out, teller.summary(entry)),
        })
    };
    let mut same = 0;
    let (one, other) = loop {
        let (one, other) = (a.next()?, b.next()?);
        if said(&one) != said(&other) {
            break (one, other);
        }
        if one.is_none() {
            return match teller.json {
                true => say_json(&Compared {
                    same,
                    a: Vec::new(),
                    b: Vec::new(),
                }),
                false => say(format!("the same: {same} entries")),
            };
        }
        same += 1;
    };
    let (one, other) = (a.rest(one)?, b.rest(other)?);
    if teller.json {
        let shown = |entries: &[Entry], side: &Side<'_>| {
            let entries = entries.iter();
            entries
                .map(|entry| teller.shown(entry, side.start()))
                .collect()
        };
        say_json(&Compared {
            same,
            a: shown(&one, &a),
            b: shown(&other, &b),
        })?;
    } else {
        say(format!("the same for {same} entries, then:"))?;
        for (mark, entries, side) in [('A', one, &a), ('B', other, &b)] {
            say(format!("{mark}:"))?;
            for entry in &entries {
                teller.message_or_line(entry, side.start())?;
            }
            if entries.len() < AFTER {
                say("       (ends here)")?;
            }
        }
    }
    Err(Failure::new(FailureKind::Other, "the captures differ"))
}
