//! What `status --json` prints.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
pub use uwwan_ncm::NtbParameters;

use crate::failure::{Failure, Rung};

/// The state of one modem.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// Addresses from the network, or from the user with a plain network device.
    pub addresses: Option<Addresses>,
    /// The host's interface.
    pub interface: Option<Interface>,
    /// Traffic and block statistics since the start of the program.
    pub traffic: Traffic,
    /// The data sessions beside session 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionStatus>,
    /// Diagnoses made in the present bring-up.
    pub diagnoses: Vec<String>,
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

/// A data session beside session 0.
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
    /// Its addresses.
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
