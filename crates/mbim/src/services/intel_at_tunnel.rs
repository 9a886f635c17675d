//! Intel's service that carries AT commands through MBIM.

use crate::fields::layout;
use crate::service::service_table;

layout! {
    /// Information buffer of the AT_COMMAND answer.
    AtCommand {
        command_resp: Vec<u8> as rest [personal],
    }

    /// Information buffer of the AT_COMMAND set.
    AtCommandSet {
        command_req: Vec<u8> as rest [personal],
    }
}

service_table! {
    intel_at_tunnel = "da138c64-6515-4893-92b2-a1e1ca7c81ca" {
        at_command AT_COMMAND = 1 { set: AtCommandSet, done: AtCommand }
    }
}
