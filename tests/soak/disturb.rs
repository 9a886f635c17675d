//! Disturbances of the modem and of the interface that the driver does not make itself.

use std::process::Command;
use std::time::Duration;

use uwwan_modem::client::AtClient;

use crate::run::Run;
use crate::up::INTERFACE;

/// Pause between two resets by command.
const RESETS: Duration = Duration::from_secs(20);
/// Pause between two changes of the interface. Faster changes count as a fight with another
/// program, which `up` ends.
const CHANGES: Duration = Duration::from_secs(65);

/// Resets the modem by an AT command, again and again.
pub fn resets(run: &Run) {
    while let Some(busy) = run.gate.pass() {
        reset(run);
        drop(busy);
        run.gate.rest(RESETS);
    }
}

/// Resets the modem once by an AT command, unless its AT port is away at the moment.
pub fn reset(run: &Run) {
    let client = AtClient::through(&run.sockets.join("at.socket"));
    let reset = client.and_then(|mut client| {
        client.insist();
        client.ask("AT^RESET", None, None)
    });
    // The modem may leave before it answers.
    run.tried("AT^RESET", reset.is_ok());
}

/// Removes what `up` has set up on the interface, as other software on the machine may.
pub fn changes(run: &Run) {
    const CHANGED: &[(&str, &[&[&str]])] = &[
        (
            "ip address flush",
            &[&["address", "flush", "dev", INTERFACE]],
        ),
        (
            "ip link set down and up",
            &[
                &["link", "set", INTERFACE, "down"],
                &["link", "set", INTERFACE, "up"],
            ],
        ),
    ];
    let mut changed = CHANGED.iter().cycle();
    while let Some(busy) = run.gate.pass() {
        if let Some((name, commands)) = changed.next() {
            let done = commands.iter().all(|arguments| {
                let status = Command::new("ip").args(*arguments).status();
                status.is_ok_and(|status| status.success())
            });
            run.tried(name, done);
        }
        drop(busy);
        run.gate.rest(CHANGES);
    }
}
