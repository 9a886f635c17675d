//! Microsoft's service for the control of the specific absorption rate (SAR).

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Side that controls the SAR back-off (`MBIM_SAR_CONTROL_MODE`).
    SarControlMode: u32 { DEVICE = 0, OS = 1 }
}

values! {
    /// State of the SAR back-off (`MBIM_SAR_BACKOFF_STATE`).
    SarBackoffState: u32 { DISABLED = 0, ENABLED = 1 }
}

values! {
    /// Integration of the Wi-Fi hardware (`MBIM_SAR_WIFI_HARDWARE_STATE`).
    SarWifiHardwareState: u32 { INTEGRATED = 0, NOT_INTEGRATED = 1 }
}

values! {
    /// Status of the indications about transmission (`MBIM_TRANSMISSION_NOTIFICATION_STATUS`).
    TransmissionNotificationStatus: u32 { DISABLED = 0, ENABLED = 1 }
}

values! {
    /// State of the transmission (`MBIM_TRANSMISSION_STATE`).
    TransmissionState: u32 { INACTIVE = 0, ACTIVE = 1 }
}

layout! {
    /// Index of the back-off table for one antenna, an element of CONFIG.
    SarConfigState {
        antenna_index: u32,
        backoff_index: u32,
    }

    /// Information buffer of the CONFIG answer.
    Config {
        mode: SarControlMode,
        backoff_state: SarBackoffState,
        wifi_integration: SarWifiHardwareState,
        @config_states_count of config_states,
        config_states: Vec<SarConfigState> as refs(config_states_count),
    }

    /// Information buffer of the CONFIG set.
    ConfigSet {
        mode: SarControlMode,
        backoff_state: SarBackoffState,
        @config_states_count of config_states,
        config_states: Vec<SarConfigState> as refs(config_states_count),
    }

    /// Information buffer of the TRANSMISSION_STATUS answer and indication.
    TransmissionStatus {
        channel_notification: TransmissionNotificationStatus,
        transmission_status: TransmissionState,
        hysteresis_timer: u32,
    }

    /// Information buffer of the TRANSMISSION_STATUS set.
    TransmissionStatusSet {
        channel_notification: TransmissionNotificationStatus,
        hysteresis_timer: u32,
    }
}

service_table! {
    ms_sar = "68223d04-9f6c-4e0f-822d-28441fb72340" {
        config CONFIG = 1 { query: Empty, set: ConfigSet, done: Config, notify: Config }
        transmission_status TRANSMISSION_STATUS = 2 { query: Empty, set: TransmissionStatusSet, done: TransmissionStatus, notify: TransmissionStatus }
    }
}
