//! USSD by `+CUSD` (3GPP TS 27.007, 7.15).
//!
//! The modem's OK says that the text is on its way. What the network answers comes by itself, in seconds
//! or never, so the host's command waits for it, and nothing else does.
//!
//! Texts stand in the command in one of two forms. The standard has text in the character set of `+CSCS`.
//! Huawei's modems start with the octets of the coding instead, GSM 7-bit packed, in hexadecimal digits
//! (`^USSDMODE: 1`). The modem is asked which one is set, and it stays as it is, because it outlasts a
//! restart. Where `^USSDMODE` is not known, text is tried first: a modem that wants octets refuses a code,
//! whose `*` and `#` are no digits, but one that wants text would pass the digits on to the network. What the
//! modem refuses is said once more in the other form. Where a row of the quirk table names the form, there is
//! neither question nor second form. In both, what is not GSM 7-bit is octets.

use std::time::{Duration, Instant};

use uwwan_at::values::{Values, after};
use uwwan_mbim::gsm::coding::{Alphabet, from_ucs2, from_ussd, to_ussd, ussd_alphabet};
use uwwan_mbim::services::ussd::{USSD, Ussd, UssdAction, UssdResponse, UssdSessionState, UssdSet};
use uwwan_mbim::status::Status;

use super::dialogue::{Form, Late, Waiting};
use super::function::{Function, Refused};
use super::messages::{bytes, hexadecimal};
use crate::options::UssdForm;

/// Time that the network has to answer: less than the program waits for the answer of its command.
const PATIENCE: Duration = Duration::from_secs(100);
/// Longest text in characters that an answer can have: what 160 octets hold, GSM 7-bit packed.
const LONGEST: usize = 182;
/// Data coding scheme of an answer that names none: GSM 7-bit.
const UNSTATED: u8 = 0x0f;

impl Function {
    /// Carries out a turn of the dialogue. `None` while the network has to answer; what it says is the
    /// answer then ([`Function::next_late`]).
    pub(super) fn ussd(
        &mut self,
        now: Instant,
        transaction: u32,
        info: &[u8],
    ) -> Option<(Status, Vec<u8>)> {
        let refused = |status| Some((status, Vec::new()));
        let Ok(wanted) = UssdSet::decode(info) else {
            return refused(Status::INVALID_PARAMETERS);
        };
        let busy = self.dialogue.waiting.is_some();
        match (wanted.action, self.dialogue.asked) {
            (UssdAction::CANCEL, _) => {
                let existing = self.dialogue.existing();
                self.end_ussd();
                let info = said(UssdResponse::TERMINATED_BY_NETWORK, existing, UNSTATED, &[]);
                return Some((Status::NONE, info));
            }
            (UssdAction::INITIATE, true) => {
                let existing = self.dialogue.existing();
                let info = said(UssdResponse::OTHER_LOCAL_CLIENT, existing, UNSTATED, &[]);
                return Some((Status::NONE, info));
            }
            (UssdAction::INITIATE | UssdAction::CONTINUE, _) if busy => {
                return refused(Status::BUSY);
            }
            (UssdAction::INITIATE, false) | (UssdAction::CONTINUE, true) => {}
            (UssdAction::CONTINUE, false) => return refused(Status::OPERATION_NOT_ALLOWED),
            _ => return refused(Status::INVALID_PARAMETERS),
        }
        self.dialogue.waiting = Some(Waiting {
            transaction,
            until: now + PATIENCE,
        });
        match self.say(&wanted) {
            Ok(lines) => {
                // Some firmware says OK behind the network's answer.
                for line in lines {
                    self.ussd_told(&line);
                }
                None
            }
            Err(Refused(status, _)) => {
                self.dialogue.waiting = None;
                refused(status)
            }
        }
    }

    /// Sends a text, in the other form too when the first is refused.
    fn say(&mut self, wanted: &UssdSet) -> Result<Vec<String>, Refused> {
        let first = match self.dialogue.form {
            Some(form) => form,
            None => self.form(),
        };
        let told = self.say_in(first, wanted);
        let form_is_doubtful = matches!(
            told,
            Err(Refused(
                Status::FAILURE | Status::NO_DEVICE_SUPPORT | Status::INVALID_PARAMETERS,
                _
            ))
        );
        if !form_is_doubtful || self.ussd.is_some() {
            if told.is_ok() {
                self.dialogue.form = Some(first);
            }
            return told;
        }
        let other = match first {
            Form::Octets => self.text_form(),
            Form::Text { .. } => Form::Octets,
        };
        match self.say_in(other, wanted) {
            Ok(lines) => {
                self.dialogue.form = Some(other);
                Ok(lines)
            }
            // It was not the form.
            Err(_) => told,
        }
    }

    fn say_in(&mut self, form: Form, wanted: &UssdSet) -> Result<Vec<String>, Refused> {
        let invalid = Status::INVALID_PARAMETERS;
        let scheme = u8::try_from(wanted.data_coding_scheme).map_err(|_| invalid)?;
        let text = match form {
            Form::Text { ucs2 } if ussd_alphabet(scheme) == Alphabet::Gsm7 => {
                let text = from_ussd(scheme, &wanted.payload).ok_or(invalid)?;
                match ucs2 {
                    true => {
                        let units = text.encode_utf16().flat_map(u16::to_be_bytes);
                        hexadecimal(&units.collect::<Vec<_>>())
                    }
                    false => text,
                }
            }
            _ => hexadecimal(&wanted.payload),
        };
        // A quotation mark would end the parameter; AT has no way to write one.
        if !text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"')
        {
            return Err(invalid.into());
        }
        self.run(&format!("AT+CUSD=1,\"{text}\",{scheme}"))
    }

    /// Returns the form that the quirk table names, or the one that the modem is set to.
    fn form(&mut self) -> Form {
        match self.ussd {
            Some(UssdForm::Octets) => return Form::Octets,
            Some(UssdForm::Text) => return self.text_form(),
            None => {}
        }
        let mode = self.run("AT^USSDMODE?").ok().and_then(|lines| {
            lines
                .iter()
                .find_map(|line| Values::new(after(line, "^USSDMODE")?).number::<u8>())
        });
        match mode {
            Some(1) => Form::Octets,
            _ => self.text_form(),
        }
    }

    fn text_form(&mut self) -> Form {
        let lines = self.run("AT+CSCS?").unwrap_or_default();
        let mut sets = lines.iter().filter_map(|line| after(line, "+CSCS"));
        Form::Text {
            ucs2: sets.any(|set| Values::new(set).text().eq_ignore_ascii_case("UCS2")),
        }
    }

    /// Takes `+CUSD`: the result, and the text with its coding.
    pub(super) fn ussd_told(&mut self, line: &str) {
        let Some(mut values) = after(line, "+CUSD").map(Values::new) else {
            return;
        };
        let Some(response) = values.number().map(UssdResponse) else {
            return;
        };
        let text = values.text();
        let scheme = values.number().unwrap_or(UNSTATED);
        if self.dialogue.form.is_none() && !text.is_empty() {
            // The network speaks first.
            self.dialogue.form = Some(self.form());
        }
        let existing = self.dialogue.existing();
        self.dialogue.asked = match response {
            UssdResponse::ACTION_REQUIRED => true,
            UssdResponse::OTHER_LOCAL_CLIENT => self.dialogue.asked,
            _ => false,
        };
        let (scheme, payload) = match self.dialogue.form {
            Some(Form::Text { ucs2 }) if ussd_alphabet(scheme) == Alphabet::Gsm7 => {
                let octets = ucs2.then(|| bytes(text)).flatten();
                coded(&octets.map_or_else(|| text.to_owned(), |octets| from_ucs2(&octets)))
            }
            // What is no octets can only be text.
            _ => bytes(text).map_or_else(|| coded(text), |octets| (scheme, octets)),
        };
        let info = said(response, existing, scheme, &payload);
        match self.dialogue.waiting.take() {
            Some(Waiting { transaction, .. }) => self.late.push_back(Late { transaction, info }),
            None => self.indications.push_back((USSD, info)),
        }
    }

    /// Gives a network up that has not answered.
    pub(super) fn follow_ussd(&mut self, now: Instant) {
        let due = self.dialogue.poll_timeout().is_some_and(|at| at <= now);
        if due && let Some(Waiting { transaction, .. }) = self.dialogue.waiting.take() {
            let existing = self.dialogue.existing();
            let info = said(UssdResponse::NETWORK_TIMEOUT, existing, UNSTATED, &[]);
            self.late.push_back(Late { transaction, info });
            self.end_ussd();
        }
    }

    /// Ends the dialogue, if there is one. A command that waits is answered.
    pub(super) fn end_ussd(&mut self) {
        let existing = self.dialogue.existing();
        // A modem without a dialogue refuses that, and one of another program may be left over.
        let _ = self.run("AT+CUSD=2");
        self.dialogue.asked = false;
        if let Some(Waiting { transaction, .. }) = self.dialogue.waiting.take() {
            let info = said(UssdResponse::TERMINATED_BY_NETWORK, existing, UNSTATED, &[]);
            self.late.push_back(Late { transaction, info });
        }
    }

    /// Returns whether a dialogue is under way.
    pub(super) fn in_ussd(&self) -> bool {
        self.dialogue.asked || self.dialogue.waiting.is_some()
    }

    /// Returns the next answer to a command that has waited; its service and CID are those of USSD.
    pub(super) fn next_late(&mut self) -> Option<Late> {
        self.late.pop_front()
    }
}

/// Returns the information buffer of what was said.
fn said(
    response: UssdResponse,
    session_state: UssdSessionState,
    scheme: u8,
    payload: &[u8],
) -> Vec<u8> {
    Ussd {
        response,
        session_state,
        data_coding_scheme: scheme.into(),
        payload: payload.to_vec(),
    }
    .encode()
}

/// Codes a text for the host. What is longer than a USSD text can be is cut off.
fn coded(text: &str) -> (u8, Vec<u8>) {
    let mut text: String = text.chars().take(LONGEST).collect();
    loop {
        if let Some(coded) = to_ussd(&text) {
            return coded;
        }
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use uwwan_at::failure::{Cme, Code, Failure as Refusal};

    use super::super::tests::{Said, Script};
    use super::*;

    /// Codes of the test, in the octets of GSM 7-bit.
    const CODE: &str = "*101#";
    const CODE_OCTETS: &str = "AA182C3602";

    fn turn(action: UssdAction, text: &str) -> Vec<u8> {
        let (scheme, payload) = to_ussd(text).unwrap();
        UssdSet {
            action,
            data_coding_scheme: scheme.into(),
            payload,
        }
        .encode()
    }

    fn begin(text: &str) -> Vec<u8> {
        turn(UssdAction::INITIATE, text)
    }

    /// Returns transaction, result, state and text of the answer that came late.
    fn late(function: &mut Function) -> (u32, UssdResponse, UssdSessionState, String) {
        let Late { transaction, info } = function.next_late().expect("an answer");
        let (response, state, text) = read(&info);
        (transaction, response, state, text)
    }

    fn read(info: &[u8]) -> (UssdResponse, UssdSessionState, String) {
        let told = Ussd::decode(info).unwrap();
        let scheme = u8::try_from(told.data_coding_scheme).unwrap();
        let text = from_ussd(scheme, &told.payload).unwrap();
        (told.response, told.session_state, text)
    }

    fn refused() -> Said {
        Err(Refusal::Cme(Cme(Code::Number(304))))
    }

    #[test]
    fn octets_are_said_to_a_modem_that_wants_them() {
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let script = Script::new(&[
            ("AT^USSDMODE?", Ok("^USSDMODE: 1")),
            (&octets, Ok("")),
            ("AT+CUSD=1,\"31\",15", Ok("")),
        ]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 7, &begin(CODE)), None);
        assert_eq!(script.asked(), ["AT^USSDMODE?", &octets]);
        assert_eq!(function.next_late(), None);
        // Text that could be digits is octets all the same: "hellohello".
        function.unsolicited(now, "+CUSD: 1,\"E8329BFD4697D9EC37\",15");
        assert_eq!(
            late(&mut function),
            (
                7,
                UssdResponse::ACTION_REQUIRED,
                UssdSessionState::NEW_SESSION,
                "hellohello".to_owned()
            )
        );
        // One dialogue at a time, and it goes on.
        let (status, info) = function.ussd(now, 8, &begin(CODE)).unwrap();
        assert_eq!(status, Status::NONE);
        assert_eq!(read(&info).0, UssdResponse::OTHER_LOCAL_CLIENT);
        assert_eq!(
            function.ussd(now, 9, &turn(UssdAction::CONTINUE, "1")),
            None
        );
        let busy = function.ussd(now, 10, &turn(UssdAction::CONTINUE, "1"));
        assert_eq!(busy, Some((Status::BUSY, Vec::new())));
        function.unsolicited(now, "+CUSD: 0,\"0411043B04300433043E\",72");
        assert_eq!(
            late(&mut function),
            (
                9,
                UssdResponse::NO_ACTION_REQUIRED,
                UssdSessionState::EXISTING_SESSION,
                "Благо".to_owned()
            )
        );
        let none = function.ussd(now, 11, &turn(UssdAction::CONTINUE, "1"));
        assert_eq!(none, Some((Status::OPERATION_NOT_ALLOWED, Vec::new())));
    }

    #[test]
    fn text_is_said_to_a_modem_that_wants_it() {
        let text = format!("AT+CUSD=1,\"{CODE}\",15");
        let script = Script::new(&[
            ("AT^USSDMODE?", Ok("^USSDMODE: 0")),
            ("AT+CSCS?", Ok("+CSCS: \"IRA\"")),
            (&text, Ok("")),
            ("AT+CUSD=1,\"04110430043B\",72", Ok("")),
        ]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 1, &begin(CODE)), None);
        // Digits are text here.
        function.unsolicited(now, "+CUSD: 0,\"1234\",15");
        assert_eq!(late(&mut function).3, "1234");
        assert_eq!(function.ussd(now, 2, &begin(CODE)), None);
        function.unsolicited(now, "+CUSD: 1,\"1 Balance\r\n2 Data\",15");
        assert_eq!(late(&mut function).3, "1 Balance\r\n2 Data");
        let answer = turn(UssdAction::CONTINUE, "Бал");
        assert_eq!(function.ussd(now, 3, &answer), None);
        function.unsolicited(now, "+CUSD: 0,\"0411043B0430\",72");
        assert_eq!(late(&mut function).3, "Бла");
        // What cannot stand in an AT command is not sent.
        script.asked();
        let (status, _) = function.ussd(now, 4, &begin("*1\"#")).unwrap();
        assert_eq!(status, Status::INVALID_PARAMETERS);
        assert!(script.asked().iter().all(|line| !line.contains("1\"#")));
    }

    #[test]
    fn text_is_ucs2_where_the_character_set_says_so() {
        let script = Script::new(&[
            ("AT^USSDMODE?", Ok("^USSDMODE: 0")),
            ("AT+CSCS?", Ok("+CSCS: \"UCS2\"")),
            ("AT+CUSD=1,\"002A0031003000310023\",15", Ok("")),
        ]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 1, &begin(CODE)), None);
        function.unsolicited(now, "+CUSD: 0,\"00480069\",15");
        assert_eq!(late(&mut function).3, "Hi");
    }

    #[test]
    fn a_known_form_is_neither_asked_for_nor_doubted() {
        let text = format!("AT+CUSD=1,\"{CODE}\",15");
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let now = Instant::now();
        // The modem tells one form and takes, or refuses, the other.
        let script = Script::new(&[
            ("AT^USSDMODE?", Ok("^USSDMODE: 0")),
            (&octets, Ok("")),
            (&text, refused()),
        ]);
        let mut function = Function::new(Box::new(script.clone()), Some(UssdForm::Octets));
        assert_eq!(function.ussd(now, 1, &begin(CODE)), None);
        assert_eq!(script.asked(), [octets.as_str()]);
        let mut function = Function::new(Box::new(script.clone()), Some(UssdForm::Text));
        let (status, _) = function.ussd(now, 1, &begin(CODE)).unwrap();
        assert_eq!(status, Status::FAILURE);
        assert_eq!(script.asked(), ["AT+CSCS?", &text]);
    }

    #[test]
    fn the_form_is_found_where_the_modem_does_not_tell_it() {
        let text = format!("AT+CUSD=1,\"{CODE}\",15");
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let script = Script::new(&[(&octets, Ok("")), (&text, refused())]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 1, &begin(CODE)), None);
        assert_eq!(script.asked(), ["AT^USSDMODE?", "AT+CSCS?", &text, &octets]);
        function.unsolicited(now, "+CUSD: 0,\"E8329BFD4697D9EC37\",15");
        assert_eq!(late(&mut function).3, "hellohello");
        // It is remembered.
        assert_eq!(function.ussd(now, 2, &begin(CODE)), None);
        assert_eq!(script.asked(), [octets.as_str()]);
        // What neither form helps with is refused as at first.
        let script = Script::new(&[(&text, refused())]);
        let (status, info) = script.function().ussd(now, 1, &begin(CODE)).unwrap();
        assert_eq!((status, info), (Status::FAILURE, Vec::new()));
        // What has nothing to do with the form is not tried again.
        let pin = Err(Refusal::Cme(Cme(Code::Number(11))));
        let script = Script::new(&[(&text, pin)]);
        let (status, _) = script.function().ussd(now, 1, &begin(CODE)).unwrap();
        assert_eq!(status, Status::PIN_REQUIRED);
        assert_eq!(script.asked(), ["AT^USSDMODE?", "AT+CSCS?", &text]);
    }

    #[test]
    fn an_answer_before_the_ok_is_the_answer() {
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let script = Script::new(&[(&octets, Ok("+CUSD: 4"))]);
        let mut function = script.function();
        assert_eq!(function.ussd(Instant::now(), 5, &begin(CODE)), None);
        let (transaction, response, ..) = late(&mut function);
        assert_eq!(transaction, 5);
        assert_eq!(response, UssdResponse::OPERATION_NOT_SUPPORTED);
    }

    #[test]
    fn a_network_that_does_not_answer_is_given_up() {
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let script = Script::new(&[(&octets, Ok("")), ("AT+CUSD=2", Ok(""))]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 5, &begin(CODE)), None);
        let due = function.poll_timeout().unwrap();
        function.timeout(due - Duration::from_millis(1));
        assert_eq!(function.next_late(), None);
        function.timeout(due);
        let (transaction, response, ..) = late(&mut function);
        assert_eq!((transaction, response), (5, UssdResponse::NETWORK_TIMEOUT));
        assert_eq!(script.asked().last().unwrap(), "AT+CUSD=2");
        assert_eq!(function.poll_timeout(), None);
    }

    #[test]
    fn a_dialogue_can_be_ended() {
        let octets = format!("AT+CUSD=1,\"{CODE_OCTETS}\",15");
        let script = Script::new(&[(&octets, Ok("")), ("AT+CUSD=2", Ok(""))]);
        let mut function = script.function();
        let now = Instant::now();
        assert_eq!(function.ussd(now, 5, &begin(CODE)), None);
        let (status, info) = function
            .ussd(now, 6, &turn(UssdAction::CANCEL, ""))
            .unwrap();
        assert_eq!(status, Status::NONE);
        assert_eq!(read(&info).0, UssdResponse::TERMINATED_BY_NETWORK);
        let (transaction, response, ..) = late(&mut function);
        assert_eq!(transaction, 5);
        assert_eq!(response, UssdResponse::TERMINATED_BY_NETWORK);
        // So it is when the control session ends.
        assert_eq!(function.ussd(now, 7, &begin(CODE)), None);
        script.asked();
        function.end();
        assert_eq!(script.asked(), ["AT+CUSD=2"]);
    }

    #[test]
    fn a_network_may_speak_first() {
        let script = Script::new(&[("AT^USSDMODE?", Ok("^USSDMODE: 1"))]);
        let mut function = script.function();
        let now = Instant::now();
        function.unsolicited(now, "+CUSD: 1,\"E8329BFD4697D9EC37\",15");
        assert_eq!(function.next_late(), None);
        let (id, info) = function.next_indication().unwrap();
        assert_eq!(id, USSD);
        let (response, state, text) = read(&info);
        assert_eq!(response, UssdResponse::ACTION_REQUIRED);
        assert_eq!(state, UssdSessionState::NEW_SESSION);
        assert_eq!(text, "hellohello");
        // The host answers it.
        script.says("AT+CUSD=1,\"31\",15", Ok(""));
        assert_eq!(
            function.ussd(now, 1, &turn(UssdAction::CONTINUE, "1")),
            None
        );
        function.unsolicited(now, "+CUSD: 2");
        assert_eq!(late(&mut function).1, UssdResponse::TERMINATED_BY_NETWORK);
        // Nothing is made of what is none.
        function.unsolicited(now, "+CUSD: x");
        function.unsolicited(now, "+CUSD");
        assert_eq!(function.next_indication(), None);
    }
}
