//! Counts how many instructions the codecs take. valgrind counts them, so that a change for the
//! worse is seen without a clock, on any machine, whatever else it does.
//!
//! ```sh
//! cargo run --release -p uwwan-benches --bin instructions            # count and compare
//! cargo run --release -p uwwan-benches --bin instructions -- record  # it is meant: keep the new counts
//! ```
//!
//! Each workload is run twice, a few times and many times. The difference of the instructions is
//! divided by the difference of the times, which leaves out the program's start and end. Counts
//! depend on the compiler and, through the parts of the standard and the C library that choose by
//! it, on the processor; `benches/instructions.json` keeps them by both. Where there are none for
//! this compiler and processor, those of another are shown beside them, nothing is judged, and the
//! exit status is 77.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde_json::Value;
use uwwan_benches::segments::{self, Large, Row, SEGMENTS};
use uwwan_benches::{WORKLOADS, Workload, fill, framing, ntb};
use uwwan_ncm::{Builder, Format, Limits, Receiver};
use uwwan_tun::checksum::Sum;
use uwwan_tun::coalesce::{Coalescer, Merge};
use uwwan_tun::scatter::Scatter;

/// Fraction by which a count may differ from the recorded one.
const TOLERANCE: f64 = 0.03;
/// Number of runs of a workload, once few and once many.
const RUNS: [usize; 2] = [20, 220];
/// Exit status of a check that had nothing to compare with.
const SKIPPED: u8 = 77;

/// Function that does a piece of work a number of times and returns the number of datagrams in one
/// of them.
type Work = fn(usize) -> usize;

const WORK: [(&str, Work); 9] = [
    ("build a 16 KiB NTB, 1500-byte packets", |n| {
        build(n, Format::Ntb16, &WORKLOADS[0])
    }),
    ("build a 16 KiB NTB, 40-byte packets", |n| {
        build(n, Format::Ntb16, &WORKLOADS[1])
    }),
    ("build a 16 KiB NTB, NTB32, 1500-byte packets", |n| {
        build(n, Format::Ntb32, &WORKLOADS[0])
    }),
    ("parse a 16 KiB NTB, 1500-byte packets", |n| {
        parse(n, Format::Ntb16, &WORKLOADS[0])
    }),
    ("parse a 16 KiB NTB, 40-byte packets", |n| {
        parse(n, Format::Ntb16, &WORKLOADS[1])
    }),
    ("parse a 16 KiB NTB, NTB32, 1500-byte packets", |n| {
        parse(n, Format::Ntb32, &WORKLOADS[0])
    }),
    ("cut a large packet where it lies", cut),
    ("merge a run of segments", merge),
    ("checksum 1500 bytes", checksum),
];

fn build(times: usize, format: Format, workload: &Workload) -> usize {
    let framing = framing(format, false, workload);
    let mut builder = Builder::new(framing);
    let mut bytes = vec![0; framing.max_ntb];
    let mut datagrams = 0;
    for _ in 0..times {
        datagrams = fill(&mut builder, black_box(&mut bytes), workload).1;
    }
    datagrams
}

fn parse(times: usize, format: Format, workload: &Workload) -> usize {
    let bytes = ntb(framing(format, false, workload), workload);
    let mut receiver = Receiver::new(Limits::default());
    let mut datagrams = 0;
    for _ in 0..times {
        datagrams = 0;
        receiver.receive(black_box(&bytes), |datagram| {
            black_box(datagram);
            datagrams += 1;
        });
    }
    datagrams
}

fn cut(times: usize) -> usize {
    let large = Large::new(1);
    let mut memory = segments::memory();
    let mut scatter = Scatter::new(1500);
    for _ in 0..times {
        let mut row = Row::new(memory.len());
        let read = |buffers: &mut [std::io::IoSliceMut<'_>]| large.read(buffers);
        let received = scatter.receive(read, &mut [black_box(&mut memory)], &mut row);
        black_box(received).expect("placed");
    }
    SEGMENTS
}

fn merge(times: usize) -> usize {
    let datagrams = Large::new(1).datagrams();
    let mut coalescer = Coalescer::new(Merge {
        tcp: true,
        udp: true,
    });
    for _ in 0..times {
        let mut batch = coalescer.batch(|packet| {
            black_box(packet.length);
        });
        for datagram in &datagrams {
            batch.push(black_box(datagram));
        }
        batch.finish();
    }
    SEGMENTS
}

fn checksum(times: usize) -> usize {
    let bytes = vec![0x5a; 1500];
    for _ in 0..times {
        black_box(Sum::of(black_box(&bytes)).fold());
    }
    1
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        [] => check(),
        ["record"] => record(),
        ["run", name, times] => run(name, times).map(|()| ExitCode::SUCCESS),
        _ => Err("usage: instructions [record]".to_owned()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("instructions: {error}");
        ExitCode::FAILURE
    })
}

/// Runs a workload, under valgrind.
fn run(name: &str, times: &str) -> Result<(), String> {
    let found = WORK.iter().find(|(of, _)| *of == name);
    let (_, work) = found.ok_or("there is no such workload")?;
    black_box(work(times.parse().map_err(|_| "no number of times")?));
    Ok(())
}

/// Counts the instructions of every workload, for one run of it.
fn count() -> Result<BTreeMap<String, f64>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut counts = BTreeMap::new();
    for (name, _) in WORK {
        let mut totals = [0; 2];
        for (total, times) in totals.iter_mut().zip(RUNS) {
            let output = Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(&program)
                .args(["run", name, &times.to_string()])
                .output()
                .map_err(|error| format!("valgrind: {error} (tools/setup installs it)"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            *total = collected(&said)
                .filter(|_| output.status.success())
                .ok_or_else(|| format!("valgrind has counted nothing: {said}"))?;
        }
        let more = totals[1]
            .checked_sub(totals[0])
            .ok_or("more work takes less")?;
        let once = more as f64 / (RUNS[1] - RUNS[0]) as f64;
        counts.insert(name.to_owned(), once.round());
    }
    Ok(counts)
}

/// Returns the count in the last lines that callgrind prints.
fn collected(said: &str) -> Option<u64> {
    let mut lines = said.lines();
    let (_, count) = lines.find_map(|line| line.split_once("Collected :"))?;
    count.trim().parse().ok()
}

/// Returns the compiler and the processor, on which counts depend.
fn circumstances() -> Result<String, String> {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(&compiler).arg("--version").output();
    let output = output.map_err(|error| format!("{compiler}: {error}"))?;
    let version = String::from_utf8_lossy(&output.stdout);
    // The version is used without the date: "rustc 1.91.0 (abcdef 2025-10-28)".
    let version = version
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    Ok(format!(
        "{version}, {}{}",
        std::env::consts::ARCH,
        processor()
    ))
}

#[cfg(target_arch = "x86_64")]
fn processor() -> &'static str {
    if std::is_x86_feature_detected!("avx2") {
        " with avx2"
    } else {
        ""
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> &'static str {
    ""
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

type Records = BTreeMap<String, BTreeMap<String, f64>>;

fn records() -> Result<Records, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file().display());
    let text = std::fs::read_to_string(file()).map_err(|error| told(&error))?;
    serde_json::from_str(&text).map_err(|error| told(&error))
}

fn record() -> Result<ExitCode, String> {
    let mut all = if file().exists() {
        records()?
    } else {
        Records::new()
    };
    let circumstances = circumstances()?;
    let counts = count()?;
    for (name, count) in &counts {
        println!("{count:>8}  {name}");
    }
    all.insert(circumstances, counts);
    let value: Value = serde_json::to_value(&all).map_err(|error| error.to_string())?;
    let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
    std::fs::write(file(), text + "\n").map_err(|error| error.to_string())?;
    println!("kept in {}", file().display());
    Ok(ExitCode::SUCCESS)
}

fn check() -> Result<ExitCode, String> {
    let (all, circumstances) = (records()?, circumstances()?);
    let own = all.get(&circumstances);
    let (of, kept) = match own {
        Some(kept) => (&circumstances, kept),
        None => all.iter().next_back().ok_or("nothing is recorded")?,
    };
    let counts = count()?;
    println!("instructions, here ({circumstances}) and as recorded ({of})");
    let mut judged = Judged::default();
    for (name, work) in WORK {
        let count = counts[name];
        let each = count / work(1).max(1) as f64;
        let verdict = judged.take(count, kept.get(name).copied());
        println!("{count:>8} {verdict:<22} {each:>7.1} a datagram  {name}");
    }
    if own.is_none() {
        println!(
            "NOT COMPARED: nothing is recorded for {circumstances}; 'instructions -- record' does that"
        );
        return Ok(ExitCode::from(SKIPPED));
    }
    if judged.same() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "{} of {} differ by more than {} %. More instructions: find out what made them. Fewer, or \
         meant: cargo run --release -p uwwan-benches --bin instructions -- record, and commit \
         benches/instructions.json with the change",
        judged.differ,
        WORK.len(),
        TOLERANCE * 100.0
    ))
}

/// Outcome of comparing counts.
#[derive(Debug, Default)]
struct Judged {
    differ: usize,
}

impl Judged {
    /// Compares one count with the recorded one and describes the outcome.
    fn take(&mut self, count: f64, kept: Option<f64>) -> String {
        let Some(kept) = kept.filter(|kept| *kept > 0.0) else {
            self.differ += 1;
            return "not recorded".to_owned();
        };
        let change = count / kept - 1.0;
        let differs = change.abs() > TOLERANCE;
        self.differ += usize::from(differs);
        let mark = if differs { " DIFFERS" } else { "" };
        format!("({kept}, {:+.1} %){mark}", change * 100.0)
    }

    fn same(&self) -> bool {
        self.differ == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_recorded_and_does_something() {
        let records = records().expect("the file is there");
        for (name, work) in WORK {
            assert!(work(2) > 0, "{name}");
            for (of, kept) in &records {
                assert!(
                    kept.get(name).is_some_and(|count| *count > 0.0),
                    "{of}: {name}"
                );
            }
        }
    }

    #[test]
    fn differences_beyond_the_tolerance_count() {
        let mut judged = Judged::default();
        for count in [98.0, 100.0, 102.0] {
            judged.take(count, Some(100.0));
        }
        assert!(judged.same());
        for (count, kept) in [(104.0, Some(100.0)), (96.0, Some(100.0)), (1.0, None)] {
            let mut judged = Judged::default();
            judged.take(count, kept);
            assert!(!judged.same(), "{count}");
        }
    }

    #[test]
    fn the_count_is_found() {
        assert_eq!(collected("==1== Collected : 12345\n"), Some(12345));
        assert_eq!(collected("==1== nothing"), None);
    }
}
