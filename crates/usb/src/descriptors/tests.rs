use proptest::prelude::*;

use super::vectors::{CONFIGURATION_1, CONFIGURATION_2, CONFIGURATION_3, DEVICE, lt4132, sysfs};
use super::*;
use crate::functions;

#[test]
fn the_lt4132_is_read_without_a_fault() {
    let descriptors = lt4132();
    assert_eq!(descriptors.faults, Vec::<String>::new());
    assert_eq!(
        (descriptors.vendor(), descriptors.product()),
        (0x03f0, 0xa31d)
    );
    assert_eq!(descriptors.release(), 0x0102);
    assert_eq!(descriptors.class(), ClassTriple(0, 0, 0xff));
    let counts: Vec<_> = descriptors
        .configurations
        .iter()
        .map(|c| (c.value, c.interfaces.len(), c.raw.len()))
        .collect();
    assert_eq!(counts, [(1, 6, 301), (2, 7, 288), (3, 3, 137)]);
    for configuration in &descriptors.configurations {
        assert_eq!(
            (configuration.attributes, configuration.max_power),
            (0xa0, 1)
        );
    }
}

#[test]
fn class_specific_descriptors_are_read() {
    let descriptors = lt4132();
    let mbim = descriptors.configuration(3).unwrap();
    assert_eq!(
        mbim.associations,
        [Association {
            first: 0,
            count: 2,
            class: ClassTriple(0x02, 0x0e, 0x00)
        }]
    );
    assert_eq!(
        mbim.interface(0).unwrap().alternates[0].functional,
        [
            Functional::Header(0x0110),
            Functional::Mbim {
                version: 0x0100,
                max_control_message: 1024,
                filters: 32,
                max_filter_size: 128,
                max_segment_size: 1500,
                capabilities: 0x20,
            },
            Functional::MbimExtended {
                version: 0x0100,
                max_outstanding: 16,
                mtu: 1500
            },
            Functional::Union {
                control: 0,
                subordinates: vec![1]
            },
        ]
    );
    let ecm = &descriptors
        .configuration(2)
        .unwrap()
        .interface(0)
        .unwrap()
        .alternates[0];
    assert!(ecm.functional.contains(&Functional::Ethernet {
        mac_index: 18,
        max_segment_size: 1514
    }));
    let vendor = descriptors.configuration(1).unwrap().interface(3).unwrap();
    assert!(vendor.alternates[0].functional.contains(&Functional::Ncm {
        version: 0x0100,
        capabilities: 0x1f
    }));
    assert_eq!(vendor.alternates.len(), 2);
    assert_eq!(
        vendor.alternate(1).unwrap().endpoints[1],
        Endpoint {
            address: 0x85,
            kind: TransferKind::Bulk,
            max_packet_size: 512,
            interval: 0
        }
    );
    // Union and call management descriptors of the serial interfaces are read, whatever they mean.
    let serial = &descriptors
        .configuration(3)
        .unwrap()
        .interface(2)
        .unwrap()
        .alternates[0];
    assert_eq!(serial.functional.len(), 4);
    assert_eq!(
        serial.functional[1],
        Functional::Other {
            subtype: 0x02,
            body: vec![0x02]
        }
    );
}

#[test]
fn sysfs_and_single_descriptors_say_the_same() {
    let (one, other) = (Descriptors::from_sysfs(&sysfs()), lt4132());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn a_configuration_that_the_kernel_shortened_does_not_swallow_the_next() {
    // The raw `wTotalLength` still says 288.
    let blob = [&DEVICE[..], &CONFIGURATION_2[..274], &CONFIGURATION_3].concat();
    let descriptors = Descriptors::from_sysfs(&blob);
    let values: Vec<u8> = descriptors.configurations.iter().map(|c| c.value).collect();
    assert_eq!(values, [2, 3]);
    assert!(!descriptors.faults.is_empty());
    assert_eq!(functions::mbim(&descriptors).len(), 1);
}

#[test]
fn a_broken_descriptor_does_not_hide_the_next_configuration() {
    let mut broken = CONFIGURATION_1;
    broken[9] = 0;
    let blob = [&DEVICE[..], &broken, &CONFIGURATION_3].concat();
    let descriptors = Descriptors::from_sysfs(&blob);
    let values: Vec<u8> = descriptors.configurations.iter().map(|c| c.value).collect();
    assert_eq!(values, [1, 3]);
    assert!(descriptors.configurations[0].interfaces.is_empty());
}

#[test]
fn lengths_that_lead_nowhere_stop_the_walk() {
    for length in [0, 1, 255] {
        let mut broken = CONFIGURATION_3;
        // The byte is the length of the first interface descriptor, behind the association.
        broken[17] = length;
        let descriptors = Descriptors::parse(&DEVICE, &[broken]);
        assert!(
            descriptors.configurations[0].interfaces.is_empty(),
            "length {length}"
        );
        assert!(
            descriptors.faults[0].contains("offset 17"),
            "{:?}",
            descriptors.faults
        );
    }
    // A length of 2 leads to the next descriptor, but is too short for an interface.
    let mut broken = CONFIGURATION_3;
    broken[17] = 2;
    let descriptors = Descriptors::parse(&DEVICE, &[broken]);
    assert!(!descriptors.faults.is_empty());
}

#[test]
fn every_truncation_is_read_as_far_as_it_goes() {
    let bulk_out = CONFIGURATION_3
        .windows(4)
        .position(|w| w == [7, 5, 0x01, 2])
        .unwrap();
    for length in 0..CONFIGURATION_3.len() {
        let descriptors = Descriptors::parse(&DEVICE, &[&CONFIGURATION_3[..length]]);
        assert!(!descriptors.faults.is_empty(), "{length} bytes");
        assert_eq!(descriptors.configurations.len(), usize::from(length >= 9));
        assert_eq!(
            functions::mbim(&descriptors).len(),
            usize::from(length >= bulk_out + 7),
            "{length} bytes"
        );
    }
    for length in 0..DEVICE.len() {
        assert!(
            !Descriptors::parse(&DEVICE[..length], &[CONFIGURATION_3])
                .faults
                .is_empty()
        );
    }
}

#[test]
fn the_first_of_two_equal_alternate_settings_counts() {
    let mut twice = CONFIGURATION_3;
    // Alternate setting 1 of interface 1 gets the number 0 as well.
    let at = CONFIGURATION_3
        .windows(4)
        .position(|w| w == [9, 4, 1, 1])
        .unwrap();
    twice[at + 3] = 0;
    let descriptors = Descriptors::parse(&DEVICE, &[twice]);
    let data = descriptors.configurations[0].interface(1).unwrap();
    assert_eq!(data.alternates.len(), 1);
    assert!(data.alternates[0].endpoints.is_empty());
    assert!(
        descriptors.faults.iter().any(|f| f.contains("again")),
        "{:?}",
        descriptors.faults
    );
}

#[test]
fn duplicate_and_surplus_endpoints_are_left_out() {
    let interface = [9, 4, 0, 0, 2, 0xff, 6, 0x12, 0];
    let endpoint = |address: u8| [7, 5, address, 2, 0, 2, 0];
    let body = [
        &interface[..],
        &endpoint(0x81),
        &endpoint(0x81),
        &endpoint(0x00),
        &endpoint(0x92),
        &endpoint(0x01),
        &endpoint(0x02),
    ]
    .concat();
    let descriptors = Descriptors::parse(&DEVICE, &[configuration(1, &body)]);
    let endpoints = &descriptors.configurations[0].interfaces[0].alternates[0].endpoints;
    let addresses: Vec<u8> = endpoints.iter().map(|e| e.address).collect();
    assert_eq!(addresses, [0x81, 0x01]);
    assert_eq!(descriptors.faults.len(), 4);
}

#[test]
fn an_endpoint_belongs_to_the_interface_that_names_it_first() {
    let endpoint = |address: u8| [7, 5, address, 2, 0, 2, 0];
    let body = [
        &[9, 4, 0, 0, 1, 0xff, 6, 0x12, 0][..],
        &endpoint(0x81),
        &[9, 4, 0, 1, 1, 0xff, 6, 0x12, 0],
        &endpoint(0x81),
        &[9, 4, 1, 0, 2, 0xff, 6, 0x12, 0],
        &endpoint(0x81),
        &endpoint(0x01),
    ]
    .concat();
    let descriptors = Descriptors::parse(&DEVICE, &[configuration(2, &body)]);
    let interfaces = &descriptors.configurations[0].interfaces;
    let addresses = |interface: usize, alternate: usize| -> Vec<u8> {
        let endpoints = &interfaces[interface].alternates[alternate].endpoints;
        endpoints.iter().map(|e| e.address).collect()
    };
    assert_eq!((addresses(0, 0), addresses(0, 1)), (vec![0x81], vec![0x81]));
    assert_eq!(addresses(1, 0), [0x01]);
    assert!(descriptors.faults[0].contains("of interface 0 before"));
}

#[test]
fn as_many_interfaces_as_there_are_numbers() {
    let body: Vec<u8> = (0..=255)
        .flat_map(|n| [9, 4, n, 0, 0, 0xff, 0, 0, 0])
        .collect();
    let descriptors = Descriptors::parse(&DEVICE, &[configuration(255, &body)]);
    assert_eq!(descriptors.configurations[0].interfaces.len(), 256);
}

#[test]
fn faults_do_not_grow_without_bound() {
    let body: Vec<u8> = (0..6000)
        .flat_map(|_| [9, 4, 0, 0, 9, 0xff, 0, 0, 0])
        .collect();
    let descriptors = Descriptors::parse(&DEVICE, &[configuration(1, &body)]);
    assert!(descriptors.faults.len() <= 33);
    assert!(descriptors.faults.last().unwrap().contains("more"));
}

/// Returns a configuration descriptor in front of `body`.
fn configuration(interfaces: u8, body: &[u8]) -> Vec<u8> {
    let total = u16::try_from(9 + body.len()).unwrap().to_le_bytes();
    [
        &[9, 2, total[0], total[1], interfaces, 1, 0, 0x80, 50],
        body,
    ]
    .concat()
}

fn check(descriptors: &Descriptors) {
    assert!(descriptors.faults.len() <= 33);
    for configuration in &descriptors.configurations {
        for interface in &configuration.interfaces {
            assert!(!interface.alternates.is_empty());
        }
    }
    for serial in functions::serial(descriptors) {
        assert!(serial.bulk_in.is_in() && !serial.bulk_out.is_in());
    }
    for ncm in functions::ncm(descriptors) {
        assert!(ncm.bulk_in.is_in() && !ncm.bulk_out.is_in());
    }
    for mbim in functions::mbim(descriptors) {
        let configuration = descriptors.configuration(mbim.configuration).unwrap();
        let control = configuration.interface(mbim.control_interface).unwrap();
        let control = control.alternate(mbim.control_alternate).unwrap();
        assert!(control.endpoints.contains(&mbim.interrupt_in));
        assert!(mbim.bulk_in.max_packet_size > 0 && mbim.bulk_out.max_packet_size > 0);
        assert!((64..=4096).contains(&mbim.max_control_message));
        assert_ne!(mbim.control_interface, mbim.data_interface);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(blob in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&Descriptors::from_sysfs(&blob));
        check(&Descriptors::parse(&DEVICE, &[blob]));
    }

    #[test]
    fn damaged_descriptors_are_survived(
        damage in proptest::collection::vec((0_usize..744, any::<u8>()), 1..20),
        end in 0_usize..=744,
    ) {
        let mut blob = sysfs();
        for (at, value) in damage {
            blob[at] = value;
        }
        check(&Descriptors::from_sysfs(&blob[..end]));
    }
}
