//! A USB/IP host or a virtual machine sends any bytes to the emulated modem: it is answered or
//! disconnected, and the output that waits for it is bounded.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_emulator::fuzz::Plugged;

#[derive(Debug, Arbitrary)]
enum Step {
    Send(Vec<u8>),
    Read(u16),
}

#[derive(Debug, Arbitrary)]
struct Input {
    machine: bool,
    steps: Vec<Step>,
}

fuzz_target!(|input: Input| {
    let mut modem = Plugged::new(input.machine);
    for step in input.steps {
        let connected = match step {
            Step::Send(bytes) => modem.send(&bytes),
            Step::Read(milliseconds) => modem.read(Duration::from_millis(milliseconds.into())),
        };
        if !connected {
            break;
        }
    }
});
