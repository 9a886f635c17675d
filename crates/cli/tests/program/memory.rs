//! PINs, PUKs and passwords in the memory of a running `up`: after they were sent, neither of its
//! processes holds any.
//!
//! The emulated modem is in one of these processes. Its own memory, such as its PIN and its serial
//! port's input, is not searched here; `tests/guest/up-online.sh` has the modem in another process.
//!
//! The arenas of the C library's allocator are counted as well: there is one, whatever the number
//! of threads.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::running::{Up, emulated, succeeds};

/// Starts `up` on the emulated modem with a text on its standard input, which is a pipe.
fn start_with(arguments: &[&str], input: &str) -> Up {
    let base = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(input.as_bytes()).unwrap();
    let mut command = emulated(base.path());
    command.args(arguments).stdin(reader);
    Up::spawn(base, command)
}

/// Runs a command that finds this `up` with a text on its standard input.
fn ask(up: &Up, arguments: &[&str], input: &str) -> Output {
    let mut child = up
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    { stdin }.write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Returns the process ids of an `up` by name.
fn processes(up: &Up) -> Vec<(String, u64)> {
    let status = up.status();
    let processes = status["processes"].as_array().unwrap().iter();
    processes
        .map(|process| {
            let name = process["name"].as_str().unwrap().to_owned();
            (name, process["pid"].as_u64().unwrap())
        })
        .collect()
}

/// Checks that a secret is in the memory of no process of an `up`.
#[track_caller]
fn has_forgotten(up: &Up, secret: &str) {
    for (name, pid) in processes(up) {
        let found = found(pid, secret);
        assert!(found.is_empty(), "{secret} in the {name}: {found:#?}");
    }
}

/// Searches all readable memory of a process for a text, as it is and in UTF-16LE. Returns the text
/// around each match.
fn found(pid: u64, text: &str) -> Vec<String> {
    const PAGE: usize = 4096;
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        // Files that this process cannot write hold nothing that was sent, and those of the kernel
        // cannot be read in this way.
        let unchanged = !rest.starts_with("rw") && rest.contains('/');
        if !rest.starts_with('r') || unchanged || rest.contains("[v") {
            continue;
        }
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).unwrap();
        // Memory that is unmapped meanwhile is read as far as possible.
        let _ = (&memory).take(end - start).read_to_end(&mut bytes);
        for pattern in [text.as_bytes(), &wide] {
            // Most of the memory is zeros, which are compared a page at a time.
            let pages = bytes.chunks(PAGE).enumerate();
            let pages = pages.filter(|(_, page)| **page != [0; PAGE][..page.len()]);
            let places = pages.flat_map(|(number, page)| {
                let first = |(_, byte): &(usize, &u8)| **byte == pattern[0];
                let firsts = page.iter().enumerate().filter(first);
                firsts.map(move |(place, _)| number * PAGE + place)
            });
            for place in places.filter(|place| bytes[*place..].starts_with(pattern)) {
                let around = &bytes[place.saturating_sub(24)..bytes.len().min(place + 48)];
                found.push(format!("{rest}: {}", around.escape_ascii()));
            }
        }
    }
    found
}

/// Returns the number of arenas beside the first in a process. glibc reserves 64 MiB for each, at a
/// multiple of that address, of which the used part comes first and the rest cannot be accessed.
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
    // The emulated modem is in the same process and holds its own PIN, so another PIN is sent.
    let pin = file(folder.path(), "pin", "83920174");
    let mut up = Up::start(&["--knob", "pin=4711", "--pin-file", &pin, "--persist"]);
    let failure = &up.event("rung-failed")["failure"];
    assert!(
        failure["what"].as_str().unwrap().contains("wrong PIN"),
        "{failure}"
    );
    has_forgotten(&up, "83920174");
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
    let mut up = start_with(&arguments, "83920174\n");
    let failure = &up.event("rung-failed")["failure"];
    assert!(
        failure["what"].as_str().unwrap().contains("wrong PIN"),
        "{failure}"
    );
    for (name, pid) in processes(&up) {
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
    let mut up = Up::start(&[]);
    up.event("online");
    for (name, pid) in processes(&up) {
        assert_eq!(further_arenas(pid), 0, "in the {name}");
    }
    // The arenas of this process are found: each thread has one while it runs.
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
    let mut up = Up::start(&[
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
    let driver = processes(&up)[0].clone();
    assert_eq!(driver.0, "driver");
    assert!(!found(driver.1, "needle.example").is_empty());
    has_forgotten(&up, "swordfish-7Q");

    // The PIN is sent by MBIM: it is wrong, so the SIM does not hold it afterwards.
    let change = ["pin", "change", "--pin-file", &pin, "--new-pin-file", &new];
    let output = ask(&up, &change, "");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    has_forgotten(&up, "83920174");
    has_forgotten(&up, "61573948");
}

#[test]
fn a_puk_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let puk = file(folder.path(), "puk", "91827364");
    let new = file(folder.path(), "new", "61573948");
    let mut up = Up::start(&[
        "--knob",
        "pin=4711",
        "--knob",
        "pin_attempts=0",
        "--persist",
    ]);
    up.event("rung-failed");
    let output = ask(
        &up,
        &["pin", "unblock", "--puk-file", &puk, "--new-pin-file", &new],
        "",
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the PUK was not accepted"), "{told}");
    has_forgotten(&up, "91827364");
    has_forgotten(&up, "61573948");
}

#[test]
fn what_is_dialled_with_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let password = file(folder.path(), "password", "swordfish-7Q");
    let pin = file(folder.path(), "pin", "83920174");
    for mode in ["ncm", "ecm"] {
        // The driver sends AT+CPIN itself.
        let locked = ["--knob", "pin=4711", "--pin-file", &pin, "--persist"];
        let mut up = Up::start(&[&["--mode", mode][..], &locked].concat());
        let failure = &up.event("rung-failed")["failure"];
        let what = failure["what"].as_str().unwrap();
        assert!(what.contains("wrong PIN"), "{mode}: {failure}");
        has_forgotten(&up, "83920174");
        drop(up);

        // The driver sends AT^NDISDUP itself.
        let login = ["--auth", "chap", "--user", "me"];
        let apn = ["--apn", "needle.example", "--password-file", &password];
        let up = Up::online(&[&["--mode", mode][..], &apn, &login].concat());
        let (name, driver) = processes(&up)[0].clone();
        assert_eq!(name, "driver");
        assert!(!found(driver, "needle.example").is_empty(), "{mode}");
        has_forgotten(&up, "swordfish-7Q");

        // Other programs send these lines.
        let lines = "AT+CPIN=\"61573948\"\nAT^AUTHDATA=1,1,\"\",\"marlin-8Q\",\"me\"\nAT+CGMM\n";
        let told = succeeds(&ask(&up, &["at", "--force"], lines));
        assert!(told.contains("ME906s-158"), "{mode}: {told}");
        has_forgotten(&up, "61573948");
        has_forgotten(&up, "marlin-8Q");
    }
}
