//! The meaning of a refusal by an AT command in MBIM's terms.

use uwwan_at::failure::{Cme, Cms, Code, Failure as Refusal};
use uwwan_mbim::status::{NwError, Status};

/// Returns the status that says what a refusal says, and the network's cause where it has one (3GPP TS
/// 27.007, 9.2; 24.008, 10.5.6.6).
pub(super) fn of(refusal: &Refusal) -> (Status, NwError) {
    let none = |status| (status, NwError::NONE);
    match refusal {
        Refusal::Cme(Cme(Code::Number(number))) => cme(*number),
        Refusal::Cme(Cme(Code::Text(text))) | Refusal::Cms(Cms(Code::Text(text))) => {
            none(in_words(text))
        }
        Refusal::Cms(Cms(Code::Number(number))) => none(cms(*number)),
        Refusal::NotSupported | Refusal::TooManyParameters | Refusal::Error => {
            none(Status::NO_DEVICE_SUPPORT)
        }
        Refusal::NoCarrier | Refusal::NoAnswer | Refusal::NoDialtone => none(Status::FAILURE),
        Refusal::Busy | Refusal::Timeout(_) | Refusal::Cancelled | Refusal::Closed => {
            none(Status::BUSY)
        }
    }
}

fn cme(number: u16) -> (Status, NwError) {
    let status = match number {
        3 => Status::OPERATION_NOT_ALLOWED,
        4 => Status::NO_DEVICE_SUPPORT,
        5 | 11 | 12 | 17 | 18 => Status::PIN_REQUIRED,
        10 => Status::SIM_NOT_INSERTED,
        13 | 15 => Status::BAD_SIM,
        14 => Status::BUSY,
        // Not the answer to a query of the SIM, but a wrong PIN.
        16 => Status::OPERATION_NOT_ALLOWED,
        20 => Status::MEMORY_FULL,
        21 => Status::INVALID_MEMORY_INDEX,
        24 | 25 | 26 | 27 | 50 => Status::INVALID_PARAMETERS,
        30 => Status::NOT_REGISTERED,
        31 => Status::SMS_NETWORK_TIMEOUT,
        // What the network answered to an activation has its own number here.
        103 | 106 | 107 | 111..=113 | 132..=134 | 148 | 149 => {
            return (
                Status::FAILURE,
                match number {
                    103 => NwError::ILLEGAL_MS,
                    106 => NwError::ILLEGAL_ME,
                    107 => NwError::GPRS_NOT_ALLOWED,
                    111 => NwError::PLMN_NOT_ALLOWED,
                    112 => NwError::LOCATION_AREA_NOT_ALLOWED,
                    113 => NwError::ROAMING_NOT_ALLOWED_IN_LOCATION_AREA,
                    132 => NwError(32),
                    133 => NwError(33),
                    134 => NwError(34),
                    149 => NwError::USER_AUTHENTICATION_FAILED,
                    _ => NwError::NONE,
                },
            );
        }
        _ => Status::FAILURE,
    };
    (status, NwError::NONE)
}

/// Returns the status for an error of the message service (3GPP TS 27.005, 3.2.5).
fn cms(number: u16) -> Status {
    match number {
        303 => Status::NO_DEVICE_SUPPORT,
        310 => Status::SIM_NOT_INSERTED,
        311 | 312 | 316 | 317 | 318 => Status::PIN_REQUIRED,
        313 | 315 => Status::BAD_SIM,
        314 => Status::BUSY,
        320 => Status::MEMORY_FAILURE,
        321 => Status::INVALID_MEMORY_INDEX,
        322 => Status::MEMORY_FULL,
        330 => Status::SMS_UNKNOWN_SMSC_ADDRESS,
        331 => Status::NOT_REGISTERED,
        332 => Status::SMS_NETWORK_TIMEOUT,
        _ => Status::FAILURE,
    }
}

/// Returns the status for an error in words, as a modem writes it with `+CMEE=2` left by another program.
fn in_words(text: &str) -> Status {
    const WORDS: [(&str, Status); 7] = [
        ("SIM not inserted", Status::SIM_NOT_INSERTED),
        ("SIM PIN required", Status::PIN_REQUIRED),
        ("SIM PUK required", Status::PIN_REQUIRED),
        ("SIM busy", Status::BUSY),
        ("SIM failure", Status::BAD_SIM),
        ("SIM wrong", Status::BAD_SIM),
        ("incorrect password", Status::OPERATION_NOT_ALLOWED),
    ];
    let known = WORDS
        .iter()
        .find(|(words, _)| words.eq_ignore_ascii_case(text));
    known.map_or(Status::FAILURE, |(_, status)| *status)
}
