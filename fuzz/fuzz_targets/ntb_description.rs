//! A description of an NTB, of any text, makes an NTB or is refused, and what it makes is read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| uwwan::fuzz::ntb_description(text));
