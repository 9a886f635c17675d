//! A file of knobs and rules with any text is parsed or refused, and the parsed rules run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_emulator::fuzz::rule_file;

fuzz_target!(|text: &str| rule_file(text));
