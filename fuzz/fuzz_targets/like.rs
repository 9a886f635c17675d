//! A capture of any bytes becomes an emulated modem or is refused, and the modem is switched on.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::captured_modem(bytes));
