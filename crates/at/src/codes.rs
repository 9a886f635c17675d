//! The numbers behind `+CME ERROR` and `+CMS ERROR`, with their names and words, and those of `+COPS`
//! and `^NDISDUP`.

/// Defines a module with a constant for each number, and the ways from a number to its words and back.
macro_rules! numbers {
    ($(#[$doc:meta])* $module:ident { $($name:ident = $number:literal, $words:literal;)* }) => {
        $(#[$doc])*
        pub mod $module {
            $(
                #[doc = concat!("Number of the error \"", $words, "\".")]
                pub const $name: u16 = $number;
            )*

            /// Returns the words of a number, if it is in the table.
            #[must_use]
            pub const fn words(number: u16) -> Option<&'static str> {
                match number {
                    $($name => Some($words),)*
                    _ => None,
                }
            }

            /// Returns the number of these words, which a modem writes with `AT+CMEE=2`, in any case.
            #[must_use]
            pub fn number(words: &str) -> Option<u16> {
                let all = [$(($name, $words)),*];
                let found = all.iter().find(|(_, known)| known.eq_ignore_ascii_case(words));
                found.map(|(number, _)| *number)
            }
        }
    };
}

numbers! {
    /// Errors of the mobile equipment (3GPP TS 27.007, 9.2), of those a data modem gives.
    cme {
        PHONE_FAILURE = 0, "phone failure";
        NO_CONNECTION_TO_PHONE = 1, "no connection to phone";
        OPERATION_NOT_ALLOWED = 3, "operation not allowed";
        OPERATION_NOT_SUPPORTED = 4, "operation not supported";
        PH_SIM_PIN_REQUIRED = 5, "PH-SIM PIN required";
        SIM_NOT_INSERTED = 10, "SIM not inserted";
        SIM_PIN_REQUIRED = 11, "SIM PIN required";
        SIM_PUK_REQUIRED = 12, "SIM PUK required";
        SIM_FAILURE = 13, "SIM failure";
        SIM_BUSY = 14, "SIM busy";
        SIM_WRONG = 15, "SIM wrong";
        INCORRECT_PASSWORD = 16, "incorrect password";
        SIM_PIN2_REQUIRED = 17, "SIM PIN2 required";
        SIM_PUK2_REQUIRED = 18, "SIM PUK2 required";
        MEMORY_FULL = 20, "memory full";
        INVALID_INDEX = 21, "invalid index";
        NOT_FOUND = 22, "not found";
        MEMORY_FAILURE = 23, "memory failure";
        TEXT_STRING_TOO_LONG = 24, "text string too long";
        INVALID_CHARACTERS_IN_TEXT_STRING = 25, "invalid characters in text string";
        DIAL_STRING_TOO_LONG = 26, "dial string too long";
        INVALID_CHARACTERS_IN_DIAL_STRING = 27, "invalid characters in dial string";
        NO_NETWORK_SERVICE = 30, "no network service";
        NETWORK_TIMEOUT = 31, "network timeout";
        NETWORK_NOT_ALLOWED_EMERGENCY_ONLY = 32, "network not allowed, emergency calls only";
        NETWORK_PERSONALIZATION_PIN_REQUIRED = 40, "network personalisation PIN required";
        INCORRECT_PARAMETERS = 50, "incorrect parameters";
        UNKNOWN = 100, "unknown";
        ILLEGAL_MS = 103, "illegal MS";
        ILLEGAL_ME = 106, "illegal ME";
        GPRS_SERVICES_NOT_ALLOWED = 107, "GPRS services not allowed";
        PLMN_NOT_ALLOWED = 111, "PLMN not allowed";
        LOCATION_AREA_NOT_ALLOWED = 112, "location area not allowed";
        ROAMING_NOT_ALLOWED_IN_THIS_LOCATION_AREA = 113, "roaming not allowed in this location area";
        SERVICE_OPTION_NOT_SUPPORTED = 132, "service option not supported";
        REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED = 133, "requested service option not subscribed";
        SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER = 134, "service option temporarily out of order";
        UNSPECIFIED_GPRS_ERROR = 148, "unspecified GPRS error";
        PDP_AUTHENTICATION_FAILURE = 149, "PDP authentication failure";
        INVALID_MOBILE_CLASS = 150, "invalid mobile class";
    }
}

numbers! {
    /// Errors of the message service (3GPP TS 27.005, 3.2.5).
    cms {
        ME_FAILURE = 300, "ME failure";
        SMS_SERVICE_OF_ME_RESERVED = 301, "SMS service of ME reserved";
        OPERATION_NOT_ALLOWED = 302, "operation not allowed";
        OPERATION_NOT_SUPPORTED = 303, "operation not supported";
        INVALID_PDU_MODE_PARAMETER = 304, "invalid PDU mode parameter";
        INVALID_TEXT_MODE_PARAMETER = 305, "invalid text mode parameter";
        SIM_NOT_INSERTED = 310, "SIM not inserted";
        SIM_PIN_REQUIRED = 311, "SIM PIN required";
        PH_SIM_PIN_REQUIRED = 312, "PH-SIM PIN required";
        SIM_FAILURE = 313, "SIM failure";
        SIM_BUSY = 314, "SIM busy";
        SIM_WRONG = 315, "SIM wrong";
        SIM_PUK_REQUIRED = 316, "SIM PUK required";
        SIM_PIN2_REQUIRED = 317, "SIM PIN2 required";
        SIM_PUK2_REQUIRED = 318, "SIM PUK2 required";
        MEMORY_FAILURE = 320, "memory failure";
        INVALID_MEMORY_INDEX = 321, "invalid memory index";
        MEMORY_FULL = 322, "memory full";
        SMSC_ADDRESS_UNKNOWN = 330, "SMSC address unknown";
        NO_NETWORK_SERVICE = 331, "no network service";
        NETWORK_TIMEOUT = 332, "network timeout";
        NO_CNMA_ACKNOWLEDGEMENT_EXPECTED = 340, "no +CNMA acknowledgement expected";
        UNKNOWN_ERROR = 500, "unknown error";
    }
}

/// Modes in which the operator is chosen (`+COPS`, 3GPP TS 27.007, 7.3).
pub mod operator_mode {
    /// The modem chooses the operator.
    pub const AUTOMATIC: u8 = 0;
    /// The user has chosen the operator.
    pub const MANUAL: u8 = 1;
    /// The modem has left the network.
    pub const DEREGISTERED: u8 = 2;
    /// The user has chosen the operator, and the modem chooses another one where that is not there.
    pub const MANUAL_OR_AUTOMATIC: u8 = 4;
}

/// States of an operator that a scan has found (`+COPS`, 3GPP TS 27.007, 7.3).
pub mod operator_state {
    /// The state is not known.
    pub const UNKNOWN: u8 = 0;
    /// The modem may register with the operator.
    pub const AVAILABLE: u8 = 1;
    /// The modem is registered with the operator.
    pub const CURRENT: u8 = 2;
    /// The modem may not register with the operator.
    pub const FORBIDDEN: u8 = 3;
}

/// Access technologies (`+COPS` and `+CREG`, 3GPP TS 27.007, 7.2 and 7.3).
pub mod access_technology {
    /// GSM with GPRS.
    pub const GSM: u8 = 0;
    /// GSM in a narrow band.
    pub const GSM_COMPACT: u8 = 1;
    /// UMTS.
    pub const UTRAN: u8 = 2;
    /// GSM with EDGE.
    pub const GSM_EGPRS: u8 = 3;
    /// UMTS with HSDPA.
    pub const UTRAN_HSDPA: u8 = 4;
    /// UMTS with HSUPA.
    pub const UTRAN_HSUPA: u8 = 5;
    /// UMTS with HSDPA and HSUPA.
    pub const UTRAN_HSPA: u8 = 6;
    /// LTE.
    pub const E_UTRAN: u8 = 7;
}

/// Ways to authenticate a connection (`^NDISDUP`, Huawei's AT command specification).
pub mod ndis_authentication {
    /// No user name and password.
    pub const NONE: u8 = 0;
    /// Password in the clear (PAP).
    pub const PAP: u8 = 1;
    /// Challenge handshake (CHAP).
    pub const CHAP: u8 = 2;
    /// Microsoft's challenge handshake (MS-CHAPv2).
    pub const MSCHAPV2: u8 = 3;
}
