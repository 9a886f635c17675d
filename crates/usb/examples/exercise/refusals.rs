//! Trials of operations that are refused, whose errors must say so.

use super::streams::turn;
use super::*;

pub fn refusals(bench: &Bench) -> Outcome {
    let device = bench.open()?;
    switch(&*device, SOURCE_SINK, |_| {})?;
    let unknown = Setup {
        request_type: 0xc0,
        request: 0x77,
        value: 0,
        index: 0,
    };
    let refused = device.control_in(unknown, &mut [0; 8], Duration::from_secs(2));
    ensure(
        "an unknown request stalls",
        matches!(refused, Err(Error::Stall { .. })),
    )?;
    let none = device.queue(0x8f).err();
    ensure(
        "no such endpoint",
        matches!(none, Some(Error::NoSuchEndpoint { .. })),
    )?;
    let long = device.control_in(unknown, &mut [0; 5000], Duration::from_secs(2));
    ensure("too long", matches!(long, Err(Error::Other { .. })))?;
    let absent = device.set_configuration(77);
    ensure(
        "claimed is busy",
        matches!(absent, Err(Error::Busy { .. } | Error::Other { .. })),
    )?;
    device.release(0)?;
    device.release(0)?;
    let absent = device.set_configuration(77);
    ensure(
        "no such configuration",
        matches!(absent, Err(Error::Other { .. })),
    )?;
    ensure("no such interface", device.claim(9).is_err())?;
    let (inward, _) = endpoints(&*device, SOURCE_SINK);
    let unclaimed = device.queue(inward).err();
    ensure(
        "not claimed",
        matches!(unclaimed, Some(Error::NoSuchEndpoint { .. })),
    )?;
    device.claim(0)?;
    device.clear_halt(inward)?;
    device.set_alternate_setting(0, 0)?;
    ensure(
        "no such alternate",
        device.set_alternate_setting(0, 9).is_err(),
    )?;
    Ok(())
}

pub fn out_of_memory(bench: &Bench) -> Outcome {
    const LIMIT: &str = "/sys/module/usbcore/parameters/usbfs_memory_mb";
    let device = bench.ready(LOOPBACK)?;
    let (mut inward, _) = queues(&*device, LOOPBACK)?;
    std::fs::write(LIMIT, "1")?;
    let mut outcome = || -> Outcome {
        let mut refused = None;
        let mut mapped = 0;
        for _ in 0..40 {
            let buffer = inward.allocate(65536);
            mapped += usize::from(buffer.is_mapped());
            if let Err(rejected) = inward.submit(buffer) {
                refused = Some(rejected);
                break;
            }
        }
        println!("  {} pending, {mapped} of them mapped", inward.pending());
        let refused = refused.ok_or("nothing was refused")?;
        ensure(
            &format!("told as such: {}", refused.error),
            matches!(refused.error, Error::NoMemory { .. }),
        )?;
        expect("the buffer is back", refused.buffer.capacity(), 65536)?;
        ensure("the rest goes on", inward.pending() >= 8)?;
        inward.cancel_all();
        while inward.pending() > 0 {
            let done = inward.next(PATIENCE).ok_or("a transfer did not end")?;
            expect("cancelled", done.result, Err(TransferError::Cancelled))?;
        }
        Ok(())
    };
    let outcome = outcome();
    drop((device, inward));
    let outcome = outcome
        .and_then(|()| scarcity(bench))
        .and_then(|()| scarcity_beside_pump(bench));
    std::fs::write(LIMIT, "16")?;
    outcome
}

/// Submits spare buffers until one is refused. Returns how many were refused: one or none.
fn submit_while_memory_lasts(
    queue: &mut dyn Queue,
    spare: &mut Vec<Buffer>,
) -> Result<u32, Box<dyn std::error::Error>> {
    while let Some(buffer) = spare.pop() {
        if let Err(rejected) = queue.submit(buffer) {
            ensure(
                &format!("told as such: {}", rejected.error),
                matches!(rejected.error, Error::NoMemory { .. }),
            )?;
            spare.push(rejected.buffer);
            return Ok(1);
        }
    }
    Ok(0)
}

/// Number of transfers after which memory must have been short once. Where transfers end as fast as
/// they are submitted, that takes a while.
const MOST_MOVED: u32 = 5000;

/// Streams with less memory than the queue asks for.
fn scarcity(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, _) = queues(&*device, SOURCE_SINK)?;
    let (mut refused, mut moved) = (0, 0);
    let mut spare: Vec<Buffer> = (0..40).map(|_| Buffer::heap(65536)).collect();
    while moved < 100 || (refused == 0 && moved < MOST_MOVED) {
        refused += submit_while_memory_lasts(&mut *inward, &mut spare)?;
        let done = inward.next(PATIENCE).ok_or("the stream has run dry")?;
        expect("moved", done.result, Ok(65536))?;
        spare.push(done.buffer);
        moved += 1;
    }
    ensure("memory was scarce", refused > 0)
}

/// Streams with too little memory beside a pump, which must report every transfer that has ended.
fn scarcity_beside_pump(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, _) = queues(&*device, SOURCE_SINK)?;
    let mut pump = device.pump()?;
    let (mut refused, mut moved) = (0, 0);
    let mut spare: Vec<Buffer> = (0..40).map(|_| Buffer::heap(65536)).collect();
    while moved < 400 || (refused == 0 && moved < MOST_MOVED) {
        refused += submit_while_memory_lasts(&mut *inward, &mut spare)?;
        let begun = Instant::now();
        turn(&mut *pump, PATIENCE)?;
        ensure(
            &format!("the pump tells, with {} pending", inward.pending()),
            begun.elapsed() < PATIENCE,
        )?;
        while let Some(done) = inward.try_next() {
            expect("moved", done.result, Ok(65536))?;
            spare.push(done.buffer);
            moved += 1;
        }
    }
    ensure("memory was scarce", refused > 0)
}

/// Runs as the other program in the trial `held`.
pub fn hold(bench: &Bench) -> ExitCode {
    let device = bench.ready(LOOPBACK).unwrap();
    println!("holding");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(device);
    ExitCode::SUCCESS
}

pub fn held(bench: &Bench) -> Outcome {
    use std::io::{BufRead, BufReader};
    let mut other = bench
        .another(&std::env::current_exe()?)
        .arg("hold")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(other.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    expect("the other program", line.trim(), "holding")?;
    let device = bench.open()?;
    let outcome = (|| {
        let Err(Error::Busy {
            holder: Some(holder),
            ..
        }) = device.claim(0)
        else {
            return Err("claimed nevertheless, or nobody named".into());
        };
        let told = holder.to_string();
        ensure(&told, told.contains(&format!("process {}", other.id())))?;
        let plan = SwitchPlan {
            settle: Duration::ZERO,
            patience: Duration::from_millis(300),
            guard: false,
            ..SwitchPlan::new(SOURCE_SINK, [0])
        };
        let refused = configuration::switch(&*device, &plan, &mut |_| {}).err();
        println!(
            "  {}",
            refused
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        ensure(
            "another program is not pushed aside",
            matches!(refused, Some(Error::Busy { holder: Some(h), .. }) if h == holder),
        )
    })();
    drop(other.stdin.take());
    other.wait()?;
    outcome?;
    drop(device);
    drop(bench.ready(LOOPBACK)?);
    Ok(())
}

/// Runs as the ordinary user in the trial `permission`.
pub fn nobody(bench: &Bench) -> ExitCode {
    let found = bench.found().unwrap();
    match bench.backend.open(&found).err() {
        Some(Error::NoPermission {
            node: Some(node), ..
        }) if node.contains("/dev/bus/usb") => ExitCode::SUCCESS,
        other => {
            println!("  {other:?}");
            ExitCode::FAILURE
        }
    }
}

pub fn permission(bench: &Bench) -> Outcome {
    let found = bench.found()?;
    let node = format!(
        "/dev/bus/usb/{:03}/{:03}",
        found.identity.bus, found.identity.address
    );
    std::fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o664))?;
    let copy = "/tmp/exercise-as-nobody";
    std::fs::copy(std::env::current_exe()?, copy)?;
    let status = bench
        .another(copy.as_ref())
        .arg("nobody")
        .uid(65534)
        .gid(65534)
        .status()?;
    ensure("an ordinary user is told which node", status.success())
}
