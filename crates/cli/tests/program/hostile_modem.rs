//! Every command with a modem whose answers do the most harm: the program ends in time, without a
//! crash, and its output does not steer a terminal.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use uwwan_mbim::fields::Layout;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{self as bc, PinState, PinType};
use uwwan_mbim::services::{phonebook, sms, ussd};
use uwwan_mbim::status::Status;

use crate::forms;

/// Function that returns the answer to a CID; the number counts the commands.
type Answer = fn(CidId, u64) -> (Status, Vec<u8>);

/// Text that would clear a terminal, ring its bell, and reverse the text that follows.
const EVIL: &str = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}\r\nend\0";

/// Returns a runtime directory in which a running `up` seems to have a modem with these answers.
fn place(answer: Answer) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("1-4");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    let control = UnixListener::bind(folder.join("control")).unwrap();
    let mbim = UnixListener::bind(folder.join("mbim")).unwrap();
    std::thread::spawn(move || control.incoming().for_each(drop));
    std::thread::spawn(move || {
        for client in mbim.incoming().flatten() {
            std::thread::spawn(move || serve(client, answer));
        }
    });
    base
}

fn serve(mut client: UnixStream, answer: Answer) {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    loop {
        let mut header = [0; 12];
        if client.read_exact(&mut header).is_err() {
            return;
        }
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let mut bytes = header.to_vec();
        bytes.resize(length, 0);
        if client.read_exact(&mut bytes[12..]).is_err() {
            return;
        }
        let Ok(Message { transaction, body }) = Message::decode(&bytes) else {
            return;
        };
        let mut say = |transaction, body| {
            for part in (Message { transaction, body }).encode(4096) {
                let _ = client.write_all(&part);
            }
        };
        match body {
            Body::Open { .. } => say(transaction, Body::OpenDone(Status::NONE)),
            Body::Close => say(transaction, Body::CloseDone(Status::NONE)),
            Body::Command { service, cid, .. } => {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // An unexpected indication comes first.
                let info = vec![0xff; 40];
                say(0, Body::Indication { service, cid, info });
                let (status, info) = answer(CidId { service, cid }, seed);
                let body = Body::CommandDone {
                    service,
                    cid,
                    status,
                    info,
                };
                say(transaction, body);
            }
            _ => {}
        }
    }
}

const COMMANDS: &[&[&str]] = &[
    &["info"],
    &["info", "--json", "--show-personal"],
    &["services"],
    &["services", "--json"],
    &["sim", "--show-personal"],
    &["pin", "status"],
    &["pin", "enter", "--pin-file", "/dev/null"],
    &["radio"],
    &["radio", "on"],
    &["operator", "home"],
    &["operator", "preferred"],
    &["operator", "scan"],
    &["operator", "scan", "--json"],
    &["sessions", "--all"],
    &["sessions", "--json"],
    &["disconnect", "3"],
    &["signal"],
    &["contexts", "--show-personal"],
    &["stats"],
    &["sms", "list"],
    &["sms", "list", "--json"],
    &["sms", "read", "1"],
    &["sms", "send", "1300", "hello"],
    &["sms", "delete", "--all"],
    &["ussd", "*100#"],
    &["ussd", "*100#", "--reply", "1", "--json"],
    &["phonebook", "list"],
    &["phonebook", "write", "name", "1"],
    &["ip-filters"],
    &[
        "mbim",
        "send",
        "--service",
        "basic_connect",
        "--cid",
        "device_caps",
        "--query",
    ],
    &[
        "mbim",
        "send",
        "--service",
        "sms",
        "--cid",
        "read",
        "--query",
        "--json",
    ],
];

/// Runs every command, and checks how each ends.
fn survives(answer: Answer) {
    let base = place(answer);
    for command in COMMANDS {
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_uwwan"))
            .args(*command)
            .env("UWWAN_RUNTIME_DIR", base.path())
            .env_remove("UWWAN_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let code = output.status.code();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(code, Some(0..=7)), "{command:?}: {code:?}: {told}");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{command:?} takes for ever"
        );
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(stream.clone()).expect("text");
            let steering = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202a}'..='\u{202e}'));
            assert_eq!(steering, None, "{command:?}: {text:?}");
        }
        let success = code == Some(0);
        if success && command.contains(&"--json") {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            forms::json(&forms::command_of(command), &text);
        }
    }
}

#[test]
fn empty_answers() {
    survives(|_, _| (Status::NONE, Vec::new()));
}

#[test]
fn counts_and_offsets_out_of_range() {
    survives(|_, _| (Status::NONE, vec![0xff; 4000]));
    survives(|_, _| (Status::NONE, vec![0x7f; 100]));
}

#[test]
fn zeros() {
    survives(|_, _| (Status::NONE, vec![0; 3000]));
}

#[test]
fn noise() {
    survives(|_, mut seed| {
        let noise = (0..(seed % 600)).map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        });
        (Status::NONE, noise.collect())
    });
}

#[test]
fn refusals_of_every_kind() {
    survives(|id, _| (Status(0x8000_0000 | id.cid), vec![1, 2, 3]));
    survives(|_, _| (Status::OPERATION_NOT_ALLOWED, Vec::new()));
}

#[test]
fn well_formed_answers_with_evil_content() {
    survives(|id, _| (Status::NONE, evil(id)));
}

fn evil(id: CidId) -> Vec<u8> {
    let text = || EVIL.to_owned();
    let provider = || bc::Provider {
        provider_id: text(),
        provider_name: text(),
        provider_state: bc::ProviderState(u32::MAX),
        rssi: u32::MAX,
        ..bc::Provider::default()
    };
    match id {
        bc::DEVICE_CAPS => bc::DeviceCaps {
            max_sessions: u32::MAX,
            device_id: text(),
            firmware_info: text(),
            hardware_info: text(),
            data_class: bc::DataClass(u32::MAX),
            ..bc::DeviceCaps::default()
        }
        .encode(),
        bc::SUBSCRIBER_READY_STATUS => bc::SubscriberReadyStatus {
            ready_state: bc::SubscriberReadyState(u32::MAX),
            subscriber_id: text(),
            sim_icc_id: text(),
            telephone_numbers: vec![text(); 50],
            ..bc::SubscriberReadyStatus::default()
        }
        .encode(),
        bc::PIN => bc::PinInfo {
            pin_type: PinType(u32::MAX),
            pin_state: PinState::LOCKED,
            remaining_attempts: u32::MAX,
        }
        .encode(),
        bc::HOME_PROVIDER => bc::HomeProvider {
            provider: provider(),
        }
        .encode(),
        bc::PREFERRED_PROVIDERS | bc::VISIBLE_PROVIDERS => bc::VisibleProviders {
            providers: vec![provider(); 100],
        }
        .encode(),
        bc::REGISTER_STATE => bc::RegistrationState {
            register_state: bc::RegisterState(u32::MAX),
            provider_id: text(),
            provider_name: text(),
            roaming_text: text(),
            ..bc::RegistrationState::default()
        }
        .encode(),
        bc::CONNECT => bc::ConnectInfo {
            session_id: u32::MAX,
            activation_state: bc::ActivationState::ACTIVATED,
            nw_error: uwwan_mbim::NwError(u32::MAX),
            ..bc::ConnectInfo::default()
        }
        .encode(),
        bc::PROVISIONED_CONTEXTS => bc::ProvisionedContexts {
            provisioned_contexts: vec![
                bc::ProvisionedContextElement {
                    context_id: u32::MAX,
                    access_string: text(),
                    user_name: text(),
                    password: text(),
                    ..bc::ProvisionedContextElement::default()
                };
                30
            ],
        }
        .encode(),
        bc::PACKET_STATISTICS => bc::PacketStatistics {
            in_octets: u64::MAX,
            out_packets: u64::MAX,
            ..bc::PacketStatistics::default()
        }
        .encode(),
        bc::IP_PACKET_FILTERS => bc::IpPacketFilters {
            session_id: 0,
            packet_filters: vec![bc::PacketFilter::default(); 40],
        }
        .encode(),
        sms::READ => messages().encode(),
        ussd::USSD => ussd::Ussd {
            // The network asks for ever.
            response: ussd::UssdResponse::ACTION_REQUIRED,
            session_state: ussd::UssdSessionState(u32::MAX),
            data_coding_scheme: 0x48,
            payload: EVIL.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
        .encode(),
        phonebook::READ => phonebook::ReadInfo {
            entries: vec![
                phonebook::PhonebookEntry {
                    entry_index: u32::MAX,
                    number: text(),
                    name: text(),
                };
                200
            ],
        }
        .encode(),
        other => uwwan_mbim::registry::cid(other)
            .and_then(|cid| cid.base.done)
            .map(|schema| uwwan_mbim::fields::write(&uwwan_mbim::fields::Record::empty(schema)))
            .unwrap_or_default(),
    }
}

/// Returns messages that cannot be read, that hold hostile text, and whose parts contradict each
/// other.
fn messages() -> sms::ReadInfo {
    let mut pdus: Vec<Vec<u8>> = vec![vec![], vec![0xff; 200], vec![0; 3]];
    // The parts are part 1 of 255, twice, and part 255 of it.
    for number in [1, 1, 255] {
        let mut pdu = vec![0, 0x44, 1, 0x81, 0x01, 0, 8, 0x11, 0x10, 0x10, 0, 0, 0, 0];
        let text: Vec<u8> = EVIL.encode_utf16().flat_map(u16::to_be_bytes).collect();
        pdu.push(6 + text.len() as u8);
        pdu.extend([5, 0, 3, 7, 255, number]);
        pdu.extend(text);
        pdus.push(pdu);
    }
    let record = |pdu_data| sms::SmsPduReadRecord {
        message_index: 1,
        message_status: sms::SmsStatus(u32::MAX),
        pdu_data,
    };
    sms::ReadInfo {
        pdu_messages: pdus.into_iter().map(record).collect(),
        ..sms::ReadInfo::default()
    }
}

#[test]
fn the_evil_answers_are_well_formed() {
    assert!(bc::DeviceCaps::decode_info(&evil(bc::DEVICE_CAPS)).is_ok());
    assert_eq!(messages().pdu_messages.len(), 6);
    assert!(sms::ReadInfo::decode_info(&evil(sms::READ)).is_ok());
}
