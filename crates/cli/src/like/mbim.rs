//! The control session: commands with their answers, indications, addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uwwan_emulator::rules::{Action, Answer, Rule, State, Trigger};
use uwwan_mbim::fields::Layout;
use uwwan_mbim::message::{Body, CommandKind, Message};
use uwwan_mbim::registry::CidId;
use uwwan_mbim::services::basic_connect::{
    self as basic, ActivationCommand, ConnectInfo, ConnectSet, ContextIpType, DeviceCaps,
    IpConfiguration,
};
use uwwan_mbim::status::Status;

use super::answers::Answers;
use super::modem::Like;

/// Largest number of commands that wait for their answer.
const MOST_WAITING: usize = 1024;
/// Largest number of indications that are repeated.
const MOST_INDICATIONS: usize = 512;
/// Largest number of bytes of these indications.
const MOST_INDICATED: usize = 1 << 20;
/// Time from MBIM_OPEN to its answer, in nanoseconds, from which on the modem is taken for slow.
const SLOW_OPEN: u64 = 20_000_000;
/// Largest number of data sessions whose addresses are kept.
const MOST_SESSIONS: usize = 16;
/// The MTUs in bytes that the emulated network supports.
const MTU: std::ops::RangeInclusive<u32> = 1280..=2048;

/// A command: service and number, kind, and content without the zeros at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    id: CidId,
    kind: CommandKind,
    info: Option<Vec<u8>>,
}

/// The facts about the control session.
#[derive(Debug, Default)]
pub(super) struct Control {
    messages: usize,
    answers: Answers<Question>,
    /// Commands that wait for their answer, by the number of their packet.
    waiting: BTreeMap<u64, Question>,
    /// Time of the first OPEN_DONE in nanoseconds.
    opened: Option<u64>,
    /// Whether the host has begun to end its sessions: indications from here on are effects of
    /// that.
    ending: bool,
    indications: Vec<(u64, CidId, Vec<u8>)>,
    indicated: usize,
    slow_open: u64,
    addresses: Option<IpConfiguration>,
    /// Addresses of other data sessions.
    further: BTreeMap<u8, IpConfiguration>,
    /// Data sessions that were connected.
    connected: BTreeSet<u8>,
    ipv6: bool,
    firmware: Option<DeviceCaps>,
}

fn trimmed(info: &[u8]) -> Vec<u8> {
    let end = info.iter().rposition(|byte| *byte != 0);
    info[..end.map_or(0, |last| last + 1)].to_vec()
}

impl Control {
    /// Adds a message. `answers` is the packet of the command that it answers, and the nanoseconds since.
    pub fn take(
        &mut self,
        bytes: &[u8],
        packet: u64,
        time: u64,
        out: bool,
        answers: Option<(u64, u64)>,
    ) {
        let Ok(message) = Message::decode(bytes) else {
            return;
        };
        self.messages += 1;
        match message.body {
            Body::Command {
                service,
                cid,
                kind,
                info,
            } if out => {
                let id = CidId { service, cid };
                self.ending |= ends(id, kind, &info);
                // A capture has no PIN in it, and the PIN that is entered now is another.
                let any = id == basic::PIN && kind == CommandKind::SET;
                let question = Question {
                    id,
                    kind,
                    info: (!any).then(|| trimmed(&info)),
                };
                if self.waiting.len() == MOST_WAITING {
                    self.waiting.pop_first();
                }
                self.waiting.insert(packet, question);
            }
            Body::Close if out => self.ending = true,
            Body::OpenDone(Status::NONE) if !out => {
                let after = answers.map_or(0, |(_, after)| after);
                self.slow_open = self.slow_open.max(after);
                self.opened.get_or_insert(time);
            }
            Body::CommandDone {
                service,
                cid,
                status,
                info,
            } if !out => {
                let id = CidId { service, cid };
                let asked = answers.and_then(|(packet, after)| {
                    let question = self.waiting.remove(&packet)?;
                    (question.id == id).then_some((question, after))
                });
                if let Some((question, after)) = asked {
                    self.answered(question, status, info, after);
                }
            }
            Body::Indication { service, cid, info } if !out => {
                let id = CidId { service, cid };
                if let Some(opened) = self.opened
                    && !self.ending
                    && !is_own(id, CommandKind::QUERY)
                    && id != basic::IP_CONFIGURATION
                    && self.indications.len() < MOST_INDICATIONS
                    && self.indicated + info.len() <= MOST_INDICATED
                {
                    self.indicated += info.len();
                    let after = time.saturating_sub(opened);
                    self.indications.push((after, id, info));
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, question: Question, status: Status, info: Vec<u8>, after: u64) {
        let Question { id, kind, .. } = question;
        let session = |info: &Option<Vec<u8>>| {
            let first = info.as_ref().and_then(|info| info.first());
            first.copied().unwrap_or(0)
        };
        match (id, kind) {
            (basic::IP_CONFIGURATION, _) => {
                if status == Status::CONTEXT_NOT_ACTIVATED {
                    return;
                }
                let number = session(&question.info);
                if number != 0 {
                    // The active contexts follow from the state of the emulated modem, so its
                    // firmware answers, with these addresses.
                    if let (Status::NONE, Ok(told)) = (status, IpConfiguration::decode_info(&info))
                    {
                        self.ipv6 |= !told.ipv6_address.is_empty();
                        if self.further.len() < MOST_SESSIONS || self.further.contains_key(&number)
                        {
                            self.further.insert(number, told);
                        }
                    }
                    return;
                }
                if let (Status::NONE, Ok(told)) = (status, IpConfiguration::decode_info(&info)) {
                    self.ipv6 |= !told.ipv6_address.is_empty();
                    self.addresses = Some(told);
                }
            }
            (basic::CONNECT, CommandKind::SET) if status.is_success() => {
                self.connected.insert(session(&question.info));
                let told = ConnectInfo::decode_info(&info).map(|told| told.ip_type);
                self.ipv6 |= matches!(
                    told,
                    Ok(ContextIpType::IPV6 | ContextIpType::IPV4V6 | ContextIpType::IPV4_AND_IPV6)
                );
            }
            (basic::DEVICE_CAPS, CommandKind::QUERY) if status.is_success() => {
                self.firmware = DeviceCaps::decode_info(&info).ok();
            }
            _ => {}
        }
        if is_own(id, kind) {
            return;
        }
        let length = info.len() + question.info.as_ref().map_or(0, Vec::len);
        let answer = Answer::Mbim { status, info };
        self.answers.push(question, answer, after, length);
    }

    /// Returns the time in nanoseconds at which the control session was first open.
    pub fn opened(&self) -> Option<u64> {
        self.opened
    }

    /// Returns the number of messages.
    pub fn count(&self) -> usize {
        self.messages
    }

    /// Puts findings into `like` and `found`, and gaps into `missing`.
    pub fn finish(self, like: &mut Like, found: &mut Vec<String>, missing: &mut Vec<String>) {
        match self.answers.count() {
            0 => missing.push("answers to MBIM commands".to_owned()),
            count => found.push(format!("answers to {count} MBIM commands")),
        }
        if !self.indications.is_empty() {
            found.push(format!("{} indications", self.indications.len()));
        }
        let left_out = self.answers.left_out();
        if left_out > 0 {
            like.notes
                .push(format!("{left_out} MBIM answers are too many and left out"));
        }
        if self.slow_open >= SLOW_OPEN {
            let ms = (self.slow_open / 1_000_000).min(60_000);
            like.knobs.push(format!("slow_open_ms={ms}"));
        }
        if let Some(caps) = &self.firmware {
            let sessions = caps.max_sessions.clamp(1, 255);
            like.knobs.push(format!("max_sessions={sessions}"));
            // AT commands return the version, too.
            let text = caps.firmware_info.replace(['\r', '\n'], "\\n");
            like.knobs.push(format!("firmware_info={text}"));
        }
        if self.ipv6 {
            like.knobs.push("ipv6=on".to_owned());
        }
        match &self.addresses {
            None => missing.push("addresses of data session 0".to_owned()),
            Some(told) => like.knobs.extend(addresses(told)),
        }
        let told = further_addresses(&self.further);
        if !told.is_empty() {
            like.knobs.push(format!("session_addresses={told}"));
        }
        let unknown = self
            .connected
            .iter()
            .filter(|number| **number != 0 && !self.further.contains_key(number));
        missing.extend(unknown.map(|number| format!("addresses of data session {number}")));
        like.rules
            .extend(self.answers.rules(|question| Trigger::Mbim {
                service: question.id.service,
                cid: question.id.cid,
                kind: Some(question.kind),
                info: question.info.clone(),
            }));
        like.rules
            .extend(self.indications.into_iter().map(|(after, id, info)| Rule {
                on: Trigger::State(State::Open),
                answer: None,
                actions: vec![Action::Indicate {
                    service: id.service,
                    cid: id.cid,
                    info,
                }],
                after: Duration::from_millis(after / 1_000_000),
                times: None,
            }));
    }
}

/// Returns whether the answer to a command follows from the state of the emulated modem.
fn is_own(id: CidId, kind: CommandKind) -> bool {
    let query = kind == CommandKind::QUERY;
    query && (id == basic::CONNECT || id == basic::PACKET_STATISTICS)
}

/// Returns whether the host ends a data session with a command.
fn ends(id: CidId, kind: CommandKind, info: &[u8]) -> bool {
    id == basic::CONNECT
        && kind == CommandKind::SET
        && ConnectSet::decode_info(info)
            .is_ok_and(|set| set.activation_command == ActivationCommand::DEACTIVATE)
}

/// Returns the addresses of other data sessions than 0, in the form of the knob.
fn further_addresses(told: &BTreeMap<u8, IpConfiguration>) -> String {
    let one = |number: u8, address: String, gateway: Option<String>| {
        let gateway = gateway.map(|gateway| format!("-{gateway}"));
        format!("{number}:{address}{}", gateway.unwrap_or_default())
    };
    let mut all = Vec::new();
    for (number, told) in told {
        all.extend(told.ipv4_address.first().map(|own| {
            let gateway = told.ipv4_gateway.map(|gateway| gateway.to_string());
            one(*number, own.ipv4_address.to_string(), gateway)
        }));
        all.extend(told.ipv6_address.first().map(|own| {
            let gateway = told.ipv6_gateway.map(|gateway| gateway.to_string());
            one(*number, own.ipv6_address.to_string(), gateway)
        }));
    }
    all.join("+")
}

/// Returns the knobs of the addresses of data session 0.
fn addresses(told: &IpConfiguration) -> Vec<String> {
    let mut knobs = Vec::new();
    if let Some(own) = told.ipv4_address.first() {
        knobs.push(format!("ipv4_address={}", own.ipv4_address));
        knobs.push(format!("ipv4_prefix={}", own.on_link_prefix_length.min(32)));
        knobs.extend(
            told.ipv4_gateway
                .map(|gateway| format!("ipv4_gateway={gateway}")),
        );
        let dns = told.ipv4_dns_server.first();
        knobs.extend(dns.map(|server| format!("ipv4_dns={server}")));
    }
    if let Some(own) = told.ipv6_address.first() {
        knobs.push(format!("ipv6_address={}", own.ipv6_address));
        knobs.push(format!(
            "ipv6_prefix={}",
            own.on_link_prefix_length.min(128)
        ));
        knobs.extend(
            told.ipv6_gateway
                .map(|gateway| format!("ipv6_gateway={gateway}")),
        );
        let dns = told.ipv6_dns_server.first();
        knobs.extend(dns.map(|server| format!("ipv6_dns={server}")));
    }
    let mtu = [told.ipv4_mtu, told.ipv6_mtu];
    let mtu = mtu.into_iter().find(|mtu| MTU.contains(mtu));
    knobs.extend(mtu.map(|mtu| format!("mtu={mtu}")));
    knobs
}
