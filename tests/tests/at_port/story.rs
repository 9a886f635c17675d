//! The unlocking of IPv6 and its reversal, with a running driver and without one.

use std::sync::{Arc, Mutex};

use uwwan_at::dialogue::Command;
use uwwan_emulator::{Emulator, FarSide};
use uwwan_modem::at_port::open::Choice;
use uwwan_modem::client::AtClient;
use uwwan_modem::ipv6::{
    self, AtModem, Change, FACTORY, ModemAccess, Operator, Plan, Source, Verdict,
};
use uwwan_modem::share::AtOptions;
use uwwan_modem::{Failure, FailureKind};

use uwwan_tests::bench::{Bench, PATIENCE, families, quick};

/// Unlocks IPv6 as `uwwan ipv6 enable` does.
fn unlock(modem: &mut dyn ModemAccess) {
    let findings = ipv6::examine(modem).unwrap();
    assert_eq!(
        (findings.verdict, findings.capability),
        (Verdict::Locked, Some(1))
    );
    assert_eq!(findings.kinds, ["IP"]);
    let operator = findings.operator.clone().unwrap();
    assert_eq!(
        (operator.code.as_str(), operator.source),
        ("24201", Source::SimFile)
    );
    let change = changed(ipv6::plan_enable(&findings, false));
    assert_eq!(
        change.command.as_deref(),
        Some("AT^PLMNLIST=1,\"99999\",\"24201\"")
    );
    let findings = ipv6::enable(modem, &change).unwrap();
    assert_eq!(
        (findings.verdict, findings.capability),
        (Verdict::Works, Some(7))
    );
    assert_eq!(findings.kinds, ["IP", "IPV6", "IPV4V6"]);
    assert!(matches!(
        ipv6::plan_enable(&findings, false),
        Ok(Plan::Nothing(_))
    ));
}

fn changed(plan: Result<Plan, Failure>) -> Change {
    match plan {
        Ok(Plan::Change(change)) => change,
        other => panic!("no change: {other:?}"),
    }
}

/// Locks IPv6 again.
fn lock(modem: &mut dyn ModemAccess) {
    let findings = ipv6::examine(modem).unwrap();
    let change = changed(ipv6::plan_disable(&findings, false));
    let findings = ipv6::disable(modem, &change).unwrap();
    assert_eq!(
        (findings.verdict, findings.capability),
        (Verdict::Locked, Some(1))
    );
    assert_eq!(findings.unlocked, FACTORY);
}

#[test]
fn without_a_running_driver() {
    for start in [
        "start_configuration=2",
        "start_configuration=3",
        "host_drivers=none",
    ] {
        let knobs = format!("settle_ms=20,absent_ms=300,{start}");
        let emulator = Emulator::new(knobs.parse().unwrap(), FarSide::BuiltIn).unwrap();
        let backend = emulator.backend();
        let found = backend.devices().unwrap().remove(0);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&steps);
        let client = AtClient::direct(Arc::clone(&backend), found, &Choice::default()).unwrap();
        let mut modem = AtModem::new(
            client,
            || None,
            Box::new(move |step| told.lock().unwrap().push(step.to_owned())),
        );
        unlock(&mut modem);
        let active = backend.devices().unwrap()[0].active_configuration;
        assert_eq!(active, Some(3), "left in the MBIM configuration");
        lock(&mut modem);
        drop(modem);
        let steps = steps.lock().unwrap();
        let mut expected = vec!["AT^PLMNLIST=1,\"99999\",\"24201\"", "AT^RESET"];
        if start != "start_configuration=3" {
            expected.push("configuration 3 selected");
        }
        for expected in expected {
            let told = steps.iter().any(|step| step == expected);
            assert!(told, "{expected}: {steps:?}");
        }
        assert_eq!(emulator.report().counters.resets, 2);
        assert_eq!(
            emulator.report().total_violations(),
            0,
            "{:#?}",
            emulator.report().violations
        );
    }
}

#[test]
fn with_a_running_driver_both_families_come_online() {
    let mut bench = Bench::start("", quick());
    bench.online();
    assert_eq!(families(&bench.addresses()), (true, false));
    bench.ping_through();
    let folder = tempfile::tempdir().unwrap();
    let places = AtOptions {
        socket: Some(folder.path().join("at.socket")),
        terminal: Some(folder.path().join("at")),
        ..AtOptions::default()
    };
    let at = bench.handle.at_port().unwrap();
    at.wait_open(PATIENCE).unwrap();
    let _server = crate::serve(at, &places);
    let mut client = AtClient::through(places.socket.as_deref().unwrap()).unwrap();
    client.insist();
    let mut modem = AtModem::new(client, || None, Box::new(|_| {}));
    unlock(&mut modem);
    bench.online();
    let addresses = bench.addresses();
    assert_eq!(families(&addresses), (true, true));
    let prefix = addresses.ipv6.unwrap();
    assert_eq!(
        prefix.address.to_string(),
        "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"
    );
    assert_eq!((prefix.prefix, addresses.gateway6), (64, None));
    assert_eq!(addresses.dns6.len(), 2);
    assert_eq!(bench.host_ends(), 1, "the host's end was kept");
    bench.ping_through();
    assert!(bench.answers_ipv6("2001:db8:100::1".parse().unwrap(), PATIENCE));

    lock(&mut modem);
    bench.online();
    assert_eq!(families(&bench.addresses()), (true, false));
    bench.ping_through();
    bench.stop();
}

#[test]
fn mbims_word_on_the_operator_is_taken() {
    let emulator = Emulator::new(Default::default(), FarSide::BuiltIn).unwrap();
    let backend = emulator.backend();
    let found = backend.devices().unwrap().remove(0);
    let chosen = Operator {
        code: "242010".into(),
        source: Source::Chosen,
    };
    let client = AtClient::direct(backend, found, &Choice::default()).unwrap();
    let mut modem = AtModem::new(client, move || Some(chosen.clone()), Box::new(|_| {}));
    let findings = ipv6::examine(&mut modem).unwrap();
    let change = changed(ipv6::plan_enable(&findings, false));
    assert_eq!(change.undo, "AT^PLMNLIST=0,\"99999\",\"242010\"");
    // A change that the firmware refuses is reported, and nothing is restarted for it.
    let nonsense = Change {
        command: Some("AT^PLMNLIST=1,\"12345\",\"24201\"".into()),
        ..change
    };
    let error = ipv6::enable(&mut modem, &nonsense).unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert_eq!(emulator.report().counters.resets, 0);
}

#[test]
fn commands_and_traffic_share_the_device() {
    let mut bench = Bench::start("nmea=on", quick());
    bench.online();
    let at = bench.handle.at_port().unwrap();
    at.wait_open(PATIENCE).unwrap();
    let asking = std::thread::spawn(move || {
        for _ in 0..100 {
            let answer = at.ask(Command::new("AT^PLMNLIST?").unwrap()).unwrap();
            assert_eq!((answer.lines.len(), answer.result), (9, Ok(())));
        }
    });
    while !asking.is_finished() {
        bench.ping_many();
    }
    asking.join().unwrap();
    bench.stop();
}

#[test]
fn a_port_left_alone_stays_with_the_kernel() {
    let options = uwwan_modem::Options {
        at_port: false,
        ..quick()
    };
    let mut bench = Bench::start("", options);
    bench.online();
    assert!(bench.handle.at_port().is_none());
    bench.stop();
}
