//! Short messages, as GSM PDUs or in the CDMA form (MBIM 1.0 section 10.6).

use crate::fields::layout;
use crate::names::{bits, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// `MBIM_SMS_STORAGE_STATE`.
    SmsStorageState: u32 { NOT_INITIALIZED = 0, INITIALIZED = 1 }
}

values! {
    /// `MBIM_SMS_FORMAT`.
    SmsFormat: u32 { PDU = 0, CDMA = 1 }
}

values! {
    /// `MBIM_SMS_FLAG`.
    SmsFlag: u32 { ALL = 0, INDEX = 1, NEW = 2, OLD = 3, SENT = 4, DRAFT = 5 }
}

values! {
    /// `MBIM_SMS_CDMA_LANG`.
    SmsCdmaLang: u32 { UNKNOWN = 0, ENGLISH = 1, FRENCH = 2, SPANISH = 3, JAPANESE = 4, KOREAN = 5, CHINESE = 6, HEBREW = 7 }
}

values! {
    /// `MBIM_SMS_CDMA_ENCODING`.
    SmsCdmaEncoding: u32 { OCTET = 0, EPM = 1, _7BIT_ASCII = 2, LA5 = 3, UNICODE = 4, SHIFT_JIS = 5, KOREAN = 6, LATIN_HEBREW = 7, LATIN = 8, GSM_7BIT = 9 }
}

values! {
    /// `MBIM_SMS_STATUS`.
    SmsStatus: u32 { NEW = 0, OLD = 1, DRAFT = 2, SENT = 3 }
}

bits! {
    /// `MBIM_SMS_STATUS_FLAG`.
    SmsStatusFlag: u32 { MESSAGE_STORE_FULL = 0, NEW_MESSAGE = 1 }
}

layout! {
    /// Answer and notification of CONFIGURATION.
    Configuration {
        sms_storage_state: SmsStorageState,
        format: SmsFormat,
        max_messages: u32,
        cdma_short_message_size: u32,
        sc_address: String [personal],
    }

    /// Set of CONFIGURATION.
    ConfigurationSet {
        format: SmsFormat,
        sc_address: String [personal],
    }

    /// `SmsPduReadRecord`, an element of other structures.
    SmsPduReadRecord {
        message_index: u32,
        message_status: SmsStatus,
        pdu_data: Vec<u8> as sized [personal],
    }

    /// `SmsCdmaReadRecord`, an element of other structures.
    SmsCdmaReadRecord {
        message_index: u32,
        message_status: SmsStatus,
        address: String [personal],
        timestamp: String,
        encoding: SmsCdmaEncoding,
        language: SmsCdmaLang,
        encoded_message: Vec<u8> as sized [personal],
        encoded_message_size_in_characters: u32,
    }

    /// Answer and notification of READ.
    ReadInfo {
        format: SmsFormat,
        @messages_count of pdu_messages | cdma_messages,
        pdu_messages: Vec<SmsPduReadRecord> as refs(messages_count) [when("format", 0)],
        cdma_messages: Vec<SmsCdmaReadRecord> as refs(messages_count) [when("format", 1)],
    }

    /// Query of READ.
    ReadQuery {
        format: SmsFormat,
        flag: SmsFlag,
        message_index: u32,
    }

    /// `SmsPduSendRecord`, an element of other structures.
    SmsPduSendRecord {
        pdu_data: Vec<u8> as sized [personal],
    }

    /// `SmsCdmaSendRecord`, an element of other structures.
    SmsCdmaSendRecord {
        encoding: SmsCdmaEncoding,
        language: SmsCdmaLang,
        address: String [personal],
        encoded_message: Vec<u8> as sized [personal],
        encoded_message_size_in_characters: u32,
    }

    /// Answer of SEND.
    SendInfo {
        message_reference: u32,
    }

    /// Set of SEND.
    SendSet {
        format: SmsFormat,
        pdu_message: Option<SmsPduSendRecord> as inline [when("format", 0)],
        cdma_message: Option<SmsCdmaSendRecord> as inline [when("format", 1)],
    }

    /// Set of DELETE.
    DeleteSet {
        flag: SmsFlag,
        message_index: u32,
    }

    /// Answer and notification of MESSAGE_STORE_STATUS.
    MessageStoreStatus {
        flag: SmsStatusFlag,
        message_index: u32,
    }
}

service_table! {
    sms = "533fbeeb-14fe-4467-9f90-33a223e56c3f" {
        configuration CONFIGURATION = 1 { query: Empty, set: ConfigurationSet, done: Configuration, notify: Configuration }
        read READ = 2 { query: ReadQuery, done: ReadInfo, notify: ReadInfo }
        send SEND = 3 { set: SendSet, done: SendInfo }
        delete DELETE = 4 { set: DeleteSet, done: Empty }
        message_store_status MESSAGE_STORE_STATUS = 5 { query: Empty, done: MessageStoreStatus, notify: MessageStoreStatus }
    }
}
