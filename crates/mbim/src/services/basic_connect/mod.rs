//! Basic Connect service: identity, SIM card, radio, registration, packet service and data sessions
//! (MBIM 1.0 section 10.5), with the layouts of MBIMEx 2.0 and 3.0.

mod context;
mod extended;
mod layouts;
mod values;

pub use context::*;
pub use extended::*;
pub use layouts::*;
pub use values::*;

use crate::service::service_table;
use crate::services::empty::Empty;

service_table! {
    basic_connect = "a289cc33-bcbb-8b4f-b6b0-133ec2aae6df" {
        device_caps DEVICE_CAPS = 1 { query: Empty, done: DeviceCaps }
        subscriber_ready_status SUBSCRIBER_READY_STATUS = 2 { query: Empty, done: SubscriberReadyStatus, notify: SubscriberReadyStatus; v3 done: SubscriberReadyStatusV3, notify: SubscriberReadyStatusV3 }
        radio_state RADIO_STATE = 3 { query: Empty, set: RadioStateSet, done: RadioState, notify: RadioState }
        pin PIN = 4 { query: Empty, set: PinSet, done: PinInfo }
        pin_list PIN_LIST = 5 { query: Empty, done: PinList }
        home_provider HOME_PROVIDER = 6 { query: Empty, set: HomeProvider, done: HomeProvider }
        preferred_providers PREFERRED_PROVIDERS = 7 { query: Empty, set: PreferredProviders, done: PreferredProviders, notify: PreferredProviders }
        visible_providers VISIBLE_PROVIDERS = 8 { query: VisibleProvidersQuery, done: VisibleProviders }
        register_state REGISTER_STATE = 9 { query: Empty, set: RegisterStateSet, done: RegistrationState, notify: RegistrationState; v2 done: RegistrationStateV2, notify: RegistrationStateV2 }
        packet_service PACKET_SERVICE = 10 { query: Empty, set: PacketServiceSet, done: PacketServiceInfo, notify: PacketServiceInfo; v2 done: PacketServiceInfoV2, notify: PacketServiceInfoV2; v3 done: PacketServiceInfoV3, notify: PacketServiceInfoV3 }
        signal_state SIGNAL_STATE = 11 { query: Empty, set: SignalStateSet, done: SignalState, notify: SignalState; v2 done: SignalStateV2, notify: SignalStateV2 }
        connect CONNECT = 12 { query: ConnectInfo, set: ConnectSet, done: ConnectInfo, notify: ConnectInfo; v3 query: ConnectQueryV3, set: ConnectSetV3, done: ConnectInfoV3, notify: ConnectInfoV3 }
        provisioned_contexts PROVISIONED_CONTEXTS = 13 { query: Empty, set: ProvisionedContextsSet, done: ProvisionedContexts, notify: ProvisionedContexts }
        service_activation SERVICE_ACTIVATION = 14 { set: ServiceActivationSet, done: ServiceActivation }
        ip_configuration IP_CONFIGURATION = 15 { query: IpConfiguration, done: IpConfiguration, notify: IpConfiguration }
        device_services DEVICE_SERVICES = 16 { query: Empty, done: DeviceServices }
        device_service_subscribe_list DEVICE_SERVICE_SUBSCRIBE_LIST = 19 { set: DeviceServiceSubscribeList, done: DeviceServiceSubscribeList }
        packet_statistics PACKET_STATISTICS = 20 { query: Empty, done: PacketStatistics }
        network_idle_hint NETWORK_IDLE_HINT = 21 { query: Empty, set: NetworkIdleHint, done: NetworkIdleHint }
        emergency_mode EMERGENCY_MODE = 22 { query: Empty, set: EmergencyMode, done: EmergencyMode, notify: EmergencyMode }
        ip_packet_filters IP_PACKET_FILTERS = 23 { query: IpPacketFilters, set: IpPacketFilters, done: IpPacketFilters; v3 query: IpPacketFiltersV3, set: IpPacketFiltersV3, done: IpPacketFiltersV3 }
        multicarrier_providers MULTICARRIER_PROVIDERS = 24 { query: Empty, set: MulticarrierProviders, done: MulticarrierProviders, notify: MulticarrierProviders }
    }
}
