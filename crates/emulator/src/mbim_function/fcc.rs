//! The FCC lock, and the services that lift it: RADIO_STATE of the Quectel service, and QMI's
//! device management, which receives its messages through the QMI service of MBIM.

use uwwan_mbim::message::CommandKind;
use uwwan_mbim::qmi::{self, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::qmi as qmi_service;
use uwwan_mbim::services::quectel::{self, QuectelRadioSwitchState};
use uwwan_mbim::status::Status;
use uwwan_mbim::uuid::Uuid;

use super::context::MbimContext;
use super::outcome::{Outcome, decode};

/// Services with their CIDs that DEVICE_SERVICES lists of a module with an FCC lock.
pub(super) const SERVICES: &[(Uuid, &[CidId])] = &[
    (quectel::UUID, &[quectel::RADIO_STATE]),
    (qmi_service::UUID, &[qmi_service::MSG]),
];

/// Errors of QMI (libqmi, `qmi-errors.h`): there is no such client, or no such message.
const INVALID_CLIENT_ID: u16 = 5;
const INVALID_QMI_COMMAND: u16 = 71;
/// Largest number of clients of device management at a time.
const CLIENTS: u8 = 16;
/// Type of the field with the service, or with service and client.
const SERVICE_AND_CLIENT: u8 = 0x01;

/// QMI clients that hosts have allocated.
#[derive(Debug, Default)]
pub(super) struct Fcc {
    /// Numbers of the clients of device management, one bit for each.
    clients: u32,
}

/// Returns whether a command belongs to one of the services.
pub(super) fn serves(id: CidId) -> bool {
    SERVICES.iter().any(|(_, cids)| cids.contains(&id))
}

impl Fcc {
    /// Executes a command.
    pub fn answer(
        &mut self,
        id: CidId,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        if id == quectel::RADIO_STATE {
            return quectel_radio(kind, info, context);
        }
        if kind != CommandKind::SET {
            return Err(Status::NO_DEVICE_SUPPORT);
        }
        let request = Message::decode(info).filter(|message| !message.response);
        let request = request.ok_or(Status::INVALID_PARAMETERS)?;
        Ok(Outcome::of(&qmi_service::Msg {
            qmux: self.qmi(&request, context).encode(),
        }))
    }

    /// Answers a QMI message.
    fn qmi(&mut self, request: &Message, context: &mut MbimContext<'_>) -> Message {
        let named = request.field(SERVICE_AND_CLIENT);
        match (request.service, request.id, named) {
            (qmi::CONTROL, qmi::ALLOCATE_CLIENT, Some([qmi::DMS, ..])) => {
                let free = (1..=CLIENTS).find(|client| self.clients & 1 << client == 0);
                let Some(client) = free else {
                    return request.answer(Err(INVALID_CLIENT_ID));
                };
                self.clients |= 1 << client;
                with_client(request.answer(Ok(())), client)
            }
            (qmi::CONTROL, qmi::RELEASE_CLIENT, Some([qmi::DMS, client @ 1..=CLIENTS, ..])) => {
                self.clients &= !(1 << client);
                with_client(request.answer(Ok(())), *client)
            }
            (qmi::DMS, qmi::SET_FCC_AUTHENTICATION | qmi::FOXCONN_SET_FCC_AUTHENTICATION, _) => {
                if request.client > CLIENTS || self.clients & 1 << request.client == 0 {
                    return request.answer(Err(INVALID_CLIENT_ID));
                }
                context.firmware.lift_fcc_lock();
                request.answer(Ok(()))
            }
            _ => request.answer(Err(INVALID_QMI_COMMAND)),
        }
    }
}

/// Returns the answer with the client that it concerns.
fn with_client(mut answer: Message, client: u8) -> Message {
    answer
        .fields
        .push((SERVICE_AND_CLIENT, vec![qmi::DMS, client]));
    answer
}

/// Executes RADIO_STATE of the Quectel service.
fn quectel_radio(
    kind: CommandKind,
    info: &[u8],
    context: &mut MbimContext<'_>,
) -> Result<Outcome, Status> {
    if kind == CommandKind::SET {
        let wanted: quectel::RadioState = decode(info)?;
        let on = wanted.radio_state == QuectelRadioSwitchState::ON;
        if on {
            context.firmware.lift_fcc_lock();
        }
        context.firmware.set_radio(on, context.knobs, context.now);
    }
    let radio_state = if context.firmware.fcc_locked() {
        QuectelRadioSwitchState::FCC_LOCKED
    } else if context.firmware.radio().0 {
        QuectelRadioSwitchState::ON
    } else {
        QuectelRadioSwitchState::OFF
    };
    Ok(Outcome::of(&quectel::RadioState { radio_state }))
}
