//! A file of the laboratory's results with any content is parsed or refused, and its whole lines alone are
//! parsed to the same results.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::results(bytes));
