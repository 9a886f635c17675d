//! A file of the laboratory's results with any content is read or refused, and what was read is what is read
//! again from its whole lines.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::results(bytes));
