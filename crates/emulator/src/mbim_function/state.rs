//! Contents of answers about the module's state, as an MBIM 1.0 firmware of 2016 gives them.
//! Answers to queries and indications have the same content.

use uwwan_mbim::services::basic_connect::{
    ActivationState, CellularClass, ConnectInfo, ContextIpType, DataClass,
    IPConfigurationAvailableFlag, IpConfiguration, Ipv4Element, Ipv6Element, PacketServiceInfo,
    PacketServiceState, Provider, ProviderState, RadioState, RadioSwitchState, ReadyInfoFlag,
    RegisterMode, RegisterState, RegistrationFlag, RegistrationState, SignalState,
    SubscriberReadyState, SubscriberReadyStatus, VoiceCallState, context_type,
};
use uwwan_mbim::services::sms::{MessageStoreStatus, SmsStatusFlag};
use uwwan_mbim::status::{NwError, Status};

use super::context::MbimContext;
use crate::far_side::{link_local, v4_of, v6_of};
use crate::firmware::{HOME_NAME, HOME_PLMN, ICCID, IMSI, Lock, Registered};
use crate::knobs::{IpConfigurationAnswer, SimState};

/// Data classes of the module: GPRS to HSUPA, and LTE.
pub(super) const DATA_CLASSES: DataClass = DataClass(
    DataClass::GPRS.0
        | DataClass::EDGE.0
        | DataClass::UMTS.0
        | DataClass::HSDPA.0
        | DataClass::HSUPA.0
        | DataClass::LTE.0,
);
/// Rate towards the network in bits per second, that of LTE category 4.
const UPLINK_SPEED: u64 = 50_000_000;
/// Rate towards the host in bits per second, that of LTE category 4.
const DOWNLINK_SPEED: u64 = 150_000_000;
/// Value of an unknown signal strength or error rate (MBIM 1.0, 10.5.11).
pub(super) const UNKNOWN_SIGNAL: u32 = 99;
/// Flags of an answer with address, gateway, name servers and MTU.
const ALL_AVAILABLE: IPConfigurationAvailableFlag = IPConfigurationAvailableFlag(
    IPConfigurationAvailableFlag::ADDRESS.0
        | IPConfigurationAvailableFlag::GATEWAY.0
        | IPConfigurationAvailableFlag::DNS.0
        | IPConfigurationAvailableFlag::MTU.0,
);

/// Returns a network cause as MBIM reports it.
pub(super) fn cause(cause: NwError, context: &MbimContext<'_>) -> NwError {
    match cause {
        NwError::NONE => NwError::NONE,
        NwError(number) => NwError(number.saturating_add(context.knobs.cause_offset)),
    }
}

/// Returns the content of SUBSCRIBER_READY_STATUS. A locked card shows its number, but not its
/// subscriber.
pub(super) fn ready_status(context: &MbimContext<'_>) -> SubscriberReadyStatus {
    let firmware = &context.firmware;
    let ready_state = match (firmware.sim(), firmware.lock()) {
        (SimState::Absent, _) => SubscriberReadyState::SIM_NOT_INSERTED,
        (SimState::NotInitialized, _) => SubscriberReadyState::NOT_INITIALIZED,
        (SimState::Bad, _) | (_, Lock::Dead) => SubscriberReadyState::BAD_SIM,
        (SimState::Ready, Lock::Open) => SubscriberReadyState::INITIALIZED,
        (SimState::Ready, _) => SubscriberReadyState::DEVICE_LOCKED,
    };
    let readable = ready_state == SubscriberReadyState::INITIALIZED;
    let card = readable || ready_state == SubscriberReadyState::DEVICE_LOCKED;
    SubscriberReadyStatus {
        ready_state,
        subscriber_id: if readable {
            IMSI.to_owned()
        } else {
            String::new()
        },
        sim_icc_id: if card {
            ICCID.to_owned()
        } else {
            String::new()
        },
        ready_info: ReadyInfoFlag::NONE,
        telephone_numbers: Vec::new(),
    }
}

/// Returns the content of RADIO_STATE.
pub(super) fn radio_state(context: &MbimContext<'_>) -> RadioState {
    let (software, hardware) = context.firmware.radio();
    let switch = |on| {
        if on {
            RadioSwitchState::ON
        } else {
            RadioSwitchState::OFF
        }
    };
    RadioState {
        hw_radio_state: switch(hardware),
        sw_radio_state: switch(software),
    }
}

/// Returns the SIM's own operator, as an element of lists of operators.
pub(super) fn home_provider(context: &MbimContext<'_>) -> Provider {
    let mut state = ProviderState::HOME.0 | ProviderState::VISIBLE.0;
    if context.firmware.registered() == Registered::Home {
        state |= ProviderState::REGISTERED.0;
    }
    Provider {
        provider_id: HOME_PLMN.to_owned(),
        provider_state: ProviderState(state),
        provider_name: HOME_NAME.to_owned(),
        cellular_class: CellularClass::GSM,
        rssi: context.knobs.signal.into(),
        error_rate: UNKNOWN_SIGNAL,
    }
}

/// Returns another operator in reach, which does not accept the SIM.
pub(super) fn other_provider(context: &MbimContext<'_>) -> Provider {
    Provider {
        provider_id: "24202".to_owned(),
        provider_state: ProviderState(ProviderState::VISIBLE.0 | ProviderState::FORBIDDEN.0),
        provider_name: "NetCom".to_owned(),
        ..home_provider(context)
    }
}

/// Returns the content of REGISTER_STATE.
pub(super) fn registration(context: &MbimContext<'_>) -> RegistrationState {
    let firmware = &context.firmware;
    let on = firmware.registered().is_on();
    let (provider_id, provider_name) = firmware.operator().unwrap_or_default();
    RegistrationState {
        nw_error: if firmware.registered() == Registered::Denied {
            cause(NwError::PLMN_NOT_ALLOWED, context)
        } else {
            NwError::NONE
        },
        register_state: match firmware.registered() {
            Registered::Off => RegisterState::DEREGISTERED,
            Registered::Searching => RegisterState::SEARCHING,
            Registered::Home => RegisterState::HOME,
            Registered::Roaming => RegisterState::ROAMING,
            Registered::Partner => RegisterState::PARTNER,
            Registered::Denied => RegisterState::DENIED,
        },
        register_mode: if firmware.is_automatic() {
            RegisterMode::AUTOMATIC
        } else {
            RegisterMode::MANUAL
        },
        available_data_classes: if on { DATA_CLASSES } else { DataClass::NONE },
        current_cellular_class: CellularClass::GSM,
        provider_id: provider_id.to_owned(),
        provider_name: provider_name.to_owned(),
        roaming_text: String::new(),
        registration_flag: RegistrationFlag::PACKET_SERVICE_AUTOMATIC_ATTACH,
    }
}

/// Returns the content of PACKET_SERVICE.
pub(super) fn packet_service(context: &MbimContext<'_>) -> PacketServiceInfo {
    let attached = context.firmware.attached();
    PacketServiceInfo {
        nw_error: NwError::NONE,
        packet_service_state: if attached {
            PacketServiceState::ATTACHED
        } else {
            PacketServiceState::DETACHED
        },
        highest_available_data_class: if attached {
            DataClass::LTE
        } else {
            DataClass::NONE
        },
        uplink_speed: if attached { UPLINK_SPEED } else { 0 },
        downlink_speed: if attached { DOWNLINK_SPEED } else { 0 },
    }
}

/// Returns the content of SIGNAL_STATE, without the settings of the host.
pub(super) fn signal_state(context: &MbimContext<'_>) -> SignalState {
    let known = context.firmware.registered().is_on() && !context.knobs.mbim_signal_unknown;
    SignalState {
        rssi: if known {
            context.knobs.signal.into()
        } else {
            UNKNOWN_SIGNAL
        },
        error_rate: UNKNOWN_SIGNAL,
        signal_strength_interval: 0,
        rssi_threshold: 0,
        error_rate_threshold: 0,
    }
}

/// Returns the content of CONNECT for a data session.
pub(super) fn connection(session: u32, context: &MbimContext<'_>) -> ConnectInfo {
    let active = context.firmware.session(session);
    ConnectInfo {
        session_id: session,
        activation_state: if active.is_some() {
            ActivationState::ACTIVATED
        } else {
            ActivationState::DEACTIVATED
        },
        voice_call_state: VoiceCallState::NONE,
        ip_type: match active {
            Some(_) if context.knobs.connect_ip_type_wrong => ContextIpType::IPV4V6,
            Some(active) => active.ip_type(),
            None => ContextIpType::DEFAULT,
        },
        context_type: context_type::INTERNET,
        nw_error: active.map_or(NwError::NONE, |active| cause(active.cause, context)),
    }
}

/// Returns the content of MESSAGE_STORE_STATUS, with the place of a message that arrived if there
/// is one.
pub(super) fn store_status(new: Option<u32>, context: &MbimContext<'_>) -> MessageStoreStatus {
    let mut flag = SmsStatusFlag::NONE;
    if context.firmware.persistent.card.full {
        flag |= SmsStatusFlag::MESSAGE_STORE_FULL;
    }
    if new.is_some() {
        flag |= SmsStatusFlag::NEW_MESSAGE;
    }
    MessageStoreStatus {
        flag,
        message_index: match new {
            Some(_) if context.knobs.sms_index_one => 1,
            Some(place) => place,
            None => 0,
        },
    }
}

/// Returns the content of IP_CONFIGURATION for a data session.
///
/// # Errors
/// Returns the status that says that the session is not up, or that the firmware reports no
/// addresses.
pub(super) fn ip_configuration(
    session: u32,
    context: &MbimContext<'_>,
) -> Result<IpConfiguration, Status> {
    let number = u8::try_from(session).map_err(|_| Status::CONTEXT_NOT_ACTIVATED)?;
    let active = context
        .firmware
        .session(session)
        .ok_or(Status::CONTEXT_NOT_ACTIVATED)?;
    match context.knobs.ip_configuration {
        IpConfigurationAnswer::Empty => {
            return Ok(IpConfiguration {
                session_id: session,
                ..IpConfiguration::default()
            });
        }
        IpConfigurationAnswer::Refused => return Err(Status::NO_DEVICE_SUPPORT),
        IpConfigurationAnswer::Told | IpConfigurationAnswer::Ipv4 | IpConfigurationAnswer::Ipv6 => {
        }
    }
    let told = context.knobs.ip_configuration;
    let tells_v4 = active.v4 && told.tells_v4();
    let tells_v6 = active.v6 && told.tells_v6();
    let (v4, v6) = (v4_of(number, context.knobs), v6_of(number, context.knobs));
    let mtu = u32::from(context.knobs.mtu);
    let family = |up: bool| {
        if up {
            ALL_AVAILABLE
        } else {
            IPConfigurationAvailableFlag::NONE
        }
    };
    let mut configuration = IpConfiguration {
        session_id: session,
        ipv4_configuration_available: family(tells_v4),
        ipv6_configuration_available: family(tells_v6),
        ipv4_address: Vec::new(),
        ipv6_address: Vec::new(),
        ipv4_gateway: None,
        ipv6_gateway: None,
        ipv4_dns_server: Vec::new(),
        ipv6_dns_server: Vec::new(),
        ipv4_mtu: if tells_v4 { mtu } else { 0 },
        ipv6_mtu: if tells_v6 { mtu } else { 0 },
    };
    if tells_v4 {
        configuration.ipv4_address = vec![Ipv4Element {
            on_link_prefix_length: v4.prefix.into(),
            ipv4_address: v4.address,
        }];
        configuration.ipv4_gateway = Some(v4.gateway);
        configuration.ipv4_dns_server = v4.dns.to_vec();
    }
    if tells_v6 {
        let address = if context.knobs.ipv6_link_local {
            link_local(v6.address)
        } else {
            v6.address
        };
        configuration.ipv6_address = vec![Ipv6Element {
            on_link_prefix_length: context.knobs.ipv6_prefix.into(),
            ipv6_address: address,
        }];
        configuration.ipv6_gateway = Some(v6.gateway);
        configuration.ipv6_dns_server = v6.dns.to_vec();
    }
    Ok(configuration)
}
