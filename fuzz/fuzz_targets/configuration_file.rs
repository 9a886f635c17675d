//! A configuration file of any text is read, with its sessions and routes, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| uwwan::fuzz::configuration(text));
