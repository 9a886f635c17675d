//! The control thread's part in the [healing](crate::heal) of the layout: verdicts of the data path,
//! changes of the layout, probes, memory.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crossbeam_channel::Sender;
use uwwan_ncm::{Builder, Framing, Stream};

use super::Control;
use super::healing::Healing;
use crate::event::Event;
use crate::failure::{Failure, FailureKind, Rung};
use crate::heal::memory::{Entry, LayoutMemory};
use crate::heal::{Fills, HealEvent, HealStep, Layout, Scope, Step};
use crate::kind::ETHERNET_HEADER;
use crate::neighbour;
use crate::options::{Heal, Options};
use crate::packet::is_ethernet;
use crate::probe::Probe;
use crate::state_file::StateFile;
use crate::watch::Verdict;

/// Number of times that the paddings are tried on one device.
const MOST_PADDINGS: u32 = 3;
/// Lengths in bytes of datagrams among which the one that makes an NTB fill its last packet is found.
/// IP datagrams have a range of their own, because probes in Ethernet frames cannot be as short.
const LENGTHS: std::ops::Range<usize> = 200..1240;
const FRAME_LENGTHS: std::ops::Range<usize> = 400..1440;

impl Control {
    /// Returns the parts of the layout that may be changed; `None` where none may.
    fn heal_scope(&self) -> Option<Scope> {
        let options = &self.options;
        let scope = Scope {
            ndp: options.ndp.is_none(),
            padding: options.padding.is_none(),
            ntb: options.ntb.is_none(),
        };
        let all = scope.ndp && scope.padding && scope.ntb;
        let wanted = match options.heal {
            Heal::Off => false,
            Heal::Always => true,
            Heal::Auto => all && self.quirk.vendor.is_none(),
        };
        (wanted && options.probe).then_some(scope)
    }

    /// Returns whether silence starts the healing.
    pub(super) fn heals(&self) -> bool {
        self.heal_scope().is_some() && !self.healing.is_exhausted(Instant::now())
    }

    /// Begins anew for the device that was found, with the layout that worked with it before.
    pub(super) fn heal_device(&mut self, device: (u16, u16)) {
        if self.healing.device == Some(device) {
            return;
        }
        let memory = self.healing.memory.take();
        self.healing = Healing {
            memory,
            device: Some(device),
            ..Healing::new(Instant::now())
        };
        if self.heal_scope().is_none() {
            return;
        }
        if self.healing.memory.is_none()
            && let Some(place) = self.options.layout_memory.clone()
        {
            let file = StateFile::<LayoutMemory>::open(place);
            if let Some(why) = file.unreadable() {
                let path = file.path().display();
                let text = format!(
                    "which layouts of NTBs worked on earlier runs is not known: {path}: {why}"
                );
                self.tell(Event::Notice { text });
            }
            self.healing.memory = Some(file);
        }
        let healing = &mut self.healing;
        let memory = healing.memory.as_ref();
        // The firmware is not known yet; the latest one that was seen is the likely one.
        let entry = memory.and_then(|file| file.content.latest(device.0, device.1));
        healing.layout = entry.map(|entry| entry.layout);
        healing.remembered = entry.is_some();
    }

    /// Takes the version of the firmware, which is known once the ladder is climbed. Returns `false`
    /// when another layout than the one in use worked with that firmware, which takes a bring-up
    /// anew.
    pub(super) fn heal_firmware(&mut self) -> bool {
        let identity = self.ladder.facts().identity.as_ref();
        let firmware = identity.map_or_else(String::new, |identity| identity.firmware.clone());
        let healing = &mut self.healing;
        if healing.firmware.as_ref() == Some(&firmware) {
            self.tell_remembered();
            return true;
        }
        let known = healing
            .device
            .zip(healing.memory.as_ref())
            .and_then(|((vendor, product), file)| file.content.get(vendor, product, &firmware));
        healing.firmware = Some(firmware);
        healing.remembered = known.is_some();
        let used = std::mem::replace(&mut healing.layout, known);
        if used != known && self.present_layout() != known {
            self.lost(
                Rung::Found,
                "the layout of NTBs was meant for another firmware".into(),
            );
            return false;
        }
        self.tell_remembered();
        true
    }

    /// Reports once that the layout in use is that of an earlier run.
    fn tell_remembered(&mut self) {
        let healing = &mut self.healing;
        if std::mem::take(&mut healing.remembered)
            && let Some(layout) = healing.layout
        {
            let text = format!("{layout}, with which packets came back on an earlier run");
            let step = HealStep::Remembered;
            self.tell(Event::Heal(HealEvent { step, layout, text }));
        }
    }

    /// Returns the layout of NTBs in use.
    fn present_layout(&self) -> Option<Layout> {
        let negotiated = self.device.as_ref()?.negotiated.as_ref()?;
        Some(negotiated.layout())
    }

    /// Handles the data path's verdict on session 0. Returns whether the healing deals with it, so
    /// that nothing needs to be reported.
    pub(super) fn heal_judged(&mut self, verdict: Verdict) -> bool {
        let paddings_alone = match verdict {
            Verdict::Answered | Verdict::Recovered => return self.heal_heard(verdict),
            Verdict::NeverAnswered { .. } if self.healing.is_exhausted(Instant::now()) => {
                return true;
            }
            Verdict::FellSilent { filled: false, .. } => return false,
            Verdict::FellSilent { .. } => true,
            Verdict::NeverAnswered { .. } => self.healing.carried,
        };
        self.healing.machine.is_active() || self.heal_doubt(paddings_alone)
    }

    /// Handles the verdict that something came in on session 0. Returns whether nothing needs to be
    /// reported.
    fn heal_heard(&mut self, verdict: Verdict) -> bool {
        let healer = &mut self.healing.machine;
        let looked_into = healer.is_active();
        healer.heard();
        // While other layouts are tried, the datagram may have come by another than the first.
        self.healing.carried |= !healer.is_active();
        looked_into || verdict == Verdict::Answered
    }

    /// Starts the healing of a silence, which may be due to the padding alone. Returns whether there
    /// is anything to try.
    fn heal_doubt(&mut self, paddings_alone: bool) -> bool {
        let (Some(first), Some(scope)) = (self.present_layout(), self.scope_now(paddings_alone))
        else {
            return false;
        };
        let healing = &mut self.healing;
        healing.paddings_tried += u32::from(paddings_alone);
        let number = RandomState::new().hash_one(0);
        let format_first = healing.empty_headers && scope.ntb;
        let now = Instant::now();
        healing
            .machine
            .start(now, first, scope, format_first, number);
        let looked_into = healing.machine.is_active();
        if looked_into && let Some(session) = self.sessions.first_mut() {
            session.machine.look_again(now);
        }
        looked_into
    }

    /// Returns the parts of the layout that may be changed on this device and in this state; `None`
    /// when nothing is tried any more.
    fn scope_now(&self, paddings_alone: bool) -> Option<Scope> {
        let scope = self.heal_scope()?;
        let negotiated = self.device.as_ref()?.negotiated.as_ref()?;
        let healing = &self.healing;
        // Frames that come without NTBs have no layout.
        if negotiated.framing.bare
            || healing.is_exhausted(Instant::now())
            || (paddings_alone && healing.paddings_tried >= MOST_PADDINGS)
        {
            return None;
        }
        let addresses = self.sessions.first().and_then(|session| {
            let status = session.machine.status();
            status.addresses
        });
        let mtu = addresses.map_or(0, |addresses| usize::from(addresses.mtu));
        let header = if self.carries_frames() {
            ETHERNET_HEADER
        } else {
            0
        };
        let longest = mtu + usize::from(header);
        Some(Scope {
            ndp: scope.ndp && !paddings_alone && negotiated.has_room_in_front(longest),
            ntb: scope.ntb && !paddings_alone && negotiated.knows_both_formats(),
            padding: scope.padding,
        })
    }

    /// Carries out one step of the healing. Returns `false` when there is none.
    pub(super) fn work_healing(&mut self) -> bool {
        let Some(step) = self.healing.machine.next_step() else {
            return false;
        };
        match step {
            Step::Use(layout) => self.use_layout(layout),
            Step::Renew(layout) => {
                self.healing.layout = Some(layout);
                self.stop_data();
                self.close_session();
                self.lost(Rung::Found, format!("a new session for NTB{}", layout.ntb));
            }
            Step::Probe { identity, fills } => self.send_probes(identity, fills),
            Step::Keep(layout) => self.keep_layout(layout),
            Step::Tell(event) => {
                if event.step == HealStep::PutBack {
                    self.healing.exhausted = Some(Instant::now());
                    self.end_probes();
                }
                self.tell(Event::Heal(event));
            }
            Step::EndProbes => self.end_probes(),
        }
        true
    }

    fn use_layout(&mut self, layout: Layout) {
        self.healing.layout = Some(layout);
        if let Some(held) = self.device.as_mut()
            && let Some(negotiated) = held.negotiated.as_mut()
            && negotiated.layout().ntb == layout.ntb
        {
            negotiated.lay_out(layout);
            let framing = negotiated.framing;
            if let Some(reactor) = held.reactor() {
                reactor.reframe(framing, None);
            }
        }
    }

    /// Lays NTBs out as the program wants from the next one on, and reports to it when they are.
    pub(super) fn choose_layout(&mut self, options: &Options, done: Sender<Result<(), Failure>>) {
        let quirk = self.quirk;
        let held = self.device.as_mut();
        let held = held.filter(|held| held.data_running && held.reactor.is_some());
        let parts = held.and_then(|held| Some((&held.function, held.negotiated.as_mut()?)));
        let refuse = |why: &str| {
            Failure::new(FailureKind::Other, "cannot change the layout of NTBs").because(why)
        };
        let Some((function, negotiated)) = parts else {
            let _ = done.send(Err(
                refuse("no data path is running").of(FailureKind::NotOpen)
            ));
            return;
        };
        if !negotiated.choose(function, options, quirk) {
            let _ = done.send(Err(refuse(
                "another format or another length of the longest NTB takes a new session",
            )));
            return;
        }
        let framing = negotiated.framing;
        let chosen = &mut self.options;
        chosen.ndp = options.ndp;
        chosen.table = options.table;
        chosen.padding = options.padding;
        chosen.max_datagrams = options.max_datagrams;
        chosen.experiment = options.experiment;
        // Who is told that it is done reads in the status what it is, and may be told at once.
        self.publish();
        let told = Box::new(move || {
            let _ = done.send(Ok(()));
        });
        if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
            reactor.reframe(framing, Some(told));
        }
    }

    fn end_probes(&mut self) {
        let eager = self.heals();
        if let Some(reactor) = self.device.as_ref().and_then(|held| held.reactor()) {
            reactor.end_probes(0, eager);
        }
    }

    fn send_probes(&mut self, identity: u16, fills: Fills) {
        let session = self.sessions.first();
        let addresses = session.and_then(|session| session.machine.status().addresses);
        let Some((held, addresses)) = self.device.as_ref().zip(addresses) else {
            return;
        };
        let ethernet = session.and_then(|session| session.machine.ethernet());
        let host = ethernet.map(|ethernet| ethernet.address.unwrap_or(neighbour::LINK_LAYER));
        let probes = |length| match host {
            Some(host) => Probe::ethernet(host, &addresses, identity, length),
            None => Probe::all(&addresses, identity, length),
        };
        let Some((negotiated, reactor)) = held.negotiated.as_ref().zip(held.reactor()) else {
            return;
        };
        let framing = &negotiated.framing;
        match fills {
            Fills::Nothing => reactor.probe(0, probes(0)),
            Fills::Packet => {
                let length = filling_length(framing, held.function.stream());
                for probe in probes(length) {
                    reactor.probe(0, vec![probe]);
                }
            }
            Fills::Ntb => {
                let length = usize::from(addresses.mtu).min(1400);
                let long = framing.max_ntb.saturating_sub(3 * framing.max_packet_size);
                let count = (long / length.max(1) + 1).min(framing.max_datagrams);
                let probes = probes(length).into_iter().cycle();
                reactor.probe(0, probes.take(count).collect());
            }
        }
    }

    fn keep_layout(&mut self, layout: Layout) {
        let healing = &mut self.healing;
        healing.layout = Some(layout);
        healing.carried = true;
        let (Some((vendor, product)), Some(file)) = (healing.device, healing.memory.as_mut())
        else {
            return;
        };
        // Other processes may have changed the file since.
        file.reopen();
        file.content.put(Entry {
            vendor,
            product,
            firmware: healing.firmware.clone().unwrap_or_default(),
            layout,
        });
        if let Err(why) = file.save() {
            let path = file.path().display();
            let text = format!("the next run will not know that this layout works: {path}: {why}");
            self.tell(Event::Notice { text });
        }
    }
}

/// Returns the length of a datagram that makes an NTB fill its last packet, in bytes.
fn filling_length(framing: &Framing, stream: Stream) -> usize {
    let lengths = match is_ethernet(stream) {
        true => FRAME_LENGTHS,
        false => LENGTHS,
    };
    let shortest = lengths.start;
    Builder::filling_length(framing, stream, lengths).unwrap_or(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uwwan_ncm::{Choices, NtbParameters};

    #[test]
    fn probes_fill_the_last_packet_in_every_layout() {
        for placement in [uwwan_ncm::Placement::End, uwwan_ncm::Placement::Front] {
            for format in [uwwan_ncm::Format::Ntb16, uwwan_ncm::Format::Ntb32] {
                for max_packet_size in [64, 512, 1024] {
                    for out_divisor in [1, 4, 32] {
                        let choices = Choices {
                            placement,
                            format,
                            max_packet_size,
                            ..Choices::default()
                        };
                        let parameters = NtbParameters {
                            formats: 3,
                            out_max: 16_384,
                            out_divisor,
                            ..NtbParameters::FALLBACK
                        };
                        let framing = Framing::negotiate(&parameters, &choices);
                        for stream in [Stream::Ips(0), Stream::Ethernet { crc: false }] {
                            let length = filling_length(&framing, stream);
                            let mut builder = Builder::new(framing);
                            let slot = builder.place(stream, length).unwrap();
                            builder.commit(slot, length);
                            // The one byte beyond the full packet is the padding.
                            let sent = builder.finish(&mut vec![0; framing.max_ntb]).length;
                            assert_eq!(sent % max_packet_size, 1, "{framing:?}");
                        }
                    }
                }
            }
        }
    }
}
