//! `uwwan emulate --listen` with a hostile USB/IP host.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::running::PATIENCE;

/// Time within which a signal ends the program. Without a flood it takes some milliseconds.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Bytes by which a flood may make the program grow, which leaves room for buffers, but not for a
/// record of each request.
const ROOM: u64 = 32 << 20;
/// Bytes of a flood whose answers are read. Keeping the answers would take more than [`ROOM`].
const FLOOD: usize = 64 << 20;

/// Returns USBIP_CMD_UNLINK for a transfer that does not exist.
fn unlink() -> Vec<u8> {
    [2u32, 9, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0]
        .map(u32::to_be_bytes)
        .concat()
}

/// A running `emulate --listen`, from which a host has imported the modem.
struct Emulate {
    child: Child,
    host: TcpStream,
    _base: tempfile::TempDir,
}

impl Emulate {
    fn imported() -> Self {
        let base = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_uwwan"))
            .args(["emulate", "--listen", "127.0.0.1:0"])
            .env("UWWAN_RUNTIME_DIR", base.path())
            .env_remove("UWWAN_LOG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the program goes on").unwrap();
            if let Some(rest) = line.strip_prefix("listening on ") {
                break rest.split(';').next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let mut host = TcpStream::connect(address).unwrap();
        host.set_read_timeout(Some(PATIENCE)).unwrap();
        // The message is OP_REQ_IMPORT of bus id 1-1, version 1.1.1.
        let mut import = vec![1, 0x11, 0x80, 3, 0, 0, 0, 0];
        import.extend(b"1-1");
        import.resize(8 + 32, 0);
        host.write_all(&import).unwrap();
        let mut answer = [0; 8 + 312];
        host.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..8], [1, 0x11, 0, 3, 0, 0, 0, 0]);
        Self {
            child,
            host,
            _base: base,
        }
    }

    /// Returns the resident memory of the program in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.unwrap().trim_end_matches("kB").trim();
        kibibytes.parse::<u64>().unwrap() << 10
    }

    /// Sends the program SIGTERM, and asserts that it ends cleanly and at once.
    fn terminates(&mut self, when: &str) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let deadline = Instant::now() + AT_ONCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "SIGTERM is ignored {when}");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{when}: {status}");
    }
}

impl Drop for Emulate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.host.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_signal_ends_it_while_a_host_sends_unlinks_and_reads_nothing() {
    let mut emulate = Emulate::imported();
    let before = emulate.resident();
    let many = unlink().repeat(1000);
    emulate
        .host
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut sent = 0;
    // The program stops reading once its answers are not read; until then it is flooded.
    let full = loop {
        match emulate.host.write(&many[sent % many.len()..]) {
            Ok(length) => sent += length,
            Err(error) => break error.kind(),
        }
        assert!(
            emulate.resident() < before + ROOM,
            "{sent} bytes were sent, and the program has {} more",
            emulate.resident() - before
        );
    };
    assert_eq!(full, ErrorKind::WouldBlock, "the host is not hung up on");
    let mut flood = emulate.host.try_clone().unwrap();
    flood.set_write_timeout(None).unwrap();
    let flooding = std::thread::spawn(move || while flood.write_all(&many).is_ok() {});
    emulate.terminates("while answers wait");
    flooding.join().unwrap();
}

#[test]
fn a_signal_ends_it_in_the_midst_of_unlinks_that_are_answered() {
    let mut emulate = Emulate::imported();
    let before = emulate.resident();
    let many = unlink().repeat(1000);
    let mut reader = emulate.host.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut room = vec![0; 1 << 16];
        while reader.read(&mut room).is_ok_and(|length| length > 0) {}
    });
    let mut sent = 0;
    while sent < FLOOD {
        emulate.host.write_all(&many).unwrap();
        sent += many.len();
    }
    let grown = emulate.resident().saturating_sub(before);
    assert!(grown < ROOM, "{grown} bytes more than before");
    let mut flood = emulate.host.try_clone().unwrap();
    let flooding = std::thread::spawn(move || while flood.write_all(&many).is_ok() {});
    emulate.terminates("under the flood");
    flooding.join().unwrap();
    reading.join().unwrap();
}
