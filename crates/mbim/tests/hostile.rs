//! Information buffers that are made to cost time or memory.

use uwwan_mbim::Layout;
use uwwan_mbim::fields::{Reader, Value};
use uwwan_mbim::services::basic_connect::{
    DeviceServices, IpConfiguration, SubscriberReadyStatus, VisibleProviders,
};
use uwwan_mbim::services::ms_basic_connect_extensions::BaseStationsInfo;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns the number of bytes of variable data in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Tlv(tlv) => tlv.data.len(),
        Value::List(list) => list.iter().map(size).sum(),
        Value::Struct(record) => record.values.iter().flatten().map(size).sum(),
        _ => 4,
    }
}

#[test]
fn counts_of_four_billion_cost_nothing() {
    for count in [u32::MAX, 0x8000_0000, 0x2000_0001] {
        let (providers, errors) = VisibleProviders::decode_partial(&words(&[count, 12, 0]));
        assert!(providers.providers.len() <= 1);
        assert!(
            errors[0].what.contains("elements stated, room for 1"),
            "{errors:?}"
        );
        let mut ip = words(&[
            0, 15, 15, count, 60, count, 60, 0, 0, count, 60, count, 60, 1500, 1500,
        ]);
        ip.extend([0; 20]);
        let (ip, errors) = IpConfiguration::decode_partial(&ip);
        assert!(ip.ipv4_address.len() + ip.ipv4_dns_server.len() <= 20 && !errors.is_empty());
        assert!(DeviceServices::decode(&words(&[count, 0])).is_err());
    }
}

#[test]
fn many_references_to_the_same_data_are_cut_off() {
    // The buffer has 4000 telephone numbers, each of which refers to the whole buffer.
    let count = 4000;
    let length = 28 + count * 8;
    let mut info = words(&[1, 0, 0, 0, 0, 0, count]);
    for _ in 0..count {
        info.extend(words(&[4, length - 4]));
    }
    // No 16-bit unit is NUL, so that the texts do not end early.
    info.iter_mut()
        .skip(28)
        .filter(|byte| **byte == 0)
        .for_each(|byte| *byte = 0x41);
    for pair in info[28..].chunks_exact_mut(8) {
        pair.copy_from_slice(&words(&[28, length - 28]));
    }
    let mut reader = Reader::new(&info);
    let record = reader.read(SubscriberReadyStatus::SCHEMA);
    let total: usize = record.values.iter().flatten().map(size).sum();
    assert!(
        total <= 16 * info.len(),
        "{total} bytes from {}",
        info.len()
    );
    assert!(reader.finish().1.expect("error").what.contains("overlap"));
}

#[test]
fn nested_references_are_cut_off() {
    // All services share one list of commands as long as the buffer.
    let count = 1000u32;
    let mut info = words(&[count, 0]);
    let at = 8 + 8 * count;
    for _ in 0..count {
        info.extend(words(&[at, 28 + 4000 * 4]));
    }
    info.extend([0; 24]);
    info.extend(words(&[4000]));
    info.extend(words(&[7; 4000]));
    let mut reader = Reader::new(&info);
    let record = reader.read(DeviceServices::SCHEMA);
    let total: usize = record.values.iter().flatten().map(size).sum();
    assert!(
        total <= 16 * info.len(),
        "{total} bytes from {}",
        info.len()
    );
    assert!(reader.finish().1.is_some());
}

#[test]
fn offsets_and_sizes_that_wrap_around_are_refused() {
    for (offset, size) in [
        (u32::MAX, 4),
        (4, u32::MAX),
        (u32::MAX, u32::MAX),
        (0x7fff_ffff, 0x8000_0001),
    ] {
        let info = words(&[1, offset, size, 0, 0, 0, 0]);
        let error = SubscriberReadyStatus::decode(&info).expect_err("out of range");
        assert_eq!(error.error.offset, 4);
        let mut cells = words(&[0x20]);
        for _ in 0..9 {
            cells.extend(words(&[offset, size]));
        }
        assert!(BaseStationsInfo::decode(&cells).is_err());
    }
}

#[test]
fn problems_are_counted_only_so_far() {
    let mut info = words(&[10_000]);
    for _ in 0..10_000 {
        info.extend(words(&[u32::MAX, 64]));
    }
    let (_, errors) = VisibleProviders::decode_partial(&info);
    assert!(errors.len() <= 40, "{}", errors.len());
}
