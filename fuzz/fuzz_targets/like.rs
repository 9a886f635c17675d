//! A capture of any bytes is a modem or is refused, and the modem is switched on.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/like/mod.rs"]
mod like;
#[path = "../../crates/cli/src/output.rs"]
mod output;
#[path = "../../crates/cli/src/output_queue.rs"]
mod output_queue;
#[path = "../../crates/cli/src/story/mod.rs"]
mod story;

/// What the story's telling takes of the AT commands, which is not needed here.
mod commands {
    pub mod at {
        pub fn shown(text: &str) -> String {
            text.to_owned()
        }
    }
}

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use uwwan_emulator::fuzz::Plugged;
use uwwan_emulator::rules::Answer;
use uwwan_emulator::{Knobs, Setup};

fuzz_target!(|bytes: &[u8]| {
    let Ok(like) = like::from(bytes, "fuzz") else {
        return;
    };
    let held = |answer: &Answer| match answer {
        Answer::Mbim { info, .. } => info.len(),
        Answer::Bytes(bytes) => bytes.len(),
        Answer::At(text) => text.len(),
        _ => 0,
    };
    let answers = like.rules.iter().filter_map(|rule| rule.answer.as_ref());
    // No more is held than was captured.
    assert!(answers.map(held).sum::<usize>() <= bytes.len());
    let mut knobs = like
        .descriptors
        .as_ref()
        .map(Knobs::like)
        .unwrap_or_default();
    for assignment in &like.knobs {
        let _ = knobs.assign(assignment);
    }
    let setup = Setup {
        knobs,
        descriptors: like.descriptors,
        strings: like.strings,
        rules: like.rules,
    };
    let mut plugged = Plugged::of(setup, false);
    for _ in 0..4 {
        if !plugged.read(Duration::from_millis(100)) {
            return;
        }
    }
});
