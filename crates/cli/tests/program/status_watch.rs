//! `uwwan status --watch` on a terminal, made by script(1) of util-linux.

use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::running::{PATIENCE, PROGRAM, Up, alone};

/// A live view on a terminal of its own.
struct Watch {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    seen: String,
}

impl Watch {
    fn start(up: &Up, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("script");
        let line = format!("stty rows 12 cols 60; exec {PROGRAM} status --watch");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        alone(&mut command);
        command
            .env("UWWAN_RUNTIME_DIR", up.base.path())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("script (util-linux) runs");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = out.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            bytes,
            seen: String::new(),
        }
    }

    /// Waits until the terminal was sent a text, and returns all that it was sent.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{text:?} does not come: {error}\n{:?}", self.seen),
            }
        }
        self.seen.clone()
    }

    fn press(&mut self, keys: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys).unwrap();
        stdin.flush().unwrap();
    }

    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What leaves the alternate screen (xterm's control sequences, mode 1049).
const LEAVES: &str = "\u{1b}[?1049l";
/// What begins a colour (ECMA-48, SGR).
const COLOURS: [&str; 2] = ["\u{1b}[38;5;", "\u{1b}[3"];

#[test]
fn the_live_view_is_drawn_and_left() {
    let up = Up::online(&[]);
    for keys in [&b"q"[..], b"\x03"] {
        let mut watch = Watch::start(&up, &[]);
        let seen = watch.until("q ends");
        assert!(seen.contains("\u{1b}[?1049h"), "an own screen: {seen:?}");
        assert!(
            seen.contains("HP lt4132") && seen.contains("NTBs"),
            "{seen:?}"
        );
        assert!(COLOURS.iter().any(|one| seen.contains(one)), "{seen:?}");
        watch.press(keys);
        watch.until(LEAVES);
        assert_eq!(watch.end(), Some(0));
    }
    let mut watch = Watch::start(&up, &[("NO_COLOR", "1")]);
    let seen = watch.until("q ends");
    assert!(!seen.contains("\u{1b}[38"), "no colour: {seen:?}");
    // The end of `up` ends it as well, and is told on the terminal as it was.
    up.down();
    watch.until("uwwan has stopped");
    assert_eq!(watch.end(), Some(0));
}
