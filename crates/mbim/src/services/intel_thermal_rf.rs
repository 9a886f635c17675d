//! Intel's service for information on radio frequency interference.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Role of a serving cell (`MBIM_INTEL_SERVING_CELL_INFO`).
    IntelServingCellInfo: u32 { PCELL = 0, SCELL = 1, PSCELL = 2, SSCELL = 3, RADIO_OFF = 0xffff_ffff }
}

layout! {
    /// Frequency in use by one serving cell, an element of RFIM.
    IntelRfimFrequencyValue {
        serving_cell_info: IntelServingCellInfo,
        center_frequency: u64,
        bandwidth: u32,
        rsrp: u32,
        rsrq: u32,
        sinr: u32,
        rssi: u32,
        connection_status: u32,
    }

    /// Information buffer of the RFIM answer and indication.
    Rfim {
        @rfim_frequency_values_count of rfim_frequency_values,
        rfim_frequency_values: Vec<IntelRfimFrequencyValue> as refs(rfim_frequency_values_count),
    }

    /// Information buffer of the RFIM set.
    RfimSet {
        activation_state: u32,
    }
}

service_table! {
    intel_thermal_rf = "fdc22af2-f441-4d46-af8d-259fcdde4635" {
        rfim RFIM = 9 { query: Empty, set: RfimSet, done: Rfim, notify: Rfim }
    }
}
