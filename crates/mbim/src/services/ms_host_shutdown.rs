//! Microsoft's service by which the host announces its shutdown.

use crate::service::service_table;
use crate::services::empty::Empty;

service_table! {
    ms_host_shutdown = "883b7c26-985f-43fa-9804-27d7fb80959c" {
        notify NOTIFY = 1 { set: Empty }
    }
}
