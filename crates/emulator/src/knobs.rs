//! What the firmware can be told to do, one knob a behaviour.
//!
//! Each knob names the firmware, the report or the specification its behaviour was seen in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uwwan_usb::descriptors::Descriptors;
use uwwan_usb::functions;

/// A knob assignment that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KnobError {
    /// The text is not `name=value`.
    #[error("knob {0:?}: expected name=value, as in settle_ms=20")]
    Form(String),
    /// There is no knob of that name.
    #[error("there is no knob named {0:?}; the list of knobs has them all")]
    Unknown(String),
    /// The value does not fit the knob.
    #[error("knob {name}={value}: expected {expected}")]
    Value {
        /// Name of the knob.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The values that would fit.
        expected: &'static str,
    },
}

/// A knob as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobInfo {
    /// Name of the knob, as in `name=value`.
    pub name: &'static str,
    /// Default of the knob, as it would be written.
    pub default: String,
    /// What the knob does and where that was seen.
    pub about: String,
}

/// A type of values a knob can have.
trait Value: Sized {
    /// The values there are, for error messages.
    const EXPECTED: &'static str;
    /// Reads a value; `None` when the text is none.
    fn read(text: &str) -> Option<Self>;
    /// Writes the value as [`Value::read`] reads it.
    fn write(&self) -> String;
}

impl Value for bool {
    const EXPECTED: &'static str = "on or off";
    fn read(text: &str) -> Option<Self> {
        match text {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        }
    }
    fn write(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

macro_rules! integer_value {
    ($($kind:ty => $expected:literal),*) => {$(
        impl Value for $kind {
            const EXPECTED: &'static str = $expected;
            fn read(text: &str) -> Option<Self> {
                match text.strip_prefix("0x") {
                    Some(hex) => <$kind>::from_str_radix(hex, 16).ok(),
                    None => text.parse().ok(),
                }
            }
            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
integer_value!(
    u8 => "a number from 0 to 255",
    u16 => "a number from 0 to 65535",
    u32 => "a number from 0 to 4294967295",
    u64 => "a whole number"
);

impl Value for String {
    const EXPECTED: &'static str = "text without commas";
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn write(&self) -> String {
        self.clone()
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident, $expected:literal { $($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant),* }
        impl Value for $name {
            const EXPECTED: &'static str = $expected;
            fn read(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
            fn write(&self) -> String {
                match self { $(Self::$variant => $text,)* }.to_owned()
            }
        }
    };
}

choice! {
    /// The company whose sticker the module carries.
    Brand, "hp or huawei" {
        /// HP lt4132, 03f0:a31d, USB 2.00.
        Hp = "hp",
        /// Huawei ME906s-158, 12d1:15c1, USB 2.10 with a BOS descriptor.
        Huawei = "huawei",
    }
}

choice! {
    /// Where the NDP of an NTB from the modem stands.
    NdpPlace, "end or front" {
        /// After the datagrams.
        End = "end",
        /// Before the datagrams.
        Front = "front",
    }
}

choice! {
    /// By what the modem sees the end of an NTB whose length without padding depends on it.
    NtbEnd, "any, short, zlp or full" {
        /// By whatever the host does.
        Any = "any",
        /// One byte more, in a short packet.
        Short = "short",
        /// A zero-length packet.
        ZeroPacket = "zlp",
        /// Zeros up to the longest NTB, where the NTB is not much shorter.
        Full = "full",
    }
}

choice! {
    /// What is in the SIM slot.
    SimState, "ready, absent, bad or not_initialized" {
        /// A working SIM (locked, if a PIN is set).
        Ready = "ready",
        /// An empty slot.
        Absent = "absent",
        /// A card that does not answer.
        Bad = "bad",
        /// A card that is still being read, for ever.
        NotInitialized = "not_initialized",
    }
}

choice! {
    /// What the network says to a registration.
    Registration, "home, roaming, partner, denied or searching" {
        /// Registered at home.
        Home = "home",
        /// Registered abroad.
        Roaming = "roaming",
        /// Registered with a partner.
        Partner = "partner",
        /// Refused with cause 11, PLMN not allowed.
        Denied = "denied",
        /// Nothing in reach.
        Searching = "searching",
    }
}

choice! {
    /// What a query of MBIM's IP configuration is answered with.
    IpConfigurationAnswer, "told, ipv4, ipv6, empty or refused" {
        /// Addresses, gateways and name servers.
        Told = "told",
        /// Those of IPv4 alone, although the data session has both.
        Ipv4 = "ipv4",
        /// Those of IPv6 alone.
        Ipv6 = "ipv6",
        /// An answer in which nothing is available.
        Empty = "empty",
        /// MBIM_STATUS_NO_DEVICE_SUPPORT.
        Refused = "refused",
    }
}

impl IpConfigurationAnswer {
    /// Returns whether the modem tells the IPv4 addresses of a data session.
    #[must_use]
    pub fn tells_v4(self) -> bool {
        matches!(self, Self::Told | Self::Ipv4)
    }

    /// Returns whether the modem tells the IPv6 addresses of a data session.
    #[must_use]
    pub fn tells_v6(self) -> bool {
        matches!(self, Self::Told | Self::Ipv6)
    }
}

choice! {
    /// Kernel drivers the host of the in-process backend pretends to have.
    HostDrivers, "bound, late or none" {
        /// `cdc_ether`, `option` and `cdc_mbim` bind as a configuration is selected.
        Bound = "bound",
        /// The drivers bind to what is free 50 ms after the selection, as modules loaded late.
        Late = "late",
        /// The host has no drivers.
        None = "none",
    }
}

choice! {
    /// What is wrong with the descriptors of configuration 3.
    DescriptorFault, "none, truncated, oversized or empty" {
        /// The descriptors are right.
        None = "none",
        /// The device sends less than `wTotalLength` says, and stops inside the MBIM functional
        /// descriptor.
        Truncated = "truncated",
        /// `wTotalLength` is 65535, and the MBIM functional descriptor's `bLength` passes the end.
        Oversized = "oversized",
        /// The MBIM functional descriptor's `bLength` is 0.
        Empty = "empty",
    }
}

macro_rules! knobs {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr;)*) => {
        /// All knobs. The default is a well-behaved lt4132: one with the misbehaviours every unit has.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Knobs {
            $($(#[doc = $doc])+ pub $name: $kind,)*
        }

        impl Default for Knobs {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Knobs {
            /// Sets one knob from its name and value.
            ///
            /// # Errors
            /// [`KnobError::Unknown`] or [`KnobError::Value`].
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), KnobError> {
                match name {
                    $(stringify!($name) => {
                        self.$name = <$kind as Value>::read(value).ok_or_else(|| KnobError::Value {
                            name: stringify!($name),
                            value: value.to_owned(),
                            expected: <$kind as Value>::EXPECTED,
                        })?;
                    })*
                    _ => return Err(KnobError::Unknown(name.to_owned())),
                }
                Ok(())
            }

            /// Returns every knob with its default and meaning, in the order of the fields.
            #[must_use]
            pub fn catalogue() -> Vec<KnobInfo> {
                let defaults = Self::default();
                vec![$(KnobInfo {
                    name: stringify!($name),
                    default: defaults.$name.write(),
                    about: concat!($($doc, "\n"),+).lines().map(str::trim).collect::<Vec<_>>().join(" "),
                },)*]
            }

            /// Returns name and value of the knobs that differ from the default.
            #[must_use]
            pub fn changed(&self) -> Vec<(&'static str, String)> {
                let defaults = Self::default();
                let mut changed = Vec::new();
                $(if self.$name != defaults.$name {
                    changed.push((stringify!($name), self.$name.write()));
                })*
                changed
            }
        }
    };
}

knobs! {
    // Identity and USB.
    /// Whose sticker the module carries: hp (03f0:a31d) or huawei (12d1:15c1).
    brand: Brand = Brand::Hp;
    /// Configuration the in-process host has selected when the device appears. Linux selects 2; 0 is
    /// unconfigured, as a unit came up after boot and resume (draisberghof.de forum, topic 2997).
    start_configuration: u8 = 2;
    /// Kernel drivers of the in-process host: bound at once, late (as modules loaded on demand, which
    /// race with udev's rules), or none.
    host_drivers: HostDrivers = HostDrivers::Bound;
    /// After a switch from configuration 1 or 2 to 3 without 0 between, every USB request succeeds and
    /// MBIM_OPEN is never answered (usbmon of a ME906s-158, modemmanager-devel, March 2016).
    silent_after_direct_switch: bool = true;
    /// Least time in configuration 0 before 3 that wakes MBIM, in milliseconds (modemmanager-devel, April
    /// and June 2016, advises up to 2 s; OpenWrt's usb-mode waits 100 ms).
    settle_ms: u64 = 100;
    /// Time the device is off the bus at a firmware reset, in milliseconds. Real units take about 20 s.
    absent_ms: u64 = 1500;
    /// What is wrong with the descriptors of configuration 3: none, truncated, oversized or empty.
    descriptors: DescriptorFault = DescriptorFault::None;
    /// A reset of the USB port makes the device drop off and come back (inferred for this firmware).
    reset_reenumerates: bool = false;

    // NTB parameters and framing.
    /// wLength of the NTB parameters and number of bytes answered; below 28 the answer is cut.
    ntb_parameters_length: u16 = 28;
    /// bmNtbFormatsSupported: 1 is NTB16 only, 3 is both (inferred from the kernel's init sequence).
    ntb_formats: u16 = 3;
    /// dwNtbInMaxSize in bytes.
    ntb_in_max: u32 = 131_072;
    /// dwNtbOutMaxSize in bytes.
    ntb_out_max: u32 = 16_384;
    /// wNdpOutDivisor and wNdpInDivisor in bytes.
    ntb_divisor: u16 = 4;
    /// wNdpOutPayloadRemainder and wNdpInPayloadRemainder in bytes (2 in a crash report of a ME909s-120).
    ntb_remainder: u16 = 0;
    /// wNdpOutAlignment and wNdpInAlignment in bytes.
    ntb_alignment: u16 = 4;
    /// wNtbOutMaxDatagrams; 0 is no limit.
    ntb_max_datagrams: u16 = 0;
    /// NTBs with the NDP before the datagrams are taken on USB, and their datagrams vanish (quirk
    /// NDP_TO_END of the kernel's cdc_mbim; modemmanager-devel, June 2016).
    black_hole_ndp_front: bool = true;
    /// NTB16s are taken on USB, and their datagrams vanish (Huawei ME906E by its users' reports).
    black_hole_ntb16: bool = false;
    /// By what the modem sees the end of an NTB that fills its last packet without padding: any end, short
    /// (one byte more), zlp; or, for NTBs of more than dwNtbOutMaxSize less three packets, full. An NTB
    /// that ends otherwise stops everything until one comes that ends so (kernel's usbnet on devices that
    /// hang without, or with, zero-length packets).
    ntb_end: NtbEnd = NtbEnd::Any;
    /// Where the modem puts the NDP of its own NTBs: at the end or in front of the datagrams.
    ndp_place: NdpPlace = NdpPlace::End;
    /// SET_NTB_INPUT_SIZE succeeds and changes nothing (some devices, according to the kernel's ABI
    /// documentation).
    ignore_input_size: bool = false;
    /// SET_NTB_INPUT_SIZE is refused with a STALL.
    refuse_input_size: bool = false;
    /// SET_NTB_FORMAT is refused with a STALL.
    refuse_format: bool = false;
    /// The format falls back to NTB32 when the data alternate setting is selected (Huawei E3372H).
    ntb32_after_alternate: bool = false;
    /// NTB16s from the modem have a header of zeros (HP hs3110).
    zero_ntb16_headers: bool = false;
    /// The first datagram towards the host is the text CONNECT 21600000 (HP hs3110).
    connect_banner: bool = false;
    /// Before the first datagram the network sends a bare ARP request as IPS datagram (Vodafone K5160,
    /// libmbim-devel, March 2016).
    arp_datagram: bool = false;
    /// The network asks for the host's link-layer address by neighbour solicitation, and sends no IPv6
    /// to the host until it is answered (do_neigh_solicit of the kernel's cdc_mbim).
    neighbour_solicitation: bool = false;

    // MBIM.
    /// MBIM_OPEN is answered no sooner than this after the configuration was selected, in milliseconds
    /// (33 s on an lt4132 run by VyOS).
    slow_open_ms: u64 = 0;
    /// The control session is left open by whoever used the modem before: the first MBIM_OPEN is
    /// answered with CLOSE_DONE.
    left_open: bool = false;
    /// Time after MBIM_OPEN in which every command is refused as busy, in milliseconds.
    busy_ms: u64 = 0;
    /// wMaxControlMessage in bytes, from 64 to 4096. A longer message is answered with error 8.
    max_control_message: u16 = 1024;
    /// FirmwareInfo of the device capabilities, and the version AT commands tell; \n stands for a line
    /// break. The default is that of an HP unit.
    firmware_info: String = String::from("11.617.13.00.00");
    /// MBIM_OPEN is answered with FAILURE until SET_NTB_INPUT_SIZE has come since the configuration was
    /// selected (Microsoft Surface Go, whose modem announces dwNtbInMaxSize 16384; linux-usb, August
    /// 2022).
    input_size_first: bool = false;
    /// Number of OPEN_DONE messages with later transaction ids after the first (Huawei EM820W).
    stray_open_done: u8 = 0;
    /// Number of RESPONSE_AVAILABLE notifications per message beyond the one owed.
    notification_storm: u16 = 0;
    /// Every n-th RESPONSE_AVAILABLE is lost; 0 is never.
    lose_notification_every: u16 = 0;
    /// Every n-th control message towards the host is preceded by garbage of its length; 0 is never.
    garbage_response_every: u16 = 0;
    /// Time until CONNECT is answered, in milliseconds.
    connect_ms: u64 = 0;
    /// Time until a deactivation is answered when nothing was active, in milliseconds (over 30 s on a
    /// Huawei ME936).
    idle_deactivate_ms: u64 = 0;
    /// MBIM status code with which CONNECT is refused; 0 is not refused.
    connect_status: u32 = 0;
    /// Network cause told with a CONNECT that connect_status refuses, as 3GPP TS 24.008 numbers them (33
    /// is not subscribed). The knob has no effect without connect_status.
    connect_cause: u32 = 0;
    /// Number added to every network cause told over MBIM.
    cause_offset: u32 = 0;
    /// idProduct under which the device comes back after its firmware has crashed at the first
    /// activation of a data session; 0 is no crash (Intel EM7345, which comes back as a loader of memory
    /// dumps).
    crash_at_connect: u16 = 0;
    /// The only APN the network knows, any other is refused with cause 27; empty accepts all.
    apn: String = String::new();
    /// A CONNECT query before any activation says that the state is unknown (Huawei ME936).
    connect_query_unknown: bool = false;
    /// CONNECT tells IPv4v6 whatever was asked for (Vodafone K5160).
    connect_ip_type_wrong: bool = false;
    /// MBIM status code with which a PIN query is refused; 0 is not refused.
    pin_query_status: u32 = 0;
    /// MBIM status code with which a request to register is refused although the module is registered or
    /// will be; 0 is not refused.
    register_status: u32 = 0;
    /// The indication of a short message that came in says place 1, wherever the message is.
    sms_index_one: bool = false;
    /// MaxSessions in the device capabilities.
    max_sessions: u8 = 8;
    /// Least time between indications of signal strength, in milliseconds; 0 sends none.
    signal_interval_ms: u64 = 5000;
    /// Number of indications of signal strength per second, on top, whatever was subscribed.
    indication_storm_hz: u16 = 0;
    /// Received signal strength as AT+CSQ tells it: 0 to 31, 99 is unknown.
    signal: u8 = 21;
    /// Signal strength over MBIM is unknown although registered (ME906s-158, Ubuntu forums, September
    /// 2017).
    mbim_signal_unknown: bool = false;

    // SIM, radio, network.
    /// What is in the SIM slot: ready, absent, bad or not_initialized.
    sim: SimState = SimState::Ready;
    /// Time from the firmware's start until the SIM is there, in milliseconds. Before, the slot is empty.
    sim_ms: u64 = 0;
    /// PIN1 of the SIM; empty is no PIN check.
    pin: String = String::new();
    /// PUK1 of the SIM.
    puk: String = String::from("12345678");
    /// PIN1 attempts remaining, at most 3.
    pin_attempts: u8 = 3;
    /// PUK1 attempts remaining, at most 10.
    puk_attempts: u8 = 10;
    /// The SIM has been in use: there are messages and phonebook entries on it.
    card_used: bool = true;
    /// What the network says to a registration: home, roaming, partner, denied or searching.
    registration: Registration = Registration::Home;
    /// Time a look around for networks takes, in milliseconds.
    scan_ms: u64 = 0;
    /// Time from radio on to the network's word, in milliseconds.
    registration_ms: u64 = 0;
    /// The radio is on at start. It starts off on the sibling lt4112.
    radio_on: bool = true;
    /// The radio is off and cannot be switched on before the FCC lock is lifted, by a RADIO_STATE set of
    /// the Quectel service (Quectel RM520N-GL) or by Set FCC Authentication of QMI's device management
    /// (Sierra EM7455); the lock is back after a reset.
    fcc_lock: bool = false;
    /// While the FCC lock is on, the SIM slot looks empty (Quectel EM05-G).
    fcc_hides_sim: bool = false;
    /// The hardware radio switch is on.
    hardware_radio_on: bool = true;
    /// The SIM's operator is in the PLMN profile "99999" (IPv4v6) from the factory.
    ipv6: bool = false;
    /// The network gives IPv6. When off, it answers with cause 50, IPv4 only.
    network_ipv6: bool = true;
    /// Prefix length of the IPv6 address the modem tells, in bits; 128 on many modems.
    ipv6_prefix: u8 = 64;
    /// The modem tells a link-local IPv6 address alone; the prefix comes by router advertisement, when
    /// solicited (3GPP TS 23.401, 5.3.1.2.2).
    ipv6_link_local: bool = false;
    /// What an IP_CONFIGURATION query is answered with: told, ipv4 or ipv6 (one family alone is
    /// told), empty (ModemManager takes that for DHCP) or refused. Addresses that are not told come over
    /// the link, by DHCPv4 (RFC 2131) and router advertisements (RFC 4861, RFC 8106).
    ip_configuration: IpConfigurationAnswer = IpConfigurationAnswer::Told;
    /// MTU of the network in bytes.
    mtu: u16 = 1500;
    /// The network is detached from packet service until asked.
    packet_detached: bool = false;

    // AT ports.
    /// Time after the firmware's start in which AT ports do not answer, in milliseconds (an OpenWrt script
    /// for the ME909s waits 15 s).
    at_boot_ms: u64 = 0;
    /// AT ports never answer.
    at_silent: bool = false;
    /// NMEA sentences come on the GPS port without being asked for.
    nmea: bool = false;

    // Faults.
    /// Seed of everything random below.
    seed: u64 = 1;
    /// Datagrams per million that are lost on their way to the network.
    drop_out_ppm: u32 = 0;
    /// Datagrams per million that are lost on their way to the host.
    drop_in_ppm: u32 = 0;
    /// Datagrams per million that get one flipped bit on their way to the host.
    corrupt_in_ppm: u32 = 0;
    /// NTBs towards the host per million whose framing is garbage.
    garbage_in_ppm: u32 = 0;
    /// NTBs towards the host per million that end before their length, the transfer with them.
    short_in_ppm: u32 = 0;
    /// NTBs towards the host per million that follow on a zero-length transfer.
    empty_in_ppm: u32 = 0;
    /// NTBs towards the host per million before which a transfer ends as babble.
    babble_in_ppm: u32 = 0;
    /// NTBs towards the host per million before which a transfer fails on the bus.
    fault_in_ppm: u32 = 0;
    /// NTBs from the host per million whose transfer fails on the bus, and that are lost.
    fault_out_ppm: u32 = 0;
    /// NTBs towards the host per million before which the endpoint stalls.
    stall_in_ppm: u32 = 0;
    /// NTBs from the host per million that the endpoint refuses with a stall.
    stall_out_ppm: u32 = 0;
    /// The bulk OUT data endpoint stalls after this many NTBs, once; 0 is never.
    stall_out_after: u64 = 0;
    /// The bulk IN data endpoint stalls after this many NTBs, once; 0 is never.
    stall_in_after: u64 = 0;
    /// The firmware crashes and resets after this many NTBs from the host, once; 0 is never.
    reset_after: u64 = 0;
    /// The device is unplugged for good after this many NTBs from the host; 0 is never.
    unplug_after: u64 = 0;
    /// NTBs from the host per million after which the firmware crashes and resets.
    reset_ppm: u32 = 0;
    /// NTBs from the host per million after which the device is unplugged, and plugged in again after
    /// absent_ms.
    replug_ppm: u32 = 0;
    /// Bytes of garbage sent on every IN endpoint as soon as it is polled, once.
    garbage: u16 = 0;
}

impl FromStr for Knobs {
    type Err = KnobError;

    /// Reads `name=value,name=value,…`; what is not named keeps its default.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut knobs = Self::default();
        for assignment in text.split(',').filter(|part| !part.trim().is_empty()) {
            knobs.assign(assignment)?;
        }
        Ok(knobs)
    }
}

impl Knobs {
    /// Sets one knob from `name=value`.
    ///
    /// # Errors
    /// [`KnobError`] when the text is no assignment, there is no such knob, or the value does not fit.
    pub fn assign(&mut self, assignment: &str) -> Result<(), KnobError> {
        let (name, value) = assignment
            .split_once('=')
            .ok_or_else(|| KnobError::Form(assignment.to_owned()))?;
        self.set(&name.trim().replace('-', "_"), value.trim())
    }
}

/// Vendors whose modules have what every lt4132 has: HP and Huawei.
const VENDORS_LIKE_LT4132: [u16; 2] = [0x03f0, 0x12d1];

impl Knobs {
    /// Returns the knobs of a well-behaved device with these descriptors. A device of another vendor
    /// has none of the misbehaviours that every lt4132 has.
    #[must_use]
    pub fn like(descriptors: &Descriptors) -> Self {
        let mut knobs = Self::default();
        let mbim = functions::mbim(descriptors);
        // Linux drives only MBIM functions of these vendors with the NDP at the end (cdc_mbim).
        if mbim.is_empty() || !VENDORS_LIKE_LT4132.contains(&descriptors.vendor()) {
            knobs.silent_after_direct_switch = false;
            knobs.black_hole_ndp_front = false;
        }
        if let Some(function) = mbim.first() {
            knobs.max_control_message = function.max_control_message;
            // A smaller one is wrong: no IPv6 link carries less (RFC 8200, 5).
            if function.max_segment_size >= 1280 {
                knobs.mtu = knobs.mtu.min(function.max_segment_size);
            }
        }
        knobs
    }

    /// Returns the firmware's version with its line breaks.
    pub(crate) fn firmware_text(&self) -> String {
        self.firmware_info.replace("\\n", "\n")
    }

    /// Returns the knobs that have been turned and have no effect as the others stand: name, and what is
    /// missing.
    #[must_use]
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let random = self.drop_out_ppm
            | self.drop_in_ppm
            | self.corrupt_in_ppm
            | self.garbage_in_ppm
            | self.short_in_ppm
            | self.empty_in_ppm
            | self.babble_in_ppm
            | self.fault_in_ppm
            | self.fault_out_ppm
            | self.stall_in_ppm
            | self.stall_out_ppm
            | self.reset_ppm
            | self.replug_ppm
            | u32::from(self.garbage_response_every)
            | u32::from(self.garbage);
        let needs = [
            ("connect_cause", self.connect_status != 0, "connect_status"),
            ("fcc_hides_sim", self.fcc_lock, "fcc_lock=on"),
            ("puk", !self.pin.is_empty(), "pin"),
            ("pin_attempts", !self.pin.is_empty(), "pin"),
            ("puk_attempts", !self.pin.is_empty(), "pin"),
            ("network_ipv6", self.ipv6, "ipv6=on"),
            ("ipv6_prefix", self.ipv6, "ipv6=on"),
            ("ipv6_link_local", self.ipv6, "ipv6=on"),
            ("neighbour_solicitation", self.ipv6, "ipv6=on"),
            (
                "settle_ms",
                self.silent_after_direct_switch,
                "silent_after_direct_switch=on",
            ),
            ("seed", random != 0, "a knob of chance or garbage"),
        ];
        let turned = self.changed();
        needs
            .into_iter()
            .filter(|(name, met, _)| !met && turned.iter().any(|(changed, _)| changed == name))
            .map(|(name, _, missing)| (name, missing))
            .collect()
    }
}

impl fmt::Display for Knobs {
    /// Writes the knobs that differ from the default, as [`FromStr`] reads them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.changed().into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_back() {
        for knob in Knobs::catalogue() {
            let mut knobs = Knobs::default();
            knobs.set(knob.name, &knob.default).expect(knob.name);
            assert_eq!(knobs, Knobs::default(), "{}", knob.name);
            assert!(knob.about.len() > 10, "{} is not explained", knob.name);
        }
    }

    #[test]
    fn the_readme_names_every_knob() {
        let readme = include_str!("../README.md");
        for knob in Knobs::catalogue() {
            assert!(
                readme.contains(&format!("`{}`", knob.name)),
                "{}",
                knob.name
            );
        }
    }

    #[test]
    fn a_list_of_assignments_reads_and_writes() {
        let text = "brand=huawei,settle_ms=20,black_hole_ndp_front=off,pin=1234";
        let knobs: Knobs = text.parse().unwrap();
        assert_eq!(knobs.brand, Brand::Huawei);
        assert_eq!(knobs.settle_ms, 20);
        assert!(!knobs.black_hole_ndp_front);
        assert_eq!(knobs.to_string().parse::<Knobs>().unwrap(), knobs);
        assert_eq!(
            "ntb-in-max=0x8000".parse::<Knobs>().unwrap().ntb_in_max,
            32768
        );
    }

    #[test]
    fn knobs_without_effect_are_named() {
        assert_eq!(Knobs::default().without_effect(), []);
        let knobs: Knobs = "connect_cause=33,pin_attempts=1,seed=7".parse().unwrap();
        let idle: Vec<&str> = knobs
            .without_effect()
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(idle, ["connect_cause", "pin_attempts", "seed"]);
        let knobs: Knobs = "connect_cause=33,connect_status=2,pin=1234,pin_attempts=1"
            .parse()
            .unwrap();
        assert_eq!(knobs.without_effect(), []);
    }

    #[test]
    fn knobs_are_kept_as_json() {
        let knobs: Knobs = "brand=huawei,pin=1234".parse().unwrap();
        let text = serde_json::to_string(&knobs).unwrap();
        assert_eq!(serde_json::from_str::<Knobs>(&text).unwrap(), knobs);
        let partial: Knobs = serde_json::from_str(r#"{"settle_ms":7}"#).unwrap();
        assert_eq!(partial, "settle_ms=7".parse().unwrap());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert_eq!(
            "settle".parse::<Knobs>(),
            Err(KnobError::Form("settle".into()))
        );
        assert_eq!(
            "colour=red".parse::<Knobs>(),
            Err(KnobError::Unknown("colour".into()))
        );
        assert!(matches!(
            "ntb_divisor=70000".parse::<Knobs>(),
            Err(KnobError::Value {
                name: "ntb_divisor",
                ..
            })
        ));
    }
}
