//! Options that the user can choose. Each has a default; most defaults come from the [quirk
//! table](crate::quirks) or from the device itself.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::heal::memory::LayoutMemory;
pub use crate::layout::{Format, Padding, Placement};
use crate::pin_memory::PinMemory;
pub use crate::secret::Secret;
use crate::state_file::StatePlace;
pub use crate::words::UnknownWord;
use crate::words::words;

/// Options of one modem. `Option::None` leaves the choice to the quirk table or the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// PIN of the SIM, without the line end of the file it came from; empty when there is none. It is
    /// fetched whenever the SIM is locked.
    pub pin: Secret,
    /// Whether the PIN is entered even when only one attempt remains before the SIM asks for its
    /// PUK, or when an earlier run was refused with it.
    pub force_pin: bool,
    /// Place where refused PINs are [remembered](crate::pin_memory) over runs.
    pub pin_memory: Option<StatePlace<PinMemory>>,
    /// Whether the modem goes online while registered with a foreign network.
    pub roaming: bool,
    /// Whether an FCC lock is lifted where a public [procedure](crate::fcc) is known. Whether that
    /// is allowed is the user's responsibility.
    pub fcc_unlock: bool,
    /// Time within which the modem must be online for the first time; serialised in seconds.
    #[serde(with = "optional_seconds")]
    pub timeout: Option<Duration>,
    /// Pause between USB configuration 0 and the MBIM configuration; serialised in seconds.
    #[serde(with = "optional_seconds")]
    pub settle: Option<Duration>,
    /// Time for which MBIM_OPEN may stay unanswered; serialised in seconds.
    #[serde(with = "optional_seconds")]
    pub open_budget: Option<Duration>,
    /// Place of the NDP in NTBs to the device.
    pub ndp: Option<Placement>,
    /// Format of NTBs to the device.
    pub ntb: Option<Format>,
    /// Size of the NDP in NTBs to the device.
    pub table: Option<Table>,
    /// End of NTBs to the device whose length is a multiple of the packet size.
    pub padding: Option<Padding>,
    /// Devices on which the layout of NTBs is [healed](crate::heal).
    pub heal: Heal,
    /// Place where layouts that worked are [kept](crate::heal::memory) over runs.
    pub layout_memory: Option<StatePlace<LayoutMemory>>,
    /// Size of the largest NTB to the device, in bytes.
    pub block_size: Option<u32>,
    /// Largest number of datagrams in an NTB to the device; the device's own limit stays in force.
    pub max_datagrams: Option<u16>,
    /// Size of the largest NTB from the device, in bytes.
    pub input_size: Option<u32>,
    /// Number of transfers kept in flight in each direction, 1 to 256.
    pub in_flight: Option<usize>,
    /// Framing of NTBs to the device that goes beyond what the device announced.
    pub experiment: Experiment,
    /// Nice value of the thread that moves the packets, -20 to 19 (setpriority(2)). `None` stands
    /// for -11, unless the program was started with a nice value of its own.
    pub nice: Option<i32>,
    /// Whether acknowledgements of TCP on their way to the host that a later one supersedes are left
    /// out, as the ACK filter of CAKE does (tc-cake(8)). It takes [`TunMode::Offload`].
    pub ack_filter: bool,
    /// Number of the network function to drive, from 1, in the order of
    /// [`network`](uwwan_usb::functions::network). `None` is the first.
    pub function: Option<u8>,
    /// Mode in which the modem carries packets. `None` stands for the mode in the modem's row of the quirk
    /// table, if the device has it; otherwise for MBIM where the device has that, then for a plain network
    /// device that was selected, then for a function that is dialled by AT commands.
    pub mode: Option<Mode>,
    /// Whether the host has the Ethernet link of a modem that carries Ethernet frames itself, as a TAP
    /// interface. With a modem that carries IP datagrams this is an error.
    pub tap: bool,
    /// Whether the device is given back to the kernel's drivers after a clean end, if they had it
    /// at the start: in the configuration that was active then.
    pub reattach_drivers: bool,
    /// Whether a device that is not there at the start is waited for; otherwise the start fails.
    pub wait_for_device: bool,
    /// Whether the bring-up is tried again after a failure that repetition alone will not cure. A
    /// wrong PIN is never repeated.
    pub persist: bool,
    /// Whether the network's name server (or gateway) is sent a request after going online, so that
    /// a data session that carries nothing can be told from an idle one.
    pub probe: bool,
    /// Options of the data sessions. Session 0 must be one of them, because the others come up
    /// after it.
    pub sessions: Vec<SessionOptions>,
    /// Whether this driver owns the AT port as well; otherwise the port is left to the kernel's
    /// serial driver.
    pub at_port: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pin: Secret::default(),
            force_pin: false,
            pin_memory: None,
            roaming: false,
            fcc_unlock: false,
            timeout: None,
            settle: None,
            open_budget: None,
            ndp: None,
            ntb: None,
            table: None,
            padding: None,
            heal: Heal::default(),
            layout_memory: None,
            block_size: None,
            max_datagrams: None,
            input_size: None,
            in_flight: None,
            experiment: Experiment::default(),
            nice: None,
            ack_filter: false,
            function: None,
            mode: None,
            tap: false,
            reattach_drivers: true,
            wait_for_device: false,
            persist: false,
            probe: true,
            sessions: vec![SessionOptions::default()],
            at_port: true,
        }
    }
}

/// Framing of NTBs to the device that goes beyond what the device announced, for experiments with its
/// firmware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment {
    /// Divisor of a datagram's offset in bytes, in place of `wNdpOutDivisor`: the offset modulo the
    /// divisor is the remainder.
    pub divisor: Option<u16>,
    /// Remainder of a datagram's offset in bytes, in place of `wNdpOutPayloadRemainder`.
    pub remainder: Option<u16>,
    /// Alignment of an NDP in bytes, in place of `wNdpOutAlignment`.
    pub ndp_alignment: Option<u16>,
    /// Whether [`Options::block_size`] and [`Options::max_datagrams`] apply although the device announced
    /// less.
    pub beyond: bool,
    /// Sequence of `wSequence` over the NTBs.
    pub sequence: Sequence,
    /// Number of NTBs without datagrams that precede each NTB.
    pub empty: u8,
    /// Order of the requests that set the data function up.
    pub order: Order,
}

/// Options of one data session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionOptions {
    /// MBIM session id. The loss of session 0 brings the modem up anew; the others come up beside
    /// it.
    pub id: u8,
    /// Access point name; empty for the subscription's default.
    pub apn: String,
    /// Address families to ask the network for.
    pub ip_type: IpType,
    /// Authentication towards the access point.
    pub auth: Auth,
    /// User name for [`SessionOptions::auth`].
    pub user: String,
    /// Password for [`SessionOptions::auth`], which is fetched at each activation.
    pub password: Secret,
    /// MTU in bytes, in place of the one that network and device give; `None` takes session 0's
    /// choice.
    pub mtu: Option<u16>,
    /// Name of the TUN or TAP interface; without one the kernel chooses it.
    pub tun_name: Option<String>,
    /// Mode in which packets cross the interface.
    pub tun_mode: TunMode,
    /// Routes through the interface.
    pub routes: Routes,
    /// Metric of the routes: of several to the same destination the lowest wins. `None` is the
    /// kernel's default, 0 for IPv4 and 1024 for IPv6.
    pub route_metric: Option<u32>,
    /// Use of the name servers that the network hands out for the session.
    pub dns: Dns,
    /// Addresses of a plain network device, which hands out none.
    pub static_addresses: StaticAddresses,
}

impl Options {
    /// Returns the options of the data session with this id.
    #[must_use]
    pub fn session(&self, id: u8) -> Option<&SessionOptions> {
        self.sessions.iter().find(|session| session.id == id)
    }
}

/// Addresses that the user chooses, at most one of each family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StaticAddresses {
    /// Addresses of the host.
    pub addresses: Vec<HostPrefix>,
    /// Gateways for [`SessionOptions::routes`].
    pub gateways: Vec<IpAddr>,
}

/// Address with the length of its on-link prefix, as `192.0.2.7/24`. Without a length no other
/// address is on-link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPrefix {
    /// Address of the host.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
}

/// Error for text that is no address of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of a host: write it as 192.0.2.7/24 or 2001:db8::7/64")]
pub struct BadPrefix(pub String);

impl std::str::FromStr for HostPrefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.to_owned());
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(most), |length| length.parse().map_err(|_| bad()))?;
        if !(1..=most).contains(&length) || address.is_unspecified() || address.is_multicast() {
            return Err(bad());
        }
        Ok(Self { address, length })
    }
}

impl std::fmt::Display for HostPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl TryFrom<String> for HostPrefix {
    type Error = BadPrefix;

    fn try_from(text: String) -> Result<Self, BadPrefix> {
        text.parse()
    }
}

impl From<HostPrefix> for String {
    fn from(prefix: HostPrefix) -> Self {
        prefix.to_string()
    }
}

words! {
    /// Address families that the network is asked for (MBIM 1.0, `MBIM_CONTEXT_IP_TYPE`).
    #[derive(Default)]
    IpType {
        /// The default of the subscription.
        Default = "default",
        /// IPv4 alone.
        Ipv4 = "ipv4",
        /// IPv6 alone.
        Ipv6 = "ipv6",
        /// Both; a single family is accepted where network or firmware refuse both.
        #[default]
        Ipv4v6 = "ipv4v6",
    }
}

words! {
    /// Mode in which a modem carries packets.
    #[derive(Hash)]
    Mode {
        /// IP datagrams in NTBs, with a control session (MBIM 1.0).
        Mbim = "mbim",
        /// Ethernet frames in NTBs, dialled by AT commands: Huawei's NCM, or NCM of the class.
        Ncm = "ncm",
        /// Ethernet frames, one in a transfer (CDC ECM 1.2), dialled by AT commands.
        Ecm = "ecm",
    }
}

words! {
    /// Authentication towards the access point (MBIM 1.0, `MBIM_AUTH_PROTOCOL`).
    #[derive(Default)]
    Auth {
        /// No user name and password.
        #[default]
        None = "none",
        /// Password in the clear (PAP).
        Pap = "pap",
        /// Challenge handshake (CHAP).
        Chap = "chap",
        /// Microsoft's challenge handshake (MS-CHAPv2).
        MsChapV2 = "mschapv2",
    }
}

words! {
    /// Size of the NDP.
    Table {
        /// The NDP has as many entries as there are datagrams, and the terminator.
        Minimal = "minimal",
        /// The NDP has the fixed size that the kernel's driver gives it.
        Full = "full",
    }
}

words! {
    /// Sequence of `wSequence` over the NTBs to the device.
    #[derive(Default)]
    Sequence {
        /// Each number is one more than the one before, as the specification has it (NCM 1.0,
        /// 3.2.1).
        #[default]
        Rising = "rising",
        /// Each number is 0.
        Constant = "constant",
        /// The numbers are random.
        Random = "random",
        /// Every second number is 0 again.
        Restart = "restart",
        /// Each number is two more than the one before, as if NTBs were lost.
        Skip = "skip",
    }
}

words! {
    /// Order of the requests that set the data function up.
    #[derive(Default)]
    Order {
        /// The usual order: format, size of NTBs from the device, alternate setting of the data
        /// interface, MBIM_OPEN.
        #[default]
        Usual = "usual",
        /// The size of NTBs from the device comes before the format.
        SizeFirst = "size-first",
        /// The alternate setting of the data interface comes before format and size, which NCM 1.0
        /// permits in setting 0 only.
        AlternateFirst = "alternate-first",
        /// MBIM_OPEN comes before all requests to the data function.
        OpenFirst = "open-first",
    }
}

words! {
    /// Devices on which other layouts of NTBs are tried because nothing comes back; see
    /// [`heal`](crate::heal).
    #[derive(Default)]
    Heal {
        /// Devices without a row in the quirk table, unless the user chose a part of the layout.
        #[default]
        Auto = "auto",
        /// Every device. Parts of the layout that the user chose stay.
        Always = "always",
        /// No device.
        Off = "off",
    }
}

words! {
    /// Public procedure that lifts the FCC lock of a modem; see [`fcc`](crate::fcc).
    FccUnlock {
        /// RADIO_STATE of Quectel's MBIM service.
        Quectel = "quectel",
        /// QMI Set FCC Authentication over MBIM (Sierra Wireless).
        Qmi = "qmi",
        /// QMI Foxconn Set FCC Authentication over MBIM, in its older form without a hash.
        Foxconn = "foxconn",
    }
}

words! {
    /// Form of a USSD text in `AT+CUSD` (3GPP TS 27.007, 7.15).
    UssdForm {
        /// Octets of the coding in hexadecimal digits, GSM 7-bit packed (`^USSDMODE: 1`).
        Octets = "octets",
        /// Text in the character set of `AT+CSCS` (`^USSDMODE: 0`).
        Text = "text",
    }
}

words! {
    /// Mode in which packets cross a TUN interface.
    #[derive(Default)]
    TunMode {
        /// One call carries many datagrams: up to 64 KiB of one flow, cut and merged by the driver.
        /// A kernel without offload gets [`TunMode::Plain`].
        #[default]
        Offload = "offload",
        /// Like [`TunMode::Offload`], but UDP is carried one datagram a call: kernels up to 6.8.4 lose
        /// UDP datagrams merged into one that go on to a VXLAN device (tailscale issue 11026).
        OffloadTcp = "offload-tcp",
        /// One call carries one datagram.
        Plain = "plain",
    }
}

words! {
    /// Use of the name servers from the network.
    #[derive(Default)]
    Dns {
        /// The name servers are reported and nothing is changed.
        #[default]
        None = "none",
        /// The name servers are handed to `systemd-resolved`.
        Resolved = "resolved",
        /// The name servers are handed to `resolvconf`.
        Resolvconf = "resolvconf",
    }
}

/// Routes through the modem: `none`, `default`, or a list of prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Routes {
    /// Only the on-link prefix is routed.
    #[default]
    None,
    /// The routes are a default route in each family for which the network gave an address.
    Default,
    /// The routes are to these prefixes, such as `192.0.2.0/24`.
    Prefixes(Vec<String>),
}

impl std::str::FromStr for Routes {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" | "" => Self::None,
            "default" => Self::Default,
            list => Self::Prefixes(
                list.split(',')
                    .map(|prefix| prefix.trim().to_owned())
                    .collect(),
            ),
        })
    }
}

mod optional_seconds {
    //! Durations as seconds (floating point) in configuration files.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for (word, value) in IpType::VALUES {
            assert_eq!(word.parse::<IpType>().unwrap(), *value);
        }
        for (word, value) in Padding::VALUES {
            assert_eq!(word.parse::<Padding>().unwrap(), *value);
        }
        let error = "middle".parse::<Placement>().unwrap_err();
        assert_eq!(error.to_string(), "`middle` is not one of: end, front");
    }

    #[test]
    fn secrets_stay_out_of_prints() {
        let options = Options {
            pin: Secret::new("4711"),
            sessions: vec![SessionOptions {
                password: Secret::new("swordfish"),
                ..SessionOptions::default()
            }],
            ..Options::default()
        };
        let print = format!("{options:?}");
        assert!(
            !print.contains("4711") && !print.contains("swordfish"),
            "{print}"
        );
    }

    #[test]
    fn host_addresses_from_text() {
        for good in ["192.0.2.7/24", "2001:db8::7/64", "192.0.2.7/32"] {
            assert_eq!(good.parse::<HostPrefix>().unwrap().to_string(), good);
        }
        assert_eq!("fe80::1".parse::<HostPrefix>().unwrap().length, 128);
        for bad in [
            "",
            "192.0.2.7/0",
            "192.0.2.7/33",
            "192.0.2.7/",
            "192.0.2.7/-1",
            "0.0.0.0/8",
            "ff02::1/64",
            "224.0.0.1/4",
            "2001:db8::/129",
            "host/24",
        ] {
            assert!(bad.parse::<HostPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_from_words() {
        assert_eq!("none".parse::<Routes>().unwrap(), Routes::None);
        assert_eq!("default".parse::<Routes>().unwrap(), Routes::Default);
        assert_eq!(
            "192.0.2.0/24, 2001:db8::/32".parse::<Routes>().unwrap(),
            Routes::Prefixes(vec!["192.0.2.0/24".into(), "2001:db8::/32".into()])
        );
    }
}
