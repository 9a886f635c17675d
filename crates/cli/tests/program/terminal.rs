//! A program on a terminal of its own, made by script(1) of util-linux.

use std::io::{BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::running::{PATIENCE, alone};

/// A terminal with the program that runs on it, which is killed when it is dropped.
pub struct Terminal {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    /// Bytes of a character that is not complete.
    pending: Vec<u8>,
    /// All output that the terminal got.
    pub seen: String,
    /// The screen that follows from the output.
    pub screen: Screen,
}

impl Terminal {
    /// Runs a line of the shell on a terminal of 12 lines and 60 columns. `prepare` sets the
    /// environment of script(1).
    pub fn start(line: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("script");
        let line = format!("stty rows 12 cols 60; tty; {line}");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        alone(&mut command);
        prepare(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
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
            pending: Vec::new(),
            seen: String::new(),
            screen: Screen::new(12, 60),
        }
    }

    /// Reads the next output of the program.
    #[track_caller]
    fn take(&mut self, deadline: Instant, what: &str) {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.bytes.recv_timeout(left) {
            Ok(bytes) => {
                self.pending.extend_from_slice(&bytes);
                // The rest of a character that was cut comes with the next bytes.
                let whole = match std::str::from_utf8(&self.pending) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = self.pending.drain(..whole).collect();
                let text = String::from_utf8(text).unwrap();
                self.screen.write(&text);
                self.seen.push_str(&text);
            }
            Err(error) => panic!("{what:?} does not come: {error}\n{:?}", self.seen),
        }
    }

    /// Waits until the screen satisfies `fits`, with nothing written outside it.
    #[track_caller]
    pub fn until_screen(&mut self, what: &str, fits: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.screen.outside || !fits(&self.screen) {
            self.take(deadline, what);
        }
    }

    /// Gives the terminal another size, as a window does that its user resizes.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        let terminal = self.seen.lines().find(|line| line.starts_with("/dev/pts/"));
        let terminal = terminal.expect("the terminal's name").trim().to_owned();
        self.screen = Screen::new(rows, columns);
        let size = [rows.to_string(), columns.to_string()];
        let status = Command::new("stty")
            .args(["-F", &terminal, "rows", &size[0], "cols", &size[1]])
            .status();
        assert!(status.expect("stty (coreutils) runs").success());
    }

    /// Waits until the output contains a text, and returns all output.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            self.take(deadline, text);
        }
        self.seen.clone()
    }

    pub fn press(&mut self, keys: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys).unwrap();
        stdin.flush().unwrap();
    }

    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
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

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The screen of a terminal that understands the few control sequences (ECMA-48) with which the
/// view draws.
pub struct Screen {
    pub rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Whether something was written outside the screen since it was last cleared.
    pub outside: bool,
    /// A sequence that is not complete yet.
    sequence: Option<String>,
}

impl Screen {
    pub fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows: vec![vec![' '; columns]; rows],
            row: 0,
            column: 0,
            outside: false,
            sequence: None,
        }
    }

    pub fn line(&self, row: usize) -> String {
        self.rows[row].iter().collect()
    }

    pub fn shows(&self, text: &str) -> bool {
        (0..self.rows.len()).any(|row| self.line(row).contains(text))
    }

    pub fn write(&mut self, text: &str) {
        for one in text.chars() {
            if let Some(mut sequence) = self.sequence.take() {
                sequence.push(one);
                let ended =
                    sequence.len() > 1 && one.is_ascii_alphabetic() || !sequence.starts_with('[');
                if ended {
                    self.obey(&sequence);
                } else {
                    self.sequence = Some(sequence);
                }
                continue;
            }
            match one {
                '\x1b' => self.sequence = Some(String::new()),
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                one => {
                    match self
                        .rows
                        .get_mut(self.row)
                        .and_then(|row| row.get_mut(self.column))
                    {
                        Some(place) => *place = one,
                        None => self.outside = true,
                    }
                    self.column += 1;
                }
            }
        }
    }

    /// Carries out a sequence without its ESC.
    fn obey(&mut self, sequence: &str) {
        if let Some(place) = sequence
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix('H'))
        {
            let mut numbers = place.split(';').map(|number| number.parse().unwrap_or(1));
            self.row = numbers.next().unwrap_or(1) - 1;
            self.column = numbers.next().unwrap_or(1) - 1;
        }
        if sequence == "[2J" {
            self.rows.iter_mut().for_each(|row| row.fill(' '));
            self.outside = false;
        }
    }
}
