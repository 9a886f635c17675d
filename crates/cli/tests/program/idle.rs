//! An `up` without work sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::running::Up;

/// Time over which wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Threads that a real modem would not have.
const OF_THE_EMULATOR: [&str; 2] = ["emulated-modem", "uwwan-far-side"];

/// Returns how often each thread of a process has gone to sleep, except those of the emulated modem.
fn sleeps(pid: u64) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks.flatten() {
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let mut fields = status.lines().filter_map(|line| line.split_once(":\t"));
            fields
                .find(|(of, _)| *of == name)
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let name = field("Name");
        if OF_THE_EMULATOR.iter().all(|own| !name.starts_with(own)) {
            let name = format!("{name} {}", task.file_name().to_string_lossy());
            all.insert(name, field("voluntary_ctxt_switches").parse().unwrap());
        }
    }
    all
}

/// A thread that goes to sleep has been awake: at most once a second, in all threads of driver and
/// monitor together.
#[test]
fn nothing_wakes_up_where_nothing_is_to_do() {
    // An unsolicited message of the modem would be work.
    let up = Up::online(&["--knob", "signal_interval_ms=3600000"]);
    let status = up.status();
    let processes = status["processes"].as_array().unwrap();
    let pids: Vec<u64> = processes
        .iter()
        .filter_map(|it| it["pid"].as_u64())
        .collect();
    assert!(!pids.is_empty(), "{status}");
    let count = || -> BTreeMap<String, u64> { pids.iter().flat_map(|pid| sleeps(*pid)).collect() };
    let mut seen = Vec::new();
    // The work that follows coming online is over after a while.
    let quiet = (0..6).any(|_| {
        let before = count();
        std::thread::sleep(WINDOW);
        let mut woken: Vec<(u64, String)> = count()
            .into_iter()
            .map(|(name, after)| (after - before.get(&name).unwrap_or(&0), name))
            .filter(|(count, _)| *count > 0)
            .collect();
        woken.sort();
        let all: u64 = woken.iter().map(|(count, _)| count).sum();
        seen.push(format!("{all}: {woken:?}"));
        all <= WINDOW.as_secs()
    });
    assert!(quiet, "wake-ups in {WINDOW:?}: {seen:#?}");
    up.down();
}
