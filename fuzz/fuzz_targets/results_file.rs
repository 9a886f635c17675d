//! A file of the laboratory's results with any content is read or refused, and what was read is what is read
//! again from its whole lines.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/commands/lab/journal.rs"]
mod journal;
#[path = "../../crates/cli/src/commands/lab/outcome.rs"]
mod outcome;
#[path = "../../crates/cli/src/output_queue.rs"]
mod output_queue;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((plan, entries, whole)) = journal::parse(bytes) else {
        return;
    };
    let whole = usize::try_from(whole).expect("it is a part of the input");
    let again = journal::parse(&bytes[..whole]).expect("whole lines are read");
    assert_eq!(
        (&again.0, again.1.len(), again.2),
        (&plan, entries.len(), whole as u64)
    );
});
