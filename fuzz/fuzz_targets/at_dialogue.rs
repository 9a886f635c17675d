//! An AT port sends any bytes at any time: there is no panic, every command comes to exactly one
//! end, and every answer is parsed or refused.
#![no_main]

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_at::commands::{Query, context, identity, ports, profiles, registration, signal, sim};
use uwwan_at::dialogue::{Command, Dialogue, Event};
use uwwan_at::line::split;

#[derive(Debug, Arbitrary)]
enum Step {
    Ask(u8),
    AskAnything(String),
    AskWithText(String),
    Cancel,
    Hear(Vec<u8>),
    Pass(u8),
    Close,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut now = Instant::now();
    let mut dialogue = Dialogue::default();
    // The modem echoes all bytes of a step.
    let mut echo = Vec::new();
    let mut open = Vec::new();
    for step in steps {
        let command = match step {
            Step::Ask(which) => Command::new(LINES[usize::from(which) % LINES.len()]).ok(),
            Step::AskAnything(line) => {
                let _ = split(&line);
                Command::new(line).ok()
            }
            Step::AskWithText(text) => Command::new("AT+CMGS=1")
                .and_then(|command| command.with_text(text))
                .ok(),
            Step::Cancel => {
                if let Some(id) = open.last() {
                    dialogue.cancel(*id);
                }
                None
            }
            Step::Hear(bytes) => {
                dialogue.receive(now, &bytes);
                echo.extend(bytes);
                None
            }
            Step::Pass(seconds) => {
                now += Duration::from_secs(seconds.into());
                dialogue.handle_timeout(now);
                assert!(dialogue.poll_timeout().is_none_or(|at| at > now));
                None
            }
            Step::Close => {
                dialogue.close();
                None
            }
        };
        if let Some(command) = command
            && let Ok(id) = dialogue.command(now, command)
        {
            open.push(id);
        }
        while let Some(bytes) = dialogue.poll_transmit() {
            echo.extend(bytes);
        }
        dialogue.receive(now, &std::mem::take(&mut echo));
        take(&mut dialogue, &mut open);
    }
    dialogue.close();
    take(&mut dialogue, &mut open);
    assert!(open.is_empty(), "a command without an end");
});

const LINES: [&str; 8] = [
    "AT",
    "ATI",
    "AT+CSQ",
    "AT+COPS=?",
    "AT^HCSQ?",
    "ATD*99#",
    "AT+CGDCONT=?;+CEREG?",
    "AT^PLMNLIST?",
];

fn take(dialogue: &mut Dialogue, open: &mut Vec<uwwan_at::dialogue::CommandId>) {
    while let Some(event) = dialogue.poll_event() {
        if let Event::Done(done) = event {
            let at = open.iter().position(|id| *id == done.id);
            open.remove(at.expect("a command ends once"));
            read_as_everything(&done.lines);
        }
    }
}

fn read_as_everything(lines: &[String]) {
    let _ = identity::Information::parse(lines);
    let _ = identity::Serial::parse(lines);
    let _ = identity::Subscriber::parse(lines).map(|subscriber| subscriber.operator().is_some());
    let _ = sim::Pin::parse(lines);
    let _ = sim::PinAttempts::parse(lines);
    let _ = signal::SignalQuality::parse(lines).map(|signal| signal.dbm());
    let _ = signal::Signal::parse(lines);
    let _ = signal::Temperatures::parse(lines);
    let _ = signal::Carriers::parse(lines);
    let _ = registration::LteRegistration::parse(lines);
    let _ = registration::Operator::parse(lines);
    let _ = registration::OperatorScan::parse(lines);
    let _ = registration::SystemInformation::parse(lines);
    let _ = registration::SystemConfiguration::parse(lines)
        .map(|configuration| configuration.lte_band_numbers().count());
    let _ = context::Contexts::parse(lines);
    let _ = context::ContextKinds::parse(lines);
    let _ = context::ActiveContexts::parse(lines);
    let _ = context::ContextAddresses::parse(lines);
    let _ = context::Dhcp::parse(lines);
    let _ = context::NetworkInterface::parse(lines);
    let _ = profiles::Profiles::parse(lines).map(|profiles| profiles.of("24201").len());
    let _ = profiles::Ipv6Capability::parse(lines);
    let _ = ports::PortSetting::parse(lines);
    let _ = ports::PortModes::parse(lines);
}
