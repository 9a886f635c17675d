//! The emulated modem through the USB backend trait, as a driver meets it.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{
    ContextIpType, Modem, OPEN, QUERY, SET, Status, basic, command, connect_set, emulator,
};
use uwwan_emulator::{Emulator, FarSide};
use uwwan_ncm::Placement;
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::device::{Queue, Setup};
use uwwan_usb::error::{Error, TransferError};
use uwwan_usb::observed::{Observer, Opened, Seen};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_device_is_listed_as_a_linux_host_leaves_it() {
    let emulator = emulator("");
    let found = emulator.backend().devices().unwrap();
    assert_eq!(found.len(), 1);
    let found = &found[0];
    assert_eq!(found.active_configuration, Some(2));
    assert_eq!(found.descriptors.configurations.len(), 3);
    assert!(found.descriptors.faults.is_empty());
    let drivers: Vec<&str> = found.kernel_drivers.iter().map(|(_, d)| &**d).collect();
    assert_eq!(
        drivers,
        [
            "cdc_ether",
            "cdc_ether",
            "option",
            "option",
            "option",
            "option",
            "option"
        ]
    );
    assert_eq!(
        found.identity.product_name.as_deref(),
        Some("HP lt4132 LTE/HSPA+ 4G Module")
    );
}

/// Keeps what is reported to it as text.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn is_active(&self) -> bool {
        true
    }

    fn opened(&self, opened: &Opened<'_>) {
        let line = format!("opened in {}", opened.active_configuration);
        self.0.lock().unwrap().push(line);
    }

    fn transfer(&self, seen: &Seen<'_>) {
        let Seen {
            moment,
            kind,
            endpoint,
            ..
        } = seen;
        let setup = seen.setup.map(|setup| format!(" {setup:02x?}"));
        let line = format!(
            "{moment:?} {kind:?} {endpoint:02x}{} {} {:02x?}",
            setup.unwrap_or_default(),
            seen.length,
            seen.data
        );
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn an_observer_is_told_of_every_request_and_transfer_of_a_program() {
    let emulator = emulator("");
    let backend = emulator.backend();
    let notes = Arc::<Notes>::default();
    backend.observe(Arc::clone(&notes) as Arc<dyn Observer>);
    let device = backend.open(&backend.devices().unwrap()[0]).unwrap();
    for interface in 0..7 {
        device.detach_kernel_driver(interface).unwrap();
    }
    device.set_configuration(0).unwrap();
    device.set_configuration(3).unwrap();
    for interface in 0..3 {
        device.detach_kernel_driver(interface).unwrap();
        device.claim(interface).unwrap();
    }
    device.set_alternate_setting(1, 1).unwrap();
    let size = Setup {
        request_type: 0x21,
        request: 0x85,
        value: 0,
        index: 0,
    };
    let mut answer = [0; 4];
    assert_eq!(device.control_in(size, &mut answer, SECOND).unwrap(), 4);
    let serial = device.descriptors().configuration(3).unwrap();
    let serial = serial
        .interfaces
        .iter()
        .find(|one| one.number == 2)
        .unwrap();
    let mut ends = serial.alternates[0].endpoints.iter();
    let out = ends.find(|end| end.kind == TransferKind::Bulk && !end.is_in());
    let out = out.unwrap().address;
    device.clear_halt(out).unwrap();
    let mut queue = device.queue(out).unwrap();
    let mut buffer = queue.allocate(1);
    buffer.bytes_mut()[0] = b'\r';
    buffer.set_len(1);
    queue.submit(buffer).unwrap();
    assert_eq!(queue.next(SECOND).unwrap().result, Ok(1));
    drop(queue);
    let expected = [
        "opened in 2".to_owned(),
        "Submitted Control 00 [00, 09, 00, 00, 00, 00, 00, 00] 0 []".to_owned(),
        "Completed(0) Control 00 0 []".to_owned(),
        "Submitted Control 00 [00, 09, 03, 00, 00, 00, 00, 00] 0 []".to_owned(),
        "Completed(0) Control 00 0 []".to_owned(),
        "Submitted Control 00 [01, 0b, 01, 00, 01, 00, 00, 00] 0 []".to_owned(),
        "Completed(0) Control 00 0 []".to_owned(),
        "Submitted Control 80 [a1, 85, 00, 00, 00, 00, 04, 00] 4 []".to_owned(),
        format!("Completed(0) Control 80 4 {answer:02x?}"),
        format!("Submitted Control 00 [02, 01, 00, 00, {out:02x}, 00, 00, 00] 0 []"),
        "Completed(0) Control 00 0 []".to_owned(),
        format!("Submitted Bulk {out:02x} 1 [0d]"),
        format!("Completed(0) Bulk {out:02x} 1 []"),
    ];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[test]
fn bound_drivers_and_claims_keep_the_configuration() {
    let emulator = emulator("");
    let backend = emulator.backend();
    let device = backend.open(&backend.devices().unwrap()[0]).unwrap();
    assert!(matches!(
        device.set_configuration(0),
        Err(Error::Busy { .. })
    ));
    assert!(matches!(device.claim(0), Err(Error::Busy { .. })));
    for interface in 0..7 {
        device.detach_kernel_driver(interface).unwrap();
    }
    device.claim(2).unwrap();
    assert!(matches!(
        device.set_configuration(0),
        Err(Error::Busy { .. })
    ));
    device.release(2).unwrap();
    device.set_configuration(0).unwrap();
    assert_eq!(device.active_configuration().unwrap(), 0);
}

#[test]
fn a_direct_switch_leaves_mbim_mute_and_all_else_working() {
    let emulator = emulator("");
    let modem = Modem::switch(&emulator, &[3]);
    modem.prepare_data();
    modem.send(&OPEN);
    // An answer to OPEN would have come before that to the AT command.
    assert_eq!(modem.at("AT"), "\r\nOK\r\n");
    assert_eq!(modem.get(), b"");
    assert_eq!(emulator.report().total_violations(), 0);
}

#[test]
fn through_zero_mbim_opens_unless_hurried() {
    let emulator = emulator("settle_ms=30");
    let modem = Modem::switch(&emulator, &[0, 3]);
    modem.prepare_data();
    modem.send(&OPEN);
    assert_eq!(modem.get(), b"");
    drop(modem);
    let modem = Modem::switch_with_pause(&emulator, &[0, 3], Duration::from_millis(40));
    modem.prepare_data();
    modem.send(&OPEN);
    assert_eq!(modem.get()[..4], [1, 0, 0, 0x80]);
}

/// Returns the modem, ready for data, and the queue of its interrupt endpoint with a transfer in flight.
fn with_interrupt(emulator: &Emulator) -> (Modem, Box<dyn Queue>) {
    let modem = Modem::switch(emulator, &[0, 3]);
    modem.prepare_data();
    let mut interrupt = modem.device.queue(0x82).unwrap();
    let buffer = interrupt.allocate(16);
    interrupt.submit(buffer).map_err(|_| "submit").unwrap();
    (modem, interrupt)
}

#[test]
fn notifications_come_through_the_interrupt_endpoint() {
    let emulator = emulator("settle_ms=0");
    let (modem, mut interrupt) = with_interrupt(&emulator);
    assert!(interrupt.next(Duration::from_millis(20)).is_none());
    modem.send(&OPEN);
    let done = interrupt.next(SECOND).unwrap();
    assert_eq!(done.result, Ok(8));
    assert_eq!(done.buffer.filled(), [0xa1, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_wait_is_interrupted_from_another_thread() {
    let emulator = emulator("settle_ms=0");
    let (_modem, mut interrupt) = with_interrupt(&emulator);
    let interrupter = interrupt.interrupter().expect("an interrupter");
    let waiter = std::thread::spawn(move || {
        let long = 36_000 * SECOND;
        // The interrupt ends the call in progress and every later one; completions are still taken.
        assert!(interrupt.next(long).is_none() && interrupt.next(long).is_none());
        interrupt.cancel_all();
        loop {
            if let Some(done) = interrupt.next(long) {
                break done.result;
            }
            std::thread::yield_now();
        }
    });
    interrupter.interrupt();
    assert_eq!(waiter.join().unwrap(), Err(TransferError::Cancelled));
}

#[test]
fn packets_go_out_and_come_back() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    ends.ping(Placement::End, 1);
    let answer = ends
        .receive(5 * SECOND)
        .unwrap_or_else(|| panic!("no echo reply: {:?}", emulator.report()));
    assert_eq!(answer[9], 1, "ICMP");
    assert_eq!(answer[20], 0, "echo reply");
    assert_eq!(answer[16..20], [10, 169, 198, 77]);
    let report = emulator.report();
    assert_eq!(report.total_violations(), 0, "{:?}", report.violations);
    assert_eq!(report.counters.datagrams_out, 1);
    assert_eq!(report.counters.blocks_in, 1);
}

#[test]
fn ndps_in_front_fall_into_the_black_hole() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    for sequence in 0..5 {
        ends.ping(Placement::Front, sequence);
    }
    assert!(ends.receive(Duration::from_millis(100)).is_none());
    let report = emulator.report();
    assert_eq!(report.counters.black_holed, 5);
    assert_eq!(report.counters.datagrams_out, 0);
    assert_eq!(report.total_violations(), 0, "{:?}", report.violations);
    emulator.adjust(|knobs| knobs.black_hole_ndp_front = false);
    ends.ping(Placement::Front, 5);
    assert!(ends.receive(5 * SECOND).is_some());
}

#[test]
fn broken_ntbs_are_violations_and_do_no_harm() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    for length in [
        1usize, 11, 12, 100, 511, 512, 513, 4096, 16384, 16385, 40000,
    ] {
        let mut buffer = ends.output.allocate(length);
        buffer.bytes_mut().fill(0xa5);
        buffer.set_len(length);
        ends.output.submit(buffer).map_err(|_| "submit").unwrap();
        assert!(ends.output.next(SECOND).unwrap().result.is_ok());
    }
    // An NTB without the short packet that would end it waits for more bytes.
    let before = emulator.report().total_violations();
    assert!(before >= 8, "{before}");
    ends.restart();
    ends.ping(Placement::End, 1);
    assert!(ends.receive(5 * SECOND).is_some());
}

#[test]
fn several_sessions_have_their_own_addresses() {
    let emulator = emulator("settle_ms=0,ipv6=on");
    let modem = Modem::online(&emulator);
    let mut connect = connect_set("second", ContextIpType::IPV4);
    connect[0] = 5;
    assert_eq!(
        modem.command(20, basic::CONNECT, SET, &connect).0,
        Status::NONE
    );
    let mut ends = modem.data_queues();
    ends.ping_from(5, Placement::End, 1);
    let answer = ends.receive(5 * SECOND).expect("an echo reply");
    assert_eq!(answer[16..20], [10, 169, 198, 97]);
    assert_eq!(ends.last_session, 5);
    ends.ping_from(0, Placement::End, 2);
    assert!(ends.receive(5 * SECOND).is_some());
    assert_eq!(ends.last_session, 0);
    assert_eq!(emulator.report().total_violations(), 0);
}

#[test]
fn unplugging_ends_everything_pending() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    for _ in 0..16 {
        let buffer = ends.input.allocate(16384);
        ends.input.submit(buffer).map_err(|_| "submit").unwrap();
    }
    emulator.unplug();
    let mut gone = 0;
    while let Some(done) = ends.input.next(SECOND) {
        assert_eq!(done.result, Err(TransferError::Gone));
        gone += 1;
    }
    assert!(gone >= 16);
    assert!(emulator.backend().devices().unwrap().is_empty());
    assert!(matches!(
        modem.device.active_configuration(),
        Err(Error::Gone { .. })
    ));
    let buffer = ends.input.allocate(512);
    assert!(ends.input.submit(buffer).is_err());
    emulator.plug();
    let found = emulator.backend().devices().unwrap();
    assert_ne!(found[0].identity.address, modem.device.identity().address);
    assert_eq!(found[0].identity.port, modem.device.identity().port);
}

#[test]
fn the_unlock_survives_a_reset() {
    let emulator = emulator("settle_ms=0,absent_ms=50");
    let modem = Modem::online(&emulator);
    assert_eq!(
        modem
            .command(
                30,
                basic::CONNECT,
                SET,
                &connect_set("telenor.smart", ContextIpType::IPV6)
            )
            .0,
        Status::NONE,
        "session 0 is up already"
    );
    assert_eq!(modem.at("AT^PLMNLIST=1,\"99999\",\"24201\""), "\r\nOK\r\n");
    assert_eq!(modem.at("AT^RESET"), "\r\nOK\r\n");
    let deadline = Instant::now() + 10 * SECOND;
    let old = modem.device.identity().address;
    loop {
        let found = emulator.backend().devices().unwrap();
        if found
            .first()
            .is_some_and(|found| found.identity.address != old)
        {
            assert_eq!(found[0].active_configuration, Some(2));
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the device does not come back: {} {:?} {}",
            emulator.is_present(),
            emulator.report(),
            found.len()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(modem);
    let modem = Modem::switch(&emulator, &[0, 3]);
    modem.prepare_data();
    assert_eq!(modem.at("AT^IPV6CAP?"), "\r\n^IPV6CAP: 7\r\n\r\nOK\r\n");
    modem.send(&OPEN);
    modem.get();
    let (status, info) = modem.command(
        2,
        basic::CONNECT,
        SET,
        &connect_set("telenor.smart", ContextIpType::IPV4V6),
    );
    assert_eq!((status, info[12]), (Status::NONE, 3));
    assert_eq!(emulator.report().counters.resets, 1);
}

/// The random events differ at each power-on, so that a device may leave again and again.
#[test]
fn the_device_leaves_by_chance_and_comes_back() {
    for (knob, resets) in [("replug_ppm", 0), ("reset_ppm", 2)] {
        let emulator = emulator(&format!("settle_ms=0,absent_ms=1,{knob}=1000000"));
        for time in 1..=2 {
            let modem = Modem::online(&emulator);
            let mut ends = modem.data_queues();
            let packet = common::echo_request(0, 1);
            let ntb = common::ntb(&mut ends.builder, 0, &packet);
            ends.output.submit(ntb).map_err(|_| "submit").unwrap();
            let old = modem.device.identity().address;
            let deadline = Instant::now() + 10 * SECOND;
            loop {
                let found = emulator.backend().devices().unwrap();
                if found.iter().any(|found| found.identity.address != old) {
                    break;
                }
                assert!(Instant::now() < deadline, "{knob}: not back, time {time}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert_eq!(emulator.report().counters.resets, resets, "{knob}");
    }
}

#[test]
fn stalls_clear_and_cancelled_transfers_come_back() {
    let emulator = emulator("settle_ms=0,stall_out_after=2");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    ends.ping(Placement::End, 1);
    let result = ends.try_ping(Placement::End, 2);
    assert_eq!(result, Err(TransferError::Stall));
    assert_eq!(ends.try_ping(Placement::End, 3), Err(TransferError::Stall));
    modem.device.clear_halt(0x01).unwrap();
    ends.ping(Placement::End, 4);
    let pending = ends.input.pending();
    ends.input.cancel_all();
    let mut cancelled = 0;
    while let Some(done) = ends.input.next(SECOND) {
        cancelled += usize::from(done.result == Err(TransferError::Cancelled));
    }
    assert!(cancelled > 0 && cancelled <= pending);
}

#[test]
fn a_reactor_sees_completions_through_the_pump() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    let mut pump = modem.device.pump().unwrap();
    assert!(matches!(modem.device.pump(), Err(Error::Busy { .. })));
    let packet = common::echo_request(0, 1);
    let ntb = common::ntb(&mut ends.builder, 0, &packet);
    ends.output.submit(ntb).map_err(|_| "submit").unwrap();
    let deadline = Instant::now() + 5 * SECOND;
    loop {
        // No completion is visible before events were handled.
        assert!(!pump.descriptors().is_empty());
        std::thread::sleep(Duration::from_millis(1));
        assert!(ends.input.try_next().is_none());
        pump.process().unwrap();
        if ends.input.try_next().is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "no completion");
    }
    assert!(ends.output.try_next().is_some());
    emulator.unplug();
    assert!(matches!(pump.process(), Err(Error::Gone { .. })));
}

#[test]
fn chapter_9_requests_are_answered() {
    let emulator = emulator("start_configuration=3,host_drivers=none");
    let backend = emulator.backend();
    let device = backend.open(&backend.devices().unwrap()[0]).unwrap();
    let get = |request_type, request, value, index, length: usize| {
        let mut data = vec![0; length];
        let setup = Setup {
            request_type,
            request,
            value,
            index,
        };
        device.control_in(setup, &mut data, SECOND).map(|length| {
            data.truncate(length);
            data
        })
    };
    let set = |request_type, request, value, index| {
        let setup = Setup {
            request_type,
            request,
            value,
            index,
        };
        device.control_out(setup, &[], SECOND)
    };
    assert_eq!(get(0x80, 6, 0x0100, 0, 8).unwrap().len(), 8);
    assert_eq!(get(0x80, 6, 0x0100, 0, 255).unwrap().len(), 18);
    assert_eq!(get(0x80, 6, 0x0202, 0, 4096).unwrap().len(), 137);
    assert!(matches!(
        get(0x80, 6, 0x0203, 0, 9),
        Err(Error::Stall { .. })
    ));
    assert!(matches!(
        get(0x80, 6, 0x0f00, 0, 5),
        Err(Error::Stall { .. })
    ));
    assert_eq!(get(0x80, 8, 0, 0, 1).unwrap(), [3]);
    assert_eq!(get(0x80, 0, 0, 0, 2).unwrap(), [0, 0]);
    set(0x00, 3, 1, 0).unwrap();
    assert_eq!(get(0x80, 0, 0, 0, 2).unwrap(), [2, 0]);
    set(0x00, 1, 1, 0).unwrap();
    assert_eq!(get(0x81, 10, 0, 1, 1).unwrap(), [0]);
    assert!(set(0x01, 11, 2, 1).is_err());
    set(0x01, 11, 1, 1).unwrap();
    assert_eq!(get(0x81, 10, 0, 1, 1).unwrap(), [1]);
    assert!(get(0x81, 10, 0, 9, 1).is_err());
    set(0x02, 3, 0, 0x81).unwrap();
    assert_eq!(get(0x82, 0, 0, 0x81, 2).unwrap(), [1, 0]);
    set(0x02, 1, 0, 0x81).unwrap();
    assert_eq!(get(0x82, 0, 0, 0x81, 2).unwrap(), [0, 0]);
    assert!(get(0x82, 0, 0, 0x8f, 2).is_err());
    assert!(set(0x00, 9, 4, 0).is_err());
    set(0x00, 9, 0, 0).unwrap();
    assert!(get(0x81, 10, 0, 1, 1).is_err());
    assert!(get(0x82, 0, 0, 0x81, 2).is_err());
    let text = get(0x80, 6, 0x0302, 0x0409, 255).unwrap();
    assert_eq!(usize::from(text[0]), text.len());
}

#[test]
fn other_commands_reach_the_firmware() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let (status, info) = modem.command(9, basic::DEVICE_SERVICES, QUERY, &[]);
    assert_eq!((status, info[0]), (Status::NONE, 5));
    modem.send(&command(10, basic::DEVICE_CAPS, QUERY, &[])[..40]);
    assert_eq!(modem.get()[12..16], [3, 0, 0, 0], "length mismatch");
    assert!(emulator.report().total_violations() > 0);
    let mut seen = String::new();
    emulator.on_violation(Box::new(|_| ()));
    for violation in emulator.report().violations {
        seen += &violation.to_string();
    }
    assert!(seen.contains("length_mismatch"), "{seen}");
}

#[test]
fn a_packet_descriptor_pushes_back_and_loses_nothing() {
    let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let knobs = "settle_ms=0".parse().unwrap();
    let emulator = Emulator::new(knobs, FarSide::Descriptor(far.into())).unwrap();
    let modem = Modem::online(&emulator);
    let mut ends = modem.data_queues();
    let mut sent = 0u16;
    // More packets are sent than the socket holds, so that transfers stay pending.
    while ends.output.pending() < 8 {
        let ntb = common::ntb(&mut ends.builder, 0, &common::echo_request(0, sent));
        ends.output.submit(ntb).map_err(|_| "submit").unwrap();
        sent += 1;
        while ends.output.next(Duration::from_millis(20)).is_some() {}
        assert!(sent < 10_000, "nothing pushes back");
    }
    near.set_read_timeout(Some(5 * SECOND)).unwrap();
    let mut packet = [0; 2048];
    for sequence in 0..sent {
        let length = near.recv(&mut packet).unwrap();
        assert_eq!(packet[..length], common::echo_request(0, sequence));
    }
    while ends.output.pending() > 0 {
        assert!(ends.output.next(5 * SECOND).unwrap().result.is_ok());
    }
    // The other direction follows.
    let mut answer = common::echo_request(0, 7);
    answer[16..20].copy_from_slice(&[10, 169, 198, 77]);
    near.send(&answer).unwrap();
    assert_eq!(ends.receive(5 * SECOND).unwrap(), answer);
    assert_eq!(emulator.report().counters.blocks_missing, 0);
    assert_eq!(emulator.report().total_violations(), 0);
}

#[test]
fn dropping_in_any_order_is_fine() {
    let emulator = emulator("settle_ms=0");
    let modem = Modem::online(&emulator);
    let ends = modem.data_queues();
    drop(emulator);
    drop(ends);
    drop(modem);
}
