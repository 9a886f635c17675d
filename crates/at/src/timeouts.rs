//! The longest times that commands may take.

use std::time::Duration;

/// Returns how long to wait for the final result of the command `name` (in capitals, as in
/// `+COPS`); `test` is set for its test form, `+COPS=?`. The usual time is 10 s; what asks the
/// network or restarts something takes longer.
#[must_use]
pub fn timeout(name: &str, test: bool) -> Duration {
    Duration::from_secs(match (name, test) {
        // A scan for networks takes minutes.
        ("+COPS", true) => 180,
        ("+COPS", _) => 120,
        ("+CGATT" | "+CGACT" | "D" | "A" | "+CUSD" | "^NDISDUP", false) => 75,
        ("+CMGS" | "+CMSS" | "+CMGW", false) => 60,
        ("+CFUN" | "+CPIN" | "+CLCK" | "+CPWD" | "^SYSCFGEX" | "+CPBR" | "+CMGL", false) => 30,
        ("^RESET", false) => 15,
        _ => 10,
    })
}
