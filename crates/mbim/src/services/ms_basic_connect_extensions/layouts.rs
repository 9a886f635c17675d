//! Information buffers of the extensions, cells aside.

use super::values::{
    ContextMediaType, ContextOperation, ContextRoamingControl, ContextSource, ContextState,
    DefaultPduActivationHint, DrxCycle, LadnInfo, LteAttachContextOperation,
    LteAttachContextRoamingControl, LteAttachState, MicoMode, ModemConfigurationStatus,
    NetworkDenylistState, NetworkDenylistType, PcoType, UiccSlotState, WakeType,
};
use crate::fields::{Tlv, layout};
use crate::services::basic_connect::{
    AuthProtocol, CellularClass, Compression, ContextIpType, CtrlCaps, DataClass, DataClassV3,
    DataSubclass, DeviceType, SimClass, SmsCaps, VoiceClass,
};
use crate::status::NwError;
use crate::uuid::Uuid;

layout! {
    /// `PcoValue`, an element of other structures.
    PcoValue {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        @pco_data_size of pco_data_buffer,
        pco_data_type: PcoType,
        pco_data_buffer: Vec<u8> as counted(pco_data_size),
    }

    /// Answer, query and notification of PCO.
    Pco {
        pco_value: PcoValue,
    }

    /// `NetworkDenylistProvider`, an element of other structures.
    NetworkDenylistProvider {
        mcc: u32,
        mnc: u32,
        network_denylist_type: NetworkDenylistType,
    }

    /// Answer, set and notification of NETWORK_DENYLIST.
    NetworkDenylist {
        denylist_state: NetworkDenylistState,
        @providers_count of providers,
        providers: Vec<NetworkDenylistProvider> as refs(providers_count),
    }

    /// `LteAttachConfiguration`, an element of other structures.
    LteAttachConfiguration {
        ip_type: ContextIpType,
        roaming: LteAttachContextRoamingControl,
        source: ContextSource,
        /// Access point name (APN).
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer and notification of LTE_ATTACH_CONFIGURATION.
    LteAttachConfigurations {
        @configuration_count of configurations,
        configurations: Vec<LteAttachConfiguration> as refs(configuration_count),
    }

    /// Set of LTE_ATTACH_CONFIGURATION.
    LteAttachConfigurationsSet {
        operation: LteAttachContextOperation,
        @configuration_count of configurations,
        configurations: Vec<LteAttachConfiguration> as refs(configuration_count),
    }

    /// Answer and notification of LTE_ATTACH_INFO.
    LteAttachInfo {
        lte_attach_state: LteAttachState,
        ip_type: ContextIpType,
        /// Access point name (APN).
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer of SYS_CAPS.
    SysCaps {
        number_of_executors: u32,
        number_of_slots: u32,
        concurrency: u32,
        modem_id: u64,
    }

    /// Answer and notification of SLOT_INFO_STATUS.
    SlotInfoStatus {
        slot_index: u32,
        state: UiccSlotState,
    }

    /// Query of SLOT_INFO_STATUS.
    SlotInfoStatusQuery {
        slot_index: u32,
    }

    /// `Slot`, an element of other structures.
    Slot {
        slot: u32,
    }

    /// Answer and set of DEVICE_SLOT_MAPPINGS.
    DeviceSlotMappings {
        @map_count of slot_map,
        slot_map: Vec<Slot> as refs(map_count),
    }

    /// Answer of DEVICE_CAPS.
    DeviceCaps {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sms_class: SimClass,
        data_class: DataClass,
        sms_caps: SmsCaps,
        control_caps: CtrlCaps,
        /// Data sessions at a time.
        max_sessions: u32,
        custom_data_class: String [max(22)],
        /// IMEI or MEID.
        device_id: String [max(36), personal],
        firmware_info: String [max(60)],
        hardware_info: String [max(60)],
        executor_index: u32,
    }

    /// Answer and notification of LOCATION_INFO_STATUS.
    LocationInfoStatus {
        location_area_code: u32,
        tracking_area_code: u32,
        cell_id: u32,
    }

    /// `ProvisionedContextElementV2`, an element of other structures.
    ProvisionedContextElementV2 {
        context_id: u32,
        context_type: Uuid,
        ip_type: ContextIpType,
        state: ContextState,
        roaming: ContextRoamingControl,
        media_type: ContextMediaType,
        source: ContextSource,
        /// Access point name (APN).
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer and notification of PROVISIONED_CONTEXTS.
    ProvisionedContexts {
        @provisioned_contexts_count of provisioned_contexts,
        provisioned_contexts: Vec<ProvisionedContextElementV2> as refs(provisioned_contexts_count),
    }

    /// Set of PROVISIONED_CONTEXTS.
    ProvisionedContextsSet {
        operation: ContextOperation,
        context_type: Uuid,
        ip_type: ContextIpType,
        state: ContextState,
        roaming: ContextRoamingControl,
        media_type: ContextMediaType,
        source: ContextSource,
        /// Access point name (APN).
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer and query of VERSION.
    VersionInfo {
        mbim_version: u16,
        mbim_extended_version: u16,
    }

    /// Answer of DEVICE_CAPS.
    DeviceCapsV3 {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sim_class: SimClass,
        data_class: DataClassV3,
        sms_caps: SmsCaps,
        control_caps: CtrlCaps,
        data_subclass: DataSubclass as wide,
        /// Data sessions at a time.
        max_sessions: u32,
        executor_index: u32,
        wcdma_band_class: u32,
        lte_band_class: Vec<u16> as tlv_numbers,
        nr_band_class: Vec<u16> as tlv_numbers,
        custom_data_class: String as tlv_text,
        /// IMEI or MEID.
        device_id: String as tlv_text [personal],
        firmware_info: String as tlv_text,
        hardware_info: String as tlv_text,
    }

    /// Answer of MODEM_CONFIGURATION.
    ModemConfiguration {
        configuration_status: ModemConfigurationStatus,
        configuration_name: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Notification of MODEM_CONFIGURATION.
    ModemConfigurationNotification {
        modem_configuration_status: ModemConfigurationStatus,
        configuration_name: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Answer and set of REGISTRATION_PARAMETERS.
    RegistrationParameters {
        mico_mode: MicoMode,
        drx_cycle: DrxCycle,
        ladn_info: LadnInfo,
        default_pdu_activation_hint: DefaultPduActivationHint,
        re_register_if_needed: bool,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Answer and notification of LTE_ATTACH_INFO.
    LteAttachInfoV3 {
        lte_attach_state: LteAttachState,
        nw_error: NwError,
        ip_type: ContextIpType,
        /// Access point name (APN).
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer of WAKE_REASON.
    WakeReason {
        wake_type: WakeType,
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        wake_tlv: Tlv,
    }

    /// Content of a [`TlvType::WAKE_COMMAND`](crate::fields::TlvType::WAKE_COMMAND) element: the
    /// answer or indication that woke the host.
    WakeCommand {
        service: Uuid,
        cid: u32,
        payload: Vec<u8> as sized [personal],
    }

    /// Content of a [`TlvType::WAKE_PACKET`](crate::fields::TlvType::WAKE_PACKET) element: the
    /// packet that woke the host.
    WakePacket {
        filter_id: u32,
        /// Bytes, before it was cut.
        original_packet_size: u32,
        packet: Vec<u8> as sized [personal],
    }
}
