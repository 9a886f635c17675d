//! A quirk file of any text is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_modem::fuzz::quirk_file;

fuzz_target!(|text: &str| quirk_file(text));
