//! The lines that cross the control socket.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest request line, line end included.
pub const LONGEST_REQUEST: usize = 4096;
/// The longest reply line a client takes.
pub const LONGEST_REPLY: usize = 1 << 20;
/// How long a client may take over one request line, from its connection or its last reply.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a client may leave a reply unread before it is dropped.
pub const REPLY_TIME: Duration = Duration::from_secs(2);
/// Clients served at once.
pub const MOST_CLIENTS: usize = 16;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// The state, once.
    Status {},
    /// The state, and again at each change and at least once a second.
    Watch {},
    /// Stop cleanly.
    Stop {},
}

/// What `up` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether the request was understood and granted.
    pub ok: bool,
    /// The process that answers.
    pub pid: u32,
    /// The device it runs: its port.
    pub device: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The state, for `status` and `watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<serde_json::Value>,
    /// Everything is down, for `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<bool>,
}

/// A request from one line, without its line end.
///
/// # Errors
/// What is wrong with it, for the reply.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the request is not UTF-8".to_owned())?;
    serde_json::from_str(text).map_err(|error| {
        format!("not a request: {error}; known commands are status, watch and stop")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_one_form() {
        for (request, text) in [
            (Request::Status {}, r#"{"command":"status"}"#),
            (Request::Watch {}, r#"{"command":"watch"}"#),
            (Request::Stop {}, r#"{"command":"stop"}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(parse_request(text.as_bytes()), Ok(request));
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
            assert!(parse_request(bad).is_err(), "{bad:?}");
        }
        let deep = "[".repeat(4000);
        assert!(parse_request(deep.as_bytes()).is_err());
    }
}
