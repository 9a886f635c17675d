//! The values that the original unit tests assert, found by the names they have there.

use serde_json::{Value as Json, json};
use uwwan_mbim::fields::{Reader, Record, Tlv, Value};
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::registry;
use uwwan_mbim::services::basic_connect::context_type;
use uwwan_mbim::services::ms_basic_connect_extensions::{WakeCommand, WakePacket};
use uwwan_mbim::{Layout, Uuid};

/// Numbers of the services in libmbim's enumeration.
const SERVICES: &[(u64, &str)] = &[
    (1, "basic_connect"),
    (3, "ussd"),
    (5, "stk"),
    (6, "auth"),
    (7, "dss"),
    (9, "ms_host_shutdown"),
    (14, "ms_basic_connect_extensions"),
    (17, "ms_uicc_low_level_access"),
    (23, "google"),
];

fn is_service(uuid: Uuid, number: &Json) -> bool {
    let name = SERVICES
        .iter()
        .find(|(n, _)| Some(*n) == number.as_u64())
        .map(|(_, name)| *name);
    registry::service(uuid).map(|service| service.name) == name
}

/// Panics unless the message says what the test asserts.
pub fn check(key: &str, expected: &Json, message: &Message, bytes: &[u8], record: &Record) {
    let found = match (key, &message.body) {
        ("get_transaction_id", _) => json!(message.transaction),
        ("get_message_type", _) => json!(message.kind().0),
        ("get_message_length" | "((GByteArray *)message)->len", _) => json!(bytes.len()),
        ("open_done_get_status_code", Body::OpenDone(status))
        | ("close_done_get_status_code", Body::CloseDone(status))
        | ("command_done_get_status_code", Body::CommandDone { status, .. }) => json!(status.0),
        ("command_done_get_service", Body::CommandDone { service, .. })
        | ("command_get_service", Body::Command { service, .. }) => {
            assert!(is_service(*service, expected), "{service}");
            return;
        }
        ("command_done_get_cid", Body::CommandDone { cid, .. })
        | ("command_get_cid", Body::Command { cid, .. }) => {
            json!(cid)
        }
        ("command_get_command_type", Body::Command { kind, .. }) => json!(kind.0),
        ("len", Body::CommandDone { info, .. }) => json!(info.len()),
        _ => content(key, expected, record),
    };
    let expected = match expected.as_str() {
        // These are names of constants, and C escapes, in the source of the test.
        Some("expected_tlv_str_1") => json!("abcde"),
        Some("expected_tlv_str_2") => json!("Orange"),
        Some("lte_band_class_array_size") => json!(29),
        Some("nr_band_class_array_size") => json!(19),
        Some(text) => json!(text.replace("\\r\\n", "\r\n")),
        None => expected.clone(),
    };
    assert_eq!(found, expected, "{key}");
}

fn content(key: &str, expected: &Json, record: &Record) -> Json {
    let tlvs: Vec<&Tlv> = record
        .values
        .iter()
        .flatten()
        .flat_map(|value| match value {
            Value::List(list) => list.iter().collect(),
            value => vec![value],
        })
        .filter_map(|value| match value {
            Value::Tlv(tlv) => Some(tlv),
            _ => None,
        })
        .collect();
    let wake = || {
        let tlv = tlvs.first().expect("wake element");
        let schema = if tlv.kind.0 == 16 {
            WakeCommand::SCHEMA
        } else {
            WakePacket::SCHEMA
        };
        Reader::new(&tlv.data).read(schema)
    };
    let tlv_text = |index: usize| json!(tlvs[index].as_text());
    match key {
        "n_providers" => length(record, "providers"),
        "n_filters" => length(record, "packet_filters"),
        "ctrl_caps" => by_path(record, "control_caps"),
        "pdu_hint" => by_path(record, "default_pdu_activation_hint"),
        "media_type" => by_path(record, "media_preference"),
        "modem_state" => by_path(record, "carrier_lock_modem_state"),
        "ussd_response" => by_path(record, "response"),
        "ussd_session_state" => by_path(record, "session_state"),
        "ussd_dcs" => by_path(record, "data_coding_scheme"),
        "ussd_payload_size" => length(record, "payload"),
        "databuffer_size" => length(record, "buffer"),
        "databuffer_len" => match record.schema.position("data_buffer") {
            Some(_) => length(record, "data_buffer"),
            None => length(record, "result_data"),
        },
        "G_N_ELEMENTS (expected_lte_band_class_array)" => length(record, "lte_band_class"),
        "G_N_ELEMENTS (expected_nr_band_class_array)" => length(record, "nr_band_class"),
        "g_list_length (unnamed_ies)" => length(record, "unnamed_ies"),
        "mbim_tlv_get_tlv_type (tlv)" => json!(tlvs.last().expect("TLV").kind.0),
        "mbim_tlv_get_tlv_type (wake_tlv)" => json!(tlvs.first().expect("TLV").kind.0),
        "tlv_str" | "tlv_str_1" => tlv_text(0),
        "tlv_str_2" => tlv_text(1),
        "pco_3_size" => json!(tlvs[2].data.len()),
        "mbim_uuid_to_context_type (context_type)" => {
            assert_eq!(
                record.get("context_type"),
                Some(&Value::Uuid(context_type::INTERNET))
            );
            expected.clone()
        }
        "mbim_uuid_to_service (service)" => {
            let Some(Value::Uuid(uuid)) = wake().get("service").cloned() else {
                panic!("no service")
            };
            assert!(is_service(uuid, expected), "{uuid}");
            expected.clone()
        }
        "cid" | "filter_id" | "original_packet_size" => by_path(&wake(), key),
        "payload_size" => length(&wake(), "payload"),
        "packet_size" => length(&wake(), "packet"),
        "payload_uint" => match wake().get("payload") {
            Some(Value::Bytes(bytes)) => json!(u32::from_le_bytes(
                bytes[..].try_into().expect("four bytes")
            )),
            other => panic!("{other:?}"),
        },
        path => by_path(
            record,
            &path.replace("->", ".").replace('[', ".").replace(']', ""),
        ),
    }
}

fn length(record: &Record, path: &str) -> Json {
    let (_, value) = lookup(record, path).unwrap_or_else(|| panic!("no {path} in {record:?}"));
    json!(value.len().expect("a list or bytes"))
}

/// Returns a value by its path; `x_size` and `x_count` are the length of `x` where there is no such
/// field.
fn by_path(record: &Record, path: &str) -> Json {
    let Some((is_bool, value)) = lookup(record, path) else {
        let stem = path
            .strip_suffix("_size")
            .or_else(|| path.strip_suffix("_count"));
        return length(
            record,
            stem.unwrap_or_else(|| panic!("no {path} in {record:?}")),
        );
    };
    match value {
        Value::Unsigned(number) if is_bool => json!(number != 0),
        Value::Unsigned(number) => json!(number),
        Value::Signed(number) => json!(number),
        Value::Text(text) => json!(text),
        other => panic!("{path}: {other:?}"),
    }
}

/// Follows names and indices; underscores in names are ignored, and `idx` is the last element.
fn lookup(record: &Record, path: &str) -> Option<(bool, Value)> {
    let plain = |name: &str| name.replace('_', "");
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let alias = if first == "filters" {
        "packet_filters"
    } else {
        first
    };
    let index = record
        .schema
        .fields
        .iter()
        .position(|field| plain(field.name) == plain(alias))?;
    let is_bool = matches!(
        record.schema.fields[index].kind,
        uwwan_mbim::fields::Kind::Bool
    );
    let value = record.values[index].clone()?;
    let Some(rest) = rest else {
        return Some((is_bool, value));
    };
    let Value::List(list) = value else {
        return None;
    };
    let (index, rest) = rest
        .split_once('.')
        .map_or((rest, None), |(index, rest)| (index, Some(rest)));
    let element = if index == "idx" {
        list.last()?
    } else {
        list.get(index.parse::<usize>().ok()?)?
    };
    match (element, rest) {
        (Value::Struct(record), Some(rest)) => lookup(record, rest),
        (value, None) => Some((false, value.clone())),
        _ => None,
    }
}
