//! Measures what a stream costs. It is no trial: it is called as `exercise --usb NAME measure
//! in|out MEBIBYTES`, with nothing else on the machine, and under `perf stat -e
//! raw_syscalls:sys_enter` to count system calls.

use super::streams::turn;
use super::*;

/// Number of transfers kept in flight.
const DEPTH: usize = 16;

/// Returns the number of processors, and the seconds that all of them together were idle
/// (proc_stat(5) counts hundredths). Interrupts are charged to whatever they interrupt, so only the
/// idle time tells two programs apart.
fn idle() -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let processors = text.lines().filter(|line| line.starts_with("cpu")).count() - 1;
    let ticks: u64 = text
        .split_whitespace()
        .skip(4)
        .take(2)
        .map(|field| field.parse().unwrap_or(0_u64))
        .sum();
    Ok((processors as f64, ticks as f64 / 100.0))
}

pub fn measure(bench: &Bench, direction: &str, mebibytes: usize) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (inward, outward) = queues(&*device, SOURCE_SINK)?;
    let mut queue = match direction {
        "in" => inward,
        "out" => outward,
        _ => return Err("in or out".into()),
    };
    let mut pump = device.pump()?;
    let mut mapped = 0;
    for _ in 0..DEPTH {
        let mut buffer = queue.allocate(TRANSFER);
        mapped += usize::from(buffer.is_mapped());
        buffer.set_len(TRANSFER);
        queue.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    let wanted = mebibytes * (1 << 20) / TRANSFER;
    let (begun, (processors, before)) = (Instant::now(), idle()?);
    let (mut done, mut turns) = (0, 0_usize);
    while done < wanted {
        turn(&mut *pump, PATIENCE)?;
        turns += 1;
        // A fast device completes transfers as fast as they are submitted, so the loop has an end
        // of its own.
        while done < wanted {
            let Some(completion) = queue.try_next() else {
                break;
            };
            completion.result?;
            done += 1;
            queue
                .submit(completion.buffer)
                .map_err(|rejected| rejected.error)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let busy = seconds * processors - (idle()?.1 - before);
    println!(
        "{} {direction}: {:.0} Mbit/s, {:.2} ms of the machine's time a MiB, {:.1} transfers a turn, \
         {mapped} of {DEPTH} buffers mapped",
        bench.backend.name(),
        (done * TRANSFER) as f64 * 8e-6 / seconds,
        busy * 1e3 / mebibytes as f64,
        done as f64 / turns as f64,
    );
    Ok(())
}
