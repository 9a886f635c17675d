//! SMS service for short messages, as PDUs or in the CDMA format (MBIM 1.0 section 10.6).

use crate::fields::{bits, layout, values};
use crate::service::service_table;
use crate::services::empty::Empty;

values! {
    /// State of the message store (`MBIM_SMS_STORAGE_STATE`).
    SmsStorageState: u32 { NOT_INITIALIZED = 0, INITIALIZED = 1 }
}

values! {
    /// Format of short messages (`MBIM_SMS_FORMAT`).
    SmsFormat: u32 { PDU = 0, CDMA = 1 }
}

values! {
    /// Selection of short messages (`MBIM_SMS_FLAG`).
    SmsFlag: u32 { ALL = 0, INDEX = 1, NEW = 2, OLD = 3, SENT = 4, DRAFT = 5 }
}

values! {
    /// Language of a CDMA message (`MBIM_SMS_CDMA_LANG`).
    SmsCdmaLang: u32 { UNKNOWN = 0, ENGLISH = 1, FRENCH = 2, SPANISH = 3, JAPANESE = 4, KOREAN = 5, CHINESE = 6, HEBREW = 7 }
}

values! {
    /// Encoding of a CDMA message (`MBIM_SMS_CDMA_ENCODING`).
    SmsCdmaEncoding: u32 { OCTET = 0, EPM = 1, _7BIT_ASCII = 2, LA5 = 3, UNICODE = 4, SHIFT_JIS = 5, KOREAN = 6, LATIN_HEBREW = 7, LATIN = 8, GSM_7BIT = 9 }
}

values! {
    /// Status of a stored short message (`MBIM_SMS_STATUS`).
    SmsStatus: u32 { NEW = 0, OLD = 1, DRAFT = 2, SENT = 3 }
}

bits! {
    /// Flags of the message store (`MBIM_SMS_STATUS_FLAG`).
    SmsStatusFlag: u32 { MESSAGE_STORE_FULL = 0, NEW_MESSAGE = 1 }
}

layout! {
    /// Information buffer of the CONFIGURATION answer and indication.
    Configuration {
        sms_storage_state: SmsStorageState,
        format: SmsFormat,
        max_messages: u32,
        cdma_short_message_size: u32,
        sc_address: String [personal],
    }

    /// Information buffer of the CONFIGURATION set.
    ConfigurationSet {
        format: SmsFormat,
        sc_address: String [personal],
    }

    /// Stored message as a PDU, an element of READ.
    SmsPduReadRecord {
        message_index: u32,
        message_status: SmsStatus,
        pdu_data: Vec<u8> as sized [personal],
    }

    /// Stored message in the CDMA format, an element of READ.
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

    /// Information buffer of the READ answer and indication.
    ReadInfo {
        format: SmsFormat,
        @messages_count of pdu_messages | cdma_messages,
        pdu_messages: Vec<SmsPduReadRecord> as refs(messages_count) [when("format", 0)],
        cdma_messages: Vec<SmsCdmaReadRecord> as refs(messages_count) [when("format", 1)],
    }

    /// Information buffer of the READ query.
    ReadQuery {
        format: SmsFormat,
        flag: SmsFlag,
        message_index: u32,
    }

    /// Message to send as a PDU, an element of SEND.
    SmsPduSendRecord {
        pdu_data: Vec<u8> as sized [personal],
    }

    /// Message to send in the CDMA format, an element of SEND.
    SmsCdmaSendRecord {
        encoding: SmsCdmaEncoding,
        language: SmsCdmaLang,
        address: String [personal],
        encoded_message: Vec<u8> as sized [personal],
        encoded_message_size_in_characters: u32,
    }

    /// Information buffer of the SEND answer.
    SendInfo {
        message_reference: u32,
    }

    /// Information buffer of the SEND set.
    SendSet {
        format: SmsFormat,
        pdu_message: Option<SmsPduSendRecord> as inline [when("format", 0)],
        cdma_message: Option<SmsCdmaSendRecord> as inline [when("format", 1)],
    }

    /// Information buffer of the DELETE set.
    DeleteSet {
        flag: SmsFlag,
        message_index: u32,
    }

    /// Information buffer of the MESSAGE_STORE_STATUS answer and indication.
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
