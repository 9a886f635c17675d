//! The words that a shell offers for the word at which its user presses Tab.
//!
//! The shell's script (`uwwan completions`) starts the program with the words of the line and with
//! `UWWAN_COMPLETE` in its environment; clap finds the commands, options and words that fit. Values that only
//! the machine knows are looked up here: modems, running data sessions, configurations, knobs, services,
//! commands. Nothing is opened but the control socket of a running `up`.

use std::ffi::OsStr;

use clap::builder::StyledStr;
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};
use clap_complete::env::Shells;
use uwwan_emulator::Knobs;
use uwwan_mbim::registry;
use uwwan_modem::client::StatusClient;
use uwwan_usb::backend::BackendKind;

use crate::candidates;
use crate::configurations;
use crate::reach::EMULATOR;
use crate::running::{Running, SocketChoice};
use crate::state;

/// Variable of the environment that a shell's script sets, to the name of the shell.
pub const VARIABLE: &str = "UWWAN_COMPLETE";

/// Name by which a shell finds the program.
const PROGRAM: &str = "uwwan";

/// Answers the shell and returns `true`, if a shell asks. `program` returns the command line.
pub fn answer(program: impl Fn() -> clap::Command) -> bool {
    CompleteEnv::with_factory(|| with_values(program()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), None)
        // A shell shows no errors, and completion has none that a user could mend.
        .unwrap_or(true)
}

/// Words for bash, joined from the pieces into which bash breaks them.
const BASH: &[u8] = include_bytes!("completion/wrapper.bash");
/// The script of zsh.
const ZSH: &[u8] = include_bytes!("completion/uwwan.zsh");

/// Returns the script that makes a shell ask the program.
pub fn script(shell: &str) -> Vec<u8> {
    let mut script = Vec::new();
    if shell == "zsh" {
        return ZSH.to_vec();
    }
    if let Some(shell) = Shells::builtins().completer(shell) {
        // Writing to memory does not fail.
        let _ = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    }
    if shell == "bash" {
        script.extend_from_slice(BASH);
    }
    script
}

/// Returns the command line with the possible values of each option.
pub fn with_values(command: clap::Command) -> clap::Command {
    // In other commands, names have other meanings.
    let is_up = command.get_name() == "up";
    let command = command.mut_args(|argument| {
        let takes = |name: &str| {
            let names = argument.get_value_names();
            names.is_some_and(|names| names.first().is_some_and(|one| one == name))
        };
        let takes_session = takes("N");
        match argument.get_id().as_str() {
            _ if takes("FILE|NAME") => argument.add(ArgValueCompleter::new(files_and_names)),
            "name" if is_up => argument.add(ArgValueCandidates::new(configurations)),
            "device" => argument.add(ArgValueCandidates::new(devices)),
            "session" if takes_session => argument.add(ArgValueCandidates::new(sessions)),
            "knobs" if argument.get_action().takes_values() => {
                argument.add(ArgValueCompleter::new(knobs))
            }
            "service" => argument.add(ArgValueCandidates::new(services)),
            "cid" => argument.add(ArgValueCandidates::new(cids)),
            _ => argument,
        }
    });
    command.mut_subcommands(with_values)
}

/// Returns a candidate with a line about it.
fn candidate(value: impl Into<std::ffi::OsString>, about: &str) -> CompletionCandidate {
    let line = about.lines().next().unwrap_or_default();
    let about = (!line.is_empty()).then(|| StyledStr::from(line.to_owned()));
    CompletionCandidate::new(value).help(about)
}

/// Returns the modems present and those that a running `up` has.
fn devices() -> Vec<CompletionCandidate> {
    // A broken quirk file is reported by the command instead of the Tab key.
    let _ = uwwan_modem::quirks::load(&state::quirk_directories());
    let present = candidates::all(BackendKind::default().start().as_ref()).unwrap_or_default();
    let mut all: Vec<CompletionCandidate> = Vec::new();
    for modem in present {
        all.push(candidate(modem.found.identity.port.clone(), &modem.name()));
    }
    for entry in Running::look(None, None, SocketChoice::Any).alive {
        let known = |one: &CompletionCandidate| {
            let value = one.get_value().to_str();
            value.is_some_and(|value| entry.is(value))
        };
        if !all.iter().any(known) {
            all.push(candidate(entry.device, "a running uwwan up"));
        }
    }
    if !all.iter().any(|one| one.get_value() == EMULATOR) {
        all.push(candidate(EMULATOR, "the built-in emulated modem"));
    }
    all
}

/// Returns the data sessions of the running `up` that the line names, or of the only one.
fn sessions() -> Vec<CompletionCandidate> {
    let device = given(&["--device", "-d"]);
    let Ok(Some(entry)) = Running::look(None, device.as_deref(), SocketChoice::Status).only()
    else {
        return Vec::new();
    };
    let reply = StatusClient::connect(&entry.socket).and_then(|mut client| client.status());
    let status = reply.ok().and_then(|reply| reply.status);
    let sessions = status
        .as_ref()
        .and_then(|status| status["sessions"].as_array());
    let sessions = sessions.into_iter().flatten();
    sessions
        .filter_map(|one| {
            let number = one["session"].as_u64()?.to_string();
            Some(candidate(number, one["apn"].as_str().unwrap_or_default()))
        })
        .collect()
}

/// Returns the names of configurations, as `uwwan up NAME` takes them.
fn configurations() -> Vec<CompletionCandidate> {
    let files = configurations::all();
    let mut all: Vec<CompletionCandidate> = Vec::new();
    for file in files {
        let Some(name) = file.file_stem() else {
            continue;
        };
        // The user's own configuration comes first, and hides the machine's of the same name.
        if !all.iter().any(|one| one.get_value() == name) {
            all.push(candidate(name, &file.display().to_string()));
        }
    }
    all
}

/// Returns the names of configurations that fit, and files.
fn files_and_names(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let mut all = configurations();
    all.retain(|one| one.get_value().to_string_lossy().starts_with(&*begun));
    all.extend(PathCompleter::any().complete(current));
    all
}

/// Returns the knobs of the emulated modem; after `=`, the words of one.
fn knobs(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let catalogue = Knobs::catalogue();
    let Some((name, _)) = current.split_once('=') else {
        let names = catalogue.into_iter();
        let names = names.map(|knob| candidate(format!("{}=", knob.name), &knob.about));
        return names
            .filter(|one| one.get_value().to_string_lossy().starts_with(&*current))
            .collect();
    };
    let Some(knob) = catalogue.into_iter().find(|knob| knob.name == name) else {
        return Vec::new();
    };
    let words = match knob.default.as_str() {
        _ if !knob.choices.is_empty() => knob.choices.iter().map(|&word| word.to_owned()).collect(),
        "on" | "off" => vec!["on".to_owned(), "off".to_owned()],
        _ => vec![knob.default],
    };
    words
        .into_iter()
        .map(|word| format!("{name}={word}"))
        .filter(|word| word.starts_with(&*current))
        .map(|word| candidate(word, ""))
        .collect()
}

/// Returns the MBIM services that have names.
fn services() -> Vec<CompletionCandidate> {
    let all = registry::services().iter();
    all.map(|service| candidate(service.name, "")).collect()
}

/// Returns the commands of the service that the line names.
fn cids() -> Vec<CompletionCandidate> {
    let service = given(&["--service"]).and_then(|name| registry::service_named(&name));
    let all = service.into_iter().flat_map(|service| service.cids);
    all.map(|cid| candidate(cid.name, "")).collect()
}

/// Returns the value that the line gives an option of one of these names.
fn given(names: &[&str]) -> Option<String> {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    value_of(&words, names)
}

fn value_of(words: &[String], names: &[&str]) -> Option<String> {
    words.iter().enumerate().find_map(|(at, word)| {
        if names.contains(&word.as_str()) {
            return words.get(at + 1).cloned();
        }
        let (name, value) = word.split_once('=')?;
        names.contains(&name).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(all: Vec<CompletionCandidate>) -> Vec<String> {
        all.iter()
            .map(|one| one.get_value().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_knob_is_completed_in_two_steps() {
        let names = values(knobs(OsStr::new("settle_")));
        assert!(names.contains(&"settle_ms=".to_owned()), "{names:?}");
        assert_eq!(
            values(knobs(OsStr::new("silent_after_direct_switch=o"))),
            [
                "silent_after_direct_switch=on",
                "silent_after_direct_switch=off"
            ]
        );
        assert!(knobs(OsStr::new("nothing=")).is_empty());
    }

    #[test]
    fn values_stand_in_the_next_word_or_behind_an_equals_sign() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let service = |text| value_of(&words(text), &["--service"]);
        assert_eq!(
            service("mbim send --service sms --cid ").as_deref(),
            Some("sms")
        );
        assert_eq!(
            service("mbim send --service=sms --cid ").as_deref(),
            Some("sms")
        );
        assert_eq!(service("mbim send --cid "), None);
        assert_eq!(service("mbim send --service"), None);
    }
}
