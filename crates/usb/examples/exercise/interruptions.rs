//! Trials of events that come between transfers while a queue stays.

use super::*;

/// Streams in both directions, and takes all completions, so that nothing is pending afterwards.
fn flows(queues: &mut Queues) -> Outcome {
    let (inward, outward) = queues;
    fill(&mut **inward, 4, TRANSFER)?;
    for _ in 0..4 {
        let mut buffer = outward.allocate(TRANSFER);
        buffer.set_len(TRANSFER);
        outward.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    for queue in [inward, outward] {
        for _ in 0..4 {
            let done = queue.next(PATIENCE).ok_or("nothing moved")?;
            expect("length", done.result?, TRANSFER)?;
        }
        expect("pending", queue.pending(), 0)?;
    }
    Ok(())
}

/// Halts an endpoint with SET_FEATURE(ENDPOINT_HALT) (USB 2.0, 9.4.9).
fn halt(device: &dyn Device, endpoint: u8) -> Result<(), Error> {
    let setup = Setup {
        request_type: 0x02,
        request: 3,
        value: 0,
        index: endpoint.into(),
    };
    device.control_out(setup, &[], Duration::from_secs(2))
}

pub fn halted(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (inward, outward) = endpoints(&*device, SOURCE_SINK);
    // A halt can be cleared on an endpoint without a queue, too.
    device.clear_halt(outward)?;
    let mut queues = queues(&*device, SOURCE_SINK)?;
    flows(&mut queues)?;
    for _ in 0..3 {
        halt(&*device, inward)?;
        fill(&mut *queues.0, 4, TRANSFER)?;
        let first = queues.0.next(PATIENCE).ok_or("a halt went unnoticed")?;
        expect("first", first.result, Err(TransferError::Stall))?;
        queues.0.cancel_all();
        while queues.0.pending() > 0 {
            let done = queues.0.next(PATIENCE).ok_or("a transfer did not end")?;
            let ended = matches!(
                done.result,
                Err(TransferError::Stall | TransferError::Cancelled)
            );
            ensure(&format!("{:?} while halted", done.result), ended)?;
        }
        device.clear_halt(inward)?;
        flows(&mut queues)?;
    }
    halt(&*device, outward)?;
    let mut buffer = queues.1.allocate(TRANSFER);
    buffer.bytes_mut().fill(7);
    buffer.set_len(600);
    queues.1.submit(buffer).map_err(|rejected| rejected.error)?;
    let done = queues.1.next(PATIENCE).ok_or("a halt went unnoticed")?;
    expect("out", done.result, Err(TransferError::Stall))?;
    expect("payload", done.buffer.filled(), &[7; 600][..])?;
    expect("capacity", done.buffer.capacity(), TRANSFER)?;
    device.clear_halt(outward)?;
    flows(&mut queues)
}

/// Checks that what is pending ends, and that the claim outlasts it.
fn reset_with_pending(bench: &Bench, device: &dyn Device) -> Outcome {
    device.release(0)?;
    switch(device, LOOPBACK, |_| {})?;
    let (mut inward, outward) = super::queues(device, LOOPBACK)?;
    fill(&mut *inward, 8, TRANSFER)?;
    device.reset()?;
    while inward.pending() > 0 {
        let done = inward.next(PATIENCE).ok_or("a transfer outlived a reset")?;
        ensure("it has failed", done.result.is_err())?;
    }
    expect("driver beside our claim", device.holder(0)?, None)?;
    drop((inward, outward));
    let refused = bench.open()?.claim(0).err();
    ensure(
        &format!("claimed after all: {refused:?}"),
        matches!(refused, Some(Error::Busy { .. })),
    )?;
    drop(super::queues(device, LOOPBACK)?);
    device.release(0)?;
    expect("nobody has it", device.holder(0)?, None)
}

pub fn interrupted(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let mut queues = queues(&*device, SOURCE_SINK)?;
    flows(&mut queues)?;
    for _ in 0..10 {
        device.set_alternate_setting(0, 0)?;
        flows(&mut queues)?;
    }
    // No kernel driver may bind in between.
    for _ in 0..3 {
        device.reset()?;
        expect("driver beside our claim", device.holder(0)?, None)?;
        flows(&mut queues)?;
    }
    drop(queues);
    reset_with_pending(bench, &*device)?;
    switch(&*device, SOURCE_SINK, |_| {})?;
    // The interface is released and claimed again around a queue.
    device.release(0)?;
    expect("nobody has it", device.holder(0)?, None)?;
    let other = bench.open()?;
    other.claim(0)?;
    let refused = device.claim(0).err();
    ensure(
        &format!("claimed through another handle: {refused:?}"),
        matches!(refused, Some(Error::Busy { .. })),
    )?;
    drop(other);
    device.claim(0)?;
    for _ in 0..20 {
        // The device is opened again at once, even if another thread still reads the last
        // completions.
        let mut queues = super::queues(&*device, SOURCE_SINK)?;
        flows(&mut queues)?;
    }
    Ok(())
}
