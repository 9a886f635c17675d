//! A driver in a process beside a command: `up`, which keeps the modem up as long as the command needs it.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, setsid};

/// Byte with which the front lets the driver begin, and with which the driver reports that the modem
/// is online.
pub(super) const GO: u8 = 1;

/// Makes this process the driver's, and waits until the front lets it begin.
pub(super) fn begin(front: Pid, told: bool, socket: &UnixStream) {
    let _ = setsid();
    if let Err(error) = end_with(front) {
        tracing::warn!("the end of the command is noticed late: {error}");
    }
    let _ = rustix::thread::set_name(c"uwwan-driver");
    leave_streams(told);
    let mut byte = [0];
    let mut reader = socket;
    if !matches!(reader.read(&mut byte), Ok(1)) {
        // The front has printed the reason.
        std::process::exit(1);
    }
}

/// Leaves standard input and output to the front. Output of this process goes to standard error if
/// `told`, and is dropped otherwise.
pub(super) fn leave_streams(told: bool) {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let Ok(null) = null else {
        let _ = rustix::stdio::dup2_stdout(rustix::stdio::stderr());
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = match told {
        true => rustix::stdio::dup2_stdout(rustix::stdio::stderr()),
        false => rustix::stdio::dup2_stdout(&null),
    };
}

/// Lets this process end when the front has ended.
fn end_with(front: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if rustix::process::getppid() != Some(front) {
        // The front may have ended before the signal was set.
        std::process::exit(1);
    }
    Ok(())
}
