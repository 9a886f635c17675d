//! A file of descriptors, of any content: bytes, hexadecimal text or what `lsusb -v` prints.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../crates/cli/src/descriptor_file.rs"]
mod descriptor_file;
#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/output_queue.rs"]
mod output_queue;

use libfuzzer_sys::fuzz_target;
use uwwan_usb::functions;

fuzz_target!(|bytes: &[u8]| {
    for descriptors in descriptor_file::parse(bytes).into_iter().flatten() {
        let _ = functions::mbim(&descriptors);
        let _ = functions::ncm(&descriptors);
        let _ = functions::serial(&descriptors);
    }
});
