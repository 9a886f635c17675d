//! The driver under load while everything below and above it misbehaves, with real kernel traffic
//! through a real TUN interface in a private network namespace, on the emulated modem.
//!
//! Every datagram of the flows has a number, so that each one that is lost, doubled, reordered or
//! changed is noticed. The emulator counts the faults that it makes, and both numbers must agree.
//! Transfers and memory are counted as well.
//!
//! A namespace is entered while the process has one thread. There is therefore no test harness, and
//! each check is a process of its own. Where namespaces or TUN interfaces cannot be had, the run
//! fails and says so.

mod bench;
mod counted;
mod far;
mod flows;
mod losses;
mod obstacles;
mod steady;

use std::process::{Command, ExitCode};

use uwwan_modem::Options;
use uwwan_modem::options::TunMode;
use uwwan_tests::allocator::Counting;
use uwwan_tun::namespace;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sets the options for a mode of the host end.
type Choice = fn(&mut Options);
type Check = fn(Mode);

/// Modes of the host end, by name.
const MODES: &[(&str, Choice)] = &[
    ("plain", |options| {
        options.sessions[0].tun_mode = TunMode::Plain
    }),
    ("offload", |options| {
        options.sessions[0].tun_mode = TunMode::Offload
    }),
];

/// Checks that are run in each mode.
const CHECKS: &[(&str, Check)] = &[
    (
        "only_what_was_injected_is_lost",
        steady::only_what_was_injected_is_lost,
    ),
    (
        "ntbs_longer_than_agreed_are_taken",
        steady::ntbs_longer_than_agreed_are_taken,
    ),
    (
        "a_garbled_ntb_costs_no_other",
        steady::a_garbled_ntb_costs_no_other,
    ),
    ("sequence_numbers_wrap", steady::sequence_numbers_wrap),
    (
        "streams_get_through_all_of_it",
        steady::streams_get_through_all_of_it,
    ),
    (
        "unplugged_in_full_flight_again_and_again",
        losses::unplugged_in_full_flight_again_and_again,
    ),
    (
        "reset_by_command_under_load",
        losses::reset_by_command_under_load,
    ),
    (
        "the_mtu_changes_under_load",
        obstacles::the_mtu_changes_under_load,
    ),
    (
        "a_network_that_takes_nothing_holds_up_the_host",
        obstacles::a_network_that_takes_nothing_holds_up_the_host,
    ),
    (
        "an_interface_that_goes_down_ends_nothing",
        obstacles::an_interface_that_goes_down_ends_nothing,
    ),
];

/// One of [`MODES`].
#[derive(Clone, Copy)]
struct Mode(Choice);

impl Mode {
    fn apply(self, options: &mut Options) {
        (self.0)(options);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names = || {
        MODES.iter().flat_map(|(mode, _)| {
            CHECKS
                .iter()
                .map(move |(check, _)| format!("{mode}::{check}"))
        })
    };
    if arguments.iter().any(|argument| argument == "--list") {
        // Test runners ask for the ignored tests as well, of which there are none.
        if !arguments.iter().any(|argument| argument == "--ignored") {
            names().for_each(|name| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |name: &String| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| (name == *filter) || (!exact && name.contains(*filter)))
    };
    let wanted: Vec<String> = names().filter(wanted).collect();
    if let [one] = &wanted[..] {
        return run(one);
    }
    let failed: Vec<&String> = wanted
        .iter()
        .filter(|name| {
            let program = std::env::current_exe().expect("this program");
            let status = Command::new(program).args(["--exact", name]).status();
            !status.is_ok_and(|status| status.success())
        })
        .collect();
    println!(
        "{} passed, {} failed",
        wanted.len() - failed.len(),
        failed.len()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn run(name: &str) -> ExitCode {
    let found = name.split_once("::").and_then(|(mode, check)| {
        let mode = MODES.iter().find(|(known, _)| *known == mode)?;
        let check = CHECKS.iter().find(|(known, _)| *known == check)?;
        Some((Mode(mode.1), check.1))
    });
    let Some((mode, check)) = found else {
        println!("there is no check {name}");
        return ExitCode::FAILURE;
    };
    if let Err(error) = namespace::enter() {
        println!("test {name} ... FAILED: it cannot run here\n\nerror: {error}");
        return ExitCode::FAILURE;
    }
    match std::panic::catch_unwind(|| check(mode)) {
        Ok(()) => {
            println!("test {name} ... ok");
            ExitCode::SUCCESS
        }
        Err(_) => {
            println!("test {name} ... FAILED");
            ExitCode::FAILURE
        }
    }
}
