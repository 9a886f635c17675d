//! Programs of the host that are run to their end, as `resolvconf` is.
//!
//! The system calls are memfd_create, pidfd_open, poll and kill, and those of fork and exec.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::{Error, ErrorKind};

/// Time that a program may take. `resolvectl` waits for half a minute where no resolver answers it.
const LIMIT: Duration = Duration::from_secs(10);
/// Directories in which a program finds those that it runs itself.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Number of bytes of a program's complaint that are read.
const COMPLAINT: u64 = 500;

/// Returns the command that starts a program in a process group of its own, whose environment is
/// [`PATH`] alone, so that it does not speak with the service manager in this process's name.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).process_group(0);
    command
}

/// Waits for the end of a program that [`command`] has started. A program that takes longer than
/// `limit`, or that runs while `ending` becomes readable or is hung up, is ended with all processes of
/// its group.
///
/// Returns the exit status, or `None` when the program was ended so.
///
/// # Errors
/// Fails when the program cannot be waited for. It is ended then, too.
pub fn wait(
    child: &mut Child,
    limit: Duration,
    ending: Option<BorrowedFd<'_>>,
) -> io::Result<Option<ExitStatus>> {
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let leader = leader.ok_or(io::ErrorKind::InvalidInput)?;
    let ended = ends_within(limit, leader, ending);
    if !matches!(ended, Ok(true)) {
        // The number stays the group's until the leader has been waited for.
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
    let status = child.wait()?;
    Ok(ended?.then_some(status))
}

/// Waits until a process has ended. Returns whether it has done so in time, and before `ending` was
/// ready.
fn ends_within(limit: Duration, process: Pid, ending: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    let mut set = vec![PollFd::new(&process, PollFlags::IN)];
    set.extend(ending.map(|ending| PollFd::from_borrowed_fd(ending, PollFlags::IN)));
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut set, Some(&left)) {
            Ok(_) => return Ok(!set[0].revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Runs a program to its end with `input` on its standard input.
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
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(complaint.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says why by its exit status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let why = match wait(&mut child, limit, None).map_err(failed)? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => reason(&mut complaint, status),
        None => format!(
            "it took longer than {} s and was ended",
            limit.as_secs_f32()
        ),
    };
    Err(Error::new(ErrorKind::Other, what(), why, next))
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
    use std::os::fd::AsFd as _;

    use rustix::process::{WaitId, WaitIdOptions};

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
    fn a_program_is_ended_when_it_is_told_to() {
        let (ready, hung_up) = io::pipe().unwrap();
        let begun = Instant::now();
        let mut child = command(Path::new("/bin/sleep")).arg("60").spawn().unwrap();
        drop(hung_up);
        let ended = wait(&mut child, Duration::from_secs(50), Some(ready.as_fd())).unwrap();
        assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(30));
        // One that has ended before it is told to has its exit status.
        let mut child = command(Path::new("/bin/false")).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let left_to_reap = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), left_to_reap).unwrap();
        let ended = wait(&mut child, LIMIT, Some(ready.as_fd())).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(1));
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
