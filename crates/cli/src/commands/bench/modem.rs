//! Measures a real modem, through the `uwwan up` that runs or through one that is started for each
//! visit.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use uwwan_figures::Kind;
use uwwan_modem::Selector;
use uwwan_modem::client::StatusClient;
use uwwan_modem::status::{FramingStatus, Status};

use super::contenders::Contender;
use super::cost::{self, Time};
use super::iperf3::{Server, Tools};
use super::link::{Amount, Direction, Link};
use super::outcome;
use crate::failure::{Exit, Failure, FailureKind};
use crate::running;

/// Longest time until a started `up` is online: slow firmware takes a minute before it answers.
const ONLINE_TIME: Duration = Duration::from_secs(180);
/// Longest time until a started `up` has stopped.
const STOP_TIME: Duration = Duration::from_secs(60);
/// Interval at which a started `up` is asked for its state.
const PULSE: Duration = Duration::from_millis(100);

/// The `up` that runs the modem, with the programs that measure.
pub struct Place {
    tools: Tools,
    through: Through,
}

enum Through {
    /// An `up` that ran before and keeps running.
    Running {
        base: Option<PathBuf>,
        device: Option<String>,
    },
    /// An `up` that is started for each visit, with these arguments.
    Started(Vec<String>),
}

impl Place {
    /// Looks for a running `up`, and decides whether to measure through it. Errors that can be
    /// found before the first visit are reported here.
    ///
    /// # Errors
    /// Fails when the server is not known or does not serve, or when a running `up` would have to
    /// be changed.
    pub fn choose(
        selector: Option<&Selector>,
        base: Option<&Path>,
        contenders: &[Contender],
        further: &[String],
        server: &Server,
    ) -> Result<Place, Failure> {
        let tools = Tools::find(server)?;
        let device = match selector {
            Some(Selector::Port(port)) => Some(port.clone()),
            _ => None,
        };
        let client = match running::status(base, device.as_deref()) {
            Ok(client) => client,
            Err(failure) if failure.kind == FailureKind::Missing => {
                let mut arguments = Vec::new();
                if let Some(selector) = selector {
                    arguments.extend(["--device".to_owned(), selector.to_string()]);
                }
                if !further
                    .iter()
                    .any(|word| word.split('=').next() == Some("--route"))
                {
                    // With IPv6, a socket that is bound to the interface needs a route all the
                    // same.
                    let length = if tools.address().is_ipv4() { 32 } else { 128 };
                    let route = format!("{}/{length}", tools.address());
                    arguments.extend(["--route".to_owned(), route]);
                }
                arguments.extend(further.iter().cloned());
                return Ok(Place {
                    tools,
                    through: Through::Started(arguments),
                });
            }
            Err(failure) => return Err(failure),
        };
        if !further.is_empty() || contenders.iter().any(|contender| !contender.is_plain()) {
            return Err(Failure::new(
                FailureKind::Busy,
                "uwwan up runs, and its options stay as they are",
            )
            .next("uwwan down, then bench again: it starts an `up` for each visit")
            .next("or leave the options out: the one that runs is measured as it is"));
        }
        let place = Place {
            tools,
            through: Through::Running {
                base: base.map(Path::to_owned),
                device,
            },
        };
        let state = state(client)?;
        place.tools.try_out(&state.interface()?)?;
        Ok(place)
    }

    /// Starts an `up` and waits until it is online, unless the one that runs is measured.
    ///
    /// # Errors
    /// Fails when the modem is not online, when its interface has another TUN mode than the one
    /// chosen, or when the server does not serve.
    pub fn visit(&self, contender: &Contender) -> Result<Real, Failure> {
        let (started, state) = match &self.through {
            Through::Running { base, device } => (
                None,
                state(running::status(base.as_deref(), device.as_deref())?)?,
            ),
            Through::Started(arguments) => {
                let mut started = Started::new(contender, arguments)?;
                let state = started.online()?;
                (Some(started), state)
            }
        };
        let interface = state.interface()?;
        if let Some(interface) = state.status.interface() {
            contender.check_mode(&interface.mode)?;
        }
        if started.is_some() {
            self.tools.try_out(&interface)?;
        }
        Ok(Real {
            tools: self.tools.clone(),
            interface,
            before: state,
            base: match &self.through {
                Through::Running { base, .. } => base.clone(),
                Through::Started(_) => started.as_ref().map(|started| started.base.clone()),
            },
            device: match &self.through {
                Through::Running { device, .. } => device.clone(),
                Through::Started(_) => None,
            },
            started,
        })
    }
}

/// The state that a running `up` reports.
struct State {
    pid: u32,
    status: Status,
}

impl State {
    fn interface(&self) -> Result<String, Failure> {
        match self.status.interface() {
            Some(interface) if self.status.online => Ok(interface.name.clone()),
            _ => Err(
                Failure::new(FailureKind::NoTraffic, "the modem is not online")
                    .because(&self.status.why)
                    .next("uwwan status --watch shows what it waits for"),
            ),
        }
    }
}

fn state(mut client: StatusClient) -> Result<State, Failure> {
    let reply = client.status()?;
    Ok(State {
        pid: reply.pid,
        status: reply.decode()?,
    })
}

/// An `up` that this process has started. It shares the error output of this process, so that the
/// user sees its messages while it comes online.
struct Started {
    child: Child,
    base: PathBuf,
}

impl Started {
    fn new(contender: &Contender, arguments: &[String]) -> Result<Started, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(FailureKind::Host, "cannot start uwwan up").because(error)
        };
        let program = std::env::current_exe().map_err(cannot)?;
        let base = std::env::temp_dir().join(format!("uwwan-bench-{}", std::process::id()));
        let child = Command::new(program)
            .arg("up")
            .arg("--runtime-dir")
            .arg(&base)
            // This `up` opens neither the proxy's public socket nor the AT port, so that two at
            // once do not collide.
            .args(["--proxy", "private", "--at-port", "false"])
            .args(contender.arguments())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        Ok(Started { child, base })
    }

    fn online(&mut self) -> Result<State, Failure> {
        let deadline = Instant::now() + ONLINE_TIME;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::new(kind_of(status.code()), "uwwan up has ended")
                    .because("what it said stands above"));
            }
            let state = running::status(Some(&self.base), None).and_then(state);
            match state {
                Ok(state) if state.status.online => return Ok(state),
                _ if Instant::now() < deadline => std::thread::sleep(PULSE),
                Ok(state) => return state.interface().map(|_| state),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIME;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Failure::new(kind_of(status.code()), "uwwan up has failed")
                        .because("what it said stands above"));
                }
                _ => std::thread::sleep(PULSE / 5),
            }
        }
        Err(Failure::new(
            FailureKind::Timeout,
            "uwwan up did not stop in time",
        ))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.stop();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir(&self.base);
    }
}

/// Returns a kind that leads to the same exit status as that of the program that was run.
fn kind_of(code: Option<i32>) -> FailureKind {
    let all = [
        FailureKind::Usage,
        FailureKind::Missing,
        FailureKind::Several,
        FailureKind::Permission,
        FailureKind::Busy,
        FailureKind::Refused,
        FailureKind::NoTraffic,
        FailureKind::Cancelled,
    ];
    all.into_iter()
        .find(|kind| code == Some(Exit::from(*kind) as i32))
        .unwrap_or(FailureKind::Host)
}

/// A real modem that is online.
pub struct Real {
    tools: Tools,
    interface: String,
    before: State,
    base: Option<PathBuf>,
    device: Option<String>,
    started: Option<Started>,
}

impl Link for Real {
    fn stream(&mut self, direction: Direction, time: Duration) -> Result<Amount, Failure> {
        self.tools.stream(&self.interface, direction, time)
    }

    fn small(&mut self, direction: Direction, time: Duration) -> Result<Option<Amount>, Failure> {
        self.tools.small(&self.interface, direction, time).map(Some)
    }

    fn ping(
        &mut self,
        load: Option<Direction>,
        time: Duration,
    ) -> Result<Option<Vec<Duration>>, Failure> {
        let load = match load {
            // The load ends with the pings at the latest, because it is killed when it is dropped.
            Some(direction) => {
                let load = self
                    .tools
                    .load(&self.interface, direction, time + STOP_TIME)?;
                std::thread::sleep(Duration::from_secs(1));
                Some(load)
            }
            None => None,
        };
        let times = self.tools.ping(&self.interface, time)?;
        if let Some(load) = load {
            load.stop()?;
        }
        Ok(Some(times))
    }

    fn framing(&self) -> Option<FramingStatus> {
        self.before.status.framing.clone()
    }

    fn processor(&self) -> Time {
        Time {
            driver: cost::of_threads(self.before.pid, |_| true),
            all: None,
            ..Time::default()
        }
    }

    fn end(mut self: Box<Self>) -> Result<Vec<(Kind, f64)>, Failure> {
        let client = running::status(self.base.as_deref(), self.device.as_deref())?;
        let after = state(client)?;
        let memory = cost::memory(after.pid, "VmHWM");
        if let Some(started) = &mut self.started {
            started.stop()?;
        }
        let (before, after) = (&self.before.status.traffic, &after.status.traffic);
        let mut figures = Vec::new();
        figures.extend(outcome::memory("of the driver, the most there was", memory));
        for (direction, before, after) in [
            ("to the modem", before.uplink, after.uplink),
            ("from the modem", before.downlink, after.downlink),
        ] {
            figures.extend(outcome::filling(
                direction,
                after.packets.saturating_sub(before.packets),
                after.blocks.saturating_sub(before.blocks),
            ));
        }
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_handed_on() {
        assert_eq!(kind_of(Some(3)), FailureKind::Missing);
        assert_eq!(kind_of(Some(1)), FailureKind::Host);
        assert_eq!(kind_of(Some(99)), FailureKind::Host);
        assert_eq!(kind_of(None), FailureKind::Host);
    }
}
