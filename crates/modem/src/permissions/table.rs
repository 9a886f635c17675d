//! The table of what local programs may do, a row for each command that not everybody may give.
//!
//! The columns are [everyone, guest, operator, owner], as in [`Caller`](super::Caller). The first
//! row that fits a command decides. A command without a row is for the owner alone.

use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{self as bc, PacketServiceAction, RadioSwitchState};
use uwwan_mbim::services::{
    atds, compal, fibocom, google, intel_at_tunnel, intel_firmware_update,
    ms_basic_connect_extensions as ext, ms_firmware_id, ms_host_shutdown,
    ms_uicc_low_level_access as uicc, phonebook, qdu, qmi, quectel, sms,
};
use uwwan_mbim::uuid::Uuid;

use super::rule::Order;
use super::rule::Rule::{self, Free, Never, UnlessHeld, WithForce};

/// Rules of a row: everyone, guest, operator, owner.
pub(super) type Rules = [Rule; 4];

/// Rules of a command without a row.
pub(super) const UNLISTED: Rules = [Never, Never, Never, Free];

/// The orders to a running `up`.
pub(super) const ORDERS: &[(Order, Rules)] = &[
    (Order::Look, [Free, Free, Free, Free]),
    (Order::Ask, [Never, Never, Free, Free]),
    (Order::Join, [Never, Never, Free, Free]),
    (Order::Force, [Never, Never, Never, Free]),
    (Order::Capture, [Never, Never, Never, Free]),
    (Order::Emulate, [Never, Never, Never, Free]),
    (Order::Raw, [Never, Never, Never, Free]),
    (Order::Stop, [Never, Never, Never, Free]),
];

/// MBIM commands that a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The query of a CID.
    Query(CidId),
    /// A CID with any other kind of command, which a device may take for a set.
    Set(CidId),
    /// A CID, whatever the kind of command.
    Both(CidId),
    /// Queries of all known CIDs of a service.
    Queries(Uuid),
    /// Every command to a service.
    Service(Uuid),
}

/// Condition under which an MBIM command ends a held session. Devices read information buffers more
/// leniently than any decoder, so only 32-bit words (little-endian) at fixed offsets are examined,
/// and a command whose buffer is too short for such a word counts as one that ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The command always ends it.
    Always,
    /// The command ends it unless the word at this offset in bytes has this value.
    Unless(usize, u32),
    /// The command ends it unless the words at both offsets have these values.
    UnlessBoth((usize, u32), (usize, u32)),
    /// The command ends it when the word at offset 0 is the MBIM session id of a held session.
    Session,
    /// The command ends it when it costs the last attempt of the SIM's PIN or PUK.
    LastAttempt,
}

/// Row for MBIM commands.
pub(super) struct MbimRow {
    pub(super) which: Which,
    pub(super) ends: Ends,
    pub(super) rules: Rules,
    /// The effect that the command would have, in words.
    pub(super) effect: &'static str,
}

const fn mbim(which: Which, ends: Ends, rules: Rules, effect: &'static str) -> MbimRow {
    MbimRow {
        which,
        ends,
        rules,
        effect,
    }
}

const TUNNEL: &str = "it reaches past the control session";
const LEAVE: &str = "it would leave the network";
const RADIO: &str = "it would switch the radio off";
const RESET: &str = "it would reset the modem";
const DETACH: &str = "it would detach the modem";
const FIRMWARE: &str = "it would change the firmware";
pub(super) const ATTEMPT: &str = "it costs attempts of the SIM's PIN or PUK";
pub(super) const CARD: &str = "it reaches the SIM itself";
pub(super) const UNLOCK: &str = "it costs attempts of an unlock code";
const PERSONAL: &str = "it tells or changes what is personal";
const TELLS: &str = "it only tells";
const SHARED: &str = "it changes what all programs share";

/// MBIM commands.
#[rustfmt::skip]
pub(super) const MBIM: &[MbimRow] = &[
    // AT and QMI tunnels reach everything, whatever the kind of the command.
    mbim(Which::Both(compal::AT_COMMAND), Ends::Always, [Never, Never, Never, WithForce], TUNNEL),
    mbim(Which::Both(fibocom::AT_COMMAND), Ends::Always, [Never, Never, Never, WithForce], TUNNEL),
    mbim(Which::Both(intel_at_tunnel::AT_COMMAND), Ends::Always, [Never, Never, Never, WithForce], TUNNEL),
    mbim(Which::Both(qdu::COMMAND), Ends::Always, [Never, Never, Never, WithForce], TUNNEL),
    mbim(Which::Service(qmi::UUID), Ends::Always, [Never, Never, Never, WithForce], TUNNEL),
    // These commands change what the driver holds.
    mbim(Which::Set(bc::CONNECT), Ends::Session, [Never, UnlessHeld, UnlessHeld, UnlessHeld], "the data session belongs to the driver"),
    mbim(Which::Set(bc::IP_PACKET_FILTERS), Ends::Always, [Never, Never, Never, Free], "it would filter what another program with this session id carries, now or later"),
    mbim(Which::Set(bc::RADIO_STATE), Ends::Unless(0, RadioSwitchState::ON.0), [Never, UnlessHeld, UnlessHeld, UnlessHeld], RADIO),
    mbim(Which::Set(quectel::RADIO_STATE), Ends::Unless(0, quectel::QuectelRadioSwitchState::ON.0), [Never, Never, UnlessHeld, UnlessHeld], RADIO),
    mbim(Which::Set(bc::PACKET_SERVICE), Ends::Unless(0, PacketServiceAction::ATTACH.0), [Never, UnlessHeld, UnlessHeld, UnlessHeld], DETACH),
    // The offset and length of the provider id come first, then the action. A wish for data classes
    // may make the modem register anew.
    mbim(Which::Set(bc::REGISTER_STATE), Ends::UnlessBoth((8, bc::RegisterAction::AUTOMATIC.0), (12, 0)), [Never, UnlessHeld, UnlessHeld, UnlessHeld], LEAVE),
    mbim(Which::Set(bc::MULTICARRIER_PROVIDERS), Ends::Always, [Never, Never, UnlessHeld, UnlessHeld], LEAVE),
    mbim(Which::Set(bc::HOME_PROVIDER), Ends::Always, [Never, Never, UnlessHeld, UnlessHeld], LEAVE),
    mbim(Which::Set(atds::REGISTER_STATE), Ends::Always, [Never, Never, UnlessHeld, UnlessHeld], LEAVE),
    mbim(Which::Set(atds::RAT), Ends::Always, [Never, Never, UnlessHeld, UnlessHeld], LEAVE),
    mbim(Which::Set(ext::REGISTRATION_PARAMETERS), Ends::Always, [Never, Never, Never, UnlessHeld], LEAVE),
    mbim(Which::Set(ext::NETWORK_DENYLIST), Ends::Always, [Never, Never, Never, UnlessHeld], LEAVE),
    mbim(Which::Set(ext::LTE_ATTACH_CONFIGURATION), Ends::Always, [Never, Never, Never, UnlessHeld], DETACH),
    mbim(Which::Set(ext::DEVICE_SLOT_MAPPINGS), Ends::Always, [Never, Never, Never, UnlessHeld], "it would change the SIM"),
    mbim(Which::Set(ext::DEVICE_RESET), Ends::Always, [Never, Never, Never, WithForce], RESET),
    mbim(Which::Set(qdu::QUECTEL_REBOOT), Ends::Always, [Never, Never, Never, WithForce], RESET),
    mbim(Which::Set(intel_firmware_update::MODEM_REBOOT), Ends::Always, [Never, Never, Never, WithForce], RESET),
    mbim(Which::Set(ms_host_shutdown::NOTIFY), Ends::Always, [Never, Never, Never, WithForce], "it would shut the modem down"),
    mbim(Which::Set(qdu::UPDATE_SESSION), Ends::Always, [Never, Never, Never, WithForce], FIRMWARE),
    mbim(Which::Set(qdu::FILE_OPEN), Ends::Always, [Never, Never, Never, WithForce], FIRMWARE),
    mbim(Which::Set(qdu::FILE_WRITE), Ends::Always, [Never, Never, Never, WithForce], FIRMWARE),
    // These commands concern the SIM.
    mbim(Which::Set(bc::PIN), Ends::LastAttempt, [Never, Never, Never, UnlessHeld], ATTEMPT),
    mbim(Which::Set(google::CARRIER_LOCK), Ends::Always, [Never, Never, Never, WithForce], "it would lock the modem to a network"),
    // VERIFY is an APDU like any other.
    mbim(Which::Both(uicc::APDU), Ends::Always, [Never, Never, Never, WithForce], CARD),
    mbim(Which::Both(uicc::OPEN_CHANNEL), Ends::Always, [Never, Never, Never, WithForce], CARD),
    mbim(Which::Set(uicc::RESET), Ends::Always, [Never, Never, Never, WithForce], "it would reset the SIM"),
    mbim(Which::Set(uicc::TERMINAL_CAPABILITY), Ends::Always, [Never, Never, Never, WithForce], CARD),
    // These commands concern messages and telephone numbers.
    mbim(Which::Service(sms::UUID), Ends::Always, [Never, Never, Free, Free], PERSONAL),
    mbim(Which::Service(phonebook::UUID), Ends::Always, [Never, Never, Free, Free], PERSONAL),
    // These commands set something for the calling program alone, or for no program.
    mbim(Which::Set(bc::DEVICE_SERVICE_SUBSCRIBE_LIST), Ends::Always, [Never, Free, Free, Free], "it chooses indications"),
    mbim(Which::Set(bc::SIGNAL_STATE), Ends::Always, [Never, Free, Free, Free], SHARED),
    mbim(Which::Set(bc::NETWORK_IDLE_HINT), Ends::Always, [Never, Free, Free, Free], SHARED),
    // These queries are open to everyone, whose answers lack the identities of modem, card and
    // owner.
    mbim(Which::Query(bc::DEVICE_CAPS), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::SUBSCRIBER_READY_STATUS), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::DEVICE_SERVICES), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::HOME_PROVIDER), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::PIN), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::RADIO_STATE), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::REGISTER_STATE), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::PACKET_SERVICE), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Query(bc::SIGNAL_STATE), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Queries(ms_firmware_id::UUID), Ends::Always, [Free, Free, Free, Free], TELLS),
    mbim(Which::Queries(bc::UUID), Ends::Always, [Never, Free, Free, Free], TELLS),
    mbim(Which::Queries(ext::UUID), Ends::Always, [Never, Free, Free, Free], TELLS),
];

/// Forms of an AT command that a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Queries and tests: `AT+NAME?` and `AT+NAME=?`.
    Asks,
    /// Actions and sets: `AT+NAME` and `AT+NAME=…`.
    Does,
    /// Any form.
    Any,
}

/// Arguments of an AT command that a row of the table is about. A pattern has a field for each
/// argument; `*` matches any argument, and `…` at the end matches any number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Any arguments.
    Any,
    /// Arguments that match none of the patterns.
    But(&'static [&'static str]),
    /// Arguments that contain this character.
    With(char),
}

/// Row for AT commands.
pub(super) struct AtRow {
    pub(super) names: &'static [&'static str],
    pub(super) form: Form,
    pub(super) arguments: Arguments,
    pub(super) rules: Rules,
    /// The effect that the command would have, in words.
    pub(super) effect: &'static str,
}

const fn at(
    names: &'static [&'static str],
    form: Form,
    arguments: Arguments,
    rules: Rules,
    effect: &'static str,
) -> AtRow {
    AtRow {
        names,
        form,
        arguments,
        rules,
        effect,
    }
}

const NUMBERS: &str = "V0 makes the modem answer in numbers, which other clients cannot read";
const QUIET: &str = "Q1 makes the modem answer nothing, which no client could tell from silence";
const DATA_CALL: &str = "data calls are of no use here: `uwwan up` carries the data";

/// AT commands (V.250; 3GPP TS 27.005 and 27.007; those of Huawei, Quectel, SIMCom and Sierra).
#[rustfmt::skip]
pub(super) const AT: &[AtRow] = &[
    // These commands would spoil the port for every program, the owner's included.
    at(&["V"], Form::Any, Arguments::But(&["1"]), [Never, Never, Never, Never], NUMBERS),
    at(&["Q"], Form::Does, Arguments::But(&["", "0"]), [Never, Never, Never, Never], QUIET),
    at(&["Q"], Form::Asks, Arguments::Any, [Never, Never, Never, Never], QUIET),
    at(&["D"], Form::Does, Arguments::With('#'), [Never, Never, Never, Never], DATA_CALL),
    at(&["+CGDATA"], Form::Does, Arguments::Any, [Never, Never, Never, Never], DATA_CALL),
    // These commands concern the SIM. AT does not report on every modem whether an attempt is the
    // last.
    at(&["+CLCK"], Form::Does, Arguments::But(&["*,2", "*,2,…"]), [Never, Never, Never, WithForce], ATTEMPT),
    at(&["+CPIN", "+CPIN2", "+CPWD", "^CPIN", "^CPIN2", "+EPIN", "+CPUK"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], ATTEMPT),
    at(&["^CARDLOCK", "^SIMLOCKUNLOCK", "^DATALOCK", "+QSIMLOCK"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], UNLOCK),
    // The codes are those of READ BINARY, READ RECORD, GET RESPONSE and STATUS.
    at(&["+CRSM"], Form::Does, Arguments::But(&["176,…", "178,…", "192,…", "242,…", "242"]), [Never, Never, Never, WithForce], CARD),
    at(&["+CSIM", "+CGLA", "+CCHO", "+CRLA", "^CSIM"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], CARD),
    // These commands concern the modem as a whole.
    at(&["+CMUX", "S3", "S4", "S5"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], "it would change how the port is spoken to"),
    at(&["+CFUN"], Form::Does, Arguments::But(&["1", "1,0"]), [Never, Never, Never, WithForce], "it would switch the radio off or reset the modem"),
    at(&["^RESET", "^REBOOT", "^THERMRESET", "+CRESET", "+REBOOT", "+CPOF", "+QPOWD", "+CPOWD", "!RESET", "^SMSO", "^PWROFF"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], RESET),
    at(&["^FRESET", "^NVRSTR", "^NVRESTORE", "+QPRTPARA", "!RMARESET"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], "it would restore what the factory set"),
    at(&["^SETPORT", "^U2DIAG", "^GETPORTMODE", "!USBCOMP", "+CUSBPIDSWITCH", "^SETMODE"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], "it would change or crash the modem's ports, and removing one locks the modem"),
    at(&["^GODLOAD", "^FWUP", "^FOTADET", "^FOTADL", "+QFOTADL", "!BOOTHOLD"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], FIRMWARE),
    at(&["^NVWR", "^NVWREX", "+EGMR", "^PHYNUM"], Form::Does, Arguments::Any, [Never, Never, Never, WithForce], "it writes what the factory set"),
    // These commands change what the driver holds.
    at(&["^RFSWITCH"], Form::Does, Arguments::But(&["1"]), [Never, Never, UnlessHeld, UnlessHeld], RADIO),
    at(&["+CGATT"], Form::Does, Arguments::But(&["1"]), [Never, Never, UnlessHeld, UnlessHeld], DETACH),
    at(&["+CGACT"], Form::Does, Arguments::Any, [Never, Never, Never, UnlessHeld], "the data session belongs to the driver"),
    at(&["^NDISDUP", "$QCRMCALL", "+QNETDEVCTL"], Form::Does, Arguments::Any, [Never, Never, Never, UnlessHeld], "the data session belongs to the driver"),
    at(&["+COPS"], Form::Does, Arguments::But(&["3,…", "0"]), [Never, Never, UnlessHeld, UnlessHeld], LEAVE),
    at(&["^SYSCFG", "^SYSCFGEX", "+WS46", "+CNMP", "+QNWPREFCFG", "!SELRAT", "!BAND"], Form::Does, Arguments::Any, [Never, Never, Never, UnlessHeld], LEAVE),
    at(&["D", "A"], Form::Does, Arguments::Any, [Never, Never, Never, UnlessHeld], "a call interrupts the data session"),
    // These commands concern messages, telephone numbers and the position.
    at(&["+CMGF", "+CMGL", "+CMGR", "+CMGS", "+CMSS", "+CMGW", "+CMGD", "+CMGC", "+CPMS", "+CNMI", "+CSCS", "+CSMP", "+CNUM", "+CPBS", "+CPBR", "+CPBF"], Form::Any, Arguments::Any, [Never, Never, Free, Free], PERSONAL),
    at(&["^WPDOM", "^WPDST", "^WPDFR", "^WPDGP", "^WPEND"], Form::Any, Arguments::Any, [Never, Never, Free, Free], "it tells where the modem is"),
    // These commands only report.
    at(&["", "I", "E", "+CGMI", "+CGMM", "+CGMR", "+CGSN", "+GMI", "+GMM", "+GMR", "+GSN", "+GCAP", "+CIMI", "+CLAC", "+CSQ", "+CPAS", "+CGPADDR", "+CGCONTRDP", "+CMEE", "^SYSINFOEX", "^HWVER", "^ICCID", "^CARDMODE"], Form::Any, Arguments::Any, [Never, Never, Free, Free], TELLS),
    at(&["+CREG", "+CGREG", "+CEREG", "+COPS", "+CGATT", "+CGACT", "+CGDCONT", "+CFUN", "+CPIN", "+CLCK", "+CSCA", "^CPIN", "^HCSQ", "^HFREQINFO", "^CHIPTEMP", "^VERSION", "^DHCP", "^DHCPV6", "^NDISSTATQRY", "^IPV6CAP", "^PLMNLIST", "^SETPORT", "^SYSCFGEX", "^RFSWITCH", "^CURC"], Form::Asks, Arguments::Any, [Never, Never, Free, Free], TELLS),
    at(&["+CFUN", "+CGATT", "^RFSWITCH"], Form::Does, Arguments::Any, [Never, Never, Free, Free], "it asks for what is so already"),
    at(&["+COPS", "+CLCK"], Form::Does, Arguments::Any, [Never, Never, Free, Free], TELLS),
];
