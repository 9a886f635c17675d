//! PINs, PUKs and passwords in the memory of a running `up`: after they were sent there is none, in
//! neither of its processes.
//!
//! The emulated modem is in one of them. What it keeps itself, such as its own PIN and its serial
//! port's input, is not looked for here; `tests/guest/up-online.sh` has it in another process.
//!
//! And the arenas of the C library's allocator, of which there is one, whatever number of threads.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_uwwan");
/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `up` with its events.
struct Up {
    child: Child,
    events: Receiver<Value>,
    base: tempfile::TempDir,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, "")
    }

    /// Starts it with a text on its standard input, which is a pipe.
    fn start_with(arguments: &[&str], input: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        // From util-linux: root in a user and network namespace of its own.
        let mut child = Command::new("unshare")
            .args(["--map-root-user", "--net", "--", PROGRAM, "up", "--json"])
            .args([
                "--device", "emulator", "--settle", "0.2", "--proxy", "private",
            ])
            .args(arguments)
            .env("UWWAN_RUNTIME_DIR", base.path())
            .env_remove("UWWAN_LOG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("unshare (util-linux) runs");
        let pipe = child.stdin.take().unwrap();
        { pipe }.write_all(input.as_bytes()).unwrap();
        let (sender, events) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            events,
            base,
        }
    }

    /// Waits for an event of a kind.
    fn event(&self, kind: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|error| panic!("no event {kind}: {error}"));
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn ask(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .env("UWWAN_RUNTIME_DIR", self.base.path())
            .env_remove("UWWAN_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        { stdin }.write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Process ids by name.
    fn processes(&self) -> Vec<(String, u64)> {
        let told = self.ask(&["status", "--json"], "").stdout;
        let status: Value = serde_json::from_slice(&told).unwrap();
        let processes = status["processes"].as_array().unwrap().iter();
        processes
            .map(|process| {
                let name = process["name"].as_str().unwrap().to_owned();
                (name, process["pid"].as_u64().unwrap())
            })
            .collect()
    }

    /// Checks that a secret is in the memory of no process.
    #[track_caller]
    fn has_forgotten(&self, secret: &str) {
        for (name, pid) in self.processes() {
            let found = found(pid, secret);
            assert!(found.is_empty(), "{secret} in the {name}: {found:#?}");
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.ask(&["down"], "");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks for a text, as it is and in UTF-16LE, in all memory of a process that can be read. Returns
/// what stands around it.
fn found(pid: u64, text: &str) -> Vec<String> {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        // Files that nobody can write to here hold nothing that was sent, and those of the kernel
        // cannot be read in this way.
        let unchanged = !rest.starts_with("rw") && rest.contains('/');
        if !rest.starts_with('r') || unchanged || rest.contains("[v") {
            continue;
        }
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).unwrap();
        // Memory that goes away meanwhile is read as far as it goes.
        let _ = (&memory).take(end - start).read_to_end(&mut bytes);
        for pattern in [text.as_bytes(), &wide] {
            // Most of it is zeros, over which comparing one byte is quick.
            let firsts = bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == pattern[0]);
            let places = firsts.map(|(place, _)| place);
            for place in places.filter(|place| bytes[*place..].starts_with(pattern)) {
                let around = &bytes[place.saturating_sub(24)..bytes.len().min(place + 48)];
                found.push(format!("{rest}: {}", around.escape_ascii()));
            }
        }
    }
    found
}

/// Returns how many arenas beside the first a process has. glibc reserves 64 MiB for each, at a multiple of
/// that, of which what is in use comes first and the rest cannot be accessed.
fn further_arenas(pid: u64) -> usize {
    const SIZE: u64 = 64 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let parts: Vec<(u64, u64, &str)> = maps
        .lines()
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
            (start, end, rest)
        })
        .collect();
    let is_arena = |pair: &&[(u64, u64, &str)]| {
        let [(start, end, used), (next, last, rest)] = pair else {
            return false;
        };
        used.starts_with("rw-p")
            && rest.starts_with("---p")
            && start % SIZE == 0
            && end == next
            && last - start == SIZE
    };
    parts.windows(2).filter(is_arena).count()
}

fn file(folder: &Path, name: &str, secret: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_pin_that_was_sent_at_the_start_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    // The emulated modem is in the same process and knows its own PIN, so the one that is sent is
    // another.
    let pin = file(folder.path(), "pin", "83920174");
    let up = Up::start(&["--knob", "pin=4711", "--pin-file", &pin, "--persist"]);
    let failure = &up.event("rung-failed")["failure"];
    assert!(
        failure["what"].as_str().unwrap().contains("wrong PIN"),
        "{failure}"
    );
    up.has_forgotten("83920174");
}

#[test]
fn a_pin_from_a_pipe_stays_in_the_monitor_alone_and_once() {
    let arguments = [
        "--knob",
        "pin=4711",
        "--pin-file",
        "/dev/stdin",
        "--persist",
    ];
    let up = Up::start_with(&arguments, "83920174\n");
    let failure = &up.event("rung-failed")["failure"];
    assert!(
        failure["what"].as_str().unwrap().contains("wrong PIN"),
        "{failure}"
    );
    for (name, pid) in up.processes() {
        let kept = found(pid, "83920174");
        let expected = usize::from(name == "monitor");
        assert_eq!(kept.len(), expected, "in the {name}: {kept:#?}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let locked = !status.contains("VmLck:\t       0 kB");
        assert_eq!(locked, name == "monitor", "{status}");
    }
}

#[test]
fn all_threads_share_one_arena() {
    let up = Up::start(&[]);
    up.event("online");
    for (name, pid) in up.processes() {
        assert_eq!(further_arenas(pid), 0, "in the {name}");
    }
    // Those of this process are found: each thread has one while it runs.
    let begun = std::sync::Arc::new(std::sync::Barrier::new(2));
    let inside = std::sync::Arc::clone(&begun);
    std::thread::spawn(move || {
        std::hint::black_box(vec![0_u8; 1000]);
        inside.wait();
        inside.wait();
    });
    begun.wait();
    assert_ne!(further_arenas(std::process::id().into()), 0);
    begun.wait();
}

#[test]
fn what_programs_send_through_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let [pin, new, own, password] = [
        ("pin", "83920174"),
        ("new", "61573948"),
        ("own", "4711"),
        ("password", "swordfish-7Q"),
    ]
    .map(|(name, secret)| file(folder.path(), name, secret));
    let up = Up::start(&[
        "--knob",
        "pin=4711",
        "--pin-file",
        &own,
        "--apn",
        "needle.example",
        "--auth",
        "chap",
        "--user",
        "me",
        "--password-file",
        &password,
    ]);
    up.event("online");
    // A text that is kept is found.
    let driver = up.processes()[0].clone();
    assert_eq!(driver.0, "driver");
    assert!(!found(driver.1, "needle.example").is_empty());
    up.has_forgotten("swordfish-7Q");

    // By MBIM: the PIN is wrong, and so the SIM does not have it afterwards.
    let change = ["pin", "change", "--pin-file", &pin, "--new-pin-file", &new];
    let output = up.ask(&change, "");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    up.has_forgotten("83920174");
    up.has_forgotten("61573948");
}

#[test]
fn a_puk_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let puk = file(folder.path(), "puk", "91827364");
    let new = file(folder.path(), "new", "61573948");
    let up = Up::start(&[
        "--knob",
        "pin=4711",
        "--knob",
        "pin_attempts=0",
        "--persist",
    ]);
    up.event("rung-failed");
    let output = up.ask(
        &["pin", "unblock", "--puk-file", &puk, "--new-pin-file", &new],
        "",
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the PUK was not accepted"), "{told}");
    up.has_forgotten("91827364");
    up.has_forgotten("61573948");
}
