use uwwan_mbim::fields::Layout;
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::services::basic_connect::{self as basic, ContextIpType};
use uwwan_mbim::status::NwError;

use super::*;
use crate::firmware::Persistent;
use crate::report::{Counters, Recorder};
use crate::rules::Running;

const QUERY: CommandKind = CommandKind::QUERY;
const SET: CommandKind = CommandKind::SET;

/// A function with its firmware, to which raw bytes are sent.
struct Bench {
    function: MbimFunction,
    firmware: Firmware,
    knobs: Knobs,
    counters: Counters,
    recorder: Recorder,
    rules: Running,
    input_size_told: bool,
    data_alternate: u8,
    now: Instant,
}

impl Bench {
    fn new(knobs: &str) -> Self {
        let knobs: Knobs = knobs.parse().unwrap();
        let now = Instant::now();
        Self {
            function: MbimFunction::new(0, false, &knobs, now),
            firmware: Firmware::boot(Persistent::new(&knobs), &knobs, now),
            knobs,
            counters: Counters::default(),
            recorder: Recorder::default(),
            rules: Running::new(Vec::new(), now),
            input_size_told: false,
            data_alternate: 1,
            now,
        }
    }

    fn opened(knobs: &str) -> Self {
        let mut bench = Self::new(knobs);
        bench.send("01000000 10000000 01000000 00040000");
        bench.get();
        bench
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut MbimFunction, &mut MbimContext<'_>) -> T) -> T {
        let mut context = MbimContext {
            firmware: &mut self.firmware,
            knobs: &self.knobs,
            counters: &mut self.counters,
            recorder: &self.recorder,
            rules: &mut self.rules,
            data_alternate: self.data_alternate,
            input_size_told: self.input_size_told,
            now: self.now,
        };
        act(&mut self.function, &mut context)
    }

    fn send(&mut self, text: &str) {
        self.send_bytes(&hex(text));
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.with(|function, context| function.send(bytes, context));
    }

    fn get(&mut self) -> Vec<u8> {
        let mut room = [0; 4096];
        let length = self.with(|function, context| function.get(&mut room, context));
        room[..length].to_vec()
    }

    /// Sends a command and returns the status and the information buffer of its answer.
    fn command(
        &mut self,
        id: u32,
        cid: CidId,
        kind: CommandKind,
        info: &[u8],
    ) -> (Status, Vec<u8>) {
        self.send_bytes(&command(id, cid, kind, info));
        let mut answer = self.get();
        // Indications may come before the answer.
        while answer[..4] == hex("07000080") {
            answer = self.get();
        }
        assert_eq!(answer[..4], hex("03000080"));
        assert_eq!(answer[8..12], id.to_le_bytes());
        let status = u32::from_le_bytes(answer[40..44].try_into().unwrap());
        let total = answer[12];
        let mut info = answer[48..].to_vec();
        for _ in 1..total {
            info.extend_from_slice(&self.get()[20..]);
        }
        (Status(status), info)
    }

    fn violations(&self) -> u64 {
        self.recorder.report().total_violations()
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Returns a command message in one fragment.
fn command(id: u32, cid: CidId, kind: CommandKind, info: &[u8]) -> Vec<u8> {
    let body = Body::Command {
        service: cid.service,
        cid: cid.cid,
        kind,
        info: info.to_vec(),
    };
    Message {
        transaction: id,
        body,
    }
    .encode_whole()
}

/// Returns a CONNECT set that activates session 0.
fn connect_set(apn: &str, ip_type: ContextIpType) -> Vec<u8> {
    basic::ConnectSet {
        activation_command: basic::ActivationCommand::ACTIVATE,
        access_string: apn.to_owned(),
        ip_type,
        context_type: basic::context_type::INTERNET,
        ..basic::ConnectSet::default()
    }
    .encode()
}

/// Returns a CONNECT set that deactivates session 0.
fn disconnect_set() -> Vec<u8> {
    basic::ConnectSet::default().encode()
}

#[test]
fn open_and_close_byte_for_byte() {
    let mut bench = Bench::new("");
    bench.send("01000000 10000000 05000000 00040000");
    assert_eq!(
        bench.function.take_notification(),
        Some([0xa1, 1, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(bench.function.take_notification(), None);
    assert_eq!(bench.get(), hex("01000080 10000000 05000000 00000000"));
    assert_eq!(bench.get(), b"");
    bench.send("02000000 0c000000 06000000");
    assert_eq!(bench.get(), hex("02000080 10000000 06000000 00000000"));
    assert_eq!(bench.violations(), 0);
}

#[test]
fn a_silent_function_answers_nothing() {
    let mut bench = Bench::new("");
    bench.function = MbimFunction::new(0, true, &bench.knobs, bench.now);
    bench.send("01000000 10000000 01000000 00040000");
    bench.now += Duration::from_secs(600);
    bench.with(|function, context| function.advance(context));
    assert_eq!(bench.get(), b"");
    assert_eq!(bench.function.take_notification(), None);
    assert_eq!(bench.function.deadline(), None);
}

#[test]
fn a_slow_function_answers_the_latest_open() {
    let mut bench = Bench::new("slow_open_ms=33000");
    bench.send("01000000 10000000 01000000 00040000");
    assert_eq!(bench.get(), b"");
    bench.now += Duration::from_secs(10);
    bench.send("01000000 10000000 02000000 00040000");
    bench.now += Duration::from_secs(23);
    bench.with(|function, context| function.advance(context));
    assert_eq!(bench.get(), hex("01000080 10000000 02000000 00000000"));
    assert_eq!(bench.get(), b"");
}

#[test]
fn stray_open_dones_come_with_later_ids() {
    let mut bench = Bench::new("stray_open_done=2");
    bench.send("01000000 10000000 01000000 00040000");
    for id in 1..=3u32 {
        assert_eq!(bench.get()[8..12], id.to_le_bytes());
    }
}

#[test]
fn protocol_errors_have_their_numbers() {
    let mut bench = Bench::new("");
    // A command before OPEN is answered with NOT_OPENED (5).
    let query = "03000000 30000000 07000000 01000000 00000000 a289cc33bcbb8b4fb6b0133ec2aae6df 01000000 00000000 00000000";
    bench.send(query);
    assert_eq!(bench.get(), hex("04000080 10000000 07000000 05000000"));
    bench.send("01000000 10000000 01000000 00040000");
    bench.get();
    // A MessageLength of 0x31 in 0x30 bytes is answered with LENGTH_MISMATCH (3).
    bench.send(&query.replacen("30000000", "31000000", 1));
    assert_eq!(bench.get(), hex("04000080 10000000 07000000 03000000"));
    // An unknown type is answered with UNKNOWN (6).
    bench.send("09000000 0c000000 08000000");
    assert_eq!(bench.get(), hex("04000080 10000000 08000000 06000000"));
    // The second fragment without the first is answered with FRAGMENT_OUT_OF_SEQUENCE (2).
    bench.send("03000000 18000000 09000000 02000000 01000000 00000000");
    assert_eq!(bench.get(), hex("04000080 10000000 09000000 02000000"));
    // More bytes than wMaxControlMessage are answered with MAX_TRANSFER (8).
    let mut long = hex("03000000 08040000 0a000000");
    long.resize(1032, 0);
    bench.send_bytes(&long);
    assert_eq!(bench.get(), hex("04000080 10000000 0a000000 08000000"));
    assert_eq!(bench.violations(), 5);
}

#[test]
fn fragments_are_joined_and_time_out() {
    let mut bench = Bench::opened("");
    let whole = hex(
        "03000000 30000000 07000000 01000000 00000000 a289cc33bcbb8b4fb6b0133ec2aae6df 01000000 00000000 00000000",
    );
    let mut first = hex("03000000 22000000 07000000 02000000 00000000");
    first.extend(&whole[20..34]);
    let mut second = hex("03000000 22000000 07000000 02000000 01000000");
    second.extend(&whole[34..]);
    bench.send_bytes(&first);
    assert_eq!(bench.get(), b"");
    bench.send_bytes(&second);
    assert_eq!(bench.get()[..4], hex("03000080"));
    bench.send_bytes(&first);
    bench.now = bench.function.reassembler.deadline().unwrap();
    bench.with(|function, context| function.advance(context));
    assert_eq!(bench.get(), hex("04000080 10000000 07000000 01000000"));
}

#[test]
fn long_answers_are_cut_to_what_open_agreed_on() {
    let mut bench = Bench::new("");
    bench.send("01000000 10000000 01000000 40000000");
    bench.get();
    let mut bytes = hex(
        "03000000 30000000 02000000 01000000 00000000 a289cc33bcbb8b4fb6b0133ec2aae6df 01000000 00000000 00000000",
    );
    bench.send_bytes(&bytes);
    let first = bench.get();
    assert_eq!(first.len(), 64);
    let total = first[12];
    assert!(total > 3);
    for current in 1..total {
        let fragment = bench.get();
        assert!(fragment.len() <= 64);
        assert_eq!((fragment[12], fragment[16]), (total, current));
    }
    assert_eq!(bench.get(), b"");
    // Each fragment was announced, and so was OPEN_DONE.
    let mut notifications = 0;
    while bench.function.take_notification().is_some() {
        notifications += 1;
    }
    assert_eq!(notifications, u32::from(total) + 1);
    // The same transaction id is free again.
    bytes[8] = 2;
    bench.send_bytes(&bytes);
    assert_eq!(bench.violations(), 0);
}

#[test]
fn device_caps_are_those_of_the_firmware() {
    let mut bench = Bench::opened("");
    let (status, info) = bench.command(2, basic::DEVICE_CAPS, QUERY, &[]);
    assert_eq!(status, Status::NONE);
    assert_eq!(
        info[..32],
        hex("01000000 01000000 01000000 02000000 3f000000 03000000 03000000 08000000")
    );
    let caps = basic::DeviceCaps::decode_info(&info).unwrap();
    assert_eq!(caps.hardware_info, "ML1ME906SM");
    assert_eq!(caps.firmware_info, "11.617.13.00.00");
}

#[test]
fn connect_has_the_statuses_of_the_blog_post() {
    let mut bench = Bench::opened("");
    let (status, info) = bench.command(
        2,
        basic::CONNECT,
        SET,
        &connect_set("telenor.smart", ContextIpType::IPV6),
    );
    assert_eq!((status, info), (Status::NO_DEVICE_SUPPORT, Vec::new()));
    let (status, info) = bench.command(
        3,
        basic::CONNECT,
        SET,
        &connect_set("telenor.smart", ContextIpType::IPV4V6),
    );
    assert_eq!(status, Status::NONE);
    // The state is activated, and the IP type IPv4.
    assert_eq!(info[4..8], [1, 0, 0, 0]);
    assert_eq!(info[12..16], [1, 0, 0, 0]);
    let (status, info) = bench.command(4, basic::IP_CONFIGURATION, QUERY, &[0; 60]);
    assert_eq!(status, Status::NONE);
    let addresses = basic::IpConfiguration::decode_info(&info).unwrap();
    assert_eq!(
        addresses.ipv4_address[0].ipv4_address.to_string(),
        "10.169.198.77"
    );
    assert_eq!(addresses.ipv4_address[0].on_link_prefix_length, 30);
    assert!(addresses.ipv6_address.is_empty());
    let (status, _) = bench.command(5, basic::CONNECT, SET, &disconnect_set());
    assert_eq!(status, Status::NONE);
    let (status, _) = bench.command(6, basic::CONNECT, SET, &disconnect_set());
    assert_eq!(status, Status::CONTEXT_NOT_ACTIVATED);
    let mut unlocked = Bench::opened("ipv6=on");
    let (status, info) = unlocked.command(
        2,
        basic::CONNECT,
        SET,
        &connect_set("telenor.smart", ContextIpType::IPV4V6),
    );
    assert_eq!((status, info[12]), (Status::NONE, 3));
    let (_, info) = unlocked.command(3, basic::IP_CONFIGURATION, QUERY, &[0; 4]);
    let addresses = basic::IpConfiguration::decode_info(&info).unwrap();
    assert_eq!(
        addresses.ipv6_address[0].ipv6_address.to_string(),
        "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"
    );
    assert_eq!(addresses.ipv6_gateway.unwrap().to_string(), "::");
    assert_eq!(addresses.ipv4_mtu, 1500);
}

#[test]
fn a_refusal_carries_the_networks_cause() {
    let mut bench = Bench::opened("connect_status=2,connect_cause=33");
    let (status, info) = bench.command(
        2,
        basic::CONNECT,
        SET,
        &connect_set("x", ContextIpType::IPV4),
    );
    assert_eq!(status, Status::FAILURE);
    assert_eq!(info[32..36], [33, 0, 0, 0]);
}

#[test]
fn commands_the_firmware_lacks_are_refused() {
    let mut bench = Bench::opened("");
    for cid in [0, 14, 17, 24, 99, u32::MAX] {
        for set in [0, 1, 7] {
            let id = CidId {
                service: basic::UUID,
                cid,
            };
            let status = bench.command(2, id, CommandKind(set), &[]).0;
            assert_eq!(status, Status::NO_DEVICE_SUPPORT, "{cid} {set}");
        }
    }
    // The information buffer is too short for its layout.
    let invalid = Status::INVALID_PARAMETERS;
    assert_eq!(bench.command(3, basic::CONNECT, SET, &[1, 2, 3]).0, invalid);
    assert_eq!(
        bench.command(4, basic::IP_CONFIGURATION, QUERY, &[]).0,
        invalid
    );
}

#[test]
fn pin_counts_its_attempts() {
    let mut bench = Bench::opened("pin=1234");
    let (_, info) = bench.command(2, basic::PIN, QUERY, &[]);
    assert_eq!(info, hex("02000000 01000000 03000000"));
    // The buffer enters PIN1 with "0000" at offset 24.
    let enter = |pin: &str| {
        let mut info = hex("02000000 00000000 18000000 08000000 00000000 00000000");
        info.extend(pin.encode_utf16().flat_map(u16::to_le_bytes));
        info
    };
    let (status, info) = bench.command(3, basic::PIN, SET, &enter("0000"));
    assert_eq!((status, info[8]), (Status::FAILURE, 2));
    let (status, info) = bench.command(4, basic::PIN, SET, &enter("1234"));
    assert_eq!(status, Status::NONE);
    assert_eq!(info[4..8], [0; 4]);
    let (_, info) = bench.command(5, basic::SUBSCRIBER_READY_STATUS, QUERY, &[]);
    assert_eq!(info[0], 1);
}

#[test]
fn registration_changes_are_indicated_to_subscribers() {
    let mut bench = Bench::opened("");
    bench.firmware.take_changes();
    let now = bench.now;
    let knobs = bench.knobs.clone();
    bench.firmware.set_radio(false, &knobs, now);
    let changes = bench.firmware.take_changes();
    for change in &changes {
        bench.with(|function, context| function.announce(*change, context));
    }
    let cids: Vec<u8> = std::iter::from_fn(|| {
        let message = bench.get();
        (!message.is_empty()).then(|| message[36])
    })
    .collect();
    assert_eq!(cids, [3, 9, 10]);
    // The host subscribes to SIGNAL_STATE only, with one event at offset 12.
    let mut list = hex("01000000 0c000000 18000000");
    list.extend(basic::UUID.0);
    list.extend(hex("01000000 0b000000"));
    assert_eq!(
        bench.command(2, basic::DEVICE_SERVICE_SUBSCRIBE_LIST, SET, &list),
        (Status::NONE, list.clone())
    );
    bench.with(|function, context| function.announce(crate::firmware::Change::Radio, context));
    assert_eq!(bench.get(), b"");
}

#[test]
fn lost_and_surplus_notifications() {
    let mut bench = Bench::new("lose_notification_every=1");
    bench.send("01000000 10000000 01000000 00040000");
    assert_eq!(bench.function.take_notification(), None);
    assert_eq!(bench.get().len(), 16);
    let mut bench = Bench::new("notification_storm=9");
    bench.send("01000000 10000000 01000000 00040000");
    assert_eq!(
        (0..20)
            .filter(|_| bench.function.take_notification().is_some())
            .count(),
        10
    );
}

#[test]
fn what_is_cancelled_is_not_answered() {
    let mut bench = Bench::opened("connect_ms=1000");
    let info = connect_set("", ContextIpType::IPV4);
    let bytes = command(2, basic::CONNECT, SET, &info);
    bench.send_bytes(&bytes);
    // The same transaction id is refused with DUPLICATED_TID (4).
    bench.send_bytes(&bytes);
    assert_eq!(bench.get(), hex("04000080 10000000 02000000 04000000"));
    bench.send("04000000 10000000 02000000 07000000");
    bench.now += Duration::from_secs(2);
    bench.with(|function, context| function.advance(context));
    assert_eq!(bench.get(), b"");
}

#[test]
fn memory_stays_bounded_when_nobody_reads() {
    let mut bench = Bench::opened("notification_storm=1000,indication_storm_hz=10000");
    for step in 0..10_000u32 {
        bench.now += Duration::from_millis(1);
        bench.with(|function, context| function.advance(context));
        if step % 2 == 0 {
            bench.send("01000000 10000000 01000000 00040000");
        } else {
            bench.send("07000000 ffffffff 01000000");
        }
    }
    assert!(bench.function.outbox.len() <= 3 * MAX_OUTBOX);
    assert!(bench.function.notifications <= MAX_NOTIFICATIONS);
}

#[test]
fn commands_under_way_are_bounded() {
    let mut bench = Bench::opened("connect_ms=1000");
    let info = connect_set("telenor.smart", ContextIpType::IPV4);
    for id in 2..1002u32 {
        bench.send_bytes(&command(id, basic::CONNECT, SET, &info));
    }
    assert!(bench.function.due.len() <= MOST_OUTSTANDING);
    assert!(bench.function.outstanding.len() <= MOST_OUTSTANDING);
    // Further commands are answered with busy.
    let answer = bench.get();
    assert_eq!(answer[40..44], Status::BUSY.0.to_le_bytes());
}

#[test]
fn a_control_session_left_open_answers_the_first_open_with_close_done() {
    let mut bench = Bench::new("left_open=on");
    // Alternate setting 0 does not close the session.
    bench.with(|function, context| function.reset(context.firmware, context.knobs, context.now));
    bench.send("01000000 10000000 01000000 00040000");
    assert_eq!(bench.get(), hex("02000080 10000000 01000000 00000000"));
    bench.send("01000000 10000000 02000000 00040000");
    assert_eq!(bench.get(), hex("01000080 10000000 02000000 00000000"));
}

#[test]
fn a_busy_module_refuses_for_a_while() {
    let mut bench = Bench::opened("busy_ms=500");
    let status = |bench: &mut Bench, id| bench.command(id, basic::DEVICE_CAPS, QUERY, &[]).0;
    assert_eq!(status(&mut bench, 2), Status::BUSY);
    bench.now += Duration::from_millis(500);
    assert_eq!(status(&mut bench, 3), Status::NONE);
}

#[test]
fn control_messages_have_the_length_the_knob_allows() {
    let mut bench = Bench::opened("max_control_message=64");
    let long = [
        hex("03000000 44000000 02000000 01000000 00000000"),
        vec![0; 48],
    ]
    .concat();
    bench.send_bytes(&long);
    // The answer is FUNCTION_ERROR with MAX_TRANSFER.
    assert_eq!(bench.get(), hex("04000080 10000000 02000000 08000000"));
    // The messages of the module have at most that length, too.
    bench.send_bytes(
        &[
            hex("03000000 30000000 03000000 01000000 00000000"),
            basic::UUID.0.to_vec(),
            hex("01000000 00000000 00000000"),
        ]
        .concat(),
    );
    assert!(bench.get().len() <= 64);
}

#[test]
fn knobs_refuse_and_shift() {
    let mut bench =
        Bench::opened("pin_query_status=2,register_status=2,cause_offset=1000,apn=internet");
    let failure = Status::FAILURE;
    assert_eq!(bench.command(2, basic::PIN, QUERY, &[]).0, failure);
    let automatic = hex("00000000 00000000 01000000 00000000");
    assert_eq!(
        bench.command(3, basic::REGISTER_STATE, SET, &automatic).0,
        failure
    );
    let (status, state) = bench.command(4, basic::REGISTER_STATE, QUERY, &[]);
    assert_eq!(
        (status, &state[4..8]),
        (Status::NONE, &hex("03000000")[..]),
        "registered all the same"
    );
    let (status, info) = bench.command(
        5,
        basic::CONNECT,
        SET,
        &connect_set("nonsense", ContextIpType::IPV4),
    );
    assert_eq!(status, failure);
    let cause = u32::from_le_bytes(info[32..36].try_into().unwrap());
    assert_eq!(cause, 1000 + NwError::MISSING_OR_UNKNOWN_APN.0);
}

#[test]
fn the_firmware_may_call_itself_anything() {
    let mut bench = Bench::opened("firmware_info=one\\ntwo");
    let (_, info) = bench.command(2, basic::DEVICE_CAPS, QUERY, &[]);
    let caps = basic::DeviceCaps::decode_info(&info).unwrap();
    assert_eq!(caps.firmware_info, "one\ntwo");
}

#[test]
fn the_fcc_lock_is_lifted_by_the_quectel_service() {
    use uwwan_mbim::services::quectel;
    let mut bench = Bench::opened("fcc_lock=on");
    let on = hex("01000000");
    let refused = bench.command(2, basic::RADIO_STATE, SET, &on).0;
    assert_eq!(refused, Status::OPERATION_NOT_ALLOWED);
    let mut ask = |kind, info: &[u8]| {
        bench.with(|function, context| {
            let outcome = function
                .commands
                .execute(quectel::RADIO_STATE, kind, info, context);
            (outcome.status, outcome.info)
        })
    };
    assert_eq!(ask(QUERY, &[]), (Status::NONE, hex("04000000")));
    assert_eq!(ask(SET, &on), (Status::NONE, on.clone()));
    assert_eq!(ask(QUERY, &[]), (Status::NONE, on.clone()));
    assert!(bench.firmware.radio().0);
    // A module without the lock does not have the service.
    let mut bench = Bench::opened("");
    let outcome = bench.with(|function, context| {
        function
            .commands
            .execute(quectel::RADIO_STATE, QUERY, &[], context)
    });
    assert_eq!(outcome.status, Status::NO_DEVICE_SUPPORT);
}

#[test]
fn addresses_are_told_empty_or_refused() {
    for (knobs, status, available) in [
        ("", Status::NONE, Some(0x0f)),
        ("ip_configuration=ipv4", Status::NONE, Some(0x0f)),
        ("ip_configuration=ipv6", Status::NONE, Some(0)),
        ("ip_configuration=empty", Status::NONE, Some(0)),
        ("ip_configuration=refused", Status::NO_DEVICE_SUPPORT, None),
    ] {
        let mut bench = Bench::opened(knobs);
        let connected = bench
            .command(
                2,
                basic::CONNECT,
                SET,
                &connect_set("", ContextIpType::IPV4),
            )
            .0;
        assert_eq!(connected, Status::NONE, "{knobs}");
        let (told, info) = bench.command(3, basic::IP_CONFIGURATION, QUERY, &[0; 60]);
        assert_eq!(told, status, "{knobs}");
        assert_eq!(info.get(4).copied(), available, "{knobs}");
    }
}

#[test]
fn the_fcc_lock_is_lifted_by_qmi_and_hides_the_sim_until_then() {
    use uwwan_mbim::qmi::{self, Message};
    use uwwan_mbim::services::qmi as qmi_service;
    let mut bench = Bench::opened("fcc_lock=on,fcc_hides_sim=on");
    let sim = |bench: &mut Bench, id| {
        let (_, info) = bench.command(id, basic::SUBSCRIBER_READY_STATUS, QUERY, &[]);
        info[0]
    };
    assert_eq!(sim(&mut bench, 2), 2, "not inserted");
    let mut ask = |message: &Message| {
        bench.with(|function, context| {
            let outcome =
                function
                    .commands
                    .execute(qmi_service::MSG, SET, &message.encode(), context);
            assert_eq!(outcome.status, Status::NONE);
            Message::decode(&outcome.info).unwrap()
        })
    };
    let mut lift = Message {
        service: qmi::DMS,
        client: 1,
        transaction: 9,
        id: qmi::SET_FCC_AUTHENTICATION,
        ..Message::default()
    };
    assert_eq!(ask(&lift).result(), Err(5), "a client that nobody gave out");
    let mut allocate = Message {
        transaction: 1,
        id: qmi::ALLOCATE_CLIENT,
        fields: vec![(1, vec![qmi::DMS])],
        ..Message::default()
    };
    let allocated = ask(&allocate);
    assert_eq!(allocated.field(1), Some(&[qmi::DMS, 1][..]));
    lift.id = 0x0020;
    assert_eq!(ask(&lift).result(), Err(71), "a message that is not served");
    lift.id = qmi::SET_FCC_AUTHENTICATION;
    assert_eq!(ask(&lift).result(), Ok(()));
    allocate.id = qmi::RELEASE_CLIENT;
    allocate.fields = vec![(1, vec![qmi::DMS, 1])];
    assert_eq!(ask(&allocate).result(), Ok(()));
    assert_eq!(ask(&lift).result(), Err(5), "a client that was given back");
    assert_eq!(sim(&mut bench, 3), 1, "initialised");
    let on = hex("01000000");
    assert_eq!(
        bench.command(4, basic::RADIO_STATE, SET, &on).0,
        Status::NONE
    );
}

#[test]
fn open_waits_for_the_input_size() {
    let mut bench = Bench::new("input_size_first=on");
    bench.send("01000000 10000000 01000000 00040000");
    assert_eq!(bench.get(), hex("01000080 10000000 01000000 02000000"));
    bench.input_size_told = true;
    bench.send("01000000 10000000 02000000 00040000");
    assert_eq!(bench.get(), hex("01000080 10000000 02000000 00000000"));
}

#[test]
fn open_waits_for_the_alternate_setting_where_it_must() {
    for (knobs, status) in [("", 0), ("open_needs_alternate=on", 2)] {
        let mut bench = Bench::new(knobs);
        bench.data_alternate = 0;
        bench.send("01000000 10000000 01000000 00040000");
        assert_eq!(
            bench.get(),
            hex(&format!("01000080 10000000 01000000 0{status}000000")),
            "{knobs}"
        );
        bench.data_alternate = 1;
        bench.send("01000000 10000000 02000000 00040000");
        assert_eq!(bench.get(), hex("01000080 10000000 02000000 00000000"));
    }
}
