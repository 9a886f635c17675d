//! The options of `up`: from flags, from a TOML file, and both merged.
//!
//! A flag wins over the file, the file over the quirk table and the device. The file's keys are
//! the flags' names without their dashes: `apn = "internet"`, `route = ["192.0.2.0/24"]`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as _, Parser as _};
use serde::{Deserialize, Deserializer};
use uwwan_modem::Options;
use uwwan_modem::options::{Dns, Format, Heal, Mode, Padding, Placement, SessionOptions, Table};
use uwwan_modem::state_file;
use uwwan_usb::backend::BackendKind;

use crate::checks::{bad, one_or_many, within, words};
use crate::choices::choices;
use crate::entrances::{Entrances, Guard};
use crate::failure::{Failure, FailureKind, of_options};
use crate::hooks::Hooks;
use crate::listening::MetricsAt;
use crate::secrets;
use crate::session_settings::{NumberedSession, SessionSettings};
use crate::usage::Size;
use crate::userspace;
use crate::userspace::options::{Forward, Listen, Net};

/// Size of the longest configuration file that is read, in bytes.
const LONGEST_FILE: u64 = 64 * 1024;

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
    /// Everything `up` takes from its flags and its file.
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
        /// Transfers kept in flight in each direction; below 6, large packets are copied once
        /// [default: 16 from the modem, 8 to it]
        #[arg(long, value_name = "N", help_heading = "NTBs (NCM Transfer Blocks)")]
        pub in_flight: Option<usize>,

        /// Warn when a month's use of the modem, up and down, has come to 80 per cent of this, and to all of
        /// it: 10G, 500M. See uwwan usage
        #[arg(long, value_name = "SIZE", help_heading = "Session")]
        pub quota: Option<Size>,

        /// Programs that run before and after up and down, which a configuration file alone names.
        #[arg(skip)]
        pub hooks: Option<Hooks>,
    }
}

/// The options of `uwwan up` on their own.
#[derive(Debug, clap::Parser)]
#[command(name = "up", no_binary_name = true)]
struct UpOptions {
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// Reads options as they stand on the command line of `uwwan up`, for another command.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the option and what it accepts.
    pub fn from_words(words: &[String]) -> Result<Self, Failure> {
        let parsed = UpOptions::try_parse_from(words).map_err(|error| {
            Failure::new(FailureKind::Usage, "an option makes no sense").because(of_options(&error))
        })?;
        Ok(parsed.settings)
    }

    /// Reads a TOML file. Relative paths in it start at the file's own directory.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with the line where one is wrong.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "cannot use the configuration file")
                .at(format!("{} (--config)", path.display()))
                .because(why)
        };
        let mut text = String::new();
        state_file::regular(path)
            .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
            .map_err(|error| wrong(&error))?;
        if text.len() as u64 > LONGEST_FILE {
            return Err(wrong(&format_args!(
                "it is longer than {LONGEST_FILE} bytes"
            )));
        }
        Self::parse(path, &text)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], with line and column.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Usage, "cannot use the configuration file")
                .at(format!("{} (--config)", path.display()))
                .because(why)
                .next(
                    "its keys are the options of uwwan up without their dashes; see uwwan up --help",
                )
        };
        let told = |error: toml::de::Error| wrong(&explained(text, &error));
        let mut settings: Self = toml::from_str(text).map_err(told)?;
        settings.session_0 = toml::from_str(text).map_err(told)?;
        if let Some((line, key)) = unknown_key(text) {
            let failure = wrong(&format_args!("line {line}: unknown field `{key}`"));
            return Err(match SECRETS.contains(&key.as_str()) {
                true => failure.next(format!(
                    "put it alone on the first line of a file that only you can read, and name that: \
                     {key}-file = \"FILE\""
                )),
                false => failure,
            });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = [&mut settings.pin_file, &mut settings.proxy_login_file];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        if let Some(hooks) = &mut settings.hooks {
            hooks.in_file(path);
        }
        settings.session_0.in_folder(folder);
        for session in settings.session.iter_mut().flatten() {
            session.settings.in_folder(folder);
        }
        Ok(settings)
    }

    /// Returns the PIN and password files that can be read again.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let sessions = self.session.iter().flatten();
        let sessions = sessions.map(|session| &session.settings);
        let passwords = [&self.session_0].into_iter().chain(sessions);
        let passwords = passwords.filter_map(|session| session.password_file.as_deref());
        let files = self.pin_file.as_deref().into_iter().chain(passwords);
        files.filter_map(secrets::readable_again).collect()
    }

    /// Checks that no option is set that makes no sense for a USB network device (if `ethernet`).
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the option.
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

    /// Returns what is to listen with `--net userspace`, or `None` without that.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names an option that makes no sense with the other.
    pub fn userspace(&self) -> Result<Option<userspace::Wanted<'_>>, Failure> {
        let wanted = userspace::Wanted {
            socks: self.socks.as_deref().unwrap_or_default(),
            http: self.http_proxy.as_deref().unwrap_or_default(),
            forwards: self.forward.as_deref().unwrap_or_default(),
            login: self.proxy_login_file.as_deref(),
        };
        let sessions = || self.session.iter().flatten();
        let all = || {
            let further = sessions().map(|session| &session.settings);
            [&self.session_0].into_iter().chain(further)
        };
        let (options, why) = match self.net.unwrap_or_default() {
            Net::Kernel => (
                &[
                    ("socks", self.socks.is_some()),
                    ("http-proxy", self.http_proxy.is_some()),
                    ("proxy-login-file", self.proxy_login_file.is_some()),
                    ("forward", self.forward.is_some()),
                ][..],
                "it goes with --net userspace: an interface of this machine needs none",
            ),
            Net::Userspace => (
                &[
                    ("route", all().any(|one| one.route.is_some())),
                    ("route-metric", all().any(|one| one.route_metric.is_some())),
                    ("tun-name", all().any(|one| one.tun_name.is_some())),
                    ("tun-mode", all().any(|one| one.tun_mode.is_some())),
                    (
                        "dns",
                        all().any(|one| one.dns.is_some_and(|dns| dns != Dns::None)),
                    ),
                    ("tap", self.tap == Some(true)),
                    ("ack-filter", self.ack_filter == Some(true)),
                ][..],
                "with --net userspace there is no interface of this machine",
            ),
        };
        match options.iter().find(|(_, given)| *given) {
            Some((option, _)) => return Err(bad(option, why).next("leave one of the two out")),
            None if self.net != Some(Net::Userspace) => return Ok(None),
            None => {}
        }
        let known = |session: u8| session == 0 || sessions().any(|one| one.id == session);
        let mut listened_for = wanted.sessions().into_iter();
        match listened_for.find(|(_, session)| !known(*session)) {
            None => Ok(Some(wanted)),
            Some((option, session)) => {
                let why = format!("there is no data session {session}");
                Err(bad(option, why).next(format!("add --session {session}:apn=NAME")))
            }
        }
    }

    /// Returns the options in the library's form. PIN and password files are read here, and again when
    /// their content is needed.
    ///
    /// # Errors
    /// [`FailureKind::Usage`], which names the option and what it accepts.
    pub fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::default();
        if let Some(settle) = self.settle {
            within("settle", settle, 0.0, 600.0)?;
            options.settle = Some(Duration::from_secs_f64(settle));
        }
        if let Some(budget) = self.open_budget {
            within("open-budget", budget, 1.0, 600.0)?;
            options.open_budget = Some(Duration::from_secs_f64(budget));
        }
        if let Some(timeout) = self.timeout {
            within("timeout", timeout, 1.0, 86_400.0)?;
            options.timeout = Some(Duration::from_secs_f64(timeout));
        }
        if let Some(size) = self.block_size {
            within("block-size", size, 2_048, 1 << 20)?;
            options.block_size = Some(size);
        }
        if let Some(size) = self.input_size {
            within("input-size", size, 2_048, 1 << 20)?;
            options.input_size = Some(size);
        }
        if let Some(count) = self.max_datagrams {
            within("max-datagrams", count, 1, u16::MAX)?;
            options.max_datagrams = Some(count);
        }
        if let Some(count) = self.in_flight {
            within("in-flight", count, 1, 64)?;
            options.in_flight = Some(count);
        }
        if let Some(nice) = self.nice {
            within("nice", nice, -20, 19)?;
            options.nice = Some(nice);
        }
        if let Some(path) = &self.pin_file {
            options.pin = secrets::from_file(path, secrets::pin)?;
        }
        let mut first = SessionOptions::default();
        self.session_0.apply(&mut first, str::to_owned)?;
        for address in self.address.iter().flatten() {
            let parsed = address.parse().map_err(|error| bad("address", error))?;
            first.static_addresses.addresses.push(parsed);
        }
        for gateway in self.gateway.iter().flatten() {
            let parsed = gateway
                .parse()
                .map_err(|_| bad("gateway", format!("{gateway:?} is no IP address")))?;
            first.static_addresses.gateways.push(parsed);
        }
        options.sessions = vec![first];
        // Session 0 comes first, because the others take its TUN mode.
        let given = || self.session.iter().flatten();
        let zero = given().filter(|session| session.id == 0);
        for session in zero.chain(given().filter(|session| session.id != 0)) {
            session.add(&mut options.sessions)?;
        }
        options.force_pin = self.force_pin.unwrap_or(options.force_pin);
        if let Some(number) = self.function {
            within("function", number, 1, u8::MAX)?;
            options.function = Some(number);
        }
        if self.mode.is_some() && self.function.is_some() {
            return Err(
                bad("mode", "--function chooses the way already").next("give one of the two")
            );
        }
        options.mode = self.mode;
        options.tap = self.tap.unwrap_or(options.tap);
        options.fcc_unlock = self.fcc_unlock.unwrap_or(options.fcc_unlock);
        options.roaming = self.roaming.unwrap_or(options.roaming);
        options.wait_for_device = self.wait.unwrap_or(options.wait_for_device);
        options.persist = self.persist.unwrap_or(options.persist);
        options.reattach_drivers = self.reattach.unwrap_or(options.reattach_drivers);
        options.probe = self.probe.unwrap_or(options.probe);
        options.ack_filter = self.ack_filter.unwrap_or(options.ack_filter);
        options.at_port = self.at_port.unwrap_or(options.at_port);
        options.ndp = self.ndp;
        options.ntb = self.ntb;
        options.table = self.table;
        options.padding = self.pad;
        options.heal = self.heal.unwrap_or(options.heal);
        if let Some(hooks) = &self.hooks {
            hooks.check()?;
        }
        Ok(options)
    }
}

/// Names of what stands in files of its own.
const SECRETS: [&str; 2] = ["pin", "password"];

/// Returns what is wrong in a configuration file: with the line that is wrong, unless that could hold a
/// secret.
fn explained(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let number = text[..at].matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let table = text.lines().skip(number + 1);
    let table = table.take_while(|line| !line.trim_start().starts_with('['));
    let secret = |line: &str| {
        let line = line.to_ascii_lowercase();
        SECRETS.iter().any(|secret| line.contains(secret))
    };
    if secret(line) || line.trim_start().starts_with('[') && { table }.any(secret) {
        let number = number + 1;
        return format!(
            "line {number}: a value is of the wrong kind, or a key is unknown; PIN and passwords stand in \
             files of their own, which pin-file and password-file name"
        );
    }
    error.to_string().trim_end().to_owned()
}

/// Returns the first key of a configuration file that is no option, with the number of its line,
/// counted from 1.
fn unknown_key(text: &str) -> Option<(usize, String)> {
    let keys: BTreeMap<toml::Spanned<String>, toml::Value> = toml::from_str(text).ok()?;
    let command = Settings::augment_args(clap::Command::new("up"));
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .chain(["hooks"])
        .collect();
    let unknown = keys
        .into_keys()
        .find(|key| !known.contains(&key.get_ref().as_str()))?;
    let line = text[..unknown.span().start].matches('\n').count() + 1;
    Some((line, unknown.into_inner()))
}

/// Reads places to listen at from a string or a list of strings.
fn places<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<Listen>>, D::Error> {
    let texts = one_or_many(source)?.unwrap_or_default();
    let places = texts.iter().map(|text| text.parse());
    let places: Result<_, String> = places.collect();
    places.map(Some).map_err(serde::de::Error::custom)
}

/// Reads an NTB format from a number or a string: `ntb = 16` and `ntb = "16"` both work.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Over;
    use std::io::Write;
    use uwwan_modem::options::{IpType, TunMode};

    fn from_text(text: &str) -> Result<Settings, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Settings::from_file(file.path())
    }

    #[test]
    fn a_full_file_reads() {
        let settings = from_text(
            r#"
            device = "03f0:a31d"
            usb = "nusb"
            apn = "telenor.smart"
            ip-type = "ipv4"
            auth = "chap"
            user = "me"
            password-file = "/etc/uwwan/password"
            pin-file = "pin"
            roaming = true
            mtu = 1430
            settle = 1.5
            route = "default"
            route-metric = 700
            dns = "resolved"
            ndp = "end"
            ntb = 16
            pad = "short"
            in-flight = 8
            nice = -5
            "#,
        )
        .unwrap();
        assert_eq!(settings.session_0.ip_type, Some(IpType::Ipv4));
        assert_eq!(settings.ntb, Some(Format::Ntb16));
        assert_eq!(settings.usb, Some(BackendKind::Nusb));
        assert_eq!(settings.session_0.route, Some(vec!["default".to_owned()]));
        assert_eq!(settings.session_0.route_metric, Some(700));
        assert_eq!(
            settings.session_0.password_file,
            Some("/etc/uwwan/password".into())
        );
        let pin = settings.pin_file.unwrap();
        assert!(pin.is_absolute() && pin.ends_with("pin"), "{pin:?}");
    }

    #[test]
    fn mistakes_in_a_file_are_told_with_their_place() {
        for (text, expected) in [
            ("apn = \"x\"\napm = \"x\"", "line 2: unknown field `apm`"),
            ("usb = \"nusb\"\nmtu = \"big\"", "line 2"),
            ("mtu = \"big\"", "line 1"),
            ("ip-type = \"ipx\"", "ipv4v6"),
            ("device = \"modem\"", "vendor:product"),
            ("usb = \"winusb\"", "`libusb` or `nusb`"),
            ("ntb = 24", "16, 32"),
            ("apn = ", "line 1"),
            ("route = 5", "a route or a list"),
        ] {
            let failure = from_text(text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            let told = failure.to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn oversized_and_odd_files_are_refused() {
        assert!(from_text(&"# long\n".repeat(20_000)).is_err());
        for path in ["/", "/dev/zero", "/nonexistent"] {
            assert!(Settings::from_file(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings {
            session_0: SessionSettings {
                apn: Some("flag".into()),
                ..SessionSettings::default()
            },
            roaming: Some(false),
            ..Settings::default()
        };
        let file = Settings {
            session_0: SessionSettings {
                apn: Some("file".into()),
                mtu: Some(1400),
                ..SessionSettings::default()
            },
            roaming: Some(true),
            ..Settings::default()
        };
        let options = flags.over(file).options().unwrap();
        assert_eq!(options.sessions[0].apn, "flag");
        assert!(!options.roaming);
        assert_eq!(options.sessions[0].mtu, Some(1400));
    }

    #[test]
    fn nothing_chosen_is_the_librarys_default() {
        assert_eq!(Settings::default().options().unwrap(), Options::default());
    }

    #[test]
    fn every_session_gets_the_tun_mode() {
        let settings =
            from_text("tun-mode = 'plain'\nsession = ['3:apn=mms']\nmax-datagrams = 20").unwrap();
        let options = settings.options().unwrap();
        assert_eq!(options.sessions[0].tun_mode, TunMode::Plain);
        assert_eq!(options.sessions[1].tun_mode, TunMode::Plain);
        assert_eq!(options.max_datagrams, Some(20));
    }

    #[test]
    fn a_network_device_has_choices_of_its_own() {
        let settings = from_text(
            r#"
            device = "0525:a4a1"
            address = ["192.0.2.7/24", "2001:db8::7/64"]
            gateway = "192.0.2.1"
            "#,
        )
        .unwrap();
        let chosen = settings
            .options()
            .unwrap()
            .sessions
            .remove(0)
            .static_addresses;
        let addresses: Vec<String> = chosen.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.7/24", "2001:db8::7/64"]);
        assert_eq!(
            chosen.gateways,
            ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(settings.check_kind(true), Ok(()));
        assert_eq!(settings.check_kind(false), Ok(()));
        let modem = from_text("apn = \"internet\"").unwrap();
        assert_eq!(modem.check_kind(false), Ok(()));
        let of_ethernet = modem.check_kind(true).unwrap_err();
        assert_eq!(of_ethernet.kind, FailureKind::Usage);
        assert!(of_ethernet.to_string().contains("--apn"), "{of_ethernet}");
        for wrong in ["address = \"192.0.2.7/33\"", "gateway = \"router\""] {
            let failure = from_text(wrong).unwrap().options().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage, "{failure}");
        }
    }

    #[test]
    fn senseless_values_are_refused_by_name() {
        let base = Settings::default();
        let of_session_0 = |session_0| Settings {
            session_0,
            ..Settings::default()
        };
        let cases: [(&str, Settings); 11] = [
            (
                "--settle",
                Settings {
                    settle: Some(f64::NAN),
                    ..base.clone()
                },
            ),
            (
                "--settle",
                Settings {
                    settle: Some(-1.0),
                    ..base.clone()
                },
            ),
            (
                "--mtu",
                of_session_0(SessionSettings {
                    mtu: Some(100),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--in-flight",
                Settings {
                    in_flight: Some(0),
                    ..base.clone()
                },
            ),
            (
                "--max-datagrams",
                Settings {
                    max_datagrams: Some(0),
                    ..base.clone()
                },
            ),
            (
                "--block-size",
                Settings {
                    block_size: Some(u32::MAX),
                    ..base.clone()
                },
            ),
            (
                "--apn",
                of_session_0(SessionSettings {
                    apn: Some("a\nb".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--apn",
                of_session_0(SessionSettings {
                    apn: Some("x".repeat(101)),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--auth",
                of_session_0(SessionSettings {
                    user: Some("me".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--tun-name",
                of_session_0(SessionSettings {
                    tun_name: Some("../x".into()),
                    ..SessionSettings::default()
                }),
            ),
            (
                "--tun-name",
                of_session_0(SessionSettings {
                    tun_name: Some("sixteen-letters!".into()),
                    ..SessionSettings::default()
                }),
            ),
        ];
        for (option, settings) in cases {
            let failure = settings.options().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Usage);
            assert!(failure.to_string().contains(option), "{option}: {failure}");
        }
    }

    #[test]
    fn mistakes_with_secrets_do_not_repeat_them() {
        for text in [
            "pin = \"47110815\"",
            "pin = 47110815",
            "password = \"47110815\"",
            "pin-file = 47110815",
            "apn = \"x\"\npassword-file = [\"47110815\"]",
            "session = [\"3:apn=x,password=47110815\"]",
            "[[session]]\nid = 3\npassword = \"47110815\"",
            "pin = 47110815 x",
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            let told = Settings::from_file(file.path()).unwrap_err().to_string();
            assert!(!told.contains("47110815"), "{text}: {told}");
            assert!(told.contains("-file"), "{text}: {told}");
        }
    }
}
