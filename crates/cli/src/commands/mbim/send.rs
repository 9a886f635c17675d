//! `uwwan mbim send` sends any command of any service.

use std::path::Path;
use std::time::Duration;

use uwwan_mbim::decode::{decode, is_credential, personal_content};
use uwwan_mbim::fields::{PersonalPart, Record, SetError, write};
use uwwan_mbim::message::{Body, CommandKind, Message};
use uwwan_mbim::print::Personal;
use uwwan_mbim::registry::{self, Cid, CidId, Part, Service, Version};
use uwwan_mbim::session::Command;
use uwwan_mbim::uuid::Uuid;

use super::carried;
use crate::failure::{Failure, FailureKind};
use crate::hex::from_hex;
use crate::input;
use crate::output::{say, say_value};
use crate::reach::Reach;
use crate::secrets;
use crate::spinner;

/// Returns the version of the Microsoft extensions for its number on the command line.
pub fn version(mbimex: u8) -> Version {
    match mbimex {
        1 => Version::V1,
        2 => Version::V2,
        _ => Version::V3,
    }
}

/// Arguments of `mbim send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan mbim send --service basic_connect --cid device_caps --query
  uwwan mbim send --service basic_connect --cid radio_state --set --field radio_state=off
  uwwan mbim send --service basic_connect --cid connect --query --field session_id=3 --json
  uwwan mbim send --service basic_connect --cid device_service_subscribe_list --set \\
      --field events.0.device_service_id=a289cc33-bcbb-8b4f-b6b0-133ec2aae6df --field events.0.cids=9,11
  uwwan mbim send --service ms_basic_connect_extensions --cid base_stations_info --query --show-personal
  uwwan mbim send --service 11223344-5566-7788-99aa-bbccddeeff11 --cid 7 --set --hex 01000000
  uwwan mbim send --service basic_connect --cid pin --set --field pin_type=pin1 \\
      --field pin_operation=enter --field-file pin=/etc/uwwan/pin
  generate | uwwan mbim send --service basic_connect --cid pin --set --file -
  uwwan mbim send --raw message.bin --wait 5                any bytes, and what the modem says to them
  uwwan mbim send --raw '03000000 10000000 63000000 01000000' --json

uwwan services lists what the modem offers; a wrong field name is answered with the right ones.
The exit status is 7 when the modem answers with another status than success.

With --raw each of its contents goes out as one control transfer, unchanged, be it malformed, a fragment or of a
wrong length. All that comes meanwhile is shown but for indications and the answers to commands of others: what
has one of the transaction ids that were sent answers them, and anything else matches nothing. An id that a command
of the running uwwan up has at the moment is refused. Only who owns that up may do so, and no rule looks at the
content: an OPEN or a CLOSE ends its control session.")]
pub struct Arguments {
    /// Name of the service, as in uwwan services, or its UUID
    #[arg(long, value_name = "NAME|UUID", required_unless_present = "raw")]
    service: Option<String>,
    /// Name or number of the command
    #[arg(long, value_name = "NAME|N", required_unless_present = "raw")]
    cid: Option<String>,
    /// Ask for something
    #[arg(long, required_unless_present_any = ["set", "raw"])]
    query: bool,
    /// Set something
    #[arg(long, conflicts_with = "query")]
    set: bool,
    /// Content by field, as name=value; may be repeated. Numbers decimal or 0x…, names and bits as
    /// printed, lists with commas, elements as name.0.field
    #[arg(long = "field", value_name = "NAME=VALUE")]
    fields: Vec<String>,
    /// One field's text from the first line of a file, as name=file; may be repeated. PINs and passwords,
    /// and the AT commands, APDUs and QMI messages that hold one, are taken in this way only, since
    /// everybody can read a command line
    #[arg(long = "field-file", value_name = "NAME=FILE")]
    field_files: Vec<String>,
    /// Content as hexadecimal digits
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["fields", "field_files"])]
    hex: Option<String>,
    /// Content from a file of bytes or hexadecimal digits, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fields", "field_files", "hex"])]
    file: Option<String>,
    /// Send these bytes as they are: a file, - for standard input, or hexadecimal digits; may be
    /// repeated, one control transfer each
    #[arg(long, value_name = "HEX|FILE", conflicts_with_all = ["service", "cid", "query", "set", "fields", "field_files", "hex", "file", "force"])]
    pub(super) raw: Vec<String>,
    /// Seconds to show what comes after --raw
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, requires = "raw")]
    pub(super) wait: f64,
    /// End after so many answers to --raw
    #[arg(long, value_name = "N", requires = "raw")]
    pub(super) count: Option<usize>,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Version of the Microsoft extensions in force, which changes some layouts
    #[arg(long, value_name = "VERSION", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(super) mbimex: u8,
    /// Do it even though `uwwan up` loses its session by that
    #[arg(long)]
    force: bool,
    /// Print what identifies or belongs to a person too
    #[arg(long)]
    pub(super) show_personal: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Sends the command and shows the answer.
///
/// # Errors
/// Fails when the command makes no sense or cannot be sent, or when the modem refuses it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (service, cid) = (arguments.service.as_deref(), arguments.cid.as_deref());
    let (id, cid) = address(service.unwrap_or_default(), cid.unwrap_or_default())?;
    let kind = if arguments.set {
        CommandKind::SET
    } else {
        CommandKind::QUERY
    };
    let info = content(arguments, id, cid, kind)?;
    if arguments.hex.is_some() {
        refuse_credentials(id, kind, &info, version(arguments.mbimex))?;
    }
    let mut modem = arguments.reach.open()?;
    if arguments.force {
        modem.insist()?;
    }
    let patience = Duration::from_secs(arguments.timeout);
    let answer = spinner::command(
        &mut modem,
        &id.to_string(),
        Command { id, kind, info },
        patience,
    )?;
    let status = answer.status;
    let message = Message {
        transaction: 1,
        body: Body::CommandDone {
            service: id.service,
            cid: id.cid,
            status,
            info: answer.info,
        },
    };
    let bytes = message.encode(usize::MAX).concat();
    let mut decoded = decode(&bytes, version(arguments.mbimex));
    // The transaction id on the wire belongs to the control session.
    decoded.transaction_id = None;
    let personal = if arguments.show_personal {
        Personal::Show
    } else {
        Personal::Hide
    };
    if arguments.json {
        say_value(decoded.json(personal))?;
    } else {
        say(decoded.text(personal).trim_end())?;
    }
    if !status.is_success() {
        let what = format!("the modem refuses {id}");
        return Err(modem.refusal(what, status, None));
    }
    modem.close()
}

/// Returns the id of the command that the arguments name, with its entry in the registry.
fn address(service: &str, cid: &str) -> Result<(CidId, Option<&'static Cid>), Failure> {
    let known = registry::service_named(service);
    let uuid: Uuid = match known {
        Some(known) => known.uuid,
        None => service.parse().map_err(|_| {
            let names: Vec<&str> = registry::services()
                .iter()
                .map(|service: &&Service| service.name)
                .collect();
            Failure::new(FailureKind::Usage, "there is no such service")
                .at(format!("--service {service}"))
                .because("neither a known name nor a UUID")
                .next(format!("known: {}", names.join(", ")))
        })?,
    };
    let found = known.and_then(|known| known.cid_named(cid));
    let number = match found {
        Some(found) => found.number,
        None => cid.parse().map_err(|_| {
            let failure = Failure::new(FailureKind::Usage, "there is no such command")
                .at(format!("--cid {cid}"));
            match known {
                Some(known) => {
                    let names: Vec<&str> = known.cids.iter().map(|cid| cid.name).collect();
                    failure
                        .because(format!("neither a number nor a command of {}", known.name))
                        .next(format!("known: {}", names.join(", ")))
                }
                None => failure.because("the service is not a known one: give a number"),
            }
        })?,
    };
    let id = CidId {
        service: uuid,
        cid: number,
    };
    Ok((id, found))
}

/// Returns the information buffer of the command.
fn content(
    arguments: &Arguments,
    id: CidId,
    cid: Option<&'static Cid>,
    kind: CommandKind,
) -> Result<Vec<u8>, Failure> {
    if let Some(digits) = &arguments.hex {
        return from_hex(digits.as_bytes()).ok_or_else(|| {
            Failure::new(FailureKind::Usage, "this is not hexadecimal")
                .at("--hex")
                .because(format!("{} characters", digits.chars().count()))
        });
    }
    if let Some(file) = &arguments.file {
        return input::read_file(file);
    }
    let part = Part::from(kind);
    let given = arguments.fields.iter().chain(&arguments.field_files);
    let Some(schema) = cid.and_then(|cid| cid.layout(part, version(arguments.mbimex))) else {
        return match given.map(|field| assignment(field)).next() {
            None => Ok(Vec::new()),
            Some(field) => Err(Failure::new(
                FailureKind::Usage,
                "the content cannot be given by field",
            )
            .at(format!("--field {}", field?.0))
            .because(format!(
                "the layout of this {} of {id} is not known",
                word(kind)
            ))
            .next("give the whole content with --hex or --file")),
        };
    };
    let mut record = Record::empty(schema);
    // The value may be a PIN or a password, so the error repeats only the names.
    let wrong = |option: &str, path: &str| {
        Failure::new(FailureKind::Usage, "a field makes no sense").at(format!("--{option} {path}"))
    };
    for field in &arguments.fields {
        let (path, text) = assignment(field)?;
        let name = path.rsplit('.').next().unwrap_or(path);
        let carried = || from_hex(text.as_bytes()).is_some_and(|it| carried::credential(name, &it));
        if (is_credential(name) && !text.is_empty()) || carried() {
            return Err(on_the_command_line(path).at(format!("--field {path}")));
        }
        let set = record.set(path, text);
        set.map_err(|error| wrong("field", path).because(error))?;
    }
    for field in &arguments.field_files {
        let (path, file) = assignment(field)?;
        let text = secrets::field(Path::new(file), path)?;
        // The content of the file is not repeated in the error, whatever it is.
        let set = record.set(path, &text);
        set.map_err(|error| match error {
            SetError::UnknownField { .. } => wrong("field-file", path).because(error),
            _ => wrong("field-file", path).because("its value does not fit the field"),
        })?;
    }
    Ok(write(&record))
}

/// Splits a field's name and value. Text without both is not repeated in the error.
fn assignment(text: &str) -> Result<(&str, &str), Failure> {
    let parts = text
        .split_once('=')
        .map(|(name, value)| (name.trim(), value));
    parts.ok_or_else(|| {
        Failure::new(FailureKind::Usage, "a field makes no sense")
            .at("--field or --field-file")
            .because("expected name=value")
    })
}

/// # Errors
/// [`FailureKind::Usage`] when the content has a PIN, a PUK or a password in it.
fn refuse_credentials(
    id: CidId,
    kind: CommandKind,
    info: &[u8],
    version: Version,
) -> Result<(), Failure> {
    let message = Message {
        transaction: 1,
        body: Body::Command {
            service: id.service,
            cid: id.cid,
            kind,
            info: info.to_vec(),
        },
    };
    match credential(&message.encode_whole(), version) {
        Some(field) => Err(on_the_command_line(field).at("--hex")),
        None => Ok(()),
    }
}

/// Returns the field of a message that holds a PIN or a password, if one does.
pub(super) fn credential(message: &[u8], version: Version) -> Option<&'static str> {
    let parts = personal_content(message, version)?.parts;
    let credential = |part: &&PersonalPart| {
        let content = message.get(part.range.clone()).unwrap_or_default();
        (is_credential(part.field) && !content.is_empty())
            || carried::credential(part.field, content)
    };
    parts.iter().find(credential).map(|part| part.field)
}

fn on_the_command_line(field: &str) -> Failure {
    Failure::new(FailureKind::Usage, format!("{field} holds a secret"))
        .because("every user of this machine can read a command line")
        .next(format!(
            "--field-file {field}=FILE takes it from a file, --file the whole content"
        ))
        .next("nothing was sent, no attempt was used up")
}

fn word(kind: CommandKind) -> &'static str {
    if kind == CommandKind::SET {
        "set"
    } else {
        "query"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_name_number_and_uuid() {
        for (service, cid) in [
            ("basic-connect", "device_caps"),
            ("basic_connect", "1"),
            ("a289cc33-bcbb-8b4f-b6b0-133ec2aae6df", "device-caps"),
        ] {
            let (id, found) = address(service, cid).unwrap();
            assert_eq!(id.to_string(), "basic_connect/device_caps");
            assert!(found.is_some());
        }
        let (id, found) = address("00000000-0000-0000-0000-00000000abcd", "77").unwrap();
        assert_eq!((id.cid, found.is_none()), (77, true));
        let (id, found) = address("basic_connect", "4000000000").unwrap();
        assert_eq!((id.cid, found.is_none()), (4_000_000_000, true));
    }

    #[test]
    fn wrong_names_are_answered_with_the_right_ones() {
        let failure = address("basic_conect", "1").unwrap_err();
        assert!(failure.to_string().contains("basic_connect, "), "{failure}");
        let failure = address("basic_connect", "device_cap").unwrap_err();
        assert!(failure.to_string().contains("device_caps, "), "{failure}");
        assert!(address("00000000-0000-0000-0000-00000000abcd", "x").is_err());
        assert!(address("basic_connect", "-1").is_err());
    }
}
