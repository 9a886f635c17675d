//! `uwwan completions` prints the script by which a shell completes this program's command line.

use crate::completion;
use crate::failure::Failure;
use crate::output::say;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(uwwan completions bash)
      in this shell; the same line in ~/.bashrc for all
  uwwan completions zsh > ~/.zfunc/_uwwan
      where fpath holds ~/.zfunc before compinit runs
  uwwan completions fish > ~/.config/fish/completions/uwwan.fish

The script asks the program at each Tab, so that it knows the modems present, configurations, the sessions of
a running uwwan up, the knobs of the emulated modem, MBIM services and their commands.")]
pub struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

/// Prints the script.
///
/// # Errors
/// Fails when standard output cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let script = completion::script(&arguments.shell);
    say(String::from_utf8_lossy(&script).trim_end())
}
