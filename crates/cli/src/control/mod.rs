//! The control socket: how `status` and `down` reach a running `up`.
//!
//! One JSON object a line, in both directions, over a Unix stream socket. A request is
//! `{"command":"status"}`, `{"command":"watch"}` or `{"command":"stop"}`; the reply is
//! `{"ok":true,…}` or `{"ok":false,"error":"…"}`. `watch` is answered with one status line after
//! another until either side closes; `stop` with one line at once and a second when everything
//! is down. Only root and the user who runs `up` are served; requests are short and must arrive
//! in good time, replies must be taken in good time, and only so many clients are served at once.

pub mod client;
pub mod protocol;
pub mod server;
