use super::*;
use crate::descriptors::vectors::{CONFIGURATION_2, CONFIGURATION_3, DEVICE, lt4132};

/// Returns configuration 3 with some bytes replaced wherever they occur.
fn with(replace: &[u8], by: &[u8]) -> Descriptors {
    let mut raw = CONFIGURATION_3;
    let at = raw
        .windows(replace.len())
        .position(|w| w == replace)
        .expect("bytes to replace");
    raw[at..at + by.len()].copy_from_slice(by);
    Descriptors::parse(&DEVICE, &[raw])
}

fn bulk(address: u8) -> Endpoint {
    Endpoint {
        address,
        kind: TransferKind::Bulk,
        max_packet_size: 512,
        interval: 0,
    }
}

#[test]
fn the_lt4132_has_one_mbim_function_in_configuration_3() {
    let interrupt_in = Endpoint {
        address: 0x82,
        kind: TransferKind::Interrupt,
        max_packet_size: 16,
        interval: 5,
    };
    assert_eq!(
        mbim(&lt4132()),
        [MbimFunction {
            configuration: 3,
            control_interface: 0,
            control_alternate: 0,
            data_interface: 1,
            data_alternate: 1,
            interrupt_in,
            bulk_in: bulk(0x81),
            bulk_out: bulk(0x01),
            max_control_message: 1024,
            max_segment_size: 1500,
            capabilities: 0x20,
            extended_mtu: Some(1500),
            max_outstanding: Some(16),
            extended_version: Some(0x0100),
        }]
    );
}

#[test]
fn its_serial_interfaces_are_found_by_protocol() {
    let roles = |configuration: u8| -> Vec<(u8, SerialRole)> {
        let all = serial(&lt4132()).into_iter();
        all.filter(|s| s.configuration == configuration)
            .map(|s| (s.interface, s.role))
            .collect()
    };
    use SerialRole::{Diagnostics, Gps, Modem, Pcui, SerialB};
    assert_eq!(
        roles(1),
        [
            (0, Modem),
            (1, Diagnostics),
            (2, Pcui),
            (4, Gps),
            (5, SerialB)
        ]
    );
    assert_eq!(
        roles(2),
        [
            (2, Modem),
            (3, Diagnostics),
            (4, Pcui),
            (5, Gps),
            (6, SerialB)
        ]
    );
    assert_eq!(roles(3), [(2, Gps)]);

    let candidates = |configuration: u8| -> Vec<u8> {
        at_candidates(&lt4132(), configuration)
            .iter()
            .map(|s| s.interface)
            .collect()
    };
    assert_eq!(candidates(1), [2, 0, 4]);
    assert_eq!(candidates(2), [4, 2, 5]);
    assert_eq!(candidates(3), [2]);
    let gps = &at_candidates(&lt4132(), 3)[0];
    assert_eq!((gps.bulk_in, gps.bulk_out), (bulk(0x83), bulk(0x02)));
}

#[test]
fn numbers_do_not_matter() {
    // The function moves to configuration 5 and to interfaces 7 and 9.
    let mut raw = CONFIGURATION_3;
    raw[5] = 5;
    let number = |from: u8| match from {
        0 => 7,
        1 => 9,
        other => other,
    };
    let mut at = 0;
    while at < raw.len() {
        match raw[at + 1] {
            4 => raw[at + 2] = number(raw[at + 2]),
            0x0b => raw[at + 2] = number(raw[at + 2]),
            0x24 if raw[at + 2] == 6 && raw[at + 4] == 1 => {
                raw[at + 3] = number(raw[at + 3]);
                raw[at + 4] = number(raw[at + 4]);
            }
            _ => {}
        }
        at += usize::from(raw[at]);
    }
    let found = mbim(&Descriptors::parse(&DEVICE, &[raw]));
    let places: Vec<_> = found
        .iter()
        .map(|m| (m.configuration, m.control_interface, m.data_interface))
        .collect();
    assert_eq!(places, [(5, 7, 9)]);
}

#[test]
fn without_a_union_the_association_tells() {
    let found = mbim(&with(&[5, 0x24, 6, 0, 1], &[5, 0x24, 0x7f]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].data_interface, 1);
    // Without a union and an association nothing ties the interfaces together.
    let mut raw = CONFIGURATION_3;
    let union = raw
        .windows(5)
        .position(|w| w == [5, 0x24, 6, 0, 1])
        .unwrap();
    raw[union + 2] = 0x7f;
    raw[10] = 0x7f;
    assert_eq!(mbim(&Descriptors::parse(&DEVICE, &[raw])), []);
}

#[test]
fn a_union_that_leads_nowhere_is_no_function() {
    // MBIM has separate interfaces for control and data.
    assert_eq!(mbim(&with(&[5, 0x24, 6, 0, 1], &[5, 0x24, 6, 0, 0])), []);
    assert_eq!(mbim(&with(&[5, 0x24, 6, 0, 1], &[5, 0x24, 6, 0, 77])), []);
    // The union names the serial interface, which carries no MBIM data.
    assert_eq!(mbim(&with(&[5, 0x24, 6, 0, 1], &[5, 0x24, 6, 0, 2])), []);
    // Linux takes the first union whatever control interface it names.
    let found = mbim(&with(&[5, 0x24, 6, 0, 1], &[5, 0x24, 6, 2, 1]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].data_interface, 1);
}

#[test]
fn endpoints_that_cannot_carry_a_byte_are_refused() {
    assert_eq!(
        mbim(&with(&[7, 5, 0x81, 2, 0, 2, 0], &[7, 5, 0x81, 2, 0, 0, 0])),
        []
    );
    assert_eq!(
        mbim(&with(&[7, 5, 0x82, 3, 16, 0, 5], &[7, 5, 0x82, 3, 0, 0, 5])),
        []
    );
    // Both bulk endpoints are IN endpoints here.
    assert_eq!(mbim(&with(&[7, 5, 0x01, 2], &[7, 5, 0x84, 2])), []);
}

#[test]
fn sizes_nobody_could_use_are_brought_into_range() {
    let control_message = |low: u8, high: u8| {
        mbim(&with(
            &[0x0c, 0x24, 0x1b, 0, 1, 0, 4],
            &[0x0c, 0x24, 0x1b, 0, 1, low, high],
        ))[0]
            .max_control_message
    };
    assert_eq!(control_message(0, 0), 64);
    assert_eq!(control_message(0, 0x10), 4096);
    assert_eq!(control_message(0xff, 0xff), 4096);
    // Without the functional descriptor, the smallest values that MBIM allows apply.
    let found = mbim(&with(&[0x0c, 0x24, 0x1b], &[0x0c, 0x24, 0x7e]));
    assert_eq!(
        (found[0].max_control_message, found[0].max_segment_size),
        (64, 2048)
    );
    let found = mbim(&with(
        &[8, 0x24, 0x1c, 0, 1, 16, 0xdc, 5],
        &[8, 0x24, 0x1c, 0, 1, 0, 0, 0],
    ));
    assert_eq!(
        (found[0].extended_mtu, found[0].max_outstanding),
        (None, None)
    );
}

/// The function is NCM or MBIM, depending on the alternate setting (NCM 1.0 errata; MBIM 1.0, 6.6).
#[test]
fn one_function_with_two_personalities() {
    let body = [
        &[9, 4, 0, 0, 1, 2, 0x0d, 0, 0][..],
        &[5, 0x24, 0, 0x10, 1],
        &[5, 0x24, 6, 0, 1],
        &[13, 0x24, 15, 3, 0, 0, 0, 0, 0xea, 5, 0, 0, 0],
        &[6, 0x24, 0x1a, 0, 1, 0x11],
        &[7, 5, 0x82, 3, 16, 0, 5],
        &[9, 4, 0, 1, 1, 2, 0x0e, 0, 0],
        &[12, 0x24, 0x1b, 0, 1, 0, 2, 16, 64, 0, 8, 0x20],
        &[7, 5, 0x82, 3, 16, 0, 5],
        &[9, 4, 1, 0, 0, 10, 0, 1, 0],
        &[9, 4, 1, 1, 2, 10, 0, 1, 0],
        &[7, 5, 0x81, 2, 0, 2, 0],
        &[7, 5, 0x01, 2, 0, 2, 0],
        &[9, 4, 1, 2, 2, 10, 0, 2, 0],
        &[7, 5, 0x81, 2, 0, 2, 0],
        &[7, 5, 0x01, 2, 0, 2, 0],
    ]
    .concat();
    let total = u8::try_from(9 + body.len()).unwrap();
    let raw = [&[9, 2, total, 0, 2, 1, 0, 0x80, 50], &body[..]].concat();
    let descriptors = Descriptors::parse(&DEVICE, &[raw]);
    assert_eq!(descriptors.faults, Vec::<String>::new());
    let as_ncm = &ncm(&descriptors)[0];
    assert_eq!((as_ncm.control_alternate, as_ncm.data_alternate), (0, 1));
    assert_eq!(
        (
            as_ncm.capabilities,
            as_ncm.mac_index,
            as_ncm.max_segment_size
        ),
        (0x11, 3, 1514)
    );
    let as_mbim = &mbim(&descriptors)[0];
    assert_eq!((as_mbim.control_alternate, as_mbim.data_alternate), (1, 2));
    assert_eq!(
        (as_mbim.max_control_message, as_mbim.max_segment_size),
        (512, 2048)
    );
}

#[test]
fn an_interrupt_endpoint_of_another_alternate_setting_does_not_count() {
    let raw = CONFIGURATION_3;
    let at = raw
        .windows(7)
        .position(|w| w == [7, 5, 0x82, 3, 16, 0, 5])
        .unwrap();
    // Alternate setting 1 of the control interface has the endpoint instead of alternate setting 0.
    let mut moved = raw[..at].to_vec();
    moved.extend([9, 4, 0, 1, 1, 2, 2, 1, 0]);
    moved.extend(&raw[at..]);
    let total = u16::try_from(moved.len()).unwrap().to_le_bytes();
    moved[2..4].copy_from_slice(&total);
    let descriptors = Descriptors::parse(&DEVICE, &[moved]);
    let control = descriptors.configurations[0].interface(0).unwrap();
    assert!(control.alternates[0].endpoints.is_empty());
    assert_eq!(control.alternates[1].endpoints.len(), 1);
    assert_eq!(mbim(&descriptors), []);
}

#[test]
fn a_device_with_no_such_function_has_none() {
    let descriptors = Descriptors::parse(&DEVICE, &[CONFIGURATION_2]);
    assert_eq!(mbim(&descriptors), []);
    assert_eq!(ncm(&Descriptors::default()), []);
}

/// Returns a configuration with one interface for each `(alternate, class, endpoints)`, numbered
/// from 0.
fn interfaces(vendor: u16, all: &[(ClassTriple, &[[u8; 7]])]) -> Descriptors {
    let mut body = Vec::new();
    for (number, (class, endpoints)) in (0..).zip(all) {
        let count = u8::try_from(endpoints.len()).unwrap();
        body.extend([9, 4, number, 0, count, class.0, class.1, class.2, 0]);
        body.extend(endpoints.iter().flatten());
    }
    let total = u16::try_from(9 + body.len()).unwrap().to_le_bytes();
    let count = u8::try_from(all.len()).unwrap();
    let raw = [
        &[9, 2, total[0], total[1], count, 1, 0, 0x80, 50],
        &body[..],
    ]
    .concat();
    let mut device = DEVICE;
    device[8..10].copy_from_slice(&vendor.to_le_bytes());
    Descriptors::parse(&device, &[raw])
}

/// Returns two bulk endpoints with the number `n`, and an interrupt endpoint.
fn ports(n: u8) -> [[u8; 7]; 3] {
    [
        [7, 5, 0x80 | n, 2, 0, 2, 0],
        [7, 5, n, 2, 0, 2, 0],
        [7, 5, 0x88 | n, 3, 10, 0, 9],
    ]
}

#[test]
fn what_is_known_to_be_something_else_is_never_tried() {
    for class in [
        ClassTriple(0xff, 0x42, 0x01),
        ClassTriple(0xff, 0x42, 0x03),
        ClassTriple(0xff, 0xff, 0x30),
        ClassTriple(0xff, 0xff, 0x50),
        ClassTriple(0xff, 0xfe, 0x02),
        ClassTriple(0xff, 0x06, 0x13),
        ClassTriple(0xff, 0x01, 0x16),
        ClassTriple(0x08, 0x06, 0x50),
    ] {
        let (one, other) = (ports(1), ports(2));
        let descriptors = interfaces(
            0x12d1,
            &[(class, &one[..2]), (ClassTriple(0xff, 0x06, 0x12), &other)],
        );
        let found: Vec<u8> = at_candidates(&descriptors, 1)
            .iter()
            .map(|s| s.interface)
            .collect();
        assert_eq!(found, [1], "{class}");
    }
}

/// The ports are the AT ports of modems whose owners report that none was found.
#[test]
fn the_at_ports_of_reported_modems_are_candidates() {
    for (modem, vendor, class) in [
        ("Huawei ME906E", 0x12d1, ClassTriple(0xff, 0x02, 0x12)),
        ("Huawei ME909u", 0x12d1, ClassTriple(0xff, 0x01, 0x12)),
        ("Huawei E3372", 0x12d1, ClassTriple(0xff, 0x03, 0x12)),
        ("Huawei ME936", 0x12d1, ClassTriple(0xff, 0x05, 0x12)),
        ("Fibocom L850-GL", 0x2cb7, ClassTriple(0x02, 0x02, 0x01)),
        ("Sierra EM7455", 0x1199, ClassTriple(0xff, 0x00, 0x00)),
        ("Quectel RM520N-GL", 0x2c7c, ClassTriple(0xff, 0x00, 0x00)),
        ("Quectel RM520N-GL", 0x2c7c, ClassTriple(0xff, 0xff, 0xff)),
    ] {
        let descriptors = interfaces(vendor, &[(class, &ports(1))]);
        assert_eq!(at_candidates(&descriptors, 1).len(), 1, "{modem}: {class}");
    }
}

/// The composition is that of a Sierra EM7455 with QMI: AT ports are ff/00/00, QMI is ff/ff/ff,
/// both with an interrupt endpoint (Linux `qcserial.c` and `qmi_wwan.c`).
#[test]
fn qmi_beside_at_ports_is_never_tried() {
    let (port, qmi) = (ports(1), ports(2));
    let shapes = [
        (ClassTriple(0xff, 0x00, 0x00), &port[..]),
        (ClassTriple(0xff, 0xff, 0xff), &qmi[..]),
    ];
    for (vendor, tried) in [
        (0x1199, &[0][..]),
        (0x2c7c, &[0]),
        (0x413c, &[0]),
        (0x1bc7, &[0, 1]),
    ] {
        let found = at_candidates(&interfaces(vendor, &shapes), 1);
        let found: Vec<u8> = found.iter().map(|s| s.interface).collect();
        assert_eq!(found, tried, "{vendor:04x}");
    }
}

#[test]
fn an_unknown_code_is_tried_on_a_modem_only() {
    let (one, other) = (ports(1), ports(2));
    let unknown = ClassTriple(0xff, 0x77, 0x01);
    let alone = interfaces(0x0bda, &[(unknown, &one)]);
    assert_eq!(at_candidates(&alone, 1), []);
    let beside = interfaces(
        0x0bda,
        &[(unknown, &one), (ClassTriple(0xff, 0xff, 0x40), &other)],
    );
    let found: Vec<_> = at_candidates(&beside, 1)
        .iter()
        .map(|s| (s.interface, s.at))
        .collect();
    assert_eq!(
        found,
        [(1, AtLikelihood::Likely), (0, AtLikelihood::Possible)]
    );
}

#[test]
fn huawei_numbers_from_1_count_on_huawei_modems() {
    let (one, other) = (ports(1), ports(2));
    let of = |vendor| {
        let modem = ClassTriple(0xff, 0x01, 0x01);
        let pcui = ClassTriple(0xff, 0x01, 0x02);
        let descriptors = interfaces(vendor, &[(modem, &one), (pcui, &other)]);
        let roles = serial(&descriptors).into_iter().map(|s| s.role);
        roles.collect::<Vec<_>>()
    };
    assert_eq!(of(0x12d1), [SerialRole::Modem, SerialRole::Pcui]);
    assert_eq!(of(0x1410), [SerialRole::Other, SerialRole::Other]);
}

#[test]
fn other_shapes_are_no_serial_functions() {
    let all = ports(1);
    let at = ClassTriple(0xff, 0xff, 0x40);
    for shape in [
        &all[..1],
        &all[2..],
        &[all[0], all[1], ports(2)[0]],
        &[all[0], all[1], all[2], ports(2)[2]],
    ] {
        assert_eq!(serial(&interfaces(0x1bc7, &[(at, shape)])), [], "{shape:?}");
    }
    assert_eq!(serial(&interfaces(0x1bc7, &[(at, &all)])).len(), 1);
}

#[test]
fn what_carries_packets_in_another_way_is_named() {
    let names = |file: &str| -> Vec<(u8, u8, &'static str)> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/vectors/descriptors")
            .join(file);
        let bytes = std::fs::read(path).unwrap();
        let descriptors = crate::descriptors::Descriptors::from_sysfs(&bytes);
        super::other_networks(&descriptors)
            .iter()
            .map(|other| (other.configuration, other.interface, other.name))
            .collect()
    };
    assert_eq!(
        names("hp_lt4132_03f0_a31d.bin"),
        [(1, 3, "NCM of Huawei's own"), (2, 0, "ECM")]
    );
    assert_eq!(names("linux_gadget_0525_a4a1.bin"), []);
}
