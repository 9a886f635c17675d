//! STK service for the SIM application toolkit (MBIM 1.0 section 10.9).

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Type of a proactive command that the function reports (`MBIM_STK_PAC_TYPE`).
    StkPacType: u32 { PROACTIVE_COMMAND = 0, NOTIFICATION = 1 }
}

layout! {
    /// Information buffer of the PAC answer.
    Pac {
        pac_support: [u8; 256],
    }

    /// Information buffer of the PAC set.
    PacSet {
        pac_host_control: [u8; 32],
    }

    /// Information buffer of the PAC indication.
    PacNotification {
        pac_type: StkPacType,
        data_buffer: Vec<u8> as rest [personal],
    }

    /// Information buffer of the TERMINAL_RESPONSE answer.
    TerminalResponse {
        result_data: Vec<u8> as sized [personal],
        status_words: u32,
    }

    /// Information buffer of the TERMINAL_RESPONSE set.
    TerminalResponseSet {
        response: Vec<u8> as prefixed [personal],
    }

    /// Information buffer of the ENVELOPE answer.
    Envelope {
        envelope_support: [u8; 32],
    }

    /// Information buffer of the ENVELOPE set.
    EnvelopeSet {
        data: Vec<u8> as rest [personal],
    }
}

service_table! {
    stk = "d8f20131-fcb5-4e17-8602-d6ed3816164c" {
        pac PAC = 1 { query: Empty, set: PacSet, done: Pac, notify: PacNotification }
        terminal_response TERMINAL_RESPONSE = 2 { set: TerminalResponseSet, done: TerminalResponse }
        envelope ENVELOPE = 3 { query: Empty, set: EnvelopeSet, done: Envelope }
    }
}
