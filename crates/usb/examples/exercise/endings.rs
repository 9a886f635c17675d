//! Trials of transfers that end without success.

use super::streams::{get_status, turn};
use super::*;

pub fn cancel_storm(bench: &Bench) -> Outcome {
    // The loopback has nothing to send, so every transfer ends by being cancelled.
    let device = bench.ready(LOOPBACK)?;
    let (mut inward, _) = queues(&*device, LOOPBACK)?;
    for round in 0..30 {
        fill(&mut *inward, 16, TRANSFER)?;
        ensure("nothing arrives", inward.try_next().is_none())?;
        ensure(
            "nothing arrives",
            inward.next(Duration::from_millis(2)).is_none(),
        )?;
        inward.cancel_all();
        if round % 2 == 0 {
            inward.cancel_all();
        }
        while inward.pending() > 0 {
            let done = inward
                .next(PATIENCE)
                .ok_or("a cancelled transfer did not end")?;
            expect("cancelled", done.result, Err(TransferError::Cancelled))?;
        }
    }
    drop((device, inward));
    // Here they are cancelled while they complete.
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, _) = queues(&*device, SOURCE_SINK)?;
    for _ in 0..30 {
        fill(&mut *inward, 16, 2048)?;
        let first = inward.next(PATIENCE).ok_or("nothing arrived")?;
        expect("first", first.result, Ok(2048))?;
        inward.cancel_all();
        while inward.pending() > 0 {
            let done = inward
                .next(PATIENCE)
                .ok_or("a cancelled transfer did not end")?;
            ensure(
                "done or cancelled",
                matches!(done.result, Ok(_) | Err(TransferError::Cancelled)),
            )?;
        }
    }
    Ok(())
}

pub fn drop_orders(bench: &Bench) -> Outcome {
    for order in 0..6 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
        let pump = device.pump()?;
        let kept = outward.allocate(TRANSFER);
        fill(&mut *inward, 16, TRANSFER)?;
        match order {
            0 => drop((device, pump, inward, outward, kept)),
            1 => drop((inward, outward, kept, pump, device)),
            2 => drop((kept, pump, device, outward, inward)),
            3 => drop((pump, device, inward, kept, outward)),
            4 => drop((device, inward, pump, outward, kept)),
            _ => {
                drop((device, pump, inward, outward));
                // A buffer that outlives the device does not keep the claim.
                drop(bench.ready(LOOPBACK)?);
                drop(kept);
            }
        }
    }
    Ok(())
}

pub fn unplugged(bench: &Bench) -> Outcome {
    for round in 0..4 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
        fill(&mut *inward, 16, TRANSFER)?;
        std::thread::scope(|scope| -> Outcome {
            let unplugging = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                bench.plug(false)
            });
            if round % 2 == 0 {
                while inward.pending() > 0 {
                    let done = inward.next(PATIENCE).ok_or("a transfer did not end")?;
                    // The error depends on whether the driver or the controller ended the transfer.
                    ensure(
                        &format!("ended: {:?}", done.result),
                        !matches!(done.result, Ok(1..)),
                    )?;
                }
            }
            unplugging.join().unwrap()?;
            Ok(())
        })?;
        // The kernel ends transfers before it takes the device off its list.
        let deadline = Instant::now() + PATIENCE;
        while device.active_configuration().is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let gone = |what: &str, result: Option<Error>| {
            ensure(
                &format!("{what}: {result:?}"),
                matches!(result, Some(Error::Gone { .. })),
            )
        };
        gone("control", get_status(&*device).err())?;
        gone("active", device.active_configuration().err())?;
        gone("select", device.set_configuration(3).err())?;
        gone("claim", device.claim(1).err())?;
        gone("alternate", device.set_alternate_setting(0, 0).err())?;
        let buffer = outward.allocate(512);
        gone(
            "submit",
            outward.submit(buffer).err().map(|rejected| rejected.error),
        )?;
        drop((device, inward, outward));
        bench.plug(true)?;
    }
    Ok(())
}

pub fn unplugged_beside_pump(bench: &Bench) -> Outcome {
    for _ in 0..4 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, _) = queues(&*device, LOOPBACK)?;
        let mut pump = device.pump()?;
        fill(&mut *inward, 16, TRANSFER)?;
        std::thread::scope(|scope| -> Outcome {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                bench.plug(false)
            });
            let deadline = Instant::now() + PATIENCE;
            let (mut ended, mut told) = (0, false);
            while ended < 16 || !told {
                ensure("all end and the pump tells", Instant::now() < deadline)?;
                told |= matches!(
                    turn(&mut *pump, Duration::from_secs(1)),
                    Err(Error::Gone { .. })
                );
                while let Some(done) = inward.try_next() {
                    ensure("no data", !matches!(done.result, Ok(1..)))?;
                    ended += 1;
                }
            }
            Ok(())
        })?;
        drop((pump, inward, device));
        bench.plug(true)?;
    }
    drop(bench.ready(SOURCE_SINK)?);
    Ok(())
}
