//! The facts that a modem reports over AT beyond MBIM, while a running `up` has the AT port. A port
//! that would have to be found first is not asked, because that takes most of half a minute where
//! none answers.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_at::commands::Query;
use uwwan_at::commands::identity::Information;
use uwwan_at::commands::profiles::Ipv6Capability;
use uwwan_at::commands::signal::{Signal, Temperatures};
use uwwan_modem::client::AtClient;

use crate::page::Page;
use crate::running::Entry;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answers of the modem, each `None` where it has none.
pub(super) struct AtFacts {
    port: String,
    model: Option<String>,
    signal: Option<Signal>,
    temperatures: Option<Temperatures>,
    ipv6: Option<Ipv6Capability>,
}

impl AtFacts {
    /// Asks through a running `up`. Returns `None` when it has no AT port, or when the port does
    /// not answer.
    pub(super) fn ask(entry: &Entry) -> Option<Self> {
        let mut client = AtClient::through(&entry.at_socket()).ok()?;
        let port = client.port().ok()??.to_string();
        Some(Self {
            port,
            model: one::<Information>(&mut client)?.and_then(|told| told.model),
            signal: one(&mut client)?,
            temperatures: one(&mut client)?,
            ipv6: one(&mut client)?,
        })
    }

    pub(super) fn rows(&self, page: &mut Page) {
        page.row("AT port", &self.port);
        page.row("AT model", self.model.as_deref().unwrap_or_default());
        page.row(
            "AT signal",
            self.signal.as_ref().map(signal_words).unwrap_or_default(),
        );
        let degrees: Vec<String> = self.degrees().map(|d| format!("{d:.1}")).collect();
        if !degrees.is_empty() {
            page.row("temperature", format!("{} °C", degrees.join(", ")));
        }
        if let Some(ipv6) = self.ipv6 {
            page.row(
                "IPv6",
                if ipv6.ipv6() {
                    "the firmware allows it for this SIM"
                } else {
                    "the firmware does not allow it for this SIM; uwwan ipv6 status tells why"
                },
            );
        }
    }

    /// Returns the form in JSON.
    pub(super) fn shown(&self) -> Shown {
        Shown {
            port: self.port.clone(),
            model: self.model.clone(),
            signal: self.signal.as_ref().map(signal_shown),
            temperatures: self.degrees().map(tenths).collect(),
            ipv6_capability: self.ipv6.map(|capability| capability.0),
        }
    }

    /// Returns the temperatures in °C of the sensors that have a value.
    fn degrees(&self) -> impl Iterator<Item = f32> {
        let all = self.temperatures.iter().flat_map(|sensors| &sensors.0);
        all.filter_map(|degrees| *degrees)
    }
}

/// Sends one query. Returns `None` when the port does not answer, and `Some(None)` when the answer
/// has no value.
fn one<T: Query>(client: &mut AtClient) -> Option<Option<T>> {
    let answer = client.ask(T::COMMAND, None, Some(PATIENCE)).ok()?;
    Some(match answer.result {
        Ok(()) => T::parse(&answer.lines).ok(),
        Err(_) => None,
    })
}

/// Returns the technology, and the name, the value and the unit of each quantity that is known.
fn quantities(signal: &Signal) -> (&'static str, Vec<(&'static str, f32, &'static str)>) {
    let known = |list: Vec<(&'static str, Option<f32>, &'static str)>| {
        list.into_iter()
            .filter_map(|(name, value, unit)| Some((name, value?, unit)))
            .collect()
    };
    match *signal {
        Signal::NoService => ("no service", Vec::new()),
        Signal::Gsm { rssi } => ("GSM", known(vec![("rssi", rssi, "dBm")])),
        Signal::Wcdma { rssi, rscp, ecio } => (
            "WCDMA",
            known(vec![
                ("rssi", rssi, "dBm"),
                ("rscp", rscp, "dBm"),
                ("ecio", ecio, "dB"),
            ]),
        ),
        Signal::Lte {
            rssi,
            rsrp,
            sinr,
            rsrq,
        } => (
            "LTE",
            known(vec![
                ("rssi", rssi, "dBm"),
                ("rsrp", rsrp, "dBm"),
                ("sinr", sinr, "dB"),
                ("rsrq", rsrq, "dB"),
            ]),
        ),
    }
}

/// Rounds to tenths: the modem gives no finer values, and more digits are noise of the conversion.
fn tenths(quantity: f32) -> f64 {
    (f64::from(quantity) * 10.0).round() / 10.0
}

fn signal_words(signal: &Signal) -> String {
    let (technology, quantities) = quantities(signal);
    quantities
        .into_iter()
        .fold(technology.to_owned(), |words, (name, value, unit)| {
            format!("{words}, {name} {value:.1} {unit}")
        })
}

fn signal_shown(signal: &Signal) -> SignalShown {
    let (technology, quantities) = quantities(signal);
    let quantities = quantities.into_iter();
    SignalShown {
        technology,
        quantities: quantities
            .map(|(name, quantity, _)| (name, tenths(quantity)))
            .collect(),
    }
}

/// Facts that a modem reports over AT, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Port that answers.
    port: String,
    /// Model.
    model: Option<String>,
    /// Quality of the signal.
    signal: Option<SignalShown>,
    /// Temperatures in °C.
    temperatures: Vec<f64>,
    /// Answer of `AT^IPV6CAP?`.
    ipv6_capability: Option<u8>,
}

/// Quality of the signal as AT reports it.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct SignalShown {
    /// Technology: `GSM`, `WCDMA`, `LTE` or `no service`.
    technology: &'static str,
    /// The known ones of `rssi`, `rsrp` and `rscp` in dBm, `sinr`, `rsrq` and `ecio` in dB.
    #[serde(flatten)]
    quantities: BTreeMap<&'static str, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_with_its_units() {
        let signal = Signal::Lte {
            rssi: Some(-71.0),
            rsrp: Some(-99.0),
            sinr: Some(9.8),
            rsrq: None,
        };
        assert_eq!(
            signal_words(&signal),
            "LTE, rssi -71.0 dBm, rsrp -99.0 dBm, sinr 9.8 dB"
        );
        let quantities = [("rssi", -71.0), ("rsrp", -99.0), ("sinr", 9.8)];
        assert_eq!(
            signal_shown(&signal),
            SignalShown {
                technology: "LTE",
                quantities: quantities.into(),
            }
        );
        assert_eq!(signal_words(&Signal::NoService), "no service");
    }
}
