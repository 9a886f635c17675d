//! The meaning of a refusal by an AT command in MBIM's terms.

use uwwan_at::codes::{cme, cms};
use uwwan_at::failure::{Cme, Cms, Code, Failure as Refusal};
use uwwan_mbim::status::{NwError, Status};

/// Returns the status with the meaning of a refusal, and the network's cause where it has one (3GPP TS
/// 27.007, 9.2; 24.008, 10.5.6.6). The modem writes words in place of the number if another program has
/// left it with `AT+CMEE=2`.
pub(super) fn of(refusal: &Refusal) -> (Status, NwError) {
    let of_cme = |number: Option<u16>| number.map_or((Status::FAILURE, NwError::NONE), equipment);
    let of_cms = |number: Option<u16>| number.map_or(Status::FAILURE, messages);
    let none = |status| (status, NwError::NONE);
    match refusal {
        Refusal::Cme(Cme(Code::Number(number))) => of_cme(Some(*number)),
        Refusal::Cme(Cme(Code::Text(words))) => of_cme(cme::number(words)),
        Refusal::Cms(Cms(Code::Number(number))) => none(of_cms(Some(*number))),
        Refusal::Cms(Cms(Code::Text(words))) => none(of_cms(cms::number(words))),
        Refusal::NotSupported | Refusal::TooManyParameters | Refusal::Error => {
            none(Status::NO_DEVICE_SUPPORT)
        }
        Refusal::NoCarrier | Refusal::NoAnswer | Refusal::NoDialtone => none(Status::FAILURE),
        Refusal::Busy | Refusal::Timeout(_) | Refusal::Cancelled | Refusal::Closed => {
            none(Status::BUSY)
        }
    }
}

/// Returns the status for an error of the mobile equipment, and the network's cause for a refused
/// activation, which has a number of its own among these errors.
fn equipment(number: u16) -> (Status, NwError) {
    let cause = match number {
        cme::ILLEGAL_MS => NwError::ILLEGAL_MS,
        cme::ILLEGAL_ME => NwError::ILLEGAL_ME,
        cme::GPRS_SERVICES_NOT_ALLOWED => NwError::GPRS_NOT_ALLOWED,
        cme::PLMN_NOT_ALLOWED => NwError::PLMN_NOT_ALLOWED,
        cme::LOCATION_AREA_NOT_ALLOWED => NwError::LOCATION_AREA_NOT_ALLOWED,
        cme::ROAMING_NOT_ALLOWED_IN_THIS_LOCATION_AREA => {
            NwError::ROAMING_NOT_ALLOWED_IN_LOCATION_AREA
        }
        cme::SERVICE_OPTION_NOT_SUPPORTED => NwError::SERVICE_OPTION_NOT_SUPPORTED,
        cme::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED => {
            NwError::REQUESTED_SERVICE_OPTION_NOT_SUBSCRIBED
        }
        cme::SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER => {
            NwError::SERVICE_OPTION_TEMPORARILY_OUT_OF_ORDER
        }
        cme::PDP_AUTHENTICATION_FAILURE => NwError::USER_AUTHENTICATION_FAILED,
        _ => NwError::NONE,
    };
    let status = match number {
        cme::OPERATION_NOT_ALLOWED => Status::OPERATION_NOT_ALLOWED,
        cme::OPERATION_NOT_SUPPORTED => Status::NO_DEVICE_SUPPORT,
        cme::PH_SIM_PIN_REQUIRED
        | cme::SIM_PIN_REQUIRED
        | cme::SIM_PUK_REQUIRED
        | cme::SIM_PIN2_REQUIRED
        | cme::SIM_PUK2_REQUIRED => Status::PIN_REQUIRED,
        cme::SIM_NOT_INSERTED => Status::SIM_NOT_INSERTED,
        cme::SIM_FAILURE | cme::SIM_WRONG => Status::BAD_SIM,
        cme::SIM_BUSY => Status::BUSY,
        // The number does not answer a query of the SIM, but reports a wrong PIN.
        cme::INCORRECT_PASSWORD => Status::OPERATION_NOT_ALLOWED,
        cme::MEMORY_FULL => Status::MEMORY_FULL,
        cme::INVALID_INDEX => Status::INVALID_MEMORY_INDEX,
        cme::TEXT_STRING_TOO_LONG
        | cme::INVALID_CHARACTERS_IN_TEXT_STRING
        | cme::DIAL_STRING_TOO_LONG
        | cme::INVALID_CHARACTERS_IN_DIAL_STRING
        | cme::INCORRECT_PARAMETERS => Status::INVALID_PARAMETERS,
        cme::NO_NETWORK_SERVICE => Status::NOT_REGISTERED,
        cme::NETWORK_TIMEOUT => Status::SMS_NETWORK_TIMEOUT,
        _ => Status::FAILURE,
    };
    (status, cause)
}

/// Returns the status for an error of the message service.
fn messages(number: u16) -> Status {
    match number {
        cms::OPERATION_NOT_SUPPORTED => Status::NO_DEVICE_SUPPORT,
        cms::SIM_NOT_INSERTED => Status::SIM_NOT_INSERTED,
        cms::SIM_PIN_REQUIRED
        | cms::PH_SIM_PIN_REQUIRED
        | cms::SIM_PUK_REQUIRED
        | cms::SIM_PIN2_REQUIRED
        | cms::SIM_PUK2_REQUIRED => Status::PIN_REQUIRED,
        cms::SIM_FAILURE | cms::SIM_WRONG => Status::BAD_SIM,
        cms::SIM_BUSY => Status::BUSY,
        cms::MEMORY_FAILURE => Status::MEMORY_FAILURE,
        cms::INVALID_MEMORY_INDEX => Status::INVALID_MEMORY_INDEX,
        cms::MEMORY_FULL => Status::MEMORY_FULL,
        cms::SMSC_ADDRESS_UNKNOWN => Status::SMS_UNKNOWN_SMSC_ADDRESS,
        cms::NO_NETWORK_SERVICE => Status::NOT_REGISTERED,
        cms::NETWORK_TIMEOUT => Status::SMS_NETWORK_TIMEOUT,
        _ => Status::FAILURE,
    }
}
