//! Clients of the control socket send any bytes at any time: the service answers them, removes them
//! when they leave, and bounds them. The bytes are also parsed as the reply of a running `up`.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_modem::fuzz::{Served, reply};

#[derive(Debug, Arbitrary)]
enum Step {
    Connect(u8),
    Send(u8, Vec<u8>),
    Read(u8, u16),
    End(u8),
    Leave(u8),
    Pass(u16),
    Reply(Vec<u8>),
}

fuzz_target!(|steps: Vec<Step>| {
    let mut served = Served::control();
    for step in steps {
        match step {
            Step::Connect(caller) => served.connect(1, caller),
            Step::Send(client, bytes) => served.send(client, &bytes),
            Step::Read(client, count) => served.read(client, count),
            Step::End(client) => served.end(client),
            Step::Leave(client) => served.leave(client),
            Step::Pass(milliseconds) => served.pass(Duration::from_millis(milliseconds.into())),
            Step::Reply(line) => reply(&line),
        }
    }
    served.stop();
});
