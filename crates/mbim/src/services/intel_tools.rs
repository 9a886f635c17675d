//! Intel trace configuration.

use crate::fields::layout;
use crate::names::values;
use crate::service::service_table;

values! {
    /// `MBIM_TRACE_COMMAND`.
    TraceCommand: u32 { MODE = 0, LEVEL = 1, LOCATION = 2, FLASH_INTERVAL = 3 }
}

layout! {
    /// Answer of TRACE_CONFIG.
    TraceConfig {
        trace_cmd: TraceCommand,
        result: u32,
    }

    /// Query of TRACE_CONFIG.
    TraceConfigQuery {
        trace_cmd: TraceCommand,
    }

    /// Set of TRACE_CONFIG.
    TraceConfigSet {
        trace_cmd: TraceCommand,
        trace_value: u32,
    }
}

service_table! {
    intel_tools = "4ada4962-b988-46c3-87a7-97f20f994abb" {
        trace_config TRACE_CONFIG = 8 { query: TraceConfigQuery, set: TraceConfigSet, done: TraceConfig }
    }
}
