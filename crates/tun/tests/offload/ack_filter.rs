//! Tests of the ACK filter: what it leaves out, and that no TCP misses it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uwwan_tun::coalesce::Coalescer;
use uwwan_tun::scatter::Scatter;

use crate::traffic::blocks::{coalescer, cut, merge};
use crate::traffic::{ACK, CWR, ECE, FIN, PSH, SYN, Traffic, URG, payload, timestamps};

/// Returns a coalescer with the filter on.
fn filtering() -> Coalescer {
    let mut coalescer = coalescer();
    coalescer.filter_acks(true);
    coalescer
}

/// Returns a pure acknowledgement of this number, with timestamps of this value.
fn ack(v6: bool, number: u32, time: u32) -> Traffic {
    Traffic {
        acknowledgement: number,
        tcp_options: timestamps(time, time.wrapping_add(7)),
        ..Traffic::tcp(v6, 0)
    }
}

/// Returns acknowledgements that go up by 1000 from `first`.
fn acks(v6: bool, first: u32, count: u32) -> Vec<Traffic> {
    (0..count)
        .map(|step| ack(v6, first.wrapping_add(step * 1000), step))
        .collect()
}

/// Returns the datagrams of a batch that are left, cut again.
fn left(coalescer: &mut Coalescer, batch: &[Traffic]) -> Vec<Vec<u8>> {
    let wire: Vec<_> = batch.iter().map(Traffic::datagram).collect();
    let mut scatter = Scatter::new(1500);
    merge(coalescer, &wire)
        .iter()
        .flat_map(|(vnet, packet)| cut(&mut scatter, vnet, packet))
        .collect()
}

#[test]
fn of_a_batch_the_newest_is_left() {
    for v6 in [false, true] {
        let mut coalescer = filtering();
        // The numbers wrap. What came before the first is not known, so it stays.
        let batch = acks(v6, u32::MAX - 10_000, 30);
        let expected = [batch[0].datagram(), batch[29].datagram()];
        assert_eq!(left(&mut coalescer, &batch), expected);
        assert_eq!(coalescer.counters().superseded, 28);
        // In the next batch it is known what came before the first.
        let batch = acks(v6, 20_001, 10);
        assert_eq!(left(&mut coalescer, &batch), [batch[9].datagram()]);
    }
}

#[test]
fn it_is_off_unless_asked_for() {
    let batch = acks(false, 1, 30);
    let mut coalescer = coalescer();
    assert_eq!(left(&mut coalescer, &batch).len(), 30);
    assert_eq!(coalescer.counters().superseded, 0);
}

/// Each changed acknowledgement is the third of five, and stays; so does the one that it would
/// supersede.
#[test]
fn what_says_more_than_a_number_stays() {
    type Change = fn(&mut Traffic);
    let changes: [(&str, Change); 15] = [
        ("ECE", |traffic| traffic.flags |= ECE),
        ("CWR", |traffic| traffic.flags |= CWR),
        ("PSH", |traffic| traffic.flags |= PSH),
        ("URG", |traffic| traffic.flags |= URG),
        ("FIN", |traffic| traffic.flags |= FIN),
        ("SYN", |traffic| traffic.flags |= SYN),
        ("SACK blocks", |traffic| {
            traffic.tcp_options = vec![1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9];
        }),
        ("another option", |traffic| {
            traffic.tcp_options.extend([254, 4, 0, 0]);
        }),
        ("a broken option", |traffic| {
            traffic.tcp_options.extend([8, 200, 0, 0]);
        }),
        ("no timestamps", |traffic| traffic.tcp_options.clear()),
        ("data", |traffic| traffic.payload = payload(10, 1)),
        ("another sequence number", |traffic| traffic.sequence += 1),
        ("congestion experienced", |traffic| traffic.tos = 3),
        ("another type of service", |traffic| traffic.tos = 8),
        ("another connection's", |traffic| traffic.flow = 9),
    ];
    for v6 in [false, true] {
        for (name, change) in &changes {
            let mut batch = acks(v6, 1, 5);
            change(&mut batch[2]);
            let left = left(&mut filtering(), &batch);
            assert!(left.contains(&batch[2].datagram()), "{name}");
            let other = batch[2].flow == 9;
            assert_eq!(left.contains(&batch[1].datagram()), !other, "{name}");
        }
    }
}

/// A receiver that compares timestamps takes the older one for a segment of the past (RFC 7323
/// section 5).
#[test]
fn an_older_timestamp_supersedes_nothing() {
    for times in [[0, u32::MAX], [u32::MAX, 0]] {
        let mut batch = acks(false, 1, 3);
        for (traffic, time) in batch[1..].iter_mut().zip(times) {
            traffic.tcp_options = timestamps(time, 5);
        }
        let left = left(&mut filtering(), &batch);
        assert_eq!(left.len(), if times[0] == 0 { 3 } else { 2 });
    }
}

#[test]
fn duplicates_and_window_updates_stay() {
    for v6 in [false, true] {
        let mut batch = acks(v6, 1, 3);
        let mut again = batch[2].clone();
        batch.extend([again.clone(), again.clone()]);
        again.window += 100;
        batch.extend([again.clone(), ack(v6, 5000, 9), ack(v6, 6000, 10)]);
        let mut expected = batch.clone();
        // The ones left out are the second of the first three, and the first of the last two.
        expected.remove(6);
        expected.remove(1);
        let expected: Vec<_> = expected.iter().map(Traffic::datagram).collect();
        assert_eq!(left(&mut filtering(), &batch), expected);
    }
}

#[test]
fn a_damaged_one_supersedes_nothing() {
    for v6 in [false, true] {
        let mut wire: Vec<_> = acks(v6, 1, 4).iter().map(Traffic::datagram).collect();
        let last = wire[3].len() - 1;
        wire[3][last] ^= 1;
        let packets = merge(&mut filtering(), &wire);
        let left: Vec<_> = packets.into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(left, [wire[0].clone(), wire[2].clone(), wire[3].clone()]);
    }
}

/// Segment that a connection sends next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Advance(u16),
    Duplicate,
    Window(u16),
    Sack,
    Data(u8),
    /// The data sent last is sent once more.
    Again,
    Ece,
    /// An acknowledgement that was overtaken is sent.
    Overtaken(u16),
    /// An acknowledgement with earlier timestamps is sent.
    Stale,
    Push,
    /// Nothing is sent, and the next segment is in another batch.
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..5000_u16).prop_map(Step::Advance),
        2 => Just(Step::Duplicate),
        1 => any::<u16>().prop_map(Step::Window),
        1 => Just(Step::Sack),
        2 => any::<u8>().prop_map(Step::Data),
        1 => Just(Step::Again),
        1 => Just(Step::Ece),
        1 => (1..5000_u16).prop_map(Step::Overtaken),
        1 => Just(Step::Stale),
        1 => Just(Step::Push),
        2 => Just(Step::Pause),
    ]
}

/// A connection that sends segments.
struct Peer {
    next: Traffic,
    time: u32,
    data: Vec<u8>,
    /// Whether the last segment was nothing but an acknowledgement.
    bare: bool,
}

impl Peer {
    fn new(flow: u8) -> Self {
        let mut next = Traffic::tcp(flow % 2 == 1, 0);
        next.flow = flow;
        // The numbers of half of the flows wrap soon.
        next.acknowledgement = if flow < 2 { u32::MAX - 9000 } else { 7000 };
        next.sequence = u32::MAX - 300;
        Self {
            next,
            time: u32::MAX - 20,
            data: vec![1],
            bare: false,
        }
    }

    fn send(&mut self, step: Step) -> Option<Traffic> {
        let bare = std::mem::take(&mut self.bare);
        self.next.id = self.next.id.wrapping_add(1);
        self.time = self.time.wrapping_add(1);
        self.next.tcp_options = timestamps(self.time, self.time);
        let mut sent = self.next.clone();
        match step {
            Step::Advance(bytes) => {
                self.next.acknowledgement = sent.acknowledgement.wrapping_add(bytes.into());
                sent.acknowledgement = self.next.acknowledgement;
                self.bare = true;
            }
            Step::Duplicate => self.bare = true,
            Step::Window(window) => {
                self.next.window = window;
                sent.window = window;
                self.bare = true;
            }
            Step::Sack => sent
                .tcp_options
                .extend([1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9]),
            Step::Data(length) => {
                sent.payload = payload(usize::from(length) + 1, self.time);
                self.data.clone_from(&sent.payload);
                let length = sent.payload.len() as u32;
                self.next.sequence = sent.sequence.wrapping_add(length);
            }
            Step::Again => {
                sent.payload.clone_from(&self.data);
                sent.sequence = sent.sequence.wrapping_sub(self.data.len() as u32);
            }
            Step::Ece => sent.flags |= ECE,
            // An acknowledgement behind data is not known to have been overtaken.
            Step::Overtaken(bytes) if bare => {
                sent.acknowledgement = sent.acknowledgement.wrapping_sub(bytes.into());
                self.bare = true;
            }
            Step::Stale => {
                sent.tcp_options = timestamps(self.time.wrapping_sub(100), self.time);
                self.bare = true;
            }
            Step::Push => sent.flags |= PSH,
            Step::Overtaken(_) | Step::Pause => {
                self.bare = bare;
                return None;
            }
        }
        Some(sent)
    }
}

/// Returns whether a number modulo 2^32 is behind another.
fn behind(number: u32, other: u32) -> bool {
    number != other && number.wrapping_sub(other) < 1 << 31
}

fn timestamp(traffic: &Traffic) -> u32 {
    u32::from_be_bytes(*traffic.tcp_options[4..].first_chunk().expect("timestamps"))
}

/// State of a TCP after the segments of one connection (RFC 9293, RFC 5681, RFC 7323).
#[derive(Debug, Default, PartialEq, Eq)]
struct Receiver {
    acknowledged: Option<u32>,
    window: u16,
    /// Number of acknowledgements of what was acknowledged already.
    duplicates: u32,
    recent: Option<u32>,
    /// Number of segments refused as past by their timestamps.
    refused: u32,
    echoes: u32,
    blocks: u32,
    data: Vec<(u32, Vec<u8>)>,
}

impl Receiver {
    fn of<'t>(segments: impl Iterator<Item = &'t Traffic>) -> Self {
        let mut receiver = Self::default();
        segments.for_each(|segment| receiver.take(segment));
        receiver
    }

    fn take(&mut self, segment: &Traffic) {
        let time = timestamp(segment);
        if self.recent.is_some_and(|recent| behind(recent, time)) {
            self.refused += 1;
            return;
        }
        self.recent = Some(time);
        assert_ne!(segment.flags & ACK, 0);
        let number = segment.acknowledgement;
        let before = self.acknowledged.unwrap_or(number.wrapping_sub(1));
        if number == before && segment.payload.is_empty() {
            self.duplicates += 1;
        }
        if !behind(before, number) {
            self.acknowledged = Some(number);
            self.window = segment.window;
        }
        self.echoes += u32::from(segment.flags & ECE != 0);
        self.blocks += u32::from(segment.tcp_options.len() > 12);
        if !segment.payload.is_empty() {
            self.data.push((segment.sequence, segment.payload.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever connections send, what is left is in order, what is left out is superseded by a
    /// segment that follows at once, and a TCP has the same state afterwards.
    #[test]
    fn nothing_but_superseded_acknowledgements_is_left_out(
        steps in prop::collection::vec((0..4_u8, step()), 1..200),
    ) {
        let mut peers: Vec<_> = (0..4).map(Peer::new).collect();
        let mut batches = vec![Vec::new()];
        for (flow, step) in steps {
            if let Step::Pause = step {
                batches.push(Vec::new());
            }
            let sent = peers[usize::from(flow)].send(step);
            batches.last_mut().expect("a batch").extend(sent);
        }
        let mut coalescer = filtering();
        let mut sent = BTreeMap::<u8, Vec<Traffic>>::new();
        let mut received = BTreeMap::<u8, Vec<Traffic>>::new();
        let mut superseded = 0;
        for batch in &batches {
            let mut got = left(&mut coalescer, batch);
            for flow in 0..4 {
                let of_flow: Vec<_> = batch.iter().filter(|traffic| traffic.flow == flow).collect();
                let mut out = Vec::new();
                for (index, traffic) in of_flow.iter().enumerate() {
                    let datagram = traffic.datagram();
                    // The order of a flow is kept, so the next datagram of it is in front.
                    let ports = |bytes: &[u8]| bytes[if traffic.v6 { 40 } else { 20 }..][..2].to_vec();
                    let next = got.iter().position(|other| {
                        other[0] >> 4 == datagram[0] >> 4 && ports(other) == ports(&datagram)
                    });
                    if let Some(next) = next.filter(|next| got[*next] == datagram) {
                        got.remove(next);
                        out.push((*traffic).clone());
                        continue;
                    }
                    superseded += 1;
                    prop_assert!(traffic.payload.is_empty() && traffic.flags == ACK);
                    prop_assert_eq!(traffic.tcp_options.len(), 12);
                    let by = of_flow.get(index + 1);
                    let by = by.ok_or_else(|| TestCaseError::fail("nothing follows"))?;
                    prop_assert!(by.payload.is_empty() && by.flags == ACK);
                    prop_assert!(behind(by.acknowledgement, traffic.acknowledgement));
                    prop_assert!(!behind(timestamp(traffic), timestamp(by)));
                }
                sent.entry(flow).or_default().extend(of_flow.into_iter().cloned());
                received.entry(flow).or_default().extend(out);
            }
            prop_assert!(got.is_empty(), "what was not sent");
        }
        prop_assert_eq!(coalescer.counters().superseded, superseded);
        for (flow, sent) in &sent {
            prop_assert_eq!(Receiver::of(sent.iter()), Receiver::of(received[flow].iter()));
        }
    }
}
