//! The console of `uwwan at`: it keeps a history, completes commands with their explanations, and
//! shows unsolicited result codes apart from answers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustyline::completion::{Completer, Pair};
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use uwwan_at::commands::known::{KNOWN, starting_with};
use uwwan_at::dialogue::Command;
use uwwan_modem::at_port::{self, Line};
use uwwan_modem::client::{AtClient, Lines};

use super::transcript::{Transcript, may_be_kept};
use crate::failure::{Failure, FailureKind};
use crate::output::{plain, say};

/// Greatest number of lines that the history keeps.
const HISTORY: usize = 1000;
/// Longest time that the listener waits for a line before it checks whether the console has ended.
const TURN: Duration = Duration::from_millis(200);

/// Sends what the user types to the modem, and shows the answers, until Ctrl-D.
///
/// # Errors
/// Fails when the terminal cannot be used, or when the modem has left the bus and no running `up`
/// brings it back.
pub fn run(
    mut client: AtClient,
    timeout: Option<Duration>,
    transcript: Transcript,
) -> Result<(), Failure> {
    let broken = |error: ReadlineError| {
        Failure::new(FailureKind::Host, "the terminal cannot be used").because(error)
    };
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .max_history_size(HISTORY)
        .map_err(broken)?
        .build();
    let mut editor: Editor<Commands, FileHistory> = Editor::with_config(config).map_err(broken)?;
    editor.set_helper(Some(Commands));
    let history = history_file();
    if let Some(history) = &history {
        // There is no history before the first run.
        let _ = editor.load_history(history);
    }
    say(format!(
        "{}; help explains, Ctrl-D leaves",
        plain(&describe(&mut client))
    ))?;
    let transcript = Arc::new(Mutex::new(transcript));
    let ended = Arc::new(AtomicBool::new(false));
    let listener = match (client.listen(), editor.create_external_printer()) {
        (Ok(lines), Ok(printer)) => {
            let (ended, transcript) = (Arc::clone(&ended), Arc::clone(&transcript));
            std::thread::Builder::new()
                .name("unsolicited".into())
                .spawn(move || show_lines(lines, printer, &ended, &transcript))
                .ok()
        }
        _ => None,
    };
    let outcome = converse(&mut editor, &mut client, timeout, &transcript);
    ended.store(true, Ordering::Relaxed);
    if let Some(listener) = listener {
        let _ = listener.join();
    }
    if let Some(history) = &history {
        if let Some(folder) = history.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        if let Err(error) = editor.save_history(history) {
            tracing::debug!("history: {error}");
        }
    }
    outcome
}

/// Describes the AT port that is used.
fn describe(client: &mut AtClient) -> String {
    match client.port() {
        Ok(Some(port)) if client.is_through() => format!("{port}, through the running uwwan"),
        Ok(Some(port)) => port,
        _ => "the running uwwan, whose modem is away".into(),
    }
}

fn converse(
    editor: &mut Editor<Commands, FileHistory>,
    client: &mut AtClient,
    timeout: Option<Duration>,
    transcript: &Mutex<Transcript>,
) -> Result<(), Failure> {
    let log = || transcript.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let typed = match editor.readline("at> ") {
            Ok(typed) => typed,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => {
                return Err(
                    Failure::new(FailureKind::Host, "cannot read from the terminal").because(error),
                );
            }
        };
        let typed = typed.trim();
        match typed.to_ascii_lowercase().as_str() {
            "" => continue,
            "help" | "?" => {
                help()?;
                continue;
            }
            "quit" | "exit" => return Ok(()),
            _ => {}
        }
        if may_be_kept(typed) {
            let _ = editor.add_history_entry(typed);
        }
        let text = if Command::new(typed).is_ok_and(|command| command.wants_text()) {
            match editor.readline("text> ") {
                Ok(text) => Some(text),
                Err(_) => continue,
            }
        } else {
            None
        };
        log().sent(typed);
        match client.ask(typed, text.as_deref(), timeout) {
            Ok(answer) => {
                log().answered(&answer);
                for line in &answer.lines {
                    say(plain(line))?;
                }
                match &answer.result {
                    Ok(()) => say("OK")?,
                    Err(refusal) => say(format!("({})", plain(&refusal.to_string())))?,
                }
            }
            // The running uwwan brings the modem back, and the next command finds it.
            Err(failure) => say(format!("({})", plain(&failure.why.join(": "))))?,
        }
        if !client.is_through() && matches!(client.port(), Ok(None)) {
            return Err(at_port::away("the modem has left the bus"));
        }
    }
}

fn help() -> Result<(), Failure> {
    for known in KNOWN {
        say(format!("{:<20} {}", known.command, known.explanation))?;
    }
    say("Tab completes; lines marked ! came unasked; history keeps no PINs and numbers")
}

fn show_lines(
    mut lines: Lines,
    mut printer: impl ExternalPrinter,
    ended: &AtomicBool,
    transcript: &Mutex<Transcript>,
) {
    while !ended.load(Ordering::Relaxed) {
        match lines.next(TURN) {
            Ok(None) => {}
            Ok(Some(line)) => {
                transcript
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .line(&line);
                let (Line::Unsolicited(text) | Line::Nmea(text)) = &line;
                let _ = printer.print(format!("! {}\n", plain(text)));
            }
            Err(error) => {
                let _ = printer.print(format!("! {}\n", plain(&error.to_string())));
                return;
            }
        }
    }
}

/// Returns the path of the history: `$XDG_STATE_HOME/uwwan/at-history`, or
/// `~/.local/state/uwwan/at-history`. There is none when neither variable holds an absolute path.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str, below: &str| {
        let base = PathBuf::from(std::env::var_os(name)?);
        base.is_absolute().then(|| base.join(below))
    };
    absolute("XDG_STATE_HOME", "")
        .or_else(|| absolute("HOME", ".local/state"))
        .map(|base| base.join("uwwan").join("at-history"))
}

/// Completer of the AT commands that the device is known to have.
struct Commands;

impl Completer for Commands {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..position).unwrap_or(line);
        Ok((0, completions(typed)))
    }
}

fn completions(typed: &str) -> Vec<Pair> {
    starting_with(typed)
        .map(|known| Pair {
            display: format!("{:<20} {}", known.command, known.explanation),
            replacement: known.command.to_owned(),
        })
        .collect()
}

impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_explains() {
        let found = completions("at^ipv");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].replacement, "AT^IPV6CAP?");
        assert!(found[0].display.contains("IPv4 only"));
        assert!(completions("AT+NONSENSE").is_empty());
    }
}
