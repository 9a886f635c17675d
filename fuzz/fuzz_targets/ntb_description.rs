//! A description of an NTB, of any text, makes an NTB or is refused, and what it makes is read.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../crates/cli/src/commands/ntb/assemble.rs"]
mod assemble;
#[path = "../../crates/cli/src/commands/ntb/description.rs"]
mod description;
#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/hex.rs"]
mod hex;
#[path = "../../crates/cli/src/output_queue.rs"]
mod output_queue;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use uwwan_ncm::{DropCounters, Limits, Ntb};

fuzz_target!(|text: &str| {
    let Ok(description) = description::Description::parse(Path::new("ntb.toml"), text) else {
        return;
    };
    let Ok(built) = assemble::assemble(&description) else {
        return;
    };
    if let Ok(ntb) = Ntb::parse(&built.bytes, &Limits::default()) {
        let _ = ntb.datagrams(&mut DropCounters::default()).count();
    }
});
