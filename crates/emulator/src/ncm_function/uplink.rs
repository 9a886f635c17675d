//! NTBs and frames from the host.

use std::collections::VecDeque;

use uwwan_ncm::strict::{self, Rules};
use uwwan_ncm::{DropCounters, Format, Function, Limits, Ntb, NtbParameters, Stream};

use super::context::DataContext;
use super::ethernet;
use super::link::{self, icmpv6_type};
use super::routes::version;
use crate::descriptors::{DataFunction, NetworkKind};
use crate::knobs::{Knobs, NtbEnd, SequenceTaken};
use crate::random::Random;
use crate::report::Rule;

/// Number of unanswered packets to the link from which further ones get no answer.
const MAX_ASKED: usize = 16;

/// Effect of a knob on a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferFault {
    /// The endpoint halts.
    Stall,
    /// The transfer fails on the bus.
    Fault,
    /// The firmware crashes and starts anew.
    Reset,
    /// The device is unplugged for good.
    Unplug,
}

/// State of the bulk OUT endpoint.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    /// Transfers whose end has not been seen, for want of a short packet.
    unended: Vec<u8>,
    /// Number of datagrams of the current transfer that the network has taken already.
    passed: usize,
    /// Value of [`fingerprint`] for the current transfer.
    at_hand: (usize, [u8; 12]),
    /// Whether the network had no room for the rest of the current transfer.
    blocked: bool,
    /// Whether the end of an NTB was not seen, so that nothing is carried until that of another is.
    stuck: bool,
    /// Value of wSequence that is due, once one has been seen.
    sequence: Option<u16>,
    /// Value of wSequence in the last NTB, whether it was carried or not.
    last: Option<u16>,
    /// Whether the current NTB vanishes because of its wSequence.
    out_of_sequence: bool,
    /// Whether an NTB without datagrams has come after which a knob makes all datagrams vanish.
    emptied: bool,
    /// Whether the host sent a neighbour advertisement that was not taken note of yet.
    advertised: bool,
    /// Whether the host answered the router's ARP request and this was not taken note of yet.
    resolved: bool,
    /// Packets to the link itself that were not taken yet, each with its data session.
    asked: VecDeque<(u8, Vec<u8>)>,
    /// Ethernet address of the host, once a frame of it has arrived.
    host: Option<ethernet::Address>,
    function: DataFunction,
    limits: Limits,
    mishaps: Mishaps,
    /// Generator that decides which datagrams get lost, once a knob asks for it.
    lost: Option<Random>,
}

/// Counters of NTBs by which some knobs decide.
#[derive(Debug, Default)]
struct Mishaps {
    ntbs: u64,
    stalled: bool,
    reset: bool,
    /// Generator that decides which mishaps happen at random, once a knob asks for them.
    random: Option<Random>,
}

impl Mishaps {
    /// Counts an NTB and returns the effect of a knob on it, if there is one.
    fn next(&mut self, knobs: &Knobs) -> Option<TransferFault> {
        self.ntbs += 1;
        let stalls = self.happens(knobs.stall_out_ppm, knobs);
        let fails = self.happens(knobs.fault_out_ppm, knobs);
        let reached = |limit: u64| limit != 0 && self.ntbs >= limit;
        if reached(knobs.unplug_after) {
            Some(TransferFault::Unplug)
        } else if reached(knobs.reset_after) && !self.reset {
            self.reset = true;
            Some(TransferFault::Reset)
        } else if reached(knobs.stall_out_after) && !self.stalled {
            self.stalled = true;
            Some(TransferFault::Stall)
        } else if stalls {
            Some(TransferFault::Stall)
        } else {
            fails.then_some(TransferFault::Fault)
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
    /// Makes an idle endpoint.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops everything that was under way.
    pub fn restart(&mut self, parameters: &NtbParameters, function: DataFunction) {
        self.function = function;
        self.unended.clear();
        self.passed = 0;
        self.blocked = false;
        self.stuck = false;
        self.sequence = None;
        self.last = None;
        self.out_of_sequence = false;
        self.emptied = false;
        self.limits = Limits {
            max_ntb: parameters.sanitised().out_max as usize,
            ..Limits::default()
        };
    }

    /// Returns whether the endpoint waits for room in the network.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Returns whether the host sent a neighbour advertisement since the last call.
    pub fn take_advertisement(&mut self) -> bool {
        std::mem::take(&mut self.advertised)
    }

    /// Returns whether the host answered an ARP request of the router since the last call.
    pub fn take_resolved(&mut self) -> bool {
        std::mem::take(&mut self.resolved)
    }

    /// Returns the Ethernet address of the host, once a frame of it has arrived.
    pub fn host(&self) -> Option<ethernet::Address> {
        self.host
    }

    /// Returns the oldest packet that the host sent to the link itself, with its data session.
    pub fn take_asked(&mut self) -> Option<(u8, Vec<u8>)> {
        self.asked.pop_front()
    }

    /// Takes a transfer of the host. Returns `false` when the network had no room for all of it,
    /// and the same transfer must be offered again.
    pub fn transfer(
        &mut self,
        data: &[u8],
        ended: bool,
        parameters: &NtbParameters,
        format: Format,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<TransferFault>) {
        // A host may take back a transfer that was not accepted and send another one.
        let again = std::mem::take(&mut self.blocked) && self.at_hand == fingerprint(data);
        if !again {
            context.counters.bus_bytes += data.len() as u64;
        }
        let longest = self.limits.max_ntb;
        if self.unended.is_empty() {
            if ended || data.len() >= longest {
                return self.ntb(data, ended, again, parameters, format, context);
            }
        } else if self.unended.len() + data.len() > longest {
            context.recorder.violation(Rule::Ntb, || {
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
        let (taken, mishap) = self.ntb(&whole, ended, false, parameters, format, context);
        if !taken {
            // This is too rare for the datagram to be kept: what the network had no room for is
            // lost.
            context.counters.dropped_out += 1;
            self.blocked = false;
            self.passed = 0;
        }
        (true, mishap)
    }

    /// Takes a transfer of the host with an Ethernet frame, or a part of one: a short or empty
    /// packet ends the frame (CDC ECM 1.2, 3.3.1). It returns what [`Uplink::transfer`] returns.
    pub fn frame(
        &mut self,
        data: &[u8],
        ended: bool,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<TransferFault>) {
        let again = std::mem::take(&mut self.blocked) && self.at_hand == fingerprint(data);
        if !again {
            context.counters.bus_bytes += data.len() as u64;
        }
        // Hosts that send no zero-length packet put a byte behind a frame that fills its last
        // packet.
        let longest = self.function.segment + 1;
        if self.unended.len() + data.len() > longest {
            context.recorder.violation(Rule::Datagram, || {
                format!(
                    "{} bytes without a short packet; a frame has at most wMaxSegmentSize {}",
                    self.unended.len() + data.len(),
                    self.function.segment
                )
            });
            self.unended.clear();
            return (true, None);
        }
        if self.unended.is_empty() && ended {
            return self.whole_frame(data, again, context);
        }
        self.unended.extend_from_slice(data);
        if !ended {
            return (true, None);
        }
        let whole = std::mem::take(&mut self.unended);
        let (taken, mishap) = self.whole_frame(&whole, false, context);
        if !taken {
            // This is too rare for the frame to be kept: what the network had no room for is lost.
            context.counters.dropped_out += 1;
            self.blocked = false;
        }
        (true, mishap)
    }

    /// Takes a complete frame. `again` says that the network had no room for it before.
    fn whole_frame(
        &mut self,
        frame: &[u8],
        again: bool,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<TransferFault>) {
        if frame.is_empty() {
            return (true, None);
        }
        if !again {
            if let Some(mishap) = self.count(context) {
                return (true, Some(mishap));
            }
            if frame.len() < ethernet::HEADER {
                context.recorder.violation(Rule::Datagram, || {
                    format!("frame of {} bytes, shorter than its header", frame.len())
                });
            }
        }
        let taken = self.pass(frame, Stream::Ethernet { crc: false }, context);
        self.blocked = !taken;
        if !taken {
            self.at_hand = fingerprint(frame);
        }
        (taken, None)
    }

    /// Counts an NTB or a frame, and returns the effect of a knob on it.
    fn count(&mut self, context: &mut DataContext<'_>) -> Option<TransferFault> {
        context.counters.blocks_out += 1;
        self.passed = 0;
        let mishap = self.mishaps.next(context.knobs)?;
        match mishap {
            TransferFault::Stall => context.counters.stalls += 1,
            TransferFault::Fault => context.counters.failed_transfers += 1,
            TransferFault::Reset | TransferFault::Unplug => {}
        }
        Some(mishap)
    }

    /// Takes a complete transfer. `again` says that the network had no room for all of it before.
    fn ntb(
        &mut self,
        data: &[u8],
        ended: bool,
        again: bool,
        parameters: &NtbParameters,
        format: Format,
        context: &mut DataContext<'_>,
    ) -> (bool, Option<TransferFault>) {
        if data.is_empty() {
            return (true, None);
        }
        if !again {
            if let Some(mishap) = self.count(context) {
                return (true, Some(mishap));
            }
            self.check(data, ended, parameters, format, context);
            self.look_at(data, context.knobs);
            if let Some(seen) = self.sees_end(data, ended, context.knobs.ntb_end) {
                self.stuck = !seen;
            }
        }
        let passed = std::mem::take(&mut self.passed);
        let taken = self.deliver(data, passed, context);
        self.blocked = !taken;
        if !taken {
            self.at_hand = fingerprint(data);
        }
        (taken, None)
    }

    /// Takes note of the effects of knobs on an NTB for its sequence number, or for being without
    /// datagrams.
    fn look_at(&mut self, data: &[u8], knobs: &Knobs) {
        let Ok(ntb) = Ntb::parse(data, &self.limits) else {
            return;
        };
        let sequence = ntb.sequence();
        let last = self.last.replace(sequence);
        self.out_of_sequence = match (knobs.ntb_sequence, last) {
            (SequenceTaken::Any, _) | (_, None) => false,
            (SequenceTaken::Next, Some(last)) => sequence != last.wrapping_add(1),
            (SequenceTaken::Other, Some(last)) => sequence == last,
        };
        let mut drops = DropCounters::default();
        self.emptied |= knobs.black_hole_after_empty && ntb.datagrams(&mut drops).next().is_none();
    }

    /// Returns whether the modem sees the end of an NTB; `None` when that depends on no knob.
    fn sees_end(&self, data: &[u8], ended: bool, needed: NtbEnd) -> Option<bool> {
        if needed == NtbEnd::Any {
            return None;
        }
        let packet = self.function.packet.max(1);
        let longest = self.limits.max_ntb;
        let mut drops = DropCounters::default();
        let ntb = Ntb::parse(data, &self.limits).ok()?;
        let datagrams = ntb.datagrams(&mut drops).map(|found| found.range.end).max();
        let ndps = ntb.ndps(&mut drops).map(|ndp| ndp.range.end).max();
        let used = datagrams.max(ndps)?;
        let fills = used.is_multiple_of(packet) && used < longest;
        match needed {
            NtbEnd::Short if fills => Some(!data.len().is_multiple_of(packet)),
            NtbEnd::ZeroPacket if fills => Some(data.len() == used && ended),
            NtbEnd::Full if used + 3 * packet > longest => Some(data.len() == longest),
            _ => None,
        }
    }

    /// Records the faults of a transfer.
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
            function: self.carries(),
            max_datagram_size: self.function.segment,
            max_packet_size: Some(self.function.packet),
            ..Rules::default()
        };
        match strict::check(data, ended, parameters, &rules) {
            Ok(checked) => {
                let due = self.sequence.unwrap_or(checked.sequence);
                match checked.sequence.wrapping_sub(due) {
                    // A gap means that NTBs were lost on the way, not that this one is wrong.
                    gap @ 0..0x8000 => context.counters.blocks_missing += u64::from(gap),
                    _ => context.recorder.violation(Rule::Ntb, || {
                        format!(
                            "NTB with wSequence {} where {due} was due",
                            checked.sequence
                        )
                    }),
                }
                self.sequence = Some(checked.sequence.wrapping_add(checked.ntbs as u16));
            }
            Err(violation) => {
                self.sequence = None;
                context
                    .recorder
                    .violation(Rule::Ntb, || violation.to_string());
            }
        }
    }

    /// Returns what NTBs carry, which decides what of a datagram is aligned (NCM 1.0, 3.3.4).
    fn carries(&self) -> Function {
        match self.function.kind {
            NetworkKind::Mbim => Function::Mbim,
            NetworkKind::Ncm | NetworkKind::Ecm => Function::Ncm,
        }
    }

    /// Passes on the datagrams of all NTBs of a transfer, from number `skip` on. Returns `false`
    /// when the network has no room.
    fn deliver(&mut self, data: &[u8], skip: usize, context: &mut DataContext<'_>) -> bool {
        let mut drops = DropCounters::default();
        let mut base = 0;
        let mut number = 0;
        while let Some(rest) = data.get(base..)
            && let Ok(ntb) = Ntb::parse(rest, &self.limits)
        {
            let divisor = usize::from(context.knobs.ntb_needs_divisor);
            let remainder = self.carries().offset_remainder(divisor, 0);
            let askew = divisor > 1
                && ntb
                    .datagrams(&mut DropCounters::default())
                    .any(|datagram| datagram.range.start % divisor != remainder);
            let mut datagrams = ntb.datagrams(&mut drops).peekable();
            let in_front = datagrams
                .peek()
                .is_some_and(|first| ntb.ndp_index() < first.range.start);
            let ntb16 = ntb.format() == Format::Ntb16;
            let hole = self.stuck
                || askew
                || self.out_of_sequence
                || self.emptied
                || (in_front && context.knobs.black_hole_ndp_front)
                || (ntb16 && context.knobs.black_hole_ntb16);
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
            base += ntb.length();
        }
        true
    }

    /// Passes one datagram on. Returns `false` when the network has no room.
    fn pass(&mut self, packet: &[u8], stream: Stream, context: &mut DataContext<'_>) -> bool {
        let (session, packet) = match (stream, self.function.kind) {
            (Stream::Ips(session), NetworkKind::Mbim) => (session, packet),
            (Stream::Ethernet { crc: false }, kind) if kind.is_ethernet() => {
                let Some((host, packet)) = ethernet::unwrap(packet) else {
                    context.counters.dropped_out += 1;
                    return true;
                };
                self.host = Some(host);
                // The frame may be padded behind the packet (IEEE 802.3, 3.2.8).
                let length = stated_length(packet).unwrap_or(packet.len());
                (0, &packet[..length.min(packet.len())])
            }
            _ => {
                context.counters.dropped_out += 1;
                return true;
            }
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
        let resolution = self.function.kind.is_ethernet() && version(packet) == 0;
        let carried = if resolution {
            context.routes.carries(session, 4) || context.routes.carries(session, 6)
        } else {
            context.routes.carries(session, version(packet))
        };
        if !carried {
            context.counters.dropped_out += 1;
            return true;
        }
        if icmpv6_type(packet) == Some(link::NEIGHBOUR_ADVERTISEMENT) {
            self.advertised = true;
        } else if resolution && link::answers_arp(packet, session, context.knobs) {
            self.resolved = true;
        } else if link::is_asked(packet, self.function.kind) && self.asked.len() < MAX_ASKED {
            self.asked.push_back((session, packet.to_vec()));
        }
        if resolution {
            return true;
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

/// Returns the length and the header of a transfer, which has the sequence number, to tell
/// transfers apart.
fn fingerprint(data: &[u8]) -> (usize, [u8; 12]) {
    let mut header = [0; 12];
    let length = data.len().min(12);
    header[..length].copy_from_slice(&data[..length]);
    (data.len(), header)
}

/// Returns the length in bytes that an IP packet states (RFC 791; RFC 8200).
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
