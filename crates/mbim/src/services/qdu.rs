//! Quectel's service for device updates and AT commands.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// Action on an update session (`MBIM_QDU_SESSION_ACTION`).
    QduSessionAction: u32 { START = 0, STOP = 1 }
}

values! {
    /// Type of an update session (`MBIM_QDU_SESSION_TYPE`).
    QduSessionType: u32 { NONE = 0, LE = 1 }
}

values! {
    /// Status of an update session (`MBIM_QDU_SESSION_STATUS`).
    QduSessionStatus: u32 { INACTIVE = 0, FILE_TRANSFER = 1, APPLY_UPDATE = 2 }
}

values! {
    /// Result of an update session (`MBIM_QDU_SESSION_RESULT`).
    QduSessionResult: u32 { SUCCESS = 0, FAILURE = 1 }
}

values! {
    /// Type of an update file (`MBIM_QDU_FILE_TYPE`).
    QduFileType: u32 { LITTLE_ENDIAN_PACKAGE = 0 }
}

values! {
    /// Mode into which the modem reboots (`MBIM_QDU_QUECTEL_REBOOT_TYPE`).
    QduQuectelRebootType: u16 { EDL = 17 }
}

values! {
    /// Kind of version to read (`MBIM_QDU_QUECTEL_VERSION_TYPE`).
    QduQuectelVersionType: u16 { FW_BUILD_ID = 256 }
}

values! {
    /// Interpreter of a command (`MBIM_QUECTEL_COMMAND_TYPE`).
    QuectelCommandType: u32 { AT = 0, SYSTEM = 1 }
}

values! {
    /// Status of the answer to a command (`MBIM_QUECTEL_COMMAND_RESPONSE_STATUS`).
    QuectelCommandResponseStatus: u32 { OK = 0, FAIL = 1 }
}

layout! {
    /// Information buffer of the UPDATE_SESSION answer.
    UpdateSession {
        current_session_type: QduSessionType,
        current_session_status: QduSessionStatus,
        last_session_type: QduSessionType,
        last_session_result: QduSessionResult,
        last_session_error_offset: u32,
        last_session_error_size: u32,
    }

    /// Information buffer of the UPDATE_SESSION set.
    UpdateSessionSet {
        session_action: QduSessionAction,
        session_type: QduSessionType,
    }

    /// Information buffer of the FILE_OPEN answer.
    FileOpen {
        max_transfer_size: u32,
        max_window_size: u32,
    }

    /// Information buffer of the FILE_OPEN set.
    FileOpenSet {
        file_type: QduFileType,
        file_size: u32,
    }

    /// Information buffer of the FILE_WRITE set.
    FileWriteSet {
        data_buffer: Vec<u8> as rest,
    }

    /// Information buffer of the QUECTEL_REBOOT set.
    QuectelRebootSet {
        reboot_type: QduQuectelRebootType,
    }

    /// Information buffer of the QUECTEL_READ_VERSION answer.
    QuectelReadVersion {
        version_id: u32,
        version: String [max(120)],
    }

    /// Information buffer of the QUECTEL_READ_VERSION set.
    QuectelReadVersionSet {
        version_type: QduQuectelVersionType,
    }

    /// Information buffer of the COMMAND answer.
    Command {
        command_response_status: QuectelCommandResponseStatus,
        command_response_string: Vec<u8> as rest [personal],
    }

    /// Information buffer of the COMMAND set.
    CommandSet {
        command_type: QuectelCommandType,
        command_string: Vec<u8> as rest [personal],
    }
}

service_table! {
    qdu = "6427015f-579d-48f5-8c54-f43ed1e76f83" {
        update_session UPDATE_SESSION = 1 { query: Empty, set: UpdateSessionSet, done: UpdateSession, notify: UpdateSession }
        file_open FILE_OPEN = 2 { query: Empty, set: FileOpenSet, done: FileOpen }
        file_write FILE_WRITE = 3 { set: FileWriteSet, done: Empty }
        quectel_reboot QUECTEL_REBOOT = 4 { set: QuectelRebootSet, done: Empty }
        quectel_read_version QUECTEL_READ_VERSION = 7 { set: QuectelReadVersionSet, done: QuectelReadVersion }
        command COMMAND = 8 { set: CommandSet, done: Command }
    }
}
