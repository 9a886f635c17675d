//! USSD as MBIM carries it (MBIM 1.0 section 10.7).

use uwwan_mbim::gsm::coding::{from_ussd, to_ussd};
use uwwan_mbim::services::ussd::{Ussd, UssdSessionState, UssdSet};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::{Outcome, decode, sim_open};

/// Executes USSD set: the host says something, and the network answers.
pub(super) fn turn(info: &[u8], context: &mut MbimContext<'_>) -> Result<Outcome, Status> {
    let wanted: UssdSet = decode(info)?;
    sim_open(context)?;
    let scheme = u8::try_from(wanted.data_coding_scheme).map_err(|_| Status::INVALID_PARAMETERS)?;
    let text = from_ussd(scheme, &wanted.payload).unwrap_or_default();
    let said = context.firmware.ussd(wanted.action, &text)?;
    let (data_coding_scheme, payload) = to_ussd(said.text).unwrap_or_default();
    Ok(Outcome::of(&Ussd {
        response: said.response,
        session_state: if said.existed {
            UssdSessionState::EXISTING_SESSION
        } else {
            UssdSessionState::NEW_SESSION
        },
        data_coding_scheme: data_coding_scheme.into(),
        payload,
    }))
}
