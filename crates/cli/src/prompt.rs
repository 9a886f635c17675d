//! Questions on the controlling terminal: for a secret, without echo, and for a line of text.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};

/// Length of the longest answer, in bytes.
const LONGEST: usize = 1024;
/// Size of one read, in bytes.
const CHUNK: usize = 256;
/// Longest time until Ctrl-C is noticed.
const TURN: Duration = Duration::from_millis(100);

/// Asks a question on the controlling terminal and returns the answer, which is not echoed.
///
/// # Errors
/// [`FailureKind::Usage`] when there is no terminal, [`FailureKind::Cancelled`] on Ctrl-C,
/// [`FailureKind::Host`] when the terminal fails. The answer is never repeated.
pub fn secret(question: &str, interrupts: &Receiver<i32>) -> Result<Zeroizing<String>, Failure> {
    let mut terminal = open()?;
    let quiet = Quiet::new(&terminal).map_err(|error| broken(&error))?;
    let answer = ask(&mut terminal, question, interrupts);
    drop(quiet);
    let _ = terminal.write_all(b"\n");
    answer
}

/// Asks a question on the controlling terminal and returns the answer.
///
/// # Errors
/// Those of [`secret`].
pub fn line(question: &str, interrupts: &Receiver<i32>) -> Result<String, Failure> {
    ask(&mut open()?, question, interrupts).map(|mut line| std::mem::take(&mut *line))
}

/// Returns whether there is a controlling terminal.
pub fn possible() -> bool {
    open().is_ok()
}

fn open() -> Result<File, Failure> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| {
            Failure::new(FailureKind::Usage, "there is no terminal to ask on")
                .at("/dev/tty")
                .because(error)
        })
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Host, "cannot ask on the terminal")
        .at("/dev/tty")
        .because(error)
}

fn ask(
    terminal: &mut File,
    question: &str,
    interrupts: &Receiver<i32>,
) -> Result<Zeroizing<String>, Failure> {
    terminal
        .write_all(question.as_bytes())
        .map_err(|error| broken(&error))?;
    // With room for everything, the answer is never copied to another buffer while it is typed.
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST + CHUNK));
    loop {
        if interrupts.try_recv().is_ok() {
            return Err(Failure::new(
                FailureKind::Cancelled,
                "interrupted: nothing was sent",
            ));
        }
        let mut ready = [PollFd::new(&*terminal, PollFlags::IN)];
        let turn = Timespec {
            tv_sec: 0,
            tv_nsec: TURN.subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&turn)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(broken(&error)),
        }
        let mut chunk = Zeroizing::new([0; CHUNK]);
        let count = match terminal.read(&mut *chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(&error)),
        };
        typed.extend_from_slice(&chunk[..count]);
        if count == 0 || typed.ends_with(b"\n") {
            break;
        }
        if typed.len() > LONGEST {
            return Err(broken(&"the answer is too long"));
        }
    }
    let text =
        std::str::from_utf8(&typed).map_err(|_| broken(&"the answer is not text (UTF-8)"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    Ok(Zeroizing::new(text.to_owned()))
}

/// Guard that switches the terminal's echo off; dropping it restores the former mode, however the
/// prompt ends.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        let terminal = terminal.try_clone()?;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
