//! Information buffers of the Basic Connect service (MBIM 1.0 section 10.5).

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
    /// Information buffer of the DEVICE_CAPS answer.
    DeviceCaps {
        device_type: DeviceType,
        cellular_class: CellularClass,
        voice_class: VoiceClass,
        sim_class: SimClass,
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
    }

    /// Information buffer of the SUBSCRIBER_READY_STATUS answer and indication.
    SubscriberReadyStatus {
        ready_state: SubscriberReadyState,
        /// IMSI of the subscriber.
        subscriber_id: String [personal],
        /// ICCID, the serial number of the SIM card.
        sim_icc_id: String [personal],
        ready_info: ReadyInfoFlag,
        @telephone_numbers_count of telephone_numbers,
        /// Telephone numbers of the subscriber (MSISDN).
        telephone_numbers: Vec<String> as refs(telephone_numbers_count) [personal],
    }

    /// Information buffer of the RADIO_STATE answer and indication.
    RadioState {
        hw_radio_state: RadioSwitchState,
        sw_radio_state: RadioSwitchState,
    }

    /// Information buffer of the RADIO_STATE set.
    RadioStateSet {
        radio_state: RadioSwitchState,
    }

    /// Information buffer of the PIN answer.
    PinInfo {
        pin_type: PinType,
        pin_state: PinState,
        /// Number of attempts remaining for the PIN or PUK; 0xFFFFFFFF means unknown.
        remaining_attempts: u32,
    }

    /// Information buffer of the PIN set.
    PinSet {
        pin_type: PinType,
        pin_operation: PinOperation,
        pin: String [max(32), personal],
        new_pin: String [max(32), personal],
    }

    /// Description of one PIN, an element of PIN_LIST.
    PinDesc {
        pin_mode: PinMode,
        pin_format: PinFormat,
        pin_length_min: u32,
        pin_length_max: u32,
    }

    /// Information buffer of the PIN_LIST answer.
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

    /// Network provider, an element of the provider lists.
    Provider {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        provider_state: ProviderState,
        provider_name: String,
        cellular_class: CellularClass,
        /// Received signal strength: a value n from 0 to 31 means -113 + 2n dBm, 99 means unknown.
        rssi: u32,
        /// Class of the bit error rate from 0 to 7; 99 means unknown.
        error_rate: u32,
    }

    /// Information buffer of the HOME_PROVIDER set and answer.
    HomeProvider {
        provider: Provider,
    }

    /// Information buffer of the PREFERRED_PROVIDERS set, answer and indication.
    PreferredProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }

    /// Information buffer of the VISIBLE_PROVIDERS answer.
    VisibleProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }

    /// Information buffer of the VISIBLE_PROVIDERS query.
    VisibleProvidersQuery {
        action: VisibleProvidersAction,
    }

    /// Information buffer of the REGISTER_STATE answer and indication.
    RegistrationState {
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
    }

    /// Information buffer of the REGISTER_STATE set.
    RegisterStateSet {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        register_action: RegisterAction,
        data_class: DataClass,
    }

    /// Information buffer of the SIGNAL_STATE answer and indication.
    SignalState {
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
    }

    /// Information buffer of the SIGNAL_STATE set.
    SignalStateSet {
        /// Interval between indications in seconds; 0 means the modem's default.
        signal_strength_interval: u32,
        /// Change of `rssi` that causes an indication; 0 means the modem's default, 0xFFFFFFFF
        /// means none.
        rssi_threshold: u32,
        /// Change of `error_rate` that causes an indication; 0 means the modem's default,
        /// 0xFFFFFFFF means none.
        error_rate_threshold: u32,
    }

    /// Information buffer of the PACKET_SERVICE answer and indication.
    PacketServiceInfo {
        nw_error: NwError,
        packet_service_state: PacketServiceState,
        highest_available_data_class: DataClass,
        /// Speed of the uplink in bits per second.
        uplink_speed: u64,
        /// Speed of the downlink in bits per second.
        downlink_speed: u64,
    }

    /// Information buffer of the PACKET_SERVICE set.
    PacketServiceSet {
        packet_service_action: PacketServiceAction,
    }

    /// Information buffer of the CONNECT query, answer and indication.
    ConnectInfo {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        activation_state: ActivationState,
        voice_call_state: VoiceCallState,
        ip_type: ContextIpType,
        context_type: Uuid,
        nw_error: NwError,
    }

    /// Information buffer of the CONNECT set.
    ConnectSet {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        activation_command: ActivationCommand,
        /// Access point name (APN) of the context.
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
        ip_type: ContextIpType,
        context_type: Uuid,
    }

    /// Provisioned context, an element of PROVISIONED_CONTEXTS.
    ProvisionedContextElement {
        context_id: u32,
        context_type: Uuid,
        /// Access point name (APN) of the context.
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
    }

    /// Information buffer of the PROVISIONED_CONTEXTS answer and indication.
    ProvisionedContexts {
        @provisioned_contexts_count of provisioned_contexts,
        provisioned_contexts: Vec<ProvisionedContextElement> as refs(provisioned_contexts_count),
    }

    /// Information buffer of the PROVISIONED_CONTEXTS set.
    ProvisionedContextsSet {
        context_id: u32,
        context_type: Uuid,
        /// Access point name (APN) of the context.
        access_string: String [max(200)],
        user_name: String [max(510), personal],
        password: String [max(510), personal],
        compression: Compression,
        auth_protocol: AuthProtocol,
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
    }

    /// Information buffer of the SERVICE_ACTIVATION answer.
    ServiceActivation {
        nw_error: NwError,
        buffer: Vec<u8> as rest,
    }

    /// Information buffer of the SERVICE_ACTIVATION set.
    ServiceActivationSet {
        buffer: Vec<u8> as rest,
    }

    /// IPv4 address with its prefix length, an element of IP_CONFIGURATION.
    Ipv4Element {
        /// Length of the on-link prefix in bits.
        on_link_prefix_length: u32,
        ipv4_address: Ipv4Addr,
    }

    /// IPv6 address with its prefix length, an element of IP_CONFIGURATION.
    Ipv6Element {
        /// Length of the on-link prefix in bits.
        on_link_prefix_length: u32,
        ipv6_address: Ipv6Addr,
    }

    /// Information buffer of the IP_CONFIGURATION query, answer and indication. Addresses stand in
    /// network byte order, everything else in little-endian byte order.
    IpConfiguration {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        ipv4_configuration_available: IPConfigurationAvailableFlag,
        ipv6_configuration_available: IPConfigurationAvailableFlag,
        @ipv4_address_count of ipv4_address,
        ipv4_address: Vec<Ipv4Element> as packed(ipv4_address_count),
        @ipv6_address_count of ipv6_address,
        ipv6_address: Vec<Ipv6Element> as packed(ipv6_address_count),
        ipv4_gateway: Option<Ipv4Addr> as at,
        /// Address of the IPv6 gateway. Some firmware sends `::`, which a host treats as on-link.
        ipv6_gateway: Option<Ipv6Addr> as at,
        @ipv4_dns_server_count of ipv4_dns_server,
        ipv4_dns_server: Vec<Ipv4Addr> as packed(ipv4_dns_server_count),
        @ipv6_dns_server_count of ipv6_dns_server,
        ipv6_dns_server: Vec<Ipv6Addr> as packed(ipv6_dns_server_count),
        /// MTU of IPv4 in bytes.
        ipv4_mtu: u32,
        /// MTU of IPv6 in bytes.
        ipv6_mtu: u32,
    }

    /// Service that the function supports, an element of DEVICE_SERVICES.
    DeviceServiceElement {
        device_service_id: Uuid,
        dss_payload: u32,
        max_dss_instances: u32,
        @cids_count of cids,
        /// CIDs that the service supports.
        cids: Vec<u32> as listed(cids_count),
    }

    /// Information buffer of the DEVICE_SERVICES answer.
    DeviceServices {
        @device_services_count of device_services,
        max_dss_sessions: u32,
        /// Services that the function supports, with their CIDs.
        device_services: Vec<DeviceServiceElement> as refs(device_services_count),
    }

    /// Service with the CIDs subscribed to, an element of DEVICE_SERVICE_SUBSCRIBE_LIST.
    EventEntry {
        device_service_id: Uuid,
        @cids_count of cids,
        /// CIDs whose indications are subscribed to; an empty list means all of the service.
        cids: Vec<u32> as listed(cids_count),
    }

    /// Information buffer of the DEVICE_SERVICE_SUBSCRIBE_LIST set and answer.
    DeviceServiceSubscribeList {
        @events_count of events,
        events: Vec<EventEntry> as refs(events_count),
    }

    /// Information buffer of the PACKET_STATISTICS answer.
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

    /// Information buffer of the NETWORK_IDLE_HINT set and answer.
    NetworkIdleHint {
        state: NetworkIdleHintState,
    }

    /// Information buffer of the EMERGENCY_MODE set, answer and indication.
    EmergencyMode {
        state: EmergencyModeState,
    }

    /// Packet filter, an element of IP_PACKET_FILTERS.
    PacketFilter {
        @filter_size of packet_filter | packet_mask,
        packet_filter: Vec<u8> as pointed(filter_size),
        packet_mask: Vec<u8> as pointed(filter_size),
    }

    /// Information buffer of the IP_PACKET_FILTERS query, set and answer.
    IpPacketFilters {
        /// Id of the data session, from 0 to one below `max_sessions` of DEVICE_CAPS.
        session_id: u32,
        @packet_filters_count of packet_filters,
        packet_filters: Vec<PacketFilter> as refs(packet_filters_count),
    }

    /// Information buffer of the MULTICARRIER_PROVIDERS set, answer and indication.
    MulticarrierProviders {
        @providers_count of providers,
        providers: Vec<Provider> as refs(providers_count),
    }
}
