//! Runs the programs that measure a real modem: `iperf3` against a server beyond it, and `ping`.

use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::link::{Amount, Direction, SMALL};
use crate::failure::{Failure, FailureKind};
use crate::output::plain;

/// TCP port at which `iperf3 --server` listens unless it is told otherwise.
const PORT: u16 = 5201;
/// Longest time that a program may take beyond the time for which it measures.
const PATIENCE: Duration = Duration::from_secs(20);
/// Greatest number of bytes that are read from a program.
const LONGEST: u64 = 4 << 20;
/// Longest time that a program may take to end when it is asked to.
const LEAVE: Duration = Duration::from_secs(5);
/// Interval at which a program is checked for its end.
const PULSE: Duration = Duration::from_millis(20);

/// Host and port of an iperf3 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected HOST, HOST:PORT or [IPV6]:PORT";
        let port = |text: &str| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("{text:?} is no port; {EXPECTED}")),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            match rest.split_once(']').ok_or(EXPECTED)? {
                (host, "") => (host, PORT),
                (host, rest) => (host, port(rest.strip_prefix(':').ok_or(EXPECTED)?)?),
            }
        } else {
            match text.split_once(':') {
                // A second colon makes it an IPv6 address without brackets.
                Some((_, rest)) if rest.contains(':') => (text, PORT),
                Some((host, rest)) => (host, port(rest)?),
                None => (text, PORT),
            }
        };
        let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.chars().all(sane) {
            return Err(EXPECTED.to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// The programs, with the server against which they measure.
#[derive(Debug, Clone)]
pub struct Tools {
    address: IpAddr,
    port: u16,
}

impl Tools {
    /// Checks that both programs can be run, and looks up the server's address.
    ///
    /// # Errors
    /// Fails with [`FailureKind::Missing`] when a program cannot be run, and with
    /// [`FailureKind::Usage`] when the server has no address.
    pub fn find(server: &Server) -> Result<Tools, Failure> {
        for (program, argument) in [("iperf3", "--version"), ("ping", "-V")] {
            let found = Command::new(program)
                .arg(argument)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if let Err(error) = found {
                return Err(
                    Failure::new(FailureKind::Missing, format!("cannot run {program}"))
                        .because(error)
                        .next("install it (Debian: apt install iperf3 iputils-ping)"),
                );
            }
        }
        let unknown = |why: String| {
            Failure::new(FailureKind::Usage, "the iperf3 server is not known")
                .at(format!("--server {}", server.host))
                .because(why)
                .next("name it by its address; a name must be known before the modem is online")
        };
        let mut addresses = (server.host.as_str(), server.port)
            .to_socket_addrs()
            .map_err(|error| unknown(error.to_string()))?;
        let address = addresses
            .next()
            .ok_or_else(|| unknown("it has no address".to_owned()))?;
        Ok(Tools {
            address: address.ip(),
            port: server.port,
        })
    }

    /// Returns the server's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Sends next to nothing to the server, so that one which does not serve is reported at once.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] and what iperf3 said when it did not succeed.
    pub fn try_out(&self, interface: &str) -> Result<(), Failure> {
        self.iperf3(interface, &["--bytes", "1K"], Duration::ZERO)?
            .finish()
            .map(drop)
    }

    /// Measures a TCP stream for `time`, and returns the payload bytes that were received.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] when the stream does not get through.
    pub fn stream(
        &self,
        interface: &str,
        direction: Direction,
        time: Duration,
    ) -> Result<Amount, Failure> {
        let outcome = self.load(interface, direction, time)?.finish()?;
        amount(&outcome["end"]["sum_received"], |sum| sum["bytes"].as_f64())
    }

    /// Starts a TCP stream for `time`, and leaves it running.
    ///
    /// # Errors
    /// Fails when iperf3 cannot be started.
    pub fn load(
        &self,
        interface: &str,
        direction: Direction,
        time: Duration,
    ) -> Result<Running, Failure> {
        let seconds = whole_seconds(time);
        let mut arguments = vec!["--time", &seconds];
        if direction == Direction::Down {
            arguments.push("--reverse");
        }
        self.iperf3(interface, &arguments, time)
    }

    /// Measures small UDP packets for `time`, and returns the number of those that arrived.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] when the packets do not get through.
    pub fn small(
        &self,
        interface: &str,
        direction: Direction,
        time: Duration,
    ) -> Result<Amount, Failure> {
        let (seconds, length) = (whole_seconds(time), SMALL.to_string());
        let mut arguments = vec![
            "--udp",
            "--bitrate",
            "0",
            "--length",
            &length,
            "--time",
            &seconds,
        ];
        if direction == Direction::Down {
            arguments.push("--reverse");
        }
        let outcome = self.iperf3(interface, &arguments, time)?.finish()?;
        amount(&outcome["end"]["sum"], |sum| {
            Some(sum["packets"].as_f64()? - sum["lost_packets"].as_f64()?)
        })
    }

    /// Measures round trips for `time`, five a second and at least five.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] when no echo request is answered.
    pub fn ping(&self, interface: &str, time: Duration) -> Result<Vec<Duration>, Failure> {
        // `ping` lets ordinary users send five requests a second.
        let count = ((time.as_secs_f64() * 5.0) as u32).max(5).to_string();
        let mut command = Command::new("ping");
        command
            .args(["-n", "-I", interface, "-c", &count, "-i", "0.2", "-W", "2"])
            .arg(self.address.to_string());
        let (_, said, complaint) = Running::start(command, "ping", time)?.wait()?;
        let times = round_trips(&said);
        if times.is_empty() {
            let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
            let why = if complaint.is_empty() {
                last(&said)
            } else {
                last(&complaint)
            };
            return Err(Failure::new(FailureKind::NoTraffic, "nothing comes back")
                .at(format!("ping {} through {interface}", self.address))
                .because(plain(&why)));
        }
        Ok(times)
    }

    fn iperf3(
        &self,
        interface: &str,
        arguments: &[&str],
        time: Duration,
    ) -> Result<Running, Failure> {
        let mut command = Command::new("iperf3");
        command
            .arg("--client")
            .arg(self.address.to_string())
            .args(["--port", &self.port.to_string()])
            .args(["--bind-dev", interface])
            .args(["--connect-timeout", "8000", "--interval", "0", "--json"])
            .args(arguments);
        let place = format!("iperf3 to {} through {interface}", self.address);
        Running::start(command, &place, time)
    }
}

fn whole_seconds(time: Duration) -> String {
    time.as_secs_f64().ceil().max(1.0).to_string()
}

fn amount(sum: &Value, count: impl Fn(&Value) -> Option<f64>) -> Result<Amount, Failure> {
    let read = || {
        let (count, seconds) = (count(sum)?, sum["seconds"].as_f64()?);
        Some(Amount {
            count: count.max(0.0) as u64,
            time: Duration::try_from_secs_f64(seconds).ok()?,
        })
    };
    read().ok_or_else(|| {
        Failure::new(FailureKind::Host, "iperf3 does not say what it measured")
            .next("use iperf3 3.10 or later on both machines")
    })
}

/// Returns the round-trip times in the output of `ping`.
fn round_trips(said: &str) -> Vec<Duration> {
    said.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once("time=")?;
            let milliseconds: f64 = rest.split_whitespace().next()?.parse().ok()?;
            Duration::try_from_secs_f64(milliseconds / 1e3).ok()
        })
        .collect()
}

/// A running program, which is killed when it is dropped.
pub struct Running {
    child: Child,
    said: Option<[JoinHandle<String>; 2]>,
    place: String,
    deadline: Instant,
}

impl Running {
    fn start(mut command: Command, place: &str, time: Duration) -> Result<Running, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(FailureKind::Host, "cannot run a program")
                .at(place.to_owned())
                .because(error)
        };
        let mut child = command
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let out = listen(child.stdout.take());
        let err = listen(child.stderr.take());
        Ok(Running {
            child,
            said: Some([out, err]),
            place: place.to_owned(),
            deadline: Instant::now() + time + PATIENCE,
        })
    }

    /// Waits for the end of the program. Returns whether it succeeded, its output and its error
    /// output.
    fn wait(mut self) -> Result<(bool, String, String), Failure> {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < self.deadline => std::thread::sleep(PULSE),
                Ok(None) => {
                    return Err(Failure::new(FailureKind::NoTraffic, "the other end keeps silent")
                        .at(self.place.clone())
                        .because("the program has not ended in time and was stopped")
                        .next("look whether that machine runs `iperf3 --server`, and nobody else is using it"));
                }
                Err(error) => {
                    return Err(Failure::new(FailureKind::Host, "a program is lost")
                        .at(self.place.clone())
                        .because(error));
                }
            }
        };
        let mut said = self.said.take().into_iter().flatten();
        let mut next = || {
            said.next()
                .and_then(|said| said.join().ok())
                .unwrap_or_default()
        };
        Ok((status.success(), next(), next()))
    }

    /// Interrupts the program as Ctrl-C does, so that its server is free for the next client.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] and what the program said when it has failed by
    /// itself.
    pub fn stop(mut self) -> Result<(), Failure> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return self.finish().map(drop);
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::INT);
        }
        let deadline = Instant::now() + LEAVE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PULSE);
        }
        // The server needs a moment to notice.
        std::thread::sleep(LEAVE / 10);
        Ok(())
    }

    /// Waits for the end of iperf3, and returns its report.
    ///
    /// # Errors
    /// Fails with [`FailureKind::NoTraffic`] and what iperf3 said when it did not succeed.
    pub fn finish(self) -> Result<Value, Failure> {
        let place = self.place.clone();
        let (good, said, complaint) = self.wait()?;
        let outcome: Value = serde_json::from_str(&said).unwrap_or_default();
        match outcome["error"].as_str() {
            None if good && outcome.is_object() => Ok(outcome),
            error => {
                let lines = complaint
                    .lines()
                    .next()
                    .unwrap_or("it failed without a word");
                Err(Failure::new(FailureKind::NoTraffic, "the iperf3 server does not serve")
                    .at(place)
                    .because(plain(error.unwrap_or(lines)))
                    .next("look whether that machine runs `iperf3 --server`, and is reached through the modem"))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the output of a program on a thread of its own, `LONGEST` bytes at most.
fn listen(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(LONGEST).read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let server = |host: &str, port| {
            Ok(Server {
                host: host.into(),
                port,
            })
        };
        assert_eq!("a.example".parse(), server("a.example", 5201));
        assert_eq!("192.0.2.1:7".parse(), server("192.0.2.1", 7));
        assert_eq!("[2001:db8::1]:7".parse(), server("2001:db8::1", 7));
        assert_eq!("[2001:db8::1]".parse(), server("2001:db8::1", 5201));
        assert_eq!("2001:db8::1".parse(), server("2001:db8::1", 5201));
        for wrong in [
            "", ":5201", "a:", "a:0", "a:70000", "-c", "[::1", "[::1]x", "a b", "a\u{7}",
        ] {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_programs_say_is_read() {
        let said = "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.250 ms\n\
                    64 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=12.5 ms\nrubbish time=x\n";
        assert_eq!(
            round_trips(said),
            [Duration::from_micros(250), Duration::from_micros(12_500)]
        );
        let sum = serde_json::json!({"packets": 10, "lost_packets": 4, "seconds": 2.0, "bytes": 8});
        let got = amount(&sum, |sum| sum["bytes"].as_f64()).unwrap();
        assert_eq!((got.count, got.time), (8, Duration::from_secs(2)));
        for wrong in [
            "{}",
            r#"{"bytes":1}"#,
            r#"{"bytes":1,"seconds":-1}"#,
            "[]",
            "null",
        ] {
            let sum = serde_json::from_str(wrong).unwrap();
            assert!(
                amount(&sum, |sum| sum["bytes"].as_f64()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_unknown_server_is_told() {
        let server = "no-such-host.invalid".parse().unwrap();
        let failure = Tools::find(&server).unwrap_err();
        assert!(
            matches!(failure.kind, FailureKind::Usage | FailureKind::Missing),
            "{failure}"
        );
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut running = Running::start(command, "sleep", Duration::ZERO).unwrap();
        running.deadline = Instant::now() + Duration::from_millis(50);
        let failure = running.finish().unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoTraffic);
    }

    #[test]
    fn rubbish_is_no_measurement() {
        for words in ["{\"error\":\"unable to connect\"}", "null", "{", ""] {
            let mut command = Command::new("echo");
            command.arg(words);
            let running = Running::start(command, "echo", Duration::ZERO).unwrap();
            assert_eq!(
                running.finish().unwrap_err().kind,
                FailureKind::NoTraffic,
                "{words}"
            );
        }
    }
}
