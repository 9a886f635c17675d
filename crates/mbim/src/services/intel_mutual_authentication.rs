//! Intel's service for the challenge of the FCC lock.

use crate::fields::layout;
use crate::service::service_table;
use crate::services::empty::Empty;

layout! {
    /// Information buffer of the FCC_LOCK answer.
    FccLock {
        challenge_present: u32,
        challenge: u32,
    }

    /// Information buffer of the FCC_LOCK set.
    FccLockSet {
        response_present: u32,
        response: u32,
    }
}

service_table! {
    intel_mutual_authentication = "f85d46ef-ab26-4081-9868-4d183c0a3aec" {
        fcc_lock FCC_LOCK = 1 { query: Empty, set: FccLockSet, done: FccLock }
    }
}
