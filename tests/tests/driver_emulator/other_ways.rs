//! The modem's other two modes: Huawei's own NCM and ECM, dialled by AT commands.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uwwan_emulator::{Emulator, FarSide, Knobs};
use uwwan_modem::at_port::Role;
use uwwan_modem::at_port::open::Choice;
use uwwan_modem::client::AtClient;
use uwwan_modem::options::{Format, IpType, Mode, Secret, SessionOptions};
use uwwan_modem::{Event, Options, Rung};
use uwwan_usb::descriptors::Descriptors;

use uwwan_tests::bench::{Bench, PATIENCE, echo, families, quick, quick_session};

const WAYS: [(Mode, u8); 2] = [(Mode::Ncm, 1), (Mode::Ecm, 2)];

fn way(mode: Mode) -> Options {
    Options {
        mode: Some(mode),
        ..quick()
    }
}

#[test]
fn online_from_every_start_state() {
    for (mode, target) in WAYS {
        for start in 0..=3 {
            let knobs = format!("start_configuration={start}");
            let mut bench = Bench::start(&knobs, way(mode));
            bench.online();
            let status = bench.handle.status();
            let change = status.configuration.unwrap();
            assert_eq!((change.before, change.after), (start, target), "{mode}");
            assert_eq!(status.rungs.len(), Rung::ALL.len(), "{mode}");
            let network = status.network.unwrap();
            assert_eq!(network.provider_id, "24201", "{mode}");
            assert!(bench.addresses().ipv4.is_some());
            bench.ping_through();
            bench.stop();
        }
    }
}

#[test]
fn encapsulated_commands_are_dialled_by_where_no_port_answers() {
    let mut bench = Bench::start("at_ports_silent=on", way(Mode::Ncm));
    bench.online();
    let port = bench.handle.at_port().and_then(|at| at.port());
    assert_eq!(port.map(|port| port.role), Some(Role::Pipe));
    bench.ping_through();
    bench.stop();
    // Without encapsulated commands the call cannot be dialled, and the failure says so.
    let mut bench = Bench::start("at_ports_silent=on,at_pipe_silent=on", way(Mode::Ncm));
    let what = "an interface of the modem to answer AT";
    bench.until(
        what,
        |event| matches!(event, Event::Waiting { text, .. } if text == what),
    );
    bench.stop();
}

/// Sends a frame until one that `fits` accepts comes back, and returns that one.
fn frame_answered(host: &UnixDatagram, frame: &[u8], fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    host.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    host.set_write_timeout(Some(PATIENCE)).unwrap();
    while Instant::now() < deadline {
        host.send(frame).unwrap();
        while let Ok(length) = host.recv(&mut buffer) {
            if fits(&buffer[..length]) {
                return buffer[..length].to_vec();
            }
        }
    }
    panic!("no frame in answer");
}

#[test]
fn the_host_may_have_the_ethernet_itself() {
    for (mode, _) in WAYS {
        let options = Options {
            tap: true,
            ..way(mode)
        };
        eprintln!("{mode}");
        let mut bench = Bench::start("", options.clone());
        bench.online();
        let deadline = Instant::now() + PATIENCE;
        while !bench.has_carrier() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(bench.has_carrier(), "{mode}: dialling brings the link up");
        let (config, host) = bench.host();
        let mac = config.ethernet.and_then(|ethernet| ethernet.address);
        let mac = mac.expect("the device gives an address");
        let addresses = bench.addresses();
        let ours = addresses.ipv4.expect("told by AT").address;
        let gateway = addresses.gateway4.expect("told by AT");
        // An ARP request (RFC 826) asks for the gateway's address.
        let mut request = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac].concat();
        request.extend(ours.octets());
        request.extend([0; 6]);
        request.extend(gateway.octets());
        let reply = frame_answered(&host, &request, |frame| {
            frame[12..14] == [8, 6] && frame[20..22] == [0, 2] && frame[28..32] == gateway.octets()
        });
        let router = &reply[22..28];
        let packet = echo(ours, Ipv4Addr::new(9, 9, 9, 9), 7, 600);
        let ping = [router, &mac, &[8, 0], &packet].concat();
        let answer = frame_answered(&host, &ping, |frame| {
            frame[12..14] == [8, 0] && frame[14 + 20] == 0
        });
        assert_eq!(answer[..6], mac, "{mode}");
        assert_eq!(answer[14 + 28..614], ping[14 + 28..], "{mode}");
        bench.stop();

        // Where the modem reports no addresses, the host asks the link itself.
        let mut bench = Bench::start("dhcp_command=refused", options);
        bench.online();
        assert!(bench.addresses().list().is_empty(), "{mode}");
        let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("a DHCP client on it"));
        assert!(bench.seen.iter().any(told), "{mode}: {:#?}", bench.seen);
        bench.stop();
    }
    let mut bench = Bench::start(
        "",
        Options {
            tap: true,
            ..quick()
        },
    );
    let failure = bench.failure();
    assert_eq!(failure.rung(), Some(Rung::Found));
    assert!(failure.to_string().contains("--mode ncm"), "{failure}");
}

#[test]
fn many_datagrams_none_lost() {
    for (mode, _) in WAYS {
        let mut bench = Bench::start("", way(mode));
        bench.online();
        bench.ping_many();
        let deadline = Instant::now() + PATIENCE;
        let mut traffic = bench.handle.status().traffic;
        while traffic.downlink.packets < 160 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            traffic = bench.handle.status().traffic;
        }
        assert!(traffic.downlink.packets >= 160, "{mode}: {traffic:?}");
        assert!(traffic.dropped.is_empty(), "{mode}: {traffic:?}");
        bench.stop();
    }
}

#[test]
fn both_families_come_by_at_or_over_the_link() {
    for (mode, _) in WAYS {
        for knobs in [
            "ipv6=on",
            "ipv6=on,dhcp_command=refused",
            "ipv6=on,dhcp_command=zeros",
        ] {
            eprintln!("{mode} {knobs}");
            let mut bench = Bench::start(knobs, way(mode));
            bench.online();
            let deadline = Instant::now() + PATIENCE;
            while families(&bench.addresses()) != (true, true) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(families(&bench.addresses()), (true, true), "{mode} {knobs}");
            bench.ping_through();
            assert!(
                bench.answers_ipv6("2001:db8:100::1".parse().unwrap(), PATIENCE),
                "{mode} {knobs}"
            );
            bench.stop();
        }
        // The SIM's operator is not in the firmware's list, so there is IPv4 only, and a notice
        // says so.
        let mut bench = Bench::start("", way(mode));
        bench.online();
        assert_eq!(families(&bench.addresses()), (true, false), "{mode}");
        bench.stop();
        let six = Options {
            mode: Some(mode),
            ..quick_session(SessionOptions {
                ip_type: IpType::Ipv6,
                ..SessionOptions::default()
            })
        };
        let mut bench = Bench::start("", six);
        assert_eq!(bench.failure().rung(), Some(Rung::Connect), "{mode}");
    }
}

#[test]
fn what_was_reported_of_such_modems_is_borne_with() {
    let knobs = [
        "arp=silent",
        "arp=asks",
        "arp=own",
        "ndisstat_short=on",
        "dhcp_command=refused,dhcp_ms=300",
        "dhcp=wrong",
        "at_pipe_silent=on",
        "brand=huawei",
        "ntb_formats=1",
        "ntb_formats=2",
        "ntb32_after_alternate=on",
        "ntb_divisor=64,ntb_alignment=64",
        "ntb_out_max=2048,ntb_in_max=2048",
        "radio_on=off",
        "registration_ms=300",
    ];
    for knobs in knobs {
        for (mode, _) in WAYS {
            eprintln!("{mode} {knobs}");
            let mut bench = Bench::start(knobs, way(mode));
            bench.online();
            bench.ping_through();
            bench.stop();
        }
    }
    let wide = Options {
        ntb: Some(Format::Ntb16),
        ..way(Mode::Ncm)
    };
    let mut bench = Bench::start("", wide);
    bench.online();
    assert_eq!(bench.handle.status().framing.unwrap().format, "16");
    bench.ping_many();
    bench.stop();
}

#[test]
fn a_pin_is_entered_and_a_wrong_one_once() {
    for (mode, _) in WAYS {
        let with = |pin: &str| Options {
            pin: Secret::new(pin),
            ..way(mode)
        };
        let mut bench = Bench::start("pin=1234", with("1234"));
        bench.online();
        bench.ping_through();
        bench.stop();
        let mut bench = Bench::start("pin=1234", with("4321"));
        let failure = bench.failure();
        assert_eq!(failure.rung(), Some(Rung::Pin), "{failure}");
        assert!(failure.what.contains("wrong PIN, 2 attempts"), "{failure}");
    }
}

#[test]
fn what_is_lost_comes_back() {
    for (mode, _) in WAYS {
        let mut bench = Bench::start("", way(mode));
        bench.online();
        bench.emulator.reset_firmware();
        bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
        bench.online();
        bench.ping_through();
        bench.stop();
    }
}

#[test]
fn a_radio_that_goes_off_and_a_plug_that_is_pulled_are_got_over() {
    for (mode, _) in WAYS {
        let mut bench = Bench::start("", way(mode));
        bench.online();
        bench
            .emulator
            .adjust(|knobs| knobs.hardware_radio_on = false);
        bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
        bench
            .emulator
            .adjust(|knobs| knobs.hardware_radio_on = true);
        bench.online();
        bench.ping_through();
        bench.emulator.unplug();
        bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
        bench.emulator.plug();
        bench.online();
        bench.ping_through();
        bench.stop();
    }
}

/// A driver that crashed has left its call up, in a stick whose id has no row in the table: its
/// configuration is not entered anew, which would end the call.
#[test]
fn a_call_that_was_left_up_is_ended_and_made_anew() {
    let mut bytes =
        include_bytes!("../../../crates/usb/tests/vectors/descriptors/huawei_e3372_12d1_15b6.bin")
            .to_vec();
    bytes[8..12].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
    let descriptors = Descriptors::from_sysfs(&bytes);
    let knobs = Knobs {
        settle_ms: 0,
        ..Knobs::like(&descriptors)
    };
    let emulator = Emulator::presenting(descriptors, knobs, FarSide::BuiltIn).unwrap();
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let choice = Choice {
        patience: PATIENCE,
        ..Choice::default()
    };
    let mut crashed = AtClient::direct(backend, found, &choice).unwrap();
    let mut ask = |line| crashed.ask(line, None, None).unwrap().lines;
    ask("AT^NDISDUP=1,1,\"earlier\"");
    let deadline = Instant::now() + PATIENCE;
    while !ask("AT^NDISSTATQRY?")[0].starts_with("^NDISSTATQRY: 1") {
        assert!(Instant::now() < deadline, "no call is up");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(crashed);
    let mut bench = Bench::on(Arc::new(emulator), quick(), |_, _| {}).unwrap();
    bench.online();
    let ended = |event: &Event| matches!(event, Event::Notice { text } if text.contains("of an earlier program"));
    assert!(bench.seen.iter().any(ended), "{:#?}", bench.seen);
    bench.ping_through();
    bench.stop();
}

/// A suspend that leaves the modem its power ends every transfer, and the call is up afterwards.
#[test]
fn a_suspended_host_is_online_again_after_its_resume() {
    for mode in [Mode::Ncm, Mode::Ecm, Mode::Mbim] {
        let mut bench = Bench::start("", way(mode));
        bench.online();
        bench.emulator.suspend();
        bench.until("the loss", |event| matches!(event, Event::Lost { .. }));
        bench.online();
        bench.ping_through();
        bench.stop();
    }
}

/// The modem with frames of `frame` bytes at most in its Ethernet functions (CDC ECM 1.2, 5.4).
fn with_frames(frame: u16) -> Arc<Emulator> {
    let mut bytes =
        include_bytes!("../../../crates/usb/tests/vectors/descriptors/hp_lt4132_03f0_a31d.bin")
            .to_vec();
    let mut found = 0;
    for at in 0..bytes.len() - 13 {
        if bytes[at..at + 3] == [13, 0x24, 0x0f] {
            bytes[at + 8..at + 10].copy_from_slice(&frame.to_le_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "no Ethernet function");
    let descriptors = Descriptors::from_sysfs(&bytes);
    let knobs = Knobs {
        ipv6: true,
        ..Knobs::like(&descriptors)
    };
    Arc::new(Emulator::presenting(descriptors, knobs, FarSide::BuiltIn).unwrap())
}

#[test]
fn frames_that_are_short_of_ipv6_carry_ipv4() {
    let mut bench = Bench::on(with_frames(1214), way(Mode::Ecm), |_, _| {}).unwrap();
    bench.online();
    let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("carries 1200 bytes, and IPv6 needs 1280"));
    assert!(bench.seen.iter().any(told), "{:#?}", bench.seen);
    let addresses = bench.addresses();
    assert!(addresses.ipv4.is_some() && addresses.ipv6.is_none());
    assert_eq!(addresses.mtu, 1200);
    bench.ping_through();
    bench.stop();
    // With the least that IPv6 wants there are both.
    let mut bench = Bench::on(with_frames(1294), way(Mode::Ecm), |_, _| {}).unwrap();
    bench.online();
    let addresses = bench.addresses();
    assert!(addresses.ipv4.is_some() && addresses.ipv6.is_some());
    assert_eq!(addresses.mtu, 1280);
    bench.ping_through();
    bench.stop();
}
