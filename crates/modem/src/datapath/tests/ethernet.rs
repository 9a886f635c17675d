//! Ethernet frames in both directions.

use super::*;

/// Length in bytes of the longest frame that a device that declares 1514 takes and sends.
const FRAME: usize = 1514;

const ETHERNET: Stream = Stream::Ethernet { crc: false };

fn frame(number: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![number; length];
    // The EtherType is that of ARP, so the frame holds no IP datagram.
    if length >= 14 {
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
    }
    frame
}

struct Hosts(Arc<FakeHost>, Unmoved);

/// Inspector that keeps no frame from the host.
struct Unmoved;

impl Outlets for Hosts {
    fn outlet(&mut self, session: u8) -> Option<Outlet<'_>> {
        (session == 0).then_some(Outlet {
            sink: Sink::Single(&mut self.0),
            inspect: &mut self.1,
        })
    }

    fn merge(&self) -> bool {
        false
    }
}

impl Inspect for Unmoved {
    fn inspect(&mut self, _datagram: &[u8], _tally: &mut Tally) -> bool {
        true
    }

    fn delivered(&mut self, _datagrams: u64, _bytes: u64) {}
}

#[test]
fn frames_from_the_host_go_whole_or_not_at_all() {
    let (queue, host, now) = (Fake::new(0x01), FakeHost::new(Mode::Single), Instant::now());
    let padding = Framing {
        min_datagram_size: 60,
        ..framing()
    };
    let mut uplink = Uplink::new(queue.boxed(), padding, 4);
    let (mut watch, mut carried, mut tally) =
        (Watch::new(now), SessionTally::default(), Tally::default());
    let good = [frame(1, 14), frame(2, FRAME), frame(0x45, 60)];
    host.sends(good.clone());
    // The frames are too short for a header, one byte too long, and longer than any room.
    host.sends([frame(4, 13), frame(5, FRAME + 1), frame(6, 30_000)]);
    let inlet = Inlet {
        stream: ETHERNET,
        source: Source::Single(&mut Arc::clone(&host)),
        mtu: FRAME,
        watch: &mut watch,
        carried: &mut carried,
    };
    let filled = uplink.fill(inlet, now, &mut tally).unwrap();
    assert_eq!(filled, Filled::Drained);
    uplink.set_left_off(Filled::Drained);
    uplink.flush(&mut tally).unwrap();
    let sent = queue.lock().sent.concat();
    let mut expected = good;
    // An Ethernet has no shorter frames (IEEE 802.3, 3.2.8).
    expected[0].resize(60, 0);
    assert_eq!(unpack(&sent), expected);
    assert!(sent.windows(4).any(|bytes| bytes == b"NCM0"));
    assert_eq!((tally.host_not_ip, tally.host_too_long), (1, 2));
    assert_eq!(carried.sent_packets, 3);
    // The watch takes nothing in a frame for a question to the network.
    assert_eq!(watch.deadline(), None);
}

#[test]
fn frames_from_the_device_reach_the_host_and_garbage_does_not() {
    let (queue, host, now) = (Fake::new(0x81), FakeHost::new(Mode::Single), Instant::now());
    let limits = Limits {
        max_datagram_size: FRAME,
        ..Limits::default()
    };
    let mut tally = Tally::default();
    let refused = DropCounters::default();
    let mut downlink = Downlink::new(queue.boxed(), limits, sizes(16_384), 4, refused);
    downlink.carry_frames(false);
    downlink.submit_idle(now, &mut tally).unwrap();
    let good = [frame(1, 14), frame(2, FRAME)];
    let bad = [frame(3, 13), frame(4, FRAME + 1)];
    let mut builder = Builder::new(Framing {
        min_datagram_size: 0,
        ..framing()
    });
    let mut ntb = vec![0; 16_384];
    for frame in good.iter().chain(&bad) {
        let slot = builder.place(ETHERNET, frame.len()).unwrap();
        ntb[slot.offset..slot.offset + frame.len()].copy_from_slice(frame);
        builder.commit(slot, frame.len());
    }
    let length = builder.finish(&mut ntb).length;
    ntb.truncate(length);
    queue.deliver(&ntb);
    // The NTB has an IP session, which this data path does not have.
    queue.deliver(&pack(&[packet(1, 100)]));
    let mut hosts = Hosts(Arc::clone(&host), Unmoved);
    downlink.run(&mut hosts, now, &mut tally).unwrap();
    assert_eq!(host.script().incoming, good);
    assert_eq!(tally.refused.datagram_runt, 1);
    assert_eq!(tally.refused.datagram_long, 1);
    assert_eq!((tally.received_packets, tally.no_session), (2, 1));
}
