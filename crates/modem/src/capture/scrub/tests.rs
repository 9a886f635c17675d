use std::io::Cursor;

use uwwan_capture::LinkType;
use uwwan_capture::read::{Packet, Reader};
use uwwan_capture::transfer::{Kind as TransferKind, Phase, Transfer};
use uwwan_capture::usbmon;
use uwwan_capture::write::Writer;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::services::basic_connect as bc;
use uwwan_mbim::status::Status;

use super::*;

const IMEI: &str = "353613048804622";

/// A capture that a test builds.
struct Made {
    writer: Writer<Vec<u8>>,
    usb: Interface,
    id: u64,
}

impl Made {
    fn new() -> Self {
        let mut writer = Writer::new(Vec::new(), "a test").unwrap();
        let usb = writer
            .interface(LinkType::USBMON_MMAPPED, "usb", 0)
            .unwrap();
        Self { writer, usb, id: 0 }
    }

    fn event(&mut self, transfer: &Transfer<'_>) {
        let header = usbmon::header(transfer, 1, transfer.data.len());
        let length = (header.len() + transfer.data.len()) as u32;
        self.writer
            .packet(self.usb, 1, &[&header, transfer.data], length, None)
            .unwrap();
    }

    fn transfer(&mut self, endpoint: u8, setup: Option<[u8; 8]>, data: &[u8]) {
        self.id += 1;
        let is_in = endpoint & 0x80 != 0;
        let begun = Transfer {
            id: self.id,
            phase: Phase::Submit,
            kind: match setup {
                Some(_) => TransferKind::Control,
                None => TransferKind::Bulk,
            },
            endpoint,
            bus: 1,
            device: 7,
            setup,
            status: Transfer::IN_PROGRESS,
            length: data.len() as u32,
            data: if is_in { &[] } else { data },
        };
        self.event(&begun);
        self.event(&Transfer {
            phase: Phase::Complete,
            setup: None,
            status: 0,
            data: if is_in { data } else { &[] },
            ..begun
        });
    }

    fn fetched(&mut self, message: &[u8]) {
        self.transfer(0x80, Some([0xa1, 1, 0, 0, 0, 0, 0, 16]), message);
    }

    fn file(self) -> Vec<u8> {
        self.writer.into_inner()
    }
}

fn scrubbed(file: &[u8], options: Options) -> (Vec<u8>, Report) {
    let mut out = Vec::new();
    let report = scrub(|| Ok(Cursor::new(file)), &mut out, options).unwrap();
    (out, report)
}

fn packets(file: &[u8]) -> Vec<Packet> {
    let mut reader = Reader::new(file).unwrap();
    std::iter::from_fn(|| reader.next_packet().unwrap()).collect()
}

fn caps() -> Message {
    let caps = bc::DeviceCaps {
        device_id: IMEI.to_owned(),
        firmware_info: format!("of {IMEI}"),
        ..bc::DeviceCaps::default()
    };
    Message {
        transaction: 3,
        body: Body::CommandDone {
            service: bc::UUID,
            cid: bc::DEVICE_CAPS.cid,
            status: Status::NONE,
            info: caps.encode(),
        },
    }
}

fn caps_in(messages: &[Vec<u8>]) -> bc::DeviceCaps {
    let mut reassembler = uwwan_mbim::fragment::Reassembler::default();
    for message in messages {
        let pushed = reassembler.push(std::time::Instant::now(), message);
        if let Some(Message {
            body: Body::CommandDone { info, .. },
            ..
        }) = pushed.unwrap()
        {
            return bc::DeviceCaps::decode(&info).unwrap();
        }
    }
    panic!("no whole message")
}

#[test]
fn an_identity_is_the_same_in_whole_and_in_fragments_and_in_at() {
    let mut made = Made::new();
    made.transfer(0x01, None, b"AT+CG");
    made.transfer(0x01, None, b"SN\r");
    made.transfer(0x82, None, b"\r\n3536130");
    made.transfer(0x82, None, b"48804622\r\n\r\nOK\r\n");
    made.fetched(&caps().encode_whole());
    for fragment in caps().encode(64) {
        made.fetched(&fragment);
    }
    let file = made.file();
    let (new, report) = scrubbed(&file, Options::default());
    let (before, after) = (packets(&file), packets(&new));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let (before, after) = (before.transfer().unwrap(), after.transfer().unwrap());
        assert_eq!(
            Transfer {
                data: &[],
                ..before
            },
            Transfer { data: &[], ..after }
        );
        assert_eq!(before.data.len(), after.data.len());
    }
    let data = |endpoint: u8| -> Vec<Vec<u8>> {
        let transfers = after.iter().map(|packet| packet.transfer().unwrap());
        transfers
            .filter(|transfer| transfer.endpoint == endpoint && !transfer.data.is_empty())
            .map(|transfer| transfer.data.to_vec())
            .collect()
    };
    assert_eq!(data(0x01).concat(), b"AT+CGSN\r");
    let clean = "001017000000011";
    assert_eq!(
        String::from_utf8(data(0x82).concat()).unwrap(),
        format!("\r\n{clean}\r\n\r\nOK\r\n")
    );
    let messages = data(0x80);
    for messages in [&messages[..1], &messages[1..]] {
        let caps = caps_in(messages);
        assert_eq!(caps.device_id, clean);
        // The layout does not mark this field as personal; the sweep finds the identity in it.
        assert_eq!(caps.firmware_info, format!("of {clean}"));
    }
    assert_eq!(report.replaced[&Kind::Device].different, 1);
    assert!(report.blanked.is_empty(), "{report:?}");
}

#[test]
fn fragments_without_their_others_are_blanked() {
    let mut made = Made::new();
    let fragments = caps().encode(64);
    made.fetched(&fragments[0]);
    made.fetched(&fragments[2]);
    made.fetched(&fragments[0]);
    let (new, report) = scrubbed(&made.file(), Options::default());
    let wanted: Vec<u8> = IMEI[..4]
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(!new.windows(8).any(|window| window == wanted));
    assert_eq!(report.blanked.values().sum::<u64>(), 3, "{report:?}");
}

#[test]
fn every_link_type_is_taken() {
    // The record is big-endian, with a header of 48 bytes.
    let mut record = vec![0; usbmon::HEADER];
    record[7] = 9;
    record[8] = b'S';
    record[9] = 3;
    record[10] = 0x01;
    record[11] = 4;
    record[13] = 1;
    record[14] = b'-';
    record[35] = 15;
    record[39] = 15;
    record.extend(b"AT+CPIN=\"1234\"\r");
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65_535, 189] {
        file.extend(word.to_be_bytes());
    }
    for word in [5, 6, record.len() as u32, record.len() as u32] {
        file.extend(word.to_be_bytes());
    }
    file.extend(&record);
    let (new, _) = scrubbed(&file, Options::default());
    let new = packets(&new);
    assert_eq!(new[0].link, LinkType::USBMON_MMAPPED);
    let transfer = new[0].transfer().unwrap();
    assert_eq!((transfer.id, transfer.bus, transfer.device), (9, 1, 4));
    assert_eq!(transfer.data, b"AT+CPIN=\"****\"\r");
    assert_eq!(new[0].time, 5_000_006_000);

    let mut writer = Writer::new(Vec::new(), "a test").unwrap();
    let windows = writer.interface(LinkType::USBPCAP, "usb", 0).unwrap();
    let ip = writer.interface(LinkType::RAW_IP, "ip", 0).unwrap();
    let ethernet = writer.interface(LinkType(1), "eth", 0).unwrap();
    let mut record = vec![0; 27];
    record[0] = 27;
    record[19] = 5;
    record[21] = 0x82;
    record[16] = 1;
    record[22] = 3;
    record[23] = 15;
    record.extend(b"+CIMI: 24201012");
    let packet = [
        0x45, 0, 0, 24, 0, 0, 0, 0, 64, 200, 0, 0, 10, 1, 2, 3, 10, 1, 2, 4, 1, 2, 3, 4,
    ];
    writer
        .packet(windows, 1, &[&record], record.len() as u32, None)
        .unwrap();
    writer
        .packet(ip, 2, &[&packet], 24, Some("from Ann"))
        .unwrap();
    writer.packet(ethernet, 3, &[&packet], 24, None).unwrap();
    let file = writer.into_inner();
    let (new, report) = scrubbed(&file, Options::default());
    let new = packets(&new);
    assert_eq!((new.len(), report.left_out), (2, 1));
    assert_eq!(new[0].link, LinkType::USBPCAP);
    assert_eq!(new[0].transfer().unwrap().data, b"+CIMI: 00000001");
    assert_eq!(new[1].link, LinkType::RAW_IP);
    assert_eq!(new[1].data[12..], [192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 0]);
    assert_eq!((new[1].time, new[1].original), (2, 24));
}

#[test]
fn what_is_good_before_a_break_stays() {
    let mut made = Made::new();
    made.fetched(&caps().encode_whole());
    let mut file = made.file();
    let whole = packets(&file).len();
    file.extend([6, 0, 0, 0, 0x40, 0, 0, 0, 1]);
    let (new, report) = scrubbed(&file, Options::default());
    assert_eq!(packets(&new).len(), whole);
    assert!(report.broken.unwrap().contains("at byte"));
    assert!(matches!(
        scrub(
            || Ok(Cursor::new(b"no capture")),
            Vec::new(),
            Options::default()
        ),
        Err(ScrubError::Read(_))
    ));
}
