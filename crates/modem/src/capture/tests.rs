use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use uwwan_capture::read::{Packet, Reader};
use uwwan_capture::transfer::{Kind, Phase};
use uwwan_ncm::{Builder, Choices, Framing, NtbParameters, Stream as NtbStream};
use uwwan_usb::descriptors::{Descriptors, TransferKind};
use uwwan_usb::device::{Identity, Speed};
use uwwan_usb::observed::{Moment, Observer, Opened, Seen};

use super::*;

const LT4132: &[u8] =
    include_bytes!("../../../usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin");
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn destination(&self) -> Destination {
        Destination::stream(Box::new(self.clone()), "memory")
    }

    fn packets(&self) -> Vec<Packet> {
        let bytes = self.0.lock().unwrap();
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet().unwrap() {
            packets.push(packet);
        }
        packets
    }
}

fn open(captures: &Captures, active_configuration: u8) {
    captures.opened(&Opened {
        identity: &Identity {
            vendor: 0x03f0,
            product: 0xa31d,
            bus: 1,
            address: 7,
            port: "1-4".to_owned(),
            speed: Speed::High,
            ..Identity::default()
        },
        descriptors: &Descriptors::from_sysfs(LT4132),
        active_configuration,
    });
}

fn seen(id: u64, moment: Moment, data: &[u8]) -> Seen<'_> {
    Seen {
        bus: 1,
        address: 7,
        id,
        moment,
        kind: TransferKind::Bulk,
        endpoint: 0x01,
        setup: None,
        length: data.len(),
        data,
    }
}

fn order(captures: &Captures, id: u64, setup: [u8; 8]) {
    let begun = Seen {
        kind: TransferKind::Control,
        endpoint: 0,
        setup: Some(setup),
        ..seen(id, Moment::Submitted, &[])
    };
    captures.transfer(&begun);
    captures.transfer(&Seen {
        moment: Moment::Completed(0),
        setup: None,
        ..begun
    });
}

#[test]
fn a_late_capture_begins_with_what_it_missed() {
    let captures = Arc::<Captures>::default();
    assert!(!captures.is_active());
    open(&captures, 2);
    order(&captures, 1, [0x00, 9, 3, 0, 0, 0, 0, 0]);
    order(&captures, 2, [0x01, 11, 1, 0, 1, 0, 0, 0]);
    // The AT port opens the same device once more.
    open(&captures, 3);
    let memory = Memory::default();
    let capture = captures
        .start(Options::default(), memory.destination())
        .unwrap();
    assert!(captures.is_active());
    captures.transfer(&seen(9, Moment::Submitted, b"AT\r"));
    captures.transfer(&seen(9, Moment::Completed(0), b""));
    let outcome = capture.finish(LONG);
    assert_eq!(
        (outcome.written, outcome.dropped, &outcome.failure),
        (2, 0, &None)
    );
    assert!(!captures.is_active());
    let packets = memory.packets();
    let setups: Vec<[u8; 8]> = packets
        .iter()
        .filter_map(|packet| packet.transfer().unwrap().setup)
        .collect();
    let requests: Vec<[u8; 2]> = setups.iter().map(|setup| [setup[1], setup[3]]).collect();
    // The requests are for the device, three configurations, then for the configuration and the
    // alternate setting in force.
    assert_eq!(requests, [[6, 1], [6, 2], [6, 2], [6, 2], [9, 0], [11, 0]]);
    assert_eq!((setups[4][2], setups[5][2], setups[5][4]), (3, 1, 1));
    let answer = packets[1].transfer().unwrap();
    assert_eq!(answer.data, &LT4132[..18]);
    let [.., sent, done] = &packets[..] else {
        panic!()
    };
    let sent = sent.transfer().unwrap();
    assert_eq!(
        (sent.kind, sent.phase, sent.data),
        (Kind::Bulk, Phase::Submit, &b"AT\r"[..])
    );
    assert_eq!(done.transfer().unwrap().id, sent.id);
}

#[test]
fn a_writer_that_stands_still_stops_nobody() {
    struct Slow(Receiver<()>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (gate, wait): (Sender<()>, _) = bounded(0);
    let captures = Arc::<Captures>::default();
    let slow = Destination::stream(Box::new(Slow(wait)), "slow");
    let capture = captures.start(Options::default(), slow).unwrap();
    let data = vec![1; 64 << 10];
    for id in 0..1_000 {
        captures.transfer(&seen(id, Moment::Submitted, &data));
    }
    let outcome = capture.finish(Duration::from_millis(1));
    assert!(outcome.dropped > 500, "{outcome:?}");
    assert!(outcome.failure.is_some());
    drop(gate);
}

#[test]
fn a_full_disk_ends_the_capture_alone() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let captures = Arc::<Captures>::default();
    let full = Destination::stream(Box::new(Full), "full");
    let capture = captures.start(Options::default(), full).unwrap();
    captures.transfer(&seen(1, Moment::Submitted, b"x"));
    let outcome = capture.finish(LONG);
    assert!(outcome.failure.is_some(), "{outcome:?}");
}

#[test]
fn each_file_of_a_ring_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring.pcapng");
    let ring = Ring {
        bytes: 4_000,
        files: 3,
    };
    let captures = Arc::<Captures>::default();
    open(&captures, 3);
    let destination = Destination::ring(&path, ring, false).unwrap();
    let capture = captures.start(Options::default(), destination).unwrap();
    for id in 0..100 {
        captures.transfer(&seen(id, Moment::Submitted, &[0x55; 300]));
    }
    assert_eq!(capture.finish(LONG).written, 100);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let first = reader.next_packet().unwrap().unwrap();
        assert_eq!(first.transfer().unwrap().setup.unwrap()[1], 6);
        while reader.next_packet().unwrap().is_some() {}
    }
}

/// An NTB is the same with and without its packets beside it, and of each of both as many bytes are kept
/// as were asked for.
#[test]
fn packets_stand_beside_the_ntb_they_are_in() {
    let mut builder = Builder::new(Framing::negotiate(
        &NtbParameters::FALLBACK,
        &Choices::default(),
    ));
    let lengths = [500, 20, 41];
    let mut ntb = vec![0; 2_048];
    let places = lengths.map(|length| builder.put(NtbStream::Ips(0), length, length).unwrap());
    for (place, length) in places.into_iter().zip(lengths) {
        ntb[place..place + length].fill(0x45);
    }
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    let record = |ip| {
        let captures = Arc::<Captures>::default();
        let memory = Memory::default();
        let options = Options {
            snap: Some(40),
            ip,
            ..Options::default()
        };
        let capture = captures.start(options, memory.destination()).unwrap();
        captures.transfer(&seen(1, Moment::Submitted, &ntb));
        assert_eq!(capture.finish(LONG).written, 1);
        memory.packets()
    };
    let packets = record(true);
    let [usb, packets @ ..] = &packets[..] else {
        panic!("no packet")
    };
    let mut kept = ntb.clone();
    kept[places[0] + 40..places[0] + 500].fill(0);
    kept[places[2] + 40] = 0;
    assert_eq!(usb.transfer().unwrap().data, kept);
    let [alone] = &record(false)[..] else {
        panic!("no packet, or several")
    };
    assert_eq!(alone.transfer().unwrap().data, kept);
    let lengths: Vec<_> = packets.iter().map(|packet| packet.data.len()).collect();
    assert_eq!(lengths, [40, 20, 40]);
    let originals: Vec<_> = packets.iter().map(|packet| packet.original).collect();
    assert_eq!(originals, [500, 20, 41]);
}

#[test]
fn there_is_a_limit_to_captures() {
    let captures = Arc::<Captures>::default();
    let memory = Memory::default();
    let start = || captures.start(Options::default(), memory.destination());
    let running: Vec<Capture> = (0..4).map(|_| start().unwrap()).collect();
    assert_eq!(
        start().err().unwrap().kind,
        crate::failure::FailureKind::Busy
    );
    drop(running);
    assert!(start().is_ok());
}
