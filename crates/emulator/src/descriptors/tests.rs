use super::lt4132::{CONFIGURATION_2, CONFIGURATION_3};
use super::*;
use crate::knobs::Brand;

fn get(brand: Brand, kind: u8, index: u8) -> Option<Vec<u8>> {
    let knobs = Knobs {
        brand,
        ..Knobs::default()
    };
    Presented::new(&knobs, None, &Default::default()).answer(SetupPacket {
        request_type: 0x80,
        request: 6,
        value: u16::from_le_bytes([index, kind]),
        index: 0,
        length: 4096,
    })
}

#[test]
fn total_lengths_are_those_of_the_dump() {
    for (index, length, interfaces) in [(0u8, 301usize, 6), (1, 288, 7), (2, 137, 3)] {
        let bytes = get(Brand::Hp, descriptor::CONFIGURATION, index).unwrap();
        assert_eq!(bytes.len(), length);
        assert_eq!(
            usize::from(u16::from_le_bytes([bytes[2], bytes[3]])),
            length
        );
        assert_eq!(bytes[4], interfaces);
        assert_eq!(bytes[5], index + 1);
        assert_eq!(&bytes[7..9], &[0xa0, 1]);
    }
    assert_eq!(get(Brand::Hp, descriptor::CONFIGURATION, 3), None);
}

#[test]
fn the_endpoints_are_those_of_the_table() {
    let ends = |value| -> Vec<(u8, u8, u8, bool, u16)> {
        Layout::of(lt4132::configuration(value).unwrap())
            .endpoints
            .iter()
            .map(|e| {
                (
                    e.interface,
                    e.alternate,
                    e.address,
                    e.interrupt,
                    e.max_packet_size,
                )
            })
            .collect()
    };
    assert_eq!(
        ends(3),
        [
            (0, 0, 0x82, true, 16),
            (1, 1, 0x81, false, 512),
            (1, 1, 0x01, false, 512),
            (2, 0, 0x83, false, 512),
            (2, 0, 0x02, false, 512),
        ]
    );
    assert_eq!(ends(2).len(), 14);
    assert_eq!(ends(1).len(), 15);
    assert!(ends(2).contains(&(0, 0, 0x82, true, 16)));
    assert!(ends(1).contains(&(3, 1, 0x85, false, 512)));
    let mbim = Layout::of(&CONFIGURATION_3);
    assert!(mbim.has(1, 1) && !mbim.has(1, 2));
    assert_eq!(mbim.alternates[0].class, [2, 0x0e, 0]);
}

#[test]
fn only_the_huawei_unit_has_a_bos() {
    assert_eq!(get(Brand::Hp, descriptor::BOS, 0), None);
    let bos = get(Brand::Huawei, descriptor::BOS, 0).unwrap();
    assert_eq!(usize::from(bos[2]), bos.len());
    assert_eq!(
        get(Brand::Huawei, descriptor::DEVICE_QUALIFIER, 0).unwrap()[2..4],
        [0x10, 0x02]
    );
}

#[test]
fn strings_are_utf16_with_a_language_list() {
    assert_eq!(get(Brand::Hp, descriptor::STRING, 0).unwrap(), [4, 3, 9, 4]);
    assert_eq!(
        get(Brand::Hp, descriptor::STRING, 1).unwrap(),
        [6, 3, b'H', 0, b'P', 0]
    );
    assert_eq!(get(Brand::Hp, descriptor::STRING, 200), None);
    let layout = Layout::of(&CONFIGURATION_2);
    assert_eq!(layout.alternates.len(), 7);
}

#[test]
fn full_speed_has_small_packets() {
    let bytes = get(Brand::Hp, descriptor::OTHER_SPEED, 2).unwrap();
    assert_eq!(bytes[1], descriptor::OTHER_SPEED);
    let layout = Layout::of(&bytes);
    assert!(
        layout
            .endpoints
            .iter()
            .all(|e| e.interrupt || e.max_packet_size == 64)
    );
}

#[test]
fn malformed_sets_end_the_reading() {
    for cut in 0..CONFIGURATION_2.len() {
        let _ = Layout::of(&CONFIGURATION_2[..cut]);
    }
    let _ = Layout::of(&[0, 0, 0, 0]);
    let _ = Layout::of(&[2, descriptor::ENDPOINT, 2, 4]);
}
