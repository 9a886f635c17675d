//! Traffic and error counters.
//!
//! The reactor counts in a plain [`Tally`] and publishes it once per round into the shared
//! [`Counters`], so that counting costs no atomic read-modify-write and readers take no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::{Counter, Direction, HostCalls, Traffic};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts that the reactor keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
            /// NTBs and datagrams from the device that were refused.
            pub refused: uwwan_ncm::DropCounters,
        }

        /// The published copy of a [`Tally`].
        #[derive(Debug, Default)]
        pub struct Counters {
            $($name: AtomicU64,)*
            refused: std::sync::Mutex<uwwan_ncm::DropCounters>,
        }

        impl Counters {
            /// Publishes a tally, of which `last` was published before. There is one writer.
            pub fn publish(&self, tally: &Tally, last: &mut Tally) {
                $(if tally.$name != last.$name {
                    self.$name.store(tally.$name, Ordering::Relaxed);
                })*
                // Refusals are rare, so only they take the lock.
                if tally.refused != last.refused {
                    *self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = tally.refused;
                }
                *last = *tally;
            }

            /// Returns a copy, each counter as of its last publication.
            #[must_use]
            pub fn snapshot(&self) -> Tally {
                Tally {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    refused: *self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
                }
            }
        }
    };
}

counters! {
    /// Datagrams sent to the device.
    sent_packets,
    /// Bytes in these datagrams.
    sent_bytes,
    /// NTBs sent to the device.
    sent_blocks,
    /// Bytes in these NTBs, framing included.
    sent_block_bytes,
    /// Datagrams handed to the host.
    received_packets,
    /// Bytes in these datagrams.
    received_bytes,
    /// NTBs received from the device.
    received_blocks,
    /// Bytes in these NTBs, framing included.
    received_block_bytes,
    /// Packets read from the host.
    host_reads,
    /// Packets written to the host.
    host_writes,
    /// Large packets from the host that were cut.
    host_cut,
    /// Datagrams written to the host as part of a larger packet.
    host_merged,
    /// Payload bytes moved after the read.
    host_moved,
    /// Datagrams to the host with a wrong checksum, not merged.
    host_damaged,
    /// Acknowledgements to the host that the ACK filter left out.
    host_superseded,
    /// NTBs sent because the host had nothing more.
    closed_idle,
    /// NTBs sent because nothing more fitted.
    closed_full,
    /// NTBs sent because they held as many datagrams as the device takes.
    closed_datagrams,
    /// NTBs sent because of another stream.
    closed_stream,
    /// Packets from the host that were not IP, or shorter than an Ethernet header.
    host_not_ip,
    /// Packets from the host that were longer than the MTU.
    host_too_long,
    /// NTBs whose transfer failed on the way to the device.
    lost_in_transfer,
    /// Datagrams made by the driver that found no room.
    own_no_room,
    /// Datagrams dropped because the host took no more for too long.
    host_full,
    /// Datagrams the host refused.
    host_refused,
    /// Datagrams from the device of a session or service that the data path does not have.
    no_session,
    /// Answers to the driver's probes, kept from the host.
    probe_answers,
    /// Neighbour solicitations answered.
    neighbour_answers,
    /// Halts of the bulk IN endpoint.
    receive_stall,
    /// NTBs longer than the agreed size.
    receive_overflow,
    /// Transfer errors from the device.
    receive_fault,
    /// Halts of the bulk OUT endpoint.
    send_stall,
    /// Transfer errors to the device.
    send_fault,
    /// Endpoint halts cleared.
    halts_cleared,
    /// Transfers given up because the kernel had no memory for them.
    transfers_given_up,
    /// Notifications dropped because the control session was behind.
    notifications_dropped,
}

impl Tally {
    /// Returns the counts as `status` prints them. Counters that are zero are left out, except
    /// those of the two directions.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let list = |pairs: &[(&str, u64)]| {
            let nonzero = pairs.iter().filter(|(_, count)| *count != 0);
            nonzero
                .map(|(name, count)| Counter {
                    name: (*name).to_owned(),
                    count: *count,
                })
                .collect::<Vec<_>>()
        };
        let mut dropped = list(&[
            ("host_not_ip", self.host_not_ip),
            ("host_too_long", self.host_too_long),
            ("blocks_lost_in_transfer", self.lost_in_transfer),
            ("own_no_room", self.own_no_room),
            ("host_full", self.host_full),
            ("host_refused", self.host_refused),
            ("no_session", self.no_session),
            ("notifications", self.notifications_dropped),
        ]);
        let refused = self.refused.iter().filter(|(_, count)| *count != 0);
        dropped.extend(refused.map(|(name, count)| Counter {
            name: format!("received_{name}"),
            count,
        }));
        Traffic {
            uplink: Direction {
                packets: self.sent_packets,
                bytes: self.sent_bytes,
                blocks: self.sent_blocks,
                block_bytes: self.sent_block_bytes,
            },
            downlink: Direction {
                packets: self.received_packets,
                bytes: self.received_bytes,
                blocks: self.received_blocks,
                block_bytes: self.received_block_bytes,
            },
            host: HostCalls {
                reads: self.host_reads,
                writes: self.host_writes,
                cut: self.host_cut,
                merged: self.host_merged,
                moved_bytes: self.host_moved,
                damaged: self.host_damaged,
                superseded_acks: self.host_superseded,
            },
            closed: list(&[
                ("idle", self.closed_idle),
                ("full", self.closed_full),
                ("datagrams", self.closed_datagrams),
                ("stream", self.closed_stream),
            ]),
            dropped,
            errors: list(&[
                ("receive_stall", self.receive_stall),
                ("receive_overflow", self.receive_overflow),
                ("receive_fault", self.receive_fault),
                ("send_stall", self.send_stall),
                ("send_fault", self.send_fault),
                ("halts_cleared", self.halts_cleared),
                ("transfers_given_up", self.transfers_given_up),
            ]),
        }
    }
}

/// Traffic that one data session has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SessionTally {
    /// Datagrams put into NTBs.
    pub(crate) sent_packets: u64,
    /// Bytes in these datagrams.
    pub(crate) sent_bytes: u64,
    /// Datagrams handed to the host.
    pub(crate) received_packets: u64,
    /// Bytes in these datagrams.
    pub(crate) received_bytes: u64,
}

/// The published copy of a session's [`SessionTally`], kept over bring-ups. There is one writer.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
}

impl SessionCounters {
    pub(crate) fn publish(&self, carried: &SessionTally) {
        self.sent_packets
            .store(carried.sent_packets, Ordering::Relaxed);
        self.sent_bytes.store(carried.sent_bytes, Ordering::Relaxed);
        self.received_packets
            .store(carried.received_packets, Ordering::Relaxed);
        self.received_bytes
            .store(carried.received_bytes, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> SessionTally {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SessionTally {
            sent_packets: load(&self.sent_packets),
            sent_bytes: load(&self.sent_bytes),
            received_packets: load(&self.received_packets),
            received_bytes: load(&self.received_bytes),
        }
    }

    /// Returns both directions as `status` prints them, without NTBs: those belong to the data
    /// path, not to a session.
    pub(crate) fn directions(&self) -> (Direction, Direction) {
        let carried = self.snapshot();
        let direction = |packets, bytes| Direction {
            packets,
            bytes,
            ..Direction::default()
        };
        (
            direction(carried.sent_packets, carried.sent_bytes),
            direction(carried.received_packets, carried.received_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day at full rate comes to four terabytes.
    #[test]
    fn counters_go_on_beyond_32_bits() {
        let most = u64::from(u32::MAX);
        let counters = Counters::default();
        let mut last = Tally::default();
        for more in 0..3 {
            let tally = Tally {
                sent_packets: most - 1 + more,
                sent_bytes: 4_000_000_000_000 + more,
                received_packets: most + more,
                received_block_bytes: most * 1000 + more,
                host_full: most + 1 + more,
                send_stall: most * 2 + more,
                ..Tally::default()
            };
            counters.publish(&tally, &mut last);
            let traffic = counters.snapshot().traffic();
            let text = serde_json::to_string(&traffic).unwrap();
            assert_eq!(serde_json::from_str::<Traffic>(&text).unwrap(), traffic);
            let found = (
                traffic.uplink.packets,
                traffic.uplink.bytes,
                traffic.downlink.packets,
                traffic.downlink.block_bytes,
                traffic.dropped[0].count,
                traffic.errors[0].count,
            );
            let expected = (
                4_294_967_294 + more,
                4_000_000_000_000 + more,
                4_294_967_295 + more,
                4_294_967_295_000 + more,
                4_294_967_296 + more,
                8_589_934_590 + more,
            );
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn published_counters_read_back() {
        let counters = Counters::default();
        let mut tally = Tally {
            sent_packets: 7,
            host_full: 2,
            ..Tally::default()
        };
        tally.refused.header_zero = 3;
        let mut last = Tally::default();
        counters.publish(&tally, &mut last);
        assert_eq!(counters.snapshot(), tally);
        assert_eq!(last, tally);
        let traffic = counters.snapshot().traffic();
        assert_eq!(traffic.uplink.packets, 7);
        let dropped: Vec<_> = traffic
            .dropped
            .iter()
            .map(|c| (c.name.as_str(), c.count))
            .collect();
        assert_eq!(dropped, [("host_full", 2), ("received_header_zero", 3)]);
        assert!(traffic.errors.is_empty());
    }
}
