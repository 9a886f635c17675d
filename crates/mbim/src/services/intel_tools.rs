//! Intel's service for the trace configuration.

use crate::fields::{layout, values};
use crate::service::service_table;

values! {
    /// Trace setting that a command is about (`MBIM_TRACE_COMMAND`).
    TraceCommand: u32 { MODE = 0, LEVEL = 1, LOCATION = 2, FLASH_INTERVAL = 3 }
}

layout! {
    /// Information buffer of the TRACE_CONFIG answer.
    TraceConfig {
        trace_cmd: TraceCommand,
        result: u32,
    }

    /// Information buffer of the TRACE_CONFIG query.
    TraceConfigQuery {
        trace_cmd: TraceCommand,
    }

    /// Information buffer of the TRACE_CONFIG set.
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
