//! Blocks from the host.

use uwwan_ncm::strict::{self, Rules};
use uwwan_ncm::{DropCounters, Format, Limits, Ntb, NtbParameters, Stream};

use super::context::DataContext;
use super::routes::version;
use crate::descriptors::BULK_PACKET;
use crate::knobs::Knobs;
use crate::random::Random;
use crate::report::Rule;

/// wMaxSegmentSize of the MBIM functional descriptor, in bytes.
const MAX_SEGMENT: usize = 1500;
/// ICMPv6 (RFC 4443) with neighbour advertisement and router solicitation (RFC 4861, 4.4 and 4.1).
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ROUTER_SOLICITATION: u8 = 133;

/// What the firmware does besides, because of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    Stall,
    Fault,
    Reset,
    Unplug,
}

/// State of the bulk OUT pipe.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    /// Transfers whose end has not been seen: no short packet yet.
    unended: Vec<u8>,
    /// Datagrams of the transfer at hand the network has taken already, and which one that is: its
    /// length and its first bytes.
    passed: usize,
    at_hand: (usize, [u8; 12]),
    blocked: bool,
    /// The sequence number due, once one has been seen.
    sequence: Option<u16>,
    advertised: bool,
    router_wanted: Option<u8>,
    limits: Limits,
    mishaps: Mishaps,
    /// Which datagrams get lost, once a knob asks for it.
    lost: Option<Random>,
}

/// Blocks seen, for the knobs that count them.
#[derive(Debug, Default)]
struct Mishaps {
    blocks: u64,
    stalled: bool,
    reset: bool,
    /// For those that happen at random, once a knob asks for them.
    random: Option<Random>,
}

impl Mishaps {
    fn next(&mut self, knobs: &Knobs) -> Option<Mishap> {
        self.blocks += 1;
        let stalls = self.happens(knobs.stall_out_ppm, knobs);
        let fails = self.happens(knobs.fault_out_ppm, knobs);
        let reached = |limit: u64| limit != 0 && self.blocks >= limit;
        if reached(knobs.unplug_after) {
            Some(Mishap::Unplug)
        } else if reached(knobs.reset_after) && !self.reset {
            self.reset = true;
            Some(Mishap::Reset)
        } else if reached(knobs.stall_out_after) && !self.stalled {
            self.stalled = true;
            Some(Mishap::Stall)
        } else if stalls {
            Some(Mishap::Stall)
        } else {
            fails.then_some(Mishap::Fault)
        }
    }

    fn happens(&mut self, per_million: u32, knobs: &Knobs) -> bool {
        per_million != 0
            && self
                .random
                .get_or_insert_with(|| Random::new(knobs.seed ^ 2))
                .happens(per_million)
    }
}

impl Uplink {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was under way.
    pub fn restart(&mut self, parameters: &NtbParameters) {
        self.unended.clear();
        self.passed = 0;
        self.blocked = false;
        self.sequence = None;
        self.limits = Limits {
            max_block: parameters.sanitised().out_max as usize,
            ..Limits::default()
        };
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether the host sent a neighbour advertisement since the last call.
    pub fn take_advertisement(&mut self) -> bool {
        std::mem::take(&mut self.advertised)
    }

    /// The session whose host sent a router solicitation since the last call.
    pub fn take_router_solicitation(&mut self) -> Option<u8> {
        self.router_wanted.take()
    }

    /// A transfer of the host. `false`: the network had no room for all of it; the same transfer
    /// is offered again later.
    pub fn transfer(
        &mut self,
        data: &[u8],
        ended: bool,
        parameters: &NtbParameters,
        format: Format,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<Mishap>) {
        // A host may take back a transfer that was not accepted and send another one.
        let again = std::mem::take(&mut self.blocked) && self.at_hand == fingerprint(data);
        if !again {
            context.counters.bus_bytes += data.len() as u64;
        }
        let longest = self.limits.max_block;
        if self.unended.is_empty() {
            if ended || data.len() >= longest {
                return self.block(data, ended, again, parameters, format, context);
            }
        } else if self.unended.len() + data.len() > longest {
            context.recorder.violation(Rule::Block, || {
                format!(
                    "transfers of {} and {} bytes without a short packet between them: more than dwNtbOutMaxSize {longest}",
                    self.unended.len(),
                    data.len()
                )
            });
            self.unended.clear();
            return (true, None);
        }
        self.unended.extend_from_slice(data);
        if !ended && self.unended.len() < longest {
            return (true, None);
        }
        let whole = std::mem::take(&mut self.unended);
        let (taken, mishap) = self.block(&whole, ended, false, parameters, format, context);
        if !taken {
            // Rare enough not to keep: what the network had no room for is lost.
            context.counters.dropped_out += 1;
            self.blocked = false;
            self.passed = 0;
        }
        (true, mishap)
    }

    fn block(
        &mut self,
        data: &[u8],
        ended: bool,
        again: bool,
        parameters: &NtbParameters,
        format: Format,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<Mishap>) {
        if data.is_empty() {
            return (true, None);
        }
        if !again {
            context.counters.blocks_out += 1;
            self.passed = 0;
            if let Some(mishap) = self.mishaps.next(context.knobs) {
                match mishap {
                    Mishap::Stall => context.counters.stalls += 1,
                    Mishap::Fault => context.counters.failed_transfers += 1,
                    Mishap::Reset | Mishap::Unplug => {}
                }
                return (true, Some(mishap));
            }
            self.check(data, ended, parameters, format, context);
        }
        let passed = std::mem::take(&mut self.passed);
        let taken = self.deliver(data, passed, context);
        self.blocked = !taken;
        if !taken {
            self.at_hand = fingerprint(data);
        }
        (taken, None)
    }

    /// Records what is wrong with a transfer.
    fn check(
        &mut self,
        data: &[u8],
        ended: bool,
        parameters: &NtbParameters,
        format: Format,
        context: &mut DataContext<'_>,
    ) {
        let rules = Rules {
            format: Some(format),
            max_datagram_size: MAX_SEGMENT,
            max_packet_size: Some(BULK_PACKET),
            ..Rules::default()
        };
        match strict::check(data, ended, parameters, &rules) {
            Ok(checked) => {
                let due = self.sequence.unwrap_or(checked.sequence);
                match checked.sequence.wrapping_sub(due) {
                    // A gap tells of blocks lost on the way, not of a wrong block.
                    gap @ 0..0x8000 => context.counters.blocks_missing += u64::from(gap),
                    _ => context.recorder.violation(Rule::Block, || {
                        format!(
                            "block with wSequence {} where {due} was due",
                            checked.sequence
                        )
                    }),
                }
                self.sequence = Some(checked.sequence.wrapping_add(checked.blocks as u16));
            }
            Err(violation) => {
                self.sequence = None;
                context
                    .recorder
                    .violation(Rule::Block, || violation.to_string());
            }
        }
    }

    /// Passes the datagrams of all blocks of a transfer on, from number `skip` on.
    fn deliver(&mut self, data: &[u8], skip: usize, context: &mut DataContext<'_>) -> bool {
        let mut drops = DropCounters::default();
        let mut base = 0;
        let mut number = 0;
        while let Some(rest) = data.get(base..)
            && let Ok(block) = Ntb::parse(rest, &self.limits)
        {
            let mut datagrams = block.datagrams(&mut drops).peekable();
            let in_front = datagrams
                .peek()
                .is_some_and(|first| block.ndp_index() < first.range.start);
            let hole = in_front && context.knobs.black_hole_ndp_front;
            for datagram in datagrams {
                if number < skip {
                    number += 1;
                    continue;
                }
                if hole {
                    context.counters.black_holed += 1;
                } else if !self.pass(&rest[datagram.range], datagram.stream, context) {
                    self.passed = number;
                    return false;
                }
                number += 1;
            }
            base += block.length();
        }
        true
    }

    /// Passes one datagram on. `false`: no room.
    fn pass(&mut self, packet: &[u8], stream: Stream, context: &mut DataContext<'_>) -> bool {
        let Stream::Ips(session) = stream else {
            context.counters.dropped_out += 1;
            return true;
        };
        if let Some(stated) = stated_length(packet)
            && stated != packet.len()
        {
            context.recorder.violation(Rule::Datagram, || {
                format!(
                    "IP packet of {stated} bytes in a datagram of {}",
                    packet.len()
                )
            });
        }
        if !context.routes.carries(session, version(packet)) {
            context.counters.dropped_out += 1;
            return true;
        }
        match icmpv6_type(packet) {
            Some(NEIGHBOUR_ADVERTISEMENT) => self.advertised = true,
            Some(ROUTER_SOLICITATION) => self.router_wanted = Some(session),
            _ => {}
        }
        if context.knobs.drop_out_ppm != 0
            && self
                .lost
                .get_or_insert_with(|| Random::new(context.knobs.seed ^ 1))
                .happens(context.knobs.drop_out_ppm)
        {
            context.counters.dropped_out += 1;
            return true;
        }
        if !context.network.send(packet) {
            return false;
        }
        context.counters.datagrams_out += 1;
        context.counters.bytes_out += packet.len() as u64;
        true
    }
}

/// What tells transfers apart: length and header, which has the sequence number.
fn fingerprint(data: &[u8]) -> (usize, [u8; 12]) {
    let mut header = [0; 12];
    let length = data.len().min(12);
    header[..length].copy_from_slice(&data[..length]);
    (data.len(), header)
}

/// Length an IP packet states (RFC 791; RFC 8200).
fn stated_length(packet: &[u8]) -> Option<usize> {
    match version(packet) {
        4 => Some(usize::from(u16::from_be_bytes([
            *packet.get(2)?,
            *packet.get(3)?,
        ]))),
        6 => Some(40 + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]))),
        _ => None,
    }
}

fn icmpv6_type(packet: &[u8]) -> Option<u8> {
    (version(packet) == 6 && packet.get(6) == Some(&ICMPV6))
        .then(|| packet.get(40).copied())
        .flatten()
}
