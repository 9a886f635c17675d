//! `exec` as a user runs it, on the emulated modem, as root and as an ordinary user.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::running::{NOBODY, PATIENCE};

/// A place where an ordinary user may run the program too, with its runtime directory.
struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
    ordinary: bool,
}

impl Place {
    /// Returns a place in which this process's user runs the program.
    fn own() -> Self {
        Self::new(false)
    }

    /// Returns a place in which an ordinary user runs the program.
    fn ordinary() -> Self {
        Self::new(rustix::process::geteuid().is_root())
    }

    fn new(ordinary: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("uwwan");
        std::fs::copy(env!("CARGO_BIN_EXE_uwwan"), &program).unwrap();
        let everybody = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybody).unwrap();
        let place = Self {
            folder,
            program,
            ordinary,
        };
        for folder in [place.base(), place.state()] {
            std::fs::create_dir(&folder).unwrap();
            if ordinary {
                std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        place
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn uwwan(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("UWWAN_RUNTIME_DIR", self.base())
            .env("UWWAN_STATE_DIR", self.state())
            .env_remove("UWWAN_LOG")
            .env_remove("NOTIFY_SOCKET")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.ordinary {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Returns a command that runs `exec` with further options, and a program with arguments.
    fn exec(&self, options: &[&str], program: &[&str]) -> Command {
        let fixed = ["exec", "--device", "emulator", "--settle", "0.2"];
        self.uwwan(&[&fixed, options, &["--"], program].concat())
    }

    /// Runs a shell script and returns its output and its exit status.
    fn script(&self, options: &[&str], script: &str) -> Output {
        self.exec(options, &["sh", "-c", script]).output().unwrap()
    }

    /// Starts a shell script and waits until it prints a line.
    fn start(&self, script: &str) -> Started {
        let mut child = self.exec(&[], &["sh", "-c", script]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let mut started = Started { child, lines, line };
        if started.line.is_empty() {
            panic!("it said nothing: {}", started.complaint());
        }
        started
    }

    /// Waits until no file is left behind.
    fn is_left_empty(&self) {
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_dir(self.base()).unwrap().count() > 0 {
            assert!(Instant::now() < deadline, "something is left behind");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An `exec` that runs.
struct Started {
    child: Child,
    /// The line that the script has printed.
    line: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Started {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    fn rest(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        (rest, status)
    }

    fn complaint(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the network of this machine, as a program of it sees it.
fn machine() -> String {
    let script = "ip -br addr; ip route show table all; ip -6 route show table all; cat /etc/resolv.conf; \
                  cat /proc/self/mountinfo";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    text(&output.stdout)
}

/// Script that shows interfaces, routes, name servers, names and traffic.
const LOOK: &str = "ip -br addr; ip route; cat /etc/resolv.conf; getent ahostsv4 ipv4.test.uwwan; \
    ping -q -c 1 -W 5 192.0.2.77 >/dev/null && echo pinged; \
    curl -sS -m 20 -o /dev/null -w 'fetched %{size_download}\\n' http://ipv4.test.uwwan/bytes/3000000; exit 7";

fn sees_the_modem_alone(output: &Output) {
    let (seen, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{seen}\n{told}");
    assert_eq!(told, "");
    let interfaces: Vec<&str> = seen
        .lines()
        .take_while(|line| !line.starts_with("default"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(interfaces, ["lo", "uwwan0"], "{seen}");
    for part in [
        "127.0.0.1/8",
        "10.169.198.77/30",
        "default via 10.169.198.78 dev uwwan0",
        "nameserver 193.213.112.4\nnameserver 130.67.15.198\n",
        "198.51.100.1",
        "pinged",
        "fetched 3000000",
    ] {
        assert!(seen.contains(part), "{part:?} is not in:\n{seen}\n{told}");
    }
}

#[test]
fn the_program_has_the_modem_alone_and_the_machine_notices_nothing() {
    let before = machine();
    let place = Place::own();
    sees_the_modem_alone(&place.script(&[], LOOK));
    assert_eq!(machine(), before);
    place.is_left_empty();
}

#[test]
fn an_ordinary_user_needs_no_privilege_and_gains_none() {
    let place = Place::ordinary();
    sees_the_modem_alone(&place.script(&[], LOOK));
    let output = place.script(
        &[],
        "id -u; id -g; grep -E 'CapEff|CapPrm|CapAmb' /proc/self/status; ip link add dummy0 type dummy || echo refused",
    );
    let seen = text(&output.stdout);
    let lines: Vec<&str> = seen.lines().collect();
    let own = |id: u32| match place.ordinary {
        true => NOBODY.to_string(),
        false => id.to_string(),
    };
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    assert_eq!(lines[..2], [own(user.as_raw()), own(group.as_raw())]);
    for line in &lines[2..5] {
        assert!(line.ends_with("\t0000000000000000"), "{seen}");
    }
    assert_eq!(lines[5..], ["refused"], "{seen}");
    place.is_left_empty();
}

/// Returns the TCP sockets without a process, and how much each holds that its peer has not got, in the
/// network namespace of a process.
fn held_for_nobody(process: &str) -> Vec<(String, u64)> {
    let list = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let fields = list.lines().skip(1).map(|line| line.split_whitespace());
    let fields = fields.map(|fields| fields.collect::<Vec<_>>());
    fields
        .filter(|fields| fields[9] == "0")
        .map(|fields| {
            let (queue, _) = fields[4].split_once(':').unwrap();
            (
                fields[2].to_owned(),
                u64::from_str_radix(queue, 16).unwrap(),
            )
        })
        .collect()
}

#[test]
fn what_the_program_wrote_last_is_sent_before_its_network_goes() {
    let place = Place::own();
    // The namespace outlives `exec` by a process, and 100 kB take the modem 0.4 s.
    let script = "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!
        head -c 100000 /dev/zero >/dev/tcp/198.51.100.1/9; exit 5";
    let mut command = place.exec(&["--knob", "air_up_mbit=2"], &["bash", "-c", script]);
    let output = command.output().unwrap();
    let seen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let kept = seen.trim();
    let held = held_for_nobody(kept);
    let process = Pid::from_raw(kept.parse().unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::KILL).unwrap();
    assert!(held.iter().all(|(_, bytes)| *bytes == 0), "{held:?}");
    place.is_left_empty();
}

#[test]
fn services_of_the_machine_that_resolve_names_are_out_of_reach() {
    let place = Place::own();
    // The script makes a machine with systemd-resolved, in a mount namespace of its own.
    let machine = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/resolve /run/nscd && \
        echo 'nameserver 127.0.0.53' >/run/systemd/resolve/stub-resolv.conf && \
        touch /run/systemd/resolve/io.systemd.Resolve /run/nscd/socket && mount -t tmpfs tmpfs /etc -o mode=755 && \
        ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf && \
        \"$@\"; ls /run/systemd/resolve /run/nscd; cat /etc/resolv.conf";
    let run = place.exec(
        &[],
        &[
            "sh",
            "-c",
            "ls -A /run/systemd/resolve /run/nscd; cat /etc/resolv.conf; echo end",
        ],
    );
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "--",
        "sh",
        "-c",
        machine,
        "sh",
    ]);
    command.arg(run.get_program()).args(run.get_args());
    command.env("UWWAN_RUNTIME_DIR", place.base());
    let output = command.output().expect("unshare (util-linux) runs");
    let seen = text(&output.stdout);
    let (inside, outside) = seen.split_once("end\n").unwrap_or_else(|| {
        panic!("{seen}\n{}", text(&output.stderr));
    });
    let inside: Vec<&str> = inside
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        inside,
        [
            "/run/nscd:",
            "",
            "/run/systemd/resolve:",
            "stub-resolv.conf",
            "nameserver 193.213.112.4",
            "nameserver 130.67.15.198"
        ]
    );
    let outside: Vec<&str> = outside.lines().collect();
    assert_eq!(
        outside,
        [
            "/run/nscd:",
            "socket",
            "",
            "/run/systemd/resolve:",
            "io.systemd.Resolve",
            "stub-resolv.conf",
            "nameserver 127.0.0.53"
        ]
    );
}

#[test]
fn standard_streams_are_the_programs() {
    let place = Place::own();
    let mut child = place
        .exec(&[], &["sh", "-c", "cat; echo complaint >&2"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"what goes in").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "what goes in");
    assert_eq!(text(&output.stderr), "complaint\n");
    assert!(output.status.success());
    // With -v the user is told what happens, beside the program's output.
    let output = place
        .uwwan(&[
            "-v", "exec", "--device", "emulator", "--settle", "0.2", "--", "echo", "said",
        ])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "said\n");
    let told = text(&output.stderr);
    assert!(told.contains("online through uwwan0"), "{told}");
}

#[test]
fn it_ends_as_the_program_ends() {
    let place = Place::own();
    let output = place.script(&[], "kill -KILL $$");
    assert_eq!(output.status.signal(), Some(9), "{}", text(&output.stderr));
    let output = place.exec(&[], &["/nonexistent/program"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    let told = text(&output.stderr);
    assert!(told.contains("/nonexistent/program"), "{told}");
    let output = place.exec(&[], &["/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(126));
    place.is_left_empty();
}

#[test]
fn signals_reach_the_program() {
    let place = Place::own();
    let look = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"];
    let own = Command::new(look[0]).args(&look[1..]).output().unwrap();
    let output = place.exec(&[], &look).output().unwrap();
    assert_eq!(text(&output.stdout), text(&own.stdout));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1] {
        let started = place.start(
            "trap 'echo caught; exit 42' TERM INT HUP USR1; echo ready; while :; do sleep 0.02; done",
        );
        started.signal(signal);
        let (rest, status) = started.rest();
        assert_eq!(
            (rest.as_str(), status.code()),
            ("caught\n", Some(42)),
            "{signal:?}"
        );
    }
    place.is_left_empty();
}

#[test]
fn it_stops_and_goes_on_with_the_program() {
    let place = Place::own();
    let started = place
        .start("echo ready; kill -STOP $$; ping -q -c 1 -W 5 192.0.2.77 >/dev/null; echo on $?");
    // The test waits as the shell does that has started the process.
    let (_, status) = rustix::process::waitpid(Some(started.pid()), WaitOptions::UNTRACED)
        .unwrap()
        .unwrap();
    assert!(status.stopped(), "{status:?}");
    started.signal(Signal::CONT);
    let (rest, status) = started.rest();
    assert_eq!((rest.as_str(), status.code()), ("on 0\n", Some(0)));
}

#[test]
fn the_terminals_keys_reach_the_program_once() {
    let place = Place::own();
    // script(1) gives the program a terminal.
    let run = place.exec(
        &[],
        &[
            "sh",
            "-c",
            "trap 'echo caught' INT; echo ready; until read line; do :; done; echo got $line; exit 5",
        ],
    );
    let words = [run.get_program()].into_iter().chain(run.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
        .collect();
    let mut child = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            // script(1) starts a shell, which gets the keys as well, unless the program takes its
            // place: dash continues behind its last command, bash does not.
            &format!("exec {}", words.join(" ")),
            "/dev/null",
        ])
        .env("SHELL", "/bin/sh")
        .env("UWWAN_RUNTIME_DIR", place.base())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (util-linux) runs");
    let mut keys = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    keys.write_all(b"\x03").unwrap();
    while !line.contains("caught") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    keys.write_all(b"words\n").unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("got words"), "{rest}");
    assert!(!rest.contains("caught"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn without_a_modem_the_program_does_not_start() {
    let place = Place::own();
    let output = place
        .exec(&["--apn", "wrong", "--knob", "apn=right"], &["echo", "ran"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    assert!(told.contains("access point"), "{told}");
    let output = place
        .exec(&["--dns", "resolved"], &["echo", "ran"])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(2), String::new())
    );
    // A signal before the modem is online is for uwwan.
    let mut command = place.exec(&["--knob", "slow_open_ms=60000"], &["echo", "ran"]);
    let child = command.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !place.base().join("emulator").join("control").exists() {
        assert!(Instant::now() < deadline, "no modem is being brought up");
        std::thread::sleep(Duration::from_millis(20));
    }
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(15));
    assert_eq!(text(&output.stdout), "");
    place.is_left_empty();
}

#[test]
fn a_modem_that_resets_comes_back_to_the_program() {
    let place = Place::own();
    // The modem's sockets are files, which the program can reach.
    let script = format!(
        "uwwan={}; $uwwan reset --force >/dev/null; \
         until $uwwan status --json | tr -d ' ' | grep '\"online\":true.*\"attempts\":2' >/dev/null; do sleep 0.02; done; \
         curl -sS -m 20 -o /dev/null -w '%{{size_download}}' http://ipv4.test.uwwan/bytes/1000",
        place.program.display()
    );
    let output = place.script(&[], &script);
    assert_eq!(text(&output.stdout), "1000", "{}", text(&output.stderr));
    assert!(output.status.success());
    place.is_left_empty();
}

#[test]
fn nothing_is_left_when_it_is_killed() {
    let before = machine();
    let place = Place::own();
    let started = place.start("echo $$; exec sleep 60");
    let program = started.line.trim().parse().ok().and_then(Pid::from_raw);
    started.signal(Signal::KILL);
    place.is_left_empty();
    assert_eq!(machine(), before);
    rustix::process::kill_process(program.unwrap(), Signal::KILL).unwrap();
}
