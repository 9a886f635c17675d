//! Typed structs, held against the messages that libmbim builds from the same arguments, byte for
//! byte.

use crate::vector;
use uwwan_mbim::fields::{Tlv, TlvType};
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::services::basic_connect::{self as bc, context_type};
use uwwan_mbim::services::ms_basic_connect_extensions as ext;
use uwwan_mbim::services::{auth, dss, google, ms_uicc_low_level_access as uicc, sms, stk, ussd};
use uwwan_mbim::{Layout, Uuid};

/// Checks that the typed value encodes to the information buffer of the vector and decodes from it.
fn same<T: Layout + PartialEq + std::fmt::Debug>(name: &str, typed: &T) {
    let message = Message::decode(&vector::bytes(name)).expect("message");
    let (Body::Command { info, .. } | Body::CommandDone { info, .. }) = message.body else {
        panic!("no information")
    };
    assert_eq!(typed.encode_info(), info, "{name}");
    assert_eq!(&T::decode_info(&info).expect("typed"), typed, "{name}");
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    vector::unhex(text).try_into().expect("length")
}

#[test]
fn pin_set() {
    let pin = bc::PinSet {
        pin_type: bc::PinType::PIN1,
        pin_operation: bc::PinOperation::ENTER,
        pin: "1111".to_owned(),
        new_pin: String::new(),
    };
    same("test_basic_connect_pin_set", &pin);
    assert!(!format!("{pin:?}").contains("1111"), "a PIN in a log");
}

#[test]
fn connect_set() {
    let connect = bc::ConnectSet {
        session_id: 1,
        activation_command: bc::ActivationCommand::ACTIVATE,
        access_string: "internet".to_owned(),
        auth_protocol: bc::AuthProtocol::PAP,
        ip_type: bc::ContextIpType::IPV4,
        context_type: context_type::INTERNET,
        ..bc::ConnectSet::default()
    };
    same("test_basic_connect_connect_set", &connect);
}

#[test]
fn connect_set_of_version_3() {
    let connect = bc::ConnectSetV3 {
        session_id: 1,
        activation_command: bc::ActivationCommand::ACTIVATE,
        auth_protocol: bc::AuthProtocol::PAP,
        ip_type: bc::ContextIpType::IPV4,
        context_type: context_type::INTERNET,
        media_preference: bc::AccessMediaType::_3GPP,
        access_string: "internet".to_owned(),
        ..bc::ConnectSetV3::default()
    };
    same("test_ms_basic_connect_v3_connect_set", &connect);
}

#[test]
fn subscribe_list() {
    let event = |service: Uuid, cids: &[u32]| bc::EventEntry {
        device_service_id: service,
        cids: cids.to_vec(),
    };
    let list = bc::DeviceServiceSubscribeList {
        events: vec![event(bc::UUID, &[11, 9]), event(sms::UUID, &[2])],
    };
    same(
        "test_basic_connect_device_service_subscribe_list_set",
        &list,
    );
}

#[test]
fn providers() {
    let provider = |state: bc::ProviderState| bc::Provider {
        provider_id: "21403".to_owned(),
        provider_state: state,
        provider_name: "Orange".to_owned(),
        cellular_class: bc::CellularClass::GSM,
        rssi: 11,
        error_rate: 0,
    };
    let visible = bc::ProviderState::VISIBLE;
    let home = bc::ProviderState::HOME | visible | bc::ProviderState::REGISTERED;
    let providers = vec![provider(visible), provider(home)];
    same(
        "test_basic_connect_multicarrier_providers_set",
        &bc::MulticarrierProviders {
            providers: providers.clone(),
        },
    );
    same(
        "test_basic_connect_visible_providers",
        &bc::VisibleProviders { providers },
    );
}

#[test]
fn packet_filters() {
    let filter = |filter: &str, mask: &str| bc::PacketFilter {
        packet_filter: vector::unhex(filter),
        packet_mask: vector::unhex(mask),
    };
    let filters = |packet_filters| bc::IpPacketFilters {
        session_id: 1,
        packet_filters,
    };
    same(
        "test_basic_connect_ip_packet_filters_set_none",
        &filters(vec![]),
    );
    same(
        "test_basic_connect_ip_packet_filters_set_one",
        &filters(vec![filter("01020304050607", "f1f2f3f4f5f6f7")]),
    );
    same(
        "test_basic_connect_ip_packet_filters_set_two",
        &filters(vec![
            filter("0102030405060708", "f1f2f3f4f5f6f7f8"),
            filter("010203040506070805060708", "f1f2f3f4f5f6f7f8f5f6f7f8"),
        ]),
    );
}

#[test]
fn service_activation() {
    let buffer = vector::unhex("0102030405060708");
    same(
        "test_basic_connect_service_activation_set",
        &bc::ServiceActivationSet { buffer },
    );
}

#[test]
fn ussd_set() {
    let set = ussd::UssdSet {
        action: ussd::UssdAction::CONTINUE,
        data_coding_scheme: 1,
        payload: vector::unhex("0102030405060708090a0b0c0d0e0f00"),
    };
    same("test_ussd_set", &set);
}

#[test]
fn auth_akap_query() {
    let query = auth::AkapQuery {
        rand: unhex("000102030405060708090a0b0c0d0e0f"),
        autn: unhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0"),
        network_name: "1111".to_owned(),
    };
    same("test_auth_akap_query", &query);
}

#[test]
fn stk_sets() {
    let pac_host_control =
        unhex("000102030405060708090a0b0c0d0e0ffffefdfcfbfaf9f8f7f6f5f4f3f2f1f0");
    same("test_stk_pac_set", &stk::PacSet { pac_host_control });
    let response = vector::unhex("0405060708090a0b0c0d0e0ffffefdfcfbfaf9f8f7f6f5f4f3f2f1f0");
    same(
        "test_stk_terminal_response_set",
        &stk::TerminalResponseSet { response },
    );
}

#[test]
fn dss_connect_set() {
    let set = dss::ConnectSet {
        device_service_id: Uuid::literal("01020304-ffff-bbbb-ffcc-f0f1f2f3f4f5"),
        dss_session_id: 255,
        dss_link_state: dss::DssLinkState::ACTIVATE,
    };
    same("test_dss_connect_set", &set);
}

#[test]
fn registration_parameters() {
    let set = |unnamed_ies| ext::RegistrationParameters {
        default_pdu_activation_hint: ext::DefaultPduActivationHint::LIKELY,
        re_register_if_needed: true,
        unnamed_ies,
        ..ext::RegistrationParameters::default()
    };
    let pco = Tlv {
        kind: TlvType::PCO,
        data: vector::unhex("0102030405060708090a0b"),
    };
    let name = "test_ms_basic_connect_extensions_registration_parameters_set";
    same(&format!("{name}_0_unnamed_tlvs"), &set(vec![]));
    same(
        &format!("{name}_1_unnamed_tlv"),
        &set(vec![Tlv::text("Orange")]),
    );
    same(
        &format!("{name}_3_unnamed_tlvs"),
        &set(vec![Tlv::text("abcde"), Tlv::text("Orange"), pco]),
    );
}

#[test]
fn terminal_capability_set() {
    let info = |data: &str| uicc::TerminalCapabilityInfo {
        terminal_capability_data: vector::unhex(data),
    };
    let set = uicc::TerminalCapability {
        terminal_capability: vec![info("0a0b0c0d0a"), info("a0b0c0")],
    };
    same("test_ms_uicc_low_level_access_terminal_capability", &set);
}

#[test]
fn carrier_lock_set() {
    let data = vector::unhex("56244695abcd25591435");
    same(
        "test_google_carrier_lock_set",
        &google::CarrierLockSet { data },
    );
}

#[test]
fn sms_send_set() {
    let pdu_data = vector::unhex("0001000b919999999999f9000006c6f75b1c9603");
    let set = sms::SendSet {
        format: sms::SmsFormat::PDU,
        pdu_message: Some(sms::SmsPduSendRecord { pdu_data }),
        cdma_message: None,
    };
    same("ofono message_binary_sms_send", &set);
}

#[test]
fn an_identifier_past_the_stated_end_costs_only_itself() {
    let message = Message::decode(&vector::bytes("test_basic_connect_subscriber_ready_status"))
        .expect("message");
    let Body::CommandDone { info, .. } = message.body else {
        panic!("no information")
    };
    assert!(bc::SubscriberReadyStatus::decode(&info).is_err());
    let (status, errors) = bc::SubscriberReadyStatus::decode_partial(&info);
    assert_eq!(status.ready_state, bc::SubscriberReadyState::INITIALIZED);
    assert_eq!(status.telephone_numbers, ["11111111111", "00000000000"]);
    assert_eq!((status.sim_icc_id.as_str(), errors.len()), ("", 1));
}
