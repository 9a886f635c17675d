//! Rules on MBIM commands, on the parts of their answers that a caller may see, and on the time
//! they may take.

use std::time::Duration;

use byteorder::{ByteOrder, LittleEndian};
use uwwan_mbim::CommandKind;
use uwwan_mbim::fields::Layout;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{self as bc, DeviceCaps, SubscriberReadyStatus};
use uwwan_mbim::services::ms_basic_connect_extensions::{self as ext, VersionInfo};
use uwwan_mbim::session::Command;

use super::table::{Ends, MBIM, MbimRow, UNLISTED, Which};
use super::{Caller, CallerState, Decision};

/// Version MBIM 1.0 without extensions, as VERSION encodes it. The driver speaks this version; a
/// later one that a client agreed on with the modem would change the layouts of the driver's own
/// commands.
const PLAIN: VersionInfo = VersionInfo {
    mbim_version: 0x0100,
    mbim_extended_version: 0x0100,
};

/// Returns the decision on a command. An allowed VERSION is changed to ask for the driver's version.
pub(crate) fn judge(standing: &CallerState<'_>, command: &mut Command) -> Decision {
    if command.id == ext::VERSION {
        command.info = PLAIN.encode_info();
    }
    let Some(row) = row(command) else {
        return standing.decide(UNLISTED, false, "only the owner may send it");
    };
    let word = |at: usize| command.info.get(at..at + 4).map(LittleEndian::read_u32);
    let ends = match row.ends {
        Ends::Always => true,
        Ends::Unless(at, harmless) => word(at) != Some(harmless),
        Ends::UnlessBoth((first, harmless), (second, none)) => {
            (word(first), word(second)) != (Some(harmless), Some(none))
        }
        Ends::Session => word(0).is_none_or(|session| standing.held.contains(&session)),
        Ends::LastAttempt => {
            return match standing.decide(row.rules, true, row.effect) {
                Decision::Refuse(effect)
                    if standing.decide(row.rules, false, effect) == Decision::Allow =>
                {
                    Decision::UnlessLastAttempt(effect)
                }
                decision => decision,
            };
        }
    };
    standing.decide(row.rules, ends, row.effect)
}

/// Returns the row that decides on a command.
fn row(command: &Command) -> Option<&'static MbimRow> {
    let id = command.id;
    let query = command.kind == CommandKind::QUERY;
    MBIM.iter().find(|row| match row.which {
        Which::Query(of) => query && of == id,
        // The device may take any other kind of command for a set.
        Which::Set(of) => !query && of == id,
        Which::Both(of) => of == id,
        Which::Queries(of) => query && of == id.service && uwwan_mbim::registry::cid(id).is_some(),
        Which::Service(of) => of == id.service,
    })
}

/// Returns the information buffer of an indication in the form that a caller may see, or `None`
/// when the caller may not query the CID.
pub(crate) fn told(caller: Caller, id: CidId, info: &[u8]) -> Option<Vec<u8>> {
    let standing = CallerState {
        caller,
        forced: false,
        held: &[],
    };
    let decision = judge(&standing, &mut Command::query(id));
    (decision == Decision::Allow).then(|| redacted(caller, id, info.to_vec()))
}

/// Returns the information buffer of an answer in the form that a caller may see: for all but the
/// owner without user names and passwords, and for everyone without the identities of modem, card
/// and owner. A buffer that cannot be decoded becomes empty, because its content is not known.
pub(crate) fn redacted(caller: Caller, id: CidId, info: Vec<u8>) -> Vec<u8> {
    let everyone = caller == Caller::Everyone;
    match id {
        _ if caller == Caller::Owner => Ok(info),
        bc::PROVISIONED_CONTEXTS => bc::ProvisionedContexts::decode(&info).map(|mut all| {
            for context in &mut all.provisioned_contexts {
                context.user_name.clear();
                context.password.clear();
            }
            all.encode_info()
        }),
        ext::PROVISIONED_CONTEXTS => ext::ProvisionedContexts::decode(&info).map(|mut all| {
            for context in &mut all.provisioned_contexts {
                context.user_name.clear();
                context.password.clear();
            }
            all.encode_info()
        }),
        ext::LTE_ATTACH_CONFIGURATION => {
            ext::LteAttachConfigurations::decode(&info).map(|mut all| {
                for context in &mut all.configurations {
                    context.user_name.clear();
                    context.password.clear();
                }
                all.encode_info()
            })
        }
        ext::LTE_ATTACH_INFO => ext::LteAttachInfo::decode(&info).map(|attached| {
            ext::LteAttachInfo {
                user_name: String::new(),
                password: String::new(),
                ..attached
            }
            .encode_info()
        }),
        bc::DEVICE_CAPS if everyone => DeviceCaps::decode(&info).map(|caps| {
            let device_id = String::new();
            DeviceCaps { device_id, ..caps }.encode_info()
        }),
        bc::SUBSCRIBER_READY_STATUS if everyone => {
            SubscriberReadyStatus::decode(&info).map(|ready| {
                SubscriberReadyStatus {
                    ready_state: ready.ready_state,
                    ready_info: ready.ready_info,
                    ..SubscriberReadyStatus::default()
                }
                .encode_info()
            })
        }
        _ => Ok(info),
    }
    .unwrap_or_default()
}

/// Returns the answer to VERSION as the client may see it: no version above the one to which the
/// command was changed.
pub(crate) fn version_answer(info: Vec<u8>) -> Vec<u8> {
    match VersionInfo::decode(&info) {
        Ok(version) if version.mbim_extended_version > PLAIN.mbim_extended_version => {
            PLAIN.encode_info()
        }
        _ => info,
    }
}

/// Returns the time from its sending within which the modem has to answer a command. It bounds how
/// long a command without an answer keeps other clients waiting; the client's own timeout is its
/// own affair.
pub(crate) fn patience(id: CidId) -> Duration {
    Duration::from_secs(match id {
        bc::VISIBLE_PROVIDERS => 300,
        bc::CONNECT | bc::REGISTER_STATE | bc::PACKET_SERVICE | bc::SERVICE_ACTIVATION => 180,
        _ if uwwan_mbim::registry::cid(id).is_some() => 60,
        _ => 120,
    })
}
