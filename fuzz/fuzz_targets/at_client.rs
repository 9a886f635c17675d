//! A client of the AT port, at the socket or at the terminal, sends any bytes: every command in
//! them is answered, and the output that waits for the client is bounded.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_modem::fuzz::AtClient;

#[derive(Debug, Arbitrary)]
enum Step {
    Send(Vec<u8>),
    Tell(Vec<u8>),
    Read(u16),
}

#[derive(Debug, Arbitrary)]
struct Input {
    types: bool,
    answer: Vec<Vec<u8>>,
    steps: Vec<Step>,
}

fuzz_target!(|input: Input| {
    let mut client = AtClient::new(input.types);
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let answer: Vec<String> = input.answer.iter().map(text).collect();
    for step in input.steps {
        match step {
            Step::Send(bytes) => client.send(&bytes, &answer),
            Step::Tell(bytes) => client.tell(&text(&bytes)),
            Step::Read(count) => client.read(count),
        }
    }
});
