//! A file of knobs and rules of any text is read or refused, and what is read runs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_emulator::fuzz::rule_file;

fuzz_target!(|text: &str| rule_file(text));
