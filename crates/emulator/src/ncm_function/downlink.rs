//! NTBs and frames for the host.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uwwan_ncm::{
    Builder, Choices, Format, Framing, Full, Function, NtbParameters, Padding, Placement, Stream,
};

use super::context::DataContext;
use super::ethernet::{self, Ends};
use super::link::{self, arp_request, neighbour_solicitation, router_advertisement};
use super::routes::version;
use crate::behaviour::InVerdict;
use crate::descriptors::{DataFunction, NetworkKind};
use crate::far_side::session_of;
use crate::knobs::{ArpManner, Knobs, NdpPlace};
use crate::random::Random;

/// Largest number of packets that are discarded in one call because they belong to no session.
const MAX_DISCARDED: usize = 256;
/// Number of waiting packets of the link from which further questions are not answered.
const MAX_FIRST: usize = 16;
/// Length in bytes of the longest packet of the network.
const LONGEST: usize = 2048;

/// State of the bulk IN endpoint.
#[derive(Debug)]
pub(super) struct Downlink {
    builder: Builder,
    function: DataFunction,
    /// Ethernet address of the host, once it is known.
    host: Option<ethernet::Address>,
    /// NTB that did not fit the host's transfer.
    split: Vec<u8>,
    /// Number of bytes of `split` that have been sent.
    sent: usize,
    /// Whether the NTB in `split` ends with a zero-length packet.
    zero_after_split: bool,
    /// Whether the NTB sent last still needs a zero-length packet at its end.
    owes_zero: bool,
    /// Packet that did not fit the last NTB, when `holds` is set.
    held: Vec<u8>,
    holds: bool,
    /// Packets that the network itself sends first, each with its data session.
    first: VecDeque<(u8, Vec<u8>)>,
    /// Delayed answers of the DHCP server, in the order of the times at which they are due.
    later: VecDeque<(Instant, u8, Vec<u8>)>,
    /// Whether the network waits for a neighbour advertisement.
    soliciting: bool,
    /// Whether the host has answered the router's ARP request.
    resolved: bool,
    random: Random,
    /// Number of NTBs built, for the knobs that count them.
    ntbs: u64,
    /// Whether the stall that a knob asks for once has taken place.
    stalled: bool,
    /// Fault that a knob makes happen before the next NTB.
    mishap: Option<InVerdict>,
}

impl Downlink {
    /// Makes an idle endpoint whose random knobs draw numbers from `random`.
    pub fn new(random: Random) -> Self {
        Self {
            builder: Builder::new(framing(
                &NtbParameters::FALLBACK,
                Format::Ntb16,
                8192,
                0,
                NdpPlace::End,
                DataFunction::default(),
            )),
            function: DataFunction::default(),
            host: None,
            split: Vec::new(),
            sent: 0,
            zero_after_split: false,
            owes_zero: false,
            held: vec![0; LONGEST],
            holds: false,
            first: VecDeque::new(),
            later: VecDeque::new(),
            soliciting: false,
            resolved: false,
            random,
            ntbs: 0,
            stalled: false,
            mishap: None,
        }
    }

    /// Drops everything that was under way.
    pub fn restart(
        &mut self,
        parameters: &NtbParameters,
        format: Format,
        input_size: u32,
        input_datagrams: u16,
        knobs: &Knobs,
        function: DataFunction,
    ) {
        self.function = function;
        self.builder = Builder::new(framing(
            parameters,
            format,
            input_size,
            match (input_datagrams, knobs.ntb_in_datagrams) {
                (0, own) => own,
                (told, 0) => told,
                (told, own) => told.min(own),
            },
            knobs.ndp_place,
            function,
        ));
        self.split.clear();
        self.sent = 0;
        self.owes_zero = false;
        self.holds = false;
    }

    /// Queues the packets that the network sends when a data session comes up.
    pub fn session_up(&mut self, session: u8, v6: bool, knobs: &Knobs) {
        self.first.clear();
        self.later.clear();
        self.resolved = false;
        if knobs.connect_banner {
            self.first
                .push_back((session, b"CONNECT 21600000".to_vec()));
        }
        if knobs.arp_datagram {
            self.first.push_back((session, arp_request(session, knobs)));
        }
        self.soliciting = knobs.neighbour_solicitation && v6;
        if self.soliciting {
            self.first
                .push_back((session, neighbour_solicitation(session, knobs)));
        }
        if v6 && !knobs.ip_configuration.tells_v6() {
            self.first
                .push_back((session, router_advertisement(session, knobs)));
        }
    }

    /// Queues the link's answer to a packet of the host, if there is one.
    pub fn answer(&mut self, session: u8, packet: &[u8], knobs: &Knobs, now: Instant) {
        let ends = Ends::of(self.host, knobs.arp);
        if self.first.len() + self.later.len() < MAX_FIRST
            && let Some(answer) = link::answer(session, packet, knobs, self.function.kind, ends)
        {
            if knobs.dhcp_ms != 0 && link::is_dhcp(packet) {
                let due = now + Duration::from_millis(knobs.dhcp_ms);
                self.later.push_back((due, session, answer));
            } else {
                self.first.push_back((session, answer));
            }
        }
    }

    /// Takes note that the host has answered the router's ARP request.
    pub fn host_resolved(&mut self) {
        self.resolved = true;
    }

    /// Queues the delayed answers that are due.
    pub fn advance(&mut self, now: Instant) {
        while let Some((due, ..)) = self.later.front()
            && *due <= now
            && let Some((_, session, answer)) = self.later.pop_front()
        {
            self.first.push_back((session, answer));
        }
    }

    /// Returns when the next delayed answer is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.later.front().map(|(due, ..)| *due)
    }

    /// Takes note of the host's Ethernet address.
    pub fn host_is(&mut self, host: Option<ethernet::Address>) {
        self.host = host;
    }

    /// Fills the room left in the host's transfer. `advertised` says that the host has answered the
    /// network's neighbour solicitation.
    pub fn fill(
        &mut self,
        room: &mut [u8],
        advertised: bool,
        context: &mut DataContext<'_>,
    ) -> InVerdict {
        if advertised {
            self.soliciting = false;
        }
        if self.owes_zero {
            self.owes_zero = false;
            return InVerdict::Data {
                length: 0,
                short: true,
            };
        }
        if self.sent < self.split.len() {
            return self.continue_split(room, context);
        }
        if context.knobs.stall_in_after != 0
            && self.ntbs >= context.knobs.stall_in_after
            && !self.stalled
        {
            self.stalled = true;
            context.counters.stalls += 1;
            return InVerdict::Stall;
        }
        if let Some(mishap) = self.mishap.take() {
            match mishap {
                InVerdict::Stall => context.counters.stalls += 1,
                InVerdict::Overflow | InVerdict::Fault => context.counters.failed_transfers += 1,
                InVerdict::Data { .. } | InVerdict::Nak => {}
            }
            return mishap;
        }
        let longest = match self.function.kind {
            NetworkKind::Ecm => self.function.segment.max(ethernet::HEADER),
            NetworkKind::Mbim | NetworkKind::Ncm => self.builder.framing().max_ntb,
        };
        if room.len() >= longest {
            let (length, short) = self.build(room, context);
            if length == 0 {
                return InVerdict::Nak;
            }
            context.counters.bus_bytes += length as u64;
            if short && length == room.len() && length.is_multiple_of(self.function.packet) {
                // The host's transfer is full, so the zero-length packet ends the next one.
                self.owes_zero = true;
            }
            return InVerdict::Data { length, short };
        }
        // The host's transfer is shorter than an NTB may become, so the NTB is built in a buffer of
        // its own.
        let mut aside = std::mem::take(&mut self.split);
        aside.resize(longest, 0);
        let (length, short) = self.build(&mut aside, context);
        aside.truncate(length);
        self.split = aside;
        self.sent = 0;
        if length == 0 {
            return InVerdict::Nak;
        }
        self.zero_after_split = short && length.is_multiple_of(self.function.packet);
        self.continue_split(room, context)
    }

    /// Sends as much as fits of an NTB that was built in a buffer of its own.
    fn continue_split(&mut self, room: &mut [u8], context: &mut DataContext<'_>) -> InVerdict {
        let rest = &self.split[self.sent..];
        if rest.len() > room.len() && !room.len().is_multiple_of(self.function.packet) {
            self.split.clear();
            self.sent = 0;
            return InVerdict::Overflow;
        }
        let length = rest.len().min(room.len());
        room[..length].copy_from_slice(&rest[..length]);
        context.counters.bus_bytes += length as u64;
        self.sent += length;
        if self.sent < self.split.len() {
            return InVerdict::Data {
                length,
                short: false,
            };
        }
        let zero = std::mem::take(&mut self.zero_after_split);
        if zero && length == room.len() {
            self.owes_zero = true;
        }
        InVerdict::Data {
            length,
            short: zero || !self.split.len().is_multiple_of(self.function.packet),
        }
    }

    /// Builds an NTB of the packets that wait. Returns its length in bytes, 0 when nothing waits,
    /// and whether its last packet is short.
    fn build(&mut self, ntb: &mut [u8], context: &mut DataContext<'_>) -> (usize, bool) {
        if self.function.kind == NetworkKind::Ecm {
            return self.build_frame(ntb, context);
        }
        let packets = self.function.kind == NetworkKind::Mbim;
        if packets && context.routes.only_zero() && self.first.is_empty() {
            self.place_session_0(ntb, context);
        } else {
            self.place_any(ntb, context);
        }
        let finished = self.builder.finish(ntb);
        if finished.length == 0 {
            return (0, false);
        }
        self.ntbs += 1;
        context.counters.blocks_in += 1;
        context.counters.datagrams_in += finished.datagrams as u64;
        context.counters.bytes_in += finished.payload as u64;
        self.spoil(&mut ntb[..finished.length], finished.datagrams, context);
        self.mishap = self.next_mishap(context.knobs);
        if self.random.happens(context.knobs.short_in_ppm) {
            context.counters.spoiled_in += finished.datagrams as u64;
            return (1 + self.random.below(finished.length - 1), true);
        }
        let short = finished.zero_packet || !finished.length.is_multiple_of(self.function.packet);
        (finished.length, short)
    }

    /// Puts one packet that waits into a frame of its own. Returns the frame's length in bytes, 0
    /// when nothing waits, and that its last packet is short: a zero-length packet follows a full
    /// one (CDC ECM 1.2, 3.3.1).
    fn build_frame(&mut self, room: &mut [u8], context: &mut DataContext<'_>) -> (usize, bool) {
        let most = room.len().min(self.function.segment);
        let Some((head, body)) = room[..most].split_at_mut_checked(ethernet::HEADER) else {
            return (0, false);
        };
        for _ in 0..MAX_DISCARDED {
            let length = if let Some((_, packet)) = self.first.pop_front() {
                let Some(place) = body.get_mut(..packet.len()) else {
                    continue;
                };
                place.copy_from_slice(&packet);
                packet.len()
            } else {
                let Some(length) = context.network.receive(body) else {
                    break;
                };
                if !self.wanted(0, &mut body[..length], context) {
                    continue;
                }
                length
            };
            let ends = Ends::of(self.host, context.knobs.arp);
            head.copy_from_slice(&ethernet::header(&body[..length], ends));
            self.ntbs += 1;
            context.counters.blocks_in += 1;
            context.counters.datagrams_in += 1;
            context.counters.bytes_in += length as u64;
            self.mishap = self.next_mishap(context.knobs);
            return (ethernet::HEADER + length, true);
        }
        (0, false)
    }

    /// Draws the fault that happens before the next NTB, if any.
    fn next_mishap(&mut self, knobs: &Knobs) -> Option<InVerdict> {
        let empty = InVerdict::Data {
            length: 0,
            short: true,
        };
        [
            (knobs.empty_in_ppm, empty),
            (knobs.babble_in_ppm, InVerdict::Overflow),
            (knobs.fault_in_ppm, InVerdict::Fault),
            (knobs.stall_in_ppm, InVerdict::Stall),
        ]
        .into_iter()
        .find_map(|(rate, mishap)| self.random.happens(rate).then_some(mishap))
    }

    /// Places packets in the usual case: with one data session, they come directly to their place.
    fn place_session_0(&mut self, ntb: &mut [u8], context: &mut DataContext<'_>) {
        let want = usize::from(context.knobs.mtu).clamp(1280, LONGEST);
        let mut discarded = 0;
        while discarded < MAX_DISCARDED {
            let Ok(slot) = self.builder.place(Stream::Ips(0), want) else {
                return;
            };
            let room = &mut ntb[slot.offset..slot.offset + slot.room.min(LONGEST)];
            let length = if self.holds {
                self.holds = false;
                let length = self.held.len().min(room.len());
                room[..length].copy_from_slice(&self.held[..length]);
                length
            } else {
                match context.network.receive(room) {
                    Some(length) => length.min(room.len()),
                    None => return,
                }
            };
            let packet = &mut room[..length];
            if self.wanted(0, packet, context) {
                self.builder.commit(slot, length);
            } else {
                discarded += 1;
            }
        }
    }

    /// Places packets of several data sessions. The session of a packet is known only once it has
    /// arrived.
    fn place_any(&mut self, ntb: &mut [u8], context: &mut DataContext<'_>) {
        let ends = Ends::of(self.host, context.knobs.arp);
        let mut discarded = 0;
        while discarded < MAX_DISCARDED {
            let session = if let Some((session, packet)) = self.first.front() {
                match place(
                    &mut self.builder,
                    self.function.kind,
                    ends,
                    *session,
                    packet,
                    ntb,
                ) {
                    Ok(()) => {
                        self.first.pop_front();
                        continue;
                    }
                    Err(Full::TooLong) => {
                        self.first.pop_front();
                        continue;
                    }
                    Err(_) => return,
                }
            } else {
                if !self.holds {
                    self.held.resize(LONGEST, 0);
                    let Some(length) = context.network.receive(&mut self.held) else {
                        return;
                    };
                    self.held.truncate(length);
                    self.holds = true;
                }
                match self.function.kind {
                    NetworkKind::Mbim => session_of(&self.held, context.knobs),
                    NetworkKind::Ncm | NetworkKind::Ecm => 0,
                }
            };
            let mut packet = std::mem::take(&mut self.held);
            let wanted = self.wanted(session, &mut packet, context);
            self.held = packet;
            if !wanted {
                self.holds = false;
                discarded += 1;
                continue;
            }
            match place(
                &mut self.builder,
                self.function.kind,
                ends,
                session,
                &self.held,
                ntb,
            ) {
                Ok(()) => {}
                Err(Full::TooLong) => discarded += 1,
                Err(_) => return,
            }
            self.holds = false;
        }
    }

    /// Returns whether a packet for a session reaches the host. It may be corrupted on the way.
    fn wanted(&mut self, session: u8, packet: &mut [u8], context: &mut DataContext<'_>) -> bool {
        let version = version(packet);
        if !context.routes.carries(session, version) || (self.soliciting && version == 6) {
            return false;
        }
        let knobs = context.knobs;
        let asks = knobs.arp == ArpManner::Asks && self.function.kind.is_ethernet();
        if asks && version == 4 && !self.resolved {
            // There is one solicitation at a time. The sender of the packet sends it again.
            if self.first.is_empty() {
                self.first.push_back((session, arp_request(session, knobs)));
            }
            return false;
        }
        if knobs.drop_in_ppm != 0 && self.random.happens(knobs.drop_in_ppm) {
            context.counters.dropped_in += 1;
            return false;
        }
        if knobs.corrupt_in_ppm != 0 && self.random.happens(knobs.corrupt_in_ppm) {
            context.counters.dropped_in += 1;
            let at = self.random.below(packet.len());
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= 1 << self.random.below(8);
            }
        }
        true
    }

    /// Damages the framing of an NTB as the knobs say.
    fn spoil(&mut self, ntb: &mut [u8], datagrams: usize, context: &mut DataContext<'_>) {
        if context.knobs.zero_ntb16_headers
            && self.builder.framing().format == Format::Ntb16
            && let Some(header) = ntb.get_mut(..12)
        {
            header.fill(0);
        }
        if context.knobs.garbage_in_ppm != 0 && self.random.happens(context.knobs.garbage_in_ppm) {
            context.counters.spoiled_in += datagrams as u64;
            let start = self.random.below(ntb.len());
            let length = self.random.below(64) + 1;
            let end = (start + length).min(ntb.len());
            self.random.fill(&mut ntb[start..end]);
            if self.random.below(2) == 0 {
                // Damage to the header has the greatest effect.
                let header = ntb.len().min(16);
                self.random.fill(&mut ntb[..header]);
            }
        }
    }
}

/// Finds a place for a packet and copies it there, in a frame where the function carries frames.
fn place(
    builder: &mut Builder,
    kind: NetworkKind,
    ends: Ends,
    session: u8,
    packet: &[u8],
    ntb: &mut [u8],
) -> Result<(), Full> {
    let (stream, header) = match kind {
        NetworkKind::Mbim => (Stream::Ips(session), None),
        NetworkKind::Ncm | NetworkKind::Ecm => {
            let header = ethernet::header(packet, ends);
            (Stream::Ethernet { crc: false }, Some(header))
        }
    };
    let header = header.as_ref().map_or(&[][..], |header| header);
    let length = header.len() + packet.len();
    let slot = builder.place(stream, length)?;
    let (head, body) = ntb[slot.offset..slot.offset + length].split_at_mut(header.len());
    head.copy_from_slice(header);
    body.copy_from_slice(packet);
    builder.commit(slot, length);
    Ok(())
}

/// Returns the framing of NTBs for the host. They end with a zero-length packet where one is
/// needed.
fn framing(
    parameters: &NtbParameters,
    format: Format,
    input_size: u32,
    input_datagrams: u16,
    place: NdpPlace,
    function: DataFunction,
) -> Framing {
    let packet = function.packet;
    let sane = parameters.sanitised();
    let device_max_ntb = input_size as usize;
    let mut framing = Framing::negotiate(
        &sane,
        &Choices {
            function: match function.kind {
                NetworkKind::Mbim => Function::Mbim,
                NetworkKind::Ncm | NetworkKind::Ecm => Function::Ncm,
            },
            ..Choices::default()
        },
    );
    framing.format = format;
    framing.placement = match place {
        NdpPlace::End => Placement::End,
        NdpPlace::Front => Placement::Front,
    };
    framing.padding = Padding::Never;
    framing.divisor = sane.in_divisor.into();
    framing.remainder = sane.in_remainder.into();
    framing.ndp_alignment = sane.in_alignment.into();
    framing.max_ntb = device_max_ntb.min(match format {
        Format::Ntb16 => 0xffff / packet * packet,
        Format::Ntb32 => usize::MAX,
    });
    framing.device_max_ntb = device_max_ntb;
    // An NDP in front has its full length, whatever it holds.
    let most = match place {
        NdpPlace::End => usize::from(u16::MAX),
        NdpPlace::Front => (framing.max_ntb / 256).max(16),
    };
    framing.max_datagrams = match input_datagrams {
        0 => most,
        limit => most.min(limit.into()),
    };
    framing.max_datagram_size = LONGEST;
    framing.max_packet_size = packet;
    framing
}
