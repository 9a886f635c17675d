//! A description of an NTB with any text makes an NTB or is refused, and the NTB is parsed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| uwwan::fuzz::ntb_description(text));
