//! The commands PIN and PIN_LIST (MBIM 1.0, 10.5.4 and 10.5.5).

use uwwan_mbim::fields::Layout;
use uwwan_mbim::services::basic_connect::{
    PinDesc, PinFormat, PinInfo, PinList, PinMode, PinOperation, PinSet, PinState, PinType,
};
use uwwan_mbim::status::Status;

use super::context::MbimContext;
use super::outcome::Outcome;
use crate::firmware::Lock;

/// Answers a PIN query. While no code is asked for, the real unit names no PIN but reports the
/// attempts remaining of PIN1.
pub(super) fn info(context: &MbimContext<'_>) -> PinInfo {
    let persistent = &context.firmware.persistent;
    let (pin_type, pin_state, attempts) = match context.firmware.lock() {
        Lock::Open => (
            PinType::UNKNOWN,
            PinState::UNLOCKED,
            persistent.pin_attempts,
        ),
        Lock::Pin => (PinType::PIN1, PinState::LOCKED, persistent.pin_attempts),
        Lock::Puk | Lock::Dead => (PinType::PUK1, PinState::LOCKED, persistent.puk_attempts),
    };
    PinInfo {
        pin_type,
        pin_state,
        remaining_attempts: attempts.into(),
    }
}

/// Answers a PIN_LIST query: PIN1 can be switched on and off, and the card has a PIN2.
pub(super) fn list(context: &MbimContext<'_>) -> PinList {
    let numeric = |pin_mode| PinDesc {
        pin_mode,
        pin_format: PinFormat::NUMERIC,
        pin_length_min: 4,
        pin_length_max: 8,
    };
    let none = || PinDesc {
        pin_mode: PinMode::NOT_SUPPORTED,
        pin_format: PinFormat::UNKNOWN,
        pin_length_min: 0,
        pin_length_max: 0,
    };
    PinList {
        pin_desc_pin1: numeric(if context.firmware.persistent.pin_enabled {
            PinMode::ENABLED
        } else {
            PinMode::DISABLED
        }),
        pin_desc_pin2: numeric(PinMode::DISABLED),
        pin_desc_device_sim_pin: none(),
        pin_desc_device_first_sim_pin: none(),
        pin_desc_network_pin: none(),
        pin_desc_network_subset_pin: none(),
        pin_desc_service_provider_pin: none(),
        pin_desc_corporate_pin: none(),
        pin_desc_subsidy_lock: none(),
        pin_desc_custom: none(),
    }
}

/// Executes a PIN set, which is an operation on a PIN.
pub(super) fn set(wanted: &PinSet, context: &mut MbimContext<'_>) -> Outcome {
    let status = match (wanted.pin_type, wanted.pin_operation) {
        (PinType::PIN1, PinOperation::ENTER) => enter(&wanted.pin, None, Lock::Pin, context),
        (PinType::PUK1, PinOperation::ENTER) => {
            enter(&wanted.pin, Some(&wanted.new_pin), Lock::Puk, context)
        }
        (PinType::PIN1, operation) => change(operation, wanted, context),
        _ => Status::NO_DEVICE_SUPPORT,
    };
    Outcome {
        status,
        info: info(context).encode_info(),
        ..Outcome::default()
    }
}

/// Enters PIN1, or PUK1 with a new PIN1, when the SIM asks for the code that belongs to `due`.
fn enter(code: &str, new_pin: Option<&str>, due: Lock, context: &mut MbimContext<'_>) -> Status {
    let lock = context.firmware.lock();
    if lock == Lock::Open {
        return if context.firmware.persistent.pin_enabled {
            Status::NONE
        } else {
            Status::PIN_DISABLED
        };
    }
    if lock != due {
        return Status::PIN_REQUIRED;
    }
    match context
        .firmware
        .unlock(code, new_pin, context.knobs, context.now)
    {
        Ok(()) => Status::NONE,
        Err(()) => Status::FAILURE,
    }
}

/// Switches the PIN check on or off, or changes PIN1.
fn change(operation: PinOperation, wanted: &PinSet, context: &mut MbimContext<'_>) -> Status {
    let firmware = &mut *context.firmware;
    if firmware.lock() != Lock::Open {
        return Status::PIN_REQUIRED;
    }
    let enabled = firmware.persistent.pin_enabled;
    if operation == PinOperation::CHANGE && !enabled {
        return Status::PIN_DISABLED;
    }
    if !firmware.verify_pin(&wanted.pin) {
        return Status::FAILURE;
    }
    match operation {
        PinOperation::ENABLE => firmware.enable_pin(&wanted.pin, true),
        PinOperation::DISABLE => firmware.enable_pin(&wanted.pin, false),
        PinOperation::CHANGE => {
            if !firmware.change_pin(&wanted.new_pin) {
                return Status::INVALID_PARAMETERS;
            }
        }
        _ => return Status::INVALID_PARAMETERS,
    }
    Status::NONE
}
