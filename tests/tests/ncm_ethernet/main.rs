//! A plain network device: bring-up, frames in both directions, link, garbage, unplugging.

mod gadget;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use gadget::{ADDRESS, Bus, FRAME, Gadget};
use uwwan_modem::options::{Format, Placement};
use uwwan_modem::{Event, Handle, Modem, Options, Rung, Selector};
use uwwan_tests::host::Sockets;

/// Time that is long enough for anything on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A driver on the gadget.
struct Bench {
    gadget: Arc<Gadget>,
    handle: Handle,
    events: Receiver<Event>,
    sockets: Sockets,
}

impl Bench {
    fn start(gadget: &Arc<Gadget>, options: Options) -> Self {
        let (sender, events) = mpsc::channel();
        let sockets = Sockets::default();
        let handle = Modem::start(
            Arc::new(Bus(Arc::clone(gadget))),
            Selector::Id(0x0525, 0xa4a1),
            options,
            Box::new(sockets.clone()),
            Box::new(move |event| {
                let _ = sender.send(event);
            }),
        )
        .unwrap();
        Self {
            gadget: Arc::clone(gadget),
            handle,
            events,
            sockets,
        }
    }

    fn online(options: Options) -> Self {
        let bench = Self::start(&Gadget::new(), options);
        bench.until("online", |event| event.is_online());
        bench
    }

    fn until(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => seen.push(event),
                Err(_) => panic!("{what} did not happen: {seen:#?}"),
            }
            if fits(&seen[seen.len() - 1]) {
                return seen;
            }
            if let Some(Event::Stopped { failure }) = seen.last() {
                panic!("stopped before {what}: {failure:?}");
            }
        }
    }

    fn notice(&self, text: &str) {
        self.until(
            text,
            |event| matches!(event, Event::Notice { text: said } if said.contains(text)),
        );
    }

    fn host_sends(&self, frames: &[Vec<u8>]) {
        let socket = self.sockets.last();
        for frame in frames {
            socket.send(frame).unwrap();
        }
    }

    fn host_receives(&self, count: usize) -> Vec<Vec<u8>> {
        let socket = self.sockets.last();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 4096];
        (0..count)
            .map(|number| match socket.recv(&mut buffer) {
                Ok(length) => buffer[..length].to_vec(),
                Err(error) => panic!("frame {number} of {count}: {error}"),
            })
            .collect()
    }

    /// Frames of every length go through in both directions, in order and unchanged except for the
    /// padding of short ones towards the device.
    fn both_ways(&self) {
        let frames: Vec<Vec<u8>> = (0..200u32)
            .map(|number| frame(number, 14 + number as usize * 7))
            .collect();
        // A socket holds few frames at a time.
        for part in frames.chunks(8) {
            self.host_sends(part);
            assert_eq!(self.gadget.frames(part.len(), PATIENCE), padded(part));
            self.gadget.send(part);
            assert_eq!(self.host_receives(part.len()), part);
        }
        assert_eq!(self.gadget.faults(), Vec::<String>::new());
    }

    fn dropped(&self, name: &str) -> u64 {
        let traffic = self.handle.status().traffic;
        let mut counters = traffic.dropped.iter();
        counters.find(|c| c.name == name).map_or(0, |c| c.count)
    }

    fn stop(self) {
        self.handle.stop();
        assert_eq!(self.handle.wait(), Ok(()));
        assert!(self.gadget.is_idle());
        assert_eq!(self.gadget.faults(), Vec::<String>::new());
    }
}

/// Returns frames as they reach the device: with at least 60 bytes (IEEE 802.3, 3.2.8).
fn padded(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut frames = frames.to_vec();
    for frame in &mut frames {
        frame.resize(frame.len().max(60), 0);
    }
    frames
}

fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length)
        .map(|at| (at as u32 * 7 + number) as u8)
        .collect();
    frame[..4].copy_from_slice(&number.to_be_bytes());
    frame
}

#[test]
fn bring_up_keeps_the_order_of_requests() {
    let bench = Bench::online(Options::default());
    assert_eq!(
        bench.gadget.requests(),
        [
            "alternate 5.0",
            "get 80",
            "set 84 0",
            "set 86 32768",
            "set 8a 0",
            "get 87",
            "set 88 1514",
            "alternate 5.1",
            "get 83",
            "set 43 14",
        ]
    );
    let status = bench.handle.status();
    let rungs: Vec<Rung> = status.rungs.iter().map(|time| time.rung).collect();
    assert_eq!(
        rungs,
        [
            Rung::Found,
            Rung::Configuration,
            Rung::Claim,
            Rung::DataFunction,
            Rung::Host,
            Rung::Online
        ]
    );
    let config = bench.sockets.told().configs[0].clone();
    let ethernet = config.ethernet.expect("frames");
    assert_eq!(ethernet.address, Some(ADDRESS));
    assert!(!ethernet.carrier, "no link was told of");
    assert_eq!(
        (config.addresses.mtu, config.addresses.list().len()),
        (1500, 0)
    );
    let ethernet = status.ethernet.expect("a network device");
    assert_eq!(ethernet.address, "02:99:00:00:00:01");
    assert_eq!((ethernet.link, ethernet.frame_size), (None, 1514));
    bench.stop();
}

#[test]
fn frames_go_through_in_either_format_and_layout() {
    for ntb in [Format::Ntb16, Format::Ntb32] {
        for ndp in [Placement::Front, Placement::End] {
            let bench = Bench::online(Options {
                ntb: Some(ntb),
                ndp: Some(ndp),
                ..Options::default()
            });
            assert_eq!(bench.handle.status().framing.unwrap().format, ntb.word());
            bench.both_ways();
            bench.stop();
        }
    }
}

/// A frame of 1500 bytes with a VLAN tag (IEEE 802.1Q) goes through in both directions where the
/// device takes it, and the interface keeps its MTU.
#[test]
fn frames_with_a_vlan_tag_go_through_where_the_device_takes_them() {
    for segment in [1518, 4000] {
        let gadget = Gadget::with_frames_of(segment);
        let bench = Bench::start(&gadget, Options::default());
        bench.until("online", |event| event.is_online());
        let tagged = [frame(1, FRAME + 4), frame(2, FRAME)];
        bench.host_sends(&tagged);
        assert_eq!(bench.gadget.frames(2, PATIENCE), tagged);
        bench.gadget.send(&tagged);
        assert_eq!(bench.host_receives(2), tagged);
        let status = bench.handle.status();
        assert_eq!(status.ethernet.unwrap().frame_size, 1518);
        assert_eq!(status.sessions[0].addresses.as_ref().unwrap().mtu, 1500);
        bench.stop();
    }
}

#[test]
fn the_carrier_follows_the_link() {
    let bench = Bench::online(Options::default());
    let carriers = || bench.sockets.told().carriers.clone();
    bench.gadget.set_link(true);
    bench.notice("link is up");
    assert_eq!(carriers(), [true]);
    // The device reports the same state again, which is no change.
    bench.gadget.set_link(true);
    bench.gadget.set_link(false);
    bench.notice("link is down");
    assert_eq!(carriers(), [true, false]);
    let status = bench.handle.status();
    let ethernet = status.ethernet.unwrap();
    assert_eq!(ethernet.link, Some(false));
    assert_eq!(
        (ethernet.downlink_bits, ethernet.uplink_bits),
        (100_000_000, 40_000_000)
    );
    assert!(status.online, "the device is there all the same");
    bench.gadget.set_link(true);
    bench.notice("link is up");
    bench.both_ways();
    bench.stop();
}

#[test]
fn garbage_costs_its_own_frame_and_no_other() {
    let bench = Bench::online(Options::default());
    let good = [frame(1, 14), frame(2, 60), frame(3, FRAME)];
    // The device sends a frame without a header, one that is a byte too long, and no NTB at all.
    bench.gadget.send(&[
        good[0].clone(),
        frame(8, 13),
        good[1].clone(),
        frame(9, FRAME + 1),
        good[2].clone(),
    ]);
    bench.gadget.send_raw(&[0xa5; 700]);
    bench.gadget.send_raw(b"NCMH");
    bench.gadget.send(&good);
    assert_eq!(bench.host_receives(3), good);
    assert_eq!(bench.host_receives(3), good);
    // The host sends the same.
    bench.host_sends(&[
        good[0].clone(),
        frame(8, 13),
        good[1].clone(),
        frame(9, FRAME + 1),
        frame(9, FRAME + 4),
        good[2].clone(),
    ]);
    assert_eq!(bench.gadget.frames(3, PATIENCE), padded(&good));
    // The counters are published after the frames were moved.
    let deadline = Instant::now() + PATIENCE;
    let counts = || {
        [
            "received_datagram_runt",
            "received_datagram_long",
            "host_not_ip",
            "host_too_long",
        ]
        .map(|name| bench.dropped(name))
    };
    while counts() != [1, 1, 1, 2] && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(counts(), [1, 1, 1, 2]);
    bench.stop();
}

#[test]
fn unplugged_and_plugged_in_again() {
    let bench = Bench::online(Options::default());
    bench.gadget.set_link(true);
    bench.notice("link is up");
    bench.gadget.unplug();
    bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
    bench.gadget.plug();
    bench.until("online again", |event| event.is_online());
    {
        let told = bench.sockets.told();
        assert_eq!(told.theirs.len(), 1, "the interface stays");
        assert_eq!(told.carriers, [true, false], "no device, no carrier");
        let carrier = told
            .configs
            .last()
            .unwrap()
            .ethernet
            .as_ref()
            .unwrap()
            .carrier;
        assert!(!carrier, "what the device told before does not hold");
    }
    bench.gadget.set_link(true);
    bench.notice("link is up");
    bench.both_ways();
    bench.stop();
}

#[test]
fn a_device_that_refuses_every_request_is_taken_as_it_is() {
    let gadget = Gadget::new();
    gadget.be_stubborn();
    let bench = Bench::start(&gadget, Options::default());
    bench.until("online", |event| event.is_online());
    let framing = bench.handle.status().framing.unwrap();
    assert_eq!((framing.format.as_str(), framing.output_size), ("16", 8192));
    let frames = [frame(1, 60)];
    gadget.send(&frames);
    assert_eq!(bench.host_receives(1), frames);
    bench.stop();
}

#[test]
fn only_a_device_asked_for_is_taken_from_the_machine() {
    let gadget = Gadget::new();
    let start = |selector| {
        Modem::start(
            Arc::new(Bus(Arc::clone(&gadget))),
            selector,
            Options::default(),
            Box::new(Sockets::default()),
            Box::new(|_| {}),
        )
    };
    let refused = start(Selector::Any)
        .expect_err("nobody asked for it")
        .to_string();
    assert!(refused.contains("no modem fits"), "{refused}");
    assert_eq!(gadget.requests(), Vec::<String>::new());
    let handle = start(Selector::Port("1-1".into())).unwrap();
    handle.wait_online(PATIENCE).unwrap();
    handle.stop();
    handle.wait().unwrap();
}
