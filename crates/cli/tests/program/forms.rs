//! Reads the output of commands with `--json`, and checks it against the schemas that `uwwan schema` prints.
//! Every test reads JSON here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::Value;

use crate::running::{succeeds, uwwan};

/// Returns the validator for the schema of a command.
#[track_caller]
fn validator(command: &str) -> Arc<Validator> {
    static KNOWN: Mutex<Option<HashMap<String, Arc<Validator>>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(validator) = known.get(command) {
        return Arc::clone(validator);
    }
    let mut arguments = vec!["schema"];
    arguments.extend(command.split(' '));
    let printed = succeeds(&uwwan(&arguments).output().unwrap());
    let schema: Value = serde_json::from_str(&printed).unwrap();
    let validator = Arc::new(jsonschema::validator_for(&schema).unwrap());
    known.insert(command.to_owned(), Arc::clone(&validator));
    validator
}

/// Returns a line that a command has printed, after it was checked against the command's schema.
#[track_caller]
pub fn json(command: &str, line: impl AsRef<[u8]>) -> Value {
    let text = String::from_utf8_lossy(line.as_ref());
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"));
    let validator = validator(command);
    let wrong: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{command}: {wrong:#?}\n{value:#}");
    without_version(value)
}

/// Returns the value without the version, which the schema requires.
fn without_version(mut value: Value) -> Value {
    let objects = match &mut value {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    };
    for fields in objects.into_iter().filter_map(Value::as_object_mut) {
        fields.shift_remove("version");
    }
    value
}

/// Does as [`json`] with every line.
#[track_caller]
pub fn lines(command: &str, text: impl AsRef<[u8]>) -> Vec<Value> {
    let text = String::from_utf8_lossy(text.as_ref());
    text.lines().map(|line| json(command, line)).collect()
}

/// Reads an answer of the control socket, which no command has printed.
#[track_caller]
pub fn told_by_socket(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Returns the command of a command line: its leading words, as far as they name a command with a schema.
pub fn command_of(arguments: &[&str]) -> String {
    let known = succeeds(&uwwan(&["schema"]).output().unwrap());
    let mut best = "";
    for name in known.lines() {
        let words: Vec<&str> = name.split(' ').collect();
        let mut rest = arguments.iter().filter(|word| !word.starts_with('-'));
        if name.len() > best.len() && words.iter().all(|word| rest.next() == Some(word)) {
            best = name;
        }
    }
    assert!(!best.is_empty(), "no schema fits {arguments:?}");
    best.to_owned()
}

/// No test parses JSON outside this file, so that none forgets the schema.
#[test]
fn every_test_reads_json_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "forms.rs" {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for past in ["serde_json::from_", "Deserializer::from_"] {
            assert!(!text.contains(past), "{name} reads JSON by {past}…");
        }
    }
    assert!(files > 20, "{files}");
}

/// A value of another form is refused.
#[test]
#[should_panic(expected = "is not of type")]
fn a_wrong_form_is_noticed() {
    json("error", r#"{"version": 1, "exit": "one", "kind": "usage"}"#);
}
