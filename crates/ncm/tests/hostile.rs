//! NTBs that are wrong in one chosen way: each adds to its own counter, and its neighbours are
//! delivered.

use uwwan_ncm::{
    Builder, Choices, DropCounters, Format, Framing, HeaderError, Limits, Ndp, Ntb, NtbParameters,
    Placement, Receiver, Stream,
};

/// An NTB under construction, so that each test says only what it breaks.
struct Forge {
    wide: bool,
    bytes: Vec<u8>,
}

impl Forge {
    fn new(format: Format) -> Self {
        let wide = format == Format::Ntb32;
        let mut bytes = Vec::new();
        bytes.extend(if wide { b"ncmh" } else { b"NCMH" });
        bytes.extend([if wide { 16 } else { 12 }, 0]);
        bytes.resize(if wide { 16 } else { 12 }, 0);
        Self { wide, bytes }
    }

    fn word(&mut self, at: usize, value: usize) {
        let length = if self.wide { 4 } else { 2 };
        self.bytes[at..at + length].copy_from_slice(&(value as u32).to_le_bytes()[..length]);
    }

    /// Appends an IPv4-like datagram and returns its entry.
    fn ipv4(&mut self, length: usize) -> (usize, usize) {
        self.datagram(&vec![0x45; length])
    }

    fn datagram(&mut self, bytes: &[u8]) -> (usize, usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let at = self.bytes.len();
        self.bytes.extend(bytes);
        (at, bytes.len())
    }

    /// Appends an NDP with a terminator and returns its offset.
    fn ndp(&mut self, kind: &[u8; 3], session: u8, entries: &[(usize, usize)]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let at = self.bytes.len();
        let (header, entry) = if self.wide { (16, 8) } else { (8, 4) };
        let length = header + (entries.len() + 1) * entry;
        self.bytes.extend(if self.wide {
            kind.to_ascii_lowercase()
        } else {
            kind.to_vec()
        });
        self.bytes.push(session);
        self.bytes.extend((length as u16).to_le_bytes());
        self.bytes.resize(at + length, 0);
        for (index, (offset, size)) in entries.iter().enumerate() {
            self.word(at + header + index * entry, *offset);
            self.word(at + header + index * entry + entry / 2, *size);
        }
        at
    }

    fn next(&mut self, ndp: usize, next: usize) {
        self.word(ndp + if self.wide { 8 } else { 6 }, next);
    }

    /// Sets NTB length and first NDP.
    fn close(mut self, first: usize) -> Vec<u8> {
        let length = self.bytes.len();
        self.word(8, length);
        self.word(if self.wide { 12 } else { 10 }, first);
        self.bytes
    }
}

const BOTH: [Format; 2] = [Format::Ntb16, Format::Ntb32];

/// Returns the datagrams that are delivered, each with its stream and length, and the counters.
fn receive(transfer: &[u8]) -> (Vec<(Stream, usize)>, DropCounters) {
    receive_with(transfer, Limits::default())
}

fn receive_with(transfer: &[u8], limits: Limits) -> (Vec<(Stream, usize)>, DropCounters) {
    let mut receiver = Receiver::new(limits);
    let mut found = Vec::new();
    receiver.receive(transfer, |datagram| {
        found.push((datagram.stream, datagram.range.len()));
    });
    (found, receiver.drops)
}

/// Returns counters of which one is 1.
fn one(name: &str) -> DropCounters {
    counted(name, 1)
}

fn counted(name: &str, value: u64) -> DropCounters {
    let mut drops = DropCounters::default();
    *match name {
        "block_runt" => &mut drops.block_runt,
        "header_zero" => &mut drops.header_zero,
        "header_signature" => &mut drops.header_signature,
        "header_length" => &mut drops.header_length,
        "block_length_short" => &mut drops.block_length_short,
        "block_length_beyond" => &mut drops.block_length_beyond,
        "block_length_limit" => &mut drops.block_length_limit,
        "trailing_bytes" => &mut drops.trailing_bytes,
        "ndp_index" => &mut drops.ndp_index,
        "ndp_length" => &mut drops.ndp_length,
        "ndp_truncated" => &mut drops.ndp_truncated,
        "ndp_signature" => &mut drops.ndp_signature,
        "ndp_order" => &mut drops.ndp_order,
        "datagram_in_header" => &mut drops.datagram_in_header,
        "datagram_outside" => &mut drops.datagram_outside,
        "datagram_in_ndp" => &mut drops.datagram_in_ndp,
        "datagram_long" => &mut drops.datagram_long,
        "datagram_runt" => &mut drops.datagram_runt,
        "datagram_version" => &mut drops.datagram_version,
        "datagram_crc" => &mut drops.datagram_crc,
        "datagram_limit" => &mut drops.datagram_limit,
        "datagram_repeated" => &mut drops.datagram_repeated,
        _ => panic!("no counter {name}"),
    } = value;
    drops
}

/// Returns an NTB with one good datagram, one that consists of `middle`, and another good one.
fn with_middle(format: Format, kind: &[u8; 3], middle: &[u8]) -> Vec<u8> {
    let mut forge = Forge::new(format);
    let entries = [forge.ipv4(100), forge.datagram(middle), forge.ipv4(60)];
    let ndp = forge.ndp(kind, 0, &entries);
    forge.close(ndp)
}

#[test]
fn every_truncation_of_a_good_ntb() {
    for format in BOTH {
        for placement in [Placement::End, Placement::Front] {
            let choices = Choices {
                format,
                placement,
                ..Choices::default()
            };
            let parameters = NtbParameters {
                formats: 3,
                ..NtbParameters::FALLBACK
            };
            let framing = Framing::negotiate(&parameters, &choices);
            let mut ntb = vec![0; framing.max_ntb];
            let mut builder = Builder::new(framing);
            for length in [60, 1500, 21] {
                let slot = builder.place(Stream::Ips(0), length).unwrap();
                ntb[slot.offset..][..length].fill(0x45);
                builder.commit(slot, length);
            }
            let length = builder.finish(&mut ntb).length;
            for cut in 1..length {
                let (found, drops) = receive(&ntb[..cut]);
                assert!(found.is_empty());
                assert_eq!(drops.total(), 1, "cut at {cut}");
                // With an NTB length of 0, which means "until the short packet", what is whole is
                // delivered.
                let mut open = ntb[..cut].to_vec();
                if open.len() >= 12 {
                    open[8..if format == Format::Ntb16 { 10 } else { 12 }].fill(0);
                }
                let (found, drops) = receive(&open);
                assert!(found.len() <= 3);
                assert!(found.len() == 3 || drops.total() > 0, "cut at {cut}");
            }
            assert_eq!(receive(&ntb[..length]).0.len(), 3);
        }
    }
}

#[test]
fn first_ndp_index_out_of_range() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entry = forge.ipv4(100);
        let ndp = forge.ndp(b"IPS", 0, &[entry]);
        let ntb = forge.close(ndp);
        let length = ntb.len();
        let field = if format == Format::Ntb16 { 10 } else { 12 };
        for index in [
            1,
            2,
            11,
            length - 1,
            length,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_fff0,
            0xffff_ffff,
        ] {
            let mut ntb = ntb.clone();
            let width = if format == Format::Ntb16 { 2 } else { 4 };
            ntb[field..field + width].copy_from_slice(&(index as u32).to_le_bytes()[..width]);
            let (found, drops) = receive(&ntb);
            assert!(found.is_empty(), "index {index:#x}");
            assert_eq!(drops, one("ndp_index"), "index {index:#x}");
        }
        // Every NTB has an NDP; Linux refuses one without, too.
        let mut ntb = ntb.clone();
        ntb[field..field + 4].fill(0);
        assert_eq!(receive(&ntb), (vec![], one("ndp_index")));
    }
}

/// The same indices as the index of the next NDP: the top bit must not turn into a sign.
#[test]
fn next_ndp_index_out_of_range() {
    for format in BOTH {
        for index in [1, 0x0c, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0] {
            let mut forge = Forge::new(format);
            let entry = forge.ipv4(100);
            let ndp = forge.ndp(b"IPS", 0, &[entry]);
            forge.next(ndp, index);
            let (found, drops) = receive(&forge.close(ndp));
            // The datagram in front of the bad link stays.
            assert_eq!(found, [(Stream::Ips(0), 100)]);
            let narrow = format == Format::Ntb16;
            let index = if narrow { index & 0xffff } else { index };
            let expected = match index {
                0 => DropCounters::default(),
                // A datagram lies at this offset, whose bytes are no NDP and name none.
                0x0c if narrow => DropCounters {
                    ndp_truncated: 1,
                    ..one("ndp_index")
                },
                _ => one("ndp_index"),
            };
            assert_eq!(drops, expected, "index {index:#x}");
        }
    }
}

/// CVE-2026-23447 and CVE-2026-23448: the NDP's header lies inside, its entries do not.
#[test]
fn entries_beyond_the_ntb() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entry = forge.ipv4(100);
        let ndp = forge.ndp(b"IPS", 0, &[entry]);
        let mut ntb = forge.close(ndp);
        for length in [0x40_u16, 0xfff8, 0xfff0] {
            ntb[ndp + 4..ndp + 6].copy_from_slice(&length.to_le_bytes());
            assert_eq!(receive(&ntb), (vec![], one("ndp_truncated")));
        }
        // Here the header of the NDP is the last bytes of the NTB.
        let mut forge = Forge::new(format);
        forge.ipv4(100);
        let ndp = forge.ndp(b"IPS", 0, &[(16, 100)]);
        let header = if format == Format::Ntb16 { 8 } else { 16 };
        forge.bytes.truncate(ndp + header);
        assert_eq!(receive(&forge.close(ndp)), (vec![], one("ndp_truncated")));
    }
}

#[test]
fn ndp_lengths_that_cannot_be() {
    for format in BOTH {
        let (least, bad): (u16, &[u16]) = match format {
            Format::Ntb16 => (0x10, &[0, 4, 8, 12, 0x0f]),
            Format::Ntb32 => (0x20, &[0, 8, 0x10, 0x18, 0x1f]),
        };
        let mut forge = Forge::new(format);
        let entry = forge.ipv4(100);
        let ndp = forge.ndp(b"IPS", 0, &[entry]);
        let ntb = forge.close(ndp);
        for length in bad {
            let mut ntb = ntb.clone();
            ntb[ndp + 4..ndp + 6].copy_from_slice(&length.to_le_bytes());
            assert_eq!(receive(&ntb), (vec![], one("ndp_length")), "{length:#x}");
        }
        assert_eq!(ntb[ndp + 4], least as u8);
        assert_eq!(receive(&ntb).0.len(), 1);
    }
}

/// A `wLength` between two numbers of entries counts as the smaller (Linux `cdc_ncm_rx_verify_ndp16`
/// and `cdc_ncm_rx_verify_ndp32`).
#[test]
fn ndp_lengths_are_rounded_down() {
    for format in BOTH {
        let (header, entry) = match format {
            Format::Ntb16 => (8, 4),
            Format::Ntb32 => (16, 8),
        };
        let mut forge = Forge::new(format);
        let entries = [forge.ipv4(100), forge.ipv4(50)];
        let ndp = forge.ndp(b"IPS", 0, &entries);
        let ntb = forge.close(ndp);
        for over in 0..2 * entry {
            let mut ntb = ntb.clone();
            let length = header + 2 * entry + over;
            ntb[ndp + 4..ndp + 6].copy_from_slice(&(length as u16).to_le_bytes());
            let (found, drops) = receive(&ntb);
            assert_eq!(drops, DropCounters::default());
            assert_eq!(found.len(), 1 + over / entry, "{length:#x}");
            let ntb = Ntb::parse(&ntb, &Limits::default()).unwrap();
            let mut drops = DropCounters::default();
            let found: Vec<Ndp> = ntb.ndps(&mut drops).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].announced_length, length);
            assert_eq!(found[0].range.len(), length - over % entry);
        }
    }
}

/// The last entry is the terminator whatever it says, as in Linux.
#[test]
fn a_ndp_without_terminator() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entries = [forge.ipv4(100), forge.ipv4(50)];
        let ndp = forge.ndp(b"IPS", 0, &entries);
        let entry = if format == Format::Ntb16 { 4 } else { 8 };
        let length = forge.bytes.len() - ndp - entry;
        forge.bytes[ndp + 4] = length as u8;
        let (found, drops) = receive(&forge.close(ndp));
        assert_eq!(found, [(Stream::Ips(0), 100)]);
        assert_eq!(drops, DropCounters::default());
    }
}

/// CVE-2022-48938: offset 0xfff0 and length 0x20 pass a check made in 16 signed bits.
#[test]
fn datagrams_outside_the_ntb() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let good = forge.ipv4(100);
        let end = forge.bytes.len();
        let entries = [
            (0xfff0, 0x20),
            (good.0, 0xffff),
            good,
            (0xffff_ffff, 0xffff_ffff),
            (end + 600, 1),
            good,
        ];
        let ndp = forge.ndp(b"IPS", 0, &entries);
        let (found, drops) = receive_with(
            &forge.close(ndp),
            Limits {
                max_datagrams: 9,
                ..Limits::default()
            },
        );
        assert_eq!(found[0], (Stream::Ips(0), 100));
        assert_eq!(drops.datagram_outside, 4, "{format}");
    }
}

#[test]
fn datagrams_over_header_and_ndp() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let good = forge.ipv4(100);
        let ndp = forge.bytes.len();
        forge.ndp(b"IPS", 0, &[(4, 100), (ndp - 20, 40), good, (ndp, 24)]);
        let (found, drops) = receive(&forge.close(ndp));
        assert_eq!(found, [(Stream::Ips(0), 100)]);
        assert_eq!((drops.datagram_in_header, drops.datagram_in_ndp), (1, 2));
        assert_eq!(drops.total(), 3);
    }
}

#[test]
fn ntb_lengths_that_cannot_be() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entry = forge.ipv4(100);
        let ndp = forge.ndp(b"IPS", 0, &[entry]);
        let ntb = forge.close(ndp);
        let (width, least) = match format {
            Format::Ntb16 => (2, 28),
            Format::Ntb32 => (4, 48),
        };
        let with = |length: usize| {
            let mut ntb = ntb.clone();
            ntb[8..8 + width].copy_from_slice(&(length as u32).to_le_bytes()[..width]);
            ntb
        };
        for length in [1, 11, 12, least - 1] {
            assert_eq!(receive(&with(length)), (vec![], one("block_length_short")));
        }
        for length in [ntb.len() + 1, 0xffff] {
            assert_eq!(receive(&with(length)), (vec![], one("block_length_beyond")));
        }
        // A length of 0 means that the NTB ends where the transfer ends.
        assert_eq!(receive(&with(0)).0, [(Stream::Ips(0), 100)]);
        // A length below the datagram's end leaves the NDP behind it outside, too.
        assert_eq!(receive(&with(least)).1.ndp_index, 1);
        let limits = Limits {
            max_ntb: ntb.len() - 1,
            ..Limits::default()
        };
        assert_eq!(
            receive_with(&ntb, limits),
            (vec![], one("block_length_limit"))
        );
    }
}

#[test]
fn a_datagram_behind_the_ntb_length() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let inside = forge.ipv4(40);
        let ndp = forge.bytes.len();
        let entry = if format == Format::Ntb16 { 4 } else { 8 };
        let size = entry * 2 + 3 * entry;
        forge.ndp(b"IPS", 0, &[inside, (ndp + size, 40)]);
        let mut ntb = forge.close(ndp);
        ntb.extend([0x45; 40]);
        let (found, drops) = receive(&ntb);
        assert_eq!(found, [(Stream::Ips(0), 40)]);
        assert_eq!(drops.datagram_outside, 1);
    }
}

#[test]
fn headers_that_are_none() {
    let good = with_middle(Format::Ntb16, b"IPS", &[0x45; 20]);
    let mut bytes = good.clone();
    bytes[4] = 16;
    assert_eq!(receive(&bytes), (vec![], one("header_length")));
    assert_eq!(
        Ntb::parse(&bytes, &Limits::default())
            .unwrap_err()
            .to_string(),
        "header length 16 instead of 12"
    );
    let mut bytes = good.clone();
    bytes[..4].copy_from_slice(b"NcmH");
    assert_eq!(receive(&bytes), (vec![], one("header_signature")));
    let mut bytes = good.clone();
    bytes[..12].fill(0);
    assert_eq!(receive(&bytes), (vec![], one("header_zero")));
    assert_eq!(
        Ntb::parse(&bytes, &Limits::default()).unwrap_err(),
        HeaderError::Zero
    );
    assert_eq!(receive(b"NCMH"), (vec![], one("block_runt")));
}

#[test]
fn zero_headers_in_a_row_are_told() {
    let good = with_middle(Format::Ntb32, b"IPS", &[0x45; 20]);
    let mut zero = good.clone();
    zero[..16].fill(0);
    let mut receiver = Receiver::default();
    for _ in 0..3 {
        receiver.receive(&zero, |_| panic!("delivered"));
    }
    assert_eq!(receiver.zero_headers_in_a_row, 3);
    receiver.receive(&good, |_| ());
    assert_eq!(receiver.zero_headers_in_a_row, 0);
    assert_eq!(receiver.drops.header_zero, 3);
}

/// Three NDPs chained in each possible order: all are followed, each once.
#[test]
fn chains_in_any_order() {
    for format in BOTH {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut forge = Forge::new(format);
            let entries = [forge.ipv4(100), forge.ipv4(200), forge.ipv4(300)];
            let ndps: Vec<usize> = (0..3)
                .map(|index| forge.ndp(b"IPS", index as u8, &entries[index..][..1]))
                .collect();
            forge.next(ndps[order[0]], ndps[order[1]]);
            forge.next(ndps[order[1]], ndps[order[2]]);
            let ntb = forge.close(ndps[order[0]]);
            let (found, drops) = receive(&ntb);
            let expected = order.map(|index| (Stream::Ips(index as u8), (index + 1) * 100));
            assert_eq!(found, expected);
            assert_eq!(drops, DropCounters::default());
            let mut drops = DropCounters::default();
            let ntb = Ntb::parse(&ntb, &Limits::default()).unwrap();
            let backwards: Vec<bool> = ntb.ndps(&mut drops).map(|ndp| ndp.backwards).collect();
            let expected = [false, order[1] < order[0], order[2] < order[1]];
            assert_eq!(backwards, expected, "{order:?}");
        }
    }
}

/// A chain that goes backwards is bounded however long it is.
#[test]
fn many_ndps_backwards() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entries: Vec<_> = (0..80).map(|_| forge.ipv4(20)).collect();
        let mut last = 0;
        for (session, entry) in entries.iter().enumerate() {
            let ndp = forge.ndp(b"IPS", session as u8, &[*entry]);
            forge.next(ndp, last);
            last = ndp;
        }
        let (found, drops) = receive(&forge.close(last));
        assert_eq!(found.len(), 64);
        assert_eq!(found[0].0, Stream::Ips(79));
        assert_eq!(drops, one("ndp_order"));
    }
}

#[test]
fn chains_that_go_nowhere() {
    for format in BOTH {
        // The chain leads to itself, back to the other NDP, or into the entries of the other.
        for target in [0, 1, 2] {
            let mut forge = Forge::new(format);
            let entries = [forge.ipv4(100), forge.ipv4(100)];
            let first = forge.ndp(b"IPS", 1, &entries[..1]);
            let second = forge.ndp(b"IPS", 2, &entries[1..]);
            let header = if format == Format::Ntb16 { 8 } else { 16 };
            match target {
                0 => forge.next(first, first),
                1 => {
                    forge.next(first, second);
                    forge.next(second, first);
                }
                _ => forge.next(first, first + header),
            }
            let (found, drops) = receive(&forge.close(first));
            assert_eq!(found.len(), if target == 1 { 2 } else { 1 });
            assert_eq!(drops, one("ndp_order"));
        }
    }
}

#[test]
fn sixty_ndps_in_order_are_fine() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entries: Vec<_> = (0..60).map(|_| forge.ipv4(20)).collect();
        let mut ndps: Vec<usize> = Vec::new();
        for (session, entry) in entries.iter().enumerate() {
            let ndp = forge.ndp(b"IPS", session as u8, &[*entry]);
            if let Some(last) = ndps.last() {
                forge.next(*last, ndp);
            }
            ndps.push(ndp);
        }
        let (found, drops) = receive(&forge.close(ndps[0]));
        assert_eq!(found.len(), 60);
        assert_eq!(drops, DropCounters::default());
    }
}

#[test]
fn the_same_bytes_again_and_again() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entry = forge.ipv4(1400);
        let ndp = forge.ndp(b"IPS", 0, &vec![entry; 7000]);
        let ntb = forge.close(ndp);
        let (found, drops) = receive(&ntb);
        let delivered: usize = found.iter().map(|(_, length)| length).sum();
        assert!(delivered <= ntb.len());
        assert_eq!(found.len(), ntb.len() / 1400);
        assert_eq!(
            drops,
            counted("datagram_repeated", 7000 - found.len() as u64)
        );

        let mut forge = Forge::new(format);
        let entry = forge.ipv4(20);
        let ndp = forge.ndp(b"IPS", 0, &vec![entry; 7000]);
        let limits = Limits {
            max_datagrams: 40,
            ..Limits::default()
        };
        let (found, drops) = receive_with(&forge.close(ndp), limits);
        assert_eq!(found.len(), 40);
        assert_eq!(drops, one("datagram_limit"));
    }
}

#[test]
fn an_unknown_ndp_between_two_good_ones() {
    for format in BOTH {
        for unknown in [b"XYZ", b"NCM"] {
            let mut forge = Forge::new(format);
            let entries = [forge.ipv4(100), forge.ipv4(100)];
            let first = forge.ndp(b"IPS", 1, &entries[..1]);
            let middle = forge.ndp(unknown, b'7', &entries);
            let last = forge.ndp(b"IPS", 2, &entries[1..]);
            forge.next(first, middle);
            forge.next(middle, last);
            let (found, drops) = receive(&forge.close(first));
            assert_eq!(found, [(Stream::Ips(1), 100), (Stream::Ips(2), 100)]);
            assert_eq!(drops, one("ndp_signature"));
        }
    }
}

#[test]
fn a_broken_ndp_between_two_good_ones() {
    for format in BOTH {
        let mut forge = Forge::new(format);
        let entries = [forge.ipv4(100), forge.ipv4(100)];
        let first = forge.ndp(b"IPS", 1, &entries[..1]);
        let middle = forge.ndp(b"IPS", 9, &entries);
        let last = forge.ndp(b"IPS", 2, &entries[1..]);
        forge.next(first, middle);
        forge.next(middle, last);
        forge.bytes[middle + 4] = 3;
        let (found, drops) = receive(&forge.close(first));
        assert_eq!(found, [(Stream::Ips(1), 100), (Stream::Ips(2), 100)]);
        assert_eq!(drops, one("ndp_length"));
    }
}

/// Firmware was seen to put these between IP packets: text, an ARP request without its Ethernet
/// header, nothing like a packet. Linux drops everything behind it.
#[test]
fn odd_datagrams_cost_only_themselves() {
    let mut arp = vec![0; 46];
    arp[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    let cases: [(&[u8], &str); 8] = [
        // 'C' has the version nibble of IPv4, but it is too short for one.
        (b"CONNECT 21600000", "datagram_runt"),
        (&arp, "datagram_version"),
        (&[0x05; 40], "datagram_version"),
        (&[0x55; 40], "datagram_version"),
        (&[0x45], "datagram_runt"),
        (&[0x45; 19], "datagram_runt"),
        (&[0x60; 20], "datagram_runt"),
        (&[0x60; 39], "datagram_runt"),
    ];
    for format in BOTH {
        for (middle, counter) in cases {
            let (found, drops) = receive(&with_middle(format, b"IPS", middle));
            assert_eq!(found, [(Stream::Ips(0), 100), (Stream::Ips(0), 60)]);
            assert_eq!(drops, one(counter), "{middle:02x?}");
        }
        for middle in [&[0x45; 20][..], &[0x60; 40]] {
            let (found, drops) = receive(&with_middle(format, b"IPS", middle));
            assert_eq!((found.len(), drops), (3, DropCounters::default()));
        }
        // A device service stream carries anything.
        let (found, _) = receive(&with_middle(format, b"DSS", b"x"));
        assert_eq!(found[1], (Stream::Dss(0), 1));
    }
}

#[test]
fn datagrams_longer_than_agreed_on() {
    let limits = Limits {
        max_datagram_size: 100,
        ..Limits::default()
    };
    for format in BOTH {
        let ntb = with_middle(format, b"IPS", &[0x45; 101]);
        let (found, drops) = receive_with(&ntb, limits);
        assert_eq!((found.len(), drops), (2, one("datagram_long")));
    }
}

#[test]
fn ethernet_with_crc() {
    // The expected value is the CRC-32 of 20 bytes of 0xff, from Python's zlib.
    let mut frame = vec![0xff; 20];
    frame.extend(0x2cf7_72b0_u32.to_le_bytes());
    for format in BOTH {
        let mut forge = Forge::new(format);
        let good = forge.datagram(&frame);
        frame[3] ^= 1;
        let bad = forge.datagram(&frame);
        frame[3] ^= 1;
        let short = forge.datagram(&frame[7..]);
        let ndp = forge.ndp(b"NCM", b'1', &[bad, good, short]);
        let (found, drops) = receive(&forge.close(ndp));
        assert_eq!(found, [(Stream::Ethernet { crc: true }, 20)]);
        assert_eq!((drops.datagram_crc, drops.datagram_runt), (1, 1));
        assert_eq!(drops.total(), 2);
    }
}

#[test]
fn several_ntbs_and_padding_in_one_transfer() {
    let a = with_middle(Format::Ntb16, b"IPS", &[0x45; 20]);
    let b = with_middle(Format::Ntb32, b"IPS", &[0x45; 20]);
    let joined = |parts: &[&[u8]]| parts.concat();

    let (found, drops) = receive(&joined(&[&a, &b, &a]));
    assert_eq!((found.len(), drops), (9, DropCounters::default()));
    for padding in [&[0][..], &[0; 3], &[0; 100]] {
        let (found, drops) = receive(&joined(&[&a, &b, padding]));
        assert_eq!((found.len(), drops), (6, DropCounters::default()));
    }
    for garbage in [&[7][..], b"garbage", &[0, 0, 0, 0, 0, 0, 1]] {
        let (found, drops) = receive(&joined(&[&a, garbage]));
        assert_eq!((found.len(), drops), (3, one("trailing_bytes")));
    }
    let (found, drops) = receive(&joined(&[&a, &b[..b.len() - 1]]));
    assert_eq!((found.len(), drops), (3, one("block_length_beyond")));
    // The ranges point into the transfer, not the NTB.
    let transfer = joined(&[&a, &b]);
    let mut last = 0;
    Receiver::default().receive(&transfer, |datagram| last = datagram.range.end);
    assert!(last > a.len());
}

#[test]
fn transfers_of_no_length_are_no_error() {
    let mut receiver = Receiver::default();
    receiver.receive(&[], |_| panic!("delivered"));
    assert_eq!(receiver.empty_transfers, 1);
    assert_eq!(receiver.drops, DropCounters::default());
}

#[test]
fn gaps_in_the_sequence_are_counted_and_nothing_else() {
    let mut receiver = Receiver::default();
    let mut delivered = 0;
    for sequence in [65534_u16, 65535, 0, 7, 8, 0] {
        let mut ntb = with_middle(Format::Ntb16, b"IPS", &[0x45; 20]);
        ntb[6..8].copy_from_slice(&sequence.to_le_bytes());
        receiver.receive(&ntb, |_| delivered += 1);
    }
    assert_eq!((delivered, receiver.sequence_gaps), (18, 2));
}
