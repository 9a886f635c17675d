//! What the firmware can be told to do, one knob a behaviour.
//!
//! Times are in milliseconds, sizes in bytes. "M3" and the like name rows of the misbehaviour table
//! compiled from reports of owners (kernel drivers, mailing lists, blogs); everything else names
//! the firmware or specification the behaviour was seen in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A knob assignment that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KnobError {
    /// Not `name=value`.
    #[error("knob {0:?}: expected name=value, as in settle_ms=20")]
    Form(String),
    /// No knob of that name.
    #[error("there is no knob named {0:?}; the list of knobs has them all")]
    Unknown(String),
    /// The value does not fit the knob.
    #[error("knob {name}={value}: expected {expected}")]
    Value {
        /// The knob.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would fit.
        expected: &'static str,
    },
}

/// A knob as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobInfo {
    /// Its name, as in `name=value`.
    pub name: &'static str,
    /// Its default, as it would be written.
    pub default: String,
    /// What it does and where that was seen.
    pub about: String,
}

/// A value a knob can have.
trait Value: Sized {
    const EXPECTED: &'static str;
    fn read(text: &str) -> Option<Self>;
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
    /// Whose sticker the module carries.
    Brand, "hp or huawei" {
        /// HP lt4132, 03f0:a31d, USB 2.00.
        Hp = "hp",
        /// Huawei ME906s-158, 12d1:15c1, USB 2.10 with a BOS descriptor.
        Huawei = "huawei",
    }
}

choice! {
    /// Where the pointer table of a block from the modem stands.
    NdpPlace, "end or front" {
        /// After the datagrams.
        End = "end",
        /// Before the datagrams.
        Front = "front",
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
    /// Kernel drivers the host of the in-process backend pretends to have.
    HostDrivers, "bound, late or none" {
        /// `cdc_ether`, `option` and `cdc_mbim` bind as a configuration is selected.
        Bound = "bound",
        /// As modules loaded late: they bind to what is free 50 ms after the selection.
        Late = "late",
        /// None.
        None = "none",
    }
}

choice! {
    /// What is wrong with the descriptors of configuration 3.
    DescriptorFault, "none, truncated, oversized or empty" {
        /// Nothing.
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
        /// All knobs. The default is a well-behaved lt4132, that is: one with the misbehaviours every
        /// unit has.
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

            /// Every knob with its default and meaning, in the order of the list.
            #[must_use]
            pub fn catalogue() -> Vec<KnobInfo> {
                let defaults = Self::default();
                vec![$(KnobInfo {
                    name: stringify!($name),
                    default: defaults.$name.write(),
                    about: concat!($($doc, "\n"),+).lines().map(str::trim).collect::<Vec<_>>().join(" "),
                },)*]
            }

            /// The knobs that differ from the default, as (name, value).
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
    /// Configuration the in-process host has selected when the device appears; 0 is unconfigured
    /// (M5: Linux selects 2; M6: unset after boot or resume).
    start_configuration: u8 = 2;
    /// Kernel drivers on the in-process host: bound, late (M13) or none.
    host_drivers: HostDrivers = HostDrivers::Bound;
    /// A switch from 1 or 2 to 3 without 0 between succeeds on USB, and MBIM_OPEN is never answered
    /// (M1, usbmon of a ME906s-158, 2016).
    silent_after_direct_switch: bool = true;
    /// Least time in configuration 0 before 3 that wakes MBIM (M2: "a few ms" to 1 s advised).
    settle_ms: u64 = 100;
    /// Time off the bus at a firmware reset (real units: about 20 s).
    absent_ms: u64 = 1500;
    /// What is wrong with the descriptors of configuration 3: none, truncated, oversized or empty.
    descriptors: DescriptorFault = DescriptorFault::None;
    /// A USB port reset makes the device drop off and come back (inferred for this firmware).
    reset_reenumerates: bool = false;

    // NTB parameters and framing.
    /// wLength of the NTB parameters and bytes answered; below 28 the answer is cut.
    ntb_parameters_length: u16 = 28;
    /// bmNtbFormatsSupported: 1 NTB16 only, 3 both (inferred from the kernel's init sequence).
    ntb_formats: u16 = 3;
    /// dwNtbInMaxSize.
    ntb_in_max: u32 = 131_072;
    /// dwNtbOutMaxSize.
    ntb_out_max: u32 = 16_384;
    /// wNdpOutDivisor and wNdpInDivisor.
    ntb_divisor: u16 = 4;
    /// wNdpOutPayloadRemainder and wNdpInPayloadRemainder (2 in a crash report of the ME909s-120).
    ntb_remainder: u16 = 0;
    /// wNdpOutAlignment and wNdpInAlignment.
    ntb_alignment: u16 = 4;
    /// wNtbOutMaxDatagrams; 0 is no limit.
    ntb_max_datagrams: u16 = 0;
    /// Blocks with the pointer table before the datagrams are acknowledged and vanish (M4).
    black_hole_ndp_front: bool = true;
    /// Where the modem puts the pointer table of its own blocks.
    ndp_place: NdpPlace = NdpPlace::End;
    /// SET_NTB_INPUT_SIZE succeeds and changes nothing (some devices, kernel ABI note).
    ignore_input_size: bool = false;
    /// SET_NTB_INPUT_SIZE is refused with a STALL.
    refuse_input_size: bool = false;
    /// SET_NTB_FORMAT is refused with a STALL.
    refuse_format: bool = false;
    /// The format falls back to NTB32 when the data alternate setting is selected (E3372H).
    ntb32_after_alternate: bool = false;
    /// NTB16 blocks from the modem have a header of zeros (HP hs3110).
    zero_ntb16_headers: bool = false;
    /// The first datagram towards the host is the text CONNECT 21600000 (HP hs3110).
    connect_banner: bool = false;
    /// Before the first datagram the network sends a bare ARP request as IPS datagram (K5160).
    arp_datagram: bool = false;
    /// The network asks for the host's link-layer address (neighbour solicitation) and stops
    /// IPv6 towards the host until it is answered (kernel `do_neigh_solicit`).
    neighbour_solicitation: bool = false;

    // MBIM.
    /// MBIM_OPEN is answered no sooner than this after the configuration was selected (M7: 33 s).
    slow_open_ms: u64 = 0;
    /// Extra OPEN_DONE messages with later transaction ids after the first (EM820W).
    stray_open_done: u8 = 0;
    /// RESPONSE_AVAILABLE notifications per message, beyond the one owed.
    notification_storm: u16 = 0;
    /// Every n-th RESPONSE_AVAILABLE is lost; 0 is never.
    lose_notification_every: u16 = 0;
    /// Every n-th control message towards the host is preceded by garbage of its length; 0 is never.
    garbage_response_every: u16 = 0;
    /// Time until CONNECT is answered.
    connect_ms: u64 = 0;
    /// Time until a deactivation is answered when nothing was active (ME936: over 30 s).
    idle_deactivate_ms: u64 = 0;
    /// CONNECT is refused with this MBIM status code; 0 is not refused.
    connect_status: u32 = 0;
    /// Network cause told with a refused CONNECT, as 3GPP TS 24.008 (33: not subscribed).
    connect_cause: u32 = 0;
    /// The only APN the network knows; empty accepts all, any other is refused with cause 27.
    apn: String = String::new();
    /// CONNECT query before any activation says "unknown" (ME936).
    connect_query_unknown: bool = false;
    /// CONNECT tells IPv4v6 whatever was asked for (K5160).
    connect_ip_type_wrong: bool = false;
    /// MaxSessions in the device capabilities.
    max_sessions: u8 = 8;
    /// Least time between indications of signal strength; 0 sends none.
    signal_interval_ms: u64 = 5000;
    /// Indications of signal strength per second, on top, whatever was subscribed.
    indication_storm_hz: u16 = 0;
    /// Received signal strength as AT+CSQ tells it: 0 to 31, 99 unknown (M17: unknown over MBIM).
    signal: u8 = 21;
    /// Signal strength over MBIM is "unknown" although registered (M17).
    mbim_signal_unknown: bool = false;

    // SIM, radio, network.
    /// What is in the SIM slot: ready, absent, bad or not_initialized.
    sim: SimState = SimState::Ready;
    /// The SIM's PIN1; empty is no PIN check.
    pin: String = String::new();
    /// The SIM's PUK1.
    puk: String = String::from("12345678");
    /// Attempts left for PIN1 (at most 3).
    pin_attempts: u8 = 3;
    /// Attempts left for PUK1 (at most 10).
    puk_attempts: u8 = 10;
    /// The SIM has been in use: there are messages and phonebook entries on it.
    card_used: bool = true;
    /// What the network says to a registration: home, roaming, partner, denied or searching.
    registration: Registration = Registration::Home;
    /// Time a look around for networks takes.
    scan_ms: u64 = 0;
    /// Time from radio on to the network's word.
    registration_ms: u64 = 0;
    /// The radio is on at start (the sibling lt4112 starts with it off).
    radio_on: bool = true;
    /// The hardware radio switch is on.
    hardware_radio_on: bool = true;
    /// The SIM's operator is in the PLMN profile "99999" (IPv4v6) from the factory.
    ipv6: bool = false;
    /// The network gives IPv6; off, it answers with cause 50, IPv4 only.
    network_ipv6: bool = true;
    /// Prefix length of the IPv6 address the modem tells (128 on many).
    ipv6_prefix: u8 = 64;
    /// The modem tells a link-local IPv6 address alone; the prefix comes by router advertisement,
    /// when solicited (3GPP TS 23.401, 5.3.1.2.2).
    ipv6_link_local: bool = false;
    /// MTU of the network.
    mtu: u16 = 1500;
    /// The network is detached from packet service until asked.
    packet_detached: bool = false;

    // AT ports.
    /// Time after enumeration in which AT ports do not answer (ME909s: 15 s advised).
    at_boot_ms: u64 = 0;
    /// AT ports never answer.
    at_silent: bool = false;
    /// NMEA sentences on the GPS port without being asked for.
    nmea: bool = false;

    // Faults.
    /// Seed of everything random below.
    seed: u64 = 1;
    /// Datagrams per million lost on their way to the network.
    drop_out_ppm: u32 = 0;
    /// Datagrams per million lost on their way to the host.
    drop_in_ppm: u32 = 0;
    /// Datagrams per million with one flipped bit on their way to the host.
    corrupt_in_ppm: u32 = 0;
    /// Blocks towards the host per million whose framing is garbage.
    garbage_in_ppm: u32 = 0;
    /// Blocks towards the host per million that end before their length, the transfer with them.
    short_in_ppm: u32 = 0;
    /// Blocks towards the host per million that follow on a zero-length transfer.
    empty_in_ppm: u32 = 0;
    /// Blocks towards the host per million before which a transfer ends as babble.
    babble_in_ppm: u32 = 0;
    /// Blocks towards the host per million before which a transfer fails on the bus.
    fault_in_ppm: u32 = 0;
    /// Blocks from the host per million whose transfer fails on the bus, and that are lost.
    fault_out_ppm: u32 = 0;
    /// Blocks towards the host per million before which the endpoint stalls.
    stall_in_ppm: u32 = 0;
    /// Blocks from the host per million that the endpoint refuses with a stall.
    stall_out_ppm: u32 = 0;
    /// The bulk OUT data endpoint stalls after this many blocks, once; 0 is never.
    stall_out_after: u64 = 0;
    /// The bulk IN data endpoint stalls after this many blocks, once; 0 is never.
    stall_in_after: u64 = 0;
    /// The firmware crashes and resets after this many blocks from the host, once; 0 is never.
    reset_after: u64 = 0;
    /// The device is unplugged for good after this many blocks from the host; 0 is never.
    unplug_after: u64 = 0;
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
    /// [`KnobError`] when it is no assignment, of no knob, or the value does not fit.
    pub fn assign(&mut self, assignment: &str) -> Result<(), KnobError> {
        let (name, value) = assignment
            .split_once('=')
            .ok_or_else(|| KnobError::Form(assignment.to_owned()))?;
        self.set(&name.trim().replace('-', "_"), value.trim())
    }
}

impl fmt::Display for Knobs {
    /// The knobs that differ from the default, as [`FromStr`] reads them.
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
