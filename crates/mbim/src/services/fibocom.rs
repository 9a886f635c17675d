//! AT commands through MBIM (Fibocom).

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
    fibocom = "ffffffff-abca-4b11-a4e2-f2fc87f94488" {
        at_command AT_COMMAND = 1 { set: AtCommandSet, done: AtCommand }
    }
}
