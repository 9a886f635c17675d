//! Talk between a client and an mbim-proxy; never reaches a modem (libmbim).

use crate::fields::layout;
use crate::service::service_table;
use crate::services::empty::Empty;

layout! {
    /// Set of CONFIGURATION.
    ConfigurationSet {
        device_path: String,
        /// Seconds.
        timeout: u32,
    }

    /// Notification of VERSION.
    VersionNotification {
        mbim_version: u16,
        mbim_extended_version: u16,
    }
}

service_table! {
    proxy_control = "838cf7fb-8d0d-4d7f-871e-d71dbefbb39b" {
        configuration CONFIGURATION = 1 { set: ConfigurationSet, done: Empty }
        version VERSION = 2 { notify: VersionNotification }
    }
}
