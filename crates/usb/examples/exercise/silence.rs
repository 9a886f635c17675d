//! A trial with a device that answers nothing.

use super::streams::{get_status, turn};
use super::*;

/// Runs as the gadget of the trial `silence`: one vendor interface with a bulk endpoint each way,
/// in user space (FunctionFS, mounted at /tmp/silent). It accepts every request and answers none.
pub fn silent_gadget() -> ExitCode {
    use std::io::Write;
    let le = u32::to_le_bytes;
    let interface = [9, 4, 0, 0, 2, 0xff, 0, 0, 0];
    let endpoints = [7, 5, 0x81, 2, 0, 2, 0, 7, 5, 0x02, 2, 0, 2, 0];
    // The head has magic, length, flags (high speed only) and count; the descriptors follow.
    let descriptors = [
        &le(3)[..],
        &le(12 + 4 + 23),
        &le(2),
        &le(3),
        &interface,
        &endpoints,
    ]
    .concat();
    let strings = [le(2), le(16), le(0), le(0)].concat();
    let mut control = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/tmp/silent/ep0")
        .unwrap();
    control.write_all(&descriptors).unwrap();
    control.write_all(&strings).unwrap();
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
    ExitCode::SUCCESS
}

pub fn silence(bench: &Bench) -> Outcome {
    use std::io::{BufRead, BufReader};
    let mut gadget = Command::new(std::env::current_exe()?)
        .arg("silent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(gadget.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    expect("the gadget", line.trim(), "ready")?;
    std::fs::write(format!("{}/silent/UDC", bench.gadgets), "dummy_udc.1")?;

    let device = bench.backend.open(&bench.found_product(SILENT_PRODUCT)?)?;
    switch(&*device, 1, |_| {})?;
    let request = Setup {
        request_type: 0xc1,
        request: 1,
        value: 0,
        index: 0,
    };
    let times_out = |limit: u64| -> Outcome {
        let begun = Instant::now();
        let result = device.control_in(request, &mut [0; 8], Duration::from_millis(limit));
        ensure(
            &format!("{result:?}"),
            matches!(result, Err(Error::Timeout { .. })),
        )?;
        ensure(
            "not too early",
            begun.elapsed() >= Duration::from_millis(limit),
        )
    };
    let pending = |queue: &mut dyn Queue| -> Outcome {
        ensure(
            "nothing comes",
            queue.next(Duration::from_millis(30)).is_none(),
        )?;
        expect("all are pending", queue.pending(), 16)
    };
    times_out(50)?;
    let endpoints = |inward: bool| {
        let all = &device.descriptors().configurations[0].interfaces[0].alternates[0].endpoints;
        all.iter().find(|e| e.is_in() == inward).unwrap().address
    };
    let mut inward = device.queue(endpoints(true))?;
    let mut outward = device.queue(endpoints(false))?;
    fill(&mut *inward, 16, TRANSFER)?;
    for _ in 0..16 {
        let mut buffer = outward.allocate(TRANSFER);
        buffer.set_len(TRANSFER);
        outward.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    pending(&mut *inward)?;
    pending(&mut *outward)?;
    times_out(50)?;
    {
        let mut pump = device.pump()?;
        times_out(50)?;
        let finished = AtomicBool::new(false);
        std::thread::scope(|scope| -> Outcome {
            let other = scope.spawn(|| {
                let result = times_out(100).map_err(|error| error.to_string());
                finished.store(true, Ordering::SeqCst);
                result
            });
            while !finished.load(Ordering::SeqCst) {
                turn(&mut *pump, Duration::from_millis(500))?;
            }
            Ok(other.join().unwrap()?)
        })?;
        pending(&mut *inward)?;
    }
    for queue in [&mut inward, &mut outward] {
        queue.cancel_all();
        for _ in 0..16 {
            let done = queue
                .next(PATIENCE)
                .ok_or("a cancelled transfer did not end")?;
            expect("cancelled", done.result, Err(TransferError::Cancelled))?;
        }
    }
    fill(&mut *inward, 16, TRANSFER)?;
    expect("others are answered", get_status(&*device)?, 2)?;
    // The gadget ends while transfers are pending.
    drop(gadget.stdin.take());
    gadget.wait()?;
    while inward.pending() > 0 {
        inward
            .next(PATIENCE)
            .ok_or("a transfer outlived its device")?;
    }
    Ok(())
}
