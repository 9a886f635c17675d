//! Rules on what clients may do to the data sessions that `up` holds, and on how long their
//! commands may take.
//!
//! The modem has one radio, one registration and one set of data sessions for all programs. Each
//! command that would end what the driver holds has a row here, with the 32-bit word
//! (little-endian) of its information buffer that decides. Devices read information buffers more
//! leniently than any decoder, so only that word is looked at, and a buffer without it is refused.

use std::time::Duration;

use byteorder::{ByteOrder, LittleEndian};
use uwwan_mbim::CommandKind;
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{self as bc, PacketServiceAction, RadioSwitchState};
use uwwan_mbim::services::ms_basic_connect_extensions::{self as ext, VersionInfo};
use uwwan_mbim::services::{
    compal, fibocom, intel_at_tunnel, intel_firmware_update, ms_firmware_id, ms_host_shutdown,
    ms_uicc_low_level_access as uicc, qdu, qmi, quectel,
};
use uwwan_mbim::session::Command;
use uwwan_mbim::uuid::Uuid;

/// Version MBIM 1.0 without extensions, as VERSION encodes it. The driver speaks this version; a
/// later one that a client agreed on with the modem would change the layouts of the driver's own
/// commands.
const PLAIN: VersionInfo = VersionInfo {
    mbim_version: 0x0100,
    mbim_extended_version: 0x0100,
};

/// Decision on a client's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command goes to the modem as it is.
    Pass,
    /// The command goes to the modem with this information buffer.
    Change(Vec<u8>),
    /// The command would end what the driver holds; the text says what it would do.
    Refuse(&'static str),
}

/// Returns the decision on a command; `held` are the MBIM session ids of the driver's data
/// sessions.
pub(crate) fn judge(command: &Command, held: &[u32]) -> Verdict {
    if command.id == ext::VERSION {
        return Verdict::Change(PLAIN.encode_info());
    }
    // AT and QMI tunnels reach everything, whatever the kind of the command.
    if [
        compal::AT_COMMAND,
        fibocom::AT_COMMAND,
        intel_at_tunnel::AT_COMMAND,
        qdu::COMMAND,
    ]
    .contains(&command.id)
        || command.id.service == qmi::UUID
    {
        return Verdict::Refuse("it reaches past the control session");
    }
    if command.kind == CommandKind::QUERY {
        return Verdict::Pass;
    }
    let word = |at: usize| command.info.get(at..at + 4).map(LittleEndian::read_u32);
    let refused = match command.id {
        bc::CONNECT if word(0).is_none_or(|session| held.contains(&session)) => {
            "the data session belongs to the driver"
        }
        bc::RADIO_STATE if word(0) != Some(RadioSwitchState::ON.0) => {
            "it would switch the radio off"
        }
        bc::PACKET_SERVICE if word(0) != Some(PacketServiceAction::ATTACH.0) => {
            "it would detach the modem"
        }
        // The offset and length of the provider id come first.
        bc::REGISTER_STATE if word(8) != Some(bc::RegisterAction::AUTOMATIC.0) => {
            "it would leave the network"
        }
        bc::MULTICARRIER_PROVIDERS | bc::HOME_PROVIDER => "it would leave the network",
        ext::DEVICE_RESET | qdu::QUECTEL_REBOOT | intel_firmware_update::MODEM_REBOOT => {
            "it would reset the modem"
        }
        ext::DEVICE_SLOT_MAPPINGS => "it would change the SIM",
        ext::LTE_ATTACH_CONFIGURATION => "it would detach the modem",
        uicc::RESET => "it would reset the SIM",
        ms_host_shutdown::NOTIFY => "it would shut the modem down",
        quectel::RADIO_STATE if word(0) != Some(quectel::QuectelRadioSwitchState::ON.0) => {
            "it would switch the radio off"
        }
        qdu::UPDATE_SESSION => "it would update the firmware",
        _ => return Verdict::Pass,
    };
    Verdict::Refuse(refused)
}

/// Services that a guest may query: those that describe the modem and the network.
const GUESTS_ASK: [Uuid; 3] = [bc::UUID, ext::UUID, ms_firmware_id::UUID];

/// CIDs that a guest may set. [`judge`] refuses what would end a data session of the driver all the
/// same.
const GUESTS_SET: [CidId; 7] = [
    bc::CONNECT,
    bc::IP_PACKET_FILTERS,
    bc::NETWORK_IDLE_HINT,
    bc::PACKET_SERVICE,
    bc::RADIO_STATE,
    bc::REGISTER_STATE,
    bc::SIGNAL_STATE,
];

/// Returns whether a command is for owners only, however the guard is set: it may cost attempts of
/// the SIM's PIN or PUK, change or read what is stored on the SIM, or reset the modem. Guests may
/// send what is listed for them; all other commands, unknown ones included, are for owners.
pub(crate) fn is_for_owners(command: &Command) -> bool {
    let known = uwwan_mbim::registry::cid(command.id).is_some();
    match command.kind {
        CommandKind::QUERY => !known || !GUESTS_ASK.contains(&command.id.service),
        // The device may take any other kind for a set.
        _ => !GUESTS_SET.contains(&command.id),
    }
}

/// Returns the answer to VERSION as the client may see it: no version above the one the command was
/// changed to.
pub(crate) fn version_answer(info: Vec<u8>) -> Vec<u8> {
    match VersionInfo::decode(&info) {
        Ok(version) if version.mbim_extended_version > PLAIN.mbim_extended_version => {
            PLAIN.encode_info()
        }
        _ => info,
    }
}

/// Returns the time the modem has for a command, from its sending. It bounds how long a command
/// without an answer keeps other clients waiting; the client's own timeout is its own affair.
pub(crate) fn patience(id: CidId) -> Duration {
    Duration::from_secs(match id {
        bc::VISIBLE_PROVIDERS => 300,
        bc::CONNECT | bc::REGISTER_STATE | bc::PACKET_SERVICE | bc::SERVICE_ACTIVATION => 180,
        _ if uwwan_mbim::registry::cid(id).is_some() => 60,
        _ => 120,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_mbim::services::basic_connect::{
        ActivationCommand, ConnectSet, PacketServiceSet, RadioStateSet, RegisterStateSet,
    };

    fn connect(session_id: u32, activation_command: ActivationCommand) -> Command {
        let content = ConnectSet {
            session_id,
            activation_command,
            access_string: "internet".into(),
            ..ConnectSet::default()
        };
        Command::set(bc::CONNECT, &content)
    }

    #[test]
    fn what_would_end_the_session_is_refused() {
        let radio = |radio_state| Command::set(bc::RADIO_STATE, &RadioStateSet { radio_state });
        let packet = |packet_service_action| {
            let content = PacketServiceSet {
                packet_service_action,
            };
            Command::set(bc::PACKET_SERVICE, &content)
        };
        let register = |register_action| {
            let content = RegisterStateSet {
                provider_id: "24201".into(),
                register_action,
                ..RegisterStateSet::default()
            };
            Command::set(bc::REGISTER_STATE, &content)
        };
        let empty = |id| Command {
            kind: CommandKind::SET,
            ..Command::query(id)
        };
        for command in [
            connect(0, ActivationCommand::DEACTIVATE),
            connect(0, ActivationCommand::ACTIVATE),
            connect(7, ActivationCommand::DEACTIVATE),
            radio(RadioSwitchState::OFF),
            packet(PacketServiceAction::DETACH),
            register(bc::RegisterAction::MANUAL),
            empty(ext::DEVICE_RESET),
            empty(ms_host_shutdown::NOTIFY),
            empty(uicc::RESET),
            Command::query(compal::AT_COMMAND),
            empty(bc::CONNECT),
            empty(bc::RADIO_STATE),
        ] {
            let verdict = judge(&command, &[0, 7]);
            assert!(matches!(verdict, Verdict::Refuse(_)), "{command:?}");
        }
        for command in [
            connect(3, ActivationCommand::ACTIVATE),
            connect(3, ActivationCommand::DEACTIVATE),
            radio(RadioSwitchState::ON),
            packet(PacketServiceAction::ATTACH),
            register(bc::RegisterAction::AUTOMATIC),
            Command::query(bc::CONNECT),
            Command::query(bc::RADIO_STATE),
            Command::query(bc::HOME_PROVIDER),
            Command::query(uicc::RESET),
        ] {
            assert_eq!(judge(&command, &[0, 7]), Verdict::Pass, "{command:?}");
        }
    }

    #[test]
    fn a_guest_reaches_neither_the_sim_nor_what_is_unknown() {
        let every = uwwan_mbim::registry::services().iter().flat_map(|service| {
            let cids = service.cids.iter();
            cids.map(move |cid| CidId {
                service: service.uuid,
                cid: cid.number,
            })
        });
        let mut allowed = Vec::new();
        for id in every.clone() {
            for kind in [CommandKind::QUERY, CommandKind::SET, CommandKind(7)] {
                let command = Command {
                    kind,
                    ..Command::query(id)
                };
                if !is_for_owners(&command) && kind != CommandKind::QUERY {
                    allowed.push(id);
                }
            }
            let unknown = CidId { cid: 4711, ..id };
            assert!(is_for_owners(&Command::query(unknown)), "{unknown}");
        }
        // Each CID is allowed with two kinds of command.
        assert_eq!(allowed.len(), 2 * GUESTS_SET.len());
        for name in [
            "basic_connect/pin",
            "ms_basic_connect_extensions/device_reset",
        ] {
            let id = every.clone().find(|id| id.to_string() == name).unwrap();
            assert!(!allowed.contains(&id), "{name}");
        }
        for private in [
            "sms",
            "auth",
            "ussd",
            "stk",
            "phonebook",
            "ms_uicc_low_level_access",
        ] {
            let service = uwwan_mbim::registry::service_named(private).unwrap();
            for id in every.clone().filter(|id| id.service == service.uuid) {
                assert!(is_for_owners(&Command::query(id)), "{id}");
            }
        }
    }

    #[test]
    fn an_odd_kind_of_command_is_taken_for_a_set() {
        let mut command = connect(0, ActivationCommand::DEACTIVATE);
        command.kind = CommandKind(7);
        assert!(matches!(judge(&command, &[0]), Verdict::Refuse(_)));
    }

    #[test]
    fn nobody_changes_the_layouts_of_the_driver() {
        let asked = VersionInfo {
            mbim_version: 0x0100,
            mbim_extended_version: 0x0300,
        };
        let command = Command::query_with(ext::VERSION, &asked);
        assert_eq!(judge(&command, &[0]), Verdict::Change(vec![0, 1, 0, 1]));
        assert_eq!(version_answer(asked.encode_info()), [0, 1, 0, 1]);
        assert_eq!(version_answer(vec![9]), [9]);
    }
}
