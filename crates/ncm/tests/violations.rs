//! The strict check names what is wrong: each test breaks one rule and expects one violation.

use uwwan_ncm::strict::{Checked, Rules, Violation, check};
use uwwan_ncm::{
    Builder, Choices, Format, Framing, Function, NtbParameters, Padding, Placement, Stream,
};

const PARAMETERS: NtbParameters = NtbParameters {
    formats: 3,
    out_max: 16384,
    out_max_datagrams: 4,
    ..NtbParameters::FALLBACK
};

const RULES: Rules = Rules {
    format: Some(Format::Ntb16),
    placement: Some(Placement::End),
    function: Function::Mbim,
    crc: false,
    max_datagram_size: 1500,
    max_packet_size: Some(512),
    zero_padding: true,
};

/// Returns an NTB with datagrams of 60 bytes at 12 and of 61 at 72, padding at 133..136, the NDP at
/// 136, its entries at 144 and 148, its terminator at 152, and the end at 156.
fn good() -> Vec<u8> {
    build(&Choices::default(), &[60, 61])
}

fn build(choices: &Choices, lengths: &[usize]) -> Vec<u8> {
    let framing = Framing::negotiate(&PARAMETERS, choices);
    let mut builder = Builder::new(framing);
    let mut ntb = vec![0xee; framing.max_ntb];
    for length in lengths {
        let slot = builder.place(Stream::Ips(0), *length).unwrap();
        ntb[slot.offset..][..*length].fill(0x45);
        builder.commit(slot, *length);
    }
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    ntb
}

fn verdict(ntb: &[u8]) -> Result<Checked, Violation> {
    check(ntb, false, &PARAMETERS, &RULES)
}

/// Returns the violation found in a good NTB of which some bytes were changed.
fn changed(at: usize, bytes: &[u8]) -> Violation {
    let mut ntb = good();
    ntb[at..at + bytes.len()].copy_from_slice(bytes);
    verdict(&ntb).unwrap_err()
}

#[test]
fn a_good_ntb_passes() {
    assert_eq!(good().len(), 156);
    let expected = Checked {
        ntbs: 1,
        datagrams: 2,
        payload: 121,
        sequence: 0,
    };
    assert_eq!(verdict(&good()), Ok(expected));
    // Windows puts one zero byte behind an NTB.
    let mut padded = good();
    padded.push(0);
    assert_eq!(verdict(&padded), Ok(expected));
    padded.push(0);
    assert_eq!(verdict(&padded), Err(Violation::Runt(2)));
}

#[test]
fn headers() {
    assert_eq!(verdict(&[]), Err(Violation::NoShortPacket(0)));
    assert_eq!(verdict(b"NCM"), Err(Violation::Runt(3)));
    assert_eq!(changed(0, b"ncmh"), Violation::Signature(*b"ncmh"));
    assert_eq!(changed(0, b"NCMX"), Violation::Signature(*b"NCMX"));
    assert_eq!(changed(4, &[16]), Violation::HeaderLength(16));
    for length in [19, 157, 0xffff] {
        assert_eq!(
            changed(8, &(length as u16).to_le_bytes()),
            Violation::BlockLength {
                length,
                received: 156,
                limit: 16384
            }
        );
    }
}

#[test]
fn two_ntbs_in_one_transfer_count_on() {
    let mut second = good();
    second[6] = 1;
    let joined = [good(), second].concat();
    assert_eq!(verdict(&joined).map(|checked| checked.ntbs), Ok(2));
    let joined = [good(), good()].concat();
    assert_eq!(
        verdict(&joined),
        Err(Violation::Sequence {
            found: 0,
            expected: 1
        })
    );
}

#[test]
fn transfers() {
    assert_eq!(
        verdict(&vec![0; 16385]),
        Err(Violation::TransferLength {
            length: 16385,
            limit: 16384
        })
    );
    let never = Choices {
        padding: Padding::Never,
        ..Choices::default()
    };
    let ntb = build(&never, &[484]);
    assert_eq!(verdict(&ntb), Err(Violation::NoShortPacket(512)));
    assert!(check(&ntb, true, &PARAMETERS, &RULES).is_ok());
    assert!(verdict(&build(&Choices::default(), &[484])).is_ok());
}

/// The NTB that a device of 128 KiB takes at once is a full packet at 64 KiB, not its end.
#[test]
fn the_end_of_65536_bytes_where_more_is_announced() {
    for (announced, zero_packet, short) in [
        (65_536, false, true),
        (131_072, false, false),
        (131_072, true, true),
        (0, false, false),
    ] {
        let parameters = NtbParameters {
            out_max: announced,
            out_max_datagrams: 0,
            ..PARAMETERS
        };
        let rules = Rules {
            format: Some(Format::Ntb32),
            ..RULES
        };
        let choices = Choices {
            format: Format::Ntb32,
            padding: Padding::Full { min_tx_pkt: 0 },
            block_size: 65_536,
            ..Choices::default()
        };
        let framing = Framing {
            // This device announces that an NTB of this length needs no short packet.
            device_max_ntb: 65_536,
            ..Framing::negotiate(&parameters, &choices)
        };
        let mut builder = Builder::new(framing);
        let mut ntb = vec![0; framing.max_ntb];
        let offset = builder.put(Stream::Ips(0), 0, 60).unwrap();
        ntb[offset..][..60].fill(0x45);
        assert_eq!(builder.finish(&mut ntb).length, 65_536);
        let verdict = check(&ntb, zero_packet, &parameters, &rules).map(|_| ());
        let expected = if short {
            Ok(())
        } else {
            Err(Violation::NoShortPacket(65_536))
        };
        assert_eq!(verdict, expected, "{announced}");
    }
}

#[test]
fn ndps() {
    assert_eq!(changed(10, &[8, 0]), Violation::NdpIndex(8));
    assert_eq!(changed(10, &[0, 0]), Violation::NdpIndex(0));
    assert_eq!(changed(10, &[149, 0]), Violation::NdpIndex(149));
    assert_eq!(
        changed(10, &[138, 0]),
        Violation::NdpAlignment {
            at: 138,
            alignment: 4
        }
    );
    for signature in [b"NCM0", b"ips\0", b"XYZ\0"] {
        assert_eq!(
            changed(136, signature),
            Violation::NdpSignature {
                at: 136,
                signature: *signature
            }
        );
    }
    for length in [12, 18, 24, 0xffff] {
        assert_eq!(
            changed(140, &(length as u16).to_le_bytes()),
            Violation::NdpLength { at: 136, length }
        );
    }
    assert_eq!(
        changed(140, &[16]),
        Violation::NdpTerminator { at: 136 },
        "the last entry is a datagram"
    );
    assert_eq!(
        changed(152, &[1]),
        Violation::NdpTerminator { at: 136 },
        "half an entry"
    );
}

#[test]
fn ndp_reserved_fields() {
    let wide = Choices {
        format: Format::Ntb32,
        ..Choices::default()
    };
    let rules = Rules {
        format: Some(Format::Ntb32),
        ..RULES
    };
    let ntb = build(&wide, &[60]);
    assert!(check(&ntb, false, &PARAMETERS, &rules).is_ok());
    for offset in [6, 7, 12, 15] {
        let mut ntb = ntb.clone();
        ntb[76 + offset] = 1;
        assert_eq!(
            check(&ntb, false, &PARAMETERS, &rules),
            Err(Violation::NdpReserved { at: 76 })
        );
    }
}

#[test]
fn ndp_placement() {
    let front = Choices {
        placement: Placement::Front,
        ..Choices::default()
    };
    let ntb = build(&front, &[60]);
    assert_eq!(
        verdict(&ntb),
        Err(Violation::NdpPlacement {
            at: 12,
            wanted: Placement::End
        })
    );
    let rules = Rules {
        placement: Some(Placement::Front),
        ..RULES
    };
    assert!(check(&ntb, false, &PARAMETERS, &rules).is_ok());
    assert_eq!(
        check(&good(), false, &PARAMETERS, &rules),
        Err(Violation::NdpPlacement {
            at: 136,
            wanted: Placement::Front
        })
    );
    // A second NDP at the end is refused.
    assert_eq!(
        changed(142, &[136]),
        Violation::NdpPlacement {
            at: 136,
            wanted: Placement::End
        }
    );
    let mut ntb = good();
    ntb[142] = 136;
    let either = Rules {
        placement: None,
        ..RULES
    };
    assert_eq!(
        check(&ntb, false, &PARAMETERS, &either),
        Err(Violation::NdpOrder { from: 136, to: 136 })
    );
}

#[test]
fn datagrams() {
    let entry = |index: u16, length: u16| {
        let [a, b] = index.to_le_bytes();
        let [c, d] = length.to_le_bytes();
        changed(144, &[a, b, c, d])
    };
    for (at, length) in [(8, 60), (12, 145), (0xfff0, 0x20)] {
        assert_eq!(
            entry(at, length),
            Violation::DatagramBounds {
                at: at.into(),
                length: length.into()
            }
        );
    }
    assert_eq!(
        entry(14, 40),
        Violation::DatagramAlignment {
            at: 14,
            divisor: 4,
            remainder: 0
        }
    );
    assert_eq!(
        entry(12, 19),
        Violation::DatagramLength { at: 12, length: 19 }
    );
    assert_eq!(
        changed(12, &[0x15]),
        Violation::DatagramVersion {
            at: 12,
            first: 0x15
        }
    );
    assert_eq!(entry(72, 60), Violation::Overlap { at: 72 });
    let rules = Rules {
        max_datagram_size: 60,
        ..RULES
    };
    assert_eq!(
        check(&good(), false, &PARAMETERS, &rules),
        Err(Violation::DatagramLength { at: 72, length: 61 })
    );
    // The builder keeps to the limit; a device with a lower one does not take it.
    let four = build(&Choices::default(), &[40; 4]);
    let parameters = NtbParameters {
        out_max_datagrams: 3,
        ..PARAMETERS
    };
    assert_eq!(
        check(&four, false, &parameters, &RULES),
        Err(Violation::DatagramCount { limit: 3 })
    );
}

#[test]
fn padding() {
    assert_eq!(changed(134, &[1]), Violation::Padding { at: 134 });
    let mut ntb = good();
    ntb[134] = 1;
    let lenient = Rules {
        zero_padding: false,
        ..RULES
    };
    assert!(check(&ntb, false, &PARAMETERS, &lenient).is_ok());
}

#[test]
fn ethernet_frames() {
    let framing = Framing::negotiate(
        &PARAMETERS,
        &Choices {
            function: Function::Ncm,
            ..Choices::default()
        },
    );
    let mut builder = Builder::new(framing);
    let mut ntb = vec![0; framing.max_ntb];
    let slot = builder.place(Stream::Ethernet { crc: true }, 60).unwrap();
    // The payload behind the Ethernet header is what is 4-aligned.
    assert_eq!(slot.offset, 14);
    builder.commit(slot, 60);
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    let rules = Rules {
        function: Function::Ncm,
        crc: true,
        ..RULES
    };
    assert!(check(&ntb, false, &PARAMETERS, &rules).is_ok());
    ntb[20] ^= 1;
    assert_eq!(
        check(&ntb, false, &PARAMETERS, &rules),
        Err(Violation::DatagramCrc { at: 14 })
    );
    assert!(matches!(verdict(&ntb), Err(Violation::NdpSignature { .. })));
}
