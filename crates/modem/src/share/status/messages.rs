//! Requests and replies of the control socket, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::asking::{Answer, Question};
use crate::capture;
use crate::failure::{Failure, FailureKind};
use crate::join::{JoinNews, JoinOptions};
use crate::raw::RawEvent;
use crate::share::sending::Sending;
use crate::status::Status;

/// Request of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Asks for the status once.
    Status {},
    /// Asks for the status at once, at each change, and at least once a second.
    Watch {},
    /// Asks for a clean stop.
    Stop {},
    /// Asks for a capture, whose bytes follow the reply.
    Capture(capture::Options),
    /// Ends the captures that clients have asked for.
    EndCaptures {},
    /// Turns knobs of the emulated modem, and asks for the values of all.
    Emulate {
        /// Knobs to turn, as `name=value`; all of them or none.
        #[serde(default)]
        set: Vec<String>,
    },
    /// Asks the network behind the modem.
    Ask(Question),
    /// Asks for a data session for the TUN interface whose descriptors come with this line, until the
    /// client closes its sending half, and for reports of its changes.
    Join(JoinOptions),
    /// Asks to send bytes as they are, which follow, and for reports of the transfers after them.
    Send(Sending),
}

/// Reply of `up`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether the request was understood and granted.
    pub ok: bool,
    /// Id of the process that answers.
    pub pid: u32,
    /// Name of the device that the process runs: its port.
    pub device: String,
    /// Reason of a refusal, for readers of version 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Failure that a refusal carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Status as JSON, in answer to `status` and `watch`; the turned knobs and all values, in
    /// answer to `emulate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<serde_json::Value>,
    /// Users and groups that may use the modem, in words, in answer to `status` of a user who may only read
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<String>,
    /// Whether everything is down, in the second answer to `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<bool>,
    /// Event after bytes were sent as they are, following the first answer to `send`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<RawEvent>,
    /// The network's answer, in answer to `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The news of a data session, following the first answer to `join`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<JoinNews>,
}

impl Reply {
    /// Returns the status in an answer to `status` or `watch`.
    ///
    /// # Errors
    /// [`FailureKind::Unreadable`] when there is no status that this version understands.
    pub fn decode(&self) -> Result<Status, Failure> {
        let unreadable = |what: &str| {
            Failure::new(FailureKind::Unreadable, what)
                .next("it is of another version than this program; stop and start it again")
        };
        let Some(value) = &self.status else {
            return Err(unreadable("the running uwwan told no state"));
        };
        // `Status` has an inherent function of this name beside the trait's, which does not handle
        // session 0.
        <Status as Deserialize>::deserialize(value)
            .map_err(|error| unreadable("the running uwwan's answer makes no sense").because(error))
    }
}

/// Returns the request in one line, which has no line end.
///
/// # Errors
/// A text that says what is wrong with the line, for the reply.
pub(super) fn request(line: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the request is not UTF-8".to_owned())?;
    serde_json::from_str(text).map_err(|error| {
        format!("not a request: {error}; known commands are status, watch, capture, end_captures, emulate, ask, join, send and stop")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_one_form() {
        for (meant, text) in [
            (Request::Status {}, r#"{"command":"status"}"#),
            (Request::Watch {}, r#"{"command":"watch"}"#),
            (Request::Stop {}, r#"{"command":"stop"}"#),
            (
                Request::Emulate {
                    set: vec!["signal=9".into()],
                },
                r#"{"command":"emulate","set":["signal=9"]}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&meant).unwrap(), text);
            assert_eq!(request(text.as_bytes()), Ok(meant));
        }
    }

    #[test]
    fn the_status_in_a_reply_has_session_0() {
        let reply = |status: serde_json::Value| {
            let form = serde_json::json!({"ok": true, "pid": 1, "device": "1-4", "status": status});
            serde_json::from_value::<Reply>(form).unwrap()
        };
        let told = reply(serde_json::json!({"online": true, "interface": {"name": "wwan0"}}));
        let status = told.decode().unwrap();
        assert_eq!(status.interface().unwrap().name, "wwan0");
        for bad in [serde_json::Value::Null, serde_json::json!({"online": "x"})] {
            let failure = reply(bad).decode().unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unreadable);
        }
    }

    #[test]
    fn garbage_is_told_apart() {
        for bad in [
            &b""[..],
            b"\xff\xff",
            b"status",
            b"{}",
            b"[]",
            br#"{"command":"reboot"}"#,
            br#"{"command":"status""#,
            br#"{"command":["status"]}"#,
        ] {
            assert!(request(bad).is_err(), "{bad:?}");
        }
        let deep = "[".repeat(4000);
        assert!(request(deep.as_bytes()).is_err());
    }
}
