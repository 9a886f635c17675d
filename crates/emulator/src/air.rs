//! The radio link between the modem and its network, with rate, delay, jitter, loss and buffer in
//! each direction.
//!
//! A packet waits until those ahead of it have been sent at the link's rate, and arrives after the
//! delay. Packets stay in their order, as radio link control delivers them. Towards the network,
//! the modem takes no more than its buffer holds, so that the host must wait. Towards the host, the
//! base station drops packets for which its buffer has no room.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::far_side::Network;
use crate::knobs::Knobs;
use crate::random::Random;

/// Longest packet, in bytes.
const LONGEST: usize = 2048;
/// Largest number of bytes under way in one direction, however long the delay is.
const MOST: usize = 64 << 20;

/// One direction of the link.
#[derive(Debug)]
struct Direction {
    /// Rate in bits a second; 0 is without bound.
    rate: u64,
    delay: Duration,
    jitter: Duration,
    /// Number of packets per million that are lost.
    loss: u32,
    /// Number of bytes that may wait to be sent.
    buffer: usize,
    /// Packets under way, each with the time at which it arrives.
    packets: VecDeque<(Instant, Vec<u8>)>,
    /// Number of bytes in `packets`.
    bytes: usize,
    /// Time at which all packets have been sent.
    free: Instant,
    /// Memory of packets that have arrived, to be used again.
    spare: Vec<Vec<u8>>,
    random: Random,
}

impl Direction {
    fn new(megabits: u32, knobs: &Knobs, seed: u64) -> Self {
        Self {
            rate: u64::from(megabits) * 1_000_000,
            delay: Duration::from_millis(knobs.air_delay_ms),
            jitter: Duration::from_millis(knobs.air_jitter_ms),
            loss: knobs.air_loss_ppm,
            buffer: (knobs.air_buffer_kib as usize) << 10,
            packets: VecDeque::new(),
            bytes: 0,
            free: Instant::now(),
            spare: Vec::new(),
            random: Random::new(seed),
        }
    }

    /// Returns the time that `bytes` bytes take on the link.
    fn time(&self, bytes: usize) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let nanoseconds = bytes as u128 * 8_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Returns the time until there is room for a packet; zero when there is room.
    fn full_for(&self, now: Instant) -> Duration {
        let waiting = self.free.saturating_duration_since(now);
        waiting.saturating_sub(self.time(self.buffer))
    }

    /// Sends a packet. Returns `false` when the buffer has no room.
    fn send(&mut self, packet: &[u8], now: Instant) -> bool {
        if !self.full_for(now).is_zero() || self.bytes + packet.len() > MOST {
            return false;
        }
        self.free = self.free.max(now) + self.time(packet.len());
        if self.random.happens(self.loss) {
            return true;
        }
        let span = usize::try_from(self.jitter.as_nanos()).unwrap_or(usize::MAX);
        let jitter = Duration::from_nanos(self.random.below(span) as u64);
        let at = self.free + self.delay + jitter;
        let at = self.packets.back().map_or(at, |(last, _)| at.max(*last));
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.bytes += bytes.len();
        self.packets.push_back((at, bytes));
        true
    }

    /// Hands the packets that have arrived to `take`, until it returns `false`.
    fn arrive(&mut self, now: Instant, mut take: impl FnMut(&[u8]) -> bool) {
        while let Some((at, packet)) = self.packets.front() {
            if *at > now || !take(packet) {
                break;
            }
            if let Some((_, packet)) = self.packets.pop_front() {
                self.bytes -= packet.len();
                self.spare.push(packet);
            }
        }
        self.spare.truncate(256);
    }

    /// Returns the time until the next packet arrives.
    fn next(&self, now: Instant) -> Option<Duration> {
        let (at, _) = self.packets.front()?;
        Some(at.saturating_duration_since(now))
    }
}

/// A network that is reached over the radio link.
pub(crate) struct Air {
    network: Box<dyn Network>,
    up: Direction,
    down: Direction,
    /// Whether a packet was refused for want of room since the last one that was sent.
    full: bool,
    packet: Box<[u8]>,
}

impl Air {
    /// Puts the radio link that the knobs describe in front of a network, if they describe one.
    pub fn over(network: Box<dyn Network>, knobs: &Knobs) -> Box<dyn Network> {
        let none = knobs.air_down_mbit == 0
            && knobs.air_up_mbit == 0
            && knobs.air_delay_ms == 0
            && knobs.air_jitter_ms == 0
            && knobs.air_loss_ppm == 0;
        if none {
            return network;
        }
        Box::new(Self {
            network,
            up: Direction::new(knobs.air_up_mbit, knobs, knobs.seed ^ 5),
            down: Direction::new(knobs.air_down_mbit, knobs, knobs.seed ^ 6),
            full: false,
            packet: vec![0; LONGEST].into(),
        })
    }

    /// Takes packets for the modem from the network.
    fn take_in(&mut self, now: Instant) {
        // This is as much as one wake-up brings; the rest is taken in the next turn.
        for _ in 0..1024 {
            let Some(length) = self.network.receive(&mut self.packet) else {
                break;
            };
            if let Some(packet) = self.packet.get(..length) {
                // A packet for which there is no room is dropped.
                self.down.send(packet, now);
            }
        }
    }

    fn hand_out(&mut self, now: Instant) {
        let network = &mut self.network;
        self.up.arrive(now, |packet| network.send(packet));
    }
}

impl Network for Air {
    fn send(&mut self, packet: &[u8]) -> bool {
        let now = Instant::now();
        self.full = !self.up.send(packet, now);
        !self.full
    }

    fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
        let now = Instant::now();
        if self.down.next(now).is_none_or(|left| !left.is_zero()) {
            self.take_in(now);
        }
        let mut length = None;
        self.down.arrive(now, |packet| {
            if length.is_some() {
                return false;
            }
            length = Some(match room.get_mut(..packet.len()) {
                Some(room) => {
                    room.copy_from_slice(packet);
                    packet.len()
                }
                None => 0,
            });
            true
        });
        length
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.network.descriptor()
    }

    fn waits_for_descriptor(&self) -> bool {
        // The link has no room, not the network.
        false
    }

    fn on_event(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        self.network.on_event(notify);
    }

    fn advance(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.take_in(now);
        self.hand_out(now);
        let inner = self.network.advance();
        // A network that takes nothing at the moment is tried again after a millisecond.
        let stuck = self
            .up
            .next(now)
            .map(|left| left.max(Duration::from_millis(u64::from(left.is_zero()))));
        let room = self
            .full
            .then(|| self.up.full_for(now).max(Duration::from_micros(50)));
        [inner, stuck, self.down.next(now), room]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn direction(megabits: u32, knobs: &str) -> (Direction, Instant) {
        let knobs: Knobs = knobs.parse().unwrap();
        let direction = Direction::new(megabits, &knobs, 1);
        let start = direction.free;
        (direction, start)
    }

    /// Returns the packets that have arrived at `now`.
    fn arrived(direction: &mut Direction, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        direction.arrive(now, |packet| {
            packets.push(packet.to_vec());
            true
        });
        packets
    }

    #[test]
    fn packets_take_their_time_one_after_the_other() {
        let (mut direction, start) = direction(12, "air_delay_ms=20");
        for number in 0..3 {
            assert!(direction.send(&[number; 1500], start));
        }
        // Each takes a millisecond on the link, and the delay.
        for (number, milliseconds) in [(0, 21), (1, 22), (2, 23)] {
            let at = start + Duration::from_millis(milliseconds);
            assert!(arrived(&mut direction, at - Duration::from_micros(1)).is_empty());
            assert_eq!(arrived(&mut direction, at), [vec![number; 1500]]);
        }
        assert_eq!((direction.next(start), direction.bytes), (None, 0));
    }

    #[test]
    fn the_buffer_is_bounded() {
        let (mut direction, start) = direction(8, "air_buffer_kib=10");
        let sent = (0..100)
            .filter(|_| direction.send(&[0; 1024], start))
            .count();
        assert_eq!(sent, 11, "ten that wait, and the one that is sent");
        let left = direction.full_for(start);
        assert!(!left.is_zero());
        assert!(!direction.send(&[0; 1024], start + left - Duration::from_micros(1)));
        assert!(direction.send(&[0; 1024], start + left));
    }

    proptest! {
        #[test]
        fn nothing_overtakes_and_only_what_the_knob_says_is_lost(
            lengths in prop::collection::vec(1_usize..1500, 1..200),
            jitter in 0_u64..30,
            loss in prop_oneof![Just(0_u32), Just(500_000), Just(1_000_000)],
        ) {
            let knobs = format!("air_jitter_ms={jitter},air_loss_ppm={loss}");
            let (mut direction, start) = direction(0, &knobs);
            for (number, length) in lengths.iter().enumerate() {
                prop_assert!(direction.send(&vec![number as u8; *length], start));
            }
            let all = arrived(&mut direction, start + Duration::from_millis(jitter));
            let numbers: Vec<u8> = all.iter().map(|packet| packet[0]).collect();
            prop_assert!(numbers.is_sorted());
            match loss {
                0 => prop_assert_eq!(all.len(), lengths.len()),
                1_000_000 => prop_assert!(all.is_empty()),
                _ => {}
            }
        }
    }

    /// A network that gives packets and keeps those that it gets.
    #[derive(Default)]
    struct Fake {
        give: usize,
        got: std::sync::Arc<std::sync::Mutex<Vec<usize>>>,
    }

    impl Network for Fake {
        fn send(&mut self, packet: &[u8]) -> bool {
            self.got.lock().unwrap().push(packet.len());
            true
        }

        fn receive(&mut self, room: &mut [u8]) -> Option<usize> {
            self.give = self.give.checked_sub(1)?;
            room[..100].fill(7);
            Some(100)
        }
    }

    #[test]
    fn both_ways_lead_over_the_link() {
        let fake = Fake {
            give: 3,
            ..Fake::default()
        };
        let got = std::sync::Arc::clone(&fake.got);
        let knobs: Knobs = "air_delay_ms=5,air_buffer_kib=64".parse().unwrap();
        let mut air = Air::over(Box::new(fake), &knobs);
        assert!(air.send(&[1; 60]));
        assert_eq!(air.receive(&mut [0; LONGEST]), None, "on its way");
        let mut received = 0;
        let begun = Instant::now();
        while (received < 3 || got.lock().unwrap().is_empty())
            && begun.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(air.advance().unwrap_or_default());
            while let Some(length) = air.receive(&mut [0; LONGEST]) {
                assert_eq!(length, 100);
                received += 1;
            }
        }
        assert!(begun.elapsed() >= Duration::from_millis(5));
        assert_eq!((received, got.lock().unwrap().as_slice()), (3, &[60][..]));
        assert_eq!(air.advance(), None, "nothing is on its way");
    }
}
