//! The healing against a model of a device, its network and time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::machine::Fills;
use super::*;
use crate::layout::{Format, Padding, Placement};

const ALL: Scope = Scope {
    ndp: true,
    padding: true,
    ntb: true,
};
const PADDINGS: Scope = Scope {
    ndp: false,
    padding: true,
    ntb: false,
};
const FIRST: Layout = Layout {
    ndp: Placement::Front,
    padding: Padding::ZeroPacket,
    ntb: Format::Ntb16,
};

/// The layouts whose datagrams the firmware does not carry.
#[derive(Debug, Clone, Copy, Default)]
struct Hole {
    ndp: Option<Placement>,
    ntb: Option<Format>,
    /// The padding that the firmware needs: an NTB with another one, where that makes a difference,
    /// stops all traffic until an NTB with this one comes.
    padding: Option<Padding>,
}

/// A device with its network.
struct Device {
    hole: Hole,
    layout: Layout,
    stuck: bool,
    /// Whether the network answers a probe that is sent at this time, in milliseconds, as the n-th.
    answers: Box<dyn Fn(u64, usize) -> bool>,
    round_trip: u64,
    /// Time that a new session takes, in milliseconds.
    renewal: u64,
}

impl Device {
    fn with(hole: Hole) -> Self {
        Self {
            hole,
            layout: FIRST,
            stuck: false,
            answers: Box::new(|_, _| true),
            round_trip: 60,
            renewal: 3000,
        }
    }

    /// Takes an NTB and returns whether its datagrams are carried.
    fn carries(&mut self, fills: Fills) -> bool {
        let wrong = match (self.hole.padding, self.layout.padding, fills) {
            (None, ..) | (_, _, Fills::Nothing) | (Some(Padding::Full), _, Fills::Packet) => None,
            // Both paddings pad a short NTB in the same way.
            (Some(Padding::Short), Padding::Full, Fills::Packet) => Some(false),
            (Some(needed), used, _) => Some(needed != used),
        };
        self.stuck = wrong.unwrap_or(self.stuck);
        !self.stuck
            && self.hole.ndp != Some(self.layout.ndp)
            && self.hole.ntb != Some(self.layout.ntb)
    }
}

/// The outcome of a run.
#[derive(Debug)]
struct Outcome {
    layout: Layout,
    kept: Option<Layout>,
    /// Steps that were reported, with their times in milliseconds since the start.
    told: Vec<(u64, HealStep)>,
    /// Time of the end, in milliseconds since the start.
    ended: u64,
    renewals: u32,
    /// Whether the layout was ever changed.
    changed: bool,
}

impl Outcome {
    fn at(&self, step: HealStep) -> Option<u64> {
        let told = self.told.iter().find(|(_, told)| *told == step);
        told.map(|(at, _)| *at)
    }

    fn count(&self, step: HealStep) -> usize {
        self.told.iter().filter(|(_, told)| *told == step).count()
    }
}

enum News {
    Answer(u16),
    Noise,
    HostAnswer,
    Online,
}

/// Runs the healing of a doubt to its end. Datagrams come in at the times `noise`, in milliseconds.
fn run(device: &mut Device, scope: Scope, noise: &[u64], host: Option<Layout>) -> Outcome {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut healer = Healer::new(start);
    let first = device.layout;
    let mut outcome = Outcome {
        layout: first,
        kept: None,
        told: Vec::new(),
        ended: 0,
        renewals: 0,
        changed: false,
    };
    let mut news: BTreeMap<(u64, usize), News> = noise
        .iter()
        .enumerate()
        .map(|(index, time)| ((*time, index), News::Noise))
        .collect();
    let mut number = noise.len();
    let (mut now, mut probes) = (0, 0);
    healer.start(at(0), first, scope, false, 4711);
    loop {
        while let Some(step) = healer.next_step() {
            number += 1;
            match step {
                Step::Use(layout) => device.layout = layout,
                Step::Renew(layout) => {
                    device.layout = layout;
                    device.stuck = false;
                    outcome.renewals += 1;
                    news.insert((now + device.renewal, number), News::Online);
                }
                Step::Probe { identity, fills } => {
                    let answered = (device.answers)(now, probes);
                    probes += 1;
                    if device.carries(fills) && answered {
                        let time = now + device.round_trip;
                        news.insert((time, number), News::Answer(identity));
                    }
                    if host == Some(device.layout) {
                        news.insert((now + 90, number), News::HostAnswer);
                    }
                }
                Step::Keep(layout) => outcome.kept = Some(layout),
                Step::Tell(event) => outcome.told.push((now, event.step)),
                Step::EndProbes => outcome.ended = now,
            }
            outcome.changed |= device.layout != first;
        }
        if !healer.is_active() {
            outcome.layout = device.layout;
            return outcome;
        }
        let due = healer.poll_timeout().expect("something is due");
        let due = due.duration_since(start).as_millis() as u64;
        match news.first_key_value().map(|((time, _), _)| *time) {
            Some(time) if time <= due => {
                now = now.max(time);
                let ((..), what) = news.pop_first().unwrap();
                match what {
                    News::Noise => healer.heard(),
                    News::HostAnswer => healer.host_answered(at(now)),
                    News::Online => healer.online(at(now)),
                    News::Answer(identity) => {
                        healer.heard();
                        healer.answered(at(now), identity);
                    }
                }
            }
            _ => {
                now = now.max(due);
                healer.timeout(at(now));
            }
        }
        assert!(now < 60_000, "it goes on and on: {outcome:?}");
    }
}

#[test]
fn the_other_ndp_place_is_found_within_five_seconds() {
    for ndp in [Placement::Front, Placement::End] {
        let mut device = Device::with(Hole {
            ndp: Some(ndp),
            ..Hole::default()
        });
        device.layout.ndp = ndp;
        device.round_trip = 900;
        let outcome = run(&mut device, ALL, &[], None);
        let took = outcome.at(HealStep::Healed).unwrap() - outcome.at(HealStep::Noticed).unwrap();
        assert!(took < 5000, "{outcome:?}");
        assert_ne!(outcome.layout.ndp, ndp);
        assert_eq!(outcome.kept, Some(outcome.layout));
        assert_eq!(outcome.renewals, 0);
    }
}

#[test]
fn every_padding_is_found() {
    let all = [Padding::Short, Padding::ZeroPacket, Padding::Full];
    for needed in all {
        for used in all.into_iter().filter(|used| *used != needed) {
            // The first NTB that fills its last packet has stopped everything.
            let mut device = Device::with(Hole {
                padding: Some(needed),
                ..Hole::default()
            });
            device.layout.padding = used;
            device.stuck = true;
            for scope in [ALL, PADDINGS] {
                device.layout.padding = used;
                device.stuck = true;
                let outcome = run(&mut device, scope, &[], None);
                assert_eq!(outcome.layout.padding, needed, "{used} {outcome:?}");
                assert!(!device.stuck, "packets flow");
                assert_eq!(outcome.kept, Some(outcome.layout));
                let noticed = outcome.at(HealStep::Noticed).unwrap();
                assert!(outcome.ended - noticed < 30_000);
            }
        }
    }
}

#[test]
fn the_other_format_is_found_with_either_place() {
    for ndp in [None, Some(Placement::Front)] {
        let mut device = Device::with(Hole {
            ndp,
            ntb: Some(Format::Ntb16),
            ..Hole::default()
        });
        device.renewal = 9000;
        let outcome = run(&mut device, ALL, &[], None);
        assert_eq!(outcome.layout.ntb, Format::Ntb32);
        assert_eq!(outcome.kept, Some(outcome.layout));
        assert_eq!(outcome.renewals, 1);
        let took = outcome.ended - outcome.at(HealStep::Noticed).unwrap();
        assert!(took < 30_000, "{took}");
    }
}

#[test]
fn the_other_format_is_checked_against_the_first_where_there_is_time() {
    let mut device = Device::with(Hole {
        ntb: Some(Format::Ntb16),
        ..Hole::default()
    });
    device.renewal = 1000;
    let outcome = run(&mut device, ALL, &[], None);
    assert_eq!(outcome.layout.ntb, Format::Ntb32);
    assert_eq!(outcome.kept, Some(outcome.layout));
    assert_eq!(outcome.renewals, 3, "there, back to check, and there again");
    assert!(outcome.ended - outcome.at(HealStep::Noticed).unwrap() < 30_000);
}

/// The network is away until the other format is tried: the layout is not at fault.
#[test]
fn a_network_that_comes_back_in_the_other_format_is_not_taken_for_healed() {
    let mut hole = Device::with(Hole {
        ntb: Some(Format::Ntb16),
        ..Hole::default()
    });
    hole.renewal = 1000;
    let healed = run(&mut hole, ALL, &[], None);
    let back = healed
        .told
        .iter()
        .rev()
        .find(|(_, step)| *step == HealStep::Try);
    let back = back.unwrap().0;
    let mut device = Device::with(Hole::default());
    device.renewal = 1000;
    device.answers = Box::new(move |now, _| now >= back);
    let outcome = run(&mut device, ALL, &[], None);
    assert_eq!((outcome.layout, outcome.kept), (FIRST, None), "{outcome:?}");
    assert_eq!(outcome.renewals, 2, "there and back");
    assert_eq!(outcome.told.last().unwrap().1, HealStep::Recovered);
}

#[test]
fn a_network_that_answers_nothing_leaves_everything_as_it_was() {
    for scope in [ALL, PADDINGS] {
        let mut device = Device::with(Hole::default());
        device.answers = Box::new(|_, _| false);
        let outcome = run(&mut device, scope, &[], None);
        assert_eq!((outcome.layout, outcome.kept), (FIRST, None));
        assert_eq!(outcome.count(HealStep::PutBack), 1);
        assert_eq!(outcome.told.last().unwrap().1, HealStep::PutBack);
        assert!(outcome.ended - outcome.at(HealStep::Noticed).unwrap() <= 30_000);
        let renewals = if scope == ALL { 2 } else { 0 };
        assert_eq!(outcome.renewals, renewals, "there and back");
    }
}

#[test]
fn a_session_that_never_comes_is_given_up_in_time() {
    let mut device = Device::with(Hole {
        ntb: Some(Format::Ntb16),
        ..Hole::default()
    });
    device.renewal = 50_000;
    let outcome = run(&mut device, ALL, &[], None);
    assert_eq!((outcome.layout, outcome.kept), (FIRST, None));
    assert_eq!(
        outcome.ended - outcome.at(HealStep::Noticed).unwrap(),
        30_000
    );
}

#[test]
fn answers_to_the_host_count_where_no_probe_is_answered() {
    let mut device = Device::with(Hole {
        ndp: Some(Placement::Front),
        ..Hole::default()
    });
    device.answers = Box::new(|_, _| false);
    let good = Layout {
        ndp: Placement::End,
        ..FIRST
    };
    let outcome = run(&mut device, ALL, &[], Some(good));
    assert_eq!((outcome.layout, outcome.kept), (good, Some(good)));
}

#[test]
fn a_late_answer_tells_which_layout_has_carried_it() {
    // An answer takes three seconds: probes of the first layout are answered while another is
    // tried.
    let mut device = Device::with(Hole::default());
    device.round_trip = 3000;
    let outcome = run(&mut device, ALL, &[], None);
    assert_eq!((outcome.layout, outcome.kept), (FIRST, None));
    assert_eq!(outcome.told.last().unwrap().1, HealStep::Recovered);
    let mut device = Device::with(Hole {
        ndp: Some(Placement::Front),
        ..Hole::default()
    });
    device.round_trip = 3800;
    let outcome = run(&mut device, ALL, &[], None);
    assert_eq!(outcome.layout.ndp, Placement::End);
}

#[test]
fn what_comes_by_itself_ends_a_doubt_and_proves_no_layout() {
    let mut device = Device::with(Hole {
        ndp: Some(Placement::Front),
        ..Hole::default()
    });
    let outcome = run(&mut device, ALL, &[1500], None);
    assert!(!outcome.changed && outcome.told.is_empty());
    device.answers = Box::new(|_, _| false);
    let outcome = run(&mut device, ALL, &[2500, 6000, 9000], None);
    assert_eq!((outcome.layout, outcome.kept), (FIRST, None));
}

#[test]
fn what_is_not_to_be_changed_is_not() {
    let mut device = Device::with(Hole {
        ndp: Some(Placement::Front),
        ..Hole::default()
    });
    let scope = Scope { ndp: false, ..ALL };
    let outcome = run(&mut device, scope, &[], None);
    assert_eq!((outcome.layout, outcome.kept), (FIRST, None));
    let nothing = Scope {
        padding: false,
        ndp: false,
        ntb: false,
    };
    let outcome = run(&mut device, nothing, &[], None);
    assert!(outcome.told.is_empty() && !outcome.changed);
}

#[test]
fn a_loss_in_the_middle_puts_the_first_layout_back() {
    let now = Instant::now();
    let mut healer = Healer::new(now);
    healer.start(now, FIRST, ALL, false, 0);
    healer.timeout(now + Duration::from_secs(2));
    while healer.next_step().is_some() {}
    healer.interrupted();
    assert!(!healer.is_active());
    assert_eq!(healer.next_step(), Some(Step::Use(FIRST)));
    assert_eq!(healer.next_step(), None);
    assert_eq!(healer.poll_timeout(), None);
}

fn layouts() -> impl Strategy<Value = Layout> {
    let ndp = prop_oneof![Just(Placement::Front), Just(Placement::End)];
    let padding = prop_oneof![
        Just(Padding::Short),
        Just(Padding::ZeroPacket),
        Just(Padding::Full)
    ];
    let ntb = prop_oneof![Just(Format::Ntb16), Just(Format::Ntb32)];
    (ndp, padding, ntb).prop_map(|(ndp, padding, ntb)| Layout { ndp, padding, ntb })
}

proptest! {
    /// A healthy link is never changed as long as anything comes back, whatever else is lost; and
    /// in any case the healing ends in a layout that works.
    #[test]
    fn a_healthy_link_is_left_alone(
        first in layouts(),
        lost in prop::collection::vec(any::<bool>(), 200),
        round_trip in 1u64..1900,
    ) {
        let mut device = Device::with(Hole::default());
        device.layout = first;
        device.round_trip = round_trip;
        let in_time = lost.iter().zip(0..).any(|(lost, probe)| {
            !lost && probe * 400 + round_trip < 2000
        });
        device.answers = Box::new(move |_, probe| !lost.get(probe).unwrap_or(&true));
        let outcome = run(&mut device, ALL, &[], None);
        if in_time {
            prop_assert!(!outcome.changed && outcome.told.is_empty(), "{outcome:?}");
        }
        prop_assert!(outcome.kept.is_none_or(|kept| kept == outcome.layout));
    }

    /// The end of an outage is not taken for the merit of a layout, unless it ends in a new session.
    #[test]
    fn an_outage_changes_nothing(first in layouts(), end in 0u64..40_000) {
        let mut device = Device::with(Hole::default());
        device.layout = first;
        device.answers = Box::new(move |now, _| now >= end);
        let outcome = run(&mut device, ALL, &[], None);
        if outcome.renewals == 0 {
            prop_assert_eq!(outcome.layout, first, "{:?}", outcome);
            prop_assert_eq!(outcome.kept, None);
        }
    }

    /// The layout that the device needs is found within the time, whichever hosts of the network
    /// answer.
    #[test]
    fn every_hole_is_found(
        first in layouts(),
        needs_place in any::<bool>(),
        needs_format in any::<bool>(),
        round_trip in 1u64..1200,
        renewal in 0u64..10_000,
    ) {
        let mut device = Device::with(Hole {
            ndp: needs_place.then_some(first.ndp),
            ntb: needs_format.then_some(first.ntb),
            padding: None,
        });
        device.layout = first;
        device.round_trip = round_trip;
        device.renewal = renewal;
        let outcome = run(&mut device, ALL, &[], None);
        if needs_place || needs_format {
            prop_assert!(outcome.layout.ndp != first.ndp || !needs_place, "{outcome:?}");
            prop_assert!(outcome.layout.ntb != first.ntb || !needs_format, "{outcome:?}");
            prop_assert_eq!(outcome.kept, Some(outcome.layout));
            let noticed = outcome.at(HealStep::Noticed).unwrap();
            prop_assert!(outcome.ended - noticed < 30_000);
        } else {
            prop_assert!(outcome.told.is_empty());
        }
    }
}
