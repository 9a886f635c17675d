//! The answers of the function, by service and CID.

use std::collections::VecDeque;
use std::time::Instant;

use uwwan_at::commands::Query;
use uwwan_at::dialogue::Command;
use uwwan_mbim::CommandKind;
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{self as bc, DeviceServiceElement, DeviceServices};
use uwwan_mbim::services::{sms, ussd};
use uwwan_mbim::status::{NwError, Status};
use zeroize::Zeroizing;

use super::call::Connection;
use super::dialogue::{Dialogue, Late};
use super::status;
use crate::at_port::Answer;
use crate::failure::{Failure, FailureKind};
use crate::options::UssdForm;

/// Access to a modem by AT commands.
pub(super) trait Ask: Send {
    /// Sends a command and returns its answer.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer at all.
    fn ask(&mut self, command: Command) -> Result<Answer, Failure>;
}

/// Reason why a command of the host fails: its status, and the network's cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Status, pub(super) NwError);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status, NwError::NONE)
    }
}

/// State of the function.
pub(super) struct Function {
    port: Box<dyn Ask>,
    pub(super) connection: Connection,
    pub(super) indications: VecDeque<(CidId, Vec<u8>)>,
    pub(super) dialogue: Dialogue,
    /// Answers to commands that have waited.
    pub(super) late: VecDeque<Late>,
    /// Form of USSD texts that the quirk table names.
    pub(super) ussd: Option<UssdForm>,
    /// Whether the modem has told of its registration, and the host does not know.
    pub(super) registration_changed: bool,
}

/// Commands that the function knows.
pub(super) const KNOWN: [CidId; 18] = [
    bc::DEVICE_CAPS,
    bc::SUBSCRIBER_READY_STATUS,
    bc::RADIO_STATE,
    bc::PIN,
    bc::HOME_PROVIDER,
    bc::VISIBLE_PROVIDERS,
    bc::REGISTER_STATE,
    bc::PACKET_SERVICE,
    bc::SIGNAL_STATE,
    bc::CONNECT,
    bc::IP_CONFIGURATION,
    bc::DEVICE_SERVICES,
    bc::DEVICE_SERVICE_SUBSCRIBE_LIST,
    sms::CONFIGURATION,
    sms::READ,
    sms::SEND,
    sms::DELETE,
    ussd::USSD,
];

impl Function {
    /// Makes a function on `port`. `ussd` is the form of USSD texts, if it is known.
    pub(super) fn new(port: Box<dyn Ask>, ussd: Option<UssdForm>) -> Self {
        Self {
            ussd,
            port,
            connection: Connection::default(),
            indications: VecDeque::new(),
            dialogue: Dialogue::default(),
            late: VecDeque::new(),
            registration_changed: false,
        }
    }

    /// Prepares the port: errors with numbers, and unsolicited result codes of state and registration.
    pub(super) fn begin(&mut self) {
        self.indications.clear();
        self.late.clear();
        self.dialogue = Dialogue::default();
        for line in [
            "AT+CMEE=1",
            "AT^CURC=1",
            "AT+CREG=1",
            "AT+CGREG=1",
            "AT+CEREG=1",
            "AT+CUSD=1",
        ] {
            // A modem that lacks one of them is asked more often instead.
            let _ = self.run(line);
        }
    }

    /// Ends the connection, as CLOSE does with an MBIM modem.
    pub(super) fn end(&mut self) {
        if self.in_ussd() {
            self.end_ussd();
        }
        if self.connection.is_active() {
            let _ = self.hang_up();
        }
    }

    /// Sends a command line and returns the lines of its answer.
    ///
    /// # Errors
    /// [`Refused`] with the meaning of the refusal.
    pub(super) fn run(&mut self, line: &str) -> Result<Vec<String>, Refused> {
        let command = Command::new(line).map_err(|_| Status::INVALID_PARAMETERS)?;
        self.send(command)
    }

    /// Sends a command whose line holds a secret, as [`Function::run`] does.
    pub(super) fn run_secret(&mut self, line: Zeroizing<String>) -> Result<Vec<String>, Refused> {
        self.run(&line)
    }

    pub(super) fn send(&mut self, command: Command) -> Result<Vec<String>, Refused> {
        let answer = self
            .port
            .ask(command)
            .map_err(|failure| match failure.kind {
                FailureKind::Usage => Refused::from(Status::INVALID_PARAMETERS),
                _ => Refused::from(Status::BUSY),
            })?;
        match answer.result {
            Ok(()) => Ok(answer.lines),
            Err(refusal) => {
                let (status, cause) = status::of(&refusal);
                Err(Refused(status, cause))
            }
        }
    }

    /// Sends a query whose answer has a type. An answer that cannot be read counts as none.
    ///
    /// # Errors
    /// Those of [`Function::run`].
    pub(super) fn query<T: Query>(&mut self) -> Result<T, Refused> {
        let lines = self.run(T::COMMAND)?;
        T::parse(&lines).map_err(|_| Status::NO_DEVICE_SUPPORT.into())
    }

    /// Answers a command of the host: its status, and the information buffer. The turns of a USSD
    /// dialogue have [`Function::ussd`].
    pub(super) fn answer(
        &mut self,
        now: Instant,
        id: CidId,
        kind: CommandKind,
        info: &[u8],
    ) -> (Status, Vec<u8>) {
        let set = kind == CommandKind::SET;
        let result = match (id, set) {
            (bc::DEVICE_CAPS, false) => self.capabilities(),
            (bc::SUBSCRIBER_READY_STATUS, false) => self.subscriber(),
            (bc::RADIO_STATE, false) => self.radio(),
            (bc::RADIO_STATE, true) => self.set_radio(info),
            (bc::PIN, false) => self.pin(),
            (bc::PIN, true) => return self.set_pin(info),
            (bc::HOME_PROVIDER, false) => self.home(),
            (bc::VISIBLE_PROVIDERS, false) => self.providers(),
            (bc::REGISTER_STATE, false) => self.registration(),
            (bc::REGISTER_STATE, true) => self.register(info),
            (bc::PACKET_SERVICE, false) => self.packet_service(),
            (bc::PACKET_SERVICE, true) => self.set_packet_service(info),
            (bc::SIGNAL_STATE, _) => self.signal(),
            (bc::CONNECT, false) => self.connection_state(info),
            (bc::CONNECT, true) => return self.connect(now, info),
            (bc::IP_CONFIGURATION, false) => self.addresses(info),
            (bc::DEVICE_SERVICES, false) => Ok(services()),
            // Every known change is indicated, whatever the list says.
            (bc::DEVICE_SERVICE_SUBSCRIBE_LIST, true) => Ok(info.to_vec()),
            (sms::CONFIGURATION, _) => self.sms_configuration(),
            (sms::READ, false) => self.read_sms(info),
            (sms::SEND, true) => self.send_sms(info),
            (sms::DELETE, true) => self.delete_sms(info),
            _ => Err(Status::NO_DEVICE_SUPPORT.into()),
        };
        match result {
            Ok(info) => (Status::NONE, info),
            Err(Refused(status, _)) => (status, Vec::new()),
        }
    }

    /// Handles an unsolicited result code.
    pub(super) fn unsolicited(&mut self, now: Instant, line: &str) {
        match uwwan_at::values::name(line) {
            Some("^NDISSTAT") => self.connection_told(now, line),
            Some("+CREG" | "+CGREG" | "+CEREG" | "^SRVST") => self.registration_changed = true,
            Some("+CMTI") => self.sms_came(line),
            Some("+CUSD") => self.ussd_told(line),
            _ => {}
        }
    }

    /// Handles a notification that the link has changed.
    pub(super) fn link_changed(&mut self, now: Instant) {
        self.connection.look(now);
    }

    /// Returns the time at which [`Function::timeout`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.connection.poll_timeout(), self.dialogue.poll_timeout()];
        due.into_iter().flatten().min()
    }

    /// Takes the step that is due at the time of [`Function::poll_timeout`].
    pub(super) fn timeout(&mut self, now: Instant) {
        self.follow_connection(now);
        self.follow_ussd(now);
    }

    /// Returns the next indication to the host.
    pub(super) fn next_indication(&mut self) -> Option<(CidId, Vec<u8>)> {
        if std::mem::take(&mut self.registration_changed)
            && let Ok(info) = self.registration()
        {
            self.indications.push_back((bc::REGISTER_STATE, info));
        }
        self.indications.pop_front()
    }
}

/// Returns the services of the function.
fn services() -> Vec<u8> {
    let element = |service: uwwan_mbim::uuid::Uuid| DeviceServiceElement {
        device_service_id: service,
        dss_payload: 0,
        max_dss_instances: 0,
        cids: KNOWN
            .iter()
            .filter(|id| id.service == service)
            .map(|id| id.cid)
            .collect(),
    };
    DeviceServices {
        max_dss_sessions: 0,
        device_services: vec![element(bc::UUID), element(sms::UUID), element(ussd::UUID)],
    }
    .encode()
}
