//! Drives a real USB device stack hard: the `libusb` backend against the kernel's own test gadget
//! (source/sink in configuration 3, loopback in configuration 2) on an emulated controller, and
//! against a gadget of its own that never says anything. Run as root in a machine that can be
//! lost; `tests/guest/usb.sh` sets the gadgets up and calls it.
//!
//! usage: exercise GADGETS_FOLDER [PART_OF_A_NAME]
//!
//! Prints `ok - …` or `not ok - …` for each thing it tries; exit status 0 when all went well.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uwwan_usb::buffer::Buffer;
use uwwan_usb::configuration::{self, Step, SwitchPlan, Switched, ViaZero};
use uwwan_usb::device::{Backend, Device, Found, Pump, Queue, Setup};
use uwwan_usb::error::{Error, TransferError};
use uwwan_usb::libusb::Libusb;

const VENDOR: u16 = 0x0525;
const PRODUCT: u16 = 0xa4a0;
const SILENT_PRODUCT: u16 = 0xa4a1;
const LOOPBACK: u8 = 2;
const SOURCE_SINK: u8 = 3;
const BLOCK: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Trial = fn(&Bench) -> Outcome;
type Queues = (Box<dyn Queue>, Box<dyn Queue>);

/// Counts allocations of the thread that asks for it.
struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let argument = arguments.next().expect("usage: exercise GADGETS_FOLDER");
    match argument.as_str() {
        "hold" => return hold(),
        "nobody" => return nobody(),
        "silent" => return silent_gadget(),
        _ => {}
    }
    let bench = Bench {
        libusb: Libusb::new().unwrap(),
        gadgets: argument,
    };
    let trials: [(&str, Trial); 17] = [
        ("listed without being opened", listed),
        ("switched both ways, drivers detached", switched),
        ("guarded ports keep drivers away", guarded),
        ("sixteen transfers queued without a pump", streaming),
        ("loopback through a pump, zero packets included", loopback),
        ("no allocation while streaming", no_allocation),
        ("control requests beside a pump", control_beside_pump),
        ("two threads wait beside a pump", waiting_beside_pump),
        ("cancel storms", cancel_storm),
        ("dropped in every order", drop_orders),
        ("refusals are told apart", refusals),
        ("out of transfer memory", out_of_memory),
        ("who holds it", held),
        ("no permission", permission),
        ("silence ends in time", silence),
        ("unplugged with sixteen pending", unplugged),
        (
            "unplugged with sixteen pending beside a pump",
            unplugged_beside_pump,
        ),
    ];
    let mut failed = 0;
    let only = arguments.next();
    for (name, trial) in trials {
        if only
            .as_ref()
            .is_some_and(|only| !name.contains(only.as_str()))
        {
            continue;
        }
        // Whatever the one before left behind; fails when it is plugged in already.
        let _ = bench.plug(true);
        let begun = Instant::now();
        match trial(&bench) {
            Ok(()) => println!("ok - {name} ({} ms)", begun.elapsed().as_millis()),
            Err(error) => {
                println!("not ok - {name}: {error}");
                failed += 1;
            }
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

struct Bench {
    libusb: Libusb,
    gadgets: String,
}

impl Bench {
    fn found(&self) -> Result<Found, Box<dyn std::error::Error>> {
        self.found_product(PRODUCT)
    }

    fn found_product(&self, product: u16) -> Result<Found, Box<dyn std::error::Error>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut devices = self.libusb.devices()?;
            devices.retain(|d| (d.identity.vendor, d.identity.product) == (VENDOR, product));
            if let Some(found) = devices.pop() {
                let node = format!(
                    "/dev/bus/usb/{:03}/{:03}",
                    found.identity.bus, found.identity.address
                );
                if std::path::Path::new(&node).exists() {
                    return Ok(found);
                }
            }
            if Instant::now() > deadline {
                return Err("no gadget".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn open(&self) -> Result<Arc<dyn Device>, Box<dyn std::error::Error>> {
        Ok(self.libusb.open(&self.found()?)?)
    }

    /// Open, in a configuration, interface 0 claimed.
    fn ready(&self, target: u8) -> Result<Arc<dyn Device>, Box<dyn std::error::Error>> {
        let device = self.open()?;
        switch(&*device, target, |_| {})?;
        Ok(device)
    }

    fn plug(&self, plugged: bool) -> std::io::Result<()> {
        let udc = format!("{}/exercise/UDC", self.gadgets);
        std::fs::write(udc, if plugged { "dummy_udc.0" } else { "\n" })
    }
}

fn switch(
    device: &dyn Device,
    target: u8,
    mut observer: impl FnMut(Step),
) -> Result<Switched, Error> {
    let plan = SwitchPlan {
        settle: Duration::from_millis(20),
        guard: false,
        ..SwitchPlan::new(target, [0])
    };
    configuration::switch(device, &plan, &mut observer)
}

/// The bulk endpoints of interface 0, in and out.
fn endpoints(device: &dyn Device, configuration: u8) -> (u8, u8) {
    let interface = device
        .descriptors()
        .configuration(configuration)
        .unwrap()
        .interface(0)
        .unwrap();
    let endpoints = &interface.alternates[0].endpoints;
    let address = |inward| {
        endpoints
            .iter()
            .find(|e| e.is_in() == inward)
            .unwrap()
            .address
    };
    (address(true), address(false))
}

fn queues(device: &dyn Device, configuration: u8) -> Result<Queues, Error> {
    let (inward, outward) = endpoints(device, configuration);
    Ok((device.queue(inward)?, device.queue(outward)?))
}

fn expect<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Outcome {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what}: {got:?} instead of {want:?}").into())
    }
}

fn ensure(what: &str, so: bool) -> Outcome {
    if so { Ok(()) } else { Err(what.into()) }
}

fn fill(queue: &mut dyn Queue, count: usize, size: usize) -> Outcome {
    for _ in 0..count {
        let buffer = queue.allocate(size);
        queue.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    Ok(())
}

fn listed(bench: &Bench) -> Outcome {
    let found = bench.found()?;
    expect("faults", found.descriptors.faults.clone(), Vec::new())?;
    expect("configurations", found.descriptors.configurations.len(), 2)?;
    ensure(
        "has an active configuration",
        found.active_configuration.is_some(),
    )?;
    println!(
        "  {} in configuration {:?}, drivers {:?}",
        found.identity, found.active_configuration, found.kernel_drivers
    );
    Ok(())
}

fn switched(bench: &Bench) -> Outcome {
    let device = bench.open()?;
    for target in [LOOPBACK, SOURCE_SINK, LOOPBACK] {
        let mut steps = Vec::new();
        let switched = switch(&*device, target, |step| steps.push(step.to_string()))?;
        println!("  {}", steps.join(", "));
        expect("after", switched.after, target)?;
        expect("active", device.active_configuration()?, target)?;
        expect("driver beside our claim", device.kernel_driver(0)?, None)?;
    }
    // Given back, unconfigured, and found unconfigured.
    configuration::hand_back(&*device, &[0], None, false)?;
    device.set_configuration(0)?;
    expect("unconfigured", device.active_configuration()?, 0)?;
    expect("listed as", bench.found()?.active_configuration, Some(0))?;
    let switched = switch(&*device, SOURCE_SINK, |_| {})?;
    expect("before", switched.before, 0)?;
    // The kernel's driver gets it when asked, stands in the way, can be
    // pushed aside by root, and is detached.
    configuration::hand_back(&*device, &[0], Some(0), true)?;
    let driver = device.kernel_driver(0)?;
    ensure(
        &format!("the kernel's driver is bound: {driver:?}"),
        driver.as_deref() == Some("usbtest"),
    )?;
    let refused = device.set_configuration(0).err();
    ensure(
        &format!("bound is busy: {refused:?}"),
        matches!(refused, Some(Error::Busy { holder: Some(holder), .. }) if holder == "usbtest"),
    )?;
    device.force_configuration(0)?;
    expect("forced", device.active_configuration()?, 0)?;
    device.set_configuration(SOURCE_SINK)?;
    let stay = SwitchPlan {
        via_zero: ViaZero::IfDifferent,
        ..SwitchPlan::new(SOURCE_SINK, [0])
    };
    let switched = configuration::switch(&*device, &stay, &mut |_| {})?;
    expect(
        "detached",
        switched.detached,
        vec![(SOURCE_SINK, 0, "usbtest".to_owned())],
    )
}

fn guarded(bench: &Bench) -> Outcome {
    let device = bench.open()?;
    let plan = SwitchPlan {
        settle: Duration::ZERO,
        ..SwitchPlan::new(SOURCE_SINK, [0])
    };
    let mut steps = Vec::new();
    let switched = configuration::switch(&*device, &plan, &mut |step| steps.push(step))?;
    ensure(
        "guarded",
        steps.contains(&Step::Guarded) && switched.guard.is_some(),
    )?;
    ensure(
        "nothing to take back behind a guard",
        !steps
            .iter()
            .any(|step| matches!(step, Step::TookBack { .. })),
    )?;
    ensure(
        "one guard at a time",
        matches!(device.guard_port(), Err(Error::Busy { .. })),
    )?;
    drop(switched);
    drop(device.guard_port()?);
    Ok(())
}

fn streaming(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, mut outward) = queues(&*device, SOURCE_SINK)?;
    fill(&mut *inward, 16, BLOCK)?;
    let (mut bytes, begun) = (0, Instant::now());
    for _ in 0..400 {
        let done = inward.next(PATIENCE).ok_or("nothing arrived")?;
        expect("length", done.result?, BLOCK)?;
        ensure("zeros", done.buffer.filled().iter().all(|&byte| byte == 0))?;
        bytes += BLOCK;
        inward
            .submit(done.buffer)
            .map_err(|rejected| rejected.error)?;
    }
    expect("pending", inward.pending(), 16)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "  in {:.0} Mbit/s, mapped: {}",
        bytes as f64 * 8e-6 / seconds,
        outward.allocate(BLOCK).is_mapped()
    );
    for _ in 0..16 {
        let mut buffer = outward.allocate(BLOCK);
        buffer.set_len(BLOCK);
        outward.submit(buffer).map_err(|rejected| rejected.error)?;
    }
    for _ in 0..200 {
        let done = outward.next(PATIENCE).ok_or("nothing was sent")?;
        expect("length", done.result?, BLOCK)?;
        outward
            .submit(done.buffer)
            .map_err(|rejected| rejected.error)?;
    }
    Ok(())
}

/// Polls a pump's descriptors once and processes it.
fn turn(pump: &mut dyn Pump, limit: Duration) -> Result<(), Error> {
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

fn loopback(bench: &Bench) -> Outcome {
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
            // The gadget repeats a zero packet as an empty transfer.
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

fn no_allocation(bench: &Bench) -> Outcome {
    let device = bench.ready(SOURCE_SINK)?;
    let (mut inward, _) = queues(&*device, SOURCE_SINK)?;
    let mut pump = device.pump()?;
    fill(&mut *inward, 16, BLOCK)?;
    let mut stream = |count: usize| -> Outcome {
        let mut done = 0;
        let deadline = Instant::now() + PATIENCE;
        while done < count {
            ensure("blocks arrive in time", Instant::now() < deadline)?;
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

/// GET_STATUS of the device: two bytes.
fn get_status(device: &dyn Device) -> Result<usize, Error> {
    let setup = Setup {
        request_type: 0x80,
        request: 0,
        value: 0,
        index: 0,
    };
    device.control_in(setup, &mut [0; 2], Duration::from_secs(2))
}

fn control_beside_pump(bench: &Bench) -> Outcome {
    let device = bench.ready(LOOPBACK)?;
    let statuses = |count: usize| -> Outcome {
        for _ in 0..count {
            expect("GET_STATUS", get_status(&*device)?, 2)?;
        }
        Ok(())
    };
    statuses(20)?;
    let mut pump = device.pump()?;
    // From the thread that has the pump.
    statuses(20)?;
    // From others, while it is driven.
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
    // From another, while nobody drives it.
    std::thread::scope(|scope| {
        scope
            .spawn(|| statuses(5).map_err(|error| error.to_string()))
            .join()
            .unwrap()
    })?;
    Ok(())
}

fn waiting_beside_pump(bench: &Bench) -> Outcome {
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
        // It comes and goes while they wait.
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

fn cancel_storm(bench: &Bench) -> Outcome {
    // Nothing arrives on the loopback's way in, so every transfer ends by being cancelled.
    let device = bench.ready(LOOPBACK)?;
    let (mut inward, _) = queues(&*device, LOOPBACK)?;
    for round in 0..30 {
        fill(&mut *inward, 16, BLOCK)?;
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
    // While they complete.
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

fn drop_orders(bench: &Bench) -> Outcome {
    for order in 0..6 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
        let pump = device.pump()?;
        let kept = outward.allocate(BLOCK);
        fill(&mut *inward, 16, BLOCK)?;
        match order {
            0 => drop((device, pump, inward, outward, kept)),
            1 => drop((inward, outward, kept, pump, device)),
            2 => drop((kept, pump, device, outward, inward)),
            3 => drop((pump, device, inward, kept, outward)),
            4 => drop((device, inward, pump, outward, kept)),
            _ => {
                drop((device, pump, inward, outward));
                // A buffer that stays does not keep the claim.
                drop(bench.ready(LOOPBACK)?);
                drop(kept);
            }
        }
    }
    Ok(())
}

fn refusals(bench: &Bench) -> Outcome {
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

fn out_of_memory(bench: &Bench) -> Outcome {
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
        ensure("the rest goes on", inward.pending() >= 8)
    };
    let outcome = outcome();
    std::fs::write(LIMIT, "16")?;
    outcome
}

/// The other program of `held`.
fn hold() -> ExitCode {
    let bench = Bench {
        libusb: Libusb::new().unwrap(),
        gadgets: String::new(),
    };
    let device = bench.ready(LOOPBACK).unwrap();
    println!("holding");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(device);
    ExitCode::SUCCESS
}

fn held(bench: &Bench) -> Outcome {
    use std::io::{BufRead, BufReader};
    let mut other = Command::new(std::env::current_exe()?)
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
        ensure(&holder, holder.contains(&format!("process {}", other.id())))?;
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

/// The ordinary user of `permission`.
fn nobody() -> ExitCode {
    let bench = Bench {
        libusb: Libusb::new().unwrap(),
        gadgets: String::new(),
    };
    let found = bench.found().unwrap();
    match bench.libusb.open(&found).err() {
        Some(Error::NoPermission {
            node: Some(node), ..
        }) if node.contains("/dev/bus/usb") => ExitCode::SUCCESS,
        other => {
            println!("  {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn permission(bench: &Bench) -> Outcome {
    let found = bench.found()?;
    let node = format!(
        "/dev/bus/usb/{:03}/{:03}",
        found.identity.bus, found.identity.address
    );
    std::fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o664))?;
    let copy = "/tmp/exercise-as-nobody";
    std::fs::copy(std::env::current_exe()?, copy)?;
    let status = Command::new(copy)
        .arg("nobody")
        .uid(65534)
        .gid(65534)
        .status()?;
    ensure("an ordinary user is told which node", status.success())
}

/// The gadget of `silence`: one vendor interface with a bulk endpoint each way, in user space
/// (FunctionFS, mounted at /tmp/silent). It accepts every request and answers none.
fn silent_gadget() -> ExitCode {
    use std::io::Write;
    let le = u32::to_le_bytes;
    let interface = [9, 4, 0, 0, 2, 0xff, 0, 0, 0];
    let endpoints = [7, 5, 0x81, 2, 0, 2, 0, 7, 5, 0x02, 2, 0, 2, 0];
    // Head (magic, length, flags: high speed only), count, descriptors.
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

fn silence(bench: &Bench) -> Outcome {
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

    let device = bench.libusb.open(&bench.found_product(SILENT_PRODUCT)?)?;
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
    fill(&mut *inward, 16, BLOCK)?;
    for _ in 0..16 {
        let mut buffer = outward.allocate(BLOCK);
        buffer.set_len(BLOCK);
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
    fill(&mut *inward, 16, BLOCK)?;
    expect("others are answered", get_status(&*device)?, 2)?;
    // It ends with transfers pending.
    drop(gadget.stdin.take());
    gadget.wait()?;
    while inward.pending() > 0 {
        inward
            .next(PATIENCE)
            .ok_or("a transfer outlived its device")?;
    }
    Ok(())
}

fn unplugged(bench: &Bench) -> Outcome {
    for round in 0..4 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, mut outward) = queues(&*device, LOOPBACK)?;
        fill(&mut *inward, 16, BLOCK)?;
        std::thread::scope(|scope| -> Outcome {
            let unplugging = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                bench.plug(false)
            });
            if round % 2 == 0 {
                while inward.pending() > 0 {
                    let done = inward.next(PATIENCE).ok_or("a transfer did not end")?;
                    // Which it is depends on whether the driver or the controller ended it.
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

fn unplugged_beside_pump(bench: &Bench) -> Outcome {
    for _ in 0..4 {
        let device = bench.ready(LOOPBACK)?;
        let (mut inward, _) = queues(&*device, LOOPBACK)?;
        let mut pump = device.pump()?;
        fill(&mut *inward, 16, BLOCK)?;
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
