use super::*;
use crate::fake::FakeDevice;

/// Returns the request that one call sends: request type, request, value, index and data.
fn sent(call: impl FnOnce(&FakeDevice)) -> (u8, u8, u16, u16, Vec<u8>) {
    let device = FakeDevice::new(3);
    call(&device);
    let mut state = device.state.lock().unwrap();
    assert_eq!(state.requests.len(), 1);
    let (setup, data) = state.requests.remove(0);
    (
        setup.request_type,
        setup.request,
        setup.value,
        setup.index,
        data,
    )
}

fn answering(answer: &[u8]) -> FakeDevice {
    let device = FakeDevice::new(3);
    device.state.lock().unwrap().answer = answer.to_vec();
    device
}

/// The codes and directions are those of NCM 1.0, table 6-2, and CDC 1.2, table 19.
#[test]
fn requests_are_as_the_specifications_number_them() {
    let ntb32 = sent(|d| set_ntb_format(d, 4, 1).unwrap());
    assert_eq!(ntb32, (0x21, 0x84, 1, 4, vec![]));
    let ntb16 = sent(|d| set_ntb_format(d, 0, 0).unwrap());
    assert_eq!(ntb16, (0x21, 0x84, 0, 0, vec![]));
    let parameters = sent(|d| drop(get_ntb_parameters(d, 4, &mut [0; 28])));
    assert_eq!(parameters, (0xa1, 0x80, 0, 4, vec![0; 28]));
    let format = sent(|d| drop(get_ntb_format(d, 4)));
    assert_eq!(format, (0xa1, 0x83, 0, 4, vec![0; 2]));
    let four = sent(|d| set_ntb_input_size(d, 0, 16384, None).unwrap());
    assert_eq!(four, (0x21, 0x86, 0, 0, vec![0, 0x40, 0, 0]));
    let eight = sent(|d| set_ntb_input_size(d, 0, 16384, Some(40)).unwrap());
    assert_eq!(eight, (0x21, 0x86, 0, 0, vec![0, 0x40, 0, 0, 40, 0, 0, 0]));
    let datagram = sent(|d| set_max_datagram_size(d, 0, 0x05ea).unwrap());
    assert_eq!(datagram, (0x21, 0x88, 0, 0, vec![0xea, 0x05]));
    assert_eq!(
        sent(|d| set_crc_mode(d, 0, true).unwrap()),
        (0x21, 0x8a, 1, 0, vec![])
    );
    let filter = sent(|d| set_ethernet_packet_filter(d, 0, 0x0c).unwrap());
    assert_eq!(filter, (0x21, 0x43, 0x0c, 0, vec![]));
    let command = sent(|d| send_encapsulated(d, 0, &[1, 2, 3]).unwrap());
    assert_eq!(command, (0x21, 0x00, 0, 0, vec![1, 2, 3]));
    let response = sent(|d| drop(get_encapsulated(d, 0, &mut [0; 1024])));
    assert_eq!(response, (0xa1, 0x01, 0, 0, vec![0; 1024]));
    let lines = sent(|d| set_control_line_state(d, 2, true, true).unwrap());
    assert_eq!(lines, (0x21, 0x22, 3, 2, vec![]));
    let lines = sent(|d| set_control_line_state(d, 2, false, true).unwrap());
    assert_eq!(lines.2, 2);
}

#[test]
fn parameters_come_as_long_as_the_device_made_them() {
    for length in [0, 1, 16, 27, 28] {
        let answer: Vec<u8> = (0..length).collect();
        let mut parameters = [0; 28];
        let read = get_ntb_parameters(&answering(&answer), 0, &mut parameters).unwrap();
        assert_eq!(parameters[..read], answer);
    }
    let mut parameters = [0; 28];
    let read = get_ntb_parameters(&answering(&[7; 40]), 0, &mut parameters).unwrap();
    assert_eq!((read, parameters), (28, [7; 28]));
}

#[test]
fn formats_and_sizes_are_read_back() {
    for (answer, format) in [([0, 0], 0), ([1, 0], 1), ([0, 1], 256)] {
        assert_eq!(get_ntb_format(&answering(&answer), 0).unwrap(), format);
    }
    for unusable in [&[][..], &[1]] {
        let error = get_ntb_format(&answering(unusable), 3).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("GET_NTB_FORMAT on interface 3 of 03f0:a31d at 1-4"),
            "{text}"
        );
    }
    assert_eq!(
        get_max_datagram_size(&answering(&[0xdc, 0x05]), 0).unwrap(),
        1500
    );
    assert!(get_max_datagram_size(&answering(&[]), 0).is_err());
}

#[test]
fn a_device_without_modem_lines_may_refuse_them() {
    let stall = |call: &str| {
        Some(Error::Stall {
            operation: call.to_owned(),
        })
    };
    let device = FakeDevice::with_hook(3, move |call, _| stall(call));
    set_control_line_state(&device, 2, true, true).unwrap();
    assert!(set_crc_mode(&device, 0, true).is_err());
    let device = FakeDevice::with_hook(3, |call, _| {
        Some(Error::Gone {
            operation: call.to_owned(),
        })
    });
    assert!(set_control_line_state(&device, 2, true, true).is_err());
}

#[test]
fn strings_are_asked_for_in_the_devices_language() {
    // The answer is "02A1" in UTF-16; as a list of languages it begins with 0x0030.
    let answer = [10, 3, b'0', 0, b'2', 0, b'A', 0, b'1', 0];
    let device = answering(&answer);
    assert_eq!(get_string(&device, 5).unwrap(), "02A1");
    let state = device.state.lock().unwrap();
    let asked: Vec<_> = state
        .requests
        .iter()
        .map(|(setup, _)| (setup.request_type, setup.request, setup.value, setup.index))
        .collect();
    assert_eq!(asked, [(0x80, 6, 0x0300, 0), (0x80, 6, 0x0305, 0x0030)]);
    drop(state);
    assert!(get_string(&device, 0).is_err());
    // One answer is cut short, one states a greater length than it has, and one is no string at
    // all.
    assert_eq!(get_string(&answering(&answer[..7]), 5).unwrap(), "02");
    for bad in [&[][..], &[2, 3], &[4, 2, 1, 0], &[3, 3, 1, 0]] {
        assert!(get_string(&answering(bad), 5).is_err(), "{bad:02x?}");
    }
}
