//! Google's service for the carrier lock of Chromebooks.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Status of the carrier lock (`MBIM_CARRIER_LOCK_STATUS`).
    CarrierLockStatus: u32 { NOT_APPLIED = 0, APPLIED = 1 }
}

values! {
    /// State of the network registration under the carrier lock (`MBIM_CARRIER_LOCK_MODEM_STATE`).
    CarrierLockModemState: u32 { DEREGISTERED = 0, DEREGISTRATION_IN_PROGRESS = 1, REGISTRATION_IN_PROGRESS = 2, REGISTERED = 3 }
}

values! {
    /// Cause of the state of the carrier lock (`MBIM_CARRIER_LOCK_CAUSE`).
    CarrierLockCause: u32 { NOT_APPLICABLE = 0, SIM_LOCK_POLICY_MISMATCH = 1, SIM_LOCK_POLICY_MATCHED = 2 }
}

layout! {
    /// Information buffer of the CARRIER_LOCK answer and indication.
    CarrierLock {
        carrier_lock_status: CarrierLockStatus,
        carrier_lock_modem_state: CarrierLockModemState,
        carrier_lock_cause: CarrierLockCause,
    }

    /// Information buffer of the CARRIER_LOCK set.
    CarrierLockSet {
        data: Vec<u8> as prefixed,
    }
}

service_table! {
    google = "3e1e92cf-c53d-4f14-85d0-a86ad9e12245" {
        carrier_lock CARRIER_LOCK = 1 { query: Empty, set: CarrierLockSet, done: CarrierLock, notify: CarrierLock }
    }
}
