//! `uwwan emulate knobs` lists the knobs of the emulated modem.

use uwwan_emulator::knobs::Kind;
use uwwan_emulator::{Effect, KnobInfo, Knobs};

use crate::failure::{Failure, FailureKind};
use crate::output::{say, say_json};

/// Width of the text about a knob, in characters.
const WIDTH: usize = 90;

/// Arguments of `emulate knobs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan emulate knobs                         every knob by its family
  uwwan emulate knobs ndp_place signal        these
  uwwan emulate knobs --json | jq -r '.[] | select(.family == \"faults\") | .name'")]
pub struct Arguments {
    /// Knobs to show [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print JSON: name, family, type, unit, range, choices, default, what it does, where that was
    /// seen, and when it has its effect if it is turned while the modem runs
    #[arg(long)]
    json: bool,
}

/// Lists knobs.
///
/// # Errors
/// Fails for a name that no knob has.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut knobs = Knobs::catalogue();
    if !arguments.names.is_empty() {
        let mut chosen = Vec::new();
        for name in &arguments.names {
            let wanted = name.replace('-', "_");
            let known = knobs.iter().find(|knob| knob.name == wanted);
            chosen.push(known.cloned().ok_or_else(|| {
                Failure::new(FailureKind::Usage, "there is no such knob")
                    .at(name.clone())
                    .next("uwwan emulate knobs lists all")
            })?);
        }
        knobs = chosen;
    }
    if arguments.json {
        return say_json(&knobs);
    }
    let mut family = "";
    for knob in knobs {
        if knob.family != family {
            family = knob.family;
            say(format!("[{family}]"))?;
        }
        let default = if knob.default.is_empty() {
            "(empty)"
        } else {
            &knob.default
        };
        say(format!("{}={default}    {}", knob.name, values(&knob)))?;
        for line in wrapped(&knob.about, WIDTH) {
            say(format!("    {line}"))?;
        }
        if let Some(seen) = knob.seen {
            for line in wrapped(&format!("Seen: {seen}."), WIDTH) {
                say(format!("    {line}"))?;
            }
        }
        if knob.effect != Effect::Now {
            say(format!("    Effect: {}.", knob.effect.words()))?;
        }
    }
    Ok(())
}

/// Returns the values of a knob in a few words.
fn values(knob: &KnobInfo) -> String {
    let unit = knob.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
    match (knob.kind, knob.range) {
        (Kind::Switch, _) => "on or off".to_owned(),
        (Kind::Choice, _) => knob.choices.join(", "),
        (Kind::Text, _) => "text".to_owned(),
        (Kind::Address, _) => "an IP address".to_owned(),
        (Kind::Number, Some((least, most))) if most < u64::MAX => {
            format!("{least} to {most}{unit}")
        }
        (Kind::Number, _) => format!("a number{unit}"),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_words() {
        assert_eq!(wrapped("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrapped("", 5), Vec::<String>::new());
    }
}
