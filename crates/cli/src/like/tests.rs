use std::io::Cursor;

use uwwan_emulator::rules::{Action, Answer, State, Trigger};
use uwwan_mbim::services::basic_connect::{CONNECT, IP_CONFIGURATION};

use super::*;

/// The capture shows the kernel's drivers and mbimcli with another model of the lt4132, recorded by
/// tcpdump.
const KERNEL: &[u8] = include_bytes!("../../../capture/tests/vectors/kernel-mbimcli-usbmon.pcap");

fn kernel() -> Like {
    from(Cursor::new(KERNEL), "kernel").unwrap()
}

#[test]
fn the_modem_of_the_kernels_capture_is_found() {
    let like = kernel();
    let descriptors = like.descriptors.as_ref().unwrap();
    assert_eq!(
        (descriptors.vendor(), descriptors.product()),
        (0x03f0, 0xa31d)
    );
    assert_eq!(descriptors.configurations.len(), 3);
    assert_eq!(like.strings[&1], "HP");
    for knob in [
        "ntb_remainder=2",
        "ntb_in_remainder=2",
        "ntb_max_datagrams=16",
        "ntb_out_max=16384",
        "ndp_place=front",
        "ipv4_prefix=30",
    ] {
        assert!(
            like.knobs.iter().any(|one| one == knob),
            "{knob}: {:?}",
            like.knobs
        );
    }
    let answers = |id: uwwan_mbim::registry::CidId| {
        let rules = like.rules.iter().filter(move |rule| match &rule.on {
            Trigger::Mbim { service, cid, .. } => (*service, *cid) == (id.service, id.cid),
            _ => false,
        });
        rules.collect::<Vec<_>>()
    };
    let connect = answers(CONNECT);
    assert!(
        connect.iter().any(|rule| rule.after.as_millis() == 815),
        "{connect:?}"
    );
    assert!(matches!(
        answers(IP_CONFIGURATION)[0].answer,
        Some(Answer::Mbim { .. })
    ));
    assert!(like.notes[0].contains("MBIM commands"), "{:?}", like.notes);
}

/// A capture that is cut off is used up to that place, and garbage is refused with its place.
#[test]
fn a_broken_capture_is_used_up_to_its_fault() {
    let cut = &KERNEL[..KERNEL.len() - 7];
    let like = from(Cursor::new(cut), "cut").unwrap();
    assert!(like.descriptors.is_some());
    let told = like.notes.last().unwrap();
    assert!(
        told.contains("not used to its end") && told.contains("at byte"),
        "{told}"
    );
    for (bytes, why) in [
        (&KERNEL[..300], "the file ends inside a block"),
        (
            &b"nothing at all, but long enough"[..],
            "neither a pcapng nor a pcap",
        ),
        (&KERNEL[..24], "no device in it"),
    ] {
        let failure = from(Cursor::new(bytes), "x").unwrap_err();
        assert!(failure.to_string().contains(why), "{failure}");
    }
}

#[test]
fn answers_that_change_come_in_their_order() {
    let mut answers = super::answers::Answers::default();
    let said = |text: &str| Answer::At(text.to_owned());
    for text in ["a", "a", "b", "c", "c"] {
        answers.push("AT", said(text), 5_000_000, 3);
    }
    for number in 0..100_000 {
        answers.push("AT+X", said(&number.to_string()), 0, 8);
    }
    let rules = answers.rules(|line| Trigger::At((*line).to_owned()));
    let told: Vec<_> = rules[..3]
        .iter()
        .map(|rule| (rule.answer.clone(), rule.times))
        .collect();
    let expected = [("a", Some(2)), ("b", Some(1)), ("c", None)];
    assert_eq!(
        told,
        expected.map(|(text, times)| (Some(said(text)), times))
    );
    assert_eq!(rules[0].after.as_millis(), 5);
    // The bound keeps the first answer and the last.
    assert!(rules.len() < 100, "{}", rules.len());
    assert_eq!(rules.last().unwrap().answer, Some(said("99999")));
}

#[test]
fn result_codes_that_answer_nothing_come_again() {
    let mut lines = super::at::Lines::default();
    let mut now = 2_000_000_000;
    for (out, text) in [
        (false, "\r\n^RSSI: 2"),
        (false, "1\r\n"),
        (true, "AT+CSQ\r"),
        (false, "AT+CSQ\r\r\n+CSQ: 21,99\r\n\r\nOK\r\n"),
        (false, "\r\nRING\r\n\r\nnonsense\r\n\r\n+CME ERROR: 3\r\n"),
        (false, "\r\n+CREG: 1\r\n"),
    ] {
        lines.take(text.as_bytes(), now, out);
        now += 100_000_000;
    }
    let (mut like, mut found) = (Like::default(), Vec::new());
    lines.finish(Some(1_000_000_000), &mut like, &mut found, &mut Vec::new());
    let told: Vec<(&str, u128)> = like
        .rules
        .iter()
        .filter(|rule| rule.on == Trigger::State(State::Open))
        .map(|rule| match &rule.actions[..] {
            [Action::Tell(line)] => (&line[..], rule.after.as_millis()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [("^RSSI: 21", 1100), ("RING", 1400), ("+CREG: 1", 1500)]
    );
    assert!(
        found.iter().any(|one| one == "3 unsolicited result codes"),
        "{found:?}"
    );
}

#[test]
fn addresses_of_every_session_are_taken_and_what_is_unknown_is_told() {
    use uwwan_mbim::fields::Layout;
    use uwwan_mbim::message::{Body, CommandKind, Message};
    use uwwan_mbim::services::basic_connect::{
        IPConfigurationAvailableFlag, IpConfiguration, Ipv4Element,
    };
    use uwwan_mbim::status::Status;

    let mut control = super::mbim::Control::default();
    let mut packet = 0;
    let mut exchange = |id: uwwan_mbim::registry::CidId, kind, asked: Vec<u8>, told: Vec<u8>| {
        let (service, cid) = (id.service, id.cid);
        let command = Message {
            transaction: 1,
            body: Body::Command {
                service,
                cid,
                kind,
                info: asked,
            },
        };
        let done = Message {
            transaction: 1,
            body: Body::CommandDone {
                service,
                cid,
                status: Status::NONE,
                info: told,
            },
        };
        packet += 2;
        control.take(&command.encode_whole(), packet, 1, true, None);
        control.take(
            &done.encode_whole(),
            packet + 1,
            2,
            false,
            Some((packet, 1)),
        );
    };
    for session in [1u8, 2] {
        exchange(
            CONNECT,
            CommandKind::SET,
            vec![session, 0, 0, 0],
            vec![0; 36],
        );
    }
    let told = IpConfiguration {
        session_id: 1,
        ipv4_configuration_available: IPConfigurationAvailableFlag::NONE,
        ipv6_configuration_available: IPConfigurationAvailableFlag::NONE,
        ipv4_address: vec![Ipv4Element {
            on_link_prefix_length: 30,
            ipv4_address: [100, 65, 0, 9].into(),
        }],
        ipv4_gateway: Some([100, 65, 0, 10].into()),
        ipv6_address: Vec::new(),
        ipv6_gateway: None,
        ipv4_dns_server: Vec::new(),
        ipv6_dns_server: Vec::new(),
        ipv4_mtu: 0,
        ipv6_mtu: 0,
    };
    exchange(
        IP_CONFIGURATION,
        CommandKind::QUERY,
        vec![1, 0, 0, 0],
        told.encode_info(),
    );
    let (mut like, mut missing) = (Like::default(), Vec::new());
    control.finish(&mut like, &mut Vec::new(), &mut missing);
    let knob = "session_addresses=1:100.65.0.9-100.65.0.10".to_owned();
    assert!(like.knobs.contains(&knob), "{:?}", like.knobs);
    assert_eq!(
        missing,
        ["addresses of data session 0", "addresses of data session 2"]
    );
}
