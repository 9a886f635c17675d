//! AT commands through MBIM (Intel).

use crate::fields::layout;
use crate::service::service_table;

layout! {
    /// Answer of AT_COMMAND.
    AtCommand {
        command_resp: Vec<u8> as rest [personal],
    }

    /// Set of AT_COMMAND.
    AtCommandSet {
        command_req: Vec<u8> as rest [personal],
    }
}

service_table! {
    intel_at_tunnel = "da138c64-6515-4893-92b2-a1e1ca7c81ca" {
        at_command AT_COMMAND = 1 { set: AtCommandSet, done: AtCommand }
    }
}
