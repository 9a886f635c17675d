//! Requests as Debian's mbimcli 1.28.2 sends them, captured at its proxy socket, with the fields
//! that its arguments stand for. That version pads data at the end of a buffer, which later ones do
//! not.

use serde_json::Value as Json;
use uwwan_mbim::decode::{Content, decode};
use uwwan_mbim::fields::write;
use uwwan_mbim::message::{Body, Message};
use uwwan_mbim::print::Personal;
use uwwan_mbim::registry::Version;

use crate::vector::unhex;

#[derive(serde::Deserialize)]
struct Request {
    arguments: String,
    version: u32,
    service: String,
    cid: String,
    command_type: String,
    fields: Json,
    hex: String,
}

#[test]
fn mbimcli_requests_are_understood_and_rebuilt() {
    let requests: Vec<Request> =
        serde_json::from_str(include_str!("mbimcli-requests.json")).expect("request file");
    assert!(requests.len() > 80);
    for request in requests {
        let bytes = unhex(&request.hex);
        let version = if request.version == 3 {
            Version::V3
        } else {
            Version::V1
        };
        let decoded = decode(&bytes, version);
        let json = decoded.json(Personal::Show);
        let place = &request.arguments;
        assert_eq!(decoded.errors, [], "{place}");
        assert_eq!(json["service"], request.service, "{place}");
        assert_eq!(json["cid"], request.cid, "{place}");
        assert_eq!(json["command_type"], request.command_type, "{place}");
        assert_eq!(json["fields"], request.fields, "{place}");
        let Ok(Message {
            body: Body::Command { info, .. },
            ..
        }) = Message::decode(&bytes)
        else {
            panic!("{place}: no command");
        };
        if let Content::Fields(record) = &decoded.content {
            assert_eq!(write(record), info, "{place}");
        }
        let hidden = decoded.text(Personal::Hide) + &decoded.json(Personal::Hide).to_string();
        assert!(
            !hidden.contains("secret") && !hidden.contains("1234"),
            "{place}: {hidden}"
        );
    }
}
