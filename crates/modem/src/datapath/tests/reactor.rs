//! The data thread.

use super::*;
use crate::raw::{Raw, RawEvent, To};
use crate::watch::Verdict;

/// A pump that learns when a transfer completes.
struct FakePump {
    descriptors: Vec<(RawFd, bool)>,
    event: Arc<OwnedFd>,
    gone: Arc<std::sync::atomic::AtomicBool>,
}

impl Pump for FakePump {
    fn descriptors(&self) -> &[(RawFd, bool)] {
        &self.descriptors
    }

    fn process(&mut self) -> Result<(), Error> {
        let _ = rustix::io::read(&*self.event, &mut [0; 8]);
        if self.gone.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Gone {
                operation: "poll".into(),
            });
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }
}

fn plan(id: u8, host: &Arc<FakeHost>, counters: &Arc<SessionCounters>) -> SessionPlan {
    SessionPlan {
        id,
        stream: Stream::Ips(id),
        host: host.data(),
        addressing: SessionAddressing {
            mtu: MTU,
            ..SessionAddressing::default()
        },
        ack_filter: false,
        counters: Arc::clone(counters),
    }
}

/// A reactor with scripted queues and hosts.
struct Machine {
    reactor: Reactor,
    reports: mpsc::Receiver<Report>,
    event: Arc<OwnedFd>,
    gone: Arc<std::sync::atomic::AtomicBool>,
    counters: Arc<Counters>,
    interrupt: Fake,
    bulk_in: Fake,
    bulk_out: Fake,
    host: Arc<FakeHost>,
}

impl Machine {
    fn new(mode: Mode) -> Self {
        let event = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let gone = Arc::default();
        let pump = FakePump {
            descriptors: vec![(event.as_raw_fd(), false)],
            event: Arc::clone(&event),
            gone: Arc::clone(&gone),
        };
        let (sender, reports) = mpsc::channel();
        let counters = Arc::<Counters>::default();
        let interrupt = Fake::new(0x82);
        let report = Box::new(move |report| sender.send(report).is_ok());
        let reactor = Reactor::spawn(
            Box::new(pump),
            Some(interrupt.boxed()),
            Arc::clone(&counters),
            None,
            report,
        )
        .unwrap();
        Self {
            reactor,
            reports,
            event,
            gone,
            counters,
            interrupt,
            bulk_in: Fake::new(0x81),
            bulk_out: Fake::new(0x01),
            host: FakeHost::new(mode),
        }
    }

    fn plan(&self) -> DataPlan {
        DataPlan {
            bulk_in: self.bulk_in.boxed(),
            bulk_out: self.bulk_out.boxed(),
            framing: framing(),
            limits: Limits::default(),
            receive: sizes(16_384),
            depth: Depth {
                receive: 4,
                send: 4,
            },
            sessions: vec![plan(0, &self.host, &Arc::default())],
        }
    }

    fn start(&self) {
        let running = self.reactor.start(self.plan()).unwrap();
        assert_eq!((running.receive_transfers, running.send_transfers), (4, 4));
    }

    fn ring(&self) {
        rustix::io::write(&*self.event, &1u64.to_ne_bytes()).unwrap();
    }

    /// Completes the oldest transfer to the modem, if there is one, and returns the number of datagrams
    /// that were sent so far.
    fn complete_one(&self) -> usize {
        let mut out = self.bulk_out.lock();
        if let Some(buffer) = out.pending.pop_front() {
            let result = Ok(0);
            out.completed.push_back(Completion { buffer, result });
        }
        out.sent.iter().map(|ntb| unpack(ntb).len()).sum()
    }

    fn report(&self) -> Report {
        self.reports
            .recv_timeout(Duration::from_secs(10))
            .expect("no report")
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_reactor_moves_datagrams_both_ways() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.start();
        machine.host.sends([packet(1, 60)]);
        machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
        machine.bulk_in.deliver(&pack(&[packet(2, 60)]));
        machine.ring();
        machine.until("receiving", || !machine.host.script().incoming.is_empty());
        machine.until("counting", || {
            machine.counters.snapshot().received_packets == 1
        });
        assert!(machine.reactor.stop_data());
        assert_eq!(machine.bulk_in.pending(), 0, "drained");
        assert_eq!(machine.bulk_out.pending(), 0);
        assert_eq!(machine.counters.snapshot().sent_packets, 1);
        machine.host.sends([packet(3, 60)]);
        machine.start();
        machine.until("sending again", || machine.bulk_out.lock().sent.len() == 2);
    }
}

#[test]
fn notifications_and_halts_are_reported() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.until("listening", || machine.interrupt.pending() == 4);
        let notification = [0xa1, 1, 0, 0, 0, 0, 0, 0];
        machine.interrupt.deliver(&notification);
        machine.ring();
        let Report::Notification(bytes) = machine.report() else {
            panic!("no notification");
        };
        assert_eq!(bytes, notification);
        machine.interrupt.complete(Err(TransferError::Stall));
        machine.ring();
        machine.until("cancelling", || machine.interrupt.lock().cancelled > 0);
        machine.ring();
        assert!(matches!(machine.report(), Report::Halted(0x82)));
        machine.reactor.halt_cleared(0x82);
        machine.until("listening again", || {
            machine.interrupt.lock().pending.len() == 4
        });
        machine.start();
        machine.bulk_in.complete(Err(TransferError::Stall));
        machine.ring();
        machine.until("cancelling", || machine.bulk_in.lock().cancelled > 0);
        machine.ring();
        assert!(matches!(machine.report(), Report::Halted(0x81)));
        machine.reactor.halt_cleared(0x81);
        machine.until("receiving again", || {
            machine.bulk_in.lock().pending.len() == 4
        });
    }
}

#[test]
fn a_device_that_goes_ends_the_reactor_once() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.start();
        machine
            .gone
            .store(true, std::sync::atomic::Ordering::Relaxed);
        machine.ring();
        assert!(matches!(machine.report(), Report::Ended(Fault::Gone)));
        assert!(machine.reactor.stop_data(), "orders are still followed");
        drop(machine.reactor);
        assert!(machine.reports.try_iter().next().is_none());
    }
}

#[test]
fn a_host_end_that_breaks_ends_the_data_path_alone() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.start();
        machine.host.script().broken = true;
        machine.host.sends([packet(1, 60)]);
        assert!(matches!(machine.report(), Report::DataLost(Fault::Host(_))));
        machine.host.script().broken = false;
        machine.start();
        machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
    }
}

#[test]
fn a_host_end_that_is_closed_ends_the_data_path_alone() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.start();
        machine.host.script().closed = true;
        machine.host.sends([]);
        assert!(matches!(machine.report(), Report::DataLost(Fault::Host(_))));
        machine.host.script().closed = false;
        machine.host.sends([packet(1, 60)]);
        machine.start();
        machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
    }
}

#[test]
fn a_further_session_comes_and_goes_beside_the_first() {
    for mode in Mode::BOTH {
        let machine = Machine::new(mode);
        machine.start();
        let other = FakeHost::new(mode);
        let counters = Arc::default();
        machine.reactor.add_session(plan(3, &other, &counters));
        other.sends([packet(1, 60)]);
        machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
        machine.bulk_out.complete(Ok(0));
        machine.ring();
        machine.host.sends([packet(2, 60)]);
        machine.until("sending both", || machine.bulk_out.lock().sent.len() == 2);
        machine.bulk_in.deliver(&pack_for(3, &[packet(4, 80)]));
        machine.bulk_in.deliver(&pack(&[packet(5, 90)]));
        machine.ring();
        machine.until("receiving", || {
            other.script().incoming == [packet(4, 80)]
                && machine.host.script().incoming == [packet(5, 90)]
        });
        machine.until("counting", || {
            let carried = counters.snapshot();
            (carried.sent_packets, carried.sent_bytes) == (1, 60)
                && (carried.received_packets, carried.received_bytes) == (1, 80)
        });
        // The first datagram that comes in is reported once for each session.
        let mut answered = [machine.report(), machine.report()].map(|report| match report {
            Report::Verdict(session, Verdict::Answered) => session,
            _ => panic!("another report"),
        });
        answered.sort_unstable();
        assert_eq!(answered, [0, 3]);
        // The host of one session fails, and the others go on.
        other.script().broken = true;
        other.sends([]);
        assert!(matches!(
            machine.report(),
            Report::SessionLost(3, Fault::Host(_))
        ));
        machine.bulk_out.complete(Ok(0));
        machine.host.sends([packet(6, 60)]);
        machine.until("sending on", || machine.bulk_out.lock().sent.len() == 3);
        // Once added again, the session continues its counts; once removed, its datagrams are
        // dropped.
        let again = FakeHost::new(mode);
        machine.reactor.add_session(plan(3, &again, &counters));
        again.sends([packet(9, 60)]);
        machine.until("being on", || counters.snapshot().sent_packets == 2);
        machine.bulk_in.deliver(&pack_for(3, &[packet(7, 20)]));
        machine.ring();
        machine.until("counting on", || counters.snapshot().received_packets == 2);
        machine.reactor.remove_session(3);
        machine.until("dropping", || {
            if !machine.bulk_in.lock().pending.is_empty() {
                machine.bulk_in.deliver(&pack_for(3, &[packet(8, 20)]));
            }
            machine.ring();
            machine.counters.snapshot().no_session > 0
        });
    }
}

/// The kernel's memory is for all transfers together: memory that one direction has taken it gives
/// to the other, down to one transfer each.
#[test]
fn scarce_memory_is_shared() {
    for mode in Mode::BOTH {
        for transfers in 0..=8 {
            let machine = Machine::new(mode);
            let budget = Arc::new(Mutex::new(transfers * 16_384));
            for queue in [&machine.bulk_in, &machine.bulk_out] {
                queue.lock().budget = Some(Arc::clone(&budget));
            }
            let running = match machine.reactor.start(machine.plan()) {
                Ok(running) => running,
                Err(fault) => {
                    assert!(matches!(fault, Fault::Memory(_)), "{fault}");
                    assert_eq!(transfers, 0);
                    continue;
                }
            };
            assert_eq!(running.receive_transfers, transfers.min(4));
            machine.host.sends([packet(1, 60)]);
            if transfers == 1 {
                let lost = machine.report();
                assert!(
                    matches!(lost, Report::DataLost(Fault::Memory(_))),
                    "{lost:?}"
                );
                continue;
            }
            machine.until("sending", || {
                machine.ring();
                !machine.bulk_out.lock().sent.is_empty()
            });
            machine.until("receiving transfers", || {
                machine.ring();
                !machine.bulk_in.lock().pending.is_empty()
            });
            // No datagram is lost, however often it has to wait.
            for number in 2..30 {
                machine.host.sends([packet(number, 60)]);
                machine.bulk_in.deliver(&pack(&[packet(number, 80)]));
                machine.until("both ways", || {
                    let sent = machine.complete_one();
                    machine.ring();
                    let received = machine.host.script().incoming.len();
                    let waiting = machine.bulk_in.lock().pending.len();
                    (sent, received) == (number as usize, number as usize - 1) && waiting > 0
                });
            }
        }
    }
}

#[test]
fn what_comes_after_ntbs_of_a_program_is_told_and_delivered() {
    let machine = Machine::new(Mode::Single);
    let begin = || {
        let ntbs = vec![b"anything".to_vec()];
        Raw::new(To::Data, ntbs, Duration::from_secs(60), None).unwrap()
    };
    let (raw, mut listener) = begin();
    machine.reactor.send_raw(raw);
    let Some(RawEvent::Failed { failure }) = listener.next() else {
        panic!("there is no data path");
    };
    assert_eq!(failure.kind, crate::FailureKind::NotOpen);

    machine.start();
    let (raw, mut listener) = begin();
    machine.reactor.send_raw(raw);
    machine.until("sending", || !machine.bulk_out.lock().sent.is_empty());
    assert_eq!(machine.bulk_out.lock().sent, [b"anything"]);
    let (other, mut refused) = begin();
    machine.reactor.send_raw(other);
    assert!(
        matches!(refused.next(), Some(RawEvent::Failed { .. })),
        "one at a time"
    );
    machine.bulk_out.complete(Ok(8));
    machine.ring();
    assert!(matches!(
        listener.next(),
        Some(RawEvent::Sent { error: None, .. })
    ));
    let ntb = pack(&[packet(2, 60)]);
    machine.bulk_in.deliver(&ntb);
    machine.ring();
    let Some(RawEvent::Came { bytes, .. }) = listener.next() else {
        panic!("nothing came");
    };
    assert_eq!(bytes, ntb);
    machine.until("receiving", || !machine.host.script().incoming.is_empty());
    // The end of the data path ends the program's sending.
    assert!(machine.reactor.stop_data());
    assert!(matches!(listener.next(), Some(RawEvent::Failed { .. })));
    assert!(listener.next().is_none());
}

/// The control thread is asked for a smaller size, and then told which resources are in use; the
/// other direction gets the memory it needs.
#[test]
fn scarce_memory_asks_for_a_smaller_size() {
    for mode in Mode::BOTH {
        for kilobytes in [64, 96, 128, 300] {
            let machine = Machine::new(mode);
            let budget = Arc::new(Mutex::new(kilobytes * 1024));
            for queue in [&machine.bulk_in, &machine.bulk_out] {
                queue.lock().budget = Some(Arc::clone(&budget));
            }
            let plan = DataPlan {
                receive: ReceiveSizes {
                    least: 16_384,
                    ..sizes(65_536)
                },
                ..machine.plan()
            };
            let running = machine.reactor.start(plan).unwrap();
            assert_eq!(running.receive_transfers, 4);
            let mut size = 65_536;
            let mut transfers = 4;
            for number in 0..40 {
                machine.host.sends([packet(number, 60)]);
                machine.bulk_in.deliver(&pack(&[packet(number, 80)]));
                machine.until("both ways", || {
                    let sent = machine.complete_one();
                    while let Ok(report) = machine.reports.try_recv() {
                        match report {
                            Report::ShortOfMemory => {
                                size /= 2;
                                machine.reactor.resize(size, 16_384);
                            }
                            Report::Running(running) => transfers = running.receive_transfers,
                            Report::Verdict(..) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                    machine.ring();
                    let received = machine.host.script().incoming.len();
                    let waiting = machine.bulk_in.lock().pending.len();
                    let all = number as usize + 1;
                    (sent, received) == (all, all) && waiting > 0
                });
            }
            let expected = match kilobytes {
                300 => 65_536,
                128 => 32_768,
                _ => 16_384,
            };
            assert!(size <= expected, "{kilobytes} KiB: {size}");
            assert!(size == 16_384 || transfers == 4, "{kilobytes} KiB: {size}");
        }
    }
}
