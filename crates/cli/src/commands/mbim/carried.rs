//! The content that a tunnel or an APDU carries, and whether that is a PIN, a PUK or a password.
//!
//! The numbers are those of ETSI TS 102 221 (10.1.2, instructions of APDUs) and of libqmi
//! (`data/qmi-service-dms.json`, `qmi-service-uim.json`, `qmi-service-wds.json`); those of the codes of
//! CDMA that libqmi does not implement are in its `qmi-enums-dms.h`.

use uwwan_mbim::qmi;

use crate::commands::at::transcript;

/// QMI service of data sessions.
const WDS: u8 = 0x01;
/// QMI service of the SIM card.
const UIM: u8 = 0x0b;

/// Instructions of APDUs whose data is a PIN: VERIFY, CHANGE, DISABLE, ENABLE and UNBLOCK PIN.
const PIN_INSTRUCTIONS: [u8; 5] = [0x20, 0x24, 0x26, 0x28, 0x2c];

/// Returns whether a field's content is a command with a PIN, a PUK or a password in it.
pub fn credential(field: &str, content: &[u8]) -> bool {
    match field {
        "command" => in_apdu(content),
        "command_req" => transcript::is_secret(&String::from_utf8_lossy(content)),
        "qmi_msg" => in_qmi(content),
        _ => false,
    }
}

/// Returns whether an APDU holds a PIN. It consists of class, instruction, two parameters, length and
/// data. Without data it asks the card for the number of attempts remaining.
fn in_apdu(apdu: &[u8]) -> bool {
    let asks = apdu
        .get(1)
        .is_some_and(|ins| PIN_INSTRUCTIONS.contains(ins));
    asks && apdu.len() > 5
}

fn in_qmi(bytes: &[u8]) -> bool {
    let Some(message) = qmi::Message::decode(bytes) else {
        return false;
    };
    match (message.service, message.id) {
        // UIM Set PIN Protection, Verify, Unblock and Change PIN; Activate Manual; Set User Lock State and
        // Code; Restore Factory Defaults; Validate Service Programming Code; UIM Set CK Protection and
        // Unblock CK; Set Service Programming Code.
        (qmi::DMS, 0x27..=0x2a | 0x33 | 0x35 | 0x36 | 0x3a | 0x3b | 0x41 | 0x42 | 0x52) => true,
        // Set PIN Protection, Verify, Unblock and Change PIN, Depersonalization.
        (UIM, 0x25..=0x29) => true,
        // Send APDU holds the length in two bytes, and the APDU.
        (UIM, 0x3b) => {
            let apdu = message.field(0x02).and_then(|value| value.get(2..));
            in_apdu(apdu.unwrap_or_default())
        }
        // Start Network holds a password.
        (WDS, 0x20) => message.field(0x18).is_some(),
        // Create Profile and Modify Profile hold a password, and the authentication password of a
        // 3GPP2 profile.
        (WDS, 0x27 | 0x28) => message
            .field(0x1c)
            .or_else(|| message.field(0x9c))
            .is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(service: u8, id: u16, field: u8, value: &[u8]) -> Vec<u8> {
        let fields = vec![(field, value.to_vec())];
        qmi::Message {
            service,
            client: 1,
            transaction: 1,
            id,
            fields,
            ..qmi::Message::default()
        }
        .encode()
    }

    #[test]
    fn secrets_are_found_in_what_is_carried() {
        let verify = b"\x00\x20\x00\x01\x081234\xff\xff\xff\xff";
        let apdu = [&[verify.len() as u8, 0], &verify[..]].concat();
        for (field, content) in [
            ("command", &verify[..]),
            ("command_req", b"AT+CPIN=\"1234\"\r"),
            ("command_req", b"at+clck=\"SC\",0,\"1234\""),
            ("qmi_msg", &message(2, 0x28, 1, b"\x01\x041234")),
            ("qmi_msg", &message(0x0b, 0x26, 2, b"\x01\x041234")),
            ("qmi_msg", &message(0x0b, 0x3b, 2, &apdu)),
            ("qmi_msg", &message(0x0b, 0x29, 1, b"\x00\x00\x041234")),
            ("qmi_msg", &message(2, 0x52, 1, b"123456")),
            ("qmi_msg", &message(1, 0x20, 0x18, b"swordfish")),
            ("qmi_msg", &message(1, 0x27, 0x1c, b"swordfish")),
            ("qmi_msg", &message(1, 0x28, 0x9c, b"swordfish")),
        ] {
            assert!(credential(field, content), "{field} {content:x?}");
        }
    }

    #[test]
    fn what_is_carried_without_a_secret_may_be_seen() {
        let select = b"\x00\xa4\x04\x00\x02\x3f\x00";
        let apdu = [&[select.len() as u8, 0], &select[..]].concat();
        for (field, content) in [
            ("command", &select[..]),
            // The command asks for the number of attempts remaining.
            ("command", b"\x00\x20\x00\x01\x00"),
            ("command", b""),
            ("command_req", b"AT+CPIN?\r"),
            ("command_req", b"\xff\xfe"),
            // The messages are Get IDs, Start Network without a password, and one that is cut off.
            ("qmi_msg", &message(2, 0x25, 1, b"")),
            ("qmi_msg", &message(0x0b, 0x3b, 2, &apdu)),
            ("qmi_msg", &message(1, 0x20, 0x14, b"internet")),
            ("qmi_msg", &message(1, 0x20, 0x14, b"internet")[..14]),
            ("qmi_msg", b""),
            ("apn", verify()),
        ] {
            assert!(!credential(field, content), "{field} {content:x?}");
        }
    }

    fn verify() -> &'static [u8] {
        b"\x00\x20\x00\x01\x041234"
    }
}
