//! A file of refused PINs with any content is read or refused, and a memory that was read can be
//! changed, written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_modem::pin_memory::PinMemory;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut memory) = serde_json::from_slice::<PinMemory>(bytes) else {
        return;
    };
    let mark = memory.mark("89470000", "1234");
    let _ = memory.past(&mark, Some(3));
    memory.sending(&mark, Some(3));
    memory.refused(&mark);
    let text = serde_json::to_string(&memory).expect("a memory can be written");
    let again: PinMemory = serde_json::from_str(&text).expect("and be read again");
    // Facts about this process alone are not written.
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
    memory.forget(&mark);
});
