//! The records of usbmon in Linux (Documentation/usb/usbmon.rst, `struct usbmon_packet`).
//!
//! A record is a header in the byte order of the machine that captured, then 16 bytes for each
//! packet descriptor of an isochronous transfer, then the data. Setup stages are as they are on the
//! bus, which is little endian.

use byteorder::{BigEndian, ByteOrder, LittleEndian};

use crate::transfer::{Kind, Phase, Transfer};

/// Length of the header with link type 189, in bytes.
pub const HEADER: usize = 48;
/// Length of the header with link type 220, in bytes.
pub const HEADER_MMAPPED: usize = 64;

const PHASE: usize = 8;
const KIND: usize = 9;
const ENDPOINT: usize = 10;
const DEVICE: usize = 11;
const BUS: usize = 12;
const SETUP_FLAG: usize = 14;
const SECONDS: usize = 16;
const MICROSECONDS: usize = 24;
const STATUS: usize = 28;
const LENGTH: usize = 32;
const CAPTURED: usize = 36;
const SETUP: usize = 40;
const DESCRIPTORS: usize = 60;
/// Length of an isochronous packet descriptor in bytes.
const DESCRIPTOR: usize = 16;

/// Value of a flag that says that a part of the record is present.
const PRESENT: u8 = 0;

/// Returns the header of a record with link type 220, in little endian. `time` is in nanoseconds
/// since 1970; the header takes microseconds. `captured` is the number of data bytes that follow.
#[must_use]
pub fn header(transfer: &Transfer<'_>, time: u64, captured: usize) -> [u8; HEADER_MMAPPED] {
    let phase = match transfer.phase {
        Phase::Submit => b'S',
        Phase::Complete => b'C',
        Phase::Error => b'E',
    };
    let kind = transfer.kind.number();
    let setup_flag = if transfer.setup.is_some() {
        PRESENT
    } else {
        b'-'
    };
    let data_flag = match (captured, transfer.is_in()) {
        (1.., _) => PRESENT,
        (0, true) => b'<',
        (0, false) => b'>',
    };
    let [bus_low, bus_high] = transfer.bus.to_le_bytes();
    let microseconds = (time % 1_000_000_000 / 1_000) as u32;
    let captured = u32::try_from(captured).unwrap_or(u32::MAX);
    // The header is put together from whole words, which takes few instructions.
    let mut words = [0u64; HEADER_MMAPPED / 8];
    words[0] = transfer.id;
    words[1] = u64::from_le_bytes([
        phase,
        kind,
        transfer.endpoint,
        transfer.device,
        bus_low,
        bus_high,
        setup_flag,
        data_flag,
    ]);
    words[SECONDS / 8] = time / 1_000_000_000;
    words[MICROSECONDS / 8] = u64::from(microseconds) | u64::from(transfer.status as u32) << 32;
    words[LENGTH / 8] = u64::from(transfer.length) | u64::from(captured) << 32;
    words[SETUP / 8] = transfer.setup.map_or(0, u64::from_le_bytes);
    let mut out = [0; HEADER_MMAPPED];
    for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    out
}

/// Reads a record whose header has `header` bytes. Returns `None` when the record ends inside its
/// header or has an unknown phase or kind.
#[must_use]
pub fn parse(record: &[u8], header: usize, big_endian: bool) -> Option<Transfer<'_>> {
    let head = record.get(..header.max(HEADER))?;
    let word16: fn(&[u8]) -> u16 = pick(big_endian, BigEndian::read_u16, LittleEndian::read_u16);
    let word32: fn(&[u8]) -> u32 = pick(big_endian, BigEndian::read_u32, LittleEndian::read_u32);
    let word64: fn(&[u8]) -> u64 = pick(big_endian, BigEndian::read_u64, LittleEndian::read_u64);
    let kind = Kind::from_number(head[KIND])?;
    let descriptors = if kind == Kind::Isochronous && header >= HEADER_MMAPPED {
        (word32(&head[DESCRIPTORS..]) as usize).saturating_mul(DESCRIPTOR)
    } else {
        0
    };
    let data = record
        .get(header.saturating_add(descriptors)..)
        .unwrap_or(&[]);
    let captured = (word32(&head[CAPTURED..]) as usize).saturating_sub(descriptors);
    Some(Transfer {
        id: word64(head),
        phase: match head[PHASE] {
            b'S' => Phase::Submit,
            b'C' => Phase::Complete,
            b'E' => Phase::Error,
            _ => return None,
        },
        kind,
        endpoint: head[ENDPOINT],
        bus: word16(&head[BUS..]),
        device: head[DEVICE],
        setup: (head[SETUP_FLAG] == PRESENT && kind == Kind::Control)
            .then(|| head[SETUP..SETUP + 8].try_into().ok())
            .flatten(),
        status: word32(&head[STATUS..]).cast_signed(),
        length: word32(&head[LENGTH..]),
        data: &data[..captured.min(data.len())],
    })
}

fn pick<T>(big_endian: bool, big: T, little: T) -> T {
    if big_endian { big } else { little }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission() -> Transfer<'static> {
        Transfer {
            id: 0xffff_8880_1234_5678,
            phase: Phase::Submit,
            kind: Kind::Control,
            endpoint: 0x80,
            bus: 1,
            device: 7,
            setup: Some([0x80, 6, 0, 1, 0, 0, 18, 0]),
            status: Transfer::IN_PROGRESS,
            length: 18,
            data: &[],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let completion = Transfer {
            phase: Phase::Complete,
            setup: None,
            status: 0,
            length: 3,
            data: &[1, 2, 3],
            ..submission()
        };
        for transfer in [submission(), completion] {
            let mut record =
                header(&transfer, 1_700_000_000_123_456_789, transfer.data.len()).to_vec();
            record.extend(transfer.data);
            assert_eq!(parse(&record, HEADER_MMAPPED, false), Some(transfer));
            assert_eq!(parse(&record[..40], HEADER_MMAPPED, false), None);
        }
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let mut record = vec![0; HEADER];
        record[7] = 9;
        record[PHASE] = b'C';
        record[KIND] = 3;
        record[ENDPOINT] = 0x81;
        record[DEVICE] = 4;
        record[13] = 2;
        record[SETUP_FLAG] = b'-';
        record[28..32].copy_from_slice(&(-32i32).to_be_bytes());
        record[LENGTH + 3] = 2;
        record[CAPTURED + 3] = 2;
        record.extend([5, 6]);
        let read = parse(&record, HEADER, true).unwrap();
        assert_eq!((read.id, read.bus, read.status), (9, 2, -32));
        assert_eq!((read.data, read.setup), (&[5, 6][..], None));
    }

    #[test]
    fn descriptors_of_packets_are_no_data() {
        let mut record = vec![0; HEADER_MMAPPED];
        record[PHASE] = b'C';
        record[KIND] = 0;
        record[CAPTURED] = 18;
        record[DESCRIPTORS] = 1;
        record.extend([0xee; 16]);
        record.extend([1, 2]);
        let read = parse(&record, HEADER_MMAPPED, false).unwrap();
        assert_eq!(read.data, [1, 2]);
    }
}
