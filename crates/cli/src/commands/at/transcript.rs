//! The transcript that `uwwan at --log` writes, and the texts that it must not contain.
//!
//! PINs and passwords, the numbers of SIM, modem and people, and messages stay out unless asked
//! for: arguments of commands that take them, whole answers of commands that give them, and any
//! run of eight digits or more wherever it stands.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use uwwan_at::commands::PASSWORD_COMMANDS;
use uwwan_at::line::split;
use uwwan_modem::at_port::{Answer, Line};

use crate::failure::{Failure, FailureKind};
use crate::output::plain;

const HIDDEN: &str = "<hidden>";
/// Number of digits in a row from which on they are taken for a person's number.
const NUMBER: usize = 8;
/// Commands whose arguments are personal.
const PERSONAL_ARGUMENTS: [&str; 6] = ["+CMGS", "+CMGW", "+CPBW", "+CUSD", "D", "+CSCA"];
/// Commands whose answers are personal, and unsolicited result codes that are.
const PERSONAL_LINES: [&str; 16] = [
    "+CIMI", "+CGSN", "+GSN", "^ICCID", "+CCID", "+CNUM", "+CMGR", "+CMGL", "+CMT", "+CDS", "+CBM",
    "+CPBR", "+CPBF", "+CUSD", "+CSCA", "+CLIP",
];

/// A log to which commands, answers and unsolicited result codes are appended, each with the
/// seconds since the log was opened.
pub struct Transcript {
    file: Option<File>,
    personal: bool,
    begun: Instant,
}

impl Transcript {
    /// Opens the file at `path` for appending; without a path nothing is written. A file that is
    /// created is for its owner alone. With `personal`, nothing is hidden.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Usage`] when the file cannot be opened.
    pub fn open(path: Option<&Path>, personal: bool) -> Result<Self, Failure> {
        let open = |path: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map_err(|error| {
                    Failure::new(FailureKind::Usage, "cannot write the log")
                        .at(format!("{} (--log)", path.display()))
                        .because(error)
                })
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            personal,
            begun: Instant::now(),
        })
    }

    /// Records a command that was sent.
    pub fn sent(&mut self, command: &str) {
        let text = if self.personal {
            command.to_owned()
        } else {
            shown(command)
        };
        self.write('>', &text);
    }

    /// Records the answer to a command.
    pub fn answered(&mut self, answer: &Answer) {
        if self.file.is_none() {
            return;
        }
        let hide = !self.personal && gives_personal(&answer.command);
        for line in &answer.lines {
            if hide {
                self.write('<', HIDDEN);
            } else {
                self.heard('<', line);
            }
        }
        let result = match &answer.result {
            Ok(()) => "OK".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        self.write('<', &result);
    }

    /// Records an unsolicited result code or an NMEA sentence.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Unsolicited(text) => self.heard('!', text),
            // A position shows where a person is.
            Line::Nmea(_) if !self.personal => {}
            Line::Nmea(text) => self.heard('!', text),
        }
    }

    fn heard(&mut self, mark: char, line: &str) {
        if self.personal {
            self.write(mark, line);
        } else {
            let text = without_personal(line);
            self.write(mark, &text);
        }
    }

    fn write(&mut self, mark: char, text: &str) {
        if let Some(file) = &mut self.file {
            let seconds = self.begun.elapsed().as_secs_f64();
            // A full disk must not end the conversation.
            let _ = file.write_all(format!("{seconds:10.3} {mark} {}\n", plain(text)).as_bytes());
        }
    }
}

/// Returns a command as it may be shown, with secret and personal parts replaced.
pub fn shown(command: &str) -> String {
    let parts = command.get(2..).and_then(split).unwrap_or_default();
    let secret = parts
        .iter()
        .map(|part| part.name.as_str())
        .any(|name| PASSWORD_COMMANDS.contains(&name) || PERSONAL_ARGUMENTS.contains(&name));
    match command.find(['=', '"']) {
        Some(at) if secret && !command.ends_with("=?") => format!("{}{HIDDEN}", &command[..=at]),
        None if secret && parts.iter().any(|part| part.name == "D") => format!("ATD{HIDDEN}"),
        _ => without_numbers(command),
    }
}

/// Returns whether a command holds a PIN or a password.
pub fn is_secret(command: &str) -> bool {
    let parts = command.trim().get(2..).and_then(split).unwrap_or_default();
    parts.iter().any(|part| {
        let name = part.name.to_ascii_uppercase();
        PASSWORD_COMMANDS.contains(&name.as_str())
    }) && command.contains('=')
        && !command.trim_end().ends_with("=?")
}

/// Returns whether a command may stand in the history, because no part of it is secret or personal.
pub fn may_be_kept(command: &str) -> bool {
    shown(command) == command
}

/// Returns whether the answer to a command is personal as a whole.
fn gives_personal(command: &str) -> bool {
    let parts = command.get(2..).and_then(split).unwrap_or_default();
    parts
        .iter()
        .any(|part| PERSONAL_LINES.contains(&part.name.as_str()))
}

fn without_personal(line: &str) -> String {
    match uwwan_at::values::name(line) {
        Some(name)
            if PERSONAL_LINES
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known)) =>
        {
            format!("{name}: {HIDDEN}")
        }
        _ => without_numbers(line),
    }
}

fn without_numbers(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        result.push_str(if digits.len() >= NUMBER {
            HIDDEN
        } else {
            &digits
        });
        digits.clear();
        if character != '\0' {
            result.push(character);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_what_is_shown_and_kept() {
        for (command, expected) in [
            ("AT+CPIN=\"1234\"", "AT+CPIN=<hidden>"),
            ("AT+CPIN=1234", "AT+CPIN=<hidden>"),
            ("at+cpin=1234", "at+cpin=<hidden>"),
            ("ATE0+CPIN=1234", "ATE0+CPIN=<hidden>"),
            ("AT+CLCK=\"SC\",0,\"1234\"", "AT+CLCK=<hidden>"),
            ("ATD+4712345678;", "ATD<hidden>"),
            ("AT+CUSD=1,\"*100#\"", "AT+CUSD=<hidden>"),
            ("AT+XYZ=4712345678", "AT+XYZ=<hidden>"),
        ] {
            assert_eq!(shown(command), expected);
            assert!(!may_be_kept(command), "{command}");
        }
        for command in [
            "AT+CPIN?",
            "AT+CLCK=?",
            "AT^PLMNLIST=1,\"99999\",\"24201\"",
            "AT+CSQ",
            "hello",
            "AT^SYSCFGEX=\"00\",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF,,",
        ] {
            assert_eq!(shown(command), command);
        }
    }

    #[test]
    fn the_log_has_everything_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let said = |personal| {
            let mut transcript = Transcript::open(Some(&path), personal).unwrap();
            transcript.sent("AT+CIMI");
            let answer = |command: &str, line: &str| Answer {
                command: command.into(),
                lines: vec![line.into()],
                truncated: false,
                result: Ok(()),
            };
            transcript.answered(&answer("AT+CIMI", "242016000000001"));
            transcript.answered(&answer("ATI", "IMEI: 860000000000000"));
            transcript.answered(&answer("AT+CSQ", "+CSQ: 21,99\u{1b}[2J"));
            transcript.line(&Line::Unsolicited("+CMT: \"+47\",hello".into()));
            transcript.line(&Line::Nmea("$GPGGA,1".into()));
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let lines = text.lines().map(|line| line[11..].to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            said(false),
            [
                "> AT+CIMI",
                "< <hidden>",
                "< OK",
                "< IMEI: <hidden>",
                "< OK",
                "< +CSQ: 21,99\u{fffd}[2J",
                "< OK",
                "! +CMT: <hidden>"
            ]
        );
        assert!(said(true).contains(&"< 242016000000001".to_owned()));
    }

    #[test]
    fn commands_with_a_pin_are_told_from_others() {
        for secret in [
            "AT+CPIN=\"1234\"",
            "at+cpin=1234",
            "AT+CMEE=1;+CLCK=\"SC\",1,\"1234\"",
            " AT+CPWD=\"SC\",1,2",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for plain in ["AT+CPIN?", "AT+CPIN=?", "AT+CMEE=1", "AT", "", "AT+CPIN"] {
            assert!(!is_secret(plain), "{plain}");
        }
    }
}
