//! Microsoft's service for the identification of the firmware.

use crate::fields::layout;
use crate::service::service_table;
use crate::services::empty::Empty;
use crate::uuid::Uuid;

layout! {
    /// Information buffer of the GET answer.
    Get {
        firmware_id: Uuid,
    }
}

service_table! {
    ms_firmware_id = "e9f7dea2-feaf-4009-93ce-90a3694103b6" {
        get GET = 1 { query: Empty, done: Get }
    }
}
