//! Messages on the AT port's Unix socket, one JSON object in each line.
//!
//! A client sends [`Request`]s and gets one [`Message::Answer`], [`Message::Error`] or
//! [`Message::State`] for each, in order. A client that listens gets unsolicited result codes and
//! NMEA sentences between them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uwwan_at::failure::{Cme, Cms, Code, Failure};

/// Length of the longest request line in bytes, its line end included.
pub(crate) const LONGEST_REQUEST: usize = 16 * 1024;

/// Request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Sends a command.
    Command {
        /// Command line.
        line: String,
        /// Text for the command's prompt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Time the command may take, in milliseconds; without it the usual time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        /// Whether the owner sends the command whatever it ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
    /// Subscribes to unsolicited result codes and NMEA sentences from here on.
    Listen {},
    /// Asks which interface answers.
    State {},
}

/// Message of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// Answer to a command.
    Answer {
        /// Command line that was sent.
        command: String,
        /// Lines of the answer.
        lines: Vec<String>,
        /// Whether lines were dropped because the answer was too long.
        truncated: bool,
        /// Final result, as [`final_text`] writes it.
        result: String,
    },
    /// Failure of a command that got no answer at all.
    Error(crate::failure::Failure),
    /// Unsolicited result code.
    Unsolicited(String),
    /// NMEA 0183 sentence.
    Nmea(String),
    /// Answer to a request for the state.
    State {
        /// Interface that answers, described for people; `None` while none does.
        port: Option<String>,
    },
}

/// Returns a final result as a modem writes it. The results that no modem writes become `TIMEOUT
/// 10000` (milliseconds), `CANCELLED` and `CLOSED`.
pub(crate) fn final_text(result: &Result<(), Failure>) -> String {
    let code = |name: &str, code: &Code| match code {
        Code::Number(number) => format!("{name}: {number}"),
        Code::Text(text) => format!("{name}: {text}"),
    };
    match result {
        Ok(()) => "OK".into(),
        Err(Failure::Error) => "ERROR".into(),
        Err(Failure::Cme(Cme(number))) => code("+CME ERROR", number),
        Err(Failure::Cms(Cms(number))) => code("+CMS ERROR", number),
        Err(Failure::NotSupported) => "COMMAND NOT SUPPORT".into(),
        Err(Failure::TooManyParameters) => "TOO MANY PARAMETERS".into(),
        Err(Failure::NoCarrier) => "NO CARRIER".into(),
        Err(Failure::Busy) => "BUSY".into(),
        Err(Failure::NoAnswer) => "NO ANSWER".into(),
        Err(Failure::NoDialtone) => "NO DIALTONE".into(),
        Err(Failure::Timeout(time)) => format!("TIMEOUT {}", time.as_millis()),
        Err(Failure::Cancelled) => "CANCELLED".into(),
        Err(Failure::Closed) => "CLOSED".into(),
    }
}

/// Returns the final result that [`final_text`] wrote. Unknown text counts as `ERROR`.
pub(crate) fn final_result(text: &str) -> Result<(), Failure> {
    let code = |text: &str| {
        let text = text.trim();
        text.parse()
            .map_or_else(|_| Code::Text(text.to_owned()), Code::Number)
    };
    Err(match text {
        "OK" => return Ok(()),
        "COMMAND NOT SUPPORT" => Failure::NotSupported,
        "TOO MANY PARAMETERS" => Failure::TooManyParameters,
        "NO CARRIER" => Failure::NoCarrier,
        "BUSY" => Failure::Busy,
        "NO ANSWER" => Failure::NoAnswer,
        "NO DIALTONE" => Failure::NoDialtone,
        "CANCELLED" => Failure::Cancelled,
        "CLOSED" => Failure::Closed,
        _ => {
            if let Some(text) = text.strip_prefix("+CME ERROR:") {
                Failure::Cme(Cme(code(text)))
            } else if let Some(text) = text.strip_prefix("+CMS ERROR:") {
                Failure::Cms(Cms(code(text)))
            } else if let Some(time) = text.strip_prefix("TIMEOUT ") {
                Failure::Timeout(Duration::from_millis(time.parse().unwrap_or(0)))
            } else {
                Failure::Error
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_cross_unchanged() {
        let results = [
            Ok(()),
            Err(Failure::Error),
            Err(Failure::Cme(Cme(Code::Number(10)))),
            Err(Failure::Cms(Cms(Code::Text("SIM busy".into())))),
            Err(Failure::NotSupported),
            Err(Failure::TooManyParameters),
            Err(Failure::NoCarrier),
            Err(Failure::Busy),
            Err(Failure::NoAnswer),
            Err(Failure::NoDialtone),
            Err(Failure::Timeout(Duration::from_millis(1500))),
            Err(Failure::Cancelled),
            Err(Failure::Closed),
        ];
        for result in results {
            assert_eq!(final_result(&final_text(&result)), result);
        }
        let original = crate::at_port::silent("interface 2");
        let text = serde_json::to_string(&Message::Error(original.clone())).unwrap();
        assert_eq!(
            serde_json::from_str::<Message>(&text).unwrap(),
            Message::Error(original)
        );
    }

    #[test]
    fn requests_have_one_form() {
        let line = r#"{"command":{"line":"AT+CSQ","timeout_ms":5}}"#;
        let request = Request::Command {
            line: "AT+CSQ".into(),
            text: None,
            timeout_ms: Some(5),
            force: false,
        };
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        assert!(serde_json::from_str::<Request>(r#"{"listen":{}}"#).is_ok());
        assert!(serde_json::from_str::<Request>(r#"{"command":"AT"}"#).is_err());
    }
}
