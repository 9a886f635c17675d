//! The outcome of the demo, as its one line of JSON and as a summary for people.

use schemars::JsonSchema;
use serde::Serialize;
use uwwan_modem::Rung;
use uwwan_modem::status::{Addresses, HostCalls};

use crate::output::{bytes, mbit_s, rounded, seconds};

/// The outcome, which is printed as a line of JSON. All parts are there when the demo worked; on a
/// failure the parts that were not reached are null and `error` gives the reason.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Outcome {
    /// The USB configuration before and after the switch.
    pub configuration: Option<Switch>,
    /// Place of the NDP in NTBs to the modem: `end` or `front`.
    pub ndp: Option<String>,
    /// Addresses of the host.
    pub ip: Option<Addresses>,
    /// Addresses of `ip`, with prefix lengths.
    #[schemars(extend("deprecated" = true))]
    pub addresses: Vec<String>,
    /// Counts and times of the echo requests.
    pub ping: Option<Ping>,
    /// Transfer from the network.
    pub download: Option<Transfer>,
    /// Transfer to the network.
    pub upload: Option<Transfer>,
    /// Rungs of the bring-up with their durations.
    pub rungs: Vec<RungTime>,
    /// Seconds from start to end, the stop included.
    pub seconds: f64,
    /// Mode in which packets crossed the host's interface, empty for the built-in stack.
    pub tun_mode: String,
    /// Calls to the host interface, and payload bytes that were copied on the way.
    pub host_calls: HostCalls,
    /// Description of the failure. The field is absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A configuration switch, by `bConfigurationValue`.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Switch {
    /// Configuration at the start. 0 stands for an unconfigured device.
    pub before: u8,
    /// Configuration after the switch.
    pub after: u8,
}

/// Counts and times of echo requests and replies.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub struct Ping {
    /// Number of requests that were sent.
    pub sent: u32,
    /// Number of replies that came in time.
    pub received: u32,
    /// Median round trip in milliseconds, if any reply came.
    pub rtt_ms_median: Option<f64>,
}

/// A transfer whose every byte was verified.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Transfer {
    /// Number of payload bytes.
    pub bytes: u64,
    /// Payload rate, in 10⁶ bits per second.
    pub mbit_s: f64,
}

/// A rung with its duration.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RungTime {
    /// Rung, as in `status --json`.
    pub rung: Rung,
    /// Copy of `rung`.
    #[schemars(extend("deprecated" = true))]
    pub name: Rung,
    /// Seconds that the rung took.
    pub seconds: f64,
}

impl Transfer {
    /// Returns the transfer of that many payload bytes in that time.
    pub fn new(bytes: u64, time: std::time::Duration) -> Self {
        Self {
            bytes,
            mbit_s: rounded(mbit_s(bytes, time), 1),
        }
    }
}

impl Outcome {
    /// Returns the summary for people in lines. `host` describes the network stack of the host.
    pub fn summary(&self, host: &str) -> Vec<String> {
        let mut lines = vec!["summary".to_owned()];
        let mut field = |name: &str, text: String| lines.push(format!("  {name:<15}{text}"));
        if let Some(switch) = self.configuration {
            field(
                "configuration",
                format!("{} -> {}", switch.before, switch.after),
            );
        }
        if let Some(ndp) = &self.ndp {
            field("NDP", format!("at the {ndp} of each NTB"));
        }
        if !self.addresses.is_empty() {
            field("addresses", self.addresses.join(", "));
        }
        field("host", host.to_owned());
        if let Some(ping) = self.ping {
            let median = ping.rtt_ms_median.map_or(String::new(), |ms| {
                format!(", median {}", seconds(ms / 1e3))
            });
            field(
                "ping",
                format!("{} of {} answered{median}", ping.received, ping.sent),
            );
        }
        for (name, transfer) in [("download", self.download), ("upload", self.upload)] {
            if let Some(transfer) = transfer {
                field(
                    name,
                    format!(
                        "{} at {:.0} Mbit/s, every byte verified",
                        bytes(transfer.bytes),
                        transfer.mbit_s
                    ),
                );
            }
        }
        field("time", seconds(self.seconds));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn good() -> Outcome {
        Outcome {
            configuration: Some(Switch {
                before: 2,
                after: 3,
            }),
            ndp: Some("end".into()),
            ip: None,
            addresses: vec!["10.0.0.1/30".into()],
            ping: Some(Ping {
                sent: 10,
                received: 10,
                rtt_ms_median: Some(0.25),
            }),
            download: Some(Transfer::new(1_000_000, Duration::from_millis(100))),
            upload: Some(Transfer::new(1_000_000, Duration::from_millis(200))),
            rungs: vec![RungTime {
                rung: Rung::Found,
                name: Rung::Found,
                seconds: 0.01,
            }],
            seconds: 2.5,
            tun_mode: "plain".into(),
            host_calls: HostCalls::default(),
            error: None,
        }
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        assert_eq!(
            serde_json::to_string(&good()).unwrap(),
            r#"{"configuration":{"before":2,"after":3},"ndp":"end","ip":null,"addresses":["10.0.0.1/30"],"ping":{"sent":10,"received":10,"rtt_ms_median":0.25},"download":{"bytes":1000000,"mbit_s":80.0},"upload":{"bytes":1000000,"mbit_s":40.0},"rungs":[{"rung":"found","name":"found","seconds":0.01}],"seconds":2.5,"tun_mode":"plain","host_calls":{"reads":0,"writes":0,"cut":0,"merged":0,"moved_bytes":0,"damaged":0,"superseded_acks":0}}"#
        );
    }

    #[test]
    fn a_failure_is_told_in_the_same_shape() {
        let outcome = Outcome {
            upload: None,
            error: Some("nothing comes back".into()),
            ..good()
        };
        let value = serde_json::to_value(&outcome).unwrap();
        assert!(value["upload"].is_null());
        assert_eq!(value["error"], "nothing comes back");
    }

    #[test]
    fn people_get_the_same() {
        let text = good().summary("tun0").join("\n");
        for part in [
            "2 -> 3",
            "10 of 10 answered, median 250 µs",
            "1.0 MB at 80 Mbit/s",
            "2.50 s",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
