//! Starts the program, and an `up` that keeps running.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::forms;

/// Path of the program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_uwwan");
/// Time for any step, far longer than any takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// User id of `nobody`.
pub const NOBODY: u32 = 65_534;
/// Capture of the kernel's drivers and mbimcli with another model of the lt4132, recorded by
/// tcpdump on usbmon.
pub const KERNEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../capture/tests/vectors/kernel-mbimcli-usbmon.pcap"
);

/// Returns the program with arguments, without the caller's environment variables for it.
pub fn uwwan(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    alone(&mut command);
    command
}

/// Removes the caller's environment variables for the program from a command.
pub fn alone(command: &mut Command) {
    for name in [
        "UWWAN_LOG",
        "UWWAN_RUNTIME_DIR",
        "UWWAN_STATE_DIR",
        "XDG_RUNTIME_DIR",
        "NOTIFY_SOCKET",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the output of a command that must have succeeded.
#[track_caller]
pub fn succeeds(output: &Output) -> String {
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}\n{}", text(&output.stderr));
    out
}

/// Returns `up` without a device, in a network namespace of its own.
pub fn bare(base: &Path) -> Command {
    // unshare(1) of util-linux makes a user and network namespace with root, so that the interfaces
    // do not touch this machine.
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--", PROGRAM, "up"]);
    alone(&mut command);
    command
        .env("UWWAN_RUNTIME_DIR", base)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns `up` on the emulated modem.
pub fn emulated(base: &Path) -> Command {
    let mut command = bare(base);
    command.args(["--device", "emulator", "--settle", "0.2"]);
    command
}

/// A running `up`, which is killed when it is dropped.
pub struct Up {
    pub child: Child,
    /// The runtime directory.
    pub base: tempfile::TempDir,
    events: Receiver<Value>,
    /// The state directory, if the command names no other.
    state: tempfile::TempDir,
}

impl Up {
    /// Starts `up` on the emulated modem.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// Starts `up` on the emulated modem with a runtime directory.
    pub fn start_in(base: tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut command = emulated(base.path());
        command.args(arguments);
        Self::spawn(base, command)
    }

    /// Starts `up` on the emulated modem, and waits until that is online.
    pub fn online(arguments: &[&str]) -> Self {
        let up = Self::start(arguments);
        up.until("online", |status| status["online"] == true);
        up
    }

    /// Starts a command whose events are read.
    pub fn spawn(base: tempfile::TempDir, mut command: Command) -> Self {
        command.arg("--json");
        let mut up = Self::spawn_telling(base, command);
        let (sender, events) = channel();
        let lines = BufReader::new(up.child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = forms::json("up", &line);
                // The output is read to its end even without a listener, because the program could
                // block otherwise.
                let _ = sender.send(event);
            }
        });
        up.events = events;
        up
    }

    /// Starts a command with its standard output left as it is. No event is read.
    pub fn spawn_telling(base: tempfile::TempDir, mut command: Command) -> Self {
        let state = tempfile::tempdir().unwrap();
        if command
            .get_envs()
            .all(|(name, value)| name != "UWWAN_STATE_DIR" || value.is_none())
        {
            command.env("UWWAN_STATE_DIR", state.path());
        }
        let child = command.spawn().expect("unshare (util-linux) runs");
        Self {
            child,
            base,
            events: channel().1,
            state,
        }
    }

    /// Returns the next event of a kind, waiting for it.
    #[track_caller]
    pub fn event(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if event["event"] == kind => return event,
                Ok(_) => {}
                Err(error) => {
                    let _ = self.child.kill();
                    panic!("no event {kind}: {error}\n{}", self.complaint());
                }
            }
        }
    }

    /// Returns the standard error of the program after its end.
    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    /// Returns a command that finds this `up`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = uwwan(arguments);
        command
            .env("UWWAN_RUNTIME_DIR", self.base.path())
            .env("UWWAN_STATE_DIR", self.state.path());
        command
    }

    /// Runs a command that finds this `up`.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        let output = self.ask(&["status", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        forms::json("status", &output.stdout)
    }

    /// Waits until the status satisfies `fits`, and returns it.
    #[track_caller]
    pub fn until(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.ask(&["status", "--json"]);
            let status = match output.status.success() {
                true => forms::json("status", &output.stdout),
                false => Value::Null,
            };
            if fits(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not happen: {status:#}\n{}",
                text(&output.stderr)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs another program in the namespaces of this `up`, and returns its output.
    #[track_caller]
    pub fn inside(&self, arguments: &[&str]) -> String {
        let pid = self.child.id().to_string();
        let output = Command::new("nsenter")
            .args(["--preserve-credentials", "--user", "--net", "--target"])
            .args([&pid, "--"])
            .args(arguments)
            .output()
            .expect("nsenter (util-linux) runs");
        succeeds(&output)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the program, so that its captures are complete.
    #[track_caller]
    pub fn down(mut self) {
        succeeds(&self.ask(&["down"]));
        assert!(self.end().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
