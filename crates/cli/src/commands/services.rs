//! `uwwan services` lists what the modem offers over MBIM.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_mbim::registry;
use uwwan_mbim::services::basic_connect::{DEVICE_SERVICES, DeviceServiceElement, DeviceServices};

use crate::failure::Failure;
use crate::forms::Named;
use crate::output::say_json;
use crate::page::Page;
use crate::reach::Reach;

/// Arguments of `services`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  uwwan services                     services with their commands
  uwwan services --json | jq '.services[].name'
  uwwan services --device 1-4.2      of one of several modems

What is listed here can be sent with uwwan mbim send --service NAME --cid NAME.")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Services that the modem offers, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// Largest number of device service streams at a time.
    max_dss_sessions: u32,
    /// Services.
    services: Vec<Service>,
}

/// A service of the modem.
#[derive(Debug, Serialize, JsonSchema)]
struct Service {
    /// Name of the service; null for one that this version does not know.
    name: Option<&'static str>,
    /// UUID of the service.
    uuid: String,
    /// Commands of the service.
    cids: Vec<Named>,
    /// Directions in which the service takes streams, a bit each (MBIM 1.0, table 10-11).
    stream_payload: u32,
    /// Largest number of the service's streams at a time.
    stream_instances: u32,
}

/// Lists the services with their commands.
///
/// # Errors
/// Fails when the modem cannot be reached or refuses the query.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut modem = arguments.reach.open()?;
    let services: DeviceServices = modem.query(DEVICE_SERVICES)?;
    modem.close()?;
    if arguments.json {
        return say_json(&Output {
            max_dss_sessions: services.max_dss_sessions,
            services: services.device_services.iter().map(value).collect(),
        });
    }
    let mut page = Page::default();
    for service in &services.device_services {
        page.row(&name(service), commands(service).join(", "));
    }
    page.print()
}

/// Returns the name of a service, or its UUID when the service is not a known one.
pub fn name(service: &DeviceServiceElement) -> String {
    match registry::service(service.device_service_id) {
        Some(known) => known.name.to_owned(),
        None => service.device_service_id.to_string(),
    }
}

fn commands(service: &DeviceServiceElement) -> Vec<String> {
    let known = registry::service(service.device_service_id);
    service
        .cids
        .iter()
        .map(|cid| match known.and_then(|known| known.cid(*cid)) {
            Some(cid) => cid.name.to_owned(),
            None => cid.to_string(),
        })
        .collect()
}

fn value(service: &DeviceServiceElement) -> Service {
    let known = registry::service(service.device_service_id);
    let named = |number: &u32| Named {
        number: *number,
        name: known
            .and_then(|known| known.cid(*number))
            .map(|cid| cid.name),
    };
    Service {
        name: known.map(|known| known.name),
        uuid: service.device_service_id.to_string(),
        cids: service.cids.iter().map(named).collect(),
        stream_payload: service.dss_payload,
        stream_instances: service.max_dss_instances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_services_and_commands_are_numbers() {
        let service = DeviceServiceElement {
            cids: vec![1, 4_000_000_000],
            ..DeviceServiceElement::default()
        };
        assert_eq!(name(&service), "00000000-0000-0000-0000-000000000000");
        assert_eq!(commands(&service), ["1", "4000000000"]);
        let value = value(&service);
        assert!(value.name.is_none() && value.cids[1].name.is_none());
    }
}
