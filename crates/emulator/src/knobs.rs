//! The behaviours that the firmware can be told to have, one knob for each.
//!
//! Each knob names the firmware, the report or the specification in which its behaviour was seen.

mod info;
mod turned;
mod value;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use info::{Effect, Kind, KnobInfo};
pub use value::{
    AddressAnswer, ArpManner, Brand, DescriptorFault, DhcpManner, DialOutcome, Dialling,
    HostDrivers, IpConfigurationAnswer, NdpPlace, NtbEnd, Registration, SequenceTaken,
    SessionAddress, SessionAddresses, SimState, UssdForm,
};
use value::{Value, expected};

/// Reason why a knob assignment is invalid.
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
        /// Description of the values that would fit.
        expected: String,
    },
    /// The knob cannot be turned while the modem runs.
    #[error("knob {0} cannot be changed while the modem runs; set it when the modem is started")]
    Fixed(&'static str),
}

/// Returns the effect of a knob; one that names none takes effect at once.
macro_rules! effect {
    () => {
        Effect::Now
    };
    ($effect:ident) => {
        Effect::$effect
    };
}

/// Returns an optional part of a knob's line, if it is there.
macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

macro_rules! knobs {
    ($($family:literal: {$(
        $(#[doc = $doc:literal])+
        $name:ident: $kind:ty = $default:expr
        $(, unit $unit:literal)?
        $(, range $least:literal..=$most:literal)?
        $(, seen $seen:literal)?
        $(, from $effect:ident)?;
    )*})*) => {
        /// All knobs. The default is a well-behaved lt4132, which has the misbehaviours that every
        /// unit has.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Knobs {
            $($($(#[doc = $doc])+ $(#[doc = concat!("\n\nSeen: ", $seen, ".")])? pub $name: $kind,)*)*
        }

        impl Default for Knobs {
            fn default() -> Self {
                Self { $($($name: $default,)*)* }
            }
        }

        impl Knobs {
            /// Sets one knob from its name and value.
            ///
            /// # Errors
            /// [`KnobError::Unknown`] or [`KnobError::Value`].
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), KnobError> {
                match name {
                    $($(stringify!($name) => {
                        let range: Option<(u64, u64)> = optional!($(($least, $most))?);
                        let inside = |read: &$kind| match (Value::number(read), range) {
                            (Some(number), Some((least, most))) => (least..=most).contains(&number),
                            _ => true,
                        };
                        let read = <$kind as Value>::read(value).filter(inside);
                        self.$name = read.ok_or_else(|| KnobError::Value {
                            name: stringify!($name),
                            value: value.to_owned(),
                            expected: expected::<$kind>(range),
                        })?;
                    })*)*
                    _ => return Err(KnobError::Unknown(name.to_owned())),
                }
                Ok(())
            }

            /// Returns every knob with its default and meaning, in the order of the fields.
            #[must_use]
            pub fn catalogue() -> Vec<KnobInfo> {
                let defaults = Self::default();
                vec![$($(KnobInfo {
                    name: stringify!($name),
                    family: $family,
                    kind: <$kind as Value>::KIND,
                    unit: optional!($($unit)?),
                    range: optional!($(($least, $most))?).or(<$kind as Value>::RANGE),
                    choices: <$kind as Value>::CHOICES,
                    default: defaults.$name.write(),
                    about: concat!($($doc, "\n"),+).lines().map(str::trim).collect::<Vec<_>>().join(" "),
                    seen: optional!($($seen)?),
                    effect: effect!($($effect)?),
                },)*)*]
            }

            /// Returns name and value of every knob, in the order of the fields.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, String)> {
                vec![$($((stringify!($name), self.$name.write()),)*)*]
            }

            /// Returns name and value of the knobs that differ from the default.
            #[must_use]
            pub fn changed(&self) -> Vec<(&'static str, String)> {
                let defaults = Self::default().all();
                let mut all = self.all();
                let mut number = 0;
                all.retain(|knob| {
                    number += 1;
                    defaults[number - 1] != *knob
                });
                all
            }
        }
    };
}

knobs! {
    "identity and USB": {
        /// Brand of the module: hp (03f0:a31d) or huawei (12d1:15c1).
        brand: Brand = Brand::Hp, from Reset;
        /// Configuration that the in-process host has selected when the device appears. Linux
        /// selects 2; 0 is unconfigured, as a unit came up after boot and resume.
        start_configuration: u8 = 2, seen "draisberghof.de forum, topic 2997", from Start;
        /// Kernel drivers of the in-process host: bound at once, late (as modules loaded on demand,
        /// which race with udev's rules), or none.
        host_drivers: HostDrivers = HostDrivers::Bound, from Start;
        /// After a switch from configuration 1 or 2 to 3 without 0 between, every USB request
        /// succeeds and MBIM_OPEN is never answered.
        silent_after_direct_switch: bool = true,
            seen "usbmon of a ME906s-158, modemmanager-devel, March 2016";
        /// Least time in configuration 0 before 3 after which MBIM works, in milliseconds.
        settle_ms: u64 = 100,
            unit "ms",
            seen "modemmanager-devel, April and June 2016, advises up to 2 s; OpenWrt's usb-mode waits 100 ms";
        /// Time the device is off the bus at a firmware reset, in milliseconds. Real units take
        /// about 20 s.
        absent_ms: u64 = 1500, unit "ms";
        /// What is wrong with the descriptors of configuration 3: none, truncated, oversized or
        /// empty.
        descriptors: DescriptorFault = DescriptorFault::None, from Reset;
        /// Data rate of the bus for both directions together, in Mbit/s; 0 is without bound. A
        /// high-speed bus carries 426.
        bus_mbit: u32 = 0, unit "Mbit/s", seen "USB 2.0, 5.8.4";
        /// A reset of the USB port makes the device drop off and come back.
        reset_reenumerates: bool = false, seen "inferred for this firmware";
    }
    "NTB parameters and framing": {
        /// wLength of the NTB parameters and number of bytes in the answer; below 28 the answer is
        /// cut.
        ntb_parameters_length: u16 = 28, unit "bytes";
        /// bmNtbFormatsSupported: 1 is NTB16 only, 2 is NTB32 only (Huawei E5785, E5885), 3 is both.
        ntb_formats: u16 = 3, seen "inferred from the kernel's init sequence", from Selection;
        /// dwNtbInMaxSize in bytes.
        ntb_in_max: u32 = 131_072, unit "bytes", from Selection;
        /// dwNtbOutMaxSize in bytes.
        ntb_out_max: u32 = 16_384, unit "bytes", from Selection;
        /// wNdpOutDivisor and wNdpInDivisor in bytes.
        ntb_divisor: u16 = 4, unit "bytes", from Selection;
        /// wNdpOutPayloadRemainder and wNdpInPayloadRemainder in bytes.
        ntb_remainder: u16 = 0,
            unit "bytes",
            seen "2 in a crash report of a ME909s-120",
            from Selection;
        /// wNdpOutAlignment and wNdpInAlignment in bytes.
        ntb_alignment: u16 = 4, unit "bytes", from Selection;
        /// wNdpInDivisor in bytes, where NTBs from the modem have an alignment of their own; 0 is
        /// the same as for NTBs from the host.
        ntb_in_divisor: u16 = 0, unit "bytes", from Selection;
        /// wNdpInPayloadRemainder in bytes, together with ntb_in_divisor.
        ntb_in_remainder: u16 = 0, unit "bytes", from Selection;
        /// wNdpInAlignment in bytes; 0 is the same as for NTBs from the host.
        ntb_in_alignment: u16 = 0, unit "bytes", from Selection;
        /// Largest number of datagrams in an NTB from the modem; 0 is as many as fit.
        ntb_in_datagrams: u16 = 0, unit "datagrams", from Selection;
        /// wNtbOutMaxDatagrams; 0 is no limit.
        ntb_max_datagrams: u16 = 0, unit "datagrams", from Selection;
        /// NTBs with the NDP before the datagrams are accepted on USB, and their datagrams vanish.
        black_hole_ndp_front: bool = true,
            seen "quirk NDP_TO_END of the kernel's cdc_mbim; modemmanager-devel, June 2016";
        /// NTB16s are accepted on USB, and their datagrams vanish.
        black_hole_ntb16: bool = false, seen "Huawei ME906E by its users' reports";
        /// What the modem needs to see the end of an NTB that fills its last packet without
        /// padding: any (nothing special), short (one byte more), zlp (a zero-length packet), or
        /// full (zeros up to the longest NTB, for NTBs of more than dwNtbOutMaxSize less three
        /// packets). An NTB that ends otherwise stops everything until one comes that ends as
        /// needed.
        ntb_end: NtbEnd = NtbEnd::Any,
            seen "kernel's usbnet on devices that hang without, or with, zero-length packets";
        /// Divisor of the offsets of datagrams that the modem really takes, in bytes: NTBs with
        /// other offsets vanish, whatever it announces. 0 takes any. For an Ethernet frame the
        /// offset of its payload counts.
        ntb_needs_divisor: u16 = 0, unit "bytes";
        /// NTBs from the host that vanish because of their wSequence: none (any), those whose
        /// number is not one more than that of the NTB before (next), or those with the same number
        /// (other).
        ntb_sequence: SequenceTaken = SequenceTaken::Any,
            seen "nowhere yet; wSequence is there to tell losses (NCM 1.0, 3.2.1)";
        /// After an NTB without datagrams all datagrams vanish until the data alternate setting is
        /// selected again.
        black_hole_after_empty: bool = false;
        /// SET_NTB_FORMAT undoes the SET_NTB_INPUT_SIZE before it.
        format_forgets_size: bool = false;
        /// Where the modem puts the NDP of its own NTBs: at the end or in front of the datagrams.
        ndp_place: NdpPlace = NdpPlace::End, from Selection;
        /// SET_NTB_INPUT_SIZE succeeds and changes nothing.
        ignore_input_size: bool = false,
            seen "some devices, according to the kernel's ABI documentation";
        /// SET_NTB_INPUT_SIZE is refused with a STALL.
        refuse_input_size: bool = false;
        /// SET_NTB_FORMAT is refused with a STALL.
        refuse_format: bool = false;
        /// The format falls back to NTB32 when the data alternate setting is selected.
        ntb32_after_alternate: bool = false, seen "Huawei E3372H";
        /// NTB16s from the modem have a header of zeros.
        zero_ntb16_headers: bool = false, seen "HP hs3110";
        /// The first datagram towards the host is the text CONNECT 21600000.
        connect_banner: bool = false, seen "HP hs3110";
        /// Before the first datagram the network sends a bare ARP request as IPS datagram.
        arp_datagram: bool = false, seen "Vodafone K5160, libmbim-devel, March 2016";
        /// The network asks for the host's link-layer address by neighbour solicitation, and sends
        /// no IPv6 to the host until it is answered.
        neighbour_solicitation: bool = false, seen "do_neigh_solicit of the kernel's cdc_mbim";
    }
    "MBIM": {
        /// Time from the selection of the configuration before which MBIM_OPEN is not answered, in
        /// milliseconds.
        slow_open_ms: u64 = 0, unit "ms", seen "33 s on an lt4132 run by VyOS";
        /// An earlier host has left the control session open, so the first MBIM_OPEN is answered
        /// with CLOSE_DONE.
        left_open: bool = false, from Selection;
        /// Time after MBIM_OPEN during which every command is refused as busy, in milliseconds.
        busy_ms: u64 = 0, unit "ms";
        /// wMaxControlMessage in bytes, from 64 to 4096. A longer message is answered with the
        /// protocol error MAX_TRANSFER (8).
        max_control_message: u16 = 1024, unit "bytes", range 64..=4096, from Reset;
        /// FirmwareInfo of the device capabilities, and the version in answers to AT commands; \n
        /// stands for a line break. The default is that of an HP unit.
        firmware_info: String = String::from("11.617.13.00.00");
        /// MBIM_OPEN is answered with FAILURE until SET_NTB_INPUT_SIZE has come since the
        /// configuration was selected.
        input_size_first: bool = false,
            seen "Microsoft Surface Go, whose modem announces dwNtbInMaxSize 16384; linux-usb, August 2022";
        /// MBIM_OPEN is answered with FAILURE while the data interface is in alternate setting 0.
        open_needs_alternate: bool = false;
        /// Number of OPEN_DONE messages with later transaction ids that follow the first.
        stray_open_done: u8 = 0, unit "messages", seen "Huawei EM820W";
        /// Number of RESPONSE_AVAILABLE notifications for each message beyond the one that is owed.
        notification_storm: u16 = 0, unit "notifications";
        /// Every n-th RESPONSE_AVAILABLE is lost; 0 is never.
        lose_notification_every: u16 = 0, unit "notifications";
        /// Every n-th control message towards the host is preceded by garbage of its length; 0 is
        /// never.
        garbage_response_every: u16 = 0, unit "messages";
        /// Time until CONNECT is answered, in milliseconds.
        connect_ms: u64 = 0, unit "ms";
        /// Time until a deactivation is answered when nothing was active, in milliseconds.
        idle_deactivate_ms: u64 = 0, unit "ms", seen "over 30 s on a Huawei ME936";
        /// MBIM status code with which CONNECT is refused; 0 does not refuse.
        connect_status: u32 = 0;
        /// Network cause in the answer to a CONNECT that connect_status refuses, as 3GPP TS 24.008
        /// numbers the causes (33 is not subscribed). The knob has no effect without
        /// connect_status.
        connect_cause: u32 = 0;
        /// Number that is added to every network cause in MBIM.
        cause_offset: u32 = 0;
        /// idProduct under which the device comes back after its firmware has crashed at the first
        /// activation of a data session; 0 does not crash.
        crash_at_connect: u16 = 0,
            seen "Intel EM7345, which comes back as a loader of memory dumps";
        /// The only APN that the network knows; any other is refused with cause 27 (missing or
        /// unknown APN). Empty accepts all.
        apn: String = String::new();
        /// The answer to a CONNECT query before any activation says that the state is unknown.
        connect_query_unknown: bool = false, seen "Huawei ME936";
        /// CONNECT reports IPv4v6, whatever IP type was asked for.
        connect_ip_type_wrong: bool = false, seen "Vodafone K5160";
        /// MBIM status code with which a PIN query is refused; 0 does not refuse.
        pin_query_status: u32 = 0;
        /// MBIM status code with which a request to register is refused although the module is
        /// registered or will be; 0 does not refuse.
        register_status: u32 = 0;
        /// The indication of a short message that arrived names place 1, wherever the message is.
        sms_index_one: bool = false;
        /// MaxSessions in the device capabilities.
        max_sessions: u8 = 8, unit "sessions";
        /// Least time between indications of signal strength, in milliseconds; 0 sends none.
        signal_interval_ms: u64 = 5000, unit "ms", from Open;
        /// Number of indications of signal strength per second in addition, whatever was
        /// subscribed.
        indication_storm_hz: u16 = 0, unit "per second";
        /// Received signal strength as AT+CSQ reports it: 0 to 31, 99 is unknown.
        signal: u8 = 21, range 0..=99;
        /// Signal strength over MBIM is unknown although registered.
        mbim_signal_unknown: bool = false, seen "ME906s-158, Ubuntu forums, September 2017";
    }
    "SIM, radio, network": {
        /// State of the SIM slot: ready, absent, bad or not_initialized.
        sim: SimState = SimState::Ready;
        /// Time from the firmware's start until the SIM appears, in milliseconds. Before, the slot
        /// is empty.
        sim_ms: u64 = 0, unit "ms", from Reset;
        /// PIN1 of the SIM; with an empty one the SIM asks for none.
        pin: String = String::new();
        /// PUK1 of the SIM.
        puk: String = String::from("12345678");
        /// PIN1 attempts remaining, at most 3.
        pin_attempts: u8 = 3, unit "attempts", range 0..=3;
        /// PUK1 attempts remaining, at most 10.
        puk_attempts: u8 = 10, unit "attempts", range 0..=10;
        /// The SIM has been in use: there are messages and phonebook entries on it.
        card_used: bool = true, from Start;
        /// Answer of the network to a registration: home, roaming, partner, denied or searching.
        registration: Registration = Registration::Home;
        /// Time that a scan for networks takes, in milliseconds.
        scan_ms: u64 = 0, unit "ms";
        /// Time from switching the radio on to the network's answer to the registration, in
        /// milliseconds.
        registration_ms: u64 = 0, unit "ms";
        /// The radio is on at start. It starts off on the sibling lt4112.
        radio_on: bool = true, from Reset;
        /// The radio is off and cannot be switched on before the FCC lock is lifted, by a
        /// RADIO_STATE set of the Quectel service or by Set FCC Authentication of QMI's device
        /// management. The lock is back after a reset.
        fcc_lock: bool = false, seen "Quectel RM520N-GL, Sierra EM7455", from Reset;
        /// While the FCC lock is on, the SIM slot looks empty.
        fcc_hides_sim: bool = false, seen "Quectel EM05-G", from Reset;
        /// The hardware radio switch is on.
        hardware_radio_on: bool = true;
        /// The SIM's operator is in the PLMN profile "99999" (IPv4v6) from the factory.
        ipv6: bool = false, from Start;
        /// The network gives IPv6. When off, it answers with cause 50 (IPv4 only).
        network_ipv6: bool = true;
        /// Prefix length of the IPv6 address that the modem reports, in bits; 128 on many modems.
        ipv6_prefix: u8 = 64, unit "bits", range 0..=128;
        /// The modem reports only a link-local IPv6 address; the prefix comes by router
        /// advertisement, when solicited.
        ipv6_link_local: bool = false, seen "3GPP TS 23.401, 5.3.1.2.2";
        /// Answer to an IP_CONFIGURATION query: told, ipv4 or ipv6 (one family only), empty (which
        /// ModemManager takes for DHCP) or refused. Addresses that are not in the answer come over
        /// the link, by DHCPv4 (RFC 2131) and router advertisements (RFC 4861, RFC 8106).
        ip_configuration: IpConfigurationAnswer = IpConfigurationAnswer::Told;
        /// IPv4 address of data session 0; without a value it is 10.169.198.77.
        ipv4_address: Option<Ipv4Addr> = None;
        /// Prefix length of ipv4_address, in bits.
        ipv4_prefix: u8 = 30, unit "bits", range 0..=32;
        /// IPv4 gateway of data session 0; without a value it is 10.169.198.78.
        ipv4_gateway: Option<Ipv4Addr> = None;
        /// IPv4 name server of data session 0; without a value they are those of the emulator's
        /// operator.
        ipv4_dns: Option<Ipv4Addr> = None;
        /// IPv6 address of data session 0; without a value it is
        /// 2a02:2121:2c4:7105:5a2c:80ff:fe13:9208.
        ipv6_address: Option<Ipv6Addr> = None;
        /// IPv6 gateway of data session 0; without a value there is none, and the default route is
        /// on-link.
        ipv6_gateway: Option<Ipv6Addr> = None;
        /// IPv6 name server of data session 0; without a value they are those of the emulator's
        /// operator.
        ipv6_dns: Option<Ipv6Addr> = None;
        /// Addresses of other data sessions, each with its gateway or without, joined by +:
        /// 1:10.0.1.5-10.0.1.6+1:2a02::5+2:10.0.2.5. A session that is not named has one of the
        /// emulator's.
        session_addresses: SessionAddresses = SessionAddresses::default();
        /// MTU of the network in bytes.
        mtu: u16 = 1500, unit "bytes";
        /// The module is detached from packet service until it is asked to attach.
        packet_detached: bool = false, from Reset;
    }
    "Ethernet functions and dialling": {
        /// Whether the link of an Ethernet function is down until AT^NDISDUP dials: usual (for
        /// Huawei's own NCM, and ECM of Huawei's modems), wanted (for all) or needless (for none).
        dialling: Dialling = Dialling::Usual,
            seen "kernel's huawei_cdc_ncm, and a ME906s in configuration 2", from Selection;
        /// Outcome of AT^NDISDUP: connects, nothing (OK, and no state ever changes) or no_carrier
        /// (^NDISSTAT says connected, but neither NETWORK_CONNECTION nor a packet comes).
        dial: DialOutcome = DialOutcome::Connects,
            seen "draisberghof.de forum, topic 2710: no carrier on a ME909s";
        /// ^NDISSTAT and ^NDISSTATQRY report the state only, without the address family.
        ndisstat_short: bool = false, seen "ModemManager's tests of its Huawei plugin";
        /// Answer to AT^DHCP? and AT^DHCPV6? while the call is up: told, zeros or refused.
        dhcp_command: AddressAnswer = AddressAnswer::Told;
        /// Serial ports never answer AT commands. Encapsulated commands, which carry them as well,
        /// are answered.
        at_ports_silent: bool = false;
        /// Encapsulated commands, which carry AT (the kernel's /dev/cdc-wdm0), are never answered.
        at_pipe_silent: bool = false,
            seen "Huawei E3372h-607, rules of ModemManager's Huawei plugin";
        /// Behaviour of the DHCP server of the link: right, silent, refuses or wrong (it leases an
        /// address of 169.254.0.0/16).
        dhcp: DhcpManner = DhcpManner::Right,
            seen "link-local address on a ME906s in configuration 2, superuser.com 1079052";
        /// Time until the DHCP server of the link answers, in milliseconds.
        dhcp_ms: u64 = 0, unit "ms";
        /// How the modem resolves Ethernet addresses: answers, silent, asks (it asks first, and
        /// sends no IPv4 until answered) or own (it takes the host's Ethernet address for its own).
        arp: ArpManner = ArpManner::Answers,
            seen "users of Huawei sticks under the kernel's huawei_cdc_ncm and cdc_ether";
        /// idProduct under which the device is a storage device first, until it is told to switch
        /// (SCSI command 11 06 20, as usb_modeswitch sends it); 0 is never.
        storage_first: u16 = 0, seen "E3372 as 12d1:1f01, usb_modeswitch-data", from Reset;
    }
    "radio link": {
        /// Rate towards the host in Mbit/s; 0 is without bound. LTE of category 4 has 150, of category
        /// 6 300.
        air_down_mbit: u32 = 0, unit "Mbit/s", seen "3GPP TS 36.306, 4.1", from Start;
        /// Rate towards the network in Mbit/s; 0 is without bound. LTE of categories 4 and 6 has 50.
        air_up_mbit: u32 = 0, unit "Mbit/s", seen "3GPP TS 36.306, 4.1", from Start;
        /// Delay in each direction, in milliseconds.
        air_delay_ms: u64 = 0, unit "ms", range 0..=60000, from Start;
        /// Largest time that is added to the delay at random, in milliseconds. Packets stay in
        /// their order.
        air_jitter_ms: u64 = 0, unit "ms", range 0..=60000, from Start;
        /// Packets per million that are lost, in each direction.
        air_loss_ppm: u32 = 0, unit "per million", range 0..=1000000, from Start;
        /// Size of the buffer in each direction in KiB, which fills where a rate is bounded.
        /// Packets for which it has no room wait in the host, or are dropped on their way to the
        /// host.
        air_buffer_kib: u32 = 1024, unit "KiB", range 2..=1048576, from Start;
    }
    "AT ports": {
        /// Time after the firmware's start during which AT ports do not answer, in milliseconds.
        at_boot_ms: u64 = 0, unit "ms", seen "an OpenWrt script for the ME909s waits 15 s";
        /// AT ports never answer.
        at_silent: bool = false;
        /// NMEA sentences are sent on the GPS port without a command.
        nmea: bool = false, from Reset;
        /// Form of texts in AT+CUSD: packed (octets in hexadecimal digits, until AT^USSDMODE=0), text
        /// (until AT^USSDMODE=1) or text_always (there is no AT^USSDMODE).
        ussd_form: UssdForm = UssdForm::Packed, seen "users of an E3372", from Reset;
        /// Time until the network answers a USSD text that came by AT, in milliseconds.
        ussd_ms: u64 = 200, unit "ms";
    }
    "faults": {
        /// Seed of all random behaviour of the knobs below.
        seed: u64 = 1, from Selection;
        /// Datagrams per million that are lost on their way to the network.
        drop_out_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// Datagrams per million that are lost on their way to the host.
        drop_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// Datagrams per million that get one flipped bit on their way to the host.
        corrupt_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million whose framing is garbage.
        garbage_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million that end before their length, together with their
        /// transfer.
        short_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million that follow a zero-length transfer.
        empty_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million before which a transfer ends as babble.
        babble_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million before which a transfer fails on the bus.
        fault_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs from the host per million whose transfer fails on the bus, and that are lost.
        fault_out_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs towards the host per million before which the endpoint stalls.
        stall_in_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs from the host per million that the endpoint refuses with a stall.
        stall_out_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// The bulk OUT data endpoint stalls after this many NTBs, once; 0 is never.
        stall_out_after: u64 = 0, unit "NTBs";
        /// The bulk IN data endpoint stalls after this many NTBs, once; 0 is never.
        stall_in_after: u64 = 0, unit "NTBs";
        /// The firmware crashes and resets after this many NTBs from the host, once; 0 is never.
        reset_after: u64 = 0, unit "NTBs";
        /// The device is unplugged for good after this many NTBs from the host; 0 is never.
        unplug_after: u64 = 0, unit "NTBs";
        /// NTBs from the host per million after which the firmware crashes and resets.
        reset_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// NTBs from the host per million after which the device is unplugged, and plugged in again
        /// after absent_ms.
        replug_ppm: u32 = 0, unit "per million", range 0..=1000000;
        /// Number of bytes of garbage that every IN endpoint sends once, as soon as it is polled.
        garbage: u16 = 0, unit "bytes";
    }
}

impl FromStr for Knobs {
    type Err = KnobError;

    /// Reads `name=value,name=value,…`. A knob that is not named keeps its default.
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
    /// Returns a [`KnobError`] when the text is no assignment, there is no such knob, or the value
    /// does not fit.
    pub fn assign(&mut self, assignment: &str) -> Result<(), KnobError> {
        let (name, value) = assignment
            .split_once('=')
            .ok_or_else(|| KnobError::Form(assignment.to_owned()))?;
        self.set(&name.trim().replace('-', "_"), value.trim())
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
mod tests;
