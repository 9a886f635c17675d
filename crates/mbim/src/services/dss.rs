//! Service that connects device service streams (MBIM 1.0 section 10.5.36).

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;
use crate::uuid::Uuid;

values! {
    /// Link state of a device service stream (`MBIM_DSS_LINK_STATE`).
    DssLinkState: u32 { DEACTIVATE = 0, ACTIVATE = 1 }
}

layout! {
    /// Information buffer of the CONNECT set.
    ConnectSet {
        device_service_id: Uuid,
        dss_session_id: u32,
        dss_link_state: DssLinkState,
    }
}

service_table! {
    dss = "c08a26dd-7718-4382-8482-6e0d583c4d0e" {
        connect CONNECT = 1 { set: ConnectSet, done: Empty }
    }
}
