//! Status of a modem, as `status --json` prints it.

mod interface;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

pub use interface::{HostChange, Interface, InterfaceType};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use uwwan_ncm::NtbParameters;

use crate::diagnosis::Diagnosis;
use crate::failure::{Failure, Rung};
use crate::heal::HealEvent;
use crate::options::FccUnlock;

/// Declares [`Status`], and beside it `Form`, whose derived functions read and write the fields of a
/// `Status` as they are. Derived for `Status` itself they would be inherent functions, which hide
/// those of the traits and do not handle session 0.
macro_rules! status {
    ($(#[$about:meta])* pub struct Status {
        $($(#[doc = $text:literal])* $(#[serde($($serde:tt)*)])? pub $field:ident: $type:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Status {
            $($(#[doc = $text])* pub $field: $type,)*
        }

        #[derive(Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, remote = "Status")]
        struct Form {
            $($(#[doc = $text])* $(#[serde($($serde)*)])? $field: $type,)*
        }
    };
}

status! {
    /// Status of one modem.
    ///
    /// As JSON, `addresses` and `interface` are those of session 0, and `sessions` are the others.
    pub struct Status {
        /// Vendor id, product id and port of the device, as `03f0:a31d at 1-4`; empty until it is
        /// found.
        pub device: String,
        /// Port of the device, as `1-4`; empty until it is found.
        pub port: String,
        /// Name of the device in the quirk table.
        pub model: String,
        /// Public procedure that lifts the modem's FCC lock, if it may have one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub fcc_unlock: Option<FccUnlock>,
        /// Rung that was reached last; `None` before the first.
        pub rung: Option<Rung>,
        /// Rung that is being tried, while the top is not reached.
        pub trying: Option<Rung>,
        /// Seconds since the state last changed.
        pub since_seconds: f64,
        /// State of the modem and of session 0, for programs.
        pub state: State,
        /// Reason in words why the modem is in this state.
        pub why: String,
        /// Last failure, if there was one since the last success.
        pub failure: Option<Failure>,
        /// Whether packets flow on session 0.
        pub online: bool,
        /// Number of bring-ups begun, the present one included.
        pub attempts: u32,
        /// USB configuration before and after the switch.
        pub configuration: Option<ConfigurationChange>,
        /// Rungs of the present bring-up with their durations.
        pub rungs: Vec<RungTime>,
        /// Layout of NTBs in use.
        pub framing: Option<FramingStatus>,
        /// Last step of the healing of that layout, or the memory that it comes from.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub heal: Option<HealEvent>,
        /// Identity that the device reported.
        pub identity: Option<DeviceIdentity>,
        /// Registration with a network.
        pub network: Option<Network>,
        /// Signal quality.
        pub signal: Option<Signal>,
        /// Link of a plain network device.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ethernet: Option<EthernetStatus>,
        /// Traffic and NTB statistics since the start of the program.
        pub traffic: Traffic,
        /// Data sessions, session 0 first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub sessions: Vec<SessionStatus>,
        /// Diagnoses made in the present bring-up.
        pub diagnosed: Vec<Diagnosis>,
    }
}

impl Status {
    /// Returns the data session with this id.
    #[must_use]
    pub fn session(&self, id: u8) -> Option<&SessionStatus> {
        self.sessions.iter().find(|session| session.session == id)
    }

    /// Returns the addresses of session 0: from the network, or from the user with a plain network
    /// device.
    #[must_use]
    pub fn addresses(&self) -> Option<&Addresses> {
        self.session(0)?.addresses.as_ref()
    }

    /// Adds a diagnosis, unless there are many already.
    pub(crate) fn add_diagnosis(&mut self, diagnosis: Diagnosis) {
        if self.diagnosed.len() < 16 {
            self.diagnosed.push(diagnosis);
        }
    }

    /// Returns the host's interface of session 0.
    #[must_use]
    pub fn interface(&self) -> Option<&Interface> {
        self.session(0)?.interface.as_ref()
    }
}

/// State of a modem or of a data session, as a program compares it.
///
/// The rung that a modem tries or waits for is [`Status::trying`], and its last failure is
/// [`Status::failure`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing was tried yet.
    #[default]
    Starting,
    /// A rung of the bring-up is being tried.
    Trying,
    /// The rung waits for a condition that may pass by itself; a session beside session 0 waits for
    /// the modem.
    Waiting,
    /// The last attempt has failed. It is repeated, unless `up` ends.
    Failed,
    /// Packets flow.
    Online,
    /// The modem, its network or session 0 was lost, and is brought up again.
    Lost,
    /// The modem was stopped and released.
    Stopped,
}

/// Form in which a [`Status`] is written as JSON, with session 0 apart from the others.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
struct WithSession0<'a> {
    #[serde(flatten, serialize_with = "without_session_0")]
    #[schemars(with = "Form")]
    status: &'a Status,
    /// Addresses of session 0.
    ip: Option<&'a Addresses>,
    /// Copy of `ip`.
    #[schemars(extend("deprecated" = true))]
    addresses: Option<&'a Addresses>,
    /// Host's interface of session 0.
    interface: Option<&'a Interface>,
    /// Texts of `diagnosed`.
    #[schemars(extend("deprecated" = true))]
    diagnoses: Vec<&'a str>,
}

impl JsonSchema for Status {
    fn schema_name() -> Cow<'static, str> {
        WithSession0::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        WithSession0::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WithSession0::json_schema(generator)
    }
}

fn without_session_0<S: Serializer>(status: &&Status, serializer: S) -> Result<S::Ok, S::Error> {
    let mut status = (*status).clone();
    status.sessions.retain(|session| session.session != 0);
    Form::serialize(&status, serializer)
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = WithSession0 {
            status: self,
            ip: self.addresses(),
            addresses: self.addresses(),
            interface: self.interface(),
            diagnoses: self.diagnosed.iter().map(|d| d.text.as_str()).collect(),
        };
        form.serialize(serializer)
    }
}

/// Form in which a [`Status`] is read from JSON.
#[derive(Deserialize)]
struct ReadWithSession0 {
    #[serde(flatten, with = "Form")]
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
            state: status.state,
            why: status.why.clone(),
            addresses: form.addresses,
            interface: form.interface,
            ..SessionStatus::default()
        };
        status.sessions.insert(0, session_0);
        Ok(status)
    }
}

/// Link of a plain network device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EthernetStatus {
    /// Ethernet address that the device gives to the host, as `02:42:ac:11:00:0f`; empty when it
    /// gives none.
    pub address: String,
    /// Whether the device has a link; `None` when it has not reported that.
    pub link: Option<bool>,
    /// Rate towards the host, in bit/s; 0 when not reported.
    pub downlink_bits: u32,
    /// Rate towards the network, in bit/s; 0 when not reported.
    pub uplink_bits: u32,
    /// Size of the longest frame in both directions, in bytes, header included.
    pub frame_size: u16,
}

/// Status of a data session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, into = "SessionForm")]
pub struct SessionStatus {
    /// MBIM session id.
    pub session: u8,
    /// Access point name that was asked for.
    pub apn: String,
    /// Whether packets flow on the session.
    pub online: bool,
    /// State of the session, for programs.
    pub state: State,
    /// Reason in words why the session is in this state.
    pub why: String,
    /// Addresses of the session; those of session 0 are kept while it is lost.
    pub addresses: Option<Addresses>,
    /// Host's interface of the session.
    pub interface: Option<Interface>,
    /// Traffic from host to network since the start of the program. NTBs are counted for all
    /// sessions together.
    pub uplink: Direction,
    /// Traffic from network to host since the start of the program.
    pub downlink: Direction,
}

/// Form in which a [`SessionStatus`] is written as JSON.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionStatus")]
struct SessionForm {
    /// MBIM session id.
    session: u8,
    /// Access point name that was asked for.
    apn: String,
    /// Whether packets flow on the session.
    online: bool,
    /// State of the session, for programs.
    state: State,
    /// Reason in words why the session is in this state.
    why: String,
    /// Addresses of the session.
    ip: Option<Addresses>,
    /// Copy of `ip`.
    #[schemars(extend("deprecated" = true))]
    addresses: Option<Addresses>,
    /// Host's interface of the session.
    interface: Option<Interface>,
    /// Traffic from host to network since the start of the program.
    uplink: Direction,
    /// Traffic from network to host since the start of the program.
    downlink: Direction,
}

impl From<SessionStatus> for SessionForm {
    fn from(status: SessionStatus) -> Self {
        Self {
            session: status.session,
            apn: status.apn,
            online: status.online,
            state: status.state,
            why: status.why,
            ip: status.addresses.clone(),
            addresses: status.addresses,
            interface: status.interface,
            uplink: status.uplink,
            downlink: status.downlink,
        }
    }
}

impl JsonSchema for SessionStatus {
    fn schema_name() -> Cow<'static, str> {
        SessionForm::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        SessionForm::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SessionForm::json_schema(generator)
    }
}

/// Switch of the USB configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationChange {
    /// `bConfigurationValue` at the start, 0 when unconfigured.
    pub before: u8,
    /// `bConfigurationValue` after the switch.
    pub after: u8,
}

/// Rung with its duration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RungTime {
    /// Rung that was reached.
    pub rung: Rung,
    /// Duration of the rung in seconds.
    pub seconds: f64,
}

/// Layout of NTBs in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FramingStatus {
    /// Format of NTBs to the device: `16`, `32`, or `none` where a transfer is one frame.
    pub format: String,
    /// Place of the NDP in NTBs to the device: `end` or `front`.
    pub ndp: String,
    /// Size of the largest NTB to the device, in bytes.
    pub output_size: u32,
    /// Size of the largest NTB from the device, in bytes.
    pub input_size: u32,
    /// Largest number of datagrams in an NTB to the device.
    pub max_datagrams: u32,
    /// Number of transfers in flight towards the host.
    pub receive_transfers: usize,
    /// Number of transfers in flight towards the device.
    pub send_transfers: usize,
    /// Whether the buffers of transfers are mapped from the kernel.
    pub mapped_buffers: bool,
    /// Whether datagrams go over USB as Ethernet frames, each longer by a header than the IP datagram in it.
    pub frames: bool,
    /// Size of the largest USB packet to the device, in bytes (`wMaxPacketSize`).
    pub packet_size: u16,
    /// NTB parameters that the device announced; `None` when it did not.
    #[schemars(with = "Option<BTreeMap<String, u32>>")]
    pub announced: Option<NtbParameters>,
}

/// Identity that the device reported. It has no IMEI and no IMSI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeviceIdentity {
    /// Firmware version.
    pub firmware: String,
    /// Hardware name.
    pub hardware: String,
    /// Number of data sessions the device has at a time.
    pub max_sessions: u32,
}

/// Registration with a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, into = "NetworkForm")]
pub struct Network {
    /// State of the registration: `home`, `roaming`, `searching` and so on.
    pub state: String,
    /// Digits of MCC and MNC.
    pub provider_id: String,
    /// Name of the provider.
    pub provider: String,
    /// Data classes available, as `LTE, UMTS`.
    pub data_classes: String,
    /// Uplink rate that the network promises, in bit/s.
    pub uplink_bits: u64,
    /// Downlink rate that the network promises, in bit/s.
    pub downlink_bits: u64,
}

/// Form in which a [`Network`] is written as JSON.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Network")]
struct NetworkForm {
    /// State of the registration: `home`, `roaming`, `searching` and so on.
    state: String,
    /// Digits of MCC and MNC.
    plmn: String,
    /// Name of the provider.
    name: String,
    /// Names of the data classes available.
    data_class_names: Vec<String>,
    /// Copy of `plmn`.
    #[schemars(extend("deprecated" = true))]
    provider_id: String,
    /// Copy of `name`.
    #[schemars(extend("deprecated" = true))]
    provider: String,
    /// Copy of `data_class_names`, separated by commas.
    #[schemars(extend("deprecated" = true))]
    data_classes: String,
    /// Uplink rate that the network promises, in bit/s.
    uplink_bits: u64,
    /// Downlink rate that the network promises, in bit/s.
    downlink_bits: u64,
}

impl From<Network> for NetworkForm {
    fn from(network: Network) -> Self {
        let classes = network.data_classes.split(", ");
        Self {
            state: network.state,
            plmn: network.provider_id.clone(),
            name: network.provider.clone(),
            data_class_names: classes
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            provider_id: network.provider_id,
            provider: network.provider,
            data_classes: network.data_classes,
            uplink_bits: network.uplink_bits,
            downlink_bits: network.downlink_bits,
        }
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        NetworkForm::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        NetworkForm::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NetworkForm::json_schema(generator)
    }
}

/// Signal quality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Signal {
    /// Received signal strength in dBm; `None` when the device does not know it.
    pub rssi_dbm: Option<i32>,
    /// Bit error rate class, 0 (best) to 7; `None` when the device does not know it.
    pub error_rate: Option<u32>,
}

/// IPv4 address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prefix4 {
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// Length of the on-link prefix in bits.
    pub prefix: u8,
}

/// IPv6 address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prefix6 {
    /// IPv6 address.
    pub address: Ipv6Addr,
    /// Length of the on-link prefix in bits.
    pub prefix: u8,
}

/// Addresses from the network, as they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Returns every address with its prefix length, as text.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let v4 = self.ipv4.map(|p| format!("{}/{}", p.address, p.prefix));
        let v6 = self.ipv6.map(|p| format!("{}/{}", p.address, p.prefix));
        v4.into_iter().chain(v6).collect()
    }
}

/// Traffic and NTB statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Traffic {
    /// Traffic from host to network.
    pub uplink: Direction,
    /// Traffic from network to host.
    pub downlink: Direction,
    /// Calls to the host interface.
    pub host: HostCalls,
    /// NTBs to the device, counted by the reason that closed them.
    pub closed: Vec<Counter>,
    /// Dropped datagrams and NTBs, counted by reason.
    pub dropped: Vec<Counter>,
    /// Transfer errors and recoveries, counted by kind.
    pub errors: Vec<Counter>,
}

/// Counts of the packets that crossed the host interface, of all sessions together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HostCalls {
    /// Number of packets read, large ones counted once.
    pub reads: u64,
    /// Number of packets written, large ones counted once.
    pub writes: u64,
    /// Number of large packets that were read and cut.
    pub cut: u64,
    /// Number of datagrams written as part of a larger packet.
    pub merged: u64,
    /// Number of payload bytes that were moved to their places after the read. Short packets that
    /// were expected are not counted.
    pub moved_bytes: u64,
    /// Number of datagrams that were neither cut nor merged because their checksum is wrong.
    pub damaged: u64,
    /// Number of acknowledgements of TCP that the ACK filter left out because a later one supersedes
    /// them; 0 without it.
    pub superseded_acks: u64,
}

/// Traffic in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Direction {
    /// Number of datagrams.
    pub packets: u64,
    /// Bytes in datagrams.
    pub bytes: u64,
    /// Number of NTBs.
    pub blocks: u64,
    /// Bytes in NTBs, framing included.
    pub block_bytes: u64,
}

/// Count with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    /// Name of the things that are counted.
    pub name: String,
    /// Count.
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
            state: State::Online,
            why: "online".into(),
            interface: Some(Interface {
                name: name.into(),
                ..Interface::default()
            }),
            ..SessionStatus::default()
        };
        let mut status = Status {
            online: true,
            state: State::Online,
            why: "online".into(),
            sessions: vec![named(0, "wwan0"), named(3, "wwan3")],
            ..Status::default()
        };
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["interface"]["name"], "wwan0");
        assert_eq!(json["state"], "online");
        assert_eq!(json["sessions"][0]["state"], "online");
        assert!(json["addresses"].is_null());
        assert_eq!(json["sessions"][0]["session"], 3);
        assert_eq!(json["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(Status::deserialize(&json).unwrap(), status);
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
        status.sessions.pop();
        let json = serde_json::to_value(&status).unwrap();
        assert!(json.get("sessions").is_none());
        assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
    }
}
