//! What `status --json` prints.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use uwwan_ncm::NtbParameters;

use crate::failure::{Failure, Rung};

/// The state of one modem.
///
/// As JSON, `addresses` and `interface` are those of session 0, and `sessions` are the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
pub struct Status {
    /// The device, as `03f0:a31d at 1-4`; empty until found.
    pub device: String,
    /// The quirk table's name for it.
    pub model: String,
    /// The rung reached last; `None` before the first.
    pub rung: Option<Rung>,
    /// The rung being tried, when the top is not reached.
    pub trying: Option<Rung>,
    /// Seconds since the state last changed.
    pub since_seconds: f64,
    /// Why it is in this state, in words.
    pub why: String,
    /// The last failure, if any since the last success.
    pub failure: Option<Failure>,
    /// Whether packets flow.
    pub online: bool,
    /// Bring-ups begun, the present one included.
    pub attempts: u32,
    /// USB configuration before and after the switch.
    pub configuration: Option<ConfigurationChange>,
    /// The rungs of the present bring-up with their durations.
    pub rungs: Vec<RungTime>,
    /// Transfer block layout in use.
    pub framing: Option<FramingStatus>,
    /// What the device said it is.
    pub identity: Option<DeviceIdentity>,
    /// Registration.
    pub network: Option<Network>,
    /// Signal.
    pub signal: Option<Signal>,
    /// With a plain network device: its link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethernet: Option<EthernetStatus>,
    /// Traffic and block statistics since the start of the program.
    pub traffic: Traffic,
    /// The data sessions, session 0 first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionStatus>,
    /// Diagnoses made in the present bring-up.
    pub diagnoses: Vec<String>,
}

impl Status {
    /// The data session of this number.
    #[must_use]
    pub fn session(&self, id: u8) -> Option<&SessionStatus> {
        self.sessions.iter().find(|session| session.session == id)
    }

    /// Addresses of session 0 from the network, or from the user with a plain network device.
    #[must_use]
    pub fn addresses(&self) -> Option<&Addresses> {
        self.session(0)?.addresses.as_ref()
    }

    /// The host's interface of session 0.
    #[must_use]
    pub fn interface(&self) -> Option<&Interface> {
        self.session(0)?.interface.as_ref()
    }
}

/// A [`Status`] as JSON: session 0 apart from the others.
#[derive(Serialize)]
struct WithSession0<'a> {
    #[serde(flatten, serialize_with = "without_session_0")]
    status: &'a Status,
    addresses: Option<&'a Addresses>,
    interface: Option<&'a Interface>,
}

fn without_session_0<S: Serializer>(status: &&Status, serializer: S) -> Result<S::Ok, S::Error> {
    let mut status = (*status).clone();
    status.sessions.retain(|session| session.session != 0);
    Status::serialize(&status, serializer)
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = WithSession0 {
            status: self,
            addresses: self.addresses(),
            interface: self.interface(),
        };
        form.serialize(serializer)
    }
}

/// What [`WithSession0`] is read as.
#[derive(Deserialize)]
struct ReadWithSession0 {
    #[serde(flatten, with = "Status")]
    status: Status,
    #[serde(default)]
    addresses: Option<Addresses>,
    #[serde(default)]
    interface: Option<Interface>,
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = ReadWithSession0::deserialize(deserializer)?;
        let mut status = form.status;
        let session_0 = SessionStatus {
            online: status.online,
            why: status.why.clone(),
            addresses: form.addresses,
            interface: form.interface,
            ..SessionStatus::default()
        };
        status.sessions.insert(0, session_0);
        Ok(status)
    }
}

/// The link of a plain network device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EthernetStatus {
    /// The address the device gives to the host, as `02:42:ac:11:00:0f`; empty when it gives none.
    pub address: String,
    /// Whether the device has a link; `None` when it has not told.
    pub link: Option<bool>,
    /// Rate towards the host, in bit/s; 0 when not told.
    pub downlink_bits: u32,
    /// Rate towards the network, in bit/s; 0 when not told.
    pub uplink_bits: u32,
    /// Longest frame both ways, in bytes, header included.
    pub frame_size: u16,
}

/// A data session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    /// Its number.
    pub session: u8,
    /// The access point asked for.
    pub apn: String,
    /// Whether its packets flow.
    pub online: bool,
    /// Why it is in this state, in words.
    pub why: String,
    /// Its addresses; those of session 0 are kept while it is lost.
    pub addresses: Option<Addresses>,
    /// Its interface.
    pub interface: Option<Interface>,
    /// Host to network, since the start of the program; blocks are counted for all sessions together.
    pub uplink: Direction,
    /// Network to host.
    pub downlink: Direction,
}

/// The switch of the USB configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationChange {
    /// `bConfigurationValue` at the start, 0 when unconfigured.
    pub before: u8,
    /// `bConfigurationValue` now.
    pub after: u8,
}

/// A rung with its duration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RungTime {
    /// Which.
    pub rung: Rung,
    /// How long it took.
    pub seconds: f64,
}

/// Transfer block layout in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FramingStatus {
    /// `16` or `32`.
    pub format: String,
    /// `end` or `front`.
    pub ndp: String,
    /// Largest block to the device, in bytes.
    pub output_size: u32,
    /// Largest block from the device, in bytes.
    pub input_size: u32,
    /// Datagrams per block to the device at most.
    pub max_datagrams: u32,
    /// Transfers in flight towards the host.
    pub receive_transfers: usize,
    /// Transfers in flight towards the device.
    pub send_transfers: usize,
    /// Whether the buffers are mapped from the kernel.
    pub mapped_buffers: bool,
    /// What the device announced; `None` when it did not.
    pub announced: Option<NtbParameters>,
}

/// What the device said it is. No IMEI, no IMSI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceIdentity {
    /// Firmware version.
    pub firmware: String,
    /// Hardware name.
    pub hardware: String,
    /// Data sessions at once.
    pub max_sessions: u32,
}

/// Registration with a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// `home`, `roaming`, `searching`…
    pub state: String,
    /// MCC and MNC digits.
    pub provider_id: String,
    /// The provider's name.
    pub provider: String,
    /// Data classes available, as `LTE, UMTS`.
    pub data_classes: String,
    /// Uplink rate promised, in bit/s.
    pub uplink_bits: u64,
    /// Downlink rate promised, in bit/s.
    pub downlink_bits: u64,
}

/// Signal quality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signal {
    /// Received strength in dBm; `None` when the device does not know.
    pub rssi_dbm: Option<i32>,
    /// Bit error rate class, 0 (best) to 7; `None` when the device does not know.
    pub error_rate: Option<u32>,
}

/// An IPv4 address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix4 {
    /// The address.
    pub address: Ipv4Addr,
    /// On-link prefix length.
    pub prefix: u8,
}

/// An IPv6 address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix6 {
    /// The address.
    pub address: Ipv6Addr,
    /// On-link prefix length.
    pub prefix: u8,
}

/// Addresses from the network, as they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addresses {
    /// IPv4 address.
    pub ipv4: Option<Prefix4>,
    /// IPv4 gateway; `None` when everything is on-link.
    pub gateway4: Option<Ipv4Addr>,
    /// IPv4 name servers.
    pub dns4: Vec<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Prefix6>,
    /// IPv6 gateway; `None` when everything is on-link.
    pub gateway6: Option<Ipv6Addr>,
    /// IPv6 name servers.
    pub dns6: Vec<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u16,
}

impl Addresses {
    /// Every address with its prefix length, as text.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let v4 = self.ipv4.map(|p| format!("{}/{}", p.address, p.prefix));
        let v6 = self.ipv6.map(|p| format!("{}/{}", p.address, p.prefix));
        v4.into_iter().chain(v6).collect()
    }
}

/// The host's interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name, or what stands for it.
    pub name: String,
    /// How packets cross it: the mode of a TUN interface with its offloads, or why it is plain.
    pub mode: String,
    /// What was changed on the host, a line each.
    pub applied: Vec<String>,
}

/// Traffic and block statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Host to network.
    pub uplink: Direction,
    /// Network to host.
    pub downlink: Direction,
    /// The calls to the host's end.
    pub host: HostCalls,
    /// Blocks to the device by what closed them: (reason, blocks).
    pub closed: Vec<Counter>,
    /// Datagrams and blocks dropped: (reason, count).
    pub dropped: Vec<Counter>,
    /// Transfer errors and recoveries: (kind, count).
    pub errors: Vec<Counter>,
}

/// What crossed the host's end, all sessions together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostCalls {
    /// Packets read, large ones counted once.
    pub reads: u64,
    /// Packets written, large ones counted once.
    pub writes: u64,
    /// Large packets read and cut.
    pub cut: u64,
    /// Datagrams written as part of a larger packet.
    pub merged: u64,
    /// Payload bytes that were moved after the read to where they belong; those are all the copies
    /// there are.
    pub moved_bytes: u64,
    /// Datagrams left alone because their checksum is wrong.
    pub damaged: u64,
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Direction {
    /// Datagrams.
    pub packets: u64,
    /// Datagram bytes.
    pub bytes: u64,
    /// Transfer blocks.
    pub blocks: u64,
    /// Block bytes, framing included.
    pub block_bytes: u64,
}

/// A named count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What is counted.
    pub name: String,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_0_stands_apart_in_json() {
        let named = |session, name: &str| SessionStatus {
            session,
            online: true,
            why: "online".into(),
            interface: Some(Interface {
                name: name.into(),
                ..Interface::default()
            }),
            ..SessionStatus::default()
        };
        let mut status = Status {
            online: true,
            why: "online".into(),
            sessions: vec![named(0, "wwan0"), named(3, "wwan3")],
            ..Status::default()
        };
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["interface"]["name"], "wwan0");
        assert!(json["addresses"].is_null());
        assert_eq!(json["sessions"][0]["session"], 3);
        assert_eq!(json["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
        status.sessions.pop();
        let json = serde_json::to_value(&status).unwrap();
        assert!(json.get("sessions").is_none());
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }
}
