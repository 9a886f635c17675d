//! Short message PDUs, held against those of the unit tests of ModemManager and oFono (data only),
//! the widely published examples of "hellohello", and hostile input.

use std::time::Duration;

use uwwan_mbim::gsm::joined::join;
use uwwan_mbim::gsm::submit::measure;
use uwwan_mbim::gsm::{Address, Body, Message, MessageKind, Submit};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn read(hex: &str) -> Message {
    Message::decode(&bytes(hex)).unwrap()
}

fn text(message: &Message) -> &str {
    match &message.body {
        Body::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn time(message: &Message) -> String {
    message.time.unwrap().to_string()
}

#[test]
fn gsm7_with_extensions() {
    let message = read(
        "07912104442961f4040b916171957291f80000112082110505 0a \
         6ac8b2bc7c9a83c220f6db7d2ecb41edf27c1e3e97411bde06754fd3d1a0f9bb5d0695f1f4b29b5c2683c6e8b03c3ca6\
         97e5f34d6ae303d1d1f2f7dd0d4abb59a0797d8c0685e7a00028ec26832a960b28ec2683be6050780eba97d96c17",
    );
    assert_eq!(message.kind, MessageKind::Deliver);
    assert_eq!(message.centre.as_ref().unwrap().text(), "+12404492164");
    assert_eq!(message.peer.text(), "+16175927198");
    assert_eq!(time(&message), "2011-02-28T11:50:50-05:00");
    assert_eq!(
        text(&message),
        "Here's a longer message [{with some extended characters}] thrown in, such as £ and ΩΠΨ and §¿ as well."
    );
}

#[test]
fn ucs2_from_an_alphanumeric_sender() {
    let message =
        read("07919730071111f10414d04937bd2c7797e9d3e614000811309291024061080442043504410442");
    assert_eq!(message.peer.text(), "InternetSMS");
    assert_eq!(time(&message), "2011-03-29T19:20:04+04:00");
    assert_eq!(text(&message), "тест");
}

#[test]
fn number_types_and_protocol_identifiers() {
    let message = read("07912143658709f1040b918100551512f20000111010214365000ae8329bfd4697d9ec37");
    assert_eq!(message.peer.text(), "+18005551212");
    assert_eq!(time(&message), "2011-01-01T12:34:56+00:00");
    assert_eq!(text(&message), "hellohello");
    let message = read("07912143658709f1000b818100551512f2ff00111010214365000ae8329bfd4697d9ec37");
    assert_eq!(message.peer.text(), "18005551212");
    assert_eq!(text(&message), "hellohello");
    // The message is the one of many tutorials, from a sender whose type is unassigned.
    let message = read("07917283010010f5040bc87238880900f10000993092516195800ae8329bfd4697d9ec37");
    assert_eq!(message.centre.as_ref().unwrap().text(), "+27381000015");
    assert_eq!(message.peer.text(), "27838890001");
    assert_eq!(text(&message), "hellohello");
}

#[test]
fn eight_bit_data_stays_bytes() {
    for scheme in ["04", "f4"] {
        let message = read(&format!(
            "07912143658709f1040b918100551512f200{scheme}111010214365000ae8329bfd4697d9ec37de"
        ));
        assert_eq!(message.body, Body::Data(bytes("e8329bfd4697d9ec37de")));
    }
}

#[test]
fn scheme_group_f_and_a_short_code() {
    let message = read(
        "07913306091093f004048581 0000f111604231805180a0 \
         49b7f90d9a1aa5a01668f8769bd3e4b29b9e2eb359a03fc85d06a9c3ed707a0ea2cbc3ee79bb4ca7cbcba05643617da7c7\
         6990fd4d979741ee77dd5e0ed741ed371d442e83e0e1f9bc0cd281e677d9b84c06c1df7539e85c9097e520fb9b2e2f83c6\
         ef369c5e064d8d52d0bc2e07ddef77d7dc2c7799e5a0771d040fcb41f402bb0047bfdd6550b80ecad966",
    );
    assert_eq!(message.peer.text(), "1800");
    assert_eq!(message.class, Some(1));
    assert_eq!(time(&message), "2011-06-24T13:08:15+02:00");
    assert_eq!(
        text(&message),
        "Info SFR - Confidentiel, à ne jamais transmettre -\r\nVoici votre nouveau mot de passe : sw2ced pour \
         gérer votre compte SFR sur www.sfr.fr ou par téléphone au 963"
    );
}

#[test]
fn parts_of_a_long_message() {
    let first = read(
        "07912160130320F5440B916171056429F5000021405291650569A00500034C0201A9E8F41C949E83C2207B599E07B1DFEE\
         33885E9ED341E4F23C7D7697C920FA1B54C697E5E3F4BC0C6AD7D9F434081E96D341E3303C2C4EB3D3F4BC0B94A483E6E8\
         779D4D06CDD1EF3BA80E0785E7A0B7BB0C6A97E7F3F0B9CC02B9DF7450780EA2DFDF2C50780EA2A3CBA0BA9B5C96B3F369\
         F71954768FDFE4B4FB0C9297E1F2F2BCECA6CF41",
    );
    let second = read(
        "07912160130320F6440B916171056429F5000021405291651569320500034C0202E9E8301D44479741F0B09C3E0785E565\
         90BCCC0ED3CB6410FD0D7ABBCBA0B0FB4D4797E52E10",
    );
    let joined = join([(2, second.clone()), (1, first)]);
    assert_eq!(joined.len(), 1);
    assert_eq!((&joined[0].keys[..], joined[0].total), (&[1, 2][..], 2));
    assert_eq!(
        joined[0].text.as_deref(),
        Some(
            "This is a very long test designed to exercise multi part capability. It should show up as one message, \
             not as two, as the underlying encoding represents that the parts are related to one another. "
        )
    );
    let alone = join([(2, second)]);
    assert_eq!(
        alone[0].text.as_deref(),
        Some("[…]that the parts are related to one another. ")
    );
    let message = read(
        "07911356131313F64004850120390011609232239180A006080400100201D7327BFD6EB340E2321BF46E83EA7790F59D1E\
         97DBE1341B442F83C465763D3DA797E56537C81D0ECB41AB59CC1693C16031D96C064241E5656838AF03A96230982A269B\
         CD462917C8FA4E8FCBED709A0D7ABBE9F6B0FB5C7683D27350984D4FABC9A0B33C4C4FCF5D20EBFB2D079DCB62793DBD06\
         D9C36E50FB2D4E97D9A0B49B5E96BBCB",
    );
    let part = message.part.unwrap();
    assert_eq!((part.reference, part.total, part.number), (0x10, 2, 1));
    assert!(text(&message).starts_with("Welkom, bel om uw Voicemail"));
    assert!(text(&message).ends_with("gebruik van mobiel interne"));
}

#[test]
fn stored_and_reported_messages() {
    let stored = read(
        "002100098136397339F70008224F60597D4F60597D4F60597D4F60597D4F60597D4F60597D4F60597D4F60597D4F60",
    );
    assert_eq!(stored.kind, MessageKind::Submit);
    assert_eq!(
        (stored.centre.clone(), stored.peer.text()),
        (None, "639337937")
    );
    assert_eq!(text(&stored), "你好你好你好你好你好你好你好你好你");
    let report = read("07914356060013F1065A098136397339F7219011700463802190117004638030");
    assert_eq!(report.kind, MessageKind::StatusReport);
    assert_eq!(
        (report.peer.text(), report.reference),
        ("639337937", Some(0x5a))
    );
    assert_eq!(time(&report), "2012-09-11T07:40:36+02:00");
    assert_eq!(report.status, Some(0x30));
    // The message is oFono's example of an MBIM message store.
    let message = read("07916163838429f3040b915121553071f900007111709162654a04d4f29c0e");
    assert_eq!(text(&message), "Test");
}

#[test]
fn written_as_modemmanager_writes_them() {
    let five_minutes = Some(Duration::from_secs(5));
    let centre: Address = "+19037029920".parse().unwrap();
    let write = |to: &str, text: &str, centre: Option<&Address>, validity| {
        let to: Address = to.parse().unwrap();
        let message = Submit {
            to: &to,
            centre,
            text,
            reference: 0,
            report: false,
            validity,
        };
        message.encode().unwrap()
    };
    assert_eq!(
        write(
            "+15555551234",
            "Да здравствует король, детка!",
            Some(&centre),
            five_minutes
        ),
        [bytes(
            "0791913007 9229F011000B915155551532F40008003A04140430002004370434044004300432044104420432044304350442\
             0020043A043E0440043E043B044C002C002004340435 0442043A04300021"
        )]
    );
    assert_eq!(
        write(
            "+15555551234",
            "Hi there...Tue 17th Jan 2012 05:30.18 pm (GMT+1) ΔΔΔΔΔ",
            None,
            five_minutes
        ),
        [bytes(
            "0011000B915155551532F400000036C834888E2ECBCB2E978B5A2F8362373A1AA40CBB4132584C0682D57433982B8603C1DB20\
             D4B1495DC5522008 04028100"
        )]
    );
    assert_eq!(
        write("+15556661234", "This is really cool ΔΔΔΔΔ", None, None),
        [bytes(
            "0001000B915155661632F400001954747A0E4ACF41F27298CDCE83C6EF371B0481402010"
        )]
    );
    assert_eq!(
        write(
            "+46708251358",
            "hellohello",
            None,
            Some(Duration::from_secs(4 * 86_400))
        ),
        [bytes("0011000B916407281553F80000AA0AE8329BFD4697D9EC37")]
    );
}

#[test]
fn texts_are_cut_where_others_cut_them() {
    let digits = "0123456789".repeat(16);
    assert_eq!(measure(&digits), (1, false));
    assert_eq!(measure(&format!("{digits}0")), (2, false));
    let chinese = "你好".repeat(35);
    assert_eq!(measure(&chinese), (1, true));
    assert_eq!(measure(&format!("{chinese}好")), (2, true));
    assert_eq!(measure(""), (1, false));
}

#[test]
fn long_texts_come_back_whole() {
    let to: Address = "+4790002100".parse().unwrap();
    for text in [
        "x".repeat(1000),
        "[€]".repeat(200),
        "жж😀".repeat(300),
        format!("{}{}", "a".repeat(152), "€".repeat(20)),
    ] {
        let message = Submit {
            to: &to,
            centre: None,
            text: &text,
            reference: 7,
            report: true,
            validity: None,
        };
        let pdus = message.encode().unwrap();
        assert_eq!(pdus.len(), measure(&text).0);
        let parts = pdus.iter().enumerate().map(|(index, pdu)| {
            // The PDU has at most 140 octets of user data and the fields in front of them.
            assert!(pdu.len() <= 1 + 2 + 7 + 3 + 140, "{}", pdu.len());
            (index, Message::decode(pdu).unwrap())
        });
        let joined = join(parts);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].text.as_deref(), Some(&text[..]));
    }
    let endless = "x".repeat(255 * 153 + 1);
    let message = Submit {
        to: &to,
        centre: None,
        text: &endless,
        reference: 0,
        report: false,
        validity: None,
    };
    assert!(
        message
            .encode()
            .unwrap_err()
            .to_string()
            .contains("256 parts")
    );
}

#[test]
fn cut_and_scrambled_messages_are_no_harm() {
    let good = bytes(
        "07912160130320F6440B916171056429F5000021405291651569320500034C0202E9E8301D44479741F0B09C3E07",
    );
    for end in 0..good.len() {
        assert!(Message::decode(&good[..end]).is_err(), "{end}");
    }
    // Each octet takes every value: the message is read or refused, and nothing worse.
    let whole = bytes(
        "07912160130320F6440B916171056429F5000021405291651569320500034C0202E9E8301D44479741F0B09C3E0785E56590BCCC0E\
         D3CB6410FD0D7ABBCBA0B0FB4D4797E52E10",
    );
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut scrambled = whole.clone();
            scrambled[at] = value;
            let _ = Message::decode(&scrambled);
        }
    }
    // The headers are one that is longer than the text, an empty one, and one with an impossible
    // place of the part.
    let start = "004001812100";
    let too_long = bytes(&format!("{start}0011101021436500040aff0000"));
    assert!(Message::decode(&too_long).is_err());
    assert_eq!(text(&read(&format!("{start}08111010214365000100"))), "");
    let odd = read(&format!("{start}00111010214365000805000301000082"));
    assert_eq!((odd.part, text(&odd)), (None, "A"));
}
