//! Commands of the ladder, with their timeouts.

use std::time::Duration;

use uwwan_mbim::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as bc, DeviceServiceSubscribeList, EventEntry, PacketServiceAction, PacketServiceSet,
    PinOperation, PinSet, PinType, RadioStateSet, RadioSwitchState, RegisterAction,
    RegisterStateSet, SignalStateSet,
};

use uwwan_mbim::session::Command;

use crate::fcc;

/// Command of the ladder. It ties an answer to the state that sent the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// DEVICE_CAPS query.
    Capabilities,
    /// SUBSCRIBER_READY_STATUS query.
    Subscriber,
    /// PIN query.
    PinState,
    /// PIN set, enter.
    PinEnter,
    /// RADIO_STATE query.
    RadioState,
    /// RADIO_STATE set, on.
    RadioOn,
    /// DEVICE_SERVICE_SUBSCRIBE_LIST set; nothing depends on it.
    Subscribe,
    /// REGISTER_STATE query.
    RegisterState,
    /// REGISTER_STATE set, automatic.
    Register,
    /// PACKET_SERVICE query.
    PacketService,
    /// PACKET_SERVICE set, attach.
    Attach,
    /// SIGNAL_STATE set; nothing depends on it.
    SignalReports,
    /// SIGNAL_STATE query, as keepalive.
    Signal,
    /// RADIO_STATE query of Quectel's service, which reports an FCC lock.
    LockState,
    /// Command that lifts an FCC lock.
    Unlock,
}

impl Ask {
    /// Returns the name of the command, written for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "DEVICE_CAPS query",
            Self::Subscriber => "SUBSCRIBER_READY_STATUS query",
            Self::PinState => "PIN query",
            Self::PinEnter => "PIN enter",
            Self::RadioState => "RADIO_STATE query",
            Self::RadioOn => "RADIO_STATE on",
            Self::Subscribe => "DEVICE_SERVICE_SUBSCRIBE_LIST set",
            Self::RegisterState => "REGISTER_STATE query",
            Self::Register => "REGISTER_STATE automatic",
            Self::PacketService => "PACKET_SERVICE query",
            Self::Attach => "PACKET_SERVICE attach",
            Self::SignalReports => "SIGNAL_STATE set",
            Self::Signal => "SIGNAL_STATE query",
            Self::LockState => "Quectel RADIO_STATE query",
            Self::Unlock => "FCC unlock",
        }
    }

    /// Returns the time to wait for the answer (as ModemManager does, except for the optional
    /// ones).
    #[must_use]
    pub fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Subscribe | Self::SignalReports | Self::LockState => 3,
            Self::RadioOn => 20,
            Self::PinEnter | Self::Attach => 30,
            Self::Register => 60,
            _ => 10,
        })
    }

    /// Returns whether the bring-up goes on without the answer.
    #[must_use]
    pub(super) fn is_background(self) -> bool {
        matches!(self, Self::Subscribe | Self::Signal)
    }

    pub(super) fn query(self) -> Command {
        let id = match self {
            Self::Capabilities => bc::DEVICE_CAPS,
            Self::Subscriber => bc::SUBSCRIBER_READY_STATUS,
            Self::PinState | Self::PinEnter => bc::PIN,
            Self::RadioState | Self::RadioOn => bc::RADIO_STATE,
            Self::Subscribe => bc::DEVICE_SERVICE_SUBSCRIBE_LIST,
            Self::RegisterState | Self::Register => bc::REGISTER_STATE,
            Self::PacketService | Self::Attach => bc::PACKET_SERVICE,
            Self::SignalReports | Self::Signal => bc::SIGNAL_STATE,
            Self::LockState | Self::Unlock => return fcc::state(),
        };
        command(id, CommandKind::QUERY, Vec::new())
    }
}

fn command(id: CidId, kind: CommandKind, info: Vec<u8>) -> Command {
    Command { id, kind, info }
}

fn set(id: CidId, info: Vec<u8>) -> Command {
    command(id, CommandKind::SET, info)
}

pub(super) fn enter_pin(pin: &str, kind: PinType) -> Command {
    let info = PinSet {
        pin_type: kind,
        pin_operation: PinOperation::ENTER,
        pin: pin.to_owned(),
        ..PinSet::default()
    };
    set(bc::PIN, info.encode())
}

pub(super) fn radio_on() -> Command {
    let info = RadioStateSet {
        radio_state: RadioSwitchState::ON,
    };
    set(bc::RADIO_STATE, info.encode())
}

/// Returns the command that subscribes to every indication that the ladder acts on or that users of
/// `mbimcli` on the proxy expect.
pub(super) fn subscribe() -> Command {
    let cids = [
        bc::SUBSCRIBER_READY_STATUS,
        bc::RADIO_STATE,
        bc::REGISTER_STATE,
        bc::PACKET_SERVICE,
        bc::SIGNAL_STATE,
        bc::CONNECT,
        bc::IP_CONFIGURATION,
    ];
    let info = DeviceServiceSubscribeList {
        events: vec![EventEntry {
            device_service_id: bc::UUID,
            cids: cids.iter().map(|id| id.cid).collect(),
        }],
    };
    set(bc::DEVICE_SERVICE_SUBSCRIBE_LIST, info.encode())
}

pub(super) fn register() -> Command {
    let info = RegisterStateSet {
        register_action: RegisterAction::AUTOMATIC,
        ..RegisterStateSet::default()
    };
    set(bc::REGISTER_STATE, info.encode())
}

pub(super) fn attach() -> Command {
    let info = PacketServiceSet {
        packet_service_action: PacketServiceAction::ATTACH,
    };
    set(bc::PACKET_SERVICE, info.encode())
}

/// Returns the command for signal reports, at most every 5 s, at the device's own thresholds. An
/// interval of 0 upsets some firmware (ModemManager).
pub(super) fn signal_reports() -> Command {
    let info = SignalStateSet {
        signal_strength_interval: 5,
        rssi_threshold: 0,
        error_rate_threshold: 0,
    };
    set(bc::SIGNAL_STATE, info.encode())
}
