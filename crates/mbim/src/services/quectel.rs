//! Quectel's service for the radio state and the FCC lock.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// State of the radio switch (`MBIM_QUECTEL_RADIO_SWITCH_STATE`).
    QuectelRadioSwitchState: u32 { OFF = 0, ON = 1, FCC_LOCKED = 4 }
}

layout! {
    /// Information buffer of the RADIO_STATE set and answer.
    RadioState {
        radio_state: QuectelRadioSwitchState,
    }
}

service_table! {
    quectel = "11223344-5566-7788-99aa-bbccddeeff11" {
        radio_state RADIO_STATE = 1 { query: Empty, set: RadioState, done: RadioState }
    }
}
