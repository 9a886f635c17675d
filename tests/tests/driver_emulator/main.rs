//! The driver against the emulated modem, both in this process: bring-up from every state, each
//! misbehaviour, losses at every rung, and a clean end without a violation.

mod other_ways;
mod scarce;

use std::time::{Duration, Instant};

use uwwan_modem::options::{
    Format, IpType, Mode, Padding, Placement, Secret, SessionOptions, Table,
};
use uwwan_modem::status::Traffic;
use uwwan_modem::{Diagnosis, Event, FailureKind, Modem, Options, Place, Rung, Selector};
use uwwan_tests::bench::{Bench, PATIENCE, emulator, families, quick, quick_session};

#[test]
fn online_from_every_start_state() {
    for configuration in 0..=3 {
        for drivers in ["bound", "late", "none"] {
            let knobs = format!("start_configuration={configuration},host_drivers={drivers}");
            let mut bench = Bench::start(&knobs, quick());
            bench.online();
            let status = bench.handle.status();
            let change = status.configuration.unwrap();
            assert_eq!((change.before, change.after), (configuration, 3), "{knobs}");
            assert!(status.online && status.rung == Some(Rung::Online));
            assert_eq!(
                status.rungs.len(),
                Rung::ALL.len(),
                "every rung has its line"
            );
            bench.ping_through();
            bench.stop();
        }
    }
}

#[test]
fn many_datagrams_none_lost() {
    let mut bench = Bench::start("", quick());
    bench.online();
    bench.ping_many();
    // Counters are published at the end of a round, after the host has received its datagrams.
    let deadline = Instant::now() + PATIENCE;
    let mut traffic = bench.handle.status().traffic;
    while traffic.downlink.packets < 160 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        traffic = bench.handle.status().traffic;
    }
    assert_eq!(
        (traffic.uplink.packets, traffic.downlink.packets),
        (160, 160)
    );
    assert!(traffic.dropped.is_empty(), "{traffic:?}");
    bench.stop();
}

#[test]
fn every_layout_is_accepted() {
    let layouts = [
        Options {
            ntb: Some(Format::Ntb32),
            ..quick()
        },
        Options {
            table: Some(Table::Full),
            padding: Some(Padding::Full),
            ..quick()
        },
        Options {
            padding: Some(Padding::ZeroPacket),
            ..quick()
        },
        Options {
            block_size: Some(2048),
            input_size: Some(2048),
            in_flight: Some(1),
            ..quick()
        },
        Options {
            input_size: Some(65_536),
            in_flight: Some(32),
            ..quick()
        },
    ];
    for options in layouts {
        let mut bench = Bench::start("", options);
        bench.online();
        bench.ping_many();
        bench.stop();
    }
    let front = Options {
        ndp: Some(Placement::Front),
        ..quick()
    };
    let mut bench = Bench::start("black_hole_ndp_front=off", front);
    bench.online();
    bench.ping_many();
    bench.stop();
}

/// The driver must cope with these behaviours as if they did not exist.
#[test]
fn odd_firmware_is_no_obstacle() {
    let knobs = [
        "brand=huawei",
        "slow_open_ms=1500",
        "ntb_remainder=2",
        "ntb_divisor=64,ntb_alignment=64",
        "ntb_max_datagrams=1",
        "ntb_out_max=2048,ntb_in_max=2048",
        "ntb_formats=1",
        "ntb_parameters_length=20",
        "ignore_input_size=on",
        "refuse_input_size=on",
        "refuse_format=on",
        "ntb32_after_alternate=on",
        "ndp_place=front",
        "connect_banner=on",
        "arp_datagram=on",
        "stray_open_done=3",
        "notification_storm=50",
        "lose_notification_every=2",
        "garbage_response_every=3",
        "connect_query_unknown=on",
        "connect_ip_type_wrong=on",
        "mbim_signal_unknown=on",
        "radio_on=off",
        "packet_detached=on",
        "registration_ms=300",
        "connect_ms=300",
        "indication_storm_hz=500",
        "mtu=1400",
        "garbage=64",
    ];
    for knobs in knobs {
        eprintln!("knobs {knobs}");
        let mut bench = Bench::start(knobs, quick());
        bench.online();
        bench.ping_through();
        bench.stop();
    }
}

#[test]
fn ipv6_comes_with_the_operator_in_the_list() {
    let mut bench = Bench::start("ipv6=on,neighbour_solicitation=on", quick());
    bench.online();
    assert_eq!(families(&bench.addresses()), (true, true));
    assert_eq!(bench.addresses().gateway6, None);
    bench.ping_through();
    bench.stop();

    let mut bench = Bench::start("", quick());
    bench.online();
    assert_eq!(families(&bench.addresses()), (true, false));
    let told = bench.seen.iter().any(|event| {
        matches!(event, Event::Notice { text } if text.contains("no IPv6 address") && text.contains("PLMN"))
    });
    assert!(told, "{:#?}", bench.seen);
    bench.stop();

    let six = quick_session(SessionOptions {
        ip_type: IpType::Ipv6,
        ..SessionOptions::default()
    });
    let mut bench = Bench::start("", six);
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Connect));
    assert!(failure.what.contains("no_device_support"), "{failure}");
    assert!(failure.next[0].contains("uwwan ipv6 enable"), "{failure}");
}

#[test]
fn shapes_in_which_ipv6_comes() {
    // A prefix length of 128 is read as 64, because the network routes all of that prefix.
    let mut bench = Bench::start("ipv6=on,ipv6_prefix=128", quick());
    bench.online();
    assert_eq!(bench.addresses().ipv6.unwrap().prefix, 64);
    assert!(bench.answers_ipv6("2001:db8:100::1".parse().unwrap(), PATIENCE));
    bench.stop();

    // With only a link-local address, the host solicits a router, and the advertisement comes
    // through.
    let mut bench = Bench::start("ipv6=on,ipv6_link_local=on", quick());
    bench.online();
    let local = bench.addresses().ipv6.unwrap().address;
    assert_eq!(local.to_string(), "fe80::5a2c:80ff:fe13:9208");
    let advertised = bench
        .solicit_router(PATIENCE)
        .expect("no router advertisement");
    assert_eq!(advertised.to_string(), "2a02:2121:2c4:7105::");
    bench.stop();
}

#[test]
fn refusals_are_explained() {
    let cases = [
        ("sim=absent", quick(), Rung::Sim, "no SIM"),
        ("sim=bad", quick(), Rung::Sim, "SIM"),
        ("pin=1234", quick(), Rung::Pin, "--pin-file"),
        (
            "pin=1234,pin_attempts=1",
            Options {
                pin: Secret::new("1234"),
                ..quick()
            },
            Rung::Pin,
            "--force-pin",
        ),
        (
            "registration=roaming",
            quick(),
            Rung::Registration,
            "--roaming",
        ),
        (
            "apn=internet",
            quick_session(SessionOptions {
                apn: "intranet".into(),
                ..SessionOptions::default()
            }),
            Rung::Connect,
            "--apn",
        ),
        (
            "connect_status=2,connect_cause=33",
            quick(),
            Rung::Connect,
            "subscription",
        ),
    ];
    for (knobs, options, rung, words) in cases {
        let mut bench = Bench::start(knobs, options);
        let failure = bench.failure();
        assert_eq!(failure.rung(), Some(rung), "{knobs}: {failure}");
        assert!(failure.to_string().contains(words), "{knobs}: {failure}");
        let report = bench.emulator.report();
        assert_eq!(
            report.total_violations(),
            0,
            "{knobs}: {:#?}",
            report.violations
        );
    }
}

#[test]
fn broken_descriptors_are_told() {
    for (fault, words) in [
        ("truncated", "wTotalLength 137, but 36 bytes"),
        ("oversized", "wTotalLength 65535, but 137 bytes"),
        ("empty", "offset 31: length 0 with 106 bytes left"),
    ] {
        let emulator = emulator(&format!("descriptors={fault}"));
        // The modem's other modes are in configurations that are intact.
        let options = Options {
            mode: Some(Mode::Mbim),
            ..quick()
        };
        let error = Bench::on(emulator, options, |_, _| {}).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("has no MBIM function"), "{fault}: {text}");
        assert!(text.contains(words), "{fault}: {text}");
    }
}

#[test]
fn a_wrong_pin_costs_one_attempt_however_often_it_is_tried() {
    let options = Options {
        pin: Secret::new("0000"),
        persist: true,
        ..quick()
    };
    let mut bench = Bench::start("pin=1234", options);
    let refused = |event: &Event| matches!(event, Event::RungFailed { failure, .. } if failure.rung() == Some(Rung::Pin));
    let Event::RungFailed { failure, .. } = bench.until("the refusal", refused) else {
        unreachable!()
    };
    assert!(failure.what.contains("2 attempts remaining"), "{failure}");
    for _ in 0..2 {
        let Event::RungFailed { failure, .. } = bench.until("the next refusal", refused) else {
            unreachable!()
        };
        assert!(
            failure.what.contains("2 attempts remaining")
                && failure.what.contains("refused before"),
            "{failure}"
        );
    }
    bench.stop();
    let mut bench = Bench::start(
        "pin=1234",
        Options {
            pin: Secret::new("1234"),
            ..quick()
        },
    );
    bench.online();
    bench.stop();
}

#[test]
fn a_black_hole_is_diagnosed() {
    let options = Options {
        ndp: Some(Placement::Front),
        probe: true,
        ..quick()
    };
    let mut bench = Bench::start("", options);
    bench.online();
    let event = bench.until("the diagnosis", |event| {
        matches!(event, Event::Diagnosis(_))
    });
    let Event::Diagnosis(Diagnosis { text, .. }) = event else {
        unreachable!()
    };
    assert!(
        text.starts_with("nothing comes back: ") && text.contains("--ndp front"),
        "{text}"
    );
    assert!(bench.emulator.report().counters.black_holed > 0);
    bench.stop();

    let probing = Options {
        probe: true,
        ..quick()
    };
    let mut bench = Bench::start("", probing);
    bench.online();
    let deadline = Instant::now() + PATIENCE;
    while bench.handle.status().traffic.downlink.blocks == 0 {
        assert!(Instant::now() < deadline, "the probe is not answered");
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.stop();
}

#[test]
fn a_mute_function_is_brought_to_speak() {
    // The time in configuration 0 is too short; the second try takes longer.
    let options = Options {
        settle: Some(Duration::ZERO),
        open_budget: Some(Duration::from_secs(3)),
        ..quick()
    };
    let mut bench = Bench::start("settle_ms=300", options);
    bench.online();
    let said = bench.seen.iter().any(
        |event| matches!(event, Event::Notice { text } if text.contains("no answer to MBIM_OPEN")),
    );
    assert!(said, "{:#?}", bench.seen);
    bench.ping_through();
    bench.stop();
}

#[test]
fn unplugged_at_every_rung() {
    for rung in Rung::ALL {
        eprintln!("unplugging at {rung}");
        let mut done = false;
        let options = Options {
            persist: true,
            ..quick()
        };
        let mut bench = Bench::on(emulator(""), options, move |emulator, event| {
            if !done && matches!(event, Event::RungStarted { rung: now } if *now == rung) {
                done = true;
                emulator.unplug();
                std::thread::sleep(Duration::from_millis(50));
                emulator.plug();
            }
        })
        .unwrap();
        bench.online();
        let deadline = Instant::now() + PATIENCE;
        while !bench.ping(100, Duration::from_millis(500)) {
            assert!(
                Instant::now() < deadline,
                "{rung}: nothing comes back: {:#?}",
                bench.handle.status()
            );
        }
        bench.stop();
    }
}

#[test]
fn a_firmware_reset_costs_a_pause_and_not_the_interface() {
    let mut bench = Bench::start("", quick());
    bench.online();
    bench.ping_through();
    bench.emulator.reset_firmware();
    bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
    bench.online();
    bench.ping_through();
    assert_eq!(bench.host_ends(), 1, "the host's end was kept");
    assert_eq!(bench.handle.status().attempts, 2);
    bench.stop();
}

#[test]
fn stalls_and_crashes_on_the_way_are_recovered() {
    for knobs in [
        "stall_out_after=3",
        "stall_in_after=3",
        "reset_after=5",
        "garbage_in_ppm=200000",
    ] {
        eprintln!("knobs {knobs}");
        let mut bench = Bench::start(knobs, quick());
        bench.online();
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        while answered < 30 {
            answered += u32::from(bench.ping(200, Duration::from_millis(500)));
            assert!(
                Instant::now() < deadline,
                "{knobs}: {:#?}",
                bench.handle.status()
            );
        }
        bench.stop();
    }
}

#[test]
fn stopping_is_bounded_at_any_rung() {
    for rung in Rung::ALL {
        let (sender, reached) = std::sync::mpsc::channel();
        let bench = Bench::on(emulator(""), quick(), move |_, event| {
            if matches!(event, Event::RungStarted { rung: now } if *now == rung) {
                let _ = sender.send(());
            }
        })
        .unwrap();
        reached.recv_timeout(PATIENCE).unwrap();
        let asked = Instant::now();
        bench.stop();
        assert!(
            asked.elapsed() < Duration::from_secs(20),
            "{rung}: {:?}",
            asked.elapsed()
        );
    }
}

#[test]
fn stopping_without_a_device_is_bounded() {
    let mut bench = Bench::start("", quick());
    bench.online();
    bench.emulator.unplug();
    bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
    let asked = Instant::now();
    bench.stop();
    assert!(asked.elapsed() < Duration::from_secs(20));
}

#[test]
fn without_a_device_it_says_so_or_waits() {
    let emulator = emulator("");
    emulator.unplug();
    let error = Bench::on(emulator.clone(), quick(), |_, _| {})
        .err()
        .unwrap();
    assert!(error.what.contains("no modem fits"), "{error}");
    let waiting = Options {
        wait_for_device: true,
        ..quick()
    };
    let mut bench = Bench::on(emulator, waiting, |_, _| {}).unwrap();
    bench.until("the wait", |event| {
        matches!(event, Event::RungFailed { .. })
    });
    bench.emulator.plug();
    bench.online();
    bench.ping_through();
    bench.stop();
}

#[test]
fn a_selector_that_fits_nothing_is_refused() {
    let emulator = emulator("");
    let start = |selector: Selector| {
        Modem::start(
            emulator.backend(),
            selector,
            quick(),
            Box::new(uwwan_modem::host::TunProvider::default()),
            Box::new(|_| {}),
        )
    };
    assert!(start(Selector::Id(0x1234, 0x5678)).is_err());
    assert!(start(Selector::Port("9-9".into())).is_err());
    let options = quick_session(SessionOptions {
        mtu: Some(20),
        ..SessionOptions::default()
    });
    let error = Bench::on(emulator.clone(), options, |_, _| {})
        .err()
        .unwrap();
    assert_eq!(error.kind, FailureKind::Usage);
    assert_eq!(error.place, Place::Named("--mtu".into()));
}

/// The host reads nothing: NTBs wait and are then dropped, every drop is counted, the datagrams
/// that arrive are in order, and afterwards everything is as before.
#[test]
fn a_host_that_stops_reading_costs_only_what_is_counted() {
    let mut bench = Bench::start("", quick());
    bench.online();
    bench.ping_through();
    let host_full = |traffic: &Traffic| {
        let mut dropped = traffic.dropped.iter();
        dropped
            .find(|counter| counter.name == "host_full")
            .map_or(0, |counter| counter.count)
    };
    let mut received = Vec::new();
    let mut dropped = 0;
    for round in 0..3 {
        for number in 0..1000 {
            bench.send_numbered(round * 1000 + number);
        }
        // NTBs have waited, and some have been dropped.
        let deadline = Instant::now() + PATIENCE;
        while host_full(&bench.handle.status().traffic) == dropped {
            assert!(Instant::now() < deadline, "no NTB gives way");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(bench.handle.status().online);
        while let Some(number) = bench.receive_numbered(Duration::from_millis(500)) {
            received.push(number);
        }
        bench.ping_through();
        dropped = host_full(&bench.handle.status().traffic);
    }
    assert!(received.is_sorted_by(|a, b| a < b), "{received:?}");
    assert!(received.last() > Some(&2000), "the last round came through");
    let given = bench.emulator.report().counters.datagrams_in;
    // Counters are published at the end of a round, after the host has received its datagrams.
    let deadline = Instant::now() + PATIENCE;
    let mut traffic = bench.handle.status().traffic;
    while traffic.downlink.packets + host_full(&traffic) < given && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
        traffic = bench.handle.status().traffic;
    }
    assert_eq!(
        traffic.downlink.packets + host_full(&traffic),
        given,
        "{traffic:?}"
    );
    assert!(host_full(&traffic) > 0, "{traffic:?}");
    assert_eq!(traffic.dropped.len(), 1, "{traffic:?}");
    bench.stop();
}

#[test]
fn no_lone_datagram_gets_stuck() {
    let probing = Options {
        probe: true,
        ..quick()
    };
    let mut bench = Bench::start("", probing);
    bench.online();
    for number in 0..1000 {
        assert!(bench.ping(100, PATIENCE), "ping {number}");
    }
    bench.stop();
}

/// The interfaces that the kernel's drivers had at the start they have at the end, in the
/// configuration that was active then.
#[test]
fn the_kernels_drivers_have_the_modem_again() {
    for (configuration, drivers, reattach, expected) in [
        (1, "bound", true, Some((1, "option"))),
        (2, "bound", true, Some((2, "cdc_ether"))),
        (3, "bound", true, Some((3, "cdc_mbim"))),
        // No driver had an interface.
        (0, "bound", true, None),
        (2, "none", true, None),
        (2, "bound", false, None),
    ] {
        let options = Options {
            reattach_drivers: reattach,
            ..quick()
        };
        let knobs = format!("start_configuration={configuration},host_drivers={drivers}");
        let mut bench = Bench::start(&knobs, options);
        bench.online();
        bench.handle.stop();
        bench.until("the stop", |event| matches!(event, Event::Stopped { .. }));
        let given = bench.seen.iter().find_map(|event| match event {
            Event::GivenBack {
                configuration,
                drivers,
            } => Some((*configuration, drivers.first()?.driver.as_str())),
            _ => None,
        });
        assert_eq!(given, expected, "{knobs}");
        let found = bench.emulator.backend().devices().unwrap().remove(0);
        let active = expected.map_or(3, |(configuration, _)| configuration);
        assert_eq!(found.active_configuration, Some(active), "{knobs}");
        // The AT port gives its own interface back in any case.
        let own = |(interface, _): &&(u8, String)| expected.is_some() || *interface < 2;
        let first = found.kernel_drivers.iter().find(own);
        let first = first.map(|(_, driver)| (active, driver.as_str()));
        assert_eq!(first, expected, "{knobs}");
        assert_eq!(bench.emulator.report().total_violations(), 0);
    }
}

/// A modem that was plugged in while `up` waited for it is left to the kernel as it is at the end.
#[test]
fn a_modem_that_came_late_is_left_to_the_kernel() {
    let emulator = emulator("");
    emulator.unplug();
    let options = Options {
        wait_for_device: true,
        ..quick()
    };
    let mut bench = Bench::on(emulator, options, |_, _| {}).unwrap();
    bench.until("the failure to find it", |event| {
        matches!(event, Event::RungFailed { .. })
    });
    bench.emulator.plug();
    bench.online();
    bench.handle.stop();
    let given = bench.until("its return", |event| {
        matches!(event, Event::GivenBack { .. })
    });
    let Event::GivenBack {
        configuration,
        drivers,
    } = given
    else {
        unreachable!()
    };
    assert_eq!((configuration, drivers[0].driver.as_str()), (3, "cdc_mbim"));
}
