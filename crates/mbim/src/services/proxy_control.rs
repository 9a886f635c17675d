//! Proxy control service of libmbim, between a client and an mbim-proxy. Its messages never reach a
//! modem.

use crate::fields::layout;
use crate::service::service_table;
use crate::services::empty::Empty;

layout! {
    /// Information buffer of the CONFIGURATION set.
    ConfigurationSet {
        device_path: String,
        /// Timeout of the client for the opening of the device, in seconds.
        timeout: u32,
    }

    /// Information buffer of the VERSION indication.
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
