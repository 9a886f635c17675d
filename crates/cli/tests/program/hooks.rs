//! Hooks of a configuration file, and the beginnings of the lines of `up`, on the emulated modem in
//! a network namespace of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::forms;
use crate::running::{PATIENCE, PROGRAM, bare, succeeds, uwwan};

/// Hook that adds a line to the file beside it: its moment, argument, interface and address.
const HOOK: &str = "#!/bin/sh
echo \"$UWWAN_HOOK $1 ${UWWAN_INTERFACE:-none} ${UWWAN_IPV4:-none} $(env | wc -l)\" >>\"${0%/*}/said\"
";

/// Returns a folder with a configuration file that names the hook for every moment.
fn folder(hook: &str, table: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, mode) in [("hook", hook, 0o700), ("modem.toml", table, 0o600)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    folder
}

const ALL: &str = "device = 'emulator'
settle = 0.2
[hooks]
before-up = ['hook', 'a']
after-up = ['hook', 'b']
before-down = ['hook', 'c']
after-down = ['hook', 'd']
";

fn up(folder: &Path) -> Command {
    let mut command = bare(&folder.join("run"));
    command
        .arg("--config")
        .arg(folder.join("modem.toml"))
        .env("UWWAN_STATE_DIR", folder.join("state"))
        .stderr(Stdio::inherit());
    command
}

/// A running `up` and its lines.
struct Up {
    child: Child,
    lines: Receiver<String>,
}

impl Up {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("unshare (util-linux) runs");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            output
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Returns the next line that contains this part.
    fn line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line with {part:?}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn down(mut self, folder: &Path) {
        let mut command = uwwan(&["down"]);
        command.env("UWWAN_RUNTIME_DIR", folder.join("run"));
        succeeds(&command.output().unwrap());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines that the hooks have written so far.
fn said(folder: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join("said")).unwrap_or_default();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    text.lines().map(words).collect()
}

/// Waits until the hooks have written so many lines.
fn wait_for(folder: &Path, count: usize) {
    let begun = std::time::Instant::now();
    while said(folder).len() < count {
        assert!(begun.elapsed() < PATIENCE, "{:?}", said(folder));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn hooks_run_before_and_after_up_and_down() {
    let folder = folder(HOOK, ALL);
    let running = Up::start(up(folder.path()));
    running.line("online through");
    wait_for(folder.path(), 2);
    running.down(folder.path());
    let said = said(folder.path());
    let moments: Vec<String> = said.iter().map(|words| words[..2].join(" ")).collect();
    assert_eq!(
        moments,
        ["before-up a", "after-up b", "before-down c", "after-down d"]
    );
    let known = |words: &Vec<String>| words[2] != "none" && words[3].contains('/');
    assert_eq!(
        said.iter().map(known).collect::<Vec<_>>(),
        [false, true, true, false],
        "{said:?}"
    );
}

#[test]
fn hooks_run_after_the_driver_was_killed() {
    let folder = folder(HOOK, ALL);
    let mut running = Up::start(up(folder.path()));
    running.line("online through");
    wait_for(folder.path(), 2);
    let status = Command::new(PROGRAM)
        .args(["status", "--json"])
        .env("UWWAN_RUNTIME_DIR", folder.path().join("run"))
        .output()
        .unwrap();
    let status = forms::json("status", &status.stdout);
    let processes = status["processes"].as_array().unwrap();
    let driver = processes.iter().find(|process| process["name"] == "driver");
    let driver = driver.unwrap()["pid"].to_string();
    let killed = Command::new("kill").args(["-KILL", &driver]).status();
    assert!(killed.unwrap().success());
    running.child.wait().unwrap();
    let said = said(folder.path());
    let moments: Vec<&str> = said.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(
        moments,
        ["before-up", "after-up", "before-down", "after-down"]
    );
}

#[test]
fn a_hook_that_still_runs_ends_with_up() {
    let hook = "#!/bin/sh\nsleep 600 &\necho \"$!\" >>\"${0%/*}/said\"\nwait\n";
    let table = "device = 'emulator'\nsettle = 0.2\n[hooks]\nafter-up = ['hook']\ntimeout = 60\n";
    let folder = folder(hook, table);
    let up = Up::start(up(folder.path()));
    wait_for(folder.path(), 1);
    let process = said(folder.path()).remove(0).remove(0);
    up.down(folder.path());
    let start = Instant::now();
    // A process that has ended may not have been waited for yet.
    while fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(start.elapsed() < PATIENCE, "process {process} goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_hook_that_fails_is_told_and_one_before_up_ends_it() {
    let failing = "#!/bin/sh\n[ \"$UWWAN_HOOK\" != \"$1\" ]\n";
    let after = "device = 'emulator'\nsettle = 0.2\n[hooks]\nafter-up = ['hook', 'after-up']\n";
    let told = folder(failing, after);
    let running = Up::start(up(told.path()));
    let line = running.line("after-up");
    assert!(
        line.contains("diagnosis") && line.contains("exit status: 1"),
        "{line}"
    );
    running.down(told.path());

    let before = after.replace("after-up", "before-up");
    let refused = folder(failing, &before);
    let output = up(refused.path()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("before-up"), "{text}");
}

#[test]
fn a_hook_that_others_may_change_is_refused_by_up_and_by_config_check() {
    let folder = folder(HOOK, ALL);
    let hook = folder.path().join("hook");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o777)).unwrap();
    let mut check = Command::new(PROGRAM);
    check
        .args(["config", "check"])
        .arg(folder.path().join("modem.toml"));
    for mut command in [up(folder.path()), check] {
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("before-up") && text.contains("others"),
            "{text}"
        );
    }
    assert!(said(folder.path()).is_empty());
}

#[test]
fn lines_and_events_can_carry_the_time() {
    let folder = folder(HOOK, "device = 'emulator'\nsettle = 0.2\n");
    let is_time =
        |text: &str| text.len() == 27 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let mut command = up(folder.path());
    command.arg("--timestamps");
    let running = Up::start(command);
    let line = running.line("online through");
    assert!(is_time(line.split(' ').next().unwrap()), "{line}");
    running.down(folder.path());
    let mut command = up(folder.path());
    command.args(["--timestamps", "--json"]);
    let running = Up::start(command);
    let line = running.line("\"online\"");
    let event = forms::json("up", &line);
    assert!(is_time(event["time"].as_str().unwrap()), "{line}");
    running.down(folder.path());
}

#[test]
fn what_takes_longer_than_a_second_says_what_is_waited_for() {
    let folder = folder(HOOK, "device = 'emulator'\nsettle = 3\n");
    let running = Up::start(up(folder.path()));
    let line = running.line("waiting for");
    assert!(
        line.starts_with("configuration") && line.contains("at most"),
        "{line}"
    );
    running.line("online through");
    running.down(folder.path());
}
