//! Whatever a host sends, the device neither panics nor loses a transfer.

mod common;

use std::time::Duration;

use common::{Modem, emulator};
use proptest::prelude::*;
use uwwan_usb::device::Setup;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum Step {
    ControlIn(u8, u8, u16, u16, u8),
    ControlOut(u8, u8, u16, u16, Vec<u8>),
    Out(u8, Vec<u8>, bool),
    In(u8, u16),
}

fn interesting() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..8, Just(0xffff), Just(0x0100), any::<u16>()]
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![
        Just(0x00u8),
        Just(1),
        Just(2),
        Just(0x21),
        Just(0x22),
        any::<u8>()
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..700);
    prop_oneof![
        (
            kinds.clone(),
            0u8..16,
            interesting(),
            interesting(),
            any::<u8>()
        )
            .prop_map(|(k, r, v, i, l)| Step::ControlIn(k, r, v, i, l)),
        (
            kinds,
            prop_oneof![0u8..16, Just(0x80), Just(0x84), Just(0x86), any::<u8>()],
            interesting(),
            interesting(),
            bytes.clone()
        )
            .prop_map(|(k, r, v, i, d)| Step::ControlOut(k, r, v, i, d)),
        (1u8..4, framed(), any::<bool>()).prop_map(|(e, d, z)| Step::Out(e, d, z)),
        (1u8..4, 0u16..2000).prop_map(|(e, l)| Step::In(e, l)),
    ]
}

/// Returns bytes that may start like an NTB.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::sample::select(vec![&b"NCMH\x0c\0"[..], b"ncmh\x10\0", b"AT", b""]),
        prop::collection::vec(any::<u8>(), 0..600),
    )
        .prop_map(|(start, rest)| [start, &rest[..]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_transfer_ends(steps in prop::collection::vec(step(), 1..40), knobs in prop_oneof![
        Just("settle_ms=0"),
        Just("settle_ms=0,notification_storm=50,garbage=100,garbage_response_every=2"),
        Just("settle_ms=0,garbage_in_ppm=500000,stall_out_after=3,ndp_place=front,zero_ntb16_headers=on"),
        Just("settle_ms=0,pin=1234,nmea=on,ntb32_after_alternate=on,arp_datagram=on"),
    ]) {
        let emulator = emulator(knobs);
        let modem = Modem::switch(&emulator, &[0, 3]);
        modem.prepare_data();
        for step in steps {
            match step {
                Step::ControlIn(request_type, request, value, index, length) => {
                    let setup = Setup { request_type: request_type | 0x80, request, value, index };
                    let _ = modem.device.control_in(setup, &mut vec![0; length.into()], SECOND);
                }
                Step::ControlOut(request_type, request, value, index, data) => {
                    let setup = Setup { request_type: request_type & 0x7f, request, value, index };
                    let _ = modem.device.control_out(setup, &data, SECOND);
                }
                Step::Out(endpoint, data, zero) => {
                    let Ok(mut queue) = modem.device.queue(endpoint) else { continue };
                    queue.set_zero_packet(zero);
                    let mut buffer = queue.allocate(data.len());
                    buffer.bytes_mut().copy_from_slice(&data);
                    buffer.set_len(data.len());
                    prop_assert!(queue.submit(buffer).is_ok());
                    prop_assert!(queue.next(5 * SECOND).is_some());
                }
                Step::In(endpoint, length) => {
                    let Ok(mut queue) = modem.device.queue(endpoint | 0x80) else { continue };
                    let buffer = queue.allocate(length.into());
                    prop_assert!(queue.submit(buffer).is_ok());
                    queue.cancel_all();
                    prop_assert!(queue.next(5 * SECOND).is_some());
                }
            }
        }
        prop_assert!(emulator.is_present());
    }
}
