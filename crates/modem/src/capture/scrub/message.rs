//! Control messages of MBIM: identities in known fields are replaced, and messages whose layout is not
//! known are blanked.

use std::borrow::Cow;

use uwwan_mbim::decode::{PersonalContent, identifying_content};
use uwwan_mbim::fields::{Encoding, PersonalPart};
use uwwan_mbim::message::{
    COMMAND_HEADER, FRAGMENT_HEADER, HEADER, INDICATION_HEADER, MessageType,
};
use uwwan_mbim::registry::{self, Version};
use uwwan_mbim::services::ms_basic_connect_extensions as extensions;
use uwwan_mbim::uuid::Uuid;

use super::identities::{Identities, Kind};
use super::report::Report;
use super::{pdu, serial};

/// Replaces the identities in a whole control message. `version` is the one in force, if that is
/// known.
pub fn scrub(
    message: &mut [u8],
    version: Option<Version>,
    identities: &mut Identities,
    report: &mut Report,
) {
    let Some(kind) = word(message, 0).map(MessageType) else {
        blank(message, 0, "control transfers that carry no MBIM", report);
        return;
    };
    if message.len() < HEADER || !kind.is_known() {
        // Devices that speak QMI by the same requests, and reports of keyboards, come here too.
        blank(message, 0, "control transfers that carry no MBIM", report);
        return;
    }
    let stated = word(message, 4).map_or(0, |length| length as usize);
    if let Some(beyond) = message.get_mut(stated.max(HEADER)..) {
        beyond.fill(0);
    }
    if !kind.is_fragmented() {
        // A number follows: a size, a status or an error.
        message.get_mut(HEADER + 4..).unwrap_or_default().fill(0);
        return;
    }
    let start = match kind {
        MessageType::INDICATE_STATUS => INDICATION_HEADER,
        _ => COMMAND_HEADER,
    };
    if message.len() <= start {
        return;
    }
    let versions = match &version {
        Some(version) => std::slice::from_ref(version),
        None => &[Version::V1, Version::V2, Version::V3][..],
    };
    let read: Vec<PersonalContent> = versions
        .iter()
        .filter_map(|version| identifying_content(message, *version))
        .collect();
    if read.is_empty() {
        let what = match Named::of(message) {
            Some(named) => format!("MBIM messages of {named}"),
            None => "MBIM messages of no service".to_owned(),
        };
        blank(message, start, &what, report);
        return;
    }
    let complete: Vec<&PersonalContent> = read.iter().filter(|content| content.complete).collect();
    if complete.is_empty() {
        for piece in read.iter().flat_map(|content| &content.parts) {
            message[piece.range.clone()].fill(0);
        }
        let from = read.iter().map(|content| content.variable).min();
        let what = "MBIM messages that cannot be read whole";
        blank(message, from.unwrap_or(start).max(start), what, report);
        return;
    }
    // Bytes outside all fields are padding, or were left in a buffer.
    let mut accounted = vec![false; message.len()];
    accounted[..start].fill(true);
    for range in complete.iter().flat_map(|content| &content.covered) {
        accounted[range.clone()].fill(true);
    }
    for (byte, accounted) in message.iter_mut().zip(accounted) {
        if !accounted {
            *byte = 0;
        }
    }
    // Where versions of a layout differ, fields that are personal in any of them are replaced.
    let mut done = vec![false; message.len()];
    for piece in complete.iter().flat_map(|content| &content.parts) {
        let range = piece.range.clone();
        if done[range.clone()].contains(&true) {
            continue;
        }
        done[range.clone()].fill(true);
        part(piece, &mut message[range], identities, report);
    }
}

/// Zeroes the payload of the fragments of an incomplete message.
pub fn fragment(message: &mut [u8], report: &mut Report) {
    let from = match (word(message, 0).map(MessageType), word(message, 16)) {
        (Some(MessageType::INDICATE_STATUS), Some(0)) => INDICATION_HEADER,
        (Some(_), Some(0)) => COMMAND_HEADER,
        _ => FRAGMENT_HEADER,
    };
    let what = "MBIM fragments whose others are missing";
    blank(message, from, what, report);
}

/// Returns the version that an answer to MBIM_CID_VERSION brings into force, if the message is one.
pub fn version(message: &[u8]) -> Option<Version> {
    let service = Uuid(message.get(20..36)?.try_into().ok()?);
    let is_answer = word(message, 0)? == MessageType::COMMAND_DONE.0
        && service == extensions::UUID
        && word(message, 36)? == extensions::VERSION.cid
        && word(message, 40)? == 0;
    let info = message.get(COMMAND_HEADER..).filter(|_| is_answer)?;
    let told = extensions::VersionInfo::decode(info).ok()?;
    Some(match told.mbim_extended_version {
        0x0300.. => Version::V3,
        0x0200.. => Version::V2,
        _ => Version::V1,
    })
}

fn part(part: &PersonalPart, bytes: &mut [u8], identities: &mut Identities, report: &mut Report) {
    let kind = match part.field {
        "device_id" => Kind::Device,
        "subscriber_id" => Kind::Subscriber,
        "sim_icc_id" => Kind::Card,
        "telephone_numbers" | "number" | "address" | "sc_address" => Kind::Telephone,
        "user_name" | "name" => Kind::Name,
        "pin" | "new_pin" | "password" | "local_pin" => Kind::Secret,
        "location_area_code" | "tracking_area_code" | "lac" | "tac" | "cell_id"
        | "physical_cell_id" | "cell_parameter_id" | "base_station_id" | "base_latitude"
        | "base_longitude" | "timing_advance" => Kind::Place,
        _ => Kind::Message,
    };
    match part.encoding {
        Encoding::Ipv4 | Encoding::Ipv6 => {
            let host = match bytes.len() {
                4 => bytes
                    .first_chunk_mut()
                    .map(|address| identities.ipv4(address)),
                _ => bytes
                    .first_chunk_mut()
                    .map(|address| identities.ipv6(address)),
            };
            if host == Some(true) {
                report.replaced(Kind::Address);
            }
            return;
        }
        Encoding::Utf16 => {
            let mut units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
                .collect();
            match kind {
                Kind::Secret => units.fill(b'*'.into()),
                Kind::Place | Kind::Message => units.fill(b'0'.into()),
                kind => {
                    identities.text(kind, &mut units);
                }
            }
            for (pair, unit) in bytes.chunks_exact_mut(2).zip(units) {
                pair.copy_from_slice(&unit.to_le_bytes());
            }
        }
        Encoding::Utf8 => match kind {
            Kind::Secret => bytes.fill(b'*'),
            Kind::Place | Kind::Message => bytes.fill(b'0'),
            kind => {
                identities.ascii(kind, bytes);
            }
        },
        Encoding::Bytes => match part.field {
            "pdu_data" => match pdu::scrub(bytes, identities) {
                Some(numbers) => report.replaced_often(Kind::Telephone, numbers),
                None => report.blanked("short messages that cannot be read", 1),
            },
            "command_req" | "command_resp" => {
                serial::alone(bytes, identities, report);
                return;
            }
            _ => bytes.fill(0),
        },
        Encoding::Number => bytes.fill(0),
    }
    report.replaced(kind);
}

fn blank(bytes: &mut [u8], from: usize, what: &str, report: &mut Report) {
    let rest = bytes.get_mut(from..).unwrap_or_default();
    if !rest.is_empty() {
        rest.fill(0);
        report.blanked(what, 1);
    }
}

/// Service and command of a message, written for people.
struct Named {
    service: Cow<'static, str>,
    cid: u32,
}

impl Named {
    fn of(message: &[u8]) -> Option<Self> {
        let service = Uuid(message.get(20..36)?.try_into().ok()?);
        Some(Self {
            service: match registry::service(service) {
                Some(known) => known.name.into(),
                None => service.to_string().into(),
            },
            cid: word(message, 36)?,
        })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "service {}, command {}", self.service, self.cid)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use uwwan_mbim::message::{Body, CommandKind, Message};
    use uwwan_mbim::services::basic_connect as bc;
    use uwwan_mbim::status::Status;

    use super::*;

    fn scrubbed(body: Body) -> (Message, Report) {
        let message = Message {
            transaction: 5,
            body,
        };
        let mut bytes = message.encode_whole();
        let before = bytes.len();
        let mut report = Report::default();
        scrub(&mut bytes, None, &mut Identities::default(), &mut report);
        assert_eq!(bytes.len(), before);
        (Message::decode(&bytes).unwrap(), report)
    }

    fn done(cid: u32, info: Vec<u8>) -> Body {
        Body::CommandDone {
            service: bc::UUID,
            cid,
            status: Status::NONE,
            info,
        }
    }

    fn info(message: Message) -> Vec<u8> {
        match message.body {
            Body::CommandDone { info, .. } | Body::Command { info, .. } => info,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn identities_go_and_the_rest_stays() {
        let caps = bc::DeviceCaps {
            device_id: "353613048804622".to_owned(),
            firmware_info: "11.617.13.00.00".to_owned(),
            max_sessions: 8,
            ..bc::DeviceCaps::default()
        };
        let (new, report) = scrubbed(done(bc::DEVICE_CAPS.cid, caps.encode()));
        let new = bc::DeviceCaps::decode(&info(new)).unwrap();
        assert_eq!(new.device_id, "001017000000011");
        assert_eq!(
            bc::DeviceCaps {
                device_id: caps.device_id.clone(),
                ..new
            },
            caps
        );
        assert_eq!(report.replaced[&Kind::Device].places, 1);

        let configuration = bc::IpConfiguration {
            ipv4_address: vec![bc::Ipv4Element {
                on_link_prefix_length: 30,
                ipv4_address: [10, 1, 2, 3].into(),
            }],
            ipv4_gateway: Some([10, 1, 2, 4].into()),
            ipv4_dns_server: vec![[8, 8, 8, 8].into()],
            ipv6_dns_server: vec!["2a02::1".parse().unwrap()],
            ..bc::IpConfiguration::default()
        };
        let (new, report) = scrubbed(done(bc::IP_CONFIGURATION.cid, configuration.encode()));
        let new = bc::IpConfiguration::decode(&info(new)).unwrap();
        assert_eq!(new.ipv4_address[0].ipv4_address.octets(), [192, 0, 2, 1]);
        assert_eq!(new.ipv4_address[0].on_link_prefix_length, 30);
        assert_eq!(new.ipv4_gateway.unwrap().octets(), [192, 0, 2, 2]);
        assert_eq!(new.ipv4_dns_server[0].octets(), [198, 51, 100, 1]);
        assert_eq!(new.ipv6_dns_server[0].to_string(), "2001:db8::1");
        assert_eq!(report.replaced[&Kind::Address].places, 4);
    }

    #[test]
    fn credentials_go_and_the_access_string_stays() {
        let connect = bc::ConnectSet {
            access_string: "internet".to_owned(),
            user_name: "someone".to_owned(),
            password: "open sesame".to_owned(),
            ..bc::ConnectSet::default()
        };
        let (new, _) = scrubbed(Body::Command {
            service: bc::UUID,
            cid: bc::CONNECT.cid,
            kind: CommandKind::SET,
            info: connect.encode(),
        });
        let new = bc::ConnectSet::decode(&info(new)).unwrap();
        assert_eq!(new.access_string, "internet");
        assert_eq!(new.user_name, "aaaaaab");
        assert_eq!(new.password, "***********");
    }

    #[test]
    fn what_is_not_understood_is_blanked_and_told() {
        let secret = b"who knows what".to_vec();
        for (service, cid) in [(Uuid([0x77; 16]), 1), (bc::UUID, 999)] {
            let (new, report) = scrubbed(Body::Command {
                service,
                cid,
                kind: CommandKind::SET,
                info: secret.clone(),
            });
            assert_eq!(info(new), vec![0; secret.len()]);
            assert_eq!(report.blanked.len(), 1, "{report:?}");
        }
        let mut bytes = b"\x01\x0b\x00\x80 QMI, not MBIM".to_vec();
        scrub(
            &mut bytes,
            None,
            &mut Identities::default(),
            &mut Report::default(),
        );
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn padding_tells_nothing() {
        let connect = bc::ConnectSet {
            access_string: "abc".to_owned(),
            ..bc::ConnectSet::default()
        };
        let mut info = connect.encode();
        // The text is six bytes long, and two bytes of padding follow.
        let at = info.len() - 2;
        assert_eq!(info[at..], [0, 0]);
        info[at..].copy_from_slice(&[0x5a, 0x5a]);
        let (new, _) = scrubbed(Body::Command {
            service: bc::UUID,
            cid: bc::CONNECT.cid,
            kind: CommandKind::SET,
            info,
        });
        assert_eq!(self::info(new)[at..], [0, 0]);
    }

    #[test]
    fn a_message_that_is_cut_short_hides_nothing() {
        let ready = bc::SubscriberReadyStatus {
            subscriber_id: "242017777777777".to_owned(),
            ..bc::SubscriberReadyStatus::default()
        };
        let whole = Message {
            transaction: 1,
            body: done(bc::SUBSCRIBER_READY_STATUS.cid, ready.encode()),
        }
        .encode_whole();
        let wanted: Vec<u8> = "777".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(whole.windows(6).any(|window| window == wanted));
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            scrub(
                &mut cut,
                None,
                &mut Identities::default(),
                &mut Report::default(),
            );
            assert!(!cut.windows(6).any(|window| window == wanted), "{length}");
        }
    }
}
