//! A file of descriptors, of any content: bytes, hexadecimal text or what `lsusb -v` prints.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| uwwan::fuzz::descriptors(bytes));
