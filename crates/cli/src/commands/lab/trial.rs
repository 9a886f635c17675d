//! One trial: marked datagrams go out in one layout, and their answers are counted.
//!
//! A trial sends four batches, each of which is awaited before the next:
//!
//! 1. one short datagram;
//! 2. as many short datagrams as an NTB may have;
//! 3. one datagram that makes its NTB fill the last packet, before padding;
//! 4. as many long datagrams as an NTB holds.
//!
//! Before the first batch, the third and the fourth are sent once without being counted: firmware that did
//! not see the end of another trial's NTB takes nothing until an NTB ends as it expects.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};
use uwwan_modem::status::{Addresses, FramingStatus, Traffic};
use uwwan_ncm::{Builder, Choices, Framing, LinkHeader, NtbParameters, Stream};

use super::cell::Setting;
use super::echo::{self, Mark, Path, Reading};
use super::link::Link;
use super::outcome::{Outcome, Result};
use crate::failure::{Failure, FailureKind};

/// Length of a short datagram in bytes.
const SHORT: usize = 64;
/// Lengths of short datagrams, in batches that each make one NTB.
const ODD: [[usize; 3]; 2] = [[65, 71, 66], [70, 67, 69]];
/// Length of a long datagram where the MTU allows it, in bytes.
const LONG: usize = 1400;
/// Least number of bytes of an NTB that are not for datagrams.
const FRAME: usize = 64;
/// Most bytes that an entry and the alignment take beside a datagram, without an odd divisor.
const BESIDE: usize = 12;
/// Length of an Ethernet header in bytes.
const ETHERNET_HEADER: usize = 14;
/// Lengths in bytes among which the one that fills the last packet is found.
const LENGTHS: std::ops::Range<usize> = 200..1240;

/// The batches that a trial sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One short datagram alone, whose NTB ends in the same way with every padding.
    Lone,
    /// Short datagrams of several lengths, so that they lie at every offset that the alignment allows, in
    /// NTBs whose end does not depend on the padding.
    Lengths,
    /// All batches.
    Whole,
}

/// Sender of trials, which knows the address that answers.
pub struct Prober {
    identity: u16,
    trial: u32,
    /// Address that has to answer, if the user chose one.
    chosen: Option<IpAddr>,
    /// Path to the address that has answered.
    path: Option<Path>,
    /// Time to wait for answers.
    wait: Duration,
    interrupted: Receiver<i32>,
}

/// One trial that is under way.
struct Round<'a> {
    link: &'a Link,
    trial: u32,
    identity: u16,
    /// Datagrams that are not answered yet.
    open: HashSet<u32>,
    next: u32,
    sent: u32,
    answered: u32,
    corrupted: u32,
    last: Instant,
    gone: Option<String>,
}

impl Prober {
    /// Returns a sender that waits for answers as long as `wait`, from `chosen` or from the first
    /// address that answers.
    pub fn new(chosen: Option<IpAddr>, wait: Duration, interrupted: Receiver<i32>) -> Self {
        Self {
            identity: fastrand::u16(1..),
            trial: fastrand::u32(..),
            chosen,
            path: None,
            wait,
            interrupted,
        }
    }

    /// Makes one trial in the layout that the link has.
    ///
    /// # Errors
    /// [`FailureKind::Cancelled`] after a signal, and [`FailureKind::Usage`] when there is no address to
    /// ask.
    pub fn run(
        &mut self,
        link: &Link,
        setting: &Setting,
        shape: Shape,
    ) -> std::result::Result<Result, Failure> {
        let begun = Instant::now();
        self.trial = self.trial.wrapping_add(1);
        // Datagrams left of the last trial are no part of this one.
        link.host().withdraw();
        while link.host().arrivals().try_recv().is_ok() {}
        while let Ok(event) = link.events().try_recv() {
            if let Some(why) = Link::lost(&event) {
                return Ok(Result {
                    outcome: Outcome::Gone,
                    ..Result::not_online(why, begun.elapsed().as_secs_f64())
                });
            }
        }
        let framing = link.framing();
        let addresses = link.host().addresses();
        let halts = halts(&link.traffic());
        let mut round = Round {
            link,
            trial: self.trial,
            identity: self.identity,
            open: HashSet::new(),
            next: 0,
            sent: 0,
            answered: 0,
            corrupted: 0,
            last: begun,
            gone: None,
        };
        let paths = self.paths(&addresses)?;
        let mtu = usize::from(addresses.mtu).max(576);
        let filling = vec![filling_length(&framing, setting, mtu)];
        let long = long(&framing, mtu);
        if shape == Shape::Whole {
            for lengths in [&filling, &long] {
                round.send(self.path.unwrap_or(paths[0]), lengths);
                self.collect(&mut round, self.wait / 4)?;
            }
            (round.sent, round.answered, round.corrupted) = (0, 0, 0);
        }
        let rtt = self.first(&mut round, &paths)?;
        let path = self.path.unwrap_or(paths[0]);
        let batches = match shape {
            Shape::Lone => Vec::new(),
            Shape::Lengths => ODD.map(|lengths| lengths.to_vec()).to_vec(),
            Shape::Whole => vec![short(&framing, path), filling, long],
        };
        // Where the first datagram was not answered, the others are unlikely to be.
        let wait = match rtt {
            Some(_) => self.wait,
            None => self.wait / 4,
        };
        let mut rate = None;
        for lengths in batches {
            if round.gone.is_some() {
                break;
            }
            if !setting.pause.is_zero() {
                self.rest(&mut round, setting.pause)?;
            }
            let bytes: usize = lengths.iter().sum();
            let (start, before) = (Instant::now(), round.answered);
            round.send(path, &lengths);
            self.collect(&mut round, wait)?;
            let whole = round.answered - before == lengths.len() as u32;
            let time = round.last.saturating_duration_since(start).as_secs_f64();
            rate = (whole && time > 0.0).then(|| bytes as f64 * 8.0 / 1e6 / time);
        }
        let halted = self::halts(&link.traffic()).saturating_sub(halts);
        let outcome = if round.gone.is_some() {
            Outcome::Gone
        } else if round.corrupted > 0 {
            Outcome::Corrupted
        } else if round.answered < round.sent {
            Outcome::Lost
        } else if halted > 0 {
            Outcome::Halted
        } else {
            Outcome::Delivered
        };
        Ok(Result {
            outcome,
            sent: round.sent,
            answered: round.answered,
            corrupted: round.corrupted,
            halts: halted,
            rtt_ms: rtt.map(|time| time.as_secs_f64() * 1e3),
            rate_mbit_s: rate,
            seconds: begun.elapsed().as_secs_f64(),
            detail: round.gone.unwrap_or_default(),
            capture: String::new(),
        })
    }

    /// Returns the paths to ask: the one that has answered before, or that the user chose, or those
    /// to the gateways and the name servers.
    fn paths(&self, addresses: &Addresses) -> std::result::Result<Vec<Path>, Failure> {
        let four = addresses.ipv4.map(|own| IpAddr::V4(own.address));
        let six = addresses.ipv6.map(|own| IpAddr::V6(own.address));
        let of = |to: IpAddr| {
            let from = if to.is_ipv4() { four } else { six };
            from.map(|from| Path { from, to })
        };
        let known = self.path.map(|path| path.to).or(self.chosen);
        let paths: Vec<Path> = match known {
            Some(to) => of(to).into_iter().collect(),
            None => {
                let fours = addresses.gateway4.into_iter().chain(addresses.dns4.clone());
                let sixes = addresses.gateway6.into_iter().chain(addresses.dns6.clone());
                let all = fours.map(IpAddr::V4).chain(sixes.map(IpAddr::V6));
                all.filter_map(of).collect()
            }
        };
        if paths.is_empty() {
            let failure = Failure::new(FailureKind::Usage, "there is nobody to send datagrams to");
            return Err(match known {
                Some(to) => failure
                    .at(format!("--target {to}"))
                    .because("the network gave no address of its family"),
                None => failure
                    .because("the network names no gateway and no name server")
                    .next("name an address that answers echo requests: --target 192.0.2.1"),
            });
        }
        Ok(paths)
    }

    /// Sends the first batch and returns the round trip. While no address has answered yet, all are
    /// asked, and the first answer decides which one is asked from then on.
    fn first(
        &mut self,
        round: &mut Round<'_>,
        paths: &[Path],
    ) -> std::result::Result<Option<Duration>, Failure> {
        let start = Instant::now();
        let begin = round.next;
        for path in paths {
            round.send(*path, &[SHORT]);
        }
        round.sent = 1;
        let deadline = start + self.wait;
        while round.answered == 0 && round.gone.is_none() {
            if !self.next(round, deadline)? {
                break;
            }
        }
        if round.answered == 0 {
            return Ok(None);
        }
        let mut asked = (begin..).zip(paths);
        let answered = asked.find(|(number, _)| !round.open.contains(number));
        self.path = answered.map(|(_, path)| *path);
        // Answers of the other addresses are not counted.
        round.open.clear();
        Ok(Some(round.last.saturating_duration_since(start)))
    }

    /// Waits until every datagram is answered, or nothing has come for as long as `wait`.
    fn collect(&self, round: &mut Round<'_>, wait: Duration) -> std::result::Result<(), Failure> {
        let mut deadline = Instant::now() + wait;
        while !round.open.is_empty() && round.gone.is_none() {
            let before = round.answered;
            if !self.next(round, deadline)? {
                break;
            }
            if round.answered > before {
                deadline = round.last + wait;
            }
        }
        // Late answers are not counted.
        round.open.clear();
        Ok(())
    }

    fn rest(&self, round: &mut Round<'_>, pause: Duration) -> std::result::Result<(), Failure> {
        let deadline = Instant::now() + pause;
        while round.gone.is_none() && self.next(round, deadline)? {}
        Ok(())
    }

    /// Handles one datagram or event. Returns `false` when the deadline has passed.
    fn next(&self, round: &mut Round<'_>, deadline: Instant) -> std::result::Result<bool, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        select! {
            recv(round.link.host().arrivals()) -> arrival => {
                if let Ok((time, datagram)) = arrival {
                    round.take(time, &datagram);
                }
            }
            recv(round.link.events()) -> event => match event {
                Ok(event) => round.gone = round.gone.take().or_else(|| Link::lost(&event)),
                Err(_) => round.gone = Some("the driver has ended".into()),
            },
            recv(self.interrupted) -> _ => return Err(super::link::interrupted()),
            default(left) => return Ok(false),
        }
        Ok(true)
    }
}

impl Round<'_> {
    fn send(&mut self, path: Path, lengths: &[usize]) {
        let mut batch = Vec::with_capacity(lengths.len());
        for length in lengths {
            let mark = Mark {
                trial: self.trial,
                number: self.next,
            };
            if let Some(datagram) = path.request(self.identity, mark, *length) {
                self.open.insert(self.next);
                self.next += 1;
                self.sent += 1;
                batch.push(datagram);
            }
        }
        self.link.host().send(batch);
    }

    fn take(&mut self, time: Instant, datagram: &[u8]) {
        let (mark, whole) = match echo::read(datagram, self.identity) {
            Reading::Answer(mark) => (mark, true),
            Reading::Corrupted(mark) => (mark, false),
            Reading::Other => return,
        };
        if whole && mark.trial == self.trial && self.open.remove(&mark.number) {
            self.answered += 1;
            self.last = time;
        } else if !whole {
            self.corrupted += 1;
        }
    }
}

/// Returns the number of endpoint halts.
fn halts(traffic: &Traffic) -> u64 {
    let stalls = traffic.errors.iter();
    stalls
        .filter(|counter| matches!(counter.name.as_str(), "receive_stall" | "send_stall"))
        .map(|counter| counter.count)
        .sum()
}

/// Returns the most bytes that a datagram takes in an NTB beside its own.
fn beside(framing: &FramingStatus) -> usize {
    match framing.frames {
        true => ETHERNET_HEADER + BESIDE,
        false => BESIDE,
    }
}

/// Returns the lengths of as many short datagrams as one NTB may have.
fn short(framing: &FramingStatus, path: Path) -> Vec<usize> {
    let length = path
        .shortest()
        .max(SHORT.min(framing.output_size as usize / 8));
    let room = (framing.output_size as usize).saturating_sub(FRAME) / (length + beside(framing));
    let count = room.min(framing.max_datagrams as usize).max(1);
    vec![length; count]
}

/// Returns the lengths of as many long datagrams as one NTB holds.
fn long(framing: &FramingStatus, mtu: usize) -> Vec<usize> {
    let length = LONG.min(mtu);
    let room = (framing.output_size as usize).saturating_sub(FRAME) / (length + beside(framing));
    let count = room.min(framing.max_datagrams as usize).max(1);
    vec![length; count]
}

/// Returns the length of a datagram that alone makes an NTB fill its last packet, before padding.
fn filling_length(status: &FramingStatus, setting: &Setting, mtu: usize) -> usize {
    let experiment = &setting.options.experiment;
    let announced = status.announced.unwrap_or(NtbParameters::FALLBACK);
    let parameters = NtbParameters {
        out_divisor: experiment.divisor.unwrap_or(announced.out_divisor),
        out_remainder: experiment.remainder.unwrap_or(announced.out_remainder),
        out_alignment: experiment.ndp_alignment.unwrap_or(announced.out_alignment),
        out_max: status.output_size,
        ..announced
    };
    let negotiated = Framing::negotiate(
        &parameters,
        &Choices {
            format: match status.format.as_str() {
                "32" => uwwan_ncm::Format::Ntb32,
                _ => uwwan_ncm::Format::Ntb16,
            },
            placement: match status.ndp.as_str() {
                "front" => uwwan_ncm::Placement::Front,
                _ => uwwan_ncm::Placement::End,
            },
            ndp_size: match setting.options.table {
                Some(uwwan_modem::options::Table::Full) => uwwan_ncm::NdpSize::Full,
                _ => uwwan_ncm::NdpSize::Minimal,
            },
            function: match status.frames {
                true => uwwan_ncm::Function::Ncm,
                false => uwwan_ncm::Function::Mbim,
            },
            block_size: status.output_size as usize,
            max_datagrams: status.max_datagrams as usize,
            max_packet_size: match status.packet_size {
                0 => Choices::default().max_packet_size,
                size => size.into(),
            },
            ..Choices::default()
        },
    );
    let framing = Framing {
        // The addresses in the header do not matter for the length.
        link: status.frames.then_some(LinkHeader {
            to: LinkHeader::BROADCAST,
            from: LinkHeader::BROADCAST,
        }),
        bare: status.format == "none",
        ..negotiated
    };
    let lengths = LENGTHS.take_while(|length| *length <= mtu);
    Builder::filling_length(&framing, Stream::Ips(0), lengths).unwrap_or(LENGTHS.start)
}
