//! Information buffers of MBIM 1.0 (section 10.5).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::values::{
    ActivationCommand, ActivationState, AuthProtocol, CellularClass, Compression, ContextIpType,
    CtrlCaps, DataClass, DeviceType, EmergencyModeState, IPConfigurationAvailableFlag,
    NetworkIdleHintState, PacketServiceAction, PacketServiceState, PinFormat, PinMode,
    PinOperation, PinState, PinType, ProviderState, RadioSwitchState, ReadyInfoFlag,
    RegisterAction, RegisterMode, RegisterState, RegistrationFlag, SimClass, SmsCaps,
    SubscriberReadyState, VisibleProvidersAction, VoiceCallState, VoiceClass,
};
use crate::fields::layout;
use crate::status::NwError;
use crate::uuid::Uuid;

layout! {
    /// Answer of DEVICE_CAPS.
    DeviceCaps {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sim_class: SimClass,
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
    }

    /// Answer and notification of SUBSCRIBER_READY_STATUS.
    SubscriberReadyStatus {
        ready_state: SubscriberReadyState,
        /// IMSI.
        subscriber_id: String [personal],
        /// ICCID, the card number.
        sim_icc_id: String [personal],
        ready_info: ReadyInfoFlag,
        @telephone_numbers_count of telephone_numbers,
        /// Own numbers (MSISDN).
        telephone_numbers: Vec<String> as refs(telephone_numbers_count) [personal],
    }

    /// Answer and notification of RADIO_STATE.
    RadioState {
        hw_radio_state: RadioSwitchState,
        sw_radio_state: RadioSwitchState,
    }

    /// Set of RADIO_STATE.
    RadioStateSet {
        radio_state: RadioSwitchState,
    }

    /// Answer of PIN.
    PinInfo {
        pin_type: PinType,
        pin_state: PinState,
        /// Attempts left before the card locks; 0xFFFFFFFF unknown.
        remaining_attempts: u32,
    }

    /// Set of PIN.
    PinSet {
        pin_type: PinType,
        pin_operation: PinOperation,
        pin: String [max(32), personal],
        new_pin: String [max(32), personal],
    }

    /// `PinDesc`, an element of other structures.
    PinDesc {
        pin_mode: PinMode,
        pin_format: PinFormat,
        pin_length_min: u32,
        pin_length_max: u32,
    }

    /// Answer of PIN_LIST.
    PinList {
        pin_desc_pin1: PinDesc,
        pin_desc_pin2: PinDesc,
        pin_desc_device_sim_pin: PinDesc,
        pin_desc_device_first_sim_pin: PinDesc,
        pin_desc_network_pin: PinDesc,
        pin_desc_network_subset_pin: PinDesc,
        pin_desc_service_provider_pin: PinDesc,
        pin_desc_corporate_pin: PinDesc,
        pin_desc_subsidy_lock: PinDesc,
        pin_desc_custom: PinDesc,
    }

    /// `Provider`, an element of other structures.
    Provider {
        /// MCC and MNC, digits.
        provider_id: String,
        provider_state: ProviderState,
        provider_name: String,
        cellular_class: CellularClass,
        /// Signal strength: 0..31 is -113 + 2n dBm, 99 unknown.
        rssi: u32,
        /// Bit error rate class 0..7, 99 unknown.
        error_rate: u32,
    }

    /// Answer and set of HOME_PROVIDER.
    HomeProvider {
        provider: Provider,
    }

    /// Answer, set and notification of PREFERRED_PROVIDERS.
    PreferredProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }

    /// Answer of VISIBLE_PROVIDERS.
    VisibleProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }

    /// Query of VISIBLE_PROVIDERS.
    VisibleProvidersQuery {
        action: VisibleProvidersAction,
    }

    /// Answer and notification of REGISTER_STATE.
    RegistrationState {
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
    }

    /// Set of REGISTER_STATE.
    RegisterStateSet {
        /// MCC and MNC, digits.
        provider_id: String,
        register_action: RegisterAction,
        data_class: DataClass,
    }

    /// Answer and notification of SIGNAL_STATE.
    SignalState {
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
    }

    /// Set of SIGNAL_STATE.
    SignalStateSet {
        /// Seconds between notifications; 0 means the default.
        signal_strength_interval: u32,
        /// Change that triggers a notification; 0 default, 0xFFFFFFFF never.
        rssi_threshold: u32,
        /// Change that triggers a notification; 0 default, 0xFFFFFFFF never.
        error_rate_threshold: u32,
    }

    /// Answer and notification of PACKET_SERVICE.
    PacketServiceInfo {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        highest_available_data_class: DataClass,
        /// Bits per second.
        uplink_speed: u64,
        /// Bits per second.
        downlink_speed: u64,
    }

    /// Set of PACKET_SERVICE.
    PacketServiceSet {
        packet_service_action: PacketServiceAction,
    }

    /// Answer, query and notification of CONNECT.
    ConnectInfo {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        activation_state: ActivationState,
        voice_call_state: VoiceCallState,
        ip_type: ContextIpType,
        context_type: Uuid,
        nw_error: NwError,
    }

    /// Set of CONNECT.
    ConnectSet {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        activation_command: ActivationCommand,
        /// Access point name (APN).
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
        ip_type: ContextIpType,
        context_type: Uuid,
    }

    /// `ProvisionedContextElement`, an element of other structures.
    ProvisionedContextElement {
        context_id: u32,
        context_type: Uuid,
        /// Access point name (APN).
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Answer and notification of PROVISIONED_CONTEXTS.
    ProvisionedContexts {
        @provisioned_contexts_count of provisioned_contexts,
        provisioned_contexts: Vec<ProvisionedContextElement> as refs(provisioned_contexts_count),
    }

    /// Set of PROVISIONED_CONTEXTS.
    ProvisionedContextsSet {
        context_id: u32,
        context_type: Uuid,
        /// Access point name (APN).
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
        /// MCC and MNC, digits.
        provider_id: String,
    }

    /// Answer of SERVICE_ACTIVATION.
    ServiceActivation {
        nw_error: NwError,
        buffer: Vec<u8> as rest,
    }

    /// Set of SERVICE_ACTIVATION.
    ServiceActivationSet {
        buffer: Vec<u8> as rest,
    }

    /// `IPv4Element`, an element of other structures.
    Ipv4Element {
        /// Bits.
        on_link_prefix_length: u32,
        ipv4_address: Ipv4Addr,
    }

    /// `IPv6Element`, an element of other structures.
    Ipv6Element {
        /// Bits.
        on_link_prefix_length: u32,
        ipv6_address: Ipv6Addr,
    }

    /// Answer, query and notification of IP_CONFIGURATION.
    IpConfiguration {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        ipv4_configuration_available: IPConfigurationAvailableFlag,
        ipv6_configuration_available: IPConfigurationAvailableFlag,
        @ipv4_address_count of ipv4_address,
        ipv4_address: Vec<Ipv4Element> as packed(ipv4_address_count),
        @ipv6_address_count of ipv6_address,
        ipv6_address: Vec<Ipv6Element> as packed(ipv6_address_count),
        ipv4_gateway: Option<Ipv4Addr> as at,
        /// `::` on some firmware: treat as on-link.
        ipv6_gateway: Option<Ipv6Addr> as at,
        @ipv4_dns_server_count of ipv4_dns_server,
        ipv4_dns_server: Vec<Ipv4Addr> as packed(ipv4_dns_server_count),
        @ipv6_dns_server_count of ipv6_dns_server,
        ipv6_dns_server: Vec<Ipv6Addr> as packed(ipv6_dns_server_count),
        /// Bytes.
        ipv4_mtu: u32,
        /// Bytes.
        ipv6_mtu: u32,
    }

    /// `DeviceServiceElement`, an element of other structures.
    DeviceServiceElement {
        device_service_id: Uuid,
        dss_payload: u32,
        max_dss_instances: u32,
        @cids_count of cids,
        /// Command numbers.
        cids: Vec<u32> as listed(cids_count),
    }

    /// Answer of DEVICE_SERVICES.
    DeviceServices {
        @device_services_count of device_services,
        max_dss_sessions: u32,
        /// Supported services with their commands.
        device_services: Vec<DeviceServiceElement> as refs(device_services_count),
    }

    /// `EventEntry`, an element of other structures.
    EventEntry {
        device_service_id: Uuid,
        @cids_count of cids,
        /// Command numbers; none means all of the service.
        cids: Vec<u32> as listed(cids_count),
    }

    /// Answer and set of DEVICE_SERVICE_SUBSCRIBE_LIST.
    DeviceServiceSubscribeList {
        @events_count of events,
        events: Vec<EventEntry> as refs(events_count),
    }

    /// Answer of PACKET_STATISTICS.
    PacketStatistics {
        in_discards: u32,
        in_errors: u32,
        in_octets: u64,
        in_packets: u64,
        out_octets: u64,
        out_packets: u64,
        out_errors: u32,
        out_discards: u32,
    }

    /// Answer and set of NETWORK_IDLE_HINT.
    NetworkIdleHint {
        state: NetworkIdleHintState,
    }

    /// Answer, set and notification of EMERGENCY_MODE.
    EmergencyMode {
        state: EmergencyModeState,
    }

    /// `PacketFilter`, an element of other structures.
    PacketFilter {
        @filter_size of packet_filter | packet_mask,
        packet_filter: Vec<u8> as pointed(filter_size),
        packet_mask: Vec<u8> as pointed(filter_size),
    }

    /// Answer, query and set of IP_PACKET_FILTERS.
    IpPacketFilters {
        /// Data session, 0 to one below the maximum.
        session_id: u32,
        @packet_filters_count of packet_filters,
        packet_filters: Vec<PacketFilter> as refs(packet_filters_count),
    }

    /// Answer, set and notification of MULTICARRIER_PROVIDERS.
    MulticarrierProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }
}
