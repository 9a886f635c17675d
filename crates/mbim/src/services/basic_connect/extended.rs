//! Layouts of the Basic Connect service that Microsoft's MBIMEx 2.0 and 3.0 change.

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
    /// Information buffer of the REGISTER_STATE answer and indication in MBIMEx 2.0.
    RegistrationStateV2 {
        nw_error: NwError,
        register_state: RegisterState,
        register_mode: RegisterMode,
        available_data_classes: DataClass,
        current_cellular_class: CellularClass,
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        provider_name: String,
        roaming_text: String,
        registration_flag: RegistrationFlag,
        preferred_data_classes: DataClass,
    }

    /// Information buffer of the PACKET_SERVICE answer and indication in MBIMEx 2.0.
    PacketServiceInfoV2 {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        current_data_class: DataClass,
        /// Speed of the uplink in bits per second.
        uplink_speed: u64,
        /// Speed of the downlink in bits per second.
        downlink_speed: u64,
        frequency_range: FrequencyRange,
    }

    /// Signal quality of one system type, an element of SIGNAL_STATE in MBIMEx 2.0.
    RsrpSnrInfo {
        rsrp: u32,
        snr: u32,
        rsrp_threshold: u32,
        snr_threshold: u32,
        system_type: DataClass,
    }

    /// Information buffer of the SIGNAL_STATE answer and indication in MBIMEx 2.0.
    SignalStateV2 {
        /// Received signal strength: a value n from 0 to 31 means -113 + 2n dBm, 99 means unknown.
        rssi: u32,
        /// Class of the bit error rate from 0 to 7; 99 means unknown.
        error_rate: u32,
        /// Interval between indications in seconds; 0 means the modem's default.
        signal_strength_interval: u32,
        /// Change of `rssi` that causes an indication; 0 means the modem's default, 0xFFFFFFFF
        /// means none.
        rssi_threshold: u32,
        /// Change of `error_rate` that causes an indication; 0 means the modem's default,
        /// 0xFFFFFFFF means none.
        error_rate_threshold: u32,
        rsrp_snr: Vec<RsrpSnrInfo> as sized_array,
    }

    /// Information buffer of the SUBSCRIBER_READY_STATUS answer and indication in MBIMEx 3.0.
    SubscriberReadyStatusV3 {
        ready_state: SubscriberReadyState,
        flags: SubscriberReadyStatusFlag,
        /// IMSI of the subscriber.
        subscriber_id: String [personal],
        /// ICCID, the serial number of the SIM card.
        sim_icc_id: String [personal],
        ready_info: ReadyInfoFlag,
        @telephone_numbers_count of telephone_numbers,
        /// Telephone numbers of the subscriber (MSISDN).
        telephone_numbers: Vec<String> as refs(telephone_numbers_count) [personal],
    }

    /// Tracking area identity (TAI), an element of PACKET_SERVICE in MBIMEx 3.0.
    Tai {
        plmn_mcc: u16,
        plmn_mnc: u16,
        tac: u32,
    }

    /// Information buffer of the PACKET_SERVICE answer and indication in MBIMEx 3.0.
    PacketServiceInfoV3 {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        highest_available_data_class: DataClassV3,
        /// Speed of the uplink in bits per second.
        uplink_speed: u64,
        /// Speed of the downlink in bits per second.
        downlink_speed: u64,
        frequency_range: FrequencyRange,
        data_subclass: DataSubclass,
        tai: Tai,
    }

    /// Information buffer of the CONNECT answer and indication in MBIMEx 3.0.
    ConnectInfoV3 {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        activation_state: ActivationState,
        voice_call_state: VoiceCallState,
        ip_type: ContextIpType,
        context_type: Uuid,
        nw_error: NwError,
        media_preference: AccessMediaType,
        /// Access point name (APN) of the context.
        access_string: String as tlv_text,
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Information buffer of the CONNECT query in MBIMEx 3.0.
    ConnectQueryV3 {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
    }

    /// Information buffer of the CONNECT set in MBIMEx 3.0.
    ConnectSetV3 {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        activation_command: ActivationCommand,
        compression: Compression,
        auth_protocol: AuthProtocol,
        ip_type: ContextIpType,
        context_type: Uuid,
        media_preference: AccessMediaType,
        /// Access point name (APN) of the context.
        access_string: String as tlv_text,
        user_name: String as tlv_text [personal],
        password: String as tlv_text [personal],
        unnamed_ies: Vec<Tlv> as tlvs,
    }

    /// Packet filter, an element of IP_PACKET_FILTERS in MBIMEx 3.0.
    PacketFilterV3 {
        @filter_size of packet_filter | packet_mask,
        packet_filter: Vec<u8> as pointed(filter_size),
        packet_mask: Vec<u8> as pointed(filter_size),
        filter_id: u32,
    }

    /// Information buffer of the IP_PACKET_FILTERS query, set and answer in MBIMEx 3.0.
    IpPacketFiltersV3 {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        @packet_filters_count of packet_filters,
        packet_filters: Vec<PacketFilterV3> as refs(packet_filters_count),
    }
}
