//! Clients of the control session send any bytes at each entrance, and a modem answers anything:
//! there is no panic, and the bytes held for a client and the commands sent to the modem are
//! bounded.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_modem::fuzz::Proxy;

#[derive(Debug, Arbitrary)]
enum Step {
    Connect(u8, u8),
    Send(u8, Vec<u8>),
    Read(u8, u16),
    Leave(u8),
    Pass(u16),
    Modem(u8),
    Answer(u32, Vec<u8>),
    Indicate(Vec<u8>),
}

fuzz_target!(|steps: Vec<Step>| {
    let mut proxy = Proxy::default();
    for step in steps {
        match step {
            Step::Connect(entrance, caller) => proxy.served.connect(entrance, caller),
            Step::Send(client, bytes) => proxy.served.send(client, &bytes),
            Step::Read(client, count) => proxy.served.read(client, count),
            Step::Leave(client) => proxy.served.leave(client),
            Step::Pass(time) => proxy.served.pass(Duration::from_millis(time.into())),
            Step::Modem(outstanding) => proxy.modem(outstanding % 32),
            Step::Answer(status, info) => proxy.answer(status, &info),
            Step::Indicate(info) => proxy.indicate(&info),
        }
    }
    proxy.served.stop();
});
