//! What a stream costs. Not a trial: `exercise --usb NAME measure in|out MEBIBYTES`, with nothing
//! else on the machine, and under `strace -f -c` for the system calls.

use rustix::time::{ClockId, clock_gettime};

use super::streams::turn;
use super::*;

/// Transfers kept in flight.
const DEPTH: usize = 16;

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
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
        let mut buffer = queue.allocate(BLOCK);
        mapped += usize::from(buffer.is_mapped());
        buffer.set_len(BLOCK);
        queue.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    let wanted = mebibytes * (1 << 20) / BLOCK;
    let (begun, before) = (Instant::now(), processor_time());
    let (mut done, mut turns) = (0, 0_usize);
    while done < wanted {
        turn(&mut *pump, PATIENCE)?;
        turns += 1;
        while let Some(completion) = queue.try_next() {
            completion.result?;
            done += 1;
            queue
                .submit(completion.buffer)
                .map_err(|rejected| rejected.error)?;
        }
    }
    let (seconds, busy) = (begun.elapsed().as_secs_f64(), processor_time() - before);
    println!(
        "{} {direction}: {:.0} Mbit/s, {:.2} ms of processor time a MiB, {:.1} blocks a turn, \
         {mapped} of {DEPTH} buffers mapped",
        bench.backend.name(),
        (done * BLOCK) as f64 * 8e-6 / seconds,
        busy * 1e3 / mebibytes as f64,
        done as f64 / turns as f64,
    );
    Ok(())
}
