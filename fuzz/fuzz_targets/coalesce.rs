//! Datagrams from the device: the packets into which they are merged stand for the same datagrams,
//! each flow in its order.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use uwwan_tun::checksum::Sum;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::headers::VnetHeader;
use uwwan_tun::segment::Plan;

#[derive(Debug, Arbitrary)]
struct Input {
    steps: Vec<Step>,
    udp: bool,
}

#[derive(Debug, Arbitrary)]
enum Step {
    /// These bytes, unchanged.
    Bytes(Vec<u8>),
    /// The next segment of a flow, with changes that come before or after the checksums.
    Next {
        flow: u8,
        length: u8,
        before: Option<(u8, u8)>,
        after: Option<(u8, u8)>,
    },
    Finish,
}

fuzz_target!(|input: Input| {
    let mut sequences = [0_u32; 16];
    let mut numbers = [0_u16; 16];
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut ends = Vec::new();
    for step in input.steps.into_iter().take(300) {
        match step {
            Step::Bytes(bytes) => sent.push(bytes),
            Step::Next {
                flow,
                length,
                before,
                after,
            } => {
                let flow = usize::from(flow % 16);
                let length = usize::from(length) + 1;
                let mut bytes = segment(flow as u8, sequences[flow], numbers[flow], length);
                sequences[flow] = sequences[flow].wrapping_add(length as u32);
                numbers[flow] = numbers[flow].wrapping_add(1);
                change(&mut bytes, before);
                complete(&mut bytes);
                change(&mut bytes, after);
                sent.push(bytes);
            }
            Step::Finish => ends.push(sent.len()),
        }
    }

    let mut coalescer = Coalescer::new(Merge {
        tcp: true,
        udp: input.udp,
    });
    let mut back = Vec::new();
    let mut merged = 0;
    let mut batch = coalescer.batch(|packet| {
        let bytes: Vec<u8> = packet
            .slices
            .iter()
            .flat_map(|slice| &**slice)
            .copied()
            .collect();
        let (vnet, bytes) = bytes.split_first_chunk().expect("a virtio header");
        assert_eq!(bytes.len(), packet.length);
        let vnet = VnetHeader::parse(vnet).expect("our own header");
        if vnet == VnetHeader::PLAIN {
            assert_eq!(packet.datagrams, 1);
            back.push(bytes.to_vec());
            return;
        }
        let plan = Plan::new(&vnet, bytes, bytes.len()).expect("our own packet");
        assert_eq!(plan.datagrams(), packet.datagrams);
        assert!(packet.datagrams > 1 && bytes.len() <= 65_535);
        merged += packet.datagrams as u64;
        for index in 0..plan.datagrams() {
            let mut datagram = vec![0; plan.header()];
            datagram.extend(&bytes[plan.payload(index)]);
            plan.write(index, &mut datagram);
            back.push(datagram);
        }
    });
    for (index, datagram) in sent.iter().enumerate() {
        if ends.contains(&index) {
            batch.finish();
        }
        batch.push(datagram);
    }
    batch.finish();
    drop(batch);
    assert_eq!(coalescer.counters().merged, merged);

    for all in [&mut sent, &mut back] {
        all.iter_mut().for_each(forget_identification);
        all.sort_by_key(|datagram| flow_of(datagram));
    }
    assert!(sent == back);
});

/// Returns a TCP segment or UDP datagram without its checksums. Flows differ in addresses and
/// family.
fn segment(flow: u8, sequence: u32, number: u16, length: usize) -> Vec<u8> {
    let (v6, udp) = (flow & 1 != 0, flow & 2 != 0);
    let header = if udp { 8 } else { 20 };
    let mut bytes = Vec::new();
    if v6 {
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(((header + length) as u16).to_be_bytes());
        bytes.extend([if udp { 17 } else { 6 }, 64]);
        bytes.extend([0xfd; 31]);
        bytes.push(flow);
    } else {
        bytes.extend([0x45, 0]);
        bytes.extend(((20 + header + length) as u16).to_be_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend([flow << 4 & 0x40, 0, 64, if udp { 17 } else { 6 }, 0, 0]);
        bytes.extend([10, 0, 0, 1, 10, 0, 0, flow]);
    }
    bytes.extend([1, 2, 3, 4]);
    if udp {
        bytes.extend(((header + length) as u16).to_be_bytes());
        bytes.extend([0, 0]);
    } else {
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0x50, 0x10, 1, 2, 0, 0, 0, 0]);
    }
    bytes.resize(bytes.len() + length, 0xa5);
    bytes
}

fn change(bytes: &mut [u8], change: Option<(u8, u8)>) {
    if let Some((at, value)) = change
        && let Some(byte) = bytes.get_mut(usize::from(at))
    {
        *byte = value;
    }
}

/// Writes the checksums, if the headers still have their lengths.
fn complete(bytes: &mut [u8]) {
    let v6 = bytes[0] >> 4 == 6;
    let (at, addresses) = if v6 { (40, 8..40) } else { (20, 12..20) };
    if bytes.len() < at + 20 {
        return;
    }
    let protocol = if v6 { bytes[6] } else { bytes[9] };
    let field = if protocol == 17 { at + 6 } else { at + 16 };
    bytes[field..field + 2].fill(0);
    let length = (bytes.len() - at) as u16;
    let sum = Sum::of(&bytes[addresses])
        + Sum::of_u16(protocol.into())
        + Sum::of_u16(length)
        + Sum::of(&bytes[at..]);
    let checksum = if protocol == 17 {
        sum.checksum_not_zero()
    } else {
        sum.checksum()
    };
    bytes[field..field + 2].copy_from_slice(&checksum);
    if !v6 {
        bytes[10..12].fill(0);
        let checksum = Sum::of(&bytes[..20]).checksum();
        bytes[10..12].copy_from_slice(&checksum);
    }
}

/// Clears the IPv4 identification where fragments are forbidden, because it has no meaning there
/// and merging may number it anew.
fn forget_identification(datagram: &mut Vec<u8>) {
    if datagram.len() >= 20 && datagram[0] == 0x45 && datagram[6] & 0x40 != 0 {
        datagram[4..6].fill(0);
        datagram[10..12].fill(0);
    }
}

/// Returns protocol, addresses and ports, or the whole datagram.
fn flow_of(datagram: &[u8]) -> Vec<u8> {
    match datagram {
        [0x45, ..] if datagram.len() >= 24 => [&datagram[9..10], &datagram[12..24]].concat(),
        [0x60..=0x6f, ..] if datagram.len() >= 44 => [&datagram[6..7], &datagram[8..44]].concat(),
        _ => datagram.to_vec(),
    }
}
