//! Drives a real USB device stack hard. Either backend runs against the kernel's own test gadget
//! (source/sink in configuration 3, loopback in configuration 2) on an emulated controller, and
//! against a gadget of this program that never answers. It must run as root in a machine that may
//! be damaged; `tests/guest/usb.sh` sets the gadgets up and calls it.
//!
//! usage: exercise [--usb libusb|nusb] GADGETS_FOLDER [PART_OF_A_NAME]
//!
//! The program prints `ok - …` or `not ok - …` for each trial; its exit status is 0 when all went
//! well.

mod endings;
mod interruptions;
mod measure;
mod refusals;
mod silence;
mod streams;
mod switching;

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
use uwwan_usb::backend::BackendKind;
use uwwan_usb::buffer::Buffer;
use uwwan_usb::configuration::{self, Step, SwitchPlan, Switched, ViaZero};
use uwwan_usb::device::{Backend, Device, Found, Pump, Queue, Setup};
use uwwan_usb::error::{Error, Holder, TransferError};
use uwwan_usb::give_back::{self, GiveBack};

const VENDOR: u16 = 0x0525;
const PRODUCT: u16 = 0xa4a0;
const SILENT_PRODUCT: u16 = 0xa4a1;
const LOOPBACK: u8 = 2;
const SOURCE_SINK: u8 = 3;
const TRANSFER: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Trial = fn(&Bench) -> Outcome;
type Queues = (Box<dyn Queue>, Box<dyn Queue>);

/// An allocator that counts the allocations of the thread that asks for it.
struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is that of `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut kind = BackendKind::default();
    if arguments.next_if(|argument| argument == "--usb").is_some() {
        let name = arguments.next().expect("--usb needs a name");
        kind = name.parse().expect("a backend's name");
    }
    let argument = arguments.next().expect("usage: exercise GADGETS_FOLDER");
    let bench = Bench {
        backend: kind.start(),
        gadgets: argument,
    };
    match bench.gadgets.as_str() {
        "hold" => return refusals::hold(&bench),
        "nobody" => return refusals::nobody(&bench),
        "silent" => return silence::silent_gadget(),
        "measure" => {
            let direction = arguments.next().expect("in or out");
            let mebibytes = arguments.next().map_or(64, |text| text.parse().unwrap());
            measure::measure(&bench, &direction, mebibytes).unwrap();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let trials: [(&str, Trial); 19] = [
        ("listed without being opened", switching::listed),
        ("switched both ways, drivers detached", switching::switched),
        ("guarded ports keep drivers away", switching::guarded),
        (
            "sixteen transfers queued without a pump",
            streams::streaming,
        ),
        (
            "loopback through a pump, zero packets included",
            streams::loopback,
        ),
        ("no allocation while streaming", streams::no_allocation),
        (
            "control requests beside a pump",
            streams::control_beside_pump,
        ),
        (
            "two threads wait beside a pump",
            streams::waiting_beside_pump,
        ),
        ("cancel storms", endings::cancel_storm),
        ("dropped in every order", endings::drop_orders),
        ("halts cleared beside queues", interruptions::halted),
        (
            "alternate settings and resets beside queues",
            interruptions::interrupted,
        ),
        ("refusals are told apart", refusals::refusals),
        ("out of transfer memory", refusals::out_of_memory),
        ("who holds it", refusals::held),
        ("no permission", refusals::permission),
        ("silence ends in time", silence::silence),
        ("unplugged with sixteen pending", endings::unplugged),
        (
            "unplugged with sixteen pending beside a pump",
            endings::unplugged_beside_pump,
        ),
    ];
    let backend = bench.backend.name();
    let mut failed = 0;
    let only = arguments.next();
    for (name, trial) in trials {
        if only
            .as_ref()
            .is_some_and(|only| !name.contains(only.as_str()))
        {
            continue;
        }
        // The gadget may be plugged in or not after the trial before; plugging fails when it is.
        let _ = bench.plug(true);
        let begun = Instant::now();
        match trial(&bench) {
            Ok(()) => println!(
                "ok - {backend}: {name} ({} ms)",
                begun.elapsed().as_millis()
            ),
            Err(error) => {
                println!("not ok - {backend}: {name}: {error}");
                failed += 1;
            }
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

struct Bench {
    backend: Arc<dyn Backend>,
    gadgets: String,
}

impl Bench {
    /// Returns a command that runs this program again with the same backend.
    fn another(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.args(["--usb", self.backend.name()]);
        command
    }

    fn found(&self) -> Result<Found, Box<dyn std::error::Error>> {
        self.found_product(PRODUCT)
    }

    fn found_product(&self, product: u16) -> Result<Found, Box<dyn std::error::Error>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut devices = self.backend.devices()?;
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.backend.open(&self.found()?) {
                // The one that was found is the one that is still being unplugged.
                Err(Error::Gone { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// Opens the device, selects a configuration and claims interface 0.
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

/// Returns the bulk endpoints of interface 0, IN first.
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
