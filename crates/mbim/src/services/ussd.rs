//! USSD service for unstructured supplementary service data (MBIM 1.0 section 10.7).

use crate::fields::{layout, values};
use crate::service::service_table;

values! {
    /// Action on a USSD session (`MBIM_USSD_ACTION`).
    UssdAction: u32 { INITIATE = 0, CONTINUE = 1, CANCEL = 2 }
}

values! {
    /// Result of a USSD action (`MBIM_USSD_RESPONSE`).
    UssdResponse: u32 { NO_ACTION_REQUIRED = 0, ACTION_REQUIRED = 1, TERMINATED_BY_NETWORK = 2, OTHER_LOCAL_CLIENT = 3, OPERATION_NOT_SUPPORTED = 4, NETWORK_TIMEOUT = 5 }
}

values! {
    /// State of a USSD session (`MBIM_USSD_SESSION_STATE`).
    UssdSessionState: u32 { NEW_SESSION = 0, EXISTING_SESSION = 1 }
}

layout! {
    /// Information buffer of the USSD answer and indication.
    Ussd {
        response: UssdResponse,
        session_state: UssdSessionState,
        data_coding_scheme: u32,
        payload: Vec<u8> as sized [personal],
    }

    /// Information buffer of the USSD set.
    UssdSet {
        action: UssdAction,
        data_coding_scheme: u32,
        payload: Vec<u8> as sized [personal],
    }
}

service_table! {
    ussd = "e550a0c8-5e82-479e-82f7-10abf4c3351f" {
        ussd USSD = 1 { set: UssdSet, done: Ussd, notify: Ussd }
    }
}
