//! Status codes, network causes and protocol errors, by name and with an explanation.
//!
//! Sources: MBIM 1.0 section 9.4.5 (status), 3GPP TS 24.008 and 24.301 (causes), MBIM 1.0 section
//! 9.3.4.2 (protocol errors).

use crate::fields::values;

values! {
    /// Result of an OPEN, CLOSE or COMMAND (`MBIM_STATUS_CODES`).
    Status: u32 {
        NONE = 0,
        BUSY = 1,
        FAILURE = 2,
        SIM_NOT_INSERTED = 3,
        BAD_SIM = 4,
        PIN_REQUIRED = 5,
        PIN_DISABLED = 6,
        NOT_REGISTERED = 7,
        PROVIDERS_NOT_FOUND = 8,
        NO_DEVICE_SUPPORT = 9,
        PROVIDER_NOT_VISIBLE = 10,
        DATA_CLASS_NOT_AVAILABLE = 11,
        PACKET_SERVICE_DETACHED = 12,
        MAX_ACTIVATED_CONTEXTS = 13,
        NOT_INITIALIZED = 14,
        VOICE_CALL_IN_PROGRESS = 15,
        CONTEXT_NOT_ACTIVATED = 16,
        SERVICE_NOT_ACTIVATED = 17,
        INVALID_ACCESS_STRING = 18,
        INVALID_USER_NAME_PWD = 19,
        RADIO_POWER_OFF = 20,
        INVALID_PARAMETERS = 21,
        READ_FAILURE = 22,
        WRITE_FAILURE = 23,
        NO_PHONEBOOK = 25,
        PARAMETER_TOO_LONG = 26,
        STK_BUSY = 27,
        OPERATION_NOT_ALLOWED = 28,
        MEMORY_FAILURE = 29,
        INVALID_MEMORY_INDEX = 30,
        MEMORY_FULL = 31,
        FILTER_NOT_SUPPORTED = 32,
        DSS_INSTANCE_LIMIT = 33,
        INVALID_DEVICE_SERVICE_OPERATION = 34,
        AUTH_INCORRECT_AUTN = 35,
        AUTH_SYNC_FAILURE = 36,
        AUTH_AMF_NOT_SET = 37,
        CONTEXT_NOT_SUPPORTED = 38,
        SMS_UNKNOWN_SMSC_ADDRESS = 100,
        SMS_NETWORK_TIMEOUT = 101,
        SMS_LANG_NOT_SUPPORTED = 102,
        SMS_ENCODING_NOT_SUPPORTED = 103,
        SMS_FORMAT_NOT_SUPPORTED = 104,
        MS_NO_LOGICAL_CHANNELS = 0x8743_0001,
        MS_SELECT_FAILED = 0x8743_0002,
        MS_INVALID_LOGICAL_CHANNEL = 0x8743_0003,
        INVALID_SIGNATURE = 0x9100_0001,
        INVALID_IMEI = 0x9100_0002,
        INVALID_TIMESTAMP = 0x9100_0003,
        NETWORK_LIST_TOO_LARGE = 0x9100_0004,
        SIGNATURE_ALGORITHM_NOT_SUPPORTED = 0x9100_0005,
        FEATURE_NOT_SUPPORTED = 0x9100_0006,
        DECODE_OR_PARSING_ERROR = 0x9100_0007,
    }
}

impl Status {
    /// Returns the name in snake case, such as `no_device_support`, or the number of an unlisted
    /// code.
    #[must_use]
    pub fn name(self) -> String {
        self.to_string()
    }

    /// Returns whether the command succeeded.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Returns one line for people that says what the code means.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NONE => "success",
            Self::BUSY => "the modem is busy; try again in a moment",
            Self::FAILURE => {
                "the modem failed without saying why; a refusal of the network has its cause beside this, a wrong PIN the attempts remaining"
            }
            Self::SIM_NOT_INSERTED => "no SIM card is inserted",
            Self::BAD_SIM => "the SIM card is unusable or blocked for good",
            Self::PIN_REQUIRED => "the SIM card wants a PIN or PUK first",
            Self::PIN_DISABLED => "this needs the PIN to be enabled, and it is disabled",
            Self::NOT_REGISTERED => "the modem is not registered with a network",
            Self::PROVIDERS_NOT_FOUND => "no network operator was found",
            Self::NO_DEVICE_SUPPORT => "the modem or its carrier profile does not support this",
            Self::PROVIDER_NOT_VISIBLE => "the requested operator cannot be received here",
            Self::DATA_CLASS_NOT_AVAILABLE => "the requested radio technology is not available",
            Self::PACKET_SERVICE_DETACHED => "the packet service is detached; attach first",
            Self::MAX_ACTIVATED_CONTEXTS => "as many data sessions are active as the modem allows",
            Self::NOT_INITIALIZED => {
                "the modem or SIM is still starting; try again in a few seconds"
            }
            Self::VOICE_CALL_IN_PROGRESS => "a voice call prevents this",
            Self::CONTEXT_NOT_ACTIVATED => "the data session is not active",
            Self::SERVICE_NOT_ACTIVATED => "the subscription is not activated",
            Self::INVALID_ACCESS_STRING => "the access point name (APN) is not valid",
            Self::INVALID_USER_NAME_PWD => "user name or password is wrong",
            Self::RADIO_POWER_OFF => "the radio is switched off",
            Self::INVALID_PARAMETERS => "the modem refuses a parameter of the command",
            Self::READ_FAILURE => "reading failed",
            Self::WRITE_FAILURE => "writing failed",
            Self::NO_PHONEBOOK => "the SIM card has no phonebook",
            Self::PARAMETER_TOO_LONG => "a text is too long",
            Self::STK_BUSY => "the SIM toolkit is busy",
            Self::OPERATION_NOT_ALLOWED => "not allowed in this state, or a wrong PIN",
            Self::MEMORY_FAILURE => "the message or phonebook memory failed",
            Self::INVALID_MEMORY_INDEX => "there is no such message or entry",
            Self::MEMORY_FULL => "the message or phonebook memory is full",
            Self::FILTER_NOT_SUPPORTED => "the modem does not support this filter",
            Self::DSS_INSTANCE_LIMIT => "no more device service streams are possible",
            Self::INVALID_DEVICE_SERVICE_OPERATION => {
                "the device service does not offer this operation"
            }
            Self::AUTH_INCORRECT_AUTN => "authentication: the network's token (AUTN) is wrong",
            Self::AUTH_SYNC_FAILURE => "authentication: sequence numbers are out of step",
            Self::AUTH_AMF_NOT_SET => "authentication: the AMF separation bit is not set",
            Self::CONTEXT_NOT_SUPPORTED => "the modem does not support this context type",
            Self::SMS_UNKNOWN_SMSC_ADDRESS => "the message centre's number is unknown",
            Self::SMS_NETWORK_TIMEOUT => "the network did not answer about the message",
            Self::SMS_LANG_NOT_SUPPORTED => "the message language is not supported",
            Self::SMS_ENCODING_NOT_SUPPORTED => "the message encoding is not supported",
            Self::SMS_FORMAT_NOT_SUPPORTED => "the message format is not supported",
            Self::MS_NO_LOGICAL_CHANNELS => "the SIM card has no free logical channel",
            Self::MS_SELECT_FAILED => "selecting the SIM application failed",
            Self::MS_INVALID_LOGICAL_CHANNEL => "there is no such logical channel",
            Self::INVALID_SIGNATURE => "carrier lock: the signature is wrong",
            Self::INVALID_IMEI => "carrier lock: made for another modem",
            Self::INVALID_TIMESTAMP => "carrier lock: the time stamp is wrong",
            Self::NETWORK_LIST_TOO_LARGE => "carrier lock: the network list is too large",
            Self::SIGNATURE_ALGORITHM_NOT_SUPPORTED => {
                "carrier lock: unsupported signature algorithm"
            }
            Self::FEATURE_NOT_SUPPORTED => "carrier lock: not supported",
            Self::DECODE_OR_PARSING_ERROR => "carrier lock: the data cannot be decoded",
            _ => "a code this program does not know",
        }
    }
}

values! {
    /// Reason that the network gave for a refusal, as the `NwError` fields carry it: a cause of
    /// 3GPP TS 24.008 (sections 10.5.5.14 and 10.5.6.6) or TS 24.301 (sections 9.9.3.9 and
    /// 9.9.4.4).
    NwError: u32 {
        NONE = 0,
        IMSI_UNKNOWN_IN_HLR = 2,
        ILLEGAL_MS = 3,
        IMSI_UNKNOWN_IN_VLR = 4,
        IMEI_NOT_ACCEPTED = 5,
        ILLEGAL_ME = 6,
        GPRS_NOT_ALLOWED = 7,
        GPRS_AND_NON_GPRS_NOT_ALLOWED = 8,
        MS_IDENTITY_NOT_DERIVED_BY_NETWORK = 9,
        IMPLICITLY_DETACHED = 10,
        PLMN_NOT_ALLOWED = 11,
        LOCATION_AREA_NOT_ALLOWED = 12,
        ROAMING_NOT_ALLOWED_IN_LOCATION_AREA = 13,
        GPRS_NOT_ALLOWED_IN_PLMN = 14,
        NO_CELLS_IN_LOCATION_AREA = 15,
        MSC_TEMPORARILY_NOT_REACHABLE = 16,
        NETWORK_FAILURE = 17,
        MAC_FAILURE = 20,
        SYNCH_FAILURE = 21,
        CONGESTION = 22,
        GSM_AUTHENTICATION_UNACCEPTABLE = 23,
        NOT_AUTHORIZED_FOR_CSG = 25,
        INSUFFICIENT_RESOURCES = 26,
        MISSING_OR_UNKNOWN_APN = 27,
        UNKNOWN_PDP_ADDRESS_OR_TYPE = 28,
        USER_AUTHENTICATION_FAILED = 29,
        ACTIVATION_REJECTED_BY_GGSN_OR_GW = 30,
        ACTIVATION_REJECTED_UNSPECIFIED = 31,
        SERVICE_OPTION_NOT_SUPPORTED = 32,
        REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED = 33,
        SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER = 34,
        REGULAR_DEACTIVATION = 36,
        NO_PDP_CONTEXT_ACTIVATED = 40,
        SEMANTIC_ERROR_IN_THE_TFT_OPERATION = 41,
        SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION = 42,
        UNKNOWN_PDP_CONTEXT = 43,
        SEMANTIC_ERRORS_IN_PACKET_FILTER = 44,
        SYNTACTICAL_ERRORS_IN_PACKET_FILTER = 45,
        PDP_CONTEXT_WITHOUT_TFT_ALREADY_ACTIVATED = 46,
        REQUEST_REJECTED_OR_BEARER_CONTROL_MODE_VIOLATION = 48,
        LAST_PDN_DISCONNECTION_NOT_ALLOWED = 49,
        PDP_TYPE_IPV4_ONLY_ALLOWED = 50,
        PDP_TYPE_IPV6_ONLY_ALLOWED = 51,
        NO_NETWORK_SLICES_AVAILABLE = 62,
        MAXIMUM_NUMBER_OF_PDP_CONTEXTS_REACHED = 65,
        REQUESTED_APN_NOT_SUPPORTED_IN_CURRENT_RAT_AND_PLMN = 66,
        INSUFFICIENT_RESOURCES_FOR_SPECIFIC_SLICE_AND_DNN = 67,
        INSUFFICIENT_RESOURCES_FOR_SPECIFIC_SLICE = 69,
        NGKSI_ALREADY_IN_USE = 71,
        NON_3GPP_ACCESS_TO_5GCN_NOT_ALLOWED = 72,
        SERVING_NETWORK_NOT_AUTHORIZED = 73,
        TEMPORARILY_NOT_AUTHORIZED_FOR_THIS_SNPN = 74,
        PERMANENTLY_NOT_AUTHORIZED_FOR_THIS_SNPN = 75,
        NOT_AUTHORIZED_FOR_THIS_CAG_OR_AUTHORIZED_FOR_CAG_CELLS_ONLY = 76,
        WIRELINE_ACCESS_AREA_NOT_ALLOWED = 77,
        PAYLOAD_WAS_NOT_FORWARDED = 90,
        DNN_NOT_SUPPORTED_OR_NOT_SUBSCRIBED_IN_THE_SLICE = 91,
        INSUFFICIENT_USER_PLANE_RESOURCES_FOR_THE_PDU_SESSION = 92,
        SEMANTICALLY_INCORRECT_MESSAGE = 95,
        INVALID_MANDATORY_INFORMATION = 96,
        MESSAGE_TYPE_NON_EXISTENT_OR_NOT_IMPLEMENTED = 97,
        MESSAGE_TYPE_NOT_COMPATIBLE_WITH_PROTOCOL_STATE = 98,
        INFORMATION_ELEMENT_NON_EXISTENT_OR_NOT_IMPLEMENTED = 99,
        CONDITIONAL_IE_ERROR = 100,
        MESSAGE_NOT_COMPATIBLE_WITH_PROTOCOL_STATE = 101,
        PROTOCOL_ERROR_UNSPECIFIED = 111,
        APN_RESTRICTION_VALUE_INCOMPATIBLE_WITH_ACTIVE_PDP_CONTEXT = 112,
        MULTIPLE_ACCESSES_TO_A_PDN_CONNECTION_NOT_ALLOWED = 113,
    }
}

/// Number that older firmware of the Fibocom FM350 adds to every cause (ModemManager
/// `normalize_nw_error`).
const CAUSE_OFFSET: u32 = 100;

impl NwError {
    /// Severe network failure. EPS mobility management gives the number of
    /// [`SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION`](Self::SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION)
    /// this meaning (3GPP TS 24.301 section 9.9.3.9), and it is printed by that name.
    pub const SEVERE_NETWORK_FAILURE: Self = Self::SYNTACTICAL_ERROR_IN_THE_TFT_OPERATION;

    /// Returns the cause as 3GPP numbers it. Firmware exists that reports it 100 too high, such as
    /// 150 in place of 50; a number that is itself a cause stays as it is.
    #[must_use]
    pub fn normalised(self) -> Self {
        let known = |cause: u32| {
            let mut names = Self::NAMES.values.iter();
            names.any(|named| named.value == u64::from(cause))
        };
        match self.0.checked_sub(CAUSE_OFFSET) {
            Some(cause @ 1..) if !known(self.0) && known(cause) => Self(cause),
            _ => self,
        }
    }

    /// Returns one line for people that says what the cause means.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self.normalised() {
            Self::NONE => "no cause given",
            Self::IMSI_UNKNOWN_IN_HLR | Self::IMSI_UNKNOWN_IN_VLR => {
                "the operator does not know this SIM"
            }
            Self::ILLEGAL_MS | Self::ILLEGAL_ME => "the network rejects this SIM or modem",
            Self::IMEI_NOT_ACCEPTED => "the network does not accept this modem (IMEI)",
            Self::GPRS_NOT_ALLOWED
            | Self::GPRS_AND_NON_GPRS_NOT_ALLOWED
            | Self::GPRS_NOT_ALLOWED_IN_PLMN => "the subscription does not allow data here",
            Self::PLMN_NOT_ALLOWED => "this operator is not allowed for the SIM",
            Self::LOCATION_AREA_NOT_ALLOWED | Self::NO_CELLS_IN_LOCATION_AREA => {
                "not allowed in this area"
            }
            Self::ROAMING_NOT_ALLOWED_IN_LOCATION_AREA => "roaming is not allowed here",
            Self::IMPLICITLY_DETACHED => "the network has detached the modem",
            Self::NETWORK_FAILURE | Self::MSC_TEMPORARILY_NOT_REACHABLE => {
                "the network has a failure; try again later"
            }
            Self::CONGESTION | Self::INSUFFICIENT_RESOURCES => {
                "the network is overloaded; try again later"
            }
            Self::MISSING_OR_UNKNOWN_APN => "the access point name (APN) is missing or unknown",
            Self::UNKNOWN_PDP_ADDRESS_OR_TYPE => "the network does not know this IP type",
            Self::USER_AUTHENTICATION_FAILED => "user name or password is wrong",
            Self::ACTIVATION_REJECTED_BY_GGSN_OR_GW | Self::ACTIVATION_REJECTED_UNSPECIFIED => {
                "the network's gateway rejected the session"
            }
            Self::SERVICE_OPTION_NOT_SUPPORTED => "the network does not support the service",
            Self::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED => {
                "the subscription does not include this APN or service"
            }
            Self::SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER => {
                "the service is out of order; try again later"
            }
            Self::REGULAR_DEACTIVATION => "the network ended the session without a fault",
            Self::PDP_TYPE_IPV4_ONLY_ALLOWED => "the network allows IPv4 only for this APN",
            Self::PDP_TYPE_IPV6_ONLY_ALLOWED => "the network allows IPv6 only for this APN",
            Self::MAXIMUM_NUMBER_OF_PDP_CONTEXTS_REACHED => {
                "the network allows no more data sessions"
            }
            Self::REQUESTED_APN_NOT_SUPPORTED_IN_CURRENT_RAT_AND_PLMN => {
                "the APN is not available on this network"
            }
            Self::MULTIPLE_ACCESSES_TO_A_PDN_CONNECTION_NOT_ALLOWED => {
                "a session with this APN is open already"
            }
            _ => "see 3GPP TS 24.008 annex G, TS 24.301 annex A",
        }
    }
}

values! {
    /// Protocol error of FUNCTION_ERROR and HOST_ERROR messages.
    ProtocolError: u32 {
        INVALID = 0,
        TIMEOUT_FRAGMENT = 1,
        FRAGMENT_OUT_OF_SEQUENCE = 2,
        LENGTH_MISMATCH = 3,
        DUPLICATED_TID = 4,
        NOT_OPENED = 5,
        UNKNOWN = 6,
        CANCEL = 7,
        MAX_TRANSFER = 8,
    }
}

impl ProtocolError {
    /// Returns one line for people that says what the error means.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::TIMEOUT_FRAGMENT => "a fragment came too late",
            Self::FRAGMENT_OUT_OF_SEQUENCE => "a fragment is missing or repeated",
            Self::LENGTH_MISMATCH => "the stated length is not the length received",
            Self::DUPLICATED_TID => "the transaction id is in use",
            Self::NOT_OPENED => "the function is not open; open it first",
            Self::UNKNOWN => "an unknown error",
            Self::CANCEL => "the command was cancelled",
            Self::MAX_TRANSFER => "the message is larger than agreed",
            _ => "an invalid error code",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_status_is_explained() {
        for named in Status::NAMES.values {
            let status = Status(u32::try_from(named.value).unwrap());
            assert_ne!(status.explanation(), Status(77).explanation(), "{status}");
        }
        assert_eq!(Status::NO_DEVICE_SUPPORT.name(), "no_device_support");
        assert_eq!(Status(77).name(), "77");
    }

    /// The Fibocom FM350 reports causes 100 too high. They are understood, so that the fallback to
    /// one address family works.
    #[test]
    fn causes_that_are_100_too_high_are_understood() {
        for (reported, cause) in [
            (150, NwError::PDP_TYPE_IPV4_ONLY_ALLOWED),
            (151, NwError::PDP_TYPE_IPV6_ONLY_ALLOWED),
            (128, NwError::UNKNOWN_PDP_ADDRESS_OR_TYPE),
            (132, NwError::SERVICE_OPTION_NOT_SUPPORTED),
            (133, NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED),
            // Numbers that are causes themselves stay as they are, and so do numbers that are no
            // cause either way.
            (100, NwError::CONDITIONAL_IE_ERROR),
            (111, NwError::PROTOCOL_ERROR_UNSPECIFIED),
            (50, NwError::PDP_TYPE_IPV4_ONLY_ALLOWED),
            (0, NwError::NONE),
            (101, NwError::MESSAGE_NOT_COMPATIBLE_WITH_PROTOCOL_STATE),
            (1, NwError(1)),
            (4000, NwError(4000)),
        ] {
            assert_eq!(NwError(reported).normalised(), cause, "{reported}");
            assert_eq!(NwError(reported).explanation(), cause.explanation());
        }
    }

    #[test]
    fn causes_have_their_numbers() {
        assert_eq!(NwError(50), NwError::PDP_TYPE_IPV4_ONLY_ALLOWED);
        assert_eq!(
            NwError(33).to_string(),
            "requested_service_option_not_subscribed"
        );
        assert_eq!(ProtocolError(5), ProtocolError::NOT_OPENED);
    }
}
