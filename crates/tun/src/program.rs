//! Programs of the host that are run to their end, as `resolvconf` is.
//!
//! The system calls are memfd_create, pidfd_open, poll and kill, and those of fork and exec.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::{Error, ErrorKind};

/// Time that a program may take. `resolvectl` waits for half a minute where no resolver answers it.
const LIMIT: Duration = Duration::from_secs(10);
/// Directories in which the program finds those that it runs itself.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Number of bytes of a program's complaint that are read.
const COMPLAINT: u64 = 500;

/// Runs a program to its end with `input` on its standard input and an environment of its own, so that it
/// does not speak with the service manager in this process's name.
///
/// # Errors
/// Fails when the program fails, with the text that it has written to its standard error, and when it
/// takes longer than ten seconds. It is then ended with all that it has started.
pub(crate) fn run(program: &Path, arguments: &[String], input: &str) -> Result<(), Error> {
    run_within(LIMIT, program, arguments, input)
}

fn run_within(
    limit: Duration,
    program: &Path,
    arguments: &[String],
    input: &str,
) -> Result<(), Error> {
    let what = || format!("run {} {}", program.display(), arguments.join(" "));
    let failed = |source: io::Error| Error::system(what(), source);
    let next = "see whether the resolver service runs and lets you, or use --dns none";
    // What the program starts may hold its standard error open when it has ended, so it is no pipe.
    let complaint = rustix::fs::memfd_create("complaint", MemfdFlags::CLOEXEC)
        .map_err(|error| failed(error.into()))?;
    let mut complaint = File::from(complaint);
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(complaint.try_clone().map_err(failed)?)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says why by its exit status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let ended = leader.map_or(Ok(true), |leader| ends_within(limit, leader));
    if let (Some(leader), Ok(false) | Err(_)) = (leader, &ended) {
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
    let status = child.wait().map_err(failed)?;
    if !ended.map_err(failed)? {
        let why = format!(
            "it took longer than {} s and was ended",
            limit.as_secs_f32()
        );
        return Err(Error::new(ErrorKind::Other, what(), why, next));
    }
    if status.success() {
        return Ok(());
    }
    let why = reason(&mut complaint, status);
    Err(Error::new(ErrorKind::Other, what(), why, next))
}

/// Waits until a process has ended. Returns whether it has done so in time.
fn ends_within(limit: Duration, process: Pid) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut set = [PollFd::new(&process, PollFlags::IN)];
        match rustix::event::poll(&mut set, Some(&left)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the beginning of what the program has complained of, on one line, or its exit status.
fn reason(complaint: &mut File, status: ExitStatus) -> String {
    let mut bytes = Vec::new();
    let read = complaint
        .rewind()
        .and_then(|()| complaint.take(COMPLAINT).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match (read, lines.join("; ")) {
        (Ok(_), text) if !text.is_empty() => text,
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(limit: Duration, script: &str) -> Result<(), Error> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        run_within(
            limit,
            Path::new("/bin/sh"),
            &arguments,
            "nameserver 1.1.1.1\n",
        )
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let begun = Instant::now();
        // The second one holds standard error open.
        let error = shell(Duration::from_millis(200), "sleep 60 & sleep 60").unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30));
        let told = error.to_string();
        assert!(told.contains("longer than 0.2 s and was ended"), "{told}");
    }

    #[test]
    fn what_a_program_has_started_is_not_waited_for() {
        let begun = Instant::now();
        shell(LIMIT, "sleep 60 &").unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_complaint_of_several_lines_is_told_on_one() {
        let error = shell(LIMIT, "printf 'one\ntwo\n' >&2; exit 1").unwrap_err();
        let told = error.to_string();
        assert!(told.contains("one; two"), "{told}");
        let error = shell(LIMIT, "exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_environment_is_not_handed_on() {
        shell(
            LIMIT,
            "test -z \"$CARGO_MANIFEST_DIR$HOME$NOTIFY_SOCKET\" && test -n \"$PATH\"",
        )
        .unwrap();
        // The test runs with what the script must not see.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    }
}
