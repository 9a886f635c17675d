//! How the program says that something went wrong: what, where, why, what next.

use std::fmt;
use std::process::ExitCode;

use crate::output::plain;

/// The exit status of the program. The numbers are part of its interface (`uwwan --help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Anything without a number of its own.
    Failed = 1,
    /// The command line, the configuration file or a file it names is wrong.
    Usage = 2,
    /// No modem, no such modem, or no running `uwwan up`.
    Missing = 3,
    /// More than one modem or more than one running `uwwan up`: one must be chosen.
    Several = 4,
    /// This user may not do that.
    Permission = 5,
    /// Another process or a kernel driver holds the modem.
    Busy = 6,
    /// The modem, the SIM or the network refused a step of the bring-up.
    Refused = 7,
    /// Online, but the link does not carry traffic.
    Dead = 8,
    /// Ctrl-C or SIGTERM, and nothing else went wrong.
    Interrupted = 130,
    /// Standard output was closed by its reader.
    Closed = 141,
}

/// A failure as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status it leads to.
    pub exit: Exit,
    what: String,
    place: Option<String>,
    why: Vec<String>,
    next: Vec<String>,
}

impl Failure {
    /// A failure with the thing that could not be done: "cannot read the PIN file".
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            place: None,
            why: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Where it happened: a file, an option, a device, a rung.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Why, in the words of whoever refused.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.why.push(why.to_string());
        self
    }

    /// Why, from an error with all its sources.
    #[must_use]
    pub fn because_of(mut self, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text.push_str(": ");
                text.push_str(&inner_text);
            }
            source = inner.source();
        }
        self.why.push(text);
        self
    }

    /// What the user can do about it.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next.push(step.into());
        self
    }

    /// The reader of standard output went away: nothing to say, and nobody to say it to.
    pub fn closed_output() -> Self {
        Self::new(Exit::Closed, "standard output was closed")
    }

    /// Headline and reasons on one line, for a JSON field or a service manager's status.
    pub fn one_line(&self) -> String {
        let mut line = self.what.clone();
        for why in &self.why {
            line.push_str(": ");
            line.push_str(why);
        }
        plain(&line)
    }

    /// Writes the failure to standard error and turns it into the exit status.
    pub fn report(&self) -> ExitCode {
        if self.exit != Exit::Closed {
            // Standard error may be closed too; the exit status still tells.
            let _ = std::io::Write::write_all(
                &mut crate::output_queue::Errors,
                format!("{self}\n").as_bytes(),
            );
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", plain(&self.what))?;
        if let Some(place) = &self.place {
            write_field(f, "where", place)?;
        }
        for why in &self.why {
            write_field(f, "why", why)?;
        }
        for step in &self.next {
            write_field(f, "next", step)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// One labelled field; further lines of its text are indented under the first.
fn write_field(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    write!(f, "\n  {:<7}{}", format!("{label}:"), plain(first))?;
    for line in lines {
        write!(f, "\n         {}", plain(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_parts_are_told_in_order() {
        let failure = Failure::new(Exit::Usage, "cannot read the PIN file")
            .at("/run/pin (--pin-file)")
            .because("No such file or directory (os error 2)")
            .next("write the PIN alone into that file\nand keep it readable for you only");
        assert_eq!(
            failure.to_string(),
            "error: cannot read the PIN file\n\
             \x20 where: /run/pin (--pin-file)\n\
             \x20 why:   No such file or directory (os error 2)\n\
             \x20 next:  write the PIN alone into that file\n\
             \x20        and keep it readable for you only"
        );
    }

    #[test]
    fn terminal_sequences_from_a_device_are_defused() {
        let failure = Failure::new(Exit::Failed, "bad name \u{1b}[2J\u{7}").because("\r\u{9b}1m");
        let text = failure.to_string();
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }

    #[test]
    fn sources_are_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Outer(#[source] std::io::Error);
        let outer = Outer(std::io::Error::other("inner"));
        let failure = Failure::new(Exit::Failed, "x").because_of(&outer);
        assert_eq!(failure.one_line(), "x: outer: inner");
    }
}
