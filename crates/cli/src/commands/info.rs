//! `uwwan info` shows everything about a modem on one page.

mod at_facts;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    DEVICE_CAPS, DEVICE_SERVICES, DeviceCaps, DeviceServices, HOME_PROVIDER, HomeProvider,
    PACKET_SERVICE, PIN, PacketServiceInfo, PinInfo, RADIO_STATE, REGISTER_STATE, RadioState,
    RegistrationState, SIGNAL_STATE, SUBSCRIBER_READY_STATUS, SignalState, SubscriberReadyStatus,
};
use uwwan_mbim::services::ms_firmware_id;
use uwwan_mbim::session::Command as MbimCommand;
use uwwan_modem::client::{Client, Optional};
use uwwan_modem::status::{FramingStatus, NtbParameters};

use self::at_facts::AtFacts;
use super::radio::is_on;
use super::{operator, packet_service, pin, radio, services, signal, sim};
use crate::failure::Failure;
use crate::forms::{Operator, data_classes};
use crate::output::say_json;
use crate::page::{Page, personal, trimmed};
use crate::reach::{Modem, Reach};

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan info                       identity, firmware, SIM, network, signal, NTBs
  uwwan info --show-personal       IMEI, ICCID and IMSI too
  uwwan info --json | jq .firmware
  uwwan info --device emulator     of the emulated modem

A running uwwan up is asked through, and then tells what only AT knows as well; otherwise the device
is opened for a moment.")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Show what identifies the modem, the card and its owner
    #[arg(long)]
    show_personal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The facts that the modem reports. In place of a fact that it does not report stands the reason
/// in words.
struct Facts {
    device: String,
    caps: DeviceCaps,
    firmware_id: Option<String>,
    sim: Optional<SubscriberReadyStatus>,
    pin: Optional<PinInfo>,
    home: Optional<HomeProvider>,
    radio: Optional<RadioState>,
    registration: Optional<RegistrationState>,
    packet: Optional<PacketServiceInfo>,
    signal: Optional<SignalState>,
    services: Optional<DeviceServices>,
    framing: Option<FramingStatus>,
    at: Option<AtFacts>,
}

/// Asks the modem and shows the page.
///
/// # Errors
/// Fails when the modem cannot be reached, or does not even report its capabilities.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut reached = arguments.reach.modem()?;
    let facts = ask(&mut reached)?;
    reached.client.close()?;
    let show = arguments.show_personal;
    if arguments.json {
        return say_json(&facts.shown(show));
    }
    facts.page(show).print()
}

fn ask(reached: &mut Modem) -> Result<Facts, Failure> {
    fn one<A: Layout>(modem: &mut Client, id: CidId) -> Result<Optional<A>, Failure> {
        modem.optional(MbimCommand::query(id))
    }
    let status = reached.status().unwrap_or_default();
    let modem = &mut reached.client;
    let caps = modem.query(DEVICE_CAPS)?;
    let services: Optional<DeviceServices> = one(modem, DEVICE_SERVICES)?;
    let has_firmware_id = services.as_ref().is_ok_and(|services| {
        services
            .device_services
            .iter()
            .any(|service| service.device_service_id == ms_firmware_id::UUID)
    });
    let firmware_id = if has_firmware_id {
        one::<ms_firmware_id::Get>(modem, ms_firmware_id::GET)?
            .ok()
            .map(|get| get.firmware_id.to_string())
    } else {
        None
    };
    Ok(Facts {
        caps,
        firmware_id,
        sim: one(modem, SUBSCRIBER_READY_STATUS)?,
        pin: one(modem, PIN)?,
        home: one(modem, HOME_PROVIDER)?,
        radio: one(modem, RADIO_STATE)?,
        registration: one(modem, REGISTER_STATE)?,
        packet: one(modem, PACKET_SERVICE)?,
        signal: one(modem, SIGNAL_STATE)?,
        services,
        framing: status.framing,
        at: reached.through.as_ref().and_then(AtFacts::ask),
        device: words(&status.device, &status.model),
    })
}

fn words(device: &str, model: &str) -> String {
    [device, model]
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(", ")
}

impl Facts {
    fn page(&self, show: bool) -> Page {
        let caps = &self.caps;
        let mut page = Page::default();
        page.row("device", &self.device);
        page.row("hardware", trimmed(&caps.hardware_info));
        page.row("firmware", trimmed(&caps.firmware_info));
        page.row(
            "firmware id",
            self.firmware_id.as_deref().unwrap_or_default(),
        );
        page.row("IMEI", personal(trimmed(&caps.device_id), show));
        page.row("technologies", caps.data_class.to_string());
        page.row("sessions", format!("up to {}", caps.max_sessions));
        told(&mut page, "SIM", &self.sim, |sim| {
            sim::state_words(sim.ready_state)
        });
        if let Ok(sim) = &self.sim {
            page.row("ICCID", personal(trimmed(&sim.sim_icc_id), show));
            page.row("IMSI", personal(trimmed(&sim.subscriber_id), show));
        }
        told(&mut page, "PIN", &self.pin, pin::words);
        told(&mut page, "operator", &self.home, sim::operator);
        told(&mut page, "radio", &self.radio, |radio| {
            match is_on(radio) {
                (true, true) => "on".to_owned(),
                (false, _) => "off, by hardware".to_owned(),
                (true, false) => "off".to_owned(),
            }
        });
        told(
            &mut page,
            "network",
            &self.registration,
            operator::registration_words,
        );
        told(
            &mut page,
            "packet service",
            &self.packet,
            packet_service::words,
        );
        told(&mut page, "signal", &self.signal, signal::words);
        if let Some(framing) = &self.framing {
            page.row("NTBs", framing_words(framing));
            if let Some(announced) = &framing.announced {
                page.row("NTB parameters", announced_words(announced));
            }
        }
        if let Some(at) = &self.at {
            at.rows(&mut page);
        }
        told(&mut page, "services", &self.services, |list| {
            let names: Vec<String> = list.device_services.iter().map(services::name).collect();
            names.join(", ")
        });
        page
    }

    /// Returns the form in JSON, with identities of persons if `show`.
    fn shown(&self, show: bool) -> Shown {
        let caps = &self.caps;
        let mut parts = Parts::default();
        let classes = data_classes(caps.data_class);
        Shown {
            device: self.device.clone(),
            hardware: trimmed(&caps.hardware_info).to_owned(),
            firmware: trimmed(&caps.firmware_info).to_owned(),
            firmware_id: self.firmware_id.clone(),
            imei: personal(trimmed(&caps.device_id), show),
            data_class_names: classes.clone(),
            data_classes: classes,
            max_sessions: caps.max_sessions,
            sim: parts.part("sim", &self.sim, |sim| sim::Shown::of(sim, show)),
            pin: parts.part("pin", &self.pin, pin::Shown::of),
            operator: parts.part("operator", &self.home, |home| {
                Operator::from(&home.provider)
            }),
            radio: parts.part("radio", &self.radio, radio::Shown::of),
            network: parts.part("network", &self.registration, operator::Registration::of),
            packet_service: parts.part("packet_service", &self.packet, packet_service::Shown::of),
            signal: parts.part("signal", &self.signal, signal::Shown::of),
            framing: self.framing.clone(),
            blocks: self.framing.clone(),
            at: self.at.as_ref().map(AtFacts::shown),
            services: parts.part("services", &self.services, |list| {
                list.device_services.iter().map(services::name).collect()
            }),
            not_told: parts.not_told,
        }
    }
}

/// Facts that a modem reports, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Vendor id, product id and port of the device, and its name.
    device: String,
    /// Hardware name.
    hardware: String,
    /// Firmware version.
    firmware: String,
    /// Number of the firmware; null when the modem does not report it.
    firmware_id: Option<String>,
    /// Number of the device, hidden unless it is asked for.
    imei: String,
    /// Names of the data classes that the modem knows.
    data_class_names: Vec<String>,
    /// Copy of `data_class_names`.
    #[schemars(extend("deprecated" = true))]
    data_classes: Vec<String>,
    /// Number of data sessions at a time.
    max_sessions: u32,
    /// SIM card.
    sim: Option<sim::Shown>,
    /// State of the PIN.
    pin: Option<pin::Shown>,
    /// Operator of the SIM card.
    operator: Option<Operator>,
    /// State of the radio.
    radio: Option<radio::Shown>,
    /// Registration with a network.
    network: Option<operator::Registration>,
    /// State of the packet service.
    packet_service: Option<packet_service::Shown>,
    /// Quality of the signal.
    signal: Option<signal::Shown>,
    /// Layout of NTBs in use.
    framing: Option<FramingStatus>,
    /// Copy of `framing`.
    #[schemars(extend("deprecated" = true))]
    blocks: Option<FramingStatus>,
    /// Facts that only AT commands return; null where the port is not asked.
    at: Option<at_facts::Shown>,
    /// Names of the services; UUIDs of those without a name.
    services: Option<Vec<String>>,
    /// Reasons why a part is null, by its name.
    not_told: BTreeMap<&'static str, String>,
}

/// Collector of the reasons why facts are not reported.
#[derive(Default)]
struct Parts {
    not_told: BTreeMap<&'static str, String>,
}

impl Parts {
    fn part<T, F>(
        &mut self,
        name: &'static str,
        fact: &Optional<T>,
        form: impl FnOnce(&T) -> F,
    ) -> Option<F> {
        match fact {
            Ok(fact) => Some(form(fact)),
            Err(why) => {
                self.not_told.insert(name, why.to_string());
                None
            }
        }
    }
}

fn told<T>(page: &mut Page, label: &str, fact: &Optional<T>, words: impl FnOnce(&T) -> String) {
    match fact {
        Ok(fact) => page.row(label, words(fact)),
        Err(why) => page.row(label, format!("not told ({why})")),
    }
}

/// Returns a sentence's part on the layout of NTBs.
pub fn framing_words(framing: &FramingStatus) -> String {
    if framing.format == "none" {
        return format!(
            "one frame of up to {} bytes in a transfer",
            framing.output_size
        );
    }
    format!(
        "NTB{}, NDP at the {}, up to {} bytes out and {} in, {} datagrams per NTB out",
        framing.format, framing.ndp, framing.output_size, framing.input_size, framing.max_datagrams
    )
}

fn announced_words(announced: &NtbParameters) -> String {
    let formats = match announced.formats & 3 {
        1 => "16-bit NTBs",
        2 => "32-bit NTBs",
        3 => "16- and 32-bit NTBs",
        _ => "no NTB format",
    };
    let datagrams = match announced.out_max_datagrams {
        0 => "no limit of datagrams".to_owned(),
        most => format!("{most} datagrams"),
    };
    format!(
        "{formats}; in: {} bytes, datagrams at {} mod {}, tables at multiples of {}; out: {} bytes, at {} mod {}, {}, \
         {datagrams}",
        announced.in_max,
        announced.in_remainder,
        announced.in_divisor,
        announced.in_alignment,
        announced.out_max,
        announced.out_remainder,
        announced.out_divisor,
        announced.out_alignment,
    )
}
