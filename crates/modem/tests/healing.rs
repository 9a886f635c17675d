//! Firmware that takes NTBs and carries nothing in the layout that the specifications ask for: the
//! driver finds the layout that it needs, and uses it at once the next time.

mod memory_host;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memory_host::{MemoryHost, SHORT};
use uwwan_emulator::{Emulator, FarSide, Network};
use uwwan_modem::heal::{HealEvent, HealStep, Layout};
use uwwan_modem::options::{Format, Padding, Placement};
use uwwan_modem::{Event, Handle, Modem, Options, Selector};
use uwwan_usb::descriptors::Descriptors;

/// Time for any step, long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Layout with which a device without a row begins.
const FIRST: Layout = Layout {
    ndp: Placement::Front,
    padding: Padding::ZeroPacket,
    ntb: Format::Ntb16,
};

/// Switches on an lt4132 with a product id that the quirk table does not have.
fn unknown(knobs: &str, far_side: FarSide) -> Emulator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
    let mut bytes = std::fs::read(folder.join("hp_lt4132_03f0_a31d.bin")).unwrap();
    bytes[8..12].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
    let knobs = format!("settle_ms=0,absent_ms=50,{knobs}").parse().unwrap();
    Emulator::presenting(Descriptors::from_sysfs(&bytes), knobs, far_side).unwrap()
}

/// Switches on a CDC-NCM network device with an id that the quirk table does not have.
fn network_device(knobs: &str) -> Emulator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../usb/tests/vectors/descriptors");
    let mut bytes = std::fs::read(folder.join("linux_gadget_0525_a4a1.bin")).unwrap();
    bytes[8..12].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
    let knobs = format!("settle_ms=0,absent_ms=50,{knobs}").parse().unwrap();
    Emulator::presenting(Descriptors::from_sysfs(&bytes), knobs, FarSide::BuiltIn).unwrap()
}

/// Place where a test keeps the layouts that worked, removed at its end.
struct Memory(PathBuf);

impl Memory {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("uwwan-{test}-{}", std::process::id()));
        Self(folder)
    }

    fn options(&self) -> Options {
        Options {
            settle: Some(Duration::from_millis(10)),
            layout_memory: Some(self.0.join("layouts.json").into()),
            ..Options::default()
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.0.join("layouts.json")).unwrap_or_default()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One run of the driver.
struct Run {
    handle: Handle,
    host: MemoryHost,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Run {
    fn start(emulator: &Emulator, options: Options) -> Self {
        let (provider, host) = MemoryHost::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&events);
        let found = emulator.backend().devices().unwrap().remove(0);
        let handle = Modem::start(
            emulator.backend(),
            Selector::Id(found.identity.vendor, found.identity.product),
            options,
            Box::new(provider),
            Box::new(move |event| {
                eprintln!("{event:?}");
                kept.lock().unwrap().push(event);
            }),
        )
        .unwrap();
        handle.wait_online(PATIENCE).unwrap();
        Self {
            handle,
            host,
            events,
        }
    }

    fn echo(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        if let Err(why) = self.host.echo(SHORT, deadline) {
            panic!("{why}: {:#?}", self.handle.status());
        }
    }

    /// Returns the steps of the healing that were reported.
    fn told(&self) -> Vec<HealEvent> {
        let events = self.events.lock().unwrap();
        let heal = events.iter().filter_map(|event| match event {
            Event::Heal(event) => Some(event.clone()),
            _ => None,
        });
        heal.collect()
    }

    /// Waits for an event.
    fn wait_for(&self, wanted: impl Fn(&Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.events.lock().unwrap().iter().any(&wanted) {
            assert!(Instant::now() < deadline, "{:#?}", self.handle.status());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_for_step(&self, step: HealStep) {
        self.wait_for(|event| matches!(event, Event::Heal(heal) if heal.step == step));
    }

    /// Waits until packets come back in this layout, which the driver has found.
    fn heals(&mut self, layout: Layout) {
        self.echo();
        self.wait_for_step(HealStep::Healed);
        let told = self.told();
        assert_eq!(told[0].step, HealStep::Noticed);
        let last = told.last().unwrap();
        assert_eq!((last.step, last.layout), (HealStep::Healed, layout));
        assert_eq!(self.handle.status().heal.as_ref(), Some(last));
    }

    /// Asserts that this layout is used from memory and no other is tried.
    fn knows(&mut self, layout: Layout) {
        self.echo();
        let told = self.told();
        let steps: Vec<_> = told.iter().map(|heal| (heal.step, heal.layout)).collect();
        assert_eq!(steps, [(HealStep::Remembered, layout)]);
        assert_eq!(self.handle.status().heal, told.last().cloned());
    }

    fn stop(self) -> Vec<HealEvent> {
        self.handle.stop();
        self.handle.wait().unwrap();
        self.told()
    }
}

fn in_order(emulator: &Emulator) {
    let report = emulator.report();
    assert_eq!(report.total_violations(), 0, "{:?}", report.violations);
}

#[test]
fn the_ndp_place_is_found_and_known_with_this_firmware() {
    let memory = Memory::new("heal-place");
    let emulator = unknown("", FarSide::BuiltIn);
    let end = Layout {
        ndp: Placement::End,
        ..FIRST
    };
    let mut run = Run::start(&emulator, memory.options());
    run.heals(end);
    run.stop();
    let lost = emulator.report().counters.black_holed;
    assert!(lost > 0);

    let mut run = Run::start(&emulator, memory.options());
    run.knows(end);
    run.stop();
    assert_eq!(emulator.report().counters.black_holed, lost);
    in_order(&emulator);

    // A device with other firmware counts as another device.
    let emulator = unknown("firmware_info=12.0", FarSide::BuiltIn);
    let mut run = Run::start(&emulator, memory.options());
    run.heals(end);
    run.stop();
    let text = memory.text();
    assert!(text.contains("\"11.617.13.00.00\"") && text.contains("\"12.0\""));

    // A layout that the user chose is left alone, and so is the memory.
    let emulator = unknown("", FarSide::BuiltIn);
    let options = Options {
        ndp: Some(Placement::Front),
        ..memory.options()
    };
    let run = Run::start(&emulator, options);
    run.wait_for(|event| matches!(event, Event::Diagnosis(_)));
    assert_eq!(run.stop(), []);
    in_order(&emulator);
}

#[test]
fn the_format_is_found_in_a_new_session() {
    let memory = Memory::new("heal-format");
    let emulator = unknown("black_hole_ntb16=on", FarSide::BuiltIn);
    let end32 = Layout {
        ndp: Placement::End,
        ntb: Format::Ntb32,
        ..FIRST
    };
    let mut run = Run::start(&emulator, memory.options());
    run.heals(end32);
    run.stop();
    let lost = emulator.report().counters.black_holed;
    let mut run = Run::start(&emulator, memory.options());
    run.knows(end32);
    run.stop();
    assert_eq!(emulator.report().counters.black_holed, lost);
    in_order(&emulator);
}

#[test]
fn the_padding_is_found_when_an_ntb_has_stopped_everything() {
    let memory = Memory::new("heal-padding");
    let knobs = "black_hole_ndp_front=off,ntb_end=short";
    let emulator = unknown(knobs, FarSide::BuiltIn);
    let mut run = Run::start(&emulator, memory.options());
    run.echo();
    // One of these lengths makes the NTB fill its last packet.
    let stops = (SHORT..600).step_by(2).find(|length| {
        let deadline = Instant::now() + Duration::from_secs(3);
        run.host.echo(*length, deadline).is_err()
    });
    assert!(stops.is_some());
    run.heals(Layout {
        padding: Padding::Short,
        ..FIRST
    });
    run.host
        .echo(stops.unwrap(), Instant::now() + PATIENCE)
        .unwrap();
    run.stop();
    in_order(&emulator);
}

#[test]
fn a_network_device_is_healed_as_a_modem_is() {
    let memory = Memory::new("heal-network-device");
    let emulator = network_device("black_hole_ndp_front=on");
    let options = memory.options();
    let end = Layout {
        ndp: Placement::End,
        padding: Padding::Short,
        ..FIRST
    };
    let mut run = Run::start(&emulator, options.clone());
    run.heals(end);
    run.stop();
    let lost = emulator.report().counters.black_holed;
    assert!(lost > 0);
    let mut run = Run::start(&emulator, options);
    run.knows(end);
    run.stop();
    assert_eq!(emulator.report().counters.black_holed, lost);
    in_order(&emulator);
}

/// A network that takes all packets and answers none.
struct Silence;

impl Network for Silence {
    fn send(&mut self, _: &[u8]) -> bool {
        true
    }

    fn receive(&mut self, _: &mut [u8]) -> Option<usize> {
        None
    }
}

#[test]
fn where_nobody_answers_everything_is_put_back() {
    let memory = Memory::new("heal-silence");
    let emulator = unknown("", FarSide::Network(Box::new(Silence)));
    let run = Run::start(&emulator, memory.options());
    run.wait_for_step(HealStep::PutBack);
    let online = |run: &Run| {
        let events = run.events.lock().unwrap();
        events.iter().filter(|event| event.is_online()).count()
    };
    // The sessions are the first one, one for the other format, and one in the first format again.
    let deadline = Instant::now() + PATIENCE;
    while online(&run) < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(online(&run), 3);
    let status = run.handle.status();
    let framing = status.framing.unwrap();
    assert_eq!((&*framing.ndp, &*framing.format), ("front", "16"));
    assert_eq!(memory.text(), "");
    let events = Arc::clone(&run.events);
    let told = run.stop();
    let put_back: Vec<_> = told
        .iter()
        .filter(|heal| heal.step == HealStep::PutBack)
        .collect();
    assert_eq!(put_back.len(), 1);
    assert_eq!(put_back[0].layout, FIRST);
    assert!(!told.iter().any(|heal| heal.step == HealStep::Healed));
    let events = events.lock().unwrap();
    let diagnosed = events
        .iter()
        .any(|event| matches!(event, Event::Diagnosis(_)));
    assert!(!diagnosed, "it is said once");
    in_order(&emulator);
}

#[test]
fn what_is_given_stays_though_healing_is_asked_for() {
    use uwwan_modem::options::Heal;

    let memory = Memory::new("heal-always");
    let knobs = "settle_ms=0,absent_ms=50".parse().unwrap();
    let emulator = Emulator::new(knobs, FarSide::BuiltIn).unwrap();
    // A layout that the user chose stays, and its fault is reported.
    let options = Options {
        heal: Heal::Always,
        ndp: Some(Placement::Front),
        padding: Some(Padding::Short),
        ntb: Some(Format::Ntb16),
        ..memory.options()
    };
    let run = Run::start(&emulator, options);
    run.wait_for(|event| matches!(event, Event::Diagnosis(_)));
    assert_eq!(run.stop(), []);
}
