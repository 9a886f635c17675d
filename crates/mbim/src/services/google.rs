//! Carrier lock of Chromebooks (Google).

use crate::fields::layout;
use crate::names::values;
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// `MBIM_CARRIER_LOCK_STATUS`.
    CarrierLockStatus: u32 { NOT_APPLIED = 0, APPLIED = 1 }
}

values! {
    /// `MBIM_CARRIER_LOCK_MODEM_STATE`.
    CarrierLockModemState: u32 { DEREGISTERED = 0, DEREGISTRATION_IN_PROGRESS = 1, REGISTRATION_IN_PROGRESS = 2, REGISTERED = 3 }
}

values! {
    /// `MBIM_CARRIER_LOCK_CAUSE`.
    CarrierLockCause: u32 { NOT_APPLICABLE = 0, SIM_LOCK_POLICY_MISMATCH = 1, SIM_LOCK_POLICY_MATCHED = 2 }
}

layout! {
    /// Answer and notification of CARRIER_LOCK.
    CarrierLock {
        carrier_lock_status: CarrierLockStatus,
        carrier_lock_modem_state: CarrierLockModemState,
        carrier_lock_cause: CarrierLockCause,
    }

    /// Set of CARRIER_LOCK.
    CarrierLockSet {
        data: Vec<u8> as prefixed,
    }
}

service_table! {
    google = "3e1e92cf-c53d-4f14-85d0-a86ad9e12245" {
        carrier_lock CARRIER_LOCK = 1 { query: Empty, set: CarrierLockSet, done: CarrierLock, notify: CarrierLock }
    }
}
