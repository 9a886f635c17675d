//! The function, asked as the ladder and the sessions ask it, in front of a modem that answers from
//! a script.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uwwan_at::commands::Query;
use uwwan_at::commands::identity::NetworkDigits;
use uwwan_at::dialogue::Command;
use uwwan_at::failure::{Cme, Code, Failure as Refusal};
use uwwan_mbim::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, ActivationCommand, ActivationState, AuthProtocol, ConnectInfo, ConnectSet,
    ContextIpType, DeviceCaps, IpConfiguration, PacketServiceInfo, PacketServiceState, PinInfo,
    PinOperation, PinSet, PinState, PinType, RadioState, RadioSwitchState, RegisterState,
    RegistrationState, SignalState, SubscriberReadyState, SubscriberReadyStatus,
};
use uwwan_mbim::services::sms;
use uwwan_mbim::status::{NwError, Status};

use super::function::{Ask, Function};
use crate::at_port::Answer;
use crate::failure::Failure;

pub(super) type Said = Result<&'static str, Refusal>;

/// A modem that answers each command line from a script, `ERROR` to others, and keeps the command lines.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<Dialogue>>);

#[derive(Default)]
struct Dialogue {
    answers: HashMap<String, Said>,
    asked: Vec<String>,
}

impl Script {
    pub(super) fn new(lines: &[(&str, Said)]) -> Self {
        let script = Self::default();
        for (line, said) in lines {
            script.says(line, said.clone());
        }
        script
    }

    pub(super) fn says(&self, line: &str, said: Said) {
        let mut dialogue = self.0.lock().unwrap();
        dialogue.answers.insert(line.to_owned(), said);
    }

    /// Returns the command lines since the last call.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    pub(super) fn function(&self) -> Function {
        Function::new(Box::new(self.clone()), None)
    }
}

impl Ask for Script {
    fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let mut state = self.0.lock().unwrap();
        let line = command.line().to_owned();
        state.asked.push(match command.text() {
            Some(text) => format!("{line} {text}"),
            None => line.clone(),
        });
        let said = state.answers.get(&line).cloned();
        let said = said.unwrap_or(Err(Refusal::Error));
        Ok(Answer {
            command: line,
            lines: said.as_ref().map_or_else(
                |_| Vec::new(),
                |text| text.lines().map(str::to_owned).collect(),
            ),
            truncated: false,
            result: said.map(|_| ()),
        })
    }
}

fn cme(number: u16) -> Refusal {
    Refusal::Cme(Cme(Code::Number(number)))
}

fn query(function: &mut Function, id: CidId) -> (Status, Vec<u8>) {
    function.answer(Instant::now(), id, CommandKind::QUERY, &[])
}

fn set(function: &mut Function, id: CidId, info: &[u8]) -> (Status, Vec<u8>) {
    function.answer(Instant::now(), id, CommandKind::SET, info)
}

/// Returns a script with the answers of an ME906s that works.
fn me906s() -> Script {
    Script::new(&[
        (
            "ATI",
            Ok(
                "Manufacturer: Huawei Technologies Co., Ltd.\nModel: ME906s-158\n\
                Revision: 11.617.00.00.00\nIMEI: 860000000000000\n+GCAP: +CGSM,+DS,+ES",
            ),
        ),
        ("AT+CPIN?", Ok("+CPIN: READY")),
        ("AT^CPIN?", Ok("^CPIN: READY,,10,3,10,3")),
        ("AT^ICCID?", Ok("^ICCID: 8947000000000000001F")),
        ("AT+CIMI", Ok("242010000000001")),
        ("AT+CFUN?", Ok("+CFUN: 1")),
        ("AT+CREG?", Ok("+CREG: 0,1")),
        ("AT+CGREG?", Ok("+CGREG: 0,1")),
        ("AT+CEREG?", Ok("+CEREG: 0,1")),
        ("AT+COPS=3,0", Ok("")),
        ("AT+COPS=3,2", Ok("")),
        ("AT+COPS?", Ok("+COPS: 0,2,\"24201\",7")),
        ("AT+CGATT?", Ok("+CGATT: 1")),
        ("AT+CSQ", Ok("+CSQ: 21,99")),
        ("AT+CGDCONT=1,\"IPV4V6\",\"telenor.smart\"", Ok("")),
        ("AT^NDISDUP=1,1,\"telenor.smart\"", Ok("")),
        ("AT^NDISDUP=1,0", Ok("")),
        (
            "AT^NDISSTATQRY?",
            Ok("^NDISSTATQRY: 0,,,\"IPV4\",0,,,\"IPV6\""),
        ),
        (
            "AT^DHCP?",
            Ok("^DHCP: CCDB080A,F8FFFFFF,C9DB080A,C9DB080A,E67B59C0,E77B59C0,85600,85600"),
        ),
        (
            "AT^DHCPV6?",
            Ok("^DHCPV6: 2001:db8::2,64,fe80::1,::,2001:db8::53,::,85600,85600"),
        ),
    ])
}

#[test]
fn a_modem_that_is_well_is_told_as_an_mbim_modem_would() {
    let script = me906s();
    let mut function = script.function();
    let (status, info) = query(&mut function, bc::DEVICE_CAPS);
    assert_eq!(status, Status::NONE);
    let caps = DeviceCaps::decode(&info).unwrap();
    assert_eq!(
        (&*caps.firmware_info, &*caps.hardware_info),
        ("11.617.00.00.00", "ME906s-158")
    );
    assert_eq!(
        (&*caps.device_id, caps.max_sessions),
        ("860000000000000", 1)
    );

    let ready = SubscriberReadyStatus::decode(&query(&mut function, bc::SUBSCRIBER_READY_STATUS).1);
    let ready = ready.unwrap();
    assert_eq!(ready.ready_state, SubscriberReadyState::INITIALIZED);
    assert_eq!(ready.sim_icc_id, "8947000000000000001F");
    assert_eq!(ready.subscriber_id, "242010000000001");

    let radio = RadioState::decode(&query(&mut function, bc::RADIO_STATE).1).unwrap();
    assert_eq!(
        (radio.hw_radio_state, radio.sw_radio_state),
        (RadioSwitchState::ON, RadioSwitchState::ON)
    );

    let network = RegistrationState::decode(&query(&mut function, bc::REGISTER_STATE).1).unwrap();
    assert_eq!(network.register_state, RegisterState::HOME);
    assert_eq!(network.provider_id, "24201");
    assert_eq!(network.available_data_classes, bc::DataClass::LTE);

    let packets = PacketServiceInfo::decode(&query(&mut function, bc::PACKET_SERVICE).1).unwrap();
    assert_eq!(packets.packet_service_state, PacketServiceState::ATTACHED);
    assert_eq!(
        SignalState::decode(&query(&mut function, bc::SIGNAL_STATE).1)
            .unwrap()
            .rssi,
        21
    );

    // An unknown command is refused as such, and every service in the list answers.
    assert_eq!(
        query(&mut function, bc::PREFERRED_PROVIDERS).0,
        Status::NO_DEVICE_SUPPORT
    );
    assert_eq!(
        set(&mut function, bc::DEVICE_CAPS, &[]).0,
        Status::NO_DEVICE_SUPPORT
    );
    let services =
        bc::DeviceServices::decode(&query(&mut function, bc::DEVICE_SERVICES).1).unwrap();
    let named: Vec<_> = services
        .device_services
        .iter()
        .map(|one| one.cids.len())
        .collect();
    assert_eq!(named, [13, 4, 1]);
}

#[test]
fn the_operator_of_the_sim_is_told_by_its_imsi() {
    let script = me906s();
    let home = || {
        let (status, info) = query(&mut script.function(), bc::HOME_PROVIDER);
        let provider = bc::HomeProvider::decode(&info).unwrap_or_default().provider;
        (status, provider.provider_id, provider.provider_name)
    };
    // The card does not report how long the network's code is, so the usual length in the country
    // decides.
    assert_eq!(home(), (Status::NONE, "24201".into(), "24201".into()));
    script.says(NetworkDigits::COMMAND, Ok("+CRSM: 144,0,\"00000003\""));
    // The name of another network is not the operator's.
    assert_eq!(home(), (Status::NONE, "242010".into(), String::new()));
    script.says("AT+CIMI", Err(cme(10)));
    assert_eq!(home().0, Status::SIM_NOT_INSERTED);
}

#[test]
fn a_sim_that_is_locked_missing_or_starting_is_told_apart() {
    let script = me906s();
    let mut function = script.function();
    for (said, state) in [
        (Ok("+CPIN: SIM PIN"), SubscriberReadyState::DEVICE_LOCKED),
        (Ok("+CPIN: SIM PUK"), SubscriberReadyState::DEVICE_LOCKED),
        (Err(cme(10)), SubscriberReadyState::SIM_NOT_INSERTED),
        (Err(cme(13)), SubscriberReadyState::BAD_SIM),
        (Err(cme(14)), SubscriberReadyState::NOT_INITIALIZED),
        (Err(Refusal::Error), SubscriberReadyState::NOT_INITIALIZED),
    ] {
        script.says("AT+CPIN?", said);
        let (status, info) = query(&mut function, bc::SUBSCRIBER_READY_STATUS);
        assert_eq!(status, Status::NONE);
        assert_eq!(
            SubscriberReadyStatus::decode(&info).unwrap().ready_state,
            state
        );
    }
}

#[test]
fn a_pin_is_entered_once_and_what_the_sim_says_is_told() {
    let script = me906s();
    script.says("AT+CPIN?", Ok("+CPIN: SIM PIN"));
    script.says("AT^CPIN?", Ok("^CPIN: SIM PIN,3,10,2,10,3"));
    let mut function = script.function();
    let enter = |pin: &str| {
        PinSet {
            pin_type: PinType::PIN1,
            pin_operation: PinOperation::ENTER,
            pin: pin.to_owned(),
            ..PinSet::default()
        }
        .encode()
    };
    script.says("AT+CPIN=\"0000\"", Err(cme(16)));
    let (status, info) = set(&mut function, bc::PIN, &enter("0000"));
    assert_eq!(status, Status::OPERATION_NOT_ALLOWED);
    let pin = PinInfo::decode(&info).unwrap();
    assert_eq!(
        (pin.pin_state, pin.remaining_attempts),
        (PinState::LOCKED, 2)
    );
    let sent = script.asked();
    assert_eq!(
        sent.iter()
            .filter(|line| line.starts_with("AT+CPIN="))
            .count(),
        1
    );

    // A refusal without a reason is taken for one of the PIN, and never for "not supported", after
    // which the PIN would be sent again.
    script.says("AT+CPIN=\"1111\"", Err(Refusal::Error));
    assert_eq!(
        set(&mut function, bc::PIN, &enter("1111")).0,
        Status::OPERATION_NOT_ALLOWED
    );
    // No text that could be another command is sent.
    script.asked();
    for bad in ["", "12\"4", "1;+CFUN", "123456789"] {
        assert_eq!(
            set(&mut function, bc::PIN, &enter(bad)).0,
            Status::INVALID_PARAMETERS
        );
    }
    assert_eq!(script.asked(), [""; 0]);

    script.says("AT+CPIN=\"1234\"", Ok(""));
    script.says("AT+CPIN?", Ok("+CPIN: READY"));
    let (status, info) = set(&mut function, bc::PIN, &enter("1234"));
    assert_eq!(status, Status::NONE);
    assert_eq!(
        PinInfo::decode(&info).unwrap().pin_state,
        PinState::UNLOCKED
    );
}

fn activation(family: ContextIpType) -> ConnectSet {
    ConnectSet {
        session_id: 0,
        activation_command: ActivationCommand::ACTIVATE,
        access_string: "telenor.smart".into(),
        ip_type: family,
        ..ConnectSet::default()
    }
}

/// Follows the connection, and returns the states that are indicated by then.
fn follow(function: &mut Function, now: Instant) -> Vec<ConnectInfo> {
    function.timeout(now);
    std::iter::from_fn(|| function.next_indication())
        .filter(|(id, _)| *id == bc::CONNECT)
        .map(|(_, info)| ConnectInfo::decode(&info).unwrap())
        .collect()
}

#[test]
fn a_connection_is_dialled_followed_and_ended() {
    let script = me906s();
    let mut function = script.function();
    let now = Instant::now();
    let (status, info) = set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV4V6).encode(),
    );
    assert_eq!(status, Status::NONE);
    let state = |info: &[u8]| ConnectInfo::decode(info).unwrap().activation_state;
    assert_eq!(state(&info), ActivationState::ACTIVATING);
    let asked = script.asked();
    assert_eq!(
        asked,
        [
            "AT+CGDCONT=1,\"IPV4V6\",\"telenor.smart\"",
            "AT^NDISDUP=1,1,\"telenor.smart\""
        ]
    );
    // No family is up at first; then the first one is, and the second has some time to come.
    assert_eq!(follow(&mut function, now), []);
    assert!(function.poll_timeout().is_some());
    script.says(
        "AT^NDISSTATQRY?",
        Ok("^NDISSTATQRY: 1,,,\"IPV4\",0,,,\"IPV6\""),
    );
    function.unsolicited(now, "^NDISSTAT: 1,,,\"IPV4\"");
    assert_eq!(follow(&mut function, now), []);
    script.says(
        "AT^NDISSTATQRY?",
        Ok("^NDISSTATQRY: 1,,,\"IPV4\",1,,,\"IPV6\""),
    );
    let told = follow(&mut function, now + Duration::from_millis(500));
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].activation_state, told[0].ip_type),
        (ActivationState::ACTIVATED, ContextIpType::IPV4V6)
    );

    let asked = IpConfiguration::default().encode();
    let (status, info) = function.answer(now, bc::IP_CONFIGURATION, CommandKind::QUERY, &asked);
    assert_eq!(status, Status::NONE);
    let given = IpConfiguration::decode(&info).unwrap();
    assert_eq!(
        given.ipv4_address[0].ipv4_address,
        std::net::Ipv4Addr::new(10, 8, 219, 204)
    );
    assert_eq!(given.ipv4_address[0].on_link_prefix_length, 29);
    assert_eq!(
        given.ipv4_gateway,
        Some(std::net::Ipv4Addr::new(10, 8, 219, 201))
    );
    assert_eq!(given.ipv4_dns_server.len(), 2);
    assert_eq!(
        given.ipv6_address[0].ipv6_address,
        "2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap()
    );

    // The network ends the connection: the modem reports it, and is asked.
    script.says(
        "AT^NDISSTATQRY?",
        Ok("^NDISSTATQRY: 0,,,\"IPV4\",0,,,\"IPV6\""),
    );
    function.unsolicited(now, "^NDISSTAT: 0,33,,\"IPV4\"");
    let told = follow(&mut function, now + Duration::from_secs(1));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].activation_state, ActivationState::DEACTIVATED);
    assert_eq!(function.poll_timeout(), None);

    let end = ConnectSet {
        activation_command: ActivationCommand::DEACTIVATE,
        ..activation(ContextIpType::DEFAULT)
    };
    script.asked();
    script.says("AT^NDISDUP=1,0", Err(Refusal::Error));
    let (status, info) = set(&mut function, bc::CONNECT, &end.encode());
    assert_eq!(
        (status, state(&info)),
        (Status::NONE, ActivationState::DEACTIVATED)
    );
    assert_eq!(script.asked(), ["AT^NDISDUP=1,0"]);
    let (status, _) = function.answer(now, bc::IP_CONFIGURATION, CommandKind::QUERY, &asked);
    assert_eq!(status, Status::CONTEXT_NOT_ACTIVATED);
}

/// Dials for both families, lets the modem report what `tell` says, and checks that IPv4 comes up
/// alone.
#[track_caller]
fn comes_up_with_ipv4_alone(tell: impl FnOnce(&mut Function, Instant)) {
    let script = me906s();
    let mut function = script.function();
    let now = Instant::now();
    set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV4V6).encode(),
    );
    tell(&mut function, now);
    script.says(
        "AT^NDISSTATQRY?",
        Ok("^NDISSTATQRY: 1,,,\"IPV4\",0,,,\"IPV6\""),
    );
    assert_eq!(follow(&mut function, now), []);
    let told = follow(&mut function, now + Duration::from_secs(3));
    assert_eq!(
        (told[0].activation_state, told[0].ip_type),
        (ActivationState::ACTIVATED, ContextIpType::IPV4)
    );
}

#[test]
fn one_family_is_enough_after_a_moment() {
    comes_up_with_ipv4_alone(|_, _| {});
}

#[test]
fn ipv6_that_the_network_refuses_leaves_ipv4() {
    comes_up_with_ipv4_alone(|function, now| {
        function.unsolicited(now, "^NDISSTAT: 0,50,,\"IPV6\"");
        assert_eq!(function.next_indication(), None);
    });
}

#[test]
fn firmware_without_a_family_says_so_and_refusals_keep_their_cause() {
    let script = me906s();
    let mut function = script.function();
    // The lt4132 with a SIM of the profile "00000" knows IPv4 alone.
    let (status, _) = set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV6).encode(),
    );
    assert_eq!(status, Status::NO_DEVICE_SUPPORT);
    assert!(!script.asked().iter().any(|line| line.contains("NDISDUP")));

    script.says("AT^NDISDUP=1,1,\"telenor.smart\"", Err(cme(133)));
    let (status, info) = set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV4V6).encode(),
    );
    assert_eq!(status, Status::FAILURE);
    assert_eq!(
        ConnectInfo::decode(&info).unwrap().nw_error,
        NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED
    );
    // While dialling, the modem reports a cause by itself.
    script.says("AT^NDISDUP=1,1,\"telenor.smart\"", Ok(""));
    set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV4V6).encode(),
    );
    function.unsolicited(Instant::now(), "^NDISSTAT: 0,33,,\"IPV4\"");
    let (id, info) = function.next_indication().unwrap();
    let told = ConnectInfo::decode(&info).unwrap();
    assert_eq!(
        (id, told.activation_state, told.nw_error),
        (
            bc::CONNECT,
            ActivationState::DEACTIVATED,
            NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED
        )
    );
}

#[test]
fn user_and_password_are_dialled_with_and_nothing_breaks_out_of_its_quotes() {
    let script = me906s();
    let mut function = script.function();
    let line = "AT^NDISDUP=1,1,\"telenor.smart\",\"me\",\"pass\",2";
    script.says(line, Ok(""));
    let wanted = ConnectSet {
        user_name: "me".into(),
        password: "pass".into(),
        auth_protocol: AuthProtocol::CHAP,
        ..activation(ContextIpType::IPV4V6)
    };
    assert_eq!(
        set(&mut function, bc::CONNECT, &wanted.encode()).0,
        Status::NONE
    );
    assert!(script.asked().iter().any(|asked| asked == line));
    for apn in ["a\"b", "a\rAT+CFUN=0", "ä"] {
        let wanted = ConnectSet {
            access_string: apn.into(),
            ..activation(ContextIpType::IPV4)
        };
        assert_eq!(
            set(&mut function, bc::CONNECT, &wanted.encode()).0,
            Status::INVALID_PARAMETERS
        );
    }
    assert_eq!(script.asked(), [""; 0]);
    // The modem has one connection.
    let second = ConnectSet {
        session_id: 1,
        ..activation(ContextIpType::IPV4)
    };
    assert_eq!(
        set(&mut function, bc::CONNECT, &second.encode()).0,
        Status::MAX_ACTIVATED_CONTEXTS
    );
}

#[test]
fn a_modem_without_addresses_leaves_them_to_the_link() {
    let script = me906s();
    let mut function = script.function();
    set(
        &mut function,
        bc::CONNECT,
        &activation(ContextIpType::IPV4V6).encode(),
    );
    for line in ["AT^DHCP?", "AT^DHCPV6?"] {
        script.says(line, Err(Refusal::Error));
    }
    let asked = IpConfiguration::default().encode();
    let ask = |function: &mut Function| {
        function.answer(
            Instant::now(),
            bc::IP_CONFIGURATION,
            CommandKind::QUERY,
            &asked,
        )
    };
    assert_eq!(ask(&mut function).0, Status::NO_DEVICE_SUPPORT);
    // The modem has answered before it has an address.
    script.says("AT^DHCP?", Ok("^DHCP: 0,0,0,0,0,0,0,0"));
    let (status, info) = ask(&mut function);
    assert_eq!(status, Status::NONE);
    assert_eq!(IpConfiguration::decode(&info).unwrap().ipv4_address, []);
}

#[test]
fn short_messages_are_read_sent_and_deleted() {
    let script = me906s();
    let mut function = script.function();
    script.says("AT+CMGF=0", Ok(""));
    script.says(
        "AT+CMGL=4",
        Ok("+CMGL: 1,1,,23\n0791AB\n+CMGL: 4,0,,23\n0791CD\n+CMGL: 5,0,,1\nzz\n+CMGL: 6,0,,1\n+1"),
    );
    let query = sms::ReadQuery {
        format: sms::SmsFormat::PDU,
        flag: sms::SmsFlag::ALL,
        message_index: 0,
    };
    let (_, info) = function.answer(
        Instant::now(),
        sms::READ,
        CommandKind::QUERY,
        &query.encode(),
    );
    let read = sms::ReadInfo::decode(&info).unwrap().pdu_messages;
    let summary: Vec<_> = read
        .iter()
        .map(|one| (one.message_index, one.pdu_data.clone()))
        .collect();
    assert_eq!(
        summary,
        [(1, vec![0x07, 0x91, 0xab]), (4, vec![0x07, 0x91, 0xcd])]
    );
    assert_eq!(read[1].message_status, sms::SmsStatus::NEW);

    script.says("AT+CMGS=3", Ok("+CMGS: 17"));
    let send = sms::SendSet {
        format: sms::SmsFormat::PDU,
        pdu_message: Some(sms::SmsPduSendRecord {
            pdu_data: vec![0x00, 0x01, 0x02, 0x03],
        }),
        cdma_message: None,
    };
    let (status, info) = set(&mut function, sms::SEND, &send.encode());
    assert_eq!(status, Status::NONE);
    assert_eq!(sms::SendInfo::decode(&info).unwrap().message_reference, 17);
    assert_eq!(script.asked().last().unwrap(), "AT+CMGS=3 00010203");
    function.unsolicited(Instant::now(), "+CMTI: \"SM\",4");
    assert_eq!(
        function.next_indication().unwrap().0,
        sms::MESSAGE_STORE_STATUS
    );
    function.unsolicited(Instant::now(), "+CMTI: nonsense");
    assert_eq!(function.next_indication(), None);
}
