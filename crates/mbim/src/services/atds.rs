//! AT&T's device service for signal, location, operators and registration.

use crate::fields::{layout, values};
use crate::service::service_table;
use crate::services::basic_connect::{
    CellularClass, DataClass, ProviderState, RegisterMode, RegisterState, RegistrationFlag,
};
use crate::services::empty::Empty;
use crate::status::NwError;

values! {
    /// Selection of the radio access technology (`MBIM_ATDS_RAT_MODE`).
    AtdsRatMode: u32 { AUTOMATIC = 0, _2G_ONLY = 1, _3G_ONLY = 2, _4G_ONLY = 3 }
}

values! {
    /// Radio access technology of a network provider (`MBIM_ATDS_PROVIDER_PLMN_MODE`).
    AtdsProviderPlmnMode: u32 { GSM = 0, UTRAN = 6, LTE = 7 }
}

layout! {
    /// Information buffer of the SIGNAL answer.
    Signal {
        /// Received signal strength: a value n from 0 to 31 means -113 + 2n dBm, 99 means unknown.
        rssi: u32,
        /// Class of the bit error rate from 0 to 7; 99 means unknown.
        error_rate: u32,
        rscp: u32,
        ecno: u32,
        rsrq: u32,
        rsrp: u32,
        rssnr: u32,
    }

    /// Information buffer of the LOCATION answer.
    Location {
        lac: u32,
        tac: u32,
        cell_id: u32,
    }

    /// Network provider, an element of OPERATORS.
    AtdsProvider {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        provider_state: ProviderState,
        provider_name: String,
        plmn_mode: AtdsProviderPlmnMode,
        /// Received signal strength: a value n from 0 to 31 means -113 + 2n dBm, 99 means unknown.
        rssi: u32,
        /// Class of the bit error rate from 0 to 7; 99 means unknown.
        error_rate: u32,
    }

    /// Information buffer of the OPERATORS answer.
    Operators {
        @providers_count of providers,
        providers: Vec<AtdsProvider> as refs(providers_count),
    }

    /// Information buffer of the RAT set and answer.
    Rat {
        mode: AtdsRatMode,
    }

    /// Information buffer of the REGISTER_STATE answer.
    RegistrationState {
        nw_error: NwError,
        register_state: RegisterState,
        register_mode: RegisterMode,
        available_data_classes: DataClass,
        current_cellular_class: CellularClass,
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        provider_name: String,
        roaming_text: String,
        registration_flag: RegistrationFlag,
    }
}

service_table! {
    atds = "5967bdcc-7fd2-49a2-9f5c-b2e70e527db3" {
        signal SIGNAL = 1 { query: Empty, done: Signal }
        location LOCATION = 2 { query: Empty, done: Location }
        operators OPERATORS = 3 { query: Empty, done: Operators }
        rat RAT = 4 { query: Empty, set: Rat, done: Rat }
        register_state REGISTER_STATE = 9 { query: Empty, done: RegistrationState }
    }
}
