//! Tests of the table without a modem. `share` sends every command to an emulated modem.

use byteorder::{ByteOrder, LittleEndian};
use proptest::prelude::*;
use uwwan_at::dialogue::Command as AtCommand;
use uwwan_mbim::CommandKind;
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::{CidId, Part, Version, service_named, services};
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ConnectSet, PacketServiceAction, PacketServiceSet,
    RadioStateSet, RadioSwitchState, RegisterStateSet,
};
use uwwan_mbim::services::ms_basic_connect_extensions::{self as ext, VersionInfo};
use uwwan_mbim::services::{compal, ms_host_shutdown, ms_uicc_low_level_access as uicc};
use uwwan_mbim::session::Command;

use super::*;

const CALLERS: [Caller; 4] = [
    Caller::Everyone,
    Caller::Guest,
    Caller::Operator,
    Caller::Owner,
];

fn standing(caller: Caller) -> CallerState<'static> {
    CallerState {
        caller,
        forced: false,
        held: &[0, 7],
    }
}

fn judged(caller: Caller, command: &Command) -> Decision {
    judge_mbim(&standing(caller), &mut command.clone())
}

fn every_cid() -> impl Iterator<Item = CidId> {
    services().iter().flat_map(|service| {
        let cids = service.cids.iter();
        cids.map(move |cid| CidId {
            service: service.uuid,
            cid: cid.number,
        })
    })
}

fn set(id: CidId, info: &[u8]) -> Command {
    Command {
        id,
        kind: CommandKind::SET,
        info: info.to_vec(),
    }
}

fn connect(session_id: u32, activation_command: ActivationCommand) -> Command {
    let content = ConnectSet {
        session_id,
        activation_command,
        access_string: "internet".into(),
        ..ConnectSet::default()
    };
    Command::set(bc::CONNECT, &content)
}

#[test]
fn what_would_end_a_held_session_is_refused_to_all() {
    let radio = |radio_state| Command::set(bc::RADIO_STATE, &RadioStateSet { radio_state });
    let packet = |packet_service_action| {
        let content = PacketServiceSet {
            packet_service_action,
        };
        Command::set(bc::PACKET_SERVICE, &content)
    };
    let register = |register_action| {
        let content = RegisterStateSet {
            provider_id: "24201".into(),
            register_action,
            ..RegisterStateSet::default()
        };
        Command::set(bc::REGISTER_STATE, &content)
    };
    let only_gprs = Command::set(
        bc::REGISTER_STATE,
        &RegisterStateSet {
            register_action: bc::RegisterAction::AUTOMATIC,
            data_class: bc::DataClass::GPRS,
            ..RegisterStateSet::default()
        },
    );
    for command in [
        connect(0, ActivationCommand::DEACTIVATE),
        connect(0, ActivationCommand::ACTIVATE),
        connect(7, ActivationCommand::DEACTIVATE),
        radio(RadioSwitchState::OFF),
        packet(PacketServiceAction::DETACH),
        register(bc::RegisterAction::MANUAL),
        only_gprs,
        set(ext::DEVICE_RESET, b""),
        set(ms_host_shutdown::NOTIFY, b""),
        set(uicc::RESET, b""),
        set(uicc::APDU, b""),
        Command::query(compal::AT_COMMAND),
        set(bc::CONNECT, b""),
        set(bc::RADIO_STATE, b""),
    ] {
        for caller in CALLERS {
            let decision = judged(caller, &command);
            assert!(matches!(decision, Decision::Refuse(_)), "{command:?}");
        }
        let forced = |caller| CallerState {
            forced: true,
            ..standing(caller)
        };
        let owner = judge_mbim(&forced(Caller::Owner), &mut command.clone());
        assert_eq!(owner, Decision::Allow, "{command:?}");
        let operator = judge_mbim(&forced(Caller::Operator), &mut command.clone());
        assert_ne!(operator, Decision::Allow, "{command:?}");
    }
    // A filter stays in the modem, also for a program that gets the session later.
    let filters = set(bc::IP_PACKET_FILTERS, &[3, 0, 0, 0, 0, 0, 0, 0]);
    for caller in [Caller::Everyone, Caller::Guest, Caller::Operator] {
        let decision = judged(caller, &filters);
        assert!(matches!(decision, Decision::Refuse(_)), "{caller:?}");
    }
    assert_eq!(judged(Caller::Owner, &filters), Decision::Allow);
    for command in [
        connect(3, ActivationCommand::ACTIVATE),
        connect(3, ActivationCommand::DEACTIVATE),
        radio(RadioSwitchState::ON),
        packet(PacketServiceAction::ATTACH),
        register(bc::RegisterAction::AUTOMATIC),
        Command::query(bc::CONNECT),
        Command::query(bc::RADIO_STATE),
    ] {
        for caller in [Caller::Guest, Caller::Operator, Caller::Owner] {
            assert_eq!(judged(caller, &command), Decision::Allow, "{command:?}");
        }
    }
    // A caller loses nothing where no session is held.
    let alone = CallerState {
        held: &[],
        ..standing(Caller::Owner)
    };
    let mut off = radio(RadioSwitchState::OFF);
    assert_eq!(judge_mbim(&alone, &mut off), Decision::Allow);
}

#[test]
fn what_is_not_in_the_table_is_for_the_owner_alone() {
    for id in every_cid() {
        let unknown = CidId { cid: 4711, ..id };
        for kind in [CommandKind::QUERY, CommandKind::SET, CommandKind(7)] {
            let command = Command {
                kind,
                ..Command::query(unknown)
            };
            for caller in [Caller::Everyone, Caller::Guest] {
                assert_ne!(judged(caller, &command), Decision::Allow, "{unknown}");
            }
        }
    }
    for caller in CALLERS {
        let line = AtCommand::new("AT+NOSUCHTHING=1").unwrap();
        let expected = caller == Caller::Owner;
        let decision = judge_at(&standing(caller), &line);
        assert_eq!(decision == Decision::Allow, expected, "{caller:?}");
    }
}

#[test]
fn a_guest_reaches_neither_the_sim_nor_what_is_personal() {
    let sets: Vec<CidId> = every_cid()
        .filter(|id| judged(Caller::Guest, &set(*id, &[0; 64])) == Decision::Allow)
        .collect();
    // Zeros mean a registration by the modem's own choice, and an attachment.
    let expected = [
        bc::REGISTER_STATE,
        bc::PACKET_SERVICE,
        bc::SIGNAL_STATE,
        bc::DEVICE_SERVICE_SUBSCRIBE_LIST,
        bc::NETWORK_IDLE_HINT,
    ];
    assert_eq!(sets, expected);
    let allowed: Vec<CidId> = every_cid()
        .filter(|id| judged(Caller::Everyone, &set(*id, &[0; 64])) == Decision::Allow)
        .collect();
    assert_eq!(allowed, []);
    for private in [
        "sms",
        "auth",
        "ussd",
        "stk",
        "phonebook",
        "ms_uicc_low_level_access",
    ] {
        let service = service_named(private).unwrap();
        for id in every_cid().filter(|id| id.service == service.uuid) {
            assert_ne!(judged(Caller::Guest, &Command::query(id)), Decision::Allow);
        }
    }
    for caller in [Caller::Everyone, Caller::Guest, Caller::Operator] {
        let pin = judged(caller, &set(bc::PIN, b""));
        assert!(matches!(pin, Decision::Refuse(_)), "{caller:?}");
    }
    let pin = judged(Caller::Owner, &set(bc::PIN, b""));
    assert!(matches!(pin, Decision::UnlessLastAttempt(_)));
}

#[test]
fn at_lines_are_judged_by_their_strictest_part() {
    for (line, operator, owner) in [
        ("AT+CSQ", true, true),
        ("AT+COPS=3,0;+COPS?", true, true),
        ("AT+COPS?;+CFUN=0", false, false),
        ("AT+CFUN=1", true, true),
        ("AT+CFUN=1,1", false, false),
        ("AT+CFUN=01", false, false),
        ("at^reset", false, false),
        ("AT+CLCK=\"SC\",2", true, true),
        ("AT+CLCK=\"SC\",0,\"0000\"", false, false),
        ("AT+CPIN?", true, true),
        ("AT+CPIN=\"0000\"", false, false),
        ("AT+CRSM=176,28589,0,0,4", false, true),
        ("AT+CRSM=32,28589,0,0,4", false, false),
        ("AT+CMGS=23", true, true),
        ("ATD12345;", false, false),
        ("AT+A B", false, false),
        ("AT^CURC=0", false, true),
        ("AT+CMUX=0", false, false),
        ("ATS3=65", false, false),
        ("ATE0S3=65", false, false),
    ] {
        let command = AtCommand::new(line).unwrap();
        let allowed = |caller| judge_at(&standing(caller), &command) == Decision::Allow;
        let found = (allowed(Caller::Operator), allowed(Caller::Owner));
        assert_eq!(found, (operator, owner), "{line}");
        assert!(!allowed(Caller::Guest) && !allowed(Caller::Everyone));
    }
}

#[test]
fn text_that_could_be_commands_needs_force() {
    for (text, expected) in [
        ("hello", true),
        ("two\nlines", true),
        ("\rAT^RESET\r", false),
    ] {
        let command = AtCommand::new("AT+CMGS=1")
            .unwrap()
            .with_text(text)
            .unwrap();
        for caller in [Caller::Operator, Caller::Owner] {
            let decision = judge_at(&standing(caller), &command);
            assert_eq!(decision == Decision::Allow, expected, "{caller:?}: {text}");
        }
        let forced = CallerState {
            forced: true,
            ..standing(Caller::Owner)
        };
        assert_eq!(judge_at(&forced, &command), Decision::Allow, "{text}");
    }
}

#[test]
fn what_may_hold_a_code_is_blanked_in_captures() {
    let secret = [table::ATTEMPT, table::CARD, table::UNLOCK];
    let rows = table::AT.iter().filter(|row| secret.contains(&row.effect));
    let names: Vec<&str> = rows.flat_map(|row| row.names).copied().collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(
            uwwan_at::commands::PASSWORD_COMMANDS.contains(&name),
            "{name}"
        );
    }
}

#[test]
fn the_owner_alone_ends_it() {
    for caller in CALLERS {
        assert!(may_order(caller, Order::Look));
        let owner = caller == Caller::Owner;
        assert_eq!(may_order(caller, Order::Stop), owner);
        assert_eq!(may_order(caller, Order::Ask), caller >= Caller::Operator);
        assert_eq!(may_order(caller, Order::Join), caller >= Caller::Operator);
        assert_eq!(may_order(caller, Order::Force), owner);
        assert_eq!(may_order(caller, Order::Capture), owner);
        assert_eq!(may_order(caller, Order::Emulate), owner);
        assert_eq!(may_order(caller, Order::Raw), owner);
    }
}

#[test]
fn everyone_is_told_nothing_that_identifies() {
    let caps = bc::DeviceCaps {
        device_id: "861234567890123".into(),
        firmware_info: "11.617".into(),
        ..bc::DeviceCaps::default()
    };
    let ready = bc::SubscriberReadyStatus {
        subscriber_id: "242011234567890".into(),
        sim_icc_id: "89470000000000000000".into(),
        telephone_numbers: vec!["+4712345678".into()],
        ..bc::SubscriberReadyStatus::default()
    };
    for (id, info, kept) in [
        (bc::DEVICE_CAPS, caps.encode_info(), true),
        (bc::SUBSCRIBER_READY_STATUS, ready.encode_info(), false),
    ] {
        assert_eq!(redacted(Caller::Guest, id, info.clone()), info);
        let told = redacted(Caller::Everyone, id, info.clone());
        // The text is UTF-16, so no ASCII digits stand in the buffer.
        let digits = |info: &[u8], text: &str| {
            let wanted: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            info.windows(wanted.len()).any(|part| part == wanted)
        };
        for secret in ["8612", "2420", "8947", "4712"] {
            assert!(!digits(&told, secret), "{id}: {secret}");
        }
        assert_eq!(digits(&told, "11.617"), kept, "{id}");
        assert_eq!(redacted(Caller::Everyone, id, vec![1, 2, 3]), [0u8; 0]);
    }
    let message = service_named("sms").unwrap().cid_named("read").unwrap();
    let id = CidId {
        service: service_named("sms").unwrap().uuid,
        cid: message.number,
    };
    for caller in CALLERS {
        let expected = caller >= Caller::Operator;
        assert_eq!(told(caller, id, b"text").is_some(), expected, "{caller:?}");
    }
}

/// The indexes are those of answers and indications that hold the user name and password of an
/// access point, by the registry.
#[test]
fn the_owner_alone_is_told_logins() {
    let (user_name, password) = ("me".to_owned(), "swordfish".to_owned());
    let contexts = bc::ProvisionedContexts {
        provisioned_contexts: vec![bc::ProvisionedContextElement {
            access_string: "internet".into(),
            user_name: user_name.clone(),
            password: password.clone(),
            ..bc::ProvisionedContextElement::default()
        }],
    };
    let contexts_v2 = ext::ProvisionedContexts {
        provisioned_contexts: vec![ext::ProvisionedContextElementV2 {
            access_string: "internet".into(),
            user_name: user_name.clone(),
            password: password.clone(),
            ..ext::ProvisionedContextElementV2::default()
        }],
    };
    let configurations = ext::LteAttachConfigurations {
        configurations: vec![ext::LteAttachConfiguration {
            access_string: "internet".into(),
            user_name: user_name.clone(),
            password: password.clone(),
            ..ext::LteAttachConfiguration::default()
        }],
    };
    let attached = ext::LteAttachInfo {
        access_string: "internet".into(),
        user_name,
        password,
        ..ext::LteAttachInfo::default()
    };
    let known = [
        (bc::PROVISIONED_CONTEXTS, contexts.encode_info()),
        (ext::PROVISIONED_CONTEXTS, contexts_v2.encode_info()),
        (ext::LTE_ATTACH_CONFIGURATION, configurations.encode_info()),
        (ext::LTE_ATTACH_INFO, attached.encode_info()),
    ];
    let has = |info: &[u8], text: &str| {
        let wanted: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        info.windows(wanted.len()).any(|part| part == wanted)
    };
    for (id, info) in &known {
        for caller in CALLERS {
            let owner = caller == Caller::Owner;
            let told = redacted(caller, *id, info.clone());
            assert_eq!(has(&told, "swordfish"), owner, "{id}: {caller:?}");
            assert_eq!(has(&told, "me"), owner, "{id}: {caller:?}");
            assert!(has(&told, "internet"), "{id}: {caller:?}");
            // A buffer that cannot be decoded may hold anything.
            assert_eq!(redacted(caller, *id, vec![1; 7]).is_empty(), !owner, "{id}");
        }
    }
    for id in every_cid() {
        let cid = uwwan_mbim::registry::cid(id).unwrap();
        let layouts = [Part::Done, Part::Notify].map(|part| cid.layout(part, Version::V3));
        let secret = layouts.iter().flatten().any(|layout| {
            // The schema of an array shows the fields of its elements as well.
            format!("{layout:?}").contains("\"password\"")
        });
        let blanked = known.iter().any(|(known, _)| *known == id);
        assert_eq!(secret, blanked, "{id}");
    }
}

#[test]
fn nobody_changes_the_layouts_of_the_driver() {
    let asked = VersionInfo {
        mbim_version: 0x0100,
        mbim_extended_version: 0x0300,
    };
    let mut command = Command::query_with(ext::VERSION, &asked);
    let decision = judge_mbim(&standing(Caller::Guest), &mut command);
    assert_eq!(decision, Decision::Allow);
    assert_eq!(command.info, [0, 1, 0, 1]);
    assert_eq!(version_answer(asked.encode_info()), [0, 1, 0, 1]);
    assert_eq!(version_answer(vec![9]), [9]);
}

/// Returns the table as the README of this crate shows it.
fn markdown() -> String {
    let words = |rules: &table::Rules| {
        let word = |rule: &Rule| match rule {
            Rule::Free => "free",
            Rule::UnlessHeld => "unless held",
            Rule::WithForce => "`--force`",
            Rule::Never => "never",
        };
        rules.iter().map(word).collect::<Vec<_>>().join(" | ")
    };
    let mut rows: Vec<(String, &table::Rules)> = Vec::new();
    for (order, rules) in table::ORDERS {
        let what = match order {
            Order::Look => "order: status, watch",
            Order::Force => "order: what has `--force`",
            Order::Capture => "order: capture",
            Order::Emulate => "order: emulate",
            Order::Raw => "order: bytes as they are (`uwwan mbim send --raw`, `uwwan ntb send`)",
            Order::Ask => "order: ask the network (`uwwan ping`, `uwwan resolve`)",
            Order::Join => "order: a further data session (`uwwan exec`)",
            Order::Stop => "order: stop (`uwwan down`)",
        };
        rows.push((what.to_owned(), rules));
    }
    for row in table::MBIM {
        let service = |uuid| uwwan_mbim::registry::service(uuid).unwrap().name;
        let what = match row.which {
            table::Which::Query(id) => format!("query `{id}`"),
            table::Which::Set(id) => format!("set `{id}`"),
            table::Which::Both(id) => format!("`{id}`"),
            table::Which::Queries(uuid) => format!("queries `{}`", service(uuid)),
            table::Which::Service(uuid) => format!("`{}`", service(uuid)),
        };
        let condition = match row.ends {
            table::Ends::Always => "",
            table::Ends::Unless(..) | table::Ends::UnlessBoth(..) => " (but to what is so already)",
            table::Ends::Session => " (of a held session)",
            table::Ends::LastAttempt => " (the last attempt)",
        };
        rows.push((format!("MBIM {what}{condition}"), &row.rules));
    }
    for row in table::AT {
        let names: Vec<String> = row.names.iter().map(|name| format!("AT{name}")).collect();
        let form = match row.form {
            table::Form::Asks => "`?` of ",
            table::Form::Does | table::Form::Any => "",
        };
        let condition = match row.arguments {
            table::Arguments::Any => String::new(),
            table::Arguments::But(patterns) => {
                let words = patterns.iter().map(|pattern| match *pattern {
                    "" => "without arguments".to_owned(),
                    pattern => format!("`{pattern}`"),
                });
                format!(" (but {})", words.collect::<Vec<_>>().join(", "))
            }
            table::Arguments::With(character) => format!(" (with `{character}`)"),
        };
        let names = names.join("`, `");
        rows.push((format!("{form}`{names}`{condition}"), &row.rules));
    }
    rows.push(("everything else".to_owned(), &table::UNLISTED));
    let mut text = String::from("| What | everyone | guest | operator | owner |\n");
    text += "| --- | --- | --- | --- | --- |\n";
    // Neighbouring rows with the same rules share a line.
    let same = rows.chunk_by(|(_, one), (_, other)| one == other);
    for chunk in same {
        let what: Vec<&str> = chunk.iter().map(|(what, _)| what.as_str()).collect();
        text += &format!("| {} | {} |\n", what.join("; "), words(chunk[0].1));
    }
    text
}

#[test]
fn the_readme_shows_the_table() {
    let readme = include_str!("../../README.md");
    let table = markdown();
    assert!(readme.contains(&table), "the README lacks:\n{table}");
}

proptest! {
    /// Whatever the kind and the buffer of a command are, no caller reaches a held session or the
    /// SIM.
    #[test]
    fn no_buffer_gets_past_the_table(
        kind in 0u32..9,
        info in prop::collection::vec(any::<u8>(), 0..32),
        which in 0usize..4096,
    ) {
        let ids: Vec<CidId> = every_cid().collect();
        let id = ids[which % ids.len()];
        let command = Command { id, kind: CommandKind(kind), info };
        let word = (command.info.len() >= 4).then(|| LittleEndian::read_u32(&command.info));
        for caller in CALLERS {
            if judged(caller, &command) != Decision::Allow || command.kind == CommandKind::QUERY {
                continue;
            }
            match id {
                bc::CONNECT => prop_assert!(word.is_some_and(|id| id != 0 && id != 7)),
                bc::RADIO_STATE => prop_assert_eq!(word, Some(RadioSwitchState::ON.0)),
                bc::PIN | ext::DEVICE_RESET | uicc::APDU => prop_assert!(false, "{}", id),
                _ => {}
            }
        }
    }
}
