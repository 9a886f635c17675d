//! Class and vendor requests, and the NTB parameters among them.

use uwwan_emulator::rules::{Answer, Trigger};
use uwwan_ncm::NtbParameters;
use uwwan_usb::codes::cdc;

use super::answers::Answers;
use super::modem::Like;

/// A STALL, as a negative `errno` of Linux (EPIPE).
const STALL: i32 = -32;

/// `bmRequestType`, `bRequest`, `wValue` and `wIndex`.
type Question = (u8, u8, u16, u16);

/// Class and vendor requests with their answers.
#[derive(Debug, Default)]
pub(super) struct Requests {
    answers: Answers<Question>,
    parameters: Option<Vec<u8>>,
    refused: Vec<&'static str>,
}

impl Requests {
    /// Adds a class or vendor request.
    pub fn take(&mut self, setup: [u8; 8], bytes: &[u8], status: Option<i32>) {
        let word = |at: usize| u16::from_le_bytes([setup[at], setup[at + 1]]);
        let question = (setup[0], setup[1], word(2), word(4));
        let class = setup[0] & 0x60 == 0x20;
        let is_in = setup[0] & 0x80 != 0;
        match (class, setup[1], status) {
            (true, 0..=cdc::GET_ENCAPSULATED_RESPONSE, _) => {}
            (true, cdc::GET_NTB_PARAMETERS, Some(0)) if is_in => {
                self.parameters = Some(bytes.to_vec())
            }
            (true, cdc::SET_NTB_FORMAT, Some(STALL)) => self.refuse("refuse_format=on"),
            (true, cdc::SET_NTB_INPUT_SIZE, Some(STALL)) => self.refuse("refuse_input_size=on"),
            // These two answers follow from the settings of the host.
            (true, cdc::GET_NTB_FORMAT | cdc::GET_NTB_INPUT_SIZE, Some(0)) => {}
            (_, _, Some(STALL)) => self.answers.push(question, Answer::Stall, 0, 8),
            (_, _, Some(0)) if is_in => {
                let answer = Answer::Bytes(bytes.to_vec());
                self.answers.push(question, answer, 0, 8 + bytes.len());
            }
            (false, _, Some(0)) => self.answers.push(question, Answer::Accept, 0, 8),
            _ => {}
        }
    }

    fn refuse(&mut self, knob: &'static str) {
        if !self.refused.contains(&knob) {
            self.refused.push(knob);
        }
    }

    /// Returns the number of requests that only a modem is sent.
    pub fn count(&self) -> usize {
        usize::from(self.parameters.is_some())
    }

    /// Puts findings into `like`, and gaps into `missing`.
    pub fn finish(self, like: &mut Like, missing: &mut Vec<String>) {
        match self.parameters {
            None => missing.push("NTB parameters".to_owned()),
            Some(answer) => {
                let told = NtbParameters::parse(&answer);
                let knobs = [
                    ("ntb_parameters_length", answer.len() as u64),
                    ("ntb_formats", told.formats.into()),
                    ("ntb_in_max", told.in_max.into()),
                    ("ntb_out_max", told.out_max.into()),
                    ("ntb_divisor", told.out_divisor.into()),
                    ("ntb_remainder", told.out_remainder.into()),
                    ("ntb_alignment", told.out_alignment.into()),
                    ("ntb_in_divisor", told.in_divisor.into()),
                    ("ntb_in_remainder", told.in_remainder.into()),
                    ("ntb_in_alignment", told.in_alignment.into()),
                    ("ntb_max_datagrams", told.out_max_datagrams.into()),
                ];
                let knobs = knobs.map(|(name, value): (_, u64)| format!("{name}={value}"));
                like.knobs.extend(knobs);
            }
        }
        like.knobs
            .extend(self.refused.into_iter().map(str::to_owned));
        let rules = self
            .answers
            .rules(|(kind, request, value, index)| Trigger::Request {
                kind: *kind,
                request: *request,
                value: Some(*value),
                index: Some(*index),
            });
        like.rules.extend(rules);
    }
}
