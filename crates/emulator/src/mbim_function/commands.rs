//! The commands of Basic Connect, as an MBIM 1.0 firmware of 2016 answers them.

use std::time::Duration;

use uwwan_mbim::fields::Layout;
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::services::basic_connect as basic;
use uwwan_mbim::services::basic_connect::{
    ActivationCommand, ActivationState, CellularClass, ConnectInfo, ConnectSet, ContextIpType,
    CtrlCaps, DataClass, DeviceCaps, DeviceServiceElement, DeviceServiceSubscribeList,
    DeviceServices, DeviceType, EmergencyMode, EmergencyModeState, HomeProvider,
    IPConfigurationAvailableFlag, IpConfiguration, Ipv4Element, Ipv6Element, NetworkIdleHint,
    NetworkIdleHintState, PacketServiceAction, PacketServiceInfo, PacketServiceSet,
    PacketServiceState, PacketStatistics, PinSet, Provider, ProviderState, RadioState,
    RadioStateSet, RadioSwitchState, ReadyInfoFlag, RegisterAction, RegisterMode, RegisterState,
    RegisterStateSet, RegistrationFlag, RegistrationState, SignalState, SignalStateSet, SimClass,
    SmsCaps, SubscriberReadyState, SubscriberReadyStatus, VisibleProviders, VoiceCallState,
    VoiceClass, context_type,
};
use uwwan_mbim::services::{ms_host_shutdown, phonebook, sms, ussd};
use uwwan_mbim::status::{NwError, Status};
use uwwan_mbim::uuid::Uuid;

use super::{MbimContext, MbimFunction, contexts, pin};
use crate::far_side::{link_local, v4, v6};
use crate::firmware::{
    Change, HARDWARE, HOME_NAME, HOME_PLMN, ICCID, IMEI, IMSI, Lock, Registered, VERSION,
};
use crate::knobs::SimState;

/// GPRS to HSUPA and LTE.
const DATA_CLASSES: DataClass = DataClass(0x3f);
/// Bits per second, category 4.
const UPLINK_SPEED: u64 = 50_000_000;
/// Bits per second, category 4.
const DOWNLINK_SPEED: u64 = 150_000_000;
const UNKNOWN_SIGNAL: u32 = 99;

/// What DEVICE_SERVICES lists.
pub(super) const SERVICES: &[(Uuid, &[u32])] = &[
    (
        basic::UUID,
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 19, 20, 21, 22, 23,
        ],
    ),
    (sms::UUID, &[1, 2, 3, 4, 5]),
    (ussd::UUID, &[1]),
    (phonebook::UUID, &[1, 2, 3, 4]),
    (ms_host_shutdown::UUID, &[1]),
];

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub status: Status,
    pub info: Vec<u8>,
    pub delay: Duration,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            status: Status::NONE,
            info: Vec::new(),
            delay: Duration::ZERO,
        }
    }
}

impl Outcome {
    pub(super) fn of(layout: &impl Layout) -> Self {
        Self {
            info: layout.encode_info(),
            ..Self::default()
        }
    }

    fn refused(status: Status) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

impl MbimFunction {
    /// Executes a command.
    pub(super) fn command(
        &mut self,
        service: Uuid,
        cid: u32,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Outcome {
        let outcome = match (service, kind) {
            (basic::UUID, CommandKind::QUERY) => self.query(cid, info, context),
            (basic::UUID, CommandKind::SET) => self.set(cid, info, context),
            (sms::UUID, _) => self.messages.answer(cid, kind, info, context),
            (ussd::UUID, CommandKind::SET) if cid == 1 => self.dialogue.turn(info, context),
            (phonebook::UUID, _) => super::phonebook::answer(cid, kind, info, context),
            (ms_host_shutdown::UUID, CommandKind::SET) if cid == 1 => Ok(Outcome::default()),
            _ => Err(Status::NO_DEVICE_SUPPORT),
        };
        if !Self::is_known(service) {
            tracing::debug!(%service, cid, "command of a service this firmware does not have");
        }
        outcome.unwrap_or_else(Outcome::refused)
    }

    fn query(
        &mut self,
        cid: u32,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        Ok(match cid {
            1 => Outcome::of(&DeviceCaps {
                device_type: DeviceType::EMBEDDED,
                cellular_class: CellularClass::GSM,
                voice_class: VoiceClass::NO_VOICE,
                sim_class: SimClass::REMOVABLE,
                data_class: DATA_CLASSES,
                sms_caps: SmsCaps(3),
                control_caps: CtrlCaps(CtrlCaps::REG_MANUAL.0 | CtrlCaps::HW_RADIO_SWITCH.0),
                max_sessions: context.knobs.max_sessions.into(),
                custom_data_class: String::new(),
                device_id: IMEI.to_owned(),
                firmware_info: VERSION.to_owned(),
                hardware_info: HARDWARE.to_owned(),
            }),
            2 => Outcome::of(&ready_status(context)),
            3 => Outcome::of(&radio_state(context)),
            4 => {
                sim_there(context)?;
                Outcome::of(&pin::info(context))
            }
            5 => {
                sim_there(context)?;
                Outcome::of(&pin::list(context))
            }
            6 => {
                sim_open(context)?;
                Outcome::of(&HomeProvider {
                    provider: home_provider(context),
                })
            }
            7 => {
                sim_open(context)?;
                contexts::preferred(context)
            }
            8 => {
                sim_open(context)?;
                if !matches!(context.firmware.radio(), (true, true)) {
                    return Err(Status::RADIO_POWER_OFF);
                }
                Outcome {
                    delay: Duration::from_millis(context.knobs.scan_ms),
                    ..Outcome::of(&VisibleProviders {
                        providers: vec![home_provider(context), other_provider(context)],
                    })
                }
            }
            9 => Outcome::of(&registration(context)),
            10 => Outcome::of(&packet_service(context)),
            11 => {
                let mut state = signal_state(context);
                state.signal_strength_interval = self.subscriptions.interval.as_secs() as u32;
                (state.rssi_threshold, state.error_rate_threshold) = self.subscriptions.thresholds;
                Outcome::of(&state)
            }
            12 => {
                let session = first_word(info)?;
                let mut state = connection(session, context);
                if context.knobs.connect_query_unknown && !context.firmware.activated_once() {
                    state.activation_state = ActivationState::UNKNOWN;
                }
                Outcome::of(&state)
            }
            13 => contexts::provisioned(context),
            15 => {
                let session = first_word(info)?;
                let configuration =
                    ip_configuration(session, context).ok_or(Status::CONTEXT_NOT_ACTIVATED)?;
                Outcome::of(&configuration)
            }
            16 => Outcome::of(&DeviceServices {
                max_dss_sessions: 0,
                device_services: SERVICES
                    .iter()
                    .map(|(service, cids)| DeviceServiceElement {
                        device_service_id: *service,
                        dss_payload: 0,
                        max_dss_instances: 0,
                        cids: cids.to_vec(),
                    })
                    .collect(),
            }),
            20 => Outcome::of(&self.statistics(context)),
            21 => Outcome::of(&NetworkIdleHint {
                state: NetworkIdleHintState(self.idle_hint),
            }),
            22 => Outcome::of(&EmergencyMode {
                state: EmergencyModeState::OFF,
            }),
            23 => self.filters.of(first_word(info)?),
            _ => return Err(Status::NO_DEVICE_SUPPORT),
        })
    }

    fn set(
        &mut self,
        cid: u32,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        Ok(match cid {
            3 => {
                let wanted: RadioStateSet = decode(info)?;
                let on = wanted.radio_state == RadioSwitchState::ON;
                context.firmware.set_radio(on, context.knobs, context.now);
                Outcome::of(&radio_state(context))
            }
            4 => {
                sim_there(context)?;
                pin::set(&decode::<PinSet>(info)?, context)
            }
            7 => {
                sim_open(context)?;
                contexts::prefer(decode(info)?, context)?
            }
            9 => self.register(&decode(info)?, context)?,
            10 => {
                let wanted: PacketServiceSet = decode(info)?;
                let attach = wanted.packet_service_action == PacketServiceAction::ATTACH;
                match context.firmware.set_attached(attach) {
                    Ok(()) => Outcome::of(&packet_service(context)),
                    Err(refused) => {
                        let mut state = packet_service(context);
                        state.nw_error = NwError(refused.cause);
                        Outcome {
                            status: refused.status,
                            ..Outcome::of(&state)
                        }
                    }
                }
            }
            11 => {
                let wanted: SignalStateSet = decode(info)?;
                self.subscriptions.interval = match wanted.signal_strength_interval {
                    0 => Duration::from_millis(context.knobs.signal_interval_ms),
                    u32::MAX => Duration::ZERO,
                    seconds => Duration::from_secs(seconds.into()),
                };
                self.subscriptions.thresholds =
                    (wanted.rssi_threshold, wanted.error_rate_threshold);
                let mut state = signal_state(context);
                state.signal_strength_interval = wanted.signal_strength_interval;
                state.rssi_threshold = wanted.rssi_threshold;
                state.error_rate_threshold = wanted.error_rate_threshold;
                Outcome::of(&state)
            }
            12 => self.connect(&decode(info)?, context),
            13 => contexts::provision(decode(info)?, context)?,
            19 => {
                let list: DeviceServiceSubscribeList = decode(info)?;
                self.subscriptions.replace(&list);
                Outcome::of(&list)
            }
            21 => {
                let hint: NetworkIdleHint = decode(info)?;
                self.idle_hint = hint.state.0;
                Outcome::of(&hint)
            }
            23 => {
                let sessions = context.knobs.max_sessions.into();
                self.filters.set(decode(info)?, sessions)?
            }
            _ => return Err(Status::NO_DEVICE_SUPPORT),
        })
    }

    fn register(
        &mut self,
        wanted: &RegisterStateSet,
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        sim_open(context)?;
        if !matches!(context.firmware.radio(), (true, true)) {
            return Err(Status::RADIO_POWER_OFF);
        }
        let manual = wanted.register_action == RegisterAction::MANUAL;
        let plmn = manual.then_some(wanted.provider_id.as_str());
        let found = context.firmware.register(plmn, context.knobs, context.now);
        let state = registration(context);
        let status = if !found {
            Status::PROVIDER_NOT_VISIBLE
        } else if state.nw_error != NwError::NONE {
            Status::FAILURE
        } else {
            Status::NONE
        };
        Ok(Outcome {
            status,
            ..Outcome::of(&state)
        })
    }

    fn connect(&mut self, wanted: &ConnectSet, context: &mut MbimContext<'_>) -> Outcome {
        let session = wanted.session_id;
        let knobs = context.knobs;
        if wanted.activation_command == ActivationCommand::DEACTIVATE {
            let was = context.firmware.disconnect(session);
            context.firmware.forget_change(Change::Connect(session));
            let mut outcome = Outcome::of(&connection(session, context));
            if !was {
                outcome.status = Status::CONTEXT_NOT_ACTIVATED;
                outcome.delay = Duration::from_millis(knobs.idle_deactivate_ms);
            }
            return outcome;
        }
        let result = context
            .firmware
            .connect(session, &wanted.access_string, wanted.ip_type, knobs)
            .map(|_| ());
        // The answer itself tells the host.
        context.firmware.forget_change(Change::Connect(session));
        let mut state = connection(session, context);
        let status = match result {
            Ok(()) => Status::NONE,
            Err(refused) => {
                state.ip_type = wanted.ip_type;
                state.nw_error = NwError(refused.cause);
                refused.status
            }
        };
        // What the module refuses by itself has no network's word to tell; ModemManager shows the
        // bare status then, as owners quote it.
        let told = status == Status::NONE || state.nw_error != NwError::NONE;
        Outcome {
            status,
            info: if told {
                state.encode_info()
            } else {
                Vec::new()
            },
            delay: Duration::from_millis(knobs.connect_ms),
        }
    }

    fn statistics(&self, context: &MbimContext<'_>) -> PacketStatistics {
        let (now, then) = (&context.counters, &self.baseline);
        PacketStatistics {
            in_discards: 0,
            in_errors: 0,
            in_octets: now.bytes_in - then.bytes_in,
            in_packets: now.datagrams_in - then.datagrams_in,
            out_octets: now.bytes_out - then.bytes_out,
            out_packets: now.datagrams_out - then.datagrams_out,
            out_errors: 0,
            out_discards: (now.dropped_out - then.dropped_out) as u32,
        }
    }
}

pub(super) fn decode<T: Layout>(info: &[u8]) -> Result<T, Status> {
    T::decode_info(info).map_err(|_| Status::INVALID_PARAMETERS)
}

/// The session id a query starts with.
fn first_word(info: &[u8]) -> Result<u32, Status> {
    info.first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(Status::INVALID_PARAMETERS)
}

fn sim_there(context: &MbimContext<'_>) -> Result<(), Status> {
    match context.firmware.sim() {
        SimState::Ready => Ok(()),
        SimState::Absent => Err(Status::SIM_NOT_INSERTED),
        SimState::Bad => Err(Status::BAD_SIM),
        SimState::NotInitialized => Err(Status::NOT_INITIALIZED),
    }
}

pub(super) fn sim_open(context: &MbimContext<'_>) -> Result<(), Status> {
    sim_there(context)?;
    match context.firmware.lock() {
        Lock::Open => Ok(()),
        Lock::Dead => Err(Status::BAD_SIM),
        Lock::Pin | Lock::Puk => Err(Status::PIN_REQUIRED),
    }
}

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

fn home_provider(context: &MbimContext<'_>) -> Provider {
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

fn other_provider(context: &MbimContext<'_>) -> Provider {
    Provider {
        provider_id: "24202".to_owned(),
        provider_state: ProviderState(ProviderState::VISIBLE.0 | ProviderState::FORBIDDEN.0),
        provider_name: "NetCom".to_owned(),
        ..home_provider(context)
    }
}

pub(super) fn registration(context: &MbimContext<'_>) -> RegistrationState {
    let firmware = &context.firmware;
    let on = firmware.registered().is_on();
    let (provider_id, provider_name) = firmware.operator().unwrap_or_default();
    RegistrationState {
        nw_error: if firmware.registered() == Registered::Denied {
            NwError::PLMN_NOT_ALLOWED
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
        nw_error: NwError(active.map_or(0, |active| active.cause)),
    }
}

/// `None` when the session is not up.
pub(super) fn ip_configuration(session: u32, context: &MbimContext<'_>) -> Option<IpConfiguration> {
    let active = context.firmware.session(session)?;
    let number = u8::try_from(session).ok()?;
    let (v4, v6) = (v4(number), v6(number));
    let mtu = u32::from(context.knobs.mtu);
    // Address, gateway, name servers, MTU.
    let all = IPConfigurationAvailableFlag(0x0f);
    let family = |up: bool| {
        if up {
            all
        } else {
            IPConfigurationAvailableFlag::NONE
        }
    };
    let mut configuration = IpConfiguration {
        session_id: session,
        ipv4_configuration_available: family(active.v4),
        ipv6_configuration_available: family(active.v6),
        ipv4_address: Vec::new(),
        ipv6_address: Vec::new(),
        ipv4_gateway: None,
        ipv6_gateway: None,
        ipv4_dns_server: Vec::new(),
        ipv6_dns_server: Vec::new(),
        ipv4_mtu: if active.v4 { mtu } else { 0 },
        ipv6_mtu: if active.v6 { mtu } else { 0 },
    };
    if active.v4 {
        configuration.ipv4_address = vec![Ipv4Element {
            on_link_prefix_length: v4.prefix.into(),
            ipv4_address: v4.address,
        }];
        configuration.ipv4_gateway = Some(v4.gateway);
        configuration.ipv4_dns_server = v4.dns.to_vec();
    }
    if active.v6 {
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
    Some(configuration)
}
