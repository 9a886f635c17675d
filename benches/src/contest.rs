//! Figures from the samples of `tools/bench-kernel`.
//!
//! The guest writes one JSON object after another, with `kind`, `contender`, `round`, and the
//! measured values. Rates are those of iperf3's receiver. Processor time is that of the whole guest
//! while iperf3 ran, from its start to its end, and is divided by the bytes that the receiver got.

use std::collections::BTreeMap;

use serde_json::{Deserializer, Value};
use uwwan_figures::{Better, Figures, Kind, Spread};

const THROUGHPUT: &str = "Throughput";
const SMALL: &str = "Small packets";
const PING: &str = "Round trip";
const WHOLE: &str = "Processor time, the whole guest";
const HOST: &str = "Processor time, host side alone";
const MODEL: &str = "Processor time, device model";
const LOST: &str = "Lost or sent again";
const CALLS: &str = "System calls of the driver";
const MEMORY: &str = "Resident memory of the driver";
const FRAMING: &str = "NTBs";
const WAKEUPS: &str = "Wake-ups";

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Makes figures of all samples.
///
/// Returns an error that names the sample which is no JSON or lacks a field that it must have.
pub fn figures(samples: &str) -> Result<Figures, String> {
    let mut figures = Figures::new("cdc_mbim and uwwan on the same emulated modem");
    let mut setting = Setting::default();
    for (at, sample) in Deserializer::from_str(samples)
        .into_iter::<Value>()
        .enumerate()
    {
        let sample = sample.map_err(|error| format!("sample {}: {error}", at + 1))?;
        if sample["kind"] == "machine" {
            setting.outside = sample["redir"] == true;
            setting.counted = sample["icount"] == true;
        }
        take(&mut figures, setting, &sample)
            .ok_or_else(|| format!("sample {} ({}) lacks a field", at + 1, sample["kind"]))?;
    }
    for (group, sentence) in NOTES {
        let sentence = match group {
            HOST if setting.outside => OUTSIDE,
            THROUGHPUT if setting.outside => SHARED,
            _ => sentence,
        };
        if figures.of_group(group).next().is_some() {
            figures.note(group, sentence);
        }
    }
    Ok(figures)
}

/// The way in which the modem was reached, which decides what can be measured.
#[derive(Debug, Clone, Copy, Default)]
struct Setting {
    /// Whether the modem and the machine behind it are outside the guest.
    outside: bool,
    /// Whether the guest's clock counts instructions.
    counted: bool,
}

impl Setting {
    /// Returns whether times and rates mean something. They do not when the modem is outside and
    /// the guest's clock counts instructions, because the modem does not run by that clock.
    fn timed(self) -> bool {
        !(self.outside && self.counted)
    }
}

const OUTSIDE: &str = "All of the guest: modem and far machine are outside, behind QEMU's usb-redir \
    device. What QEMU itself does for the controller is not in it.";

const SHARED: &str = "TCP payload at the receiver. Modem and far machine have this machine's processors beside \
    the guest's, so these rates tell the cost of everything, not what a real bus would carry.";

const NOTES: [(&str, &str); 9] = [
    (
        THROUGHPUT,
        "TCP payload at the receiver. Modem, far machine and host share the guest's processors, so these \
         rates tell the cost of everything together, not what a real bus would carry.",
    ),
    (
        SMALL,
        "UDP with 64 bytes of payload, offered as fast as iperf3 can.",
    ),
    (
        HOST,
        "Without the emulator, the far machine's iperf3 and the threads of the virtual host controller. \
         The kernel accounts for the work of completions and soft interrupts with whatever they interrupt, \
         so the border is not sharp; a driver in the kernel gains by that, as its receive completions run in \
         the controller's threads.",
    ),
    (
        MODEL,
        "The emulator's process and the virtual host controller's threads: what a real modem and its \
         controller would do in hardware.",
    ),
    (
        LOST,
        "In a whole measurement. TCP's sender counts what it sent again; queueing disciplines and interfaces are \
         those of both machines, and sockets are UDP's. What is not told there was none of.",
    ),
    (
        CALLS,
        "Counted by the kernel on every thread of the process, a second at a time. A driver in the kernel \
         makes none.",
    ),
    (
        WAKEUPS,
        "Counted by the kernel in a measurement of their own. What makes a driver run: in the kernel, each \
         transfer that completes and each timer of cdc_ncm; in user space, each time that one of its threads is \
         woken, by a completion too. Beside that the completed transfers of either, the wake-ups of iperf3, and \
         how often a processor of the guest has left its idle state, for whomever: with the modem in the guest, \
         for modem and far machine, too.",
    ),
    (MEMORY, "The most there was in a visit (VmHWM)."),
    (
        FRAMING,
        "As the modem saw them over a whole visit. NTBs missing are gaps in the sequence numbers: \
         NTBs that the host built and lost.",
    ),
];

/// Adds the values of one sample. Returns `None` when a field is missing.
fn take(figures: &mut Figures, setting: Setting, sample: &Value) -> Option<()> {
    let contender = sample["contender"].as_str()?;
    match sample["kind"].as_str()? {
        "machine" => machine(figures, sample),
        "traffic" => traffic(figures, setting, contender, sample)?,
        "failure" => failure(figures, contender, sample)?,
        "ping" if setting.timed() => ping(figures, contender, sample)?,
        "calls" => calls(figures, contender, sample)?,
        "wakeups" => wakeups(figures, contender, sample)?,
        "status" => agreed(figures, contender, &sample["status"]["framing"]),
        "memory" => figures.record(
            &Kind::new(MEMORY, "peak", "MiB", Better::Lower),
            contender,
            sample["peak_kib"].as_f64()? / 1024.0,
        ),
        "modem" => modem(figures, contender, &sample["report"]["counters"])?,
        _ => {}
    }
    Some(())
}

fn machine(figures: &mut Figures, sample: &Value) {
    for (name, field) in [
        ("begun", "begun"),
        ("command", "command"),
        ("program", "program"),
        ("guest kernel", "kernel"),
        ("guest processor", "model"),
        ("guest processors", "processors"),
        ("rounds", "rounds"),
        ("seconds a measurement", "seconds"),
        ("queueing discipline", "qdisc"),
        ("congestion control", "congestion"),
    ] {
        let text = match &sample[field] {
            Value::String(text) => text.trim().to_owned(),
            Value::Null => continue,
            other => other.to_string(),
        };
        figures.fact(name, text);
    }
    let air = sample["air"].as_str().filter(|air| !air.is_empty());
    figures.fact("link", air.unwrap_or("no bound"));
    let knobs = sample["knobs"].as_array().into_iter().flatten();
    let knobs: Vec<&str> = knobs.filter_map(Value::as_str).collect();
    if !knobs.is_empty() {
        figures.fact("knobs", knobs.join(" "));
    }
    let clock = if sample["icount"] == true {
        "counts instructions (1 ns each): results repeat, on whatever machine"
    } else {
        "the machine's: results depend on it and on what else it does; only ratios tell something"
    };
    figures.fact("guest clock", clock);
    let modem = if sample["redir"] == true {
        "outside the guest, behind usb-redir on an xHCI controller"
    } else {
        "in the guest, on its virtual host controller"
    };
    figures.fact("device model", modem);
}

fn traffic(figures: &mut Figures, setting: Setting, contender: &str, sample: &Value) -> Option<()> {
    let test = sample["test"].as_str()?;
    let end = &sample["iperf3"]["end"];
    let micros = |party: &str| sample["micros"][party].as_f64();
    let processors = sample["processors"].as_f64()?;
    let busy = micros("wall")? * processors - micros("idle")?;
    let model = micros("emulator")? + micros("controller")?;
    let mut rate = |kind: Kind, value: f64| {
        if setting.timed() {
            figures.record(&kind, contender, value);
        }
    };
    let (per, amount) = if test.starts_with("UDP") {
        let sum = &end["sum"];
        let arrived = sum["packets"].as_f64()? - sum["lost_packets"].as_f64()?;
        let kind = Kind::new(SMALL, test, "packets/s", Better::Higher);
        rate(kind, arrived / sum["seconds"].as_f64()?);
        ("µs/packet", arrived)
    } else {
        let sum = &end["sum_received"];
        let kind = Kind::new(THROUGHPUT, test, "Mbit/s", Better::Higher);
        rate(kind, sum["bits_per_second"].as_f64()? / 1e6);
        ("s/GiB", sum["bytes"].as_f64()? / GIB * 1e6)
    };
    if amount > 0.0 {
        for (group, time) in [
            (WHOLE, busy),
            (HOST, busy - model - micros("far")?),
            (MODEL, model),
        ] {
            // With the modem outside, the guest has neither a device model nor any other part than
            // the host.
            if setting.outside && group != HOST {
                continue;
            }
            let kind = Kind::new(group, test, per, Better::Lower);
            figures.record(&kind, contender, time / amount);
        }
    }
    losses(figures, contender, sample)
}

/// Records the losses beside a rate, if there were any.
fn losses(figures: &mut Figures, contender: &str, sample: &Value) -> Option<()> {
    let test = sample["test"].as_str()?;
    let again = &sample["iperf3"]["end"]["sum_sent"]["retransmits"];
    let lost = |name: &str| sample["losses"][name].as_f64();
    for (name, unit, count) in [
        ("sent again", "segments", again.as_f64()),
        (
            "dropped by a queueing discipline",
            "packets",
            lost("qdisc_drops"),
        ),
        (
            "dropped by an interface",
            "packets",
            lost("interface_drops"),
        ),
        (
            "dropped by a socket",
            "datagrams",
            lost("receive_buffer_errors"),
        ),
    ] {
        if let Some(count) = count.filter(|count| *count > 0.0) {
            let kind = Kind::new(LOST, &format!("{test}, {name}"), unit, Better::Lower);
            figures.record(&kind, contender, count);
        }
    }
    Some(())
}

/// Records a measurement that failed.
fn failure(figures: &mut Figures, contender: &str, sample: &Value) -> Option<()> {
    let (test, why) = (sample["test"].as_str()?, sample["why"].as_str()?);
    let round = sample["round"].as_u64()?;
    let name = format!("failed: {contender}, {test}, round {round}");
    figures.fact(&name, why.trim());
    Some(())
}

fn ping(figures: &mut Figures, contender: &str, sample: &Value) -> Option<()> {
    let times: Option<Vec<f64>> = sample["milliseconds"]
        .as_array()?
        .iter()
        .map(Value::as_f64)
        .collect();
    let times = times?;
    let test = sample["test"].as_str()?;
    let kind = Kind::new(PING, test, "ms", Better::Lower);
    figures.record(&kind, contender, Spread::of(&times)?.median);
    let lost = sample["sent"].as_f64()? - times.len() as f64;
    if lost > 0.0 {
        let kind = Kind::new(PING, &format!("{test}, lost"), "requests", Better::Lower);
        figures.record(&kind, contender, lost);
    }
    Some(())
}

fn calls(figures: &mut Figures, contender: &str, sample: &Value) -> Option<()> {
    let test = sample["test"].as_str()?;
    let bytes = sample["iperf3"]["end"]["sum_received"]["bytes"].as_f64()?;
    let calls: BTreeMap<&str, f64> = sample["calls"]
        .as_object()?
        .iter()
        .map(|(call, count)| Some((call.as_str(), count.as_f64()?)))
        .collect::<Option<_>>()?;
    let all: f64 = calls.values().sum();
    let kind = Kind::new(CALLS, &format!("{test}, all"), "per MiB", Better::Lower);
    figures.record(&kind, contender, all / bytes * MIB);
    for (call, count) in calls {
        // Calls that traffic does not repeat are left out.
        if count * 50.0 > all {
            let kind = Kind::new(CALLS, &format!("{test}, {call}"), "per MiB", Better::Lower);
            figures.record(&kind, contender, count / bytes * MIB);
        }
    }
    Some(())
}

/// Records what woke the processor for a driver that carried traffic.
fn wakeups(figures: &mut Figures, contender: &str, sample: &Value) -> Option<()> {
    let test = sample["test"].as_str()?;
    let bytes = sample["iperf3"]["end"]["sum_received"]["bytes"].as_f64()?;
    let count = |name: &str| sample["counts"][name].as_f64();
    let (threads, timers, transfers) = (count("driver")?, count("timers")?, count("transfers")?);
    // A driver in user space has no timers in the kernel, one in the kernel no threads.
    let driver = match threads {
        0.0 => timers + transfers,
        _ => threads,
    };
    for (name, value) in [
        ("the driver", driver),
        ("completed transfers", transfers),
        ("iperf3", count("program")?),
        ("a processor left its idle state", count("idle")?),
    ] {
        let kind = Kind::new(
            WAKEUPS,
            &format!("{test}, {name}"),
            "per MiB",
            Better::Lower,
        );
        figures.record(&kind, contender, value / bytes * MIB);
    }
    Some(())
}

/// Tells the NTBs that a driver and the modem have agreed on, if they have.
fn agreed(figures: &mut Figures, contender: &str, framing: &Value) {
    let (Some(ndp), Some(sent)) = (framing["ndp"].as_str(), framing["output_size"].as_u64()) else {
        return;
    };
    let words = match (ndp, framing["input_size"].as_u64()) {
        ("none", _) | (_, None) => format!("one frame of up to {sent} bytes in a transfer"),
        (ndp, Some(received)) => {
            let format = framing["format"].as_str().unwrap_or("16");
            format!("NTB{format}, NDP at the {ndp}, up to {sent} bytes out and {received} in")
        }
    };
    let rest = framing["rest_us"].as_u64();
    let rest = rest.map(|rest| format!(", sent after {rest} µs"));
    let name = format!("agreed, {contender}");
    figures.fact_once(&name, words + &rest.unwrap_or_default());
}

fn modem(figures: &mut Figures, contender: &str, counters: &Value) -> Option<()> {
    let count = |name: &str| counters[name].as_f64();
    let sent = count("blocks_out")?;
    let missing = count("blocks_missing")?;
    for (name, unit, better, value) in [
        (
            "uplink NTBs missing",
            "%",
            Better::Lower,
            missing / (sent + missing) * 100.0,
        ),
        (
            "datagrams in an uplink NTB",
            "on average",
            Better::Higher,
            count("datagrams_out")? / sent,
        ),
        (
            "datagrams in a downlink NTB",
            "on average",
            Better::Higher,
            count("datagrams_in")? / count("blocks_in")?,
        ),
    ] {
        figures.record(&Kind::new(FRAMING, name, unit, better), contender, value);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &str = r#"
{"kind":"machine","contender":"","round":0,"kernel":"6.1","processors":2,"icount":true,
 "begun":"2026-12-01T10:00:00Z","command":"tools/bench-kernel --air lte\n","air":"lte","knobs":["ipv6=on","air_down_mbit=150"]}
{"kind":"ping","contender":"a","round":1,"test":"ping idle","sent":4,"milliseconds":[1.0,3.0,2.0]}
{"kind":"traffic","contender":"a","round":1,"test":"TCP down, 1 flow","processors":2,
 "micros":{"wall":1000000,"idle":500000,"near":300000,"far":200000,"emulator":400000,"controller":100000,"driver":250000},
 "losses":{"qdisc_drops":0,"interface_drops":3,"receive_buffer_errors":0},
 "iperf3":{"end":{"sum_sent":{"retransmits":7},"sum_received":{"bytes":536870912,"bits_per_second":4294967296.0}}}}
{"kind":"failure","contender":"b","round":2,"test":"TCP down, 1 flow","why":"exit status 1: refused\n"}
{"kind":"traffic","contender":"a","round":1,"test":"UDP up, 64 bytes","processors":2,
 "micros":{"wall":1000000,"idle":0,"near":0,"far":0,"emulator":0,"controller":0,"driver":0},
 "iperf3":{"end":{"sum":{"packets":3000,"lost_packets":1000,"seconds":2.0}}}}
{"kind":"calls","contender":"a","round":1,"test":"TCP up, 1 flow","calls":{"read":990,"write":1000,"futex":10},
 "iperf3":{"end":{"sum_received":{"bytes":1048576}}}}
{"kind":"wakeups","contender":"a","round":1,"test":"TCP up, 1 flow",
 "counts":{"idle":100,"driver":20,"program":5,"timers":0,"transfers":30},
 "iperf3":{"end":{"sum_received":{"bytes":2097152}}}}
{"kind":"wakeups","contender":"b","round":1,"test":"TCP up, 1 flow",
 "counts":{"idle":100,"driver":0,"program":5,"timers":12,"transfers":30},
 "iperf3":{"end":{"sum_received":{"bytes":1048576}}}}
{"kind":"status","contender":"a","round":1,"status":{"framing":{"format":"32","ndp":"front","output_size":8192,"input_size":65536}}}
{"kind":"status","contender":"b","round":1,"status":{"framing":{"ndp":"end","output_size":16384,"input_size":16384,"rest_us":400}}}
{"kind":"status","contender":"c","round":1,"status":null}
{"kind":"memory","contender":"a","round":1,"peak_kib":2048}
{"kind":"modem","contender":"a","round":1,"report":{"counters":{"blocks_out":99,"blocks_missing":1,"blocks_in":10,"datagrams_out":198,"datagrams_in":100}}}
"#;

    fn value(figures: &Figures, group: &str, name: &str) -> f64 {
        let metric = figures
            .of_group(group)
            .find(|metric| metric.kind.name == name);
        metric.unwrap_or_else(|| panic!("no {name}")).rows()[0].values[0]
    }

    #[test]
    fn every_kind_of_sample_counts() {
        let figures = figures(SAMPLES).expect("good samples");
        let near = |group, name, wanted: f64| {
            let got = value(&figures, group, name);
            assert!((got - wanted).abs() < 1e-6, "{group}, {name}: {got}");
        };
        near(THROUGHPUT, "TCP down, 1 flow", 4294.967296);
        // This is 1.5 s of two processors for half a GiB.
        near(WHOLE, "TCP down, 1 flow", 3.0);
        near(MODEL, "TCP down, 1 flow", 1.0);
        near(HOST, "TCP down, 1 flow", 1.6);
        near(SMALL, "UDP up, 64 bytes", 1000.0);
        near(WHOLE, "UDP up, 64 bytes", 1000.0);
        near(PING, "ping idle", 2.0);
        near(PING, "ping idle, lost", 1.0);
        near(LOST, "TCP down, 1 flow, sent again", 7.0);
        near(LOST, "TCP down, 1 flow, dropped by an interface", 3.0);
        assert_eq!(figures.of_group(LOST).count(), 2, "what there was none of");
        let table = uwwan_figures::table::of(&figures);
        let failed = table
            .lines()
            .find(|line| line.contains("failed: b, TCP down, 1 flow, round 2"));
        assert!(
            failed.is_some_and(|line| line.contains("exit status 1: refused")),
            "{table}"
        );
        near(CALLS, "TCP up, 1 flow, all", 2000.0);
        near(CALLS, "TCP up, 1 flow, read", 990.0);
        near(WAKEUPS, "TCP up, 1 flow, the driver", 10.0);
        near(WAKEUPS, "TCP up, 1 flow, completed transfers", 15.0);
        let kernels = figures.of_group(WAKEUPS).next().map(|m| &m.rows()[1]);
        assert_eq!(kernels.map(|row| row.values[0]), Some(42.0));
        for fact in [
            "begun: 2026-12-01T10:00:00Z\n",
            "command: tools/bench-kernel --air lte\n",
            "link: lte\n",
            "knobs: ipv6=on air_down_mbit=150\n",
            "agreed, a: NTB32, NDP at the front, up to 8192 bytes out and 65536 in\n",
            "agreed, b: NTB16, NDP at the end, up to 16384 bytes out and 16384 in, sent after 400 µs\n",
        ] {
            assert!(table.contains(fact), "{fact}{table}");
        }
        near(MEMORY, "peak", 2.0);
        near(FRAMING, "uplink NTBs missing", 1.0);
        near(FRAMING, "datagrams in a downlink NTB", 10.0);
        let names: Vec<_> = figures.of_group(CALLS).map(|m| &m.kind.name).collect();
        assert_eq!(names.len(), 3, "futex is left out: {names:?}");
    }

    #[test]
    fn a_modem_outside_leaves_the_guest_to_its_host() {
        let outside = |icount| {
            let samples = SAMPLES.replace(
                "\"icount\":true",
                &format!("\"icount\":{icount},\"redir\":true"),
            );
            figures(&samples).expect("good samples")
        };
        let timed = outside(false);
        let host = value(&timed, HOST, "TCP down, 1 flow");
        assert!((host - 1.6).abs() < 1e-6, "{host}");
        assert_eq!(
            timed.of_group(WHOLE).count() + timed.of_group(MODEL).count(),
            0
        );
        assert_eq!(timed.of_group(THROUGHPUT).count(), 1);
        assert!(timed.notes_on(HOST).any(|note| note.contains("usb-redir")));
        let counted = outside(true);
        for group in [THROUGHPUT, SMALL, PING] {
            assert_eq!(counted.of_group(group).count(), 0, "{group}");
        }
        assert_eq!(counted.of_group(HOST).count(), 2);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = figures("{\"kind\":\"ping\",\"contender\":\"a\"}").expect_err("no times");
        assert!(
            error.contains("sample 1") && error.contains("ping"),
            "{error}"
        );
        assert!(figures("{").is_err());
    }
}
