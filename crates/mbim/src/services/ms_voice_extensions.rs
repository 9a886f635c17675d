//! Microsoft's voice extensions service, which reports the network time.

use crate::fields::layout;
use crate::service::service_table;
use crate::services::basic_connect::DataClass;
use crate::services::empty::Empty;

layout! {
    /// Information buffer of the NITZ answer and indication.
    Nitz {
        year: u32,
        month: u32,
        day: u32,
        hour: u32,
        minute: u32,
        second: u32,
        time_zone_offset_minutes: u32,
        daylight_saving_time_offset_minutes: u32,
        data_class: DataClass,
    }
}

service_table! {
    ms_voice_extensions = "8d8b9eba-37be-449b-8f1e-61cb034a702e" {
        nitz NITZ = 10 { query: Empty, done: Nitz, notify: Nitz }
    }
}
