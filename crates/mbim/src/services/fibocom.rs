//! Fibocom's service that carries AT commands through MBIM.

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
    fibocom = "ffffffff-abca-4b11-a4e2-f2fc87f94488" {
        at_command AT_COMMAND = 1 { set: AtCommandSet, done: AtCommand }
    }
}
