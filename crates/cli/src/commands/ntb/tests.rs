//! Checks that a built NTB is the one described: byte by byte, and as `ntb decode` sees it.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::assemble::{Built, assemble};
use super::decode::{Direction, Seen};
use super::description::Description;
use crate::failure::Failure;
use crate::hex::from_hex;

fn build(text: &str) -> Result<Built, Failure> {
    assemble(&Description::parse(Path::new("ntb.toml"), text)?)
}

fn decode(built: &Built) -> Value {
    json_told(&Seen::of(&built.bytes, Some(Direction::Out)).unwrap())
}

/// An IPv4 packet of 20 bytes, and one of 21.
const PACKET: &str = "4500001400000000400100000a000001c6336401";
const LONGER: &str = "4500001500000000400100000a000001c6336401ff";

/// The layout is that of NCM 1.0, tables 3-1 and 3-3, and MBIM 1.0, table 7-1.
#[test]
fn bytes_of_ntb16() {
    let built = build(&format!(
        "sequence = 5\n[[ndp]]\nsession = 3\ndatagram = [{{ hex = \"{LONGER}\" }}, {{ hex = \"{PACKET}\" }}]"
    ))
    .unwrap();
    let expected = format!(
        "4e434d48 0c00 0500 4c00 3800 \
         {LONGER} 000000 {PACKET} \
         49505303 1400 0000 0c00 1500 2400 1400 0000 0000"
    );
    assert_eq!(built.bytes, from_hex(expected.as_bytes()).unwrap());
    assert_eq!(
        (built.ndps, built.datagrams),
        (vec![56], vec![12..33, 36..56])
    );
}

/// The layout is that of NCM 1.0, tables 3-2 and 3-4, with the NDPs in front and chained.
#[test]
fn bytes_of_ntb32() {
    let built = build(&format!(
        "ntb = 32\nplacement = \"front\"\n\
         [[ndp]]\ndatagram = [{{ hex = \"{PACKET}\" }}]\n\
         [[ndp]]\nstream = \"dss\"\nsession = 255\ndatagram = [{{ hex = \"010203\" }}]"
    ))
    .unwrap();
    // Each NDP has room for all datagrams and the terminator: 16 + 3 * 8 bytes.
    let expected = format!(
        "6e636d68 1000 0000 77000000 10000000 \
         69707300 2000 0000 4c000000 00000000 38000000 14000000 00000000 00000000 00000000 00000000 \
         {PACKET} \
         647373ff 2000 0000 00000000 00000000 74000000 03000000 00000000 00000000 00000000 00000000 \
         010203"
    );
    assert_eq!(built.bytes, from_hex(expected.as_bytes()).unwrap());
    assert_eq!(built.ndps, [16, 76]);
}

#[test]
fn ethernet_counts_its_remainder_behind_the_header_and_has_a_crc() {
    let frame = "ffffffffffff0200000000010800aabb";
    let built = build(&format!(
        "divisor = 32\n[[ndp]]\nstream = \"ethernet-crc\"\ndatagram = [{{ hex = \"{frame}\" }}]"
    ))
    .unwrap();
    assert_eq!(built.datagrams, vec![18..34]);
    let seen = decode(&built);
    assert_eq!(seen["datagrams"][0]["stream"], "Ethernet+CRC");
    assert_eq!(seen["datagrams"][0]["length"], 16);
    assert_eq!(seen["dropped"], json!([]));
}

fn json_told(seen: &Seen) -> Value {
    serde_json::to_value(seen.shown()).unwrap()
}

/// Each case has a single fault, in an NTB with two NDPs, and the bytes that it changes.
#[test]
fn each_fault_is_what_it_says() {
    let good = "[[ndp]]\ndatagram = [{ hex = \"P\" }, { hex = \"P\" }]\n[[ndp]]\nsession = 1\ndatagram = [{ hex = \"P\" }]\n";
    let good = good.replace('P', PACKET);
    let right = build(&good).unwrap();
    assert_eq!(right.bytes.len(), 108);
    assert_eq!(right.ndps, [72, 92]);
    // The fields are the fault, the offset of the bytes that differ, and these bytes.
    for (fault, at, bytes) in [
        ("[wrong]\nsignature = \"41424344\"", 0, "41424344"),
        ("[wrong]\nheader-length = 16", 4, "1000"),
        ("[wrong]\nblock-length = \"+1\"", 8, "6d00"),
        ("[wrong]\nblock-length = 0", 8, "0000"),
        ("[wrong]\nndp-index = \"ndp 1\"", 10, "5c00"),
        ("[ndp.wrong]\nsignature = \"49505909\"", 92, "49505909"),
        ("[ndp.wrong]\nlength = \"-4\"", 96, "0c00"),
        ("[ndp.wrong]\nterminator = false", 96, "0c00"),
        ("[ndp.wrong]\nterminator = [12, 20]", 104, "0c001400"),
        ("[ndp.wrong]\nnext = \"ndp 0\"", 98, "4800"),
        ("[[patch]]\nat = 100\nhex = \"ffffffff\"", 100, "ffffffff"),
    ] {
        let built = build(&format!("{good}{fault}")).unwrap();
        let mut expected = right.bytes.clone();
        let bytes = from_hex(bytes.as_bytes()).unwrap();
        expected[at..at + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(built.bytes, expected, "{fault}");
    }
    for (wrong, at, bytes) in [
        ("length = \"+0x10\"", 102, "2400"),
        ("index = \"datagram 0\"", 100, "0c00"),
        ("index = 0", 100, "0000"),
    ] {
        let spoilt = format!("{{ hex = \"{PACKET}\", wrong = {{ {wrong} }} }}]\n");
        let text = format!("{}{spoilt}", &good[..good.rfind('{').unwrap()]);
        let mut expected = right.bytes.clone();
        let bytes = from_hex(bytes.as_bytes()).unwrap();
        expected[at..at + 2].copy_from_slice(&bytes);
        assert_eq!(build(&text).unwrap().bytes, expected, "{wrong}");
    }
    // Bytes that follow the NTB, and bytes that are cut off.
    let longer = build(&format!("{good}[wrong]\nappend = \"00 01\"")).unwrap();
    assert_eq!(longer.bytes, [&right.bytes[..], &[0, 1]].concat());
    let shorter = build(&format!("{good}[wrong]\ncut = 50")).unwrap();
    assert_eq!(shorter.bytes, right.bytes[..50]);
}

#[test]
fn entries_may_overlap_and_ndps_be_empty() {
    let built = build(&format!(
        "[[ndp]]\ndatagram = [{{ hex = \"{PACKET}\" }}]\n\
         wrong = {{ entries = [[\"datagram 0\", 20], [12, 24]] }}"
    ))
    .unwrap();
    let seen = decode(&built);
    let places: Vec<_> = seen["datagrams"].as_array().unwrap().iter().collect();
    assert_eq!(places.len(), 2, "{seen}");
    assert!(places.iter().all(|datagram| datagram["offset"] == 12));
    let dropped = json!([{ "reason": "datagram_in_ndp", "count": 1 }]);
    assert_eq!(seen["dropped"], dropped, "the third reaches into the NDP");
    assert!(
        seen["strict"].as_str().unwrap().contains("used twice"),
        "{seen}"
    );

    let empty = build("sequence = 9\n[[ndp]]").unwrap();
    let expected = "4e434d48 0c00 0900 2000 1000 00000000 49505300 1000 0000 00000000 00000000";
    assert_eq!(empty.bytes, from_hex(expected.as_bytes()).unwrap());
    assert_eq!(decode(&empty)["datagrams"], json!([]));
    assert_eq!((empty.ndps, empty.datagrams), (vec![16], Vec::new()));
}

#[test]
fn paddings() {
    let with = |padding: &str, zeros: usize| {
        build(&format!(
            "{padding}\n[[ndp]]\nstream = \"dss\"\ndatagram = [{{ zeros = {zeros} }}]"
        ))
        .unwrap()
    };
    // 12 + 484 + 16 bytes fill a packet of high speed.
    for (padding, zeros, length, zero_packet) in [
        ("", 484, 513, false),
        ("padding = \"none\"", 484, 512, true),
        ("padding = \"none\"", 480, 508, false),
        ("padding = \"none\"\npacket-size = 1024", 484, 512, false),
        ("padding = 2048", 484, 2048, false),
    ] {
        let built = with(padding, zeros);
        assert_eq!(
            (built.bytes.len(), built.zero_packet),
            (length, zero_packet),
            "{padding}"
        );
        assert_eq!(decode(&built)["block_length"], length, "{padding}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let dss = |rest: &str| format!("[[ndp]]\nstream = \"dss\"\n{rest}");
    for (text, told) in [
        (String::new(), "an NTB has at least one"),
        (
            dss("datagram = [{ zeros = 65535 }, { zeros = 1 }]"),
            "no room left",
        ),
        (
            format!("padding = 64\n{}", dss("datagram = [{ zeros = 60 }]")),
            "at most 64 bytes",
        ),
        (dss("datagram = [{ hex = \"0\" }]"), "not hexadecimal"),
        (dss("datagram = [{ hex = \"\" }]"), "it is empty"),
        (dss("datagram = [{}]"), "one of hex, file, zeros and ping"),
        (
            dss("datagram = [{ zeros = 1, hex = \"00\" }]"),
            "one of hex, file, zeros and ping",
        ),
        (
            dss("datagram = [{ zeros = 1, wrong = { length = 65536 } }]"),
            "fit into 16 bits",
        ),
        (
            dss("datagram = [{ zeros = 1, wrong = { index = \"-13\" } }]"),
            "value -1",
        ),
        (dss("wrong = { next = \"ndp 1\" }"), "there are 1 NDPs"),
        (
            dss("wrong = { signature = \"4950\" }"),
            "2 bytes instead of 4",
        ),
        (
            format!("{}\n[[patch]]\nat = 30\nhex = \"000000\"", dss("")),
            "behind the NTB",
        ),
        ("[[ndp]]\n".repeat(33), "more than 32"),
        (
            dss("datagram = [{ ping = { from = \"192.0.2.1\", to = \"::1\" } }]"),
            "not of one family",
        ),
    ] {
        let failure = build(&text).unwrap_err();
        assert!(failure.to_string().contains(told), "{text}: {failure}");
    }
}

/// Generates a description as text, and the output of `ntb decode` for its NTB.
fn descriptions() -> impl Strategy<Value = (String, Value)> {
    let datagram = (20..400_usize, any::<u8>());
    let ndp = (0..4_u8, any::<u8>(), prop::collection::vec(datagram, 0..6));
    (
        any::<bool>(),
        any::<bool>(),
        any::<u16>(),
        (1..200_u16, any::<u16>(), 1..200_u16),
        prop_oneof![Just("\"short\""), Just("\"none\""), Just("40000")],
        0..3_u16,
        prop::collection::vec(ndp, 1..5),
    )
        .prop_map(|(wide, front, sequence, (divisor, remainder, alignment), padding, spare, ndps)| {
            let (ntb, placement) = (if wide { 32 } else { 16 }, if front { "front" } else { "end" });
            let mut text = format!(
                "ntb = {ntb}\nplacement = \"{placement}\"\nsequence = {sequence}\n\
                 divisor = {divisor}\nremainder = {remainder}\nndp-alignment = {alignment}\n\
                 padding = {padding}\nspare-entries = {spare}\n"
            );
            let mut datagrams = Vec::new();
            for (kind, session, content) in ndps {
                let (stream, name) = match kind {
                    0 => ("ips", format!("IP {session}")),
                    1 => ("dss", format!("DSS {session}")),
                    2 => ("ethernet", "Ethernet".to_owned()),
                    _ => ("ethernet-crc", "Ethernet+CRC".to_owned()),
                };
                text += &format!("[[ndp]]\nstream = \"{stream}\"\nsession = {session}\n");
                for (length, byte) in content {
                    let rest = format!("{byte:02x}").repeat(length - 1);
                    text += &format!("[[ndp.datagram]]\nhex = \"45{rest}\"\n");
                    datagrams.push(json!({ "stream": name, "length": length }));
                }
            }
            let told = json!({
                "format": ntb, "sequence": sequence, "datagrams": datagrams, "dropped": [], "notes": [],
            });
            (text, told)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn ntb_decode_says_what_the_description_does((text, told) in descriptions()) {
        let built = build(&text).map_err(|failure| TestCaseError::fail(failure.to_string()))?;
        let mut seen = json_told(&Seen::of(&built.bytes, Some(Direction::In)).unwrap());
        prop_assert_eq!(&seen["block_length"], &json!(built.bytes.len()));
        prop_assert_eq!(&seen["table_offset"], &json!(built.ndps[0]));
        let mut places = Vec::new();
        for datagram in seen["datagrams"].as_array_mut().unwrap() {
            let datagram = datagram.as_object_mut().unwrap();
            datagram.remove("about");
            places.push(datagram.remove("offset").unwrap());
        }
        let starts: Vec<Value> = built.datagrams.iter().map(|range| json!(range.start)).collect();
        prop_assert_eq!(places, starts);
        for name in ["format", "sequence", "datagrams", "dropped", "notes"] {
            prop_assert_eq!(&seen[name], &told[name], "{}", name);
        }
    }
}
