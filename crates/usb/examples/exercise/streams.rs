//! Trials of streaming queues, with and without a pump.

use super::*;

pub fn streaming(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, mut outward) = queues(&*device, SOURCE_SINK)?;
    fill(&mut *inward, 16, TRANSFER)?;
    let (mut bytes, begun) = (0, Instant::now());
    for _ in 0..400 {
        let done = inward.next(PATIENCE).ok_or("nothing arrived")?;
        expect("length", done.result?, TRANSFER)?;
        ensure("zeros", done.buffer.filled().iter().all(|&byte| byte == 0))?;
        bytes += TRANSFER;
        inward
            .submit(done.buffer)
            .map_err(|rejected| rejected.error)?;
    }
    expect("pending", inward.pending(), 16)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "  in {:.0} Mbit/s, mapped: in {}, out {}",
        bytes as f64 * 8e-6 / seconds,
        inward.allocate(TRANSFER).is_mapped(),
        outward.allocate(TRANSFER).is_mapped()
    );
    for _ in 0..16 {
        let mut buffer = outward.allocate(TRANSFER);
        buffer.set_len(TRANSFER);
        outward.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    for _ in 0..200 {
        let done = outward.next(PATIENCE).ok_or("nothing was sent")?;
        expect("length", done.result?, TRANSFER)?;
        outward
            .submit(done.buffer)
            .map_err(|rejected| rejected.error)?;
    }
    Ok(())
}

/// Polls a pump's descriptors once, and processes what is ready.
pub fn turn(pump: &mut dyn Pump, limit: Duration) -> Result<(), Error> {
    let mut polled: Vec<PollFd<'_>> = pump
        .descriptors()
        .iter()
        .map(|&(fd, writing)| {
            // SAFETY: the pump keeps its descriptors open until it is processed, and they are
            // not used beyond this turn.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let flags = if writing {
                PollFlags::OUT
            } else {
                PollFlags::IN
            };
            PollFd::from_borrowed_fd(fd, flags)
        })
        .collect();
    let timeout = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap(),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let _ = poll(&mut polled, Some(&timeout));
    drop(polled);
    pump.process()
}

pub fn loopback(bench: &Bench) -> Outcome {
    let device = bench.ready(LOOPBACK)?;
    let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
    let mut pump = device.pump()?;
    ensure(
        "one pump at a time",
        matches!(device.pump(), Err(Error::Busy { .. })),
    )?;
    outward.set_zero_packet(true);
    fill(&mut *inward, 8, 4096)?;
    let lengths = [1, 511, 512, 513, 1024, 4095, 2048, 3000];
    let mut free: Vec<Buffer> = (0..8).map(|_| outward.allocate(4096)).collect();
    let (mut sent, mut got) = (0_usize, 0_usize);
    let mut expected: VecDeque<Vec<u8>> = VecDeque::new();
    let deadline = Instant::now() + PATIENCE;
    while got < 400 {
        ensure("everything comes back in time", Instant::now() < deadline)?;
        while sent < 400 && expected.len() < 8 {
            let Some(mut buffer) = free.pop() else { break };
            let length = lengths[sent % lengths.len()];
            let bytes = &mut buffer.bytes_mut()[..length];
            bytes
                .iter_mut()
                .enumerate()
                .for_each(|(at, byte)| *byte = (at ^ sent) as u8);
            expected.push_back(bytes.to_vec());
            buffer.set_len(length);
            outward.submit(buffer).map_err(|rejected| rejected.error)?;
            sent += 1;
        }
        turn(&mut *pump, Duration::from_secs(1))?;
        while let Some(done) = outward.try_next() {
            done.result?;
            free.push(done.buffer);
        }
        while let Some(done) = inward.try_next() {
            let length = done.result?;
            // The gadget returns a zero-length packet as an empty transfer.
            if length > 0 {
                let want = expected.pop_front().ok_or("more came than was sent")?;
                ensure("the same bytes", done.buffer.filled() == want)?;
                got += 1;
            }
            inward
                .submit(done.buffer)
                .map_err(|rejected| rejected.error)?;
        }
    }
    Ok(())
}

pub fn no_allocation(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, _) = queues(&*device, SOURCE_SINK)?;
    let mut pump = device.pump()?;
    fill(&mut *inward, 16, TRANSFER)?;
    let mut stream = |count: usize| -> Outcome {
        let mut done = 0;
        let deadline = Instant::now() + PATIENCE;
        while done < count {
            ensure("transfers complete in time", Instant::now() < deadline)?;
            pump.process()?;
            while let Some(completion) = inward.try_next() {
                completion.result?;
                inward
                    .submit(completion.buffer)
                    .map_err(|rejected| rejected.error)?;
                done += 1;
            }
        }
        Ok(())
    };
    stream(32)?;
    COUNTED.set(true);
    let outcome = stream(200);
    COUNTED.set(false);
    outcome?;
    expect("allocations", ALLOCATIONS.swap(0, Ordering::Relaxed), 0)
}

/// Sends GET_STATUS to the device, which answers with two bytes.
pub fn get_status(device: &dyn Device) -> Result<usize, Error> {
    let setup = Setup {
        request_type: 0x80,
        request: 0,
        value: 0,
        index: 0,
    };
    device.control_in(setup, &mut [0; 2], Duration::from_secs(2))
}

pub fn control_beside_pump(bench: &Bench) -> Outcome {
    let device = bench.ready(LOOPBACK)?;
    let statuses = |count: usize| -> Outcome {
        for _ in 0..count {
            expect("GET_STATUS", get_status(&*device)?, 2)?;
        }
        Ok(())
    };
    statuses(20)?;
    let mut pump = device.pump()?;
    // The requests come from the thread that has the pump.
    statuses(20)?;
    // The requests come from other threads, while the pump is processed.
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| -> Outcome {
        let others: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| statuses(50).map_err(|e| e.to_string())))
            .collect();
        let waiter = scope.spawn(|| {
            let results: Vec<_> = others
                .into_iter()
                .map(|other| other.join().unwrap())
                .collect();
            finished.store(true, Ordering::SeqCst);
            results
        });
        while !finished.load(Ordering::SeqCst) {
            turn(&mut *pump, Duration::from_millis(10))?;
        }
        for result in waiter.join().unwrap() {
            result?;
        }
        Ok(())
    })?;
    // The requests come from another thread, while nobody processes the pump.
    std::thread::scope(|scope| {
        scope
            .spawn(|| statuses(5).map_err(|error| error.to_string()))
            .join()
            .unwrap()
    })?;
    Ok(())
}

pub fn waiting_beside_pump(bench: &Bench) -> Outcome {
    let device = bench.ready(LOOPBACK)?;
    let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
    let finished = AtomicBool::new(false);
    let mut pump = None;
    std::thread::scope(|scope| -> Outcome {
        let finished = &finished;
        let reader = scope.spawn(move || -> Result<usize, String> {
            fill(&mut *inward, 8, 4096).map_err(|error| error.to_string())?;
            let mut got = 0;
            while got < 200 {
                let done = inward.next(PATIENCE).ok_or("the reader was not woken")?;
                got += usize::from(done.result.map_err(|error| error.to_string())? > 0);
                inward
                    .submit(done.buffer)
                    .map_err(|rejected| rejected.error.to_string())?;
            }
            finished.store(true, Ordering::SeqCst);
            Ok(got)
        });
        let writer = scope.spawn(move || -> Result<(), String> {
            for _ in 0..200 {
                let mut buffer = outward.allocate(100);
                buffer.set_len(100);
                outward
                    .submit(buffer)
                    .map_err(|rejected| rejected.error.to_string())?;
                let done = outward.next(PATIENCE).ok_or("the writer was not woken")?;
                done.result.map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        // The pump is made and dropped again and again while they wait.
        let deadline = Instant::now() + PATIENCE;
        let mut turns = 0;
        while !finished.load(Ordering::SeqCst) && Instant::now() < deadline {
            turns += 1;
            if turns % 10 == 0 {
                pump = None;
                std::thread::sleep(Duration::from_millis(2));
            }
            let pump = match &mut pump {
                Some(pump) => pump,
                none => none.insert(device.pump()?),
            };
            turn(&mut **pump, Duration::from_millis(20))?;
        }
        writer.join().unwrap()?;
        expect("read", reader.join().unwrap()?, 200)
    })
}
