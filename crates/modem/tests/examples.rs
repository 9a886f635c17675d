//! The examples that need no modem work. Cargo builds them beside the tests.

use std::process::Command;

/// Runs an example and returns what it writes to standard output.
fn run(name: &str) -> String {
    let tests = std::env::current_exe().unwrap();
    let target = tests.ancestors().nth(2).unwrap();
    let program = target.join("examples").join(name);
    let output = Command::new(&program)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{name}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn the_emulated_modem_comes_online() {
    let addresses = run("online_emulated");
    assert!(addresses.contains("10.169.198.77/"), "{addresses}");
}

#[test]
fn a_loss_and_the_way_back_are_seen() {
    let events = run("watch_events");
    let online = events
        .lines()
        .filter(|line| line.contains("session: 0, change: Online"));
    assert_eq!(online.count(), 2, "{events}");
    assert!(events.contains("\nLost "), "{events}");
}

#[test]
fn mbim_commands_are_answered() {
    let answers = run("mbim_command");
    assert!(answers.contains("firmware 11."), "{answers}");
}

#[test]
fn sockets_lead_over_the_modem() {
    let told = run("sockets");
    let bytes = told
        .split(' ')
        .next()
        .and_then(|bytes| bytes.parse::<u32>().ok());
    assert!(bytes > Some(1000), "{told}");
    assert!(told.ends_with("5 bytes came back\n"), "{told}");
}
