//! The choice among messages.

use uwwan_mbim::Uuid;
use uwwan_mbim::decode::Decoded;
use uwwan_mbim::registry::{self, CidId};
use uwwan_mbim::status::Status;

/// Options that choose among messages.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MessageFilter {
    /// Of a capture: messages of this service only, by name or UUID
    #[arg(long, value_name = "SERVICE", value_parser = service, help_heading = "Choose")]
    service: Option<Uuid>,
    /// Of a capture: messages of this command only, by name or number
    #[arg(long, value_name = "CID", value_parser = command, help_heading = "Choose")]
    cid: Option<String>,
    /// Of a capture: answers with this status only, by name or number; `bad` means any but success
    #[arg(long, value_name = "STATUS", value_parser = status, help_heading = "Choose")]
    status: Option<Answered>,
}

/// The status that answers are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// Any but success.
    Bad,
    With(Status),
}

impl MessageFilter {
    /// Returns whether anything is chosen.
    pub fn is_chosen(&self) -> bool {
        self.service.is_some() || self.cid.is_some() || self.status.is_some()
    }

    /// Returns whether a message is chosen.
    pub fn allows(&self, message: &Decoded) -> bool {
        let service = self.service.is_none() || self.service == message.service;
        let command = self.cid.as_ref().is_none_or(|wanted| {
            message.cid.is_some_and(|cid| {
                let id = message.service.map(|service| CidId { service, cid });
                let name = id.and_then(registry::cid).map(|known| known.name);
                name == Some(wanted) || cid.to_string() == *wanted
            })
        });
        let status = self.status.is_none_or(|wanted| {
            message.status.is_some_and(|status| match wanted {
                Answered::Bad => !status.is_success(),
                Answered::With(wanted) => status == wanted,
            })
        });
        service && command && status
    }
}

fn service(text: &str) -> Result<Uuid, String> {
    let known = registry::service_named(text).map(|service| service.uuid);
    known.or_else(|| text.parse().ok()).ok_or_else(|| {
        let names = registry::services().iter().map(|service| service.name);
        let names: Vec<&str> = names.collect();
        format!("neither a UUID nor one of {}", names.join(", "))
    })
}

/// Returns the number of a command, or its name as the registry has it.
fn command(text: &str) -> Result<String, String> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(number.to_string());
    }
    let mut services = registry::services().iter();
    let known = services.find_map(|service| service.cid_named(text));
    let known = known.map(|known| known.name.to_owned());
    known.ok_or_else(|| "neither a number nor a command of a known service".to_owned())
}

fn status(text: &str) -> Result<Answered, String> {
    if text == "bad" {
        return Ok(Answered::Bad);
    }
    let known = text.parse().map(Answered::With);
    known.map_err(|_| "neither `bad` nor the name or number of a status".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use uwwan_mbim::decode::decode;
    use uwwan_mbim::registry::Version;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: MessageFilter,
    }

    /// An answer to a query of the signal's strength with the status `busy` (MBIM 1.0, 9.4.2).
    fn busy() -> Decoded {
        let uuid: [u8; 16] = [
            0xa2, 0x89, 0xcc, 0x33, 0xbc, 0xbb, 0x8b, 0x4f, 0xb6, 0xb0, 0x13, 0x3e, 0xc2, 0xaa,
            0xe6, 0xdf,
        ];
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        let header = words(&[0x8000_0003, 48, 7, 1, 0]);
        let bytes = [header, uuid.to_vec(), words(&[11, 1, 0])].concat();
        decode(&bytes, Version::V1)
    }

    #[test]
    fn messages_are_chosen_by_name_and_number() {
        let message = busy();
        let allows = |option: &str| {
            let line = Line::try_parse_from(["test", option]);
            line.map(|line| line.filter.allows(&message)).ok()
        };
        for fits in [
            "--service=basic_connect",
            "--service=Basic-Connect",
            "--service=a289cc33-bcbb-8b4f-b6b0-133ec2aae6df",
            "--cid=signal_state",
            "--cid=Signal-State",
            "--cid=11",
            "--status=busy",
            "--status=1",
            "--status=0x1",
            "--status=bad",
        ] {
            assert_eq!(allows(fits), Some(true), "{fits}");
        }
        for other in [
            "--service=sms",
            "--service=11223344-5566-7788-99aa-bbccddeeff11",
            "--cid=connect",
            "--cid=12",
            "--status=none",
            "--status=77",
        ] {
            assert_eq!(allows(other), Some(false), "{other}");
        }
        for nothing in [
            "--service=basic_conect",
            "--cid=conect",
            "--cid=-1",
            "--status=bussy",
        ] {
            assert_eq!(allows(nothing), None, "{nothing}");
        }
    }
}
