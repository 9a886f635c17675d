//! Qualcomm's service that carries QMI messages through MBIM.

use crate::fields::layout;
use crate::service::service_table;

layout! {
    /// Information buffer of the MSG answer and indication.
    Msg {
        qmux: Vec<u8> as rest [personal],
    }

    /// Information buffer of the MSG set.
    MsgSet {
        qmi_msg: Vec<u8> as rest [personal],
    }
}

service_table! {
    qmi = "d1a30bc2-f97a-6e43-bf65-c7e24fb0f0d3" {
        msg MSG = 1 { set: MsgSet, done: Msg, notify: Msg }
    }
}
