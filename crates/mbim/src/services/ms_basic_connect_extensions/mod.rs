//! Microsoft's Basic Connect extensions service: provisioned contexts, LTE attach, slots, cells and
//! versions (MBIMEx).

mod cells;
mod layouts;
mod values;

pub use cells::*;
pub use layouts::*;
pub use values::*;

use crate::service::service_table;
use crate::services::empty::Empty;

service_table! {
    ms_basic_connect_extensions = "3d01dcc5-fef5-4d05-0d3a-bef7058e9aaf" {
        provisioned_contexts PROVISIONED_CONTEXTS = 1 { query: Empty, set: ProvisionedContextsSet, done: ProvisionedContexts, notify: ProvisionedContexts }
        network_denylist NETWORK_DENYLIST = 2 { query: Empty, set: NetworkDenylist, done: NetworkDenylist, notify: NetworkDenylist }
        lte_attach_configuration LTE_ATTACH_CONFIGURATION = 3 { query: Empty, set: LteAttachConfigurationsSet, done: LteAttachConfigurations, notify: LteAttachConfigurations }
        lte_attach_info LTE_ATTACH_INFO = 4 { query: Empty, done: LteAttachInfo, notify: LteAttachInfo; v3 done: LteAttachInfoV3, notify: LteAttachInfoV3 }
        sys_caps SYS_CAPS = 5 { query: Empty, done: SysCaps }
        device_caps DEVICE_CAPS = 6 { query: Empty, done: DeviceCaps; v3 done: DeviceCapsV3 }
        device_slot_mappings DEVICE_SLOT_MAPPINGS = 7 { query: Empty, set: DeviceSlotMappings, done: DeviceSlotMappings }
        slot_info_status SLOT_INFO_STATUS = 8 { query: SlotInfoStatusQuery, done: SlotInfoStatus, notify: SlotInfoStatus }
        pco PCO = 9 { query: Pco, done: Pco, notify: Pco }
        device_reset DEVICE_RESET = 10 { set: Empty, done: Empty }
        base_stations_info BASE_STATIONS_INFO = 11 { query: BaseStationsInfoQuery, done: BaseStationsInfo; v3 query: BaseStationsInfoQueryV3, done: BaseStationsInfoV3 }
        location_info_status LOCATION_INFO_STATUS = 12 { query: Empty, done: LocationInfoStatus, notify: LocationInfoStatus }
        version VERSION = 15 { query: VersionInfo, done: VersionInfo }
        modem_configuration MODEM_CONFIGURATION = 16 { query: Empty, done: ModemConfiguration, notify: ModemConfigurationNotification }
        registration_parameters REGISTRATION_PARAMETERS = 17 { query: Empty, set: RegistrationParameters, done: RegistrationParameters }
        wake_reason WAKE_REASON = 19 { query: Empty, done: WakeReason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected bytes follow Microsoft's table for `MBIM_MS_NETWORK_BLACKLIST_INFO`.
    #[test]
    fn denied_networks_as_microsoft_lays_them_out() {
        let list = NetworkDenylist {
            denylist_state: NetworkDenylistState::NETWORK_PROVIDER_ACTUATED,
            providers: vec![
                NetworkDenylistProvider {
                    mcc: 242,
                    mnc: 1,
                    network_denylist_type: NetworkDenylistType::SIM,
                },
                NetworkDenylistProvider {
                    mcc: 262,
                    mnc: 7,
                    network_denylist_type: NetworkDenylistType::NETWORK,
                },
            ],
        };
        let words: [u32; 12] = [2, 2, 24, 12, 36, 12, 242, 1, 0, 262, 7, 1];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(list.encode(), bytes);
        assert_eq!(NetworkDenylist::decode(&bytes).unwrap(), list);
    }
}
