//! A soak run: `up` on an emulated modem for a long time, with traffic in both directions, every
//! fault knob turned, resets, replugs, changes of the interface, and clients that connect and
//! leave.
//!
//! After the first minute, then every ten minutes, and at the end, all of these rest and the modem
//! is reset once more. When it is back online, the memory, descriptors and threads of driver and
//! monitor are measured. They must be what they were after the first minute, and every byte of
//! every stream must have arrived.
//!
//! `tools/soak` builds and runs it.

mod clients;
mod disturb;
mod gate;
mod measure;
mod run;
mod traffic;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use measure::Sample;
use run::Run;
use up::Up;

/// Time before the first measurement.
const WARM: Duration = Duration::from_secs(60);
/// Time between two measurements.
const INTERVAL: Duration = Duration::from_secs(600);
/// Time without a change before the first measurement. It is more than the emulated network keeps
/// the remains of a connection (TIME-WAIT).
const STILL: Duration = Duration::from_secs(15);
/// Time that is long enough for any step on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time in which every stream and client must have ended. It is more than a stream may go without a
/// byte.
const LAST_STREAM: Duration = Duration::from_secs(420);
/// Number of streams in each direction at a time.
const STREAMS: u64 = 2;

struct Arguments {
    program: PathBuf,
    logs: PathBuf,
    time: Duration,
    seed: u64,
}

fn arguments() -> Option<Arguments> {
    let mut given = std::env::args().skip(1);
    let arguments = Arguments {
        program: given.next()?.into(),
        logs: given.next()?.into(),
        time: Duration::from_secs(given.next()?.parse().ok()?),
        seed: given.next()?.parse().ok()?,
    };
    given.next().is_none().then_some(arguments)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: soak PROGRAM LOGS SECONDS SEED   (tools/soak calls it)");
        return ExitCode::from(2);
    };
    if let Err(error) = uwwan_tun::namespace::enter() {
        eprintln!("it cannot run here: {error}");
        return ExitCode::FAILURE;
    }
    let failures = soak(&arguments);
    for failure in &failures {
        println!("not ok - soak: {failure}");
    }
    if failures.is_empty() {
        println!("ok - soak: everything is where it was, and every byte has arrived");
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Runs, and returns the failures.
fn soak(arguments: &Arguments) -> Vec<String> {
    let base = match tempfile::tempdir() {
        Ok(base) => base,
        Err(error) => return vec![error.to_string()],
    };
    let Arguments {
        program,
        logs,
        seed,
        ..
    } = arguments;
    let mut up = match Up::start(program, base.path(), logs, *seed) {
        Ok(up) => up,
        Err(error) => return vec![format!("{}: {error}", program.display())],
    };
    if let Err(why) = up.wait_online(PATIENCE) {
        return vec![why];
    }
    let run = Run::new(up.sockets.clone());
    let result = std::thread::scope(|scope| {
        let mut seeds = seed.wrapping_mul(1000)..;
        let mut next = || seeds.next().unwrap_or_default();
        let run = &run;
        for stream in 0..2 * STREAMS {
            let seed = next();
            scope.spawn(move || traffic::work(run, seed, stream % 2 == 0));
        }
        for kind in clients::KINDS {
            let seed = next();
            scope.spawn(move || clients::work(run, seed, *kind));
        }
        scope.spawn(|| disturb::resets(run));
        scope.spawn(|| disturb::changes(run));
        let result = watch(run, &mut up, arguments.time);
        run.gate.end();
        result
    });
    let mut failures = run.failures();
    failures.extend(result.err());
    let losses = up.losses();
    tell_counts(&run, losses);
    failures.extend(idle(&run, losses));
    failures.extend(end(up, base.path()).err());
    failures
}

/// Lets all workers work, and measures in between. Fails at the first fault.
fn watch(run: &Run, up: &mut Up, time: Duration) -> Result<(), String> {
    let processes = up.processes()?;
    if processes.is_empty() {
        return Err("up names no process".into());
    }
    let begin = Instant::now();
    let mut due = WARM.min(time);
    let mut before: Option<Vec<Sample>> = None;
    loop {
        run.gate.open();
        while begin.elapsed() < due && run.failures().is_empty() {
            up.is_alive()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        let busy = run.gate.close(LAST_STREAM);
        if busy > 0 {
            return Err(format!("{busy} streams or clients do not end"));
        }
        if !run.failures().is_empty() {
            return Ok(());
        }
        renew(run, up)?;
        let samples = settled(up, &processes, before.as_deref())?;
        for ((name, _), sample) in processes.iter().zip(&samples) {
            let minutes = begin.elapsed().as_secs_f64() / 60.0;
            println!("{minutes:6.1} min  {name:8}{sample}");
        }
        match &before {
            None => before = Some(samples),
            Some(before) => {
                for (((name, _), sample), before) in processes.iter().zip(&samples).zip(before) {
                    for beyond in sample.beyond(before) {
                        run.failed(format!("{name}: {beyond} since the first minute"));
                    }
                }
            }
        }
        if due >= time || !run.failures().is_empty() {
            return Ok(());
        }
        due = (due + INTERVAL).min(time);
    }
}

/// Resets the modem, and waits until it is online again. How many pages of the transfer buffers are
/// resident depends on the traffic since the last loss. A reset makes a loss without traffic after
/// it, and at a loss `up` gives back the memory that the allocator keeps.
fn renew(run: &Run, up: &mut Up) -> Result<(), String> {
    let begin = Instant::now();
    let losses = up.losses();
    while up.losses() == losses {
        if begin.elapsed() >= PATIENCE {
            return Err("the modem cannot be reset".into());
        }
        up.wait_online(PATIENCE)?;
        disturb::reset(run);
        let asked = Instant::now();
        while up.losses() == losses && asked.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    up.wait_online(PATIENCE)
}

/// Measures once the modem is online and nothing is beyond `before`, or, for the first measurement,
/// once nothing has changed for [`STILL`]. Where neither happens, the last values are measured.
fn settled(
    up: &mut Up,
    processes: &[(String, u64)],
    before: Option<&[Sample]>,
) -> Result<Vec<Sample>, String> {
    let measure = || -> Result<Vec<Sample>, String> {
        let of = |(name, pid): &(String, u64)| {
            Sample::of(*pid).map_err(|error| format!("{name}: {error}"))
        };
        processes.iter().map(of).collect()
    };
    let begin = Instant::now();
    let mut last = measure()?;
    let mut still = begin;
    loop {
        up.wait_online(PATIENCE)?;
        std::thread::sleep(Duration::from_millis(500));
        let now = measure()?;
        let mut pairs = now.iter().zip(&last);
        if !pairs.all(|(now, last)| now.is_still(last)) {
            still = Instant::now();
        }
        let enough = match before {
            None => still.elapsed() >= STILL,
            Some(before) => {
                let mut pairs = now.iter().zip(before);
                pairs.all(|(now, before)| now.beyond(before).is_empty())
            }
        };
        if enough || begin.elapsed() >= PATIENCE {
            return Ok(now);
        }
        last = now;
    }
}

fn tell_counts(run: &Run, losses: u64) {
    let mebibytes = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::SeqCst) >> 20;
    println!(
        "arrived: {} MiB down, {} MiB up; the modem was lost {losses} times",
        mebibytes(&run.arrived.down),
        mebibytes(&run.arrived.up)
    );
    for (what, (tried, served)) in run.tries() {
        println!("{what}: {tried} times, {served} served");
    }
}

/// Returns the disturbances that have not happened, and were therefore not seen to do no harm.
fn idle(run: &Run, losses: u64) -> Vec<String> {
    let mut idle = Vec::new();
    let tries = run.tries();
    let kinds = clients::KINDS.iter().map(|(name, _)| *name);
    for what in kinds.chain(["AT^RESET", "ip address flush"]) {
        if tries.get(what).is_none_or(|(_, served)| *served == 0) {
            idle.push(format!("{what}: not once"));
        }
    }
    for (what, count) in [("down", &run.arrived.down), ("up", &run.arrived.up)] {
        if count.load(Ordering::SeqCst) == 0 {
            idle.push(format!("no stream {what} has arrived"));
        }
    }
    // A running `up` returns its status whatever the modem does, except to a client that a busy
    // machine does not let read the answer in time.
    if let Some((tried, served)) = tries.get("status")
        && served * 20 < tried * 19
    {
        idle.push(format!("status: {served} of {tried} served"));
    }
    if losses < 3 {
        idle.push(format!("the modem was lost {losses} times only"));
    }
    idle
}

/// Stops `up`, and checks what it leaves behind.
fn end(up: Up, base: &Path) -> Result<(), String> {
    let status = up.stop(PATIENCE)?;
    if !status.success() {
        return Err(format!("up has ended with {status}"));
    }
    let left: Vec<_> = std::fs::read_dir(base)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    if !left.is_empty() {
        return Err(format!("it has left {left:?} behind"));
    }
    let shown = std::process::Command::new("ip")
        .args(["link", "show", "dev", up::INTERFACE])
        .output();
    match shown {
        Ok(shown) if !shown.status.success() => Ok(()),
        Ok(_) => Err("it has left its interface behind".into()),
        Err(error) => Err(error.to_string()),
    }
}
