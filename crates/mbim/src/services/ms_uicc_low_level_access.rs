//! Microsoft's service for low-level access to the SIM card: files, logical channels and APDUs.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::basic_connect::PinType;
use crate::services::empty::Empty;

values! {
    /// Secure messaging of an APDU (`MBIM_UICC_SECURE_MESSAGING`).
    UiccSecureMessaging: u32 { NONE = 0, NO_HDR_AUTH = 1 }
}

values! {
    /// Type of the class byte of an APDU (`MBIM_UICC_CLASS_BYTE_TYPE`).
    UiccClassByteType: u32 { INTER_INDUSTRY = 0, EXTENDED = 1 }
}

values! {
    /// Action on the pass-through mode of the SIM card (`MBIM_UICC_PASS_THROUGH_ACTION`).
    UiccPassThroughAction: u32 { DISABLE = 0, ENABLE = 1 }
}

values! {
    /// Status of the pass-through mode of the SIM card (`MBIM_UICC_PASS_THROUGH_STATUS`).
    UiccPassThroughStatus: u32 { DISABLED = 0, ENABLED = 1 }
}

values! {
    /// Type of an application on the SIM card (`MBIM_UICC_APPLICATION_TYPE`).
    UiccApplicationType: u32 { UNKNOWN = 0, MF = 1, MF_SIM = 2, MF_RUIM = 3, USIM = 4, CSIM = 5, ISIM = 6 }
}

values! {
    /// Shareability of a file on the SIM card (`MBIM_UICC_FILE_ACCESSIBILITY`).
    UiccFileAccessibility: u32 { UNKNOWN = 0, NOT_SHAREABLE = 1, SHAREABLE = 2 }
}

values! {
    /// Type of a file on the SIM card (`MBIM_UICC_FILE_TYPE`).
    UiccFileType: u32 { UNKNOWN = 0, WORKING_EF = 1, INTERNAL_EF = 2, DF_OR_ADF = 3 }
}

values! {
    /// Structure of a file on the SIM card (`MBIM_UICC_FILE_STRUCTURE`).
    UiccFileStructure: u32 { UNKNOWN = 0, TRANSPARENT = 1, CYCLIC = 2, LINEAR = 3, BER_TLV = 4 }
}

layout! {
    /// Information buffer of the ATR answer.
    Atr {
        atr: Vec<u8> as sized_reversed,
    }

    /// Information buffer of the OPEN_CHANNEL answer.
    OpenChannel {
        status: u32,
        channel: u32,
        response: Vec<u8> as sized_reversed [personal],
    }

    /// Information buffer of the OPEN_CHANNEL set.
    OpenChannelSet {
        app_id: Vec<u8> as sized_reversed,
        select_p2_arg: u32,
        channel_group: u32,
    }

    /// Information buffer of the CLOSE_CHANNEL answer.
    CloseChannel {
        status: u32,
    }

    /// Information buffer of the CLOSE_CHANNEL set.
    CloseChannelSet {
        channel: u32,
        channel_group: u32,
    }

    /// Information buffer of the APDU answer.
    Apdu {
        status: u32,
        response: Vec<u8> as sized_reversed [personal],
    }

    /// Information buffer of the APDU set.
    ApduSet {
        channel: u32,
        secure_messaging: UiccSecureMessaging,
        class_byte_type: UiccClassByteType,
        command: Vec<u8> as sized_reversed [personal],
    }

    /// Terminal capability object, an element of TERMINAL_CAPABILITY.
    TerminalCapabilityInfo {
        terminal_capability_data: Vec<u8> as rest,
    }

    /// Information buffer of the TERMINAL_CAPABILITY set and answer.
    TerminalCapability {
        @terminal_capability_count of terminal_capability,
        terminal_capability: Vec<TerminalCapabilityInfo> as refs(terminal_capability_count),
    }

    /// Information buffer of the RESET answer.
    Reset {
        pass_through_status: UiccPassThroughStatus,
    }

    /// Information buffer of the RESET set.
    ResetSet {
        pass_through_action: UiccPassThroughAction,
    }

    /// Application on the SIM card, an element of APPLICATION_LIST.
    UiccApplication {
        application_type: UiccApplicationType,
        application_id: Vec<u8> as sized,
        application_name: String as utf8,
        pin_key_reference_count: u32,
        pin_key_references: Vec<u8> as sized,
    }

    /// Information buffer of the APPLICATION_LIST answer.
    ApplicationList {
        version: u32,
        @application_count of applications,
        active_application_index: u32,
        application_list_size_bytes: u32,
        applications: Vec<UiccApplication> as refs(application_count),
    }

    /// Information buffer of the FILE_STATUS answer.
    FileStatus {
        version: u32,
        status_word1: u32,
        status_word2: u32,
        file_accessibility: UiccFileAccessibility,
        file_type: UiccFileType,
        file_structure: UiccFileStructure,
        file_item_count: u32,
        file_item_size: u32,
        access_condition_read: PinType,
        access_condition_update: PinType,
        access_condition_activate: PinType,
        access_condition_deactivate: PinType,
    }

    /// Information buffer of the FILE_STATUS query.
    FileStatusQuery {
        version: u32,
        application_id: Vec<u8> as sized,
        file_path: Vec<u8> as sized,
    }

    /// Information buffer of the READ_BINARY answer.
    ReadBinary {
        version: u32,
        status_word1: u32,
        status_word2: u32,
        data: Vec<u8> as sized [personal],
    }

    /// Information buffer of the READ_BINARY query.
    ReadBinaryQuery {
        version: u32,
        application_id: Vec<u8> as sized,
        file_path: Vec<u8> as sized,
        read_offset: u32,
        read_size: u32,
        local_pin: String [personal],
        data: Vec<u8> as sized [personal],
    }

    /// Information buffer of the READ_RECORD answer.
    ReadRecord {
        version: u32,
        status_word1: u32,
        status_word2: u32,
        data: Vec<u8> as sized [personal],
    }

    /// Information buffer of the READ_RECORD query.
    ReadRecordQuery {
        version: u32,
        application_id: Vec<u8> as sized,
        file_path: Vec<u8> as sized,
        record_number: u32,
        local_pin: String [personal],
        data: Vec<u8> as sized [personal],
    }
}

service_table! {
    ms_uicc_low_level_access = "c2f6588e-f037-4bc9-8665-f4d44bd09367" {
        atr ATR = 1 { query: Empty, done: Atr }
        open_channel OPEN_CHANNEL = 2 { set: OpenChannelSet, done: OpenChannel }
        close_channel CLOSE_CHANNEL = 3 { set: CloseChannelSet, done: CloseChannel }
        apdu APDU = 4 { set: ApduSet, done: Apdu }
        terminal_capability TERMINAL_CAPABILITY = 5 { query: Empty, set: TerminalCapability, done: TerminalCapability }
        reset RESET = 6 { query: Empty, set: ResetSet, done: Reset }
        application_list APPLICATION_LIST = 7 { query: Empty, done: ApplicationList }
        file_status FILE_STATUS = 8 { query: FileStatusQuery, done: FileStatus }
        read_binary READ_BINARY = 9 { query: ReadBinaryQuery, done: ReadBinary }
        read_record READ_RECORD = 10 { query: ReadRecordQuery, done: ReadRecord }
    }
}
