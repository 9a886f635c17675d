//! Descriptors of any device are parsed without panic, and functions are found in them only where
//! they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

fuzz_target!(|blob: &[u8]| {
    let descriptors = Descriptors::from_sysfs(blob);
    // The same bytes are parsed with the device descriptor and each configuration apart.
    let raw: Vec<&[u8]> = descriptors
        .configurations
        .iter()
        .map(|configuration| &configuration.raw[..])
        .collect();
    let again = Descriptors::parse(&descriptors.device, &raw);
    assert_eq!(
        format!("{:?}", descriptors.configurations),
        format!("{:?}", again.configurations)
    );
    let held: usize = raw.iter().map(|raw| raw.len()).sum();
    assert!(held <= blob.len());
    for configuration in &descriptors.configurations {
        for interface in &configuration.interfaces {
            assert!(!interface.alternates.is_empty());
        }
        let _ = functions::at_candidates(&descriptors, configuration.value);
    }

    for function in functions::mbim(&descriptors) {
        let configuration = descriptors
            .configuration(function.configuration)
            .expect("its configuration is there");
        let endpoints = |interface: u8, alternate: u8| {
            &configuration
                .interface(interface)
                .and_then(|interface| interface.alternate(alternate))
                .expect("its alternate setting is there")
                .endpoints
        };
        let data = endpoints(function.data_interface, function.data_alternate);
        assert!(data.contains(&function.bulk_in) && data.contains(&function.bulk_out));
        assert!(function.bulk_in.is_in() && !function.bulk_out.is_in());
        assert!(function.bulk_in.max_packet_size > 0 && function.bulk_out.max_packet_size > 0);
        assert!((64..=4096).contains(&function.max_control_message));
        let control = endpoints(function.control_interface, function.control_alternate);
        assert!(control.contains(&function.interrupt_in));
    }
    for function in functions::ncm(&descriptors) {
        let configuration = descriptors
            .configuration(function.configuration)
            .expect("its configuration is there");
        let data = configuration
            .interface(function.data_interface)
            .and_then(|interface| interface.alternate(function.data_alternate))
            .expect("its alternate setting is there");
        assert!(data.endpoints.contains(&function.bulk_in));
        assert!(data.endpoints.contains(&function.bulk_out));
    }
    for function in functions::serial(&descriptors) {
        assert!(descriptors.configuration(function.configuration).is_some());
    }
});
