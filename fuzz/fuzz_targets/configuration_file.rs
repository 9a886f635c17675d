//! A configuration file of any text is read, with its sessions and routes, or refused.
#![no_main]
#![allow(dead_code, missing_docs)]

#[path = "../../crates/cli/src/checks.rs"]
mod checks;
#[path = "../../crates/cli/src/choices.rs"]
mod choices;
#[path = "../../crates/cli/src/entrances.rs"]
mod entrances;
#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/locked.rs"]
mod locked;
#[path = "../../crates/cli/src/output_queue.rs"]
mod output_queue;
#[path = "../../crates/cli/src/secrets.rs"]
mod secrets;
#[path = "../../crates/cli/src/session_settings.rs"]
mod session_settings;
#[path = "../../crates/cli/src/settings.rs"]
mod settings;

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(mut settings) = settings::Settings::parse(Path::new("modem.toml"), text) else {
        return;
    };
    // The files it names are not read here.
    settings.pin_file = None;
    settings.session_0.password_file = None;
    for session in settings.session.iter_mut().flatten() {
        session.settings.password_file = None;
    }
    let _ = settings.options();
    let _ = settings.check_kind(true);
});
