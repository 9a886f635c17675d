//! Information buffers of the Basic Connect extensions, except those about cells.

use super::values::{
    ContextMediaType, ContextOperation, ContextRoamingControl, ContextSource, ContextState,
    DefaultPduActivationHint, DrxCycle, LadnInfo, LteAttachContextOperation,
    LteAttachContextRoamingControl, LteAttachState, MicoMode, ModemConfigurationStatus,
    NetworkDenylistState, NetworkDenylistType, PcoType, UiccSlotState, WakeType,
};
use crate::fields::{Layout, Tlv, TlvType, layout};
use crate::services::basic_connect::{
    AuthProtocol, CellularClass, Compression, ContextIpType, CtrlCaps, DataClass, DataClassV3,
    DataSubclass, DeviceType, SimClass, SmsCaps, VoiceClass,
};
use crate::status::NwError;
use crate::uuid::Uuid;

layout! {
    /// Protocol configuration options (PCO) of one data session, an element of PCO.
    PcoValue {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        @pco_data_size of pco_data_buffer,
        pco_data_type: PcoType,
        pco_data_buffer: Vec<u8> as counted(pco_data_size),
    }

    /// Information buffer of the PCO query, answer and indication.
    Pco {
        pco_value: PcoValue,
    }

    /// Denied network, an element of NETWORK_DENYLIST.
    NetworkDenylistProvider {
        mcc: u32,
        mnc: u32,
        network_denylist_type: NetworkDenylistType,
    }

    /// Information buffer of the NETWORK_DENYLIST set, answer and indication.
    NetworkDenylist {
        denylist_state: NetworkDenylistState,
        @providers_count of providers,
        providers: Vec<NetworkDenylistProvider> as refs(providers_count),
    }

    /// LTE attach context, an element of LTE_ATTACH_CONFIGURATION.
    LteAttachConfiguration {
        ip_type: ContextIpType,
        roaming: LteAttachContextRoamingControl,
        source: ContextSource,
        /// Access point name (APN) of the context.
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the LTE_ATTACH_CONFIGURATION answer and indication.
    LteAttachConfigurations {
        @configuration_count of configurations,
        configurations: Vec<LteAttachConfiguration> as refs(configuration_count),
    }

    /// Information buffer of the LTE_ATTACH_CONFIGURATION set.
    LteAttachConfigurationsSet {
        operation: LteAttachContextOperation,
        @configuration_count of configurations,
        configurations: Vec<LteAttachConfiguration> as refs(configuration_count),
    }

    /// Information buffer of the LTE_ATTACH_INFO answer and indication.
    LteAttachInfo {
        lte_attach_state: LteAttachState,
        ip_type: ContextIpType,
        /// Access point name (APN) of the context.
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the SYS_CAPS answer.
    SysCaps {
        number_of_executors: u32,
        number_of_slots: u32,
        concurrency: u32,
        modem_id: u64,
    }

    /// Information buffer of the SLOT_INFO_STATUS answer and indication.
    SlotInfoStatus {
        slot_index: u32,
        state: UiccSlotState,
    }

    /// Information buffer of the SLOT_INFO_STATUS query.
    SlotInfoStatusQuery {
        slot_index: u32,
    }

    /// Slot to which an executor is mapped, an element of DEVICE_SLOT_MAPPINGS.
    Slot {
        slot: u32,
    }

    /// Information buffer of the DEVICE_SLOT_MAPPINGS set and answer.
    DeviceSlotMappings {
        @map_count of slot_map,
        slot_map: Vec<Slot> as refs(map_count),
    }

    /// Information buffer of the DEVICE_CAPS answer.
    DeviceCaps {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sms_class: SimClass,
        data_class: DataClass,
        sms_caps: SmsCaps,
        control_caps: CtrlCaps,
        /// Number of data sessions that can be active at a time.
        max_sessions: u32,
        custom_data_class: String [max(22)],
        /// IMEI or MEID of the device.
        device_id: String [max(36), personal],
        firmware_info: String [max(60)],
        hardware_info: String [max(60)],
        executor_index: u32,
    }

    /// Information buffer of the LOCATION_INFO_STATUS answer and indication.
    LocationInfoStatus {
        location_area_code: u32,
        tracking_area_code: u32,
        cell_id: u32,
    }

    /// Provisioned context, an element of PROVISIONED_CONTEXTS.
    ProvisionedContextElementV2 {
        context_id: u32,
        context_type: Uuid,
        ip_type: ContextIpType,
        state: ContextState,
        roaming: ContextRoamingControl,
        media_type: ContextMediaType,
        source: ContextSource,
        /// Access point name (APN) of the context.
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the PROVISIONED_CONTEXTS answer and indication.
    ProvisionedContexts {
        @provisioned_contexts_count of provisioned_contexts,
        provisioned_contexts: Vec<ProvisionedContextElementV2> as refs(provisioned_contexts_count),
    }

    /// Information buffer of the PROVISIONED_CONTEXTS set.
    ProvisionedContextsSet {
        operation: ContextOperation,
        context_type: Uuid,
        ip_type: ContextIpType,
        state: ContextState,
        roaming: ContextRoamingControl,
        media_type: ContextMediaType,
        source: ContextSource,
        /// Access point name (APN) of the context.
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the VERSION query and answer.
    VersionInfo {
        mbim_version: u16,
        mbim_extended_version: u16,
    }

    /// Information buffer of the DEVICE_CAPS answer in MBIMEx 3.0.
    DeviceCapsV3 {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sim_class: SimClass,
        data_class: DataClassV3,
        sms_caps: SmsCaps,
        control_caps: CtrlCaps,
        data_subclass: DataSubclass as wide,
        /// Number of data sessions that can be active at a time.
        max_sessions: u32,
        executor_index: u32,
        wcdma_band_class: u32,
        lte_band_class: Vec<u16> as tlv_numbers,
        nr_band_class: Vec<u16> as tlv_numbers,
        custom_data_class: String as tlv_text,
        /// IMEI or MEID of the device.
        device_id: String as tlv_text [personal],
        firmware_info: String as tlv_text,
        hardware_info: String as tlv_text,
    }

    /// Information buffer of the MODEM_CONFIGURATION answer.
    ModemConfiguration {
        configuration_status: ModemConfigurationStatus,
        configuration_name: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Information buffer of the MODEM_CONFIGURATION indication.
    ModemConfigurationNotification {
        modem_configuration_status: ModemConfigurationStatus,
        configuration_name: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Information buffer of the REGISTRATION_PARAMETERS set and answer.
    RegistrationParameters {
        mico_mode: MicoMode,
        drx_cycle: DrxCycle,
        ladn_info: LadnInfo,
        default_pdu_activation_hint: DefaultPduActivationHint,
        re_register_if_needed: bool,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Information buffer of the LTE_ATTACH_INFO answer and indication in MBIMEx 3.0.
    LteAttachInfoV3 {
        lte_attach_state: LteAttachState,
        nw_error: NwError,
        ip_type: ContextIpType,
        /// Access point name (APN) of the context.
        access_string: String,
        user_name: String [personal],
        password: String [personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the WAKE_REASON answer.
    WakeReason {
        wake_type: WakeType,
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        wake_tlv: Tlv [contents(&[
            (TlvType::WAKE_COMMAND.0, <WakeCommand as Layout>::SCHEMA),
            (TlvType::WAKE_PACKET.0, <WakePacket as Layout>::SCHEMA),
        ])],
    }

    /// Content of a [`TlvType::WAKE_COMMAND`] element: the
    /// answer or indication that woke the host.
    WakeCommand {
        service: Uuid,
        cid: u32,
        payload: Vec<u8> as sized [personal],
    }

    /// Content of a [`TlvType::WAKE_PACKET`] element: the
    /// packet that woke the host.
    WakePacket {
        filter_id: u32,
        /// Size of the packet in bytes before it was cut short.
        original_packet_size: u32,
        packet: Vec<u8> as sized [personal],
    }
}
