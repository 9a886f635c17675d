use super::*;

const LONG: Capabilities = Capabilities::OURS;

fn bytes(kind: u32, id: u64, long: bool, body: &[u8]) -> Vec<u8> {
    let mut all = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    all.extend(&id.to_le_bytes()[..if long { 8 } else { 4 }]);
    all.extend(body);
    all
}

/// Returns the hello of QEMU 7.2, as it came through a socket.
fn qemus_hello() -> Vec<u8> {
    let mut body = b"qemu usb-redir guest 7.2.22".to_vec();
    body.resize(64, 0);
    body.extend(0xffu32.to_le_bytes());
    bytes(0, 0, false, &body)
}

#[test]
fn hellos_meet() {
    let hello = qemus_hello();
    let seen = decode(&hello, None).unwrap().unwrap();
    assert_eq!(seen.length, 12 + 68);
    let Message::Hello(theirs) = seen.message else {
        panic!("{seen:?}");
    };
    let shared = theirs.shared(Capabilities::OURS);
    assert_eq!(shared, LONG);
    // The hello of this side has the same form.
    let ours = Encoder::hello();
    let seen = decode(&ours, None).unwrap().unwrap();
    assert_eq!(seen.message, Message::Hello(LONG));
    // A hello may come at no other time, and no other message before it.
    assert_eq!(decode(&hello, Some(LONG)), Err(CodecError::Hello));
    assert_eq!(
        decode(&bytes(3, 0, false, &[]), None),
        Err(CodecError::Hello)
    );
}

#[test]
fn transfers_are_read() {
    let control = [0x80, 6, 0x80, 0, 0, 1, 0, 0, 18, 0];
    let all = bytes(100, 1 << 40, true, &control);
    let seen = decode(&all, Some(LONG)).unwrap().unwrap();
    assert_eq!(seen.id, 1 << 40);
    let Message::Control(setup, []) = seen.message else {
        panic!("{seen:?}");
    };
    assert_eq!((setup.request, setup.value, setup.length), (6, 0x100, 18));

    let mut bulk = vec![1, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    bulk.extend(b"hello");
    let all = bytes(101, 7, true, &bulk);
    let wanted = Message::Bulk {
        endpoint: 1,
        length: 5,
        stream: 0,
        data: b"hello",
    };
    assert_eq!(decode(&all, Some(LONG)).unwrap().unwrap().message, wanted);
    // These messages have short ids and lengths.
    let mut bulk = vec![1, 0, 5, 0, 0, 0, 0, 0];
    bulk.extend(b"hello");
    let all = bytes(101, 7, false, &bulk);
    let short = Some(Capabilities::default());
    assert_eq!(decode(&all, short).unwrap().unwrap().message, wanted);
    // The transfer has 64 KiB and more.
    let bulk = [0x81, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    let all = bytes(101, 7, true, &bulk);
    let seen = decode(&all, Some(LONG)).unwrap().unwrap();
    assert!(matches!(
        seen.message,
        Message::Bulk {
            length: 131_072,
            ..
        }
    ));
    for cut in 0..all.len() {
        assert_eq!(decode(&all[..cut], Some(LONG)), Ok(None), "{cut}");
    }
}

#[test]
fn nonsense_is_refused() {
    for (kind, body) in [
        (3, &[1][..]),
        (6, &[]),
        (9, &[1]),
        (100, &[0; 9]),
        (100, &[1, 6, 0x80, 0, 0, 1, 0, 0, 18, 0]),
        // Data is missing, or there is too much of it.
        (100, &[0, 9, 0, 0, 0, 0, 0, 0, 1, 0]),
        (100, &[0x80, 6, 0x80, 0, 0, 1, 0, 0, 1, 0, 7]),
        (101, &[1, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
        (101, &[0x81, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (101, &[0xf1, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
        (103, &[0x82, 0, 0, 0]),
        (103, &[2, 0, 1, 0]),
    ] {
        let all = bytes(kind, 0, true, body);
        assert_eq!(
            decode(&all, Some(LONG)),
            Err(CodecError::Data(kind)),
            "{body:?}"
        );
    }
    // Isochronous streams, bulk streams and buffered bulk were not offered.
    for kind in [12, 13, 18, 25, 102, 104, 77, u32::MAX] {
        let all = bytes(kind, 0, true, &[]);
        assert_eq!(decode(&all, Some(LONG)), Err(CodecError::Kind(kind)));
    }
    let mut endless = bytes(101, 0, true, &[]);
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        decode(&endless, Some(LONG)),
        Err(CodecError::Length { .. })
    ));
}

/// Valid messages with changed bytes, and random bytes, are read or refused, and a message that is
/// read lies within its bytes.
#[test]
fn anything_at_all_is_taken_or_refused() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let kinds = [0, 3, 6, 7, 9, 10, 15, 16, 21, 23, 100, 101, 103, 104];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let body: Vec<u8> = (0..random() % 90).map(|_| random() as u8).collect();
        let kind = kinds[random() as usize % kinds.len()];
        let mut all = bytes(kind, random(), true, &body);
        if random() % 4 == 0 {
            let at = random() as usize % all.len();
            all[at] = random() as u8;
        }
        let shared = [None, Some(LONG), Some(Capabilities::default())][random() as usize % 3];
        match decode(&all, shared) {
            Ok(Some(incoming)) => {
                assert!(incoming.length <= all.len());
                taken += 1;
            }
            Ok(None) => {}
            Err(_) => refused += 1,
        }
    }
    assert!(
        taken > 100 && refused > 100,
        "{taken} taken, {refused} refused"
    );
}

#[test]
fn tables_have_their_places() {
    let encoder = Encoder::new(LONG);
    let info = encoder.endpoints(&[Endpoint {
        address: 0x82,
        interrupt: true,
        interval: 5,
        interface: 1,
        max_packet_size: 64,
    }]);
    assert_eq!(info.len(), 16 + 160);
    let slot = 16 + 2;
    assert_eq!((info[16], info[16 + 16], info[16 + 1]), (0, 0, 255));
    assert_eq!(
        (info[16 + slot], info[48 + slot], info[80 + slot]),
        (3, 5, 1)
    );
    assert_eq!(info[112 + 2 * slot], 64);
    let info = encoder.interfaces(&[(1, [2, 14, 0]), (2, [10, 0, 2])]);
    assert_eq!(info.len(), 16 + 132);
    assert_eq!((info[16], info[20], info[21], info[52 + 1]), (2, 1, 2, 10));
    let descriptor = crate::descriptors::lt4132::DEVICE;
    let connect = encoder.connect(Speed::High, &descriptor);
    assert_eq!(
        connect[16..],
        [
            2,
            0,
            0,
            0xff,
            0xf0,
            0x03,
            0x1d,
            0xa3,
            descriptor[12],
            descriptor[13]
        ]
    );
}
