//! The commands of Basic Connect, as an MBIM 1.0 firmware of 2016 answers them, and the dispatch to
//! the other services.

use std::time::{Duration, Instant};

use uwwan_mbim::fields::Layout;
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect as basic;
use uwwan_mbim::services::basic_connect::{
    ActivationCommand, ActivationState, CellularClass, ConnectSet, CtrlCaps, DeviceCaps,
    DeviceServiceElement, DeviceServiceSubscribeList, DeviceServices, DeviceType, EmergencyMode,
    EmergencyModeState, HomeProvider, NetworkIdleHint, NetworkIdleHintState, PacketServiceAction,
    PacketServiceSet, PacketStatistics, PinSet, RadioStateSet, RadioSwitchState, RegisterAction,
    RegisterStateSet, SignalStateSet, SimClass, SmsCaps, VisibleProviders, VoiceClass,
};
use uwwan_mbim::services::{ms_host_shutdown, phonebook, sms, ussd};
use uwwan_mbim::status::{NwError, Status};
use uwwan_mbim::uuid::Uuid;

use super::context::MbimContext;
use super::contexts::{self, Filters};
use super::fcc::{self, Fcc};
use super::outcome::{Outcome, decode, sim_open, sim_there};
use super::state::{
    DATA_CLASSES, cause, connection, home_provider, ip_configuration, other_provider,
    packet_service, radio_state, ready_status, registration, signal_state,
};
use super::subscriptions::Subscriptions;
use super::{messages, phonebook as book, pin, ussd as dialogue};
use crate::firmware::{Change, HARDWARE, IMEI};
use crate::knobs::Knobs;
use crate::report::Counters;

/// Services and their CIDs that DEVICE_SERVICES lists.
const SERVICES: &[(Uuid, &[CidId])] = &[
    (
        basic::UUID,
        &[
            basic::DEVICE_CAPS,
            basic::SUBSCRIBER_READY_STATUS,
            basic::RADIO_STATE,
            basic::PIN,
            basic::PIN_LIST,
            basic::HOME_PROVIDER,
            basic::PREFERRED_PROVIDERS,
            basic::VISIBLE_PROVIDERS,
            basic::REGISTER_STATE,
            basic::PACKET_SERVICE,
            basic::SIGNAL_STATE,
            basic::CONNECT,
            basic::PROVISIONED_CONTEXTS,
            basic::IP_CONFIGURATION,
            basic::DEVICE_SERVICES,
            basic::DEVICE_SERVICE_SUBSCRIBE_LIST,
            basic::PACKET_STATISTICS,
            basic::NETWORK_IDLE_HINT,
            basic::EMERGENCY_MODE,
            basic::IP_PACKET_FILTERS,
        ],
    ),
    (
        sms::UUID,
        &[
            sms::CONFIGURATION,
            sms::READ,
            sms::SEND,
            sms::DELETE,
            sms::MESSAGE_STORE_STATUS,
        ],
    ),
    (ussd::UUID, &[ussd::USSD]),
    (
        phonebook::UUID,
        &[
            phonebook::CONFIGURATION,
            phonebook::READ,
            phonebook::DELETE,
            phonebook::WRITE,
        ],
    ),
    (ms_host_shutdown::UUID, &[ms_host_shutdown::NOTIFY]),
];

/// State that commands have set since the function was reset.
#[derive(Debug)]
pub(super) struct Commands {
    /// Subscriptions of the host.
    pub subscriptions: Subscriptions,
    /// Counters at OPEN, from which the packet statistics count.
    baseline: Counters,
    idle_hint: NetworkIdleHintState,
    filters: Filters,
    fcc: Fcc,
}

impl Commands {
    /// Returns the state after a reset of the function.
    pub fn new(knobs: &Knobs, now: Instant) -> Self {
        Self {
            subscriptions: Subscriptions::new(knobs, now),
            baseline: Counters::default(),
            idle_hint: NetworkIdleHintState::DISABLED,
            filters: Filters::default(),
            fcc: Fcc::default(),
        }
    }

    /// Begins a control session: the standard subscriptions apply, and packets are counted from
    /// here.
    pub fn opened(&mut self, context: &MbimContext<'_>) {
        self.baseline = *context.counters;
        self.subscriptions = Subscriptions::new(context.knobs, context.now);
    }

    /// Executes a command.
    pub fn execute(
        &mut self,
        id: CidId,
        kind: CommandKind,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Outcome {
        let outcome = match (id.service, kind) {
            (basic::UUID, CommandKind::QUERY) => self.query(id, info, context),
            (basic::UUID, CommandKind::SET) => self.set(id, info, context),
            (sms::UUID, _) => messages::answer(id, kind, info, context),
            (phonebook::UUID, _) => book::answer(id, kind, info, context),
            _ if context.knobs.fcc_lock && fcc::serves(id) => {
                self.fcc.answer(id, kind, info, context)
            }
            (_, CommandKind::SET) => match id {
                ussd::USSD => dialogue::turn(info, context),
                ms_host_shutdown::NOTIFY => Ok(Outcome::default()),
                _ => Err(Status::NO_DEVICE_SUPPORT),
            },
            _ => Err(Status::NO_DEVICE_SUPPORT),
        };
        if !SERVICES.iter().any(|(known, _)| *known == id.service) {
            tracing::debug!(%id, "command of a service this firmware does not have");
        }
        outcome.unwrap_or_else(Outcome::refused)
    }

    fn query(
        &mut self,
        id: CidId,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        Ok(match id {
            basic::DEVICE_CAPS => Outcome::of(&DeviceCaps {
                device_type: DeviceType::EMBEDDED,
                cellular_class: CellularClass::GSM,
                voice_class: VoiceClass::NO_VOICE,
                sim_class: SimClass::REMOVABLE,
                data_class: DATA_CLASSES,
                sms_caps: SmsCaps(SmsCaps::PDU_RECEIVE.0 | SmsCaps::PDU_SEND.0),
                control_caps: CtrlCaps(CtrlCaps::REG_MANUAL.0 | CtrlCaps::HW_RADIO_SWITCH.0),
                max_sessions: context.knobs.max_sessions.into(),
                custom_data_class: String::new(),
                device_id: IMEI.to_owned(),
                firmware_info: context.knobs.firmware_text(),
                hardware_info: HARDWARE.to_owned(),
            }),
            basic::SUBSCRIBER_READY_STATUS => Outcome::of(&ready_status(context)),
            basic::RADIO_STATE => Outcome::of(&radio_state(context)),
            basic::PIN => {
                sim_there(context)?;
                refuse_by_knob(context.knobs.pin_query_status)?;
                Outcome::of(&pin::info(context))
            }
            basic::PIN_LIST => {
                sim_there(context)?;
                Outcome::of(&pin::list(context))
            }
            basic::HOME_PROVIDER => {
                sim_open(context)?;
                Outcome::of(&HomeProvider {
                    provider: home_provider(context),
                })
            }
            basic::PREFERRED_PROVIDERS => {
                sim_open(context)?;
                contexts::preferred(context)
            }
            basic::VISIBLE_PROVIDERS => {
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
            basic::REGISTER_STATE => Outcome::of(&registration(context)),
            basic::PACKET_SERVICE => Outcome::of(&packet_service(context)),
            basic::SIGNAL_STATE => {
                let mut state = signal_state(context);
                state.signal_strength_interval = self.subscriptions.interval.as_secs() as u32;
                (state.rssi_threshold, state.error_rate_threshold) = self.subscriptions.thresholds;
                Outcome::of(&state)
            }
            basic::CONNECT => {
                let session = first_word(info)?;
                let mut state = connection(session, context);
                if context.knobs.connect_query_unknown && !context.firmware.activated_once() {
                    state.activation_state = ActivationState::UNKNOWN;
                }
                Outcome::of(&state)
            }
            basic::PROVISIONED_CONTEXTS => contexts::provisioned(context),
            basic::IP_CONFIGURATION => {
                let session = first_word(info)?;
                Outcome::of(&ip_configuration(session, context)?)
            }
            basic::DEVICE_SERVICES => Outcome::of(&DeviceServices {
                max_dss_sessions: 0,
                device_services: SERVICES
                    .iter()
                    .chain(fcc::SERVICES.iter().filter(|_| context.knobs.fcc_lock))
                    .map(|(service, cids)| DeviceServiceElement {
                        device_service_id: *service,
                        dss_payload: 0,
                        max_dss_instances: 0,
                        cids: cids.iter().map(|id| id.cid).collect(),
                    })
                    .collect(),
            }),
            basic::PACKET_STATISTICS => Outcome::of(&self.statistics(context)),
            basic::NETWORK_IDLE_HINT => Outcome::of(&NetworkIdleHint {
                state: self.idle_hint,
            }),
            basic::EMERGENCY_MODE => Outcome::of(&EmergencyMode {
                state: EmergencyModeState::OFF,
            }),
            basic::IP_PACKET_FILTERS => self.filters.of(first_word(info)?),
            _ => return Err(Status::NO_DEVICE_SUPPORT),
        })
    }

    fn set(
        &mut self,
        id: CidId,
        info: &[u8],
        context: &mut MbimContext<'_>,
    ) -> Result<Outcome, Status> {
        Ok(match id {
            basic::RADIO_STATE => {
                let wanted: RadioStateSet = decode(info)?;
                let on = wanted.radio_state == RadioSwitchState::ON;
                if !context.firmware.set_radio(on, context.knobs, context.now) {
                    return Err(Status::OPERATION_NOT_ALLOWED);
                }
                Outcome::of(&radio_state(context))
            }
            basic::PIN => {
                sim_there(context)?;
                pin::set(&decode::<PinSet>(info)?, context)
            }
            basic::PREFERRED_PROVIDERS => {
                sim_open(context)?;
                contexts::prefer(decode(info)?, context)?
            }
            basic::REGISTER_STATE => self.register(&decode(info)?, context)?,
            basic::PACKET_SERVICE => {
                let wanted: PacketServiceSet = decode(info)?;
                let attach = wanted.packet_service_action == PacketServiceAction::ATTACH;
                match context.firmware.set_attached(attach) {
                    Ok(()) => Outcome::of(&packet_service(context)),
                    Err(refused) => {
                        let mut state = packet_service(context);
                        state.nw_error = cause(refused.cause, context);
                        Outcome {
                            status: refused.status,
                            ..Outcome::of(&state)
                        }
                    }
                }
            }
            basic::SIGNAL_STATE => {
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
            basic::CONNECT => self.connect(&decode(info)?, context),
            basic::PROVISIONED_CONTEXTS => contexts::provision(decode(info)?, context)?,
            basic::DEVICE_SERVICE_SUBSCRIBE_LIST => {
                let list: DeviceServiceSubscribeList = decode(info)?;
                self.subscriptions.replace(&list);
                Outcome::of(&list)
            }
            basic::NETWORK_IDLE_HINT => {
                let hint: NetworkIdleHint = decode(info)?;
                self.idle_hint = hint.state;
                Outcome::of(&hint)
            }
            basic::IP_PACKET_FILTERS => {
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
        refuse_by_knob(context.knobs.register_status)?;
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
        // The answer itself reports the change to the host.
        context.firmware.forget_change(Change::Connect(session));
        let mut state = connection(session, context);
        let status = match result {
            Ok(()) => Status::NONE,
            Err(refused) => {
                state.ip_type = wanted.ip_type;
                state.nw_error = cause(refused.cause, context);
                refused.status
            }
        };
        // A refusal by the module itself has no network cause to report; ModemManager then shows
        // the bare status, as owners quote it.
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

/// Refuses with the status that a knob asks for, if it asks for one.
fn refuse_by_knob(status: u32) -> Result<(), Status> {
    match Status(status) {
        Status::NONE => Ok(()),
        status => Err(status),
    }
}

/// Returns the session id with which a query starts.
fn first_word(info: &[u8]) -> Result<u32, Status> {
    info.first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or(Status::INVALID_PARAMETERS)
}
