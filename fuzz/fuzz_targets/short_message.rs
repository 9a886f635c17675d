//! Short message PDUs and USSD texts of any network are decoded without panic, and an encoded text
//! decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uwwan_mbim::gsm::coding::{from_ussd, to_ussd};
use uwwan_mbim::gsm::joined::join;
use uwwan_mbim::gsm::{Address, Message, Submit};

fuzz_target!(|bytes: &[u8]| {
    let parts = bytes.chunks(40).enumerate();
    let read = parts.filter_map(|(index, pdu)| Some((index, Message::decode(pdu).ok()?)));
    let joined = join(read);
    assert!(joined.iter().all(|message| !message.keys.is_empty()));
    if let Some((scheme, octets)) = bytes.split_first() {
        let _ = from_ussd(*scheme, octets);
    }

    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(to) = "+4790000001".parse::<Address>() else {
        return;
    };
    let submit = Submit {
        to: &to,
        centre: None,
        text,
        reference: 1,
        report: false,
        validity: None,
    };
    if let Ok(pdus) = submit.encode() {
        let messages = pdus
            .iter()
            .enumerate()
            .map(|(index, pdu)| (index, Message::decode(pdu).expect("our own message")));
        let joined = join(messages);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].text.as_deref(), Some(text));
    }
    if let Some((scheme, octets)) = to_ussd(text) {
        let back = from_ussd(scheme, &octets).expect("our own text");
        // A carriage return at the end of a full octet is the padding.
        assert_eq!(back.trim_end_matches('\r'), text.trim_end_matches('\r'));
    }
});
