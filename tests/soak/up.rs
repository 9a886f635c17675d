//! The running `up`, as the soak run starts and observes it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use uwwan_modem::client::StatusClient;

/// Name of the interface.
pub const INTERFACE: &str = "soak0";
/// Size of the transfer buffers in bytes. Each is a separate mapping, see [`Up::start`].
pub const BUFFER: u32 = 131_072;

/// Every knob that is a fault, at some per cent of what it counts or at its least value, and the
/// knobs that make the modem quick.
const KNOBS: &[&str] = &[
    "settle_ms=20",
    "absent_ms=300",
    "ntb_out_max=131072",
    // These are knobs of the data path.
    "drop_out_ppm=10000",
    "drop_in_ppm=10000",
    "corrupt_in_ppm=10000",
    "garbage_in_ppm=10000",
    "short_in_ppm=10000",
    "empty_in_ppm=10000",
    "babble_in_ppm=10000",
    "fault_in_ppm=10000",
    "fault_out_ppm=10000",
    "stall_in_ppm=10000",
    "stall_out_ppm=10000",
    "reset_ppm=100",
    "replug_ppm=200",
    // Both happen once after each power-on.
    "stall_out_after=50",
    "stall_in_after=50",
    // These are knobs of the control session.
    "lose_notification_every=50",
    "garbage_response_every=50",
    "notification_storm=1",
    "indication_storm_hz=20",
    "stray_open_done=1",
    "busy_ms=50",
    "connect_ms=20",
    "sim_ms=50",
    "at_boot_ms=100",
    "nmea=on",
];

/// The running `up`, and the events that it has reported.
pub struct Up {
    child: Child,
    /// Directory with the sockets of `up`.
    pub sockets: PathBuf,
    losses: Arc<AtomicU64>,
    online: Arc<AtomicBool>,
}

impl Up {
    /// Starts `up` on the emulated modem, with its runtime directory under `base`. Its log goes to
    /// a file in `logs`.
    ///
    /// # Errors
    /// Fails when the program cannot be started.
    pub fn start(program: &Path, base: &Path, logs: &Path, seed: u64) -> io::Result<Self> {
        let size = BUFFER.to_string();
        let mut child = Command::new(program)
            .args(["up", "--device", "emulator", "--settle", "0.1", "--persist"])
            .args(["--json", "--route", "default", "--tun-name", INTERFACE])
            .args(["--block-size", &size, "--input-size", &size])
            .args(KNOBS.iter().flat_map(|knob| ["--knob", knob]))
            .args(["--knob", &format!("seed={seed}")])
            .env("UWWAN_RUNTIME_DIR", base)
            // From this size on, the C library maps each allocation by itself and unmaps it when it
            // is freed, so that a buffer that is left behind shows in the size of the memory.
            .env("MALLOC_MMAP_THRESHOLD_", (BUFFER / 2).to_string())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(logs.join("up.log"))?)
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let (losses, online) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (lost, came) = (Arc::clone(&losses), Arc::clone(&online));
        std::thread::spawn(move || {
            let lines = output.into_iter().flat_map(BufRead::lines);
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                match event["event"].as_str() {
                    Some("lost") => {
                        lost.fetch_add(1, Ordering::SeqCst);
                        came.store(false, Ordering::SeqCst);
                    }
                    Some("online") => came.store(true, Ordering::SeqCst),
                    _ => {}
                }
            }
        });
        Ok(Self {
            child,
            sockets: base.join("emulator"),
            losses,
            online,
        })
    }

    /// Returns how often the modem was lost.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// Waits until the modem is online.
    ///
    /// Returns a text when `up` is not online within `patience`, or has ended.
    pub fn wait_online(&mut self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !self.online.load(Ordering::SeqCst) {
            self.is_alive()?;
            if Instant::now() >= deadline {
                return Err(format!("not online within {} s", patience.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// # Errors
    /// Returns a text when `up` has ended.
    pub fn is_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("up has ended: {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns the status as JSON.
    ///
    /// # Errors
    /// Returns a text when `up` does not return its status.
    pub fn status(&self) -> Result<Value, String> {
        let client = StatusClient::connect(&self.sockets.join("control"));
        let reply = client.and_then(|mut client| client.status());
        let reply = reply.map_err(|failure| failure.one_line())?;
        reply
            .status
            .ok_or_else(|| "a status without content".into())
    }

    /// Returns the names and ids of the processes of `up`.
    ///
    /// # Errors
    /// Returns the errors of [`Up::status`].
    pub fn processes(&self) -> Result<Vec<(String, u64)>, String> {
        let status = self.status()?;
        let processes = status["processes"].as_array();
        let named = processes.into_iter().flatten().filter_map(|process| {
            let name = process["name"].as_str()?;
            Some((name.to_owned(), process["pid"].as_u64()?))
        });
        Ok(named.collect())
    }

    /// Asks for a clean stop, and waits for it.
    ///
    /// # Errors
    /// Returns a text when `up` does not stop.
    pub fn stop(mut self, patience: Duration) -> Result<ExitStatus, String> {
        let client = StatusClient::connect(&self.sockets.join("control"));
        let asked = client.and_then(|mut client| client.ask(uwwan_modem::share::Request::Stop {}));
        asked.map_err(|failure| failure.one_line())?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "it has not stopped within {} s",
            patience.as_secs()
        ))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
