//! Reads knobs and rules from TOML.
//!
//! ```toml
//! [knobs]
//! signal = 9
//! pin = "1234"
//!
//! [[rule]]                                  # a line on an AT port
//! at = "AT+CSQ"
//! answer = ["+CSQ: 3,99", "OK"]
//! after_ms = 200
//! times = 2                                 # then the firmware answers again
//!
//! [[rule]]                                  # an MBIM command
//! mbim = { service = "basic_connect", cid = "signal_state", kind = "query" }
//! status = "busy"
//! info = "15000000 63000000"                # hexadecimal; or silent = true
//!
//! [[rule]]                                  # a class or vendor request
//! request = { kind = 0xa1, request = 0x80 }
//! stall = true                              # or bytes = "1c00…", or accept = true
//!
//! [[rule]]                                  # an event
//! when = { ntbs_out = 1000 }                # or ntbs_in, time_ms, state = "connected"
//! set = { signal = 31 }
//! do = "reset"                              # or "unplug", "replug"
//!
//! [[rule]]
//! when = { state = "open" }
//! after_ms = 500
//! indicate = { service = "basic_connect", cid = "signal_state", info = "…" }
//! tell = "^RSSI: 31"                        # an unsolicited result code
//! ```
//!
//! A rule for a request may have `set`, `do`, `indicate` and `tell`, too. Without `times`, a rule
//! is taken each time; one for NTBs or a time is taken once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::{Spanned, Value};
use uwwan_mbim::message::CommandKind;
use uwwan_mbim::registry::{self, Service};
use uwwan_mbim::status::Status;
use uwwan_mbim::uuid::Uuid;

use super::{Action, Answer, MOST_RULES, Rule, State, Trigger};
use crate::knobs::Knobs;

/// Length of the longest text that is read, in bytes.
pub const LONGEST: usize = 1 << 20;
/// Longest time that a rule may name, in milliseconds: a day.
const LONGEST_TIME: u64 = 86_400_000;

/// Reason why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct FileError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// Description of the fault.
    pub what: String,
}

/// Content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Assignments of knobs, as `name=value`.
    pub knobs: Vec<String>,
    /// Rules in their order.
    pub rules: Vec<Rule>,
}

/// Offset in bytes of a fault, and its description.
type Fault = (usize, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    knobs: Assignments,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

/// Knobs with their values.
type Assignments = BTreeMap<Spanned<String>, Spanned<Value>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    at: Option<String>,
    mbim: Option<MbimText>,
    request: Option<RequestText>,
    when: Option<Spanned<WhenText>>,
    answer: Option<Vec<String>>,
    status: Option<Spanned<Word>>,
    info: Option<Spanned<String>>,
    bytes: Option<Spanned<String>>,
    #[serde(default)]
    accept: bool,
    #[serde(default)]
    stall: bool,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    set: Assignments,
    #[serde(rename = "do")]
    act: Option<Act>,
    indicate: Option<IndicateText>,
    tell: Option<String>,
    after_ms: Option<Spanned<u64>>,
    times: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MbimText {
    service: Spanned<String>,
    cid: Spanned<Word>,
    kind: Option<KindText>,
    info: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestText {
    kind: u8,
    request: u8,
    value: Option<u16>,
    index: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhenText {
    ntbs_out: Option<u64>,
    ntbs_in: Option<u64>,
    time_ms: Option<u64>,
    state: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndicateText {
    service: Spanned<String>,
    cid: Spanned<Word>,
    #[serde(default)]
    info: Option<Spanned<String>>,
}

/// A name or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(u32),
    Name(String),
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => name.clone(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindText {
    Query,
    Set,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    Reset,
    Unplug,
    Replug,
}

/// Reads knobs and rules.
///
/// # Errors
/// Returns a [`FileError`] for a text that is too long, no TOML, or invalid.
pub fn parse(text: &str) -> Result<Content, FileError> {
    let fail = |(at, what): Fault| {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        FileError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
        }
    };
    if text.len() > LONGEST {
        return Err(fail((
            0,
            format!("the text is longer than {LONGEST} bytes"),
        )));
    }
    let read: Text = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        fail((at, error.message().trim().to_owned()))
    })?;
    if let Some(over) = read.rule.get(MOST_RULES) {
        let what = format!("there are more than {MOST_RULES} rules");
        return Err(fail((over.span().start, what)));
    }
    let knobs = assignments(read.knobs).map_err(fail)?;
    let rules = read.rule.into_iter().map(|text| {
        let at = text.span().start;
        rule(at, text.into_inner())
    });
    Ok(Content {
        knobs,
        rules: rules.collect::<Result<_, _>>().map_err(fail)?,
    })
}

/// Returns knobs as `name=value`, each of which was checked.
fn assignments(texts: Assignments) -> Result<Vec<String>, Fault> {
    let mut all = Vec::new();
    for (name, value) in texts {
        let at = name.span().start;
        let value = match value.into_inner() {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(on) => if on { "on" } else { "off" }.to_owned(),
            other => {
                let kind = other.type_str();
                return Err((at, format!("knob {}: a {kind} is no value", name.get_ref())));
            }
        };
        let assignment = format!("{}={value}", name.get_ref());
        let checked = Knobs::default().assign(&assignment);
        checked.map_err(|error| (at, error.to_string()))?;
        all.push(assignment);
    }
    Ok(all)
}

fn hex(text: Option<Spanned<String>>) -> Result<Option<Vec<u8>>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let at = text.span().start;
    let digits: Vec<u8> = text
        .get_ref()
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let wrong = || {
        (
            at,
            "expected bytes in hexadecimal, two digits each".to_owned(),
        )
    };
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pairs = digits.chunks_exact(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok();
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        text.and_then(|text| u8::from_str_radix(text, 16).ok())
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes.map(Some).ok_or_else(wrong)
}

/// Returns the service and the number of the command with these names.
fn command(service: &Spanned<String>, cid: &Spanned<Word>) -> Result<(Uuid, u32), Fault> {
    let known = registry::service_named(service.get_ref());
    let uuid = match known {
        Some(known) => known.uuid,
        None => service.get_ref().parse().map_err(|_| {
            let names = registry::services().iter().map(|one| one.name);
            let names: Vec<&str> = names.collect();
            let what = format!(
                "{:?} is neither a UUID nor one of {}",
                service.get_ref(),
                names.join(", ")
            );
            (service.span().start, what)
        })?,
    };
    let number = match cid.get_ref() {
        Word::Number(number) => *number,
        Word::Name(name) => number_of(known, name).ok_or_else(|| {
            (
                cid.span().start,
                format!("the service has no command {name:?}"),
            )
        })?,
    };
    Ok((uuid, number))
}

fn number_of(service: Option<&Service>, name: &str) -> Option<u32> {
    service?.cid_named(name).map(|cid| cid.number)
}

fn time(at: usize, ms: u64) -> Result<Duration, Fault> {
    if ms > LONGEST_TIME {
        return Err((at, format!("expected at most {LONGEST_TIME} milliseconds")));
    }
    Ok(Duration::from_millis(ms))
}

fn rule(at: usize, text: RuleText) -> Result<Rule, Fault> {
    let wrong = |what: &str| (at, what.to_owned());
    let info = hex(text.info)?;
    let bytes = hex(text.bytes)?;
    let status = match &text.status {
        None => None,
        Some(status) => Some(status.get_ref().text().parse::<Status>().map_err(|_| {
            let what = format!("there is no MBIM status {:?}", status.get_ref().text());
            (status.span().start, what)
        })?),
    };
    let (on, answer) = match (text.at, text.mbim, text.request, text.when) {
        (Some(line), None, None, None) => {
            if status.is_some() || info.is_some() || bytes.is_some() || text.stall || text.accept {
                return Err(wrong("a rule of an AT line has answer or silent"));
            }
            let answer = text.answer.map(|lines| {
                let lines = lines.iter().map(|line| format!("\r\n{line}\r\n"));
                Answer::At(lines.collect())
            });
            (Trigger::At(line), answer)
        }
        (None, Some(wanted), None, None) => {
            if text.answer.is_some() || bytes.is_some() || text.stall || text.accept {
                return Err(wrong(
                    "a rule of an MBIM command has status and info, or silent",
                ));
            }
            let (service, cid) = command(&wanted.service, &wanted.cid)?;
            let on = Trigger::Mbim {
                service,
                cid,
                kind: wanted.kind.map(|kind| match kind {
                    KindText::Query => CommandKind::QUERY,
                    KindText::Set => CommandKind::SET,
                }),
                info: hex(wanted.info)?,
            };
            let answer = (status.is_some() || info.is_some()).then(|| Answer::Mbim {
                status: status.unwrap_or(Status::NONE),
                info: info.unwrap_or_default(),
            });
            (on, answer)
        }
        (None, None, Some(wanted), None) => {
            let given = [bytes.is_some(), text.stall, text.accept];
            let given = given.into_iter().filter(|given| *given).count();
            if given > 1 || text.answer.is_some() || status.is_some() || text.silent {
                return Err(wrong(
                    "a rule of a request has one of bytes, accept and stall",
                ));
            }
            if wanted.kind & 0x60 == 0 {
                return Err(wrong("standard requests are the USB device's own"));
            }
            let is_in = wanted.kind & 0x80 != 0;
            if (is_in && text.accept) || (!is_in && bytes.is_some()) {
                return Err(wrong(
                    "bytes answer a request towards the host, accept one towards the device",
                ));
            }
            let answer = match bytes {
                Some(bytes) => Some(Answer::Bytes(bytes)),
                None if text.accept => Some(Answer::Accept),
                None => text.stall.then_some(Answer::Stall),
            };
            let on = Trigger::Request {
                kind: wanted.kind,
                request: wanted.request,
                value: wanted.value,
                index: wanted.index,
            };
            (on, answer)
        }
        (None, None, None, Some(when)) => {
            let answers = text.answer.is_some() || status.is_some() || info.is_some();
            if answers || bytes.is_some() || text.stall || text.accept || text.silent {
                return Err(wrong("an event has no answer"));
            }
            (event(when)?, None)
        }
        _ => return Err(wrong("a rule has one of at, mbim, request and when")),
    };
    let answer = match (answer, text.silent) {
        (Some(_), true) => return Err(wrong("a rule answers, or is silent")),
        (None, true) => Some(Answer::Silence),
        (answer, false) => answer,
    };
    let mut actions = Vec::new();
    for assignment in assignments(text.set)? {
        let checked = Knobs::default().turn(&assignment);
        checked.map_err(|error| (at, error.to_string()))?;
        actions.push(Action::Turn(assignment));
    }
    if let Some(wanted) = text.indicate {
        let (service, cid) = command(&wanted.service, &wanted.cid)?;
        let info = hex(wanted.info)?.unwrap_or_default();
        actions.push(Action::Indicate { service, cid, info });
    }
    actions.extend(text.tell.map(Action::Tell));
    actions.extend(text.act.map(|act| match act {
        Act::Reset => Action::Reset,
        Act::Unplug => Action::Unplug,
        Act::Replug => Action::Replug,
    }));
    if answer.is_none() && actions.is_empty() {
        return Err(wrong("the rule neither answers nor does anything"));
    }
    let after = match text.after_ms {
        Some(ms) => time(ms.span().start, *ms.get_ref())?,
        None => Duration::ZERO,
    };
    let times = match text.times {
        Some(times) if *times.get_ref() == 0 => {
            return Err((times.span().start, "expected at least once".to_owned()));
        }
        Some(times) => Some(times.into_inner()),
        None => match on {
            Trigger::NtbsOut(_) | Trigger::NtbsIn(_) | Trigger::Time(_) => Some(1),
            _ => None,
        },
    };
    Ok(Rule {
        on,
        answer,
        actions,
        after,
        times,
    })
}

fn event(text: Spanned<WhenText>) -> Result<Trigger, Fault> {
    let at = text.span().start;
    let some = |number: u64, on: fn(u64) -> Trigger| match number {
        0 => Err((at, "expected at least one NTB".to_owned())),
        number => Ok(on(number)),
    };
    let when = text.into_inner();
    match (when.ntbs_out, when.ntbs_in, when.time_ms, when.state) {
        (Some(count), None, None, None) => some(count, Trigger::NtbsOut),
        (None, Some(count), None, None) => some(count, Trigger::NtbsIn),
        (None, None, Some(0), None) => Err((at, "expected at least a millisecond".to_owned())),
        (None, None, Some(ms), None) => Ok(Trigger::Time(time(at, ms)?)),
        (None, None, None, Some(word)) => {
            let mut states = State::WORDS.iter();
            let known = states.find(|(known, _)| known == word.get_ref());
            known
                .map(|(_, state)| Trigger::State(*state))
                .ok_or_else(|| {
                    let words: Vec<&str> = State::WORDS.iter().map(|(word, _)| *word).collect();
                    let what = format!("{:?} is none of {}", word.get_ref(), words.join(", "));
                    (word.span().start, what)
                })
        }
        _ => Err((
            at,
            "expected one of ntbs_out, ntbs_in, time_ms and state".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the example in the documentation of this file, which is also the one that people
    /// copy.
    fn example() -> String {
        let lines = include_str!("file.rs").lines();
        let lines = lines.map_while(|line| line.strip_prefix("//!"));
        let inside = lines.skip_while(|line| !line.contains("```toml")).skip(1);
        let inside = inside.take_while(|line| !line.contains("```"));
        let text: Vec<String> = inside.map(|line| line.replace('…', "")).collect();
        text.join("\n")
    }

    #[test]
    fn the_documented_example_is_read() {
        let content = parse(&example()).unwrap();
        assert_eq!(content.knobs, ["pin=1234", "signal=9"]);
        assert_eq!(content.rules.len(), 5);
        let first = &content.rules[0];
        assert_eq!(first.on, Trigger::At("AT+CSQ".into()));
        let said = "\r\n+CSQ: 3,99\r\n\r\nOK\r\n".to_owned();
        assert_eq!(first.answer, Some(Answer::At(said)));
        assert_eq!(first.after, Duration::from_millis(200));
        assert_eq!(first.times, Some(2));
        let Some(Answer::Mbim { status, info }) = &content.rules[1].answer else {
            panic!("{:?}", content.rules[1]);
        };
        assert_eq!((*status, info.len()), (Status::BUSY, 8));
        assert_eq!(content.rules[2].answer, Some(Answer::Stall));
        assert_eq!(content.rules[3].on, Trigger::NtbsOut(1000));
        assert_eq!(content.rules[3].times, Some(1));
        let turned = Action::Turn("signal=31".into());
        assert_eq!(content.rules[3].actions, [turned, Action::Reset]);
        assert_eq!(content.rules[4].actions.len(), 2);
    }

    #[test]
    fn a_fault_has_its_place() {
        for (text, line, column, what) in [
            ("[knobs]\ncolour = 1", 2, 1, "no knob named"),
            ("[knobs]\npin = 1.5", 2, 1, "a float is no value"),
            ("[knobs]\nsignal = 300", 2, 1, "from 0 to 99"),
            ("x = 1", 1, 1, "unknown field"),
            ("[[rule]]\nat = \"AT\"", 1, 1, "neither answers"),
            ("[[rule]]\nat = \"AT\"\nmbim = 3", 3, 8, "invalid type"),
            (
                "[[rule]]\nat = \"AT\"\nanswer = [\"OK\"]\ntimes = 0",
                4,
                9,
                "at least once",
            ),
            ("[[rule]]\nat = \"AT\"\nstall = true", 1, 1, "an AT line"),
            (
                "[[rule]]\nmbim = { service = \"sms\", cid = \"nothing\" }\nstatus = 2",
                2,
                33,
                "no command",
            ),
            (
                "[[rule]]\nmbim = { service = \"x\", cid = 1 }\nstatus = 2",
                2,
                20,
                "neither a UUID",
            ),
            (
                "[[rule]]\nmbim = { service = \"sms\", cid = 1 }\nstatus = \"odd\"",
                3,
                10,
                "no MBIM status",
            ),
            (
                "[[rule]]\nrequest = { kind = 0x80, request = 6 }\nbytes = \"00\"",
                1,
                1,
                "standard requests",
            ),
            (
                "[[rule]]\nrequest = { kind = 0xa1, request = 6 }\nbytes = \"0g\"",
                3,
                9,
                "hexadecimal",
            ),
            (
                "[[rule]]\nwhen = { state = \"asleep\" }\ndo = \"reset\"",
                2,
                18,
                "none of configured",
            ),
            (
                "[[rule]]\nwhen = {}\ndo = \"reset\"",
                2,
                8,
                "expected one of",
            ),
            (
                "[[rule]]\nwhen = { time_ms = 5 }\nset = { host_drivers = \"none\" }",
                1,
                1,
                "cannot be changed",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(what), "{text}: {error}");
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
        }
        let long = "#".repeat(LONGEST + 1);
        assert!(parse(&long).unwrap_err().what.contains("longer than"));
    }
}
