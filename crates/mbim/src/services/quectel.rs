//! Quectel radio state and FCC lock.

use crate::fields::layout;
use crate::names::values;
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// `MBIM_QUECTEL_RADIO_SWITCH_STATE`.
    QuectelRadioSwitchState: u32 { OFF = 0, ON = 1, FCC_LOCKED = 4 }
}

layout! {
    /// Answer and set of RADIO_STATE.
    RadioState {
        radio_state: QuectelRadioSwitchState,
    }
}

service_table! {
    quectel = "11223344-5566-7788-99aa-bbccddeeff11" {
        radio_state RADIO_STATE = 1 { query: Empty, set: RadioState, done: RadioState }
    }
}
