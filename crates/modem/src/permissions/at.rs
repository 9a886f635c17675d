//! Rules on AT commands.

use uwwan_at::dialogue::Command;
use uwwan_at::line::{self, Action, split};

use super::table::{AT, Arguments, AtRow, Form, UNLISTED};
use super::{CallerState, Decision, Rule};

/// Returns the decision on a command line: that on its strictest part. A line that cannot be parsed
/// needs force, because the modem may find a command of the table in it. So does text with a line
/// end, because a modem that does not wait for text takes the rest for commands.
pub(crate) fn judge(standing: &CallerState<'_>, command: &Command) -> Decision {
    let ends = |text: &str| text.contains('\r');
    let parts = parts(command).filter(|_| !command.text().is_some_and(ends));
    let Some(parts) = parts else {
        let rules = [Rule::Never, Rule::Never, Rule::Never, Rule::WithForce];
        return standing.decide(rules, true, "it cannot be told what it would do");
    };
    let decide = |part: &line::Command| match row(part) {
        Some(row) => standing.decide(row.rules, true, row.effect),
        None => standing.decide(UNLISTED, false, "only the owner may send it"),
    };
    let mut decisions = parts.iter().map(decide);
    decisions
        .find(|decision| *decision != Decision::Allow)
        .unwrap_or(Decision::Allow)
}

/// Returns the reason why a command line is never sent, whoever owns the port: it would change how
/// the port answers (`V0`, `Q1`) or start a data call, after which the port no longer answers.
pub(crate) fn spoils(command: &Command) -> Option<&'static str> {
    let parts = parts(command)?;
    let mut rows = parts.iter().filter_map(row);
    let spoiling = rows.find(|row| row.rules == [Rule::Never; 4])?;
    Some(spoiling.effect)
}

fn parts(command: &Command) -> Option<Vec<line::Command>> {
    split(command.line().get(2..)?)
}

/// Returns the row that decides on one command of a line.
fn row(part: &line::Command) -> Option<&'static AtRow> {
    let (asks, arguments) = match &part.action {
        Action::Read | Action::Test => (true, ""),
        Action::Run(arguments) | Action::Set(arguments) => (false, arguments.as_str()),
    };
    let fits = |patterns: &[&str]| patterns.iter().any(|pattern| fits(pattern, arguments));
    AT.iter().find(|row| {
        row.names.contains(&part.name.as_str())
            && match row.form {
                Form::Asks => asks,
                Form::Does => !asks,
                Form::Any => true,
            }
            && match row.arguments {
                Arguments::Any => true,
                Arguments::But(patterns) => !fits(patterns),
                Arguments::With(character) => arguments.contains(character),
            }
    })
}

/// Returns the names of all AT commands in the table.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    AT.iter().flat_map(|row| row.names).copied()
}

/// Returns whether arguments match a pattern of the table.
fn fits(pattern: &str, arguments: &str) -> bool {
    let mut arguments = arguments.split(',').map(str::trim);
    for field in pattern.split(',') {
        match (field, arguments.next()) {
            ("…", _) => return true,
            ("*", Some(_)) => {}
            (field, Some(argument)) if field == argument => {}
            _ => return false,
        }
    }
    arguments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spoils_the_port_is_not_sent() {
        let spoils = |line: &str| spoils(&Command::new(line).unwrap()).is_some();
        for line in [
            "ATV0",
            "ATV",
            "ATE0V0",
            "ATQ1",
            "ATD*99#",
            "at v0",
            "AT+CGDATA=\"PPP\",1",
        ] {
            assert!(spoils(line), "{line}");
        }
        for line in [
            "AT",
            "ATI",
            "ATQ0 V1 E1 S0=0",
            "ATE0",
            "AT+CSQ;+COPS?",
            "ATD12345;",
            "ATZ",
        ] {
            assert!(!spoils(line), "{line}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, arguments, expected) in [
            ("1", "1", true),
            ("1", "1,1", false),
            ("1", "", false),
            ("", "", true),
            ("3,…", "3", true),
            ("3,…", "3,0", true),
            ("3,…", "30,0", false),
            ("*,2", "\"SC\", 2", true),
            ("*,2", "\"SC\",1,\"1234\"", false),
            ("*,2,…", "\"SC\",2,,1", true),
        ] {
            assert_eq!(fits(pattern, arguments), expected, "{pattern}: {arguments}");
        }
    }
}
