//! Compal's service that carries AT commands through MBIM.

use crate::fields::layout;
use crate::service::service_table;

layout! {
    /// Information buffer of the AT_COMMAND answer.
    AtCommand {
        command_resp: Vec<u8> as rest [personal],
    }

    /// Information buffer of the AT_COMMAND query.
    AtCommandQuery {
        command_req: Vec<u8> as rest [personal],
    }
}

service_table! {
    compal = "a2a32a97-cab1-4f57-9ae1-451c74dda957" {
        at_command AT_COMMAND = 1 { query: AtCommandQuery, done: AtCommand }
    }
}
