//! A file of descriptors with any content is parsed: bytes, hexadecimal text or the output of
//! `lsusb -v`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::descriptors(bytes));
