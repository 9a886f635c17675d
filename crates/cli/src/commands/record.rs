//! `uwwan record` sends a modem every query that is safe, and leaves one scrubbed capture of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::registry::{self, CidId, Part, Version};
use uwwan_mbim::services::basic_connect::{
    CONNECT, ConnectInfo, DEVICE_SERVICES, DeviceServices, IP_CONFIGURATION, IpConfiguration,
};
use uwwan_mbim::services::{intel_firmware_update, proxy_control, qdu};
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_mbim::uuid::Uuid;
use uwwan_modem::capture::is_packed;
use uwwan_modem::capture::scrub::{Options, Report};
use uwwan_modem::client::{AtClient, Client, StatusClient};

use uwwan_modem::Selector;
use uwwan_usb::codes::{descriptor, functional};
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::device::Backend;
use uwwan_usb::requests;

use super::capture::scrub::{scrub_file, tell};
use crate::candidates;
use crate::capture;
use crate::failure::{Failure, FailureKind};
use crate::output::{note, say, say_json};
use crate::reach::{Reach, Target};

/// Longest time for the answer to a query, and to an AT command.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of strings without an answer after which no more are requested.
const MOST_UNANSWERED: usize = 3;
/// Services that are not queried: their answers concern programs that write firmware, or the proxy.
const LEFT_ALONE: [Uuid; 3] = [intel_firmware_update::UUID, qdu::UUID, proxy_control::UUID];
/// AT commands that only read.
const AT: [&str; 30] = [
    "ATI",
    "AT+CGMI",
    "AT+CGMM",
    "AT+CGMR",
    "AT+CGSN",
    "AT+GCAP",
    "AT^HWVER",
    "AT^VERSION?",
    "AT+CMEE?",
    "AT+CPIN?",
    "AT^CPIN?",
    "AT+CFUN?",
    "AT+COPS?",
    "AT+CREG?",
    "AT+CGREG?",
    "AT+CEREG?",
    "AT+CSQ",
    "AT^HCSQ?",
    "AT+CGATT?",
    "AT+CGACT?",
    "AT+CGDCONT?",
    "AT+CGPADDR",
    "AT+CGCONTRDP",
    "AT^SYSCFGEX?",
    "AT^SYSINFOEX",
    "AT^SETPORT?",
    "AT^IPV6CAP?",
    "AT^NDISSTATQRY?",
    "AT^RFSWITCH?",
    "AT^CHIPTEMP?",
];

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan record                                of the only modem, into modem.pcapng
  uwwan record lt4132.pcapng --device 1-4.2   of one of several
  uwwan record --device emulator              of the emulated modem

Attach the file to a report of what does not work. It holds the descriptors with their strings, what each MBIM service tells when
it is asked without parameters, and AT commands that only read: no message, no phonebook, and nothing that
changes anything. Opening the modem switches its USB configuration and sets up its data function, as every
command does where no `uwwan up` runs; a running one is asked through. Identities are replaced as uwwan capture
scrub does; look through the file with uwwan capture show.")]
pub struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE.pcapng", default_value = "modem.pcapng")]
    file: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// Numbers of queries, and of those that were answered.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    strings: usize,
    strings_answered: usize,
    mbim: usize,
    mbim_answered: usize,
    at: usize,
    at_answered: usize,
}

/// A recording, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// File with the scrubbed capture.
    file: PathBuf,
    /// Number of strings that were requested.
    strings: usize,
    /// Number of strings that were answered.
    strings_answered: usize,
    /// Number of MBIM queries.
    pub(super) mbim_queries: usize,
    /// Number of MBIM queries that were answered.
    mbim_answers: usize,
    /// Number of AT commands.
    pub(super) at_commands: usize,
    /// Number of AT commands that were answered.
    at_answers: usize,
    /// Account of the replacements.
    pub(super) scrubbed: Report,
}

/// Sends the queries, captures and scrubs.
///
/// # Errors
/// Fails when the modem cannot be reached, and when the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let recorded = record(&arguments.reach, &arguments.file, arguments.force, &mut [])?;
    if arguments.json {
        return say_json(&recorded);
    }
    if recorded.strings > 0 {
        say(format!(
            "{} strings of descriptors, {} answered",
            recorded.strings, recorded.strings_answered
        ))?;
    }
    say(format!(
        "{} MBIM queries, {} answered; {} AT commands, {} answered",
        recorded.mbim_queries, recorded.mbim_answers, recorded.at_commands, recorded.at_answers
    ))?;
    tell(&recorded.scrubbed, &recorded.file.display().to_string())
}

/// Sends the queries, captures, and scrubs the capture into a file, and texts beside it.
///
/// # Errors
/// Those of [`run`].
pub(super) fn record(
    reach: &Reach,
    file: &Path,
    force: bool,
    texts: &mut [String],
) -> Result<Output, Failure> {
    if !force && file.exists() {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(capture::cannot_write(file, &exists, "--force"));
    }
    let host = |error: io::Error| Failure::new(FailureKind::Host, "cannot record").because(error);
    // The raw capture is for no other user, and is deleted with the folder.
    let folder = tempfile::tempdir().map_err(host)?;
    let whole = folder.path().join("whole.pcapng");
    let target = reach.recorded(&whole)?;
    let interrupts = crate::reach::interrupts()?;
    let mut asked = Asked::default();
    let through = match &target {
        Target::Running(entry) => {
            let client = StatusClient::connect(&entry.socket)?;
            let (mut records, ended) = client.capture(uwwan_modem::capture::Options::default())?;
            let mut file = File::create_new(&whole).map_err(host)?;
            let copying = std::thread::spawn(move || io::copy(&mut records, &mut file));
            Some((ended, copying))
        }
        Target::Device { .. } => None,
    };
    if let Target::Device {
        backend, selector, ..
    } = &target
    {
        ask_strings(&**backend, selector, &mut asked)?;
    }
    let mut modem = target.clone().open(interrupts)?.client;
    let answered = ask_mbim(&mut modem, &mut asked);
    modem.close()?;
    answered?;
    match target.at(None) {
        Ok(mut port) => ask_at(&mut port, &mut asked),
        Err(failure) => note(format!("nothing is asked over AT: {failure}")),
    }
    match through {
        Some((ended, copying)) => {
            ended.shutdown(Shutdown::Write).map_err(host)?;
            let copied = copying
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that copied has died")));
            copied.map_err(host)?;
        }
        // The file is deleted with the folder, so its name says nothing.
        None => {
            if let Some((outcome, _)) = capture::end() {
                capture::tell_missing(&outcome);
            }
        }
    }
    let options = Options {
        packed: is_packed(file),
        ..Options::default()
    };
    let report = scrub_file(&whole, file, options, force, texts)?;
    Ok(Output {
        file: file.to_owned(),
        strings: asked.strings,
        strings_answered: asked.strings_answered,
        mbim_queries: asked.mbim,
        mbim_answers: asked.mbim_answered,
        at_commands: asked.at,
        at_answers: asked.at_answered,
        scrubbed: report,
    })
}

/// Requests the strings that the device's descriptors name. A device that answers none of several is
/// asked for no more.
fn ask_strings(
    backend: &dyn Backend,
    selector: &Selector,
    asked: &mut Asked,
) -> Result<(), Failure> {
    let found = candidates::select(backend, selector)?.found;
    let device = match backend.open(&found) {
        Ok(device) => device,
        Err(error) => {
            note(format!("no strings are asked: {error}"));
            return Ok(());
        }
    };
    let mut unanswered = 0;
    for index in string_indices(device.descriptors()) {
        asked.strings += 1;
        match requests::get_string(&*device, index) {
            Ok(_) => asked.strings_answered += 1,
            Err(error) => {
                tracing::debug!(index, %error, "no string");
                unanswered += 1;
            }
        }
        if unanswered == MOST_UNANSWERED {
            break;
        }
    }
    Ok(())
}

/// Returns the indices of the strings that descriptors name: of the device, its configurations, interfaces
/// and functions, and of an Ethernet function's address (USB 2.0, 9.6; USB IAD ECN; CDC ECM 1.2, 5.4).
fn string_indices(descriptors: &Descriptors) -> BTreeSet<u8> {
    let device = descriptors.device.get(14..17).unwrap_or_default();
    let mut indices: BTreeSet<u8> = device.iter().copied().collect();
    for configuration in &descriptors.configurations {
        let mut rest = &configuration.raw[..];
        while let Some(length) = rest.first().map(|length| usize::from(*length))
            && length >= 2
            && let Some((one, after)) = rest.split_at_checked(length)
        {
            let index = match one[1] {
                descriptor::CONFIGURATION => one.get(6),
                descriptor::INTERFACE => one.get(8),
                descriptor::ASSOCIATION => one.get(7),
                descriptor::CLASS_INTERFACE if one.get(2) == Some(&functional::ETHERNET) => {
                    one.get(3)
                }
                _ => None,
            };
            indices.extend(index);
            rest = after;
        }
    }
    indices.remove(&0);
    indices
}

/// Sends each known service that the modem has its queries without parameters, and the query for the state
/// of session 0.
fn ask_mbim(modem: &mut Client, asked: &mut Asked) -> Result<(), Failure> {
    let services: DeviceServices = modem.query(DEVICE_SERVICES)?;
    asked.mbim += 1;
    asked.mbim_answered += 1;
    for element in services.device_services {
        let service = element.device_service_id;
        let Some(known) = registry::service(service).filter(|_| !LEFT_ALONE.contains(&service))
        else {
            continue;
        };
        for number in element.cids {
            let id = CidId {
                service,
                cid: number,
            };
            let plain = known
                .cid(number)
                .and_then(|cid| cid.layout(Part::Query, Version::V1))
                .is_some_and(|query| query.fields.is_empty());
            if plain && id != DEVICE_SERVICES {
                one(modem, MbimCommand::query(id), asked)?;
            }
        }
    }
    let session = ConnectInfo::default();
    one(modem, MbimCommand::query_with(CONNECT, &session), asked)?;
    let configuration = IpConfiguration::default();
    one(
        modem,
        MbimCommand::query_with(IP_CONFIGURATION, &configuration),
        asked,
    )
}

fn one(modem: &mut Client, query: MbimCommand, asked: &mut Asked) -> Result<(), Failure> {
    asked.mbim += 1;
    match modem.command(query, PATIENCE) {
        Ok(response) if response.status.is_success() => asked.mbim_answered += 1,
        Ok(_) => {}
        // The capture shows commands without an answer, too.
        Err(failure) if matches!(failure.kind, FailureKind::Timeout | FailureKind::Refused) => {}
        Err(failure) => return Err(failure),
    }
    Ok(())
}

fn ask_at(port: &mut AtClient, asked: &mut Asked) {
    for command in AT {
        asked.at += 1;
        match port.ask(command, None, Some(PATIENCE)) {
            Ok(answer) if answer.result.is_ok() => asked.at_answered += 1,
            Ok(_) => {}
            Err(failure) => {
                note(format!("{command}: {failure}"));
                return;
            }
        }
    }
}
