//! `uwwan`: runs an LTE modem from user space.
//!
//! The program is a thin shell around `uwwan-modem` (the driver) and `uwwan-emulator` (the modem in
//! software): `arguments` is the command line, `commands` has one file for each command, `reach` finds
//! a modem, directly or through a running `up`, `failure` reports errors. It is a library so that fuzz
//! targets reach its parsers; the interface for other programs is `uwwan-modem`.

#![deny(unsafe_code)]

mod allocator;
mod arguments;
mod candidates;
mod capture;
mod checks;
mod choices;
mod commands;
mod completion;
mod configurations;
mod descriptor_file;
mod emulated;
mod entrances;
mod failure;
mod file_capabilities;
mod forms;
#[cfg(fuzzing)]
pub mod fuzz;
mod head;
mod hex;
mod hooks;
mod input;
mod journal;
mod json;
mod like;
mod listening;
mod locked;
mod logging;
mod modem_manager;
mod monitor;
mod notify;
mod output;
mod output_queue;
mod own_file;
mod page;
mod prepared;
mod prompt;
mod reach;
mod redacted;
mod resident;
mod running;
mod runtime;
mod sandbox;
mod secrets;
mod session_settings;
mod settings;
mod sharing;
mod signals;
mod spinner;
mod state;
mod story;
mod usage;
mod userspace;
mod watchdog;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};

/// Carries out the command line of this process, and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    if completion::answer(Arguments::command) {
        return ExitCode::SUCCESS;
    }
    // Errors of the command line are reported in this form, too.
    let mut words = std::env::args_os().take_while(|word| word != "--");
    let as_json = words.any(|word| word == "--json");
    if as_json {
        failure::report_as_json();
    }
    let arguments = match Arguments::try_parse().map_err(redacted::redacted) {
        Ok(arguments) => arguments,
        Err(error) if as_json && error.use_stderr() => {
            return failure::report(&failure::of_command_line(&error));
        }
        Err(error) => error.exit(),
    };
    logging::start(arguments.verbose);
    let _queues = arguments
        .command
        .keeps_running()
        .then(|| output_queue::Queues);
    if arguments.command.keeps_running() {
        output_queue::never_wait();
        // Before there is a second thread.
        allocator::share_one_arena();
    }
    if let Err(failure) = uwwan_modem::quirks::load(&state::quirk_directories()) {
        return failure::report(&failure);
    }
    if arguments.command.keeps_running()
        && let Err(failure) = file_capabilities::refuse_for_everybody()
    {
        return failure::report(&failure);
    }
    // `up` starts the queues itself, once it has given up the rights that its threads must not
    // have.
    if matches!(arguments.command, Command::Emulate(_)) && arguments.command.keeps_running() {
        output_queue::start();
    }
    let result = match arguments.command {
        // These commands enter a network namespace or start a driver's process, which must happen before any
        // thread starts.
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Exec(given) => commands::exec::run(*given, arguments.verbose > 0),
        Command::Ping(given) => commands::ask::ping(*given, arguments.verbose > 0),
        Command::Resolve(given) => commands::ask::resolve(*given, arguments.verbose > 0),
        Command::List(arguments) => commands::list::run(&arguments),
        Command::Up(arguments) => commands::up::run(*arguments),
        Command::Down(arguments) => commands::down::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::Schema(arguments) => commands::schema::run(&arguments),
        Command::Usage(arguments) => commands::usage::run(&arguments),
        Command::Quirks(arguments) => commands::quirks::run(&arguments),
        Command::Modem(command) => commands::modem::run(&command),
        Command::Capture(arguments) => commands::capture::run(&arguments),
        Command::Record(arguments) => commands::record::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::At(arguments) => commands::at::run(&arguments),
        Command::Ipv6(arguments) => commands::ipv6::run(&arguments),
        Command::Lab(arguments) => commands::lab::run(&arguments),
        Command::Emulate(arguments) => commands::emulate::run(&arguments),
        Command::Usb(arguments) => commands::usb::run(&arguments),
        Command::Ntb(arguments) => commands::ntb::run(&arguments),
        Command::Mbim(arguments) => commands::mbim::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Config(arguments) => commands::config::run(&arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Manual(arguments) => commands::manual::run(&arguments, Arguments::command()),
    };
    capture::finish();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure::report(&failure),
    }
}
