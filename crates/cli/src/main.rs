//! The program `uwwan`.

use std::process::ExitCode;

fn main() -> ExitCode {
    uwwan::main()
}
