//! Intel FCC lock challenge.

use crate::fields::layout;
use crate::service::service_table;
use crate::services::empty::Empty;

layout! {
    /// Answer of FCC_LOCK.
    FccLock {
        challenge_present: u32,
        challenge: u32,
    }

    /// Set of FCC_LOCK.
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
