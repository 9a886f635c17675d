//! The records of USBPcap on Windows (`USBPCAP_BUFFER_PACKET_HEADER`, USBPcap.h), little endian.
//!
//! A control transfer has a record for its setup stage, which also holds the data that is sent, and
//! one for its completion. Old versions give the data that is sent a record of its own.

use byteorder::{ByteOrder, LittleEndian};

use crate::transfer::{Kind, Phase, Transfer};

/// Length of the shortest header in bytes.
const HEADER: usize = 27;

const ID: usize = 2;
const STATUS: usize = 10;
const INFO: usize = 16;
const BUS: usize = 17;
const DEVICE: usize = 19;
const ENDPOINT: usize = 21;
const KIND: usize = 22;
const LENGTH: usize = 23;
const STAGE: usize = 27;

/// Bit of `info` that is set in completions.
const COMPLETION: u8 = 1;
/// Value of `stage` in the record of a setup stage.
const SETUP: u8 = 0;

/// Reads a record. Returns `None` when it ends inside its header or has an unknown kind.
#[must_use]
pub fn parse(record: &[u8]) -> Option<Transfer<'_>> {
    let header = usize::from(LittleEndian::read_u16(record.get(..2)?));
    let head = record.get(..header.max(HEADER))?;
    let kind = Kind::from_number(head[KIND])?;
    let phase = if head[INFO] & COMPLETION == 0 {
        Phase::Submit
    } else {
        Phase::Complete
    };
    let stated = LittleEndian::read_u32(&head[LENGTH..]);
    let there = record.len() - head.len();
    let mut data = &record[head.len()..][..there.min(stated as usize)];
    let mut length = stated;
    let mut setup = None;
    let begins = kind == Kind::Control
        && phase == Phase::Submit
        && head.get(STAGE).copied().unwrap_or(SETUP) == SETUP;
    if begins && let Some((first, rest)) = data.split_first_chunk::<8>() {
        setup = Some(*first);
        data = rest;
        length = u32::from(LittleEndian::read_u16(&first[6..]));
    }
    let status = match LittleEndian::read_u32(&head[STATUS..]) {
        _ if phase == Phase::Submit => Transfer::IN_PROGRESS,
        status => errno(status),
    };
    let endpoint = match setup {
        // The direction is that of the data stage, as in usbmon.
        Some(setup) => head[ENDPOINT] & 0x7f | setup[0] & 0x80,
        None => head[ENDPOINT],
    };
    Some(Transfer {
        id: LittleEndian::read_u64(&head[ID..]),
        phase,
        kind,
        endpoint,
        bus: LittleEndian::read_u16(&head[BUS..]),
        device: (LittleEndian::read_u16(&head[DEVICE..]) & 0x7f) as u8,
        setup,
        status,
        length,
        data,
    })
}

/// Values of `USBD_STATUS` (usb.h of the Windows driver kit).
const USBD_STATUS_SUCCESS: u32 = 0;
const USBD_STATUS_STALL_PID: u32 = 0xc000_0004;
const USBD_STATUS_DATA_OVERRUN: u32 = 0xc000_0008;
const USBD_STATUS_BUFFER_OVERRUN: u32 = 0xc000_000c;
const USBD_STATUS_ENDPOINT_HALTED: u32 = 0xc000_0030;
const USBD_STATUS_DEVICE_GONE: u32 = 0xc000_7000;
const USBD_STATUS_CANCELED: u32 = 0xc001_0000;

/// Errors of Linux (`include/uapi/asm-generic/errno.h`).
const ENOENT: i32 = 2;
const EPIPE: i32 = 32;
const EPROTO: i32 = 71;
const EOVERFLOW: i32 = 75;
const ESHUTDOWN: i32 = 108;

/// Returns the error of a `USBD_STATUS` as a negative `errno` of Linux, 0 for success.
const fn errno(status: u32) -> i32 {
    match status {
        USBD_STATUS_SUCCESS => 0,
        USBD_STATUS_STALL_PID | USBD_STATUS_ENDPOINT_HALTED => -EPIPE,
        USBD_STATUS_BUFFER_OVERRUN | USBD_STATUS_DATA_OVERRUN => -EOVERFLOW,
        USBD_STATUS_CANCELED => -ENOENT,
        USBD_STATUS_DEVICE_GONE => -ESHUTDOWN,
        _ => -EPROTO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(info: u8, kind: u8, endpoint: u8, stage: Option<u8>, data: &[u8]) -> Vec<u8> {
        let header = HEADER + usize::from(stage.is_some());
        let mut out = vec![0; header];
        out[0] = header as u8;
        out[ID] = 0x42;
        out[INFO] = info;
        out[BUS] = 2;
        out[DEVICE] = 5;
        out[ENDPOINT] = endpoint;
        out[KIND] = kind;
        out[LENGTH] = data.len() as u8;
        if let Some(stage) = stage {
            out[STAGE] = stage;
        }
        out.extend(data);
        out
    }

    #[test]
    fn a_setup_stage_holds_what_is_sent() {
        let setup = [0x21, 0, 0, 0, 0, 0, 2, 0];
        let sent = [&setup[..], &[7, 8]].concat();
        let bytes = record(0, 2, 0, Some(SETUP), &sent);
        let read = parse(&bytes).unwrap();
        assert_eq!(read.setup, Some(setup));
        assert_eq!((read.data, read.length), (&[7, 8][..], 2));
        assert_eq!((read.bus, read.device, read.id), (2, 5, 0x42));
    }

    #[test]
    fn completions_carry_what_came_and_the_error() {
        let mut bytes = record(1, 3, 0x82, None, &[1, 2, 3]);
        bytes[STATUS..STATUS + 4].copy_from_slice(&0xc000_0004u32.to_le_bytes());
        let read = parse(&bytes).unwrap();
        assert_eq!((read.phase, read.kind), (Phase::Complete, Kind::Bulk));
        assert_eq!((read.data, read.status), (&[1, 2, 3][..], -32));
        assert_eq!(parse(&bytes[..20]), None);
    }
}
