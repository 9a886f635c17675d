//! Command lines, split into their commands.
//!
//! ```
//! use uwwan_at::line::{Action, split};
//!
//! let commands = split("+COPS=3,0;+COPS?").unwrap();
//! assert_eq!(commands[0].name, "+COPS");
//! assert_eq!(commands[0].action, Action::Set("3,0".to_owned()));
//! assert_eq!(commands[1].action, Action::Read);
//! ```

/// One command of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Name in capitals, such as `+CGDCONT`, `^HCSQ`, `E`, `&F`, `S0`, `D`; empty for a bare `AT`.
    pub name: String,
    /// Form in which the command is given.
    pub action: Action,
}

/// Form in which a command is given (V.250, 5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The name alone, or followed by a basic command's number (`E1`) or by what a `D` dials.
    Run(String),
    /// The name is followed by `?`.
    Read,
    /// The name is followed by `=?`.
    Test,
    /// The name is followed by `=` and these values.
    Set(String),
}

/// Splits what follows `AT` into commands (V.250, 5.2.2 and 5.4). `None` is returned for a line
/// that cannot be read.
///
/// Extended commands end at a semicolon outside quotes; basic commands follow each other without
/// one, with or without spaces: `Q0 V1 E1 S0=0`.
#[must_use]
pub fn split(body: &str) -> Option<Vec<Command>> {
    let mut commands = Vec::new();
    let mut rest = body.trim_start();
    while let Some(first) = rest.chars().next() {
        let (command, tail) = match first {
            ';' => {
                rest = rest[1..].trim_start();
                continue;
            }
            '+' | '^' | '*' | '%' | '$' | '#' => extended(rest)?,
            _ => basic(rest)?,
        };
        commands.push(command);
        rest = tail.trim_start();
    }
    if commands.is_empty() {
        commands.push(Command {
            name: String::new(),
            action: Action::Run(String::new()),
        });
    }
    Some(commands)
}

/// Splits off an extended command: `+NAME`, `+NAME?`, `+NAME=?` or `+NAME=…`, up to a semicolon outside
/// quotes.
fn extended(text: &str) -> Option<(Command, &str)> {
    let mut quoted = false;
    let end = text
        .char_indices()
        .find(|(_, character)| {
            quoted ^= *character == '"';
            *character == ';' && !quoted
        })
        .map_or(text.len(), |(at, _)| at);
    let (command, tail) = text.split_at(end);
    let command = command.trim_end();
    let (name, action) = match command.split_once('=') {
        Some((name, "?")) => (name, Action::Test),
        Some((name, values)) => (name, Action::Set(values.trim_start().to_owned())),
        None => match command.strip_suffix('?') {
            Some(name) => (name, Action::Read),
            None => (command, Action::Run(String::new())),
        },
    };
    let name = name.trim_end();
    let well_formed = name.len() > 1
        && name[1..]
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "!%-./:_".contains(character));
    well_formed.then(|| {
        (
            Command {
                name: name.to_ascii_uppercase(),
                action,
            },
            tail,
        )
    })
}

/// Splits off a basic command: `E1`, `&F`, `S0=1`, `S0?`, `I`, or `D…`, which takes the rest of the line.
fn basic(text: &str) -> Option<(Command, &str)> {
    let letter_at = usize::from(text.starts_with('&'));
    let letter = text[letter_at..].chars().next()?;
    if !letter.is_ascii_alphabetic() {
        return None;
    }
    let mut name = text[..=letter_at].to_ascii_uppercase();
    let rest = &text[letter_at + 1..];
    if name == "D" {
        let action = Action::Run(rest.trim().to_owned());
        return Some((Command { name, action }, ""));
    }
    let digits = |text: &str| {
        text.find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (number, rest) = rest.split_at(digits(rest));
    let (action, rest) = if name == "S" {
        name.push_str(number);
        match rest.strip_prefix('=') {
            Some(value) => {
                let (value, rest) = value.split_at(digits(value));
                (Action::Set(value.to_owned()), rest)
            }
            None => (Action::Read, rest.strip_prefix('?')?),
        }
    } else if let Some(rest) = rest.strip_prefix('?') {
        (Action::Read, rest)
    } else {
        (Action::Run(number.to_owned()), rest)
    };
    Some((Command { name, action }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, argument: &str) -> Command {
        Command {
            name: name.to_owned(),
            action: Action::Run(argument.to_owned()),
        }
    }

    fn set(name: &str, values: &str) -> Command {
        Command {
            name: name.to_owned(),
            action: Action::Set(values.to_owned()),
        }
    }

    fn commands(line: &str) -> Vec<Command> {
        split(&line[2..]).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn lines_seen_at_this_modem() {
        assert_eq!(commands("AT"), [run("", "")]);
        assert_eq!(commands("ATZ"), [run("Z", "")]);
        assert_eq!(commands("ati"), [run("I", "")]);
        assert_eq!(
            commands("ATQ0 V1 E1 S0=0"),
            [run("Q", "0"), run("V", "1"), run("E", "1"), set("S0", "0")]
        );
        assert_eq!(commands("ATE0Q0V1"), commands("ATE0 Q0 V1"));
        assert_eq!(commands("ATD*99#"), [run("D", "*99#")]);
        assert_eq!(
            commands("AT+CGDCONT=1,\"IP\",\"internet.t-mobile\""),
            [set("+CGDCONT", "1,\"IP\",\"internet.t-mobile\"")]
        );
        assert_eq!(
            commands("AT^PLMNLIST=1,\"99999\",\"24201\""),
            [set("^PLMNLIST", "1,\"99999\",\"24201\"")]
        );
        assert_eq!(commands("AT^IPV6CAP=?")[0].action, Action::Test);
        assert_eq!(commands("AT^IPV6CAP?")[0].action, Action::Read);
        let names: Vec<_> = commands("AT+COPS=3,0;+COPS?;+COPS=3,2;+COPS?")
            .into_iter()
            .map(|command| command.action)
            .collect();
        assert_eq!(
            names,
            [
                Action::Set("3,0".to_owned()),
                Action::Read,
                Action::Set("3,2".to_owned()),
                Action::Read
            ]
        );
    }

    #[test]
    fn semicolons_in_quotes_separate_nothing() {
        assert_eq!(
            commands("AT^SETPORT=\"A1,A2;12,10,16,A1,A2\";+CSQ"),
            [set("^SETPORT", "\"A1,A2;12,10,16,A1,A2\""), run("+CSQ", "")]
        );
    }

    #[test]
    fn basic_and_extended_on_one_line() {
        assert_eq!(
            commands("ATE0+CMEE=1;&F;S0?"),
            [
                run("E", "0"),
                set("+CMEE", "1"),
                run("&F", ""),
                Command {
                    name: "S0".to_owned(),
                    action: Action::Read
                }
            ]
        );
    }

    #[test]
    fn nonsense_is_told() {
        for line in ["M\0", "+", "+\"", "=1", "S0", "&", "+A B", "\u{e9}"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
