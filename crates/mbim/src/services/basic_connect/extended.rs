//! Layouts that MBIMEx 2.0 and 3.0 (Microsoft) change.

use super::values::{
    AccessMediaType, ActivationCommand, ActivationState, AuthProtocol, CellularClass, Compression,
    ContextIpType, DataClass, DataClassV3, DataSubclass, FrequencyRange, PacketServiceState,
    ReadyInfoFlag, RegisterMode, RegisterState, RegistrationFlag, SubscriberReadyState,
    SubscriberReadyStatusFlag, VoiceCallState,
};
use crate::fields::{Tlv, layout};
use crate::status::NwError;
use crate::uuid::Uuid;

layout! {
    /// Answer and notification of REGISTER_STATE.
    RegistrationStateV2 {
        nw_error: NwError,
        register_state: RegisterState,
        register_mode: RegisterMode,
        available_data_classes: DataClass,
        current_cellular_class: CellularClass,
        /// MCC and MNC, digits.
        provider_id: String,
        provider_name: String,
        roaming_text: String,
        registration_flag: RegistrationFlag,
        preferred_data_classes: DataClass,
    }

    /// Answer and notification of PACKET_SERVICE.
    PacketServiceInfoV2 {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        current_data_class: DataClass,
        /// Bits per second.
        uplink_speed: u64,
        /// Bits per second.
        downlink_speed: u64,
        frequency_range: FrequencyRange,
    }

    /// `RsrpSnrInfo`, an element of other structures.
    RsrpSnrInfo {
        rsrp: u32,
        snr: u32,
        rsrp_threshold: u32,
        snr_threshold: u32,
        system_type: DataClass,
    }

    /// Answer and notification of SIGNAL_STATE.
    SignalStateV2 {
        /// Signal strength: 0..31 is -113 + 2n dBm, 99 unknown.
        rssi: u32,
        /// Bit error rate class 0..7, 99 unknown.
        error_rate: u32,
        /// Seconds between notifications; 0 means the default.
        signal_strength_interval: u32,
        /// Change that triggers a notification; 0 default, 0xFFFFFFFF never.
        rssi_threshold: u32,
        /// Change that triggers a notification; 0 default, 0xFFFFFFFF never.
        error_rate_threshold: u32,
        rsrp_snr: Vec<RsrpSnrInfo> as sized_array,
    }

    /// Answer and notification of SUBSCRIBER_READY_STATUS.
    SubscriberReadyStatusV3 {
        ready_state: SubscriberReadyState,
        flags: SubscriberReadyStatusFlag,
        /// IMSI.
        subscriber_id: String [personal],
        /// ICCID, the card number.
        sim_icc_id: String [personal],
        ready_info: ReadyInfoFlag,
        @telephone_numbers_count of telephone_numbers,
        /// Own numbers (MSISDN).
        telephone_numbers: Vec<String> as refs(telephone_numbers_count) [personal],
    }

    /// `Tai`, an element of other structures.
    Tai {
        plmn_mcc: u16,
        plmn_mnc: u16,
        tac: u32,
    }

    /// Answer and notification of PACKET_SERVICE.
    PacketServiceInfoV3 {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        highest_available_data_class: DataClassV3,
        /// Bits per second.
        uplink_speed: u64,
        /// Bits per second.
        downlink_speed: u64,
        frequency_range: FrequencyRange,
        data_subclass: DataSubclass,
        tai: Tai,
    }

    /// Answer and notification of CONNECT.
    ConnectInfoV3 {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        activation_state: ActivationState,
        voice_call_state: VoiceCallState,
        ip_type: ContextIpType,
        context_type: Uuid,
        nw_error: NwError,
        media_preference: AccessMediaType,
        /// Access point name (APN).
        access_string: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Query of CONNECT.
    ConnectQueryV3 {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
    }

    /// Set of CONNECT.
    ConnectSetV3 {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        activation_command: ActivationCommand,
        compression: Compression,
        auth_protocol: AuthProtocol,
        ip_type: ContextIpType,
        context_type: Uuid,
        media_preference: AccessMediaType,
        /// Access point name (APN).
        access_string: String as tlv_text,
        user_name: String as tlv_text [personal],
        password: String as tlv_text [personal],
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// `PacketFilterV3`, an element of other structures.
    PacketFilterV3 {
        @filter_size of packet_filter | packet_mask,
        packet_filter: Vec<u8> as pointed(filter_size),
        packet_mask: Vec<u8> as pointed(filter_size),
        filter_id: u32,
    }

    /// Answer, query and set of IP_PACKET_FILTERS.
    IpPacketFiltersV3 {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        @packet_filters_count of packet_filters,
        packet_filters: Vec<PacketFilterV3> as refs(packet_filters_count),
    }
}
