//! The options of `up`: from flags, from a TOML file, and both merged.
//!
//! A flag wins over the file, the file over the quirk table and the device.

mod file;
mod options;

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser as _;
use serde::{Deserialize, Deserializer};
use uwwan_modem::options::{Format, Heal, Mode, Padding, Placement, Table};
use uwwan_usb::backend::BackendKind;

use crate::checks::{bad, one_or_many, words};
use crate::choices::choices;
use crate::entrances::{Entrances, Guard};
use crate::failure::{Failure, FailureKind, of_options};
use crate::hooks::Hooks;
use crate::listening::MetricsAt;
use crate::secrets;
use crate::session_settings::{NumberedSession, SessionSettings};
use crate::usage::Size;
use crate::userspace::options::{Forward, Listen, Net};

/// The modem that an option names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Device {
    /// A USB device that the selector describes.
    Usb(uwwan_modem::Selector),
    /// The built-in emulated modem.
    Emulator,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "emulator" {
            return Ok(Self::Emulator);
        }
        text.parse().map(Self::Usb).map_err(|_| {
            "expected vendor:product (03f0:a31d), a port (1-4.2), bus/device (3/12), any, or emulator"
                .to_owned()
        })
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

choices! {
    /// All options that `up` takes, each of them `None` where it is not given.
    #[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
    #[serde(rename_all = "kebab-case", default)]
    pub struct Settings {
        /// The modem: vendor:product (03f0:a31d), port (1-4.2), bus/device (3/12), or `emulator`.
        /// Needed only when several are present
        #[arg(long, short, value_name = "DEVICE", help_heading = "Modem")]
        pub device: Option<Device>,
        /// What drives the USB device; both do the same, with different cost [default: libusb]
        #[arg(long, value_name = "BACKEND", value_parser = words(BackendKind::VALUES), help_heading = "Modem")]
        pub usb: Option<BackendKind>,
        /// Pause between USB configuration 0 and the MBIM configuration [default: what the modem needs]
        #[arg(long, value_name = "SECONDS", help_heading = "Modem")]
        pub settle: Option<f64>,
        /// How long the modem may take to answer MBIM_OPEN, repeats included [default: what the modem needs]
        #[arg(long, value_name = "SECONDS", help_heading = "Modem")]
        pub open_budget: Option<f64>,
        /// Wait for the modem instead of failing when it is not plugged in
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Modem")]
        pub wait: Option<bool>,
        /// Keep trying after a failure that repetition alone will not cure
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Modem")]
        pub persist: Option<bool>,
        /// How the modem carries packets: mbim; ncm or ecm, dialled by AT commands, on modems of Huawei and
        /// others that have them [default: what a quirk row says, else mbim where there is one]
        #[arg(long, value_name = "MODE", value_parser = words(Mode::VALUES), conflicts_with = "function", help_heading = "Modem")]
        pub mode: Option<Mode>,
        /// Give the host the modem's Ethernet itself, as a TAP interface, for bridges and experiments; with
        /// --mode ncm or ecm
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Modem")]
        pub tap: Option<bool>,
        /// Which of several network functions of the device, as uwwan list numbers them [default: 1]
        #[arg(long, value_name = "N", help_heading = "Modem")]
        pub function: Option<u8>,
        /// Give up when the modem is not online after this long. Without it each step of the bring-up waits
        /// as long as modems are known to need, which may be minutes
        #[arg(long, value_name = "SECONDS", help_heading = "Modem")]
        pub timeout: Option<f64>,
        /// Lift the FCC lock of a modem that has one, where the way is public (Sierra Wireless, Quectel,
        /// Foxconn). Whether that is allowed is your responsibility
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Modem")]
        pub fcc_unlock: Option<bool>,
        /// Let the kernel's drivers have the modem again after a clean end, as they had it at the start; false
        /// leaves them off [default: true]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Modem")]
        pub reattach: Option<bool>,

        /// The options of session 0.
        #[command(flatten)]
        #[serde(skip)]
        pub session_0: SessionSettings,
        /// File whose first line is the SIM's PIN; a refused PIN is never sent twice
        #[arg(long, value_name = "FILE", help_heading = "Session")]
        pub pin_file: Option<PathBuf>,
        /// Send the PIN even when a single attempt remains before the SIM asks for its PUK, or when it
        /// was refused on an earlier run
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Session")]
        pub force_pin: Option<bool>,
        /// Go online in a foreign network too
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Session")]
        pub roaming: Option<bool>,

        /// A data session of several, as N:apn=NAME,ip-type=TYPE,…; may be repeated. Each further one
        /// gets its own interface. It takes what --apn, --ip-type and so on are for session 0, with
        /// several routes joined by +
        #[arg(long, value_name = "N:NAME=VALUE,…", help_heading = "Session")]
        pub session: Option<Vec<NumberedSession>>,

        /// Address of the interface with the length of its prefix, such as 192.0.2.7/24, in place of the
        /// network's; once more for IPv6. A USB network device hands out none: give it one, or run a DHCP client
        #[arg(long, value_name = "ADDRESS/LENGTH", help_heading = "Host")]
        #[serde(deserialize_with = "one_or_many")]
        pub address: Option<Vec<String>>,
        /// With --address: the gateway for --route; once more for IPv6
        #[arg(long, value_name = "ADDRESS", help_heading = "Host")]
        #[serde(deserialize_with = "one_or_many")]
        pub gateway: Option<Vec<String>>,
        /// Where the data session ends: in an interface of this machine (kernel), or in a network stack of
        /// uwwan's own (userspace), which takes no capability and leaves the machine's network alone; other
        /// programs reach it by --socks, --http-proxy and --forward [default: kernel]
        #[arg(long, value_name = "WHERE", value_parser = words(Net::VALUES), help_heading = "Host")]
        pub net: Option<Net>,
        /// With --net userspace: SOCKS5 proxy at this port, or address and port; @N behind it is for data
        /// session N; may be repeated
        #[arg(long, value_name = "[ADDRESS:]PORT[@N]", help_heading = "Host")]
        #[serde(deserialize_with = "places")]
        pub socks: Option<Vec<Listen>>,
        /// With --net userspace: HTTP proxy at this port, or address and port; @N as with --socks; may be
        /// repeated
        #[arg(long, value_name = "[ADDRESS:]PORT[@N]", help_heading = "Host")]
        #[serde(deserialize_with = "places")]
        pub http_proxy: Option<Vec<Listen>>,
        /// With --net userspace: file whose first line is the NAME:PASSWORD that clients of both proxies
        /// have to give
        #[arg(long, value_name = "FILE", help_heading = "Host")]
        pub proxy_login_file: Option<PathBuf>,
        /// With --net userspace: a port of this machine that stands for a port beyond the modem, such as
        /// 8080=example.com:80 or udp:5353=192.0.2.1:53; @N as with --socks; may be repeated
        #[arg(long, value_name = "[udp:]LOCAL=HOST:PORT[@N]", help_heading = "Host")]
        pub forward: Option<Vec<Forward>>,
        /// Nice value of the thread that moves the packets, -20 to 19 [default: -11 where that is allowed,
        /// unless uwwan was started with one]
        #[arg(
            long,
            value_name = "N",
            allow_negative_numbers = true,
            help_heading = "Host"
        )]
        pub nice: Option<i32>,
        /// Leave out acknowledgements of TCP on their way to this host that a later one, arrived together
        /// with them, supersedes, as the ACK filter of CAKE does: an upload costs less. It takes --tun-mode
        /// offload [default: false]
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Host")]
        pub ack_filter: Option<bool>,
        /// Send an echo request after going online, so that a link that carries nothing is told from an
        /// idle one [default: true]
        #[arg(
            long,
            value_name = "BOOL",
            hide_possible_values = true,
            help_heading = "Host"
        )]
        pub probe: Option<bool>,
        /// Own the AT port as well, for `uwwan at` and as a terminal in the runtime directory;
        /// otherwise it is left to the kernel's serial driver [default: true]
        #[arg(
            long,
            value_name = "BOOL",
            hide_possible_values = true,
            help_heading = "Modem"
        )]
        pub at_port: Option<bool>,

        /// Let other programs use the control session: mbimcli and everything else that speaks with
        /// mbim-proxy (on), only what is in the runtime directory (private), or nobody (off)
        /// [default: on]
        #[arg(long, value_name = "WHO", value_parser = words(Entrances::VALUES), help_heading = "Other programs")]
        pub proxy: Option<Entrances>,
        /// Keep your own programs from what ends the data session unless they have --force: disconnect,
        /// detach, radio off, reset [default: on]
        #[arg(long, value_name = "SWITCH", value_parser = words(Guard::VALUES), help_heading = "Other programs")]
        pub proxy_guard: Option<Guard>,
        /// Serve the whole machine, as a service: everyone may look at the status, and members of the
        /// group uwwan may use the modem [default: true for root]
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Other programs")]
        pub system: Option<bool>,
        /// User or group that may use the modem as you do, but neither stop it nor touch PIN and PUK:
        /// user:NAME or group:NAME; may be repeated [default: group:uwwan with --system]
        #[arg(
            long,
            value_name = "WHO",
            value_delimiter = ',',
            help_heading = "Other programs"
        )]
        #[serde(deserialize_with = "one_or_many")]
        pub operator: Option<Vec<String>>,
        /// User or group that may use the control session for questions and sessions of its own:
        /// user:NAME or group:NAME; may be repeated
        #[arg(
            long,
            value_name = "WHO",
            value_delimiter = ',',
            help_heading = "Other programs"
        )]
        #[serde(deserialize_with = "one_or_many")]
        pub proxy_allow: Option<Vec<String>>,

        /// Serve counters and gauges for Prometheus (those of uwwan status --prometheus) over HTTP: at
        /// ADDRESS:PORT, or at the absolute path of a Unix socket, which the service needs
        #[arg(long, value_name = "ADDRESS:PORT|SOCKET", help_heading = "Other programs")]
        pub metrics: Option<MetricsAt>,

        /// Where the NDP stands in NTBs to the modem; Huawei modems carry nothing with
        /// it in front [default: what the modem needs]
        #[arg(long, value_name = "PLACE", value_parser = words(Placement::VALUES), help_heading = "NTBs (NCM Transfer Blocks)")]
        pub ndp: Option<Placement>,
        /// NTB format to the modem, in bits [default: what the modem needs]
        #[arg(long, value_name = "BITS", value_parser = words(Format::VALUES), help_heading = "NTBs (NCM Transfer Blocks)")]
        #[serde(deserialize_with = "word_or_number")]
        pub ntb: Option<Format>,
        /// NDP as long as needed, or of the kernel driver's fixed size [default: minimal]
        #[arg(long, value_name = "SIZE", value_parser = words(Table::VALUES), help_heading = "NTBs (NCM Transfer Blocks)")]
        pub table: Option<Table>,
        /// How an NTB ends that fills its last packet: one byte more (short), filled up to the maximum
        /// as the kernel driver does (full), or a zero-length packet (zlp)
        #[arg(long, value_name = "HOW", value_parser = words(Padding::VALUES), help_heading = "NTBs (NCM Transfer Blocks)")]
        pub pad: Option<Padding>,
        /// Try other layouts when the modem takes NTBs and nothing comes back, and keep what works for the
        /// next time: on a device without a row in the quirk table (auto; --ndp, --pad or --ntb switch it
        /// off), on every device, with what is given left as it is (always), or never (off) [default: auto]
        #[arg(long, value_name = "WHEN", value_parser = words(Heal::VALUES), help_heading = "NTBs (NCM Transfer Blocks)")]
        pub heal: Option<Heal>,
        /// Largest NTB to the modem in bytes; the modem's limit stays in force [default: 16384]
        #[arg(long, value_name = "BYTES", help_heading = "NTBs (NCM Transfer Blocks)")]
        pub block_size: Option<u32>,
        /// Largest NTB from the modem in bytes; the modem's limit stays in force [default: 65536, and
        /// less where memory for USB transfers is scarce]
        #[arg(long, value_name = "BYTES", help_heading = "NTBs (NCM Transfer Blocks)")]
        pub input_size: Option<u32>,
        /// Most datagrams in an NTB to the modem; the modem's own limit stays in force [default: 40]
        #[arg(long, value_name = "N", help_heading = "NTBs (NCM Transfer Blocks)")]
        pub max_datagrams: Option<u16>,
        /// Transfers kept in flight in each direction; of MBIM and NCM, with fewer than 6 large packets are
        /// copied once [default: 16 from the modem and 8 to it; with ECM, where a transfer is one frame,
        /// 64 and 32]
        #[arg(long, value_name = "N", help_heading = "NTBs (NCM Transfer Blocks)")]
        pub in_flight: Option<usize>,

        /// Warn when a month's use of the modem, up and down, has come to 80 per cent of this, and to all of
        /// it: 10G, 500M. See uwwan usage
        #[arg(long, value_name = "SIZE", help_heading = "Session")]
        pub quota: Option<Size>,

        /// Programs to run before and after the modem goes up and down. Only a configuration file
        /// can name them.
        #[arg(skip)]
        pub hooks: Option<Hooks>,
    }
}

/// Parser for the options of `uwwan up` without the rest of the command line.
#[derive(Debug, clap::Parser)]
#[command(name = "up", no_binary_name = true)]
struct UpOptions {
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// Parses options that another command was given in the form of `uwwan up`'s command line.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the name of the option and what it accepts.
    pub fn from_words(words: &[String]) -> Result<Self, Failure> {
        let parsed = UpOptions::try_parse_from(words).map_err(|error| {
            Failure::new(FailureKind::Usage, "an option makes no sense").because(of_options(&error))
        })?;
        Ok(parsed.settings)
    }

    /// Returns the paths of the PIN and password files that can be read again during the run, as a
    /// pipe cannot.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let sessions = self.session.iter().flatten();
        let sessions = sessions.map(|session| &session.settings);
        let passwords = [&self.session_0].into_iter().chain(sessions);
        let passwords = passwords.filter_map(|session| session.password_file.as_deref());
        let files = self.pin_file.as_deref().into_iter().chain(passwords);
        files.filter_map(secrets::readable_again).collect()
    }

    /// Checks that no option is set that does not apply to the device. `ethernet` says that the
    /// device is a plain USB network device, to which most options do not apply.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the name of the option.
    pub fn check_kind(&self, ethernet: bool) -> Result<(), Failure> {
        let of_modems = [
            ("pin-file", self.pin_file.is_some()),
            ("fcc-unlock", self.fcc_unlock.is_some()),
            ("session", self.session.is_some()),
        ];
        let of_modems = [&self.session_0.of_a_network()[..], &of_modems].concat();
        if !ethernet {
            return Ok(());
        }
        let why = "the device is a plain network device, not a modem";
        match of_modems.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(bad(option, why).next("leave it out")),
            None => Ok(()),
        }
    }
}

/// Parses addresses and ports to listen at, from one string or a list of strings.
fn places<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<Listen>>, D::Error> {
    let texts = one_or_many(source)?.unwrap_or_default();
    let places = texts.iter().map(|text| text.parse());
    let places: Result<_, String> = places.collect();
    places.map(Some).map_err(serde::de::Error::custom)
}

/// Parses an NTB format from a number or a string: `ntb = 16` and `ntb = "16"` mean the same.
fn word_or_number<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Format>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "16 or 32")]
    enum Form {
        Number(u32),
        Word(String),
    }
    let word = match Form::deserialize(source)? {
        Form::Number(number) => number.to_string(),
        Form::Word(word) => word,
    };
    word.parse().map(Some).map_err(serde::de::Error::custom)
}
