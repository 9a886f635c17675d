//! SIM toolkit (MBIM 1.0 section 10.9).

use crate::fields::layout;
use crate::names::values;
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// `MBIM_STK_PAC_TYPE`.
    StkPacType: u32 { PROACTIVE_COMMAND = 0, NOTIFICATION = 1 }
}

layout! {
    /// Answer of PAC.
    Pac {
        pac_support: [u8; 256],
    }

    /// Set of PAC.
    PacSet {
        pac_host_control: [u8; 32],
    }

    /// Notification of PAC.
    PacNotification {
        pac_type: StkPacType,
        data_buffer: Vec<u8> as rest [personal],
    }

    /// Answer of TERMINAL_RESPONSE.
    TerminalResponse {
        result_data: Vec<u8> as sized [personal],
        status_words: u32,
    }

    /// Set of TERMINAL_RESPONSE.
    TerminalResponseSet {
        response: Vec<u8> as prefixed [personal],
    }

    /// Answer of ENVELOPE.
    Envelope {
        envelope_support: [u8; 32],
    }

    /// Set of ENVELOPE.
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
