//! Intel's firmware update service, which reboots the modem.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Boot mode of the modem after the reboot (`MBIM_INTEL_BOOT_MODE`).
    IntelBootMode: u32 { NORMAL_MODE = 0, DOWNLOAD_MODE = 1, POWER_OFF_DEVICE = 2, NON_RESETABLE_REGISTER = 3, WITHOUT_REBOOT_POWER_OFF = 4, FAST_DOWNLOAD_MODE = 5 }
}

layout! {
    /// Information buffer of the MODEM_REBOOT set in MBIMEx 2.0.
    ModemRebootSetV2 {
        boot_mode: IntelBootMode,
        /// Timeout of the reboot in seconds.
        timeout: u32,
    }
}

service_table! {
    intel_firmware_update = "0ed374cb-f835-4474-bc11-3b3fd76f5641" {
        modem_reboot MODEM_REBOOT = 1 { set: Empty; v2 set: ModemRebootSetV2 }
    }
}
