//! A capture of any bytes is scrubbed, with payload and without. The result is a capture with no more
//! packets and no longer ones, and can be scrubbed again.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use uwwan_capture::read::Reader;
use uwwan_modem::capture::scrub::{Options, scrub};

fuzz_target!(|bytes: &[u8]| {
    for keep_payload in [false, true] {
        let options = Options {
            keep_payload,
            packed: false,
        };
        let mut out = Vec::new();
        let Ok(report) = scrub(|| Ok(Cursor::new(bytes)), &mut out, options) else {
            return;
        };
        // Four bytes of a packed file stand for up to 128 KiB.
        let packed = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let content = bytes.len() * if packed { 32 << 10 } else { 1 };
        assert!(out.len() <= content * 8 + 4096);
        let mut reader = Reader::new(out.as_slice()).unwrap();
        let mut packets = 0;
        while let Some(packet) = reader.next_packet().unwrap() {
            assert!(packet.original as usize >= packet.data.len());
            packets += 1;
        }
        assert_eq!(packets, report.packets);
        let mut again = Vec::new();
        let second = scrub(|| Ok(Cursor::new(&out)), &mut again, options).unwrap();
        assert_eq!(second.packets, report.packets);
        assert_eq!(again.len(), out.len());
    }
});
