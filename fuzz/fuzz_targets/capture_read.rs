//! A capture of any bytes is read to its end or to an error, and its transfers are matched with
//! their requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_capture::exchange::Pairing;
use uwwan_capture::read::Reader;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = Reader::new(bytes) else {
        return;
    };
    // Four bytes of a packed file stand for up to 128 KiB.
    let packed = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let most = bytes.len() * if packed { 32 << 10 } else { 1 };
    let mut pairing = Pairing::default();
    let mut moved = 0;
    while let Ok(Some(packet)) = reader.next_packet() {
        assert!(packet.data.len() <= most);
        if let Some(transfer) = packet.transfer() {
            assert!(transfer.data.len() <= packet.data.len());
            let ended = pairing.push(packet.number, packet.time, &transfer);
            moved += ended
                .iter()
                .map(|exchange| exchange.data.len())
                .sum::<usize>();
        }
    }
    moved += pairing
        .finish()
        .iter()
        .map(|exchange| exchange.data.len())
        .sum::<usize>();
    assert!(moved <= 2 * most);
});
