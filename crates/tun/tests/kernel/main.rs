//! Tests of the crate against the kernel. Each check runs in a private network namespace of its
//! own, entered while the process has one thread. There is therefore no test harness: `main` runs
//! the checks one after the other. Where namespaces or TUN interfaces cannot be had, the run fails
//! and says so.

mod cable;
mod left;
mod merging;
mod monitor;
mod napi;
mod offload;
mod packets;
mod queues;
mod router;
mod rules;
mod shared;
mod streams;
mod tap;
#[path = "../traffic/mod.rs"]
mod traffic;
mod watching;

use std::io::ErrorKind as Io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use monitor::Monitor;
use packets::{advertisement, next_packet, packet};
use uwwan_tun::plan::{Ipv6, Through};
use uwwan_tun::{Address, Configuration, ErrorKind, Plan, Prefix, Route, Tun, namespace, observe};

/// Time that is far more than anything here takes, unless it does not happen.
const PATIENCE: Duration = Duration::from_secs(20);

const CHECKS: &[(&str, fn())] = &[
    (
        "a_cable_leads_to_another_namespace",
        cable::a_cable_leads_to_another_namespace,
    ),
    (
        "a_call_waits_for_nobody_whoever_clears_the_flag",
        shared::a_call_waits_for_nobody_whoever_clears_the_flag,
    ),
    (
        "interfaces_get_the_name_asked_for",
        interfaces_get_the_name_asked_for,
    ),
    (
        "a_busy_or_foreign_name_is_explained",
        a_busy_or_foreign_name_is_explained,
    ),
    (
        "addresses_and_routes_are_there_and_go_again",
        addresses_and_routes_are_there_and_go_again,
    ),
    (
        "the_kernel_answers_ping_through_the_descriptor",
        the_kernel_answers_ping_through_the_descriptor,
    ),
    ("datagrams_flow_both_ways", datagrams_flow_both_ways),
    (
        "a_new_plan_touches_only_the_difference",
        a_new_plan_touches_only_the_difference,
    ),
    (
        "a_new_plan_survives_what_the_kernel_drops_by_itself",
        a_new_plan_survives_what_the_kernel_drops_by_itself,
    ),
    (
        "gateways_off_the_link_are_reached",
        gateways_off_the_link_are_reached,
    ),
    (
        "a_static_interface_has_no_addresses_of_the_kernels",
        a_static_interface_has_no_addresses_of_the_kernels,
    ),
    (
        "slaac_completes_a_link_local_address",
        slaac_completes_a_link_local_address,
    ),
    (
        "an_interface_of_another_user_is_left",
        watching::an_interface_of_another_user_is_left,
    ),
    (
        "what_is_taken_away_is_put_back",
        watching::what_is_taken_away_is_put_back,
    ),
    (
        "a_rival_default_route_is_told",
        watching::a_rival_default_route_is_told,
    ),
    (
        "rules_with_marks_are_read",
        rules::rules_with_marks_are_read,
    ),
    (
        "one_flow_keeps_no_other_waiting",
        queues::one_flow_keeps_no_other_waiting,
    ),
    (
        "an_interface_with_queues_is_taken",
        queues::an_interface_with_queues_is_taken,
    ),
    (
        "a_prepared_interface_keeps_its_queues",
        queues::a_prepared_interface_keeps_its_queues,
    ),
    (
        "a_deleted_interface_with_queues_is_told",
        queues::a_deleted_interface_with_queues_is_told,
    ),
    ("a_failed_plan_leaves_nothing", a_failed_plan_leaves_nothing),
    (
        "an_interface_that_was_there_gets_its_state_back",
        an_interface_that_was_there_gets_its_state_back,
    ),
    (
        "an_interface_that_went_is_told",
        an_interface_that_went_is_told,
    ),
    ("a_tap_is_an_ethernet", tap::a_tap_is_an_ethernet),
    (
        "a_prepared_tap_gets_its_address_back",
        tap::a_prepared_tap_gets_its_address_back,
    ),
    (
        "packets_are_cut_as_the_kernel_cuts_them",
        offload::packets_are_cut_as_the_kernel_cuts_them,
    ),
    (
        "checksums_are_completed_as_the_kernel_does",
        offload::checksums_are_completed_as_the_kernel_does,
    ),
    (
        "sums_begun_are_gone_on_with",
        offload::sums_begun_are_gone_on_with,
    ),
    (
        "packets_from_the_kernel_are_cut",
        offload::packets_from_the_kernel_are_cut,
    ),
    (
        "offloads_are_those_asked_for",
        offload::offloads_are_those_asked_for,
    ),
    (
        "a_prepared_interface_is_given_back_plain",
        offload::a_prepared_interface_is_given_back_plain,
    ),
    (
        "a_plain_interface_is_plain",
        offload::a_plain_interface_is_plain,
    ),
    (
        "runs_are_merged_as_the_kernel_merges_them",
        merging::runs_are_merged_as_the_kernel_merges_them,
    ),
    (
        "what_was_merged_is_cut_by_the_kernel_into_what_it_was",
        merging::what_was_merged_is_cut_by_the_kernel_into_what_it_was,
    ),
    (
        "streams_get_through_over_ipv4",
        streams::streams_get_through_over_ipv4,
    ),
    (
        "streams_get_through_over_ipv6",
        streams::streams_get_through_over_ipv6,
    ),
    (
        "streams_get_through_where_datagrams_are_lost",
        streams::streams_get_through_where_datagrams_are_lost,
    ),
    (
        "what_a_killed_run_left_is_taken_back_whatever_the_name_is",
        left::what_a_killed_run_left_is_taken_back_whatever_the_name_is,
    ),
    (
        "routes_of_others_stay_when_a_killed_runs_are_taken_back",
        left::routes_of_others_stay_when_a_killed_runs_are_taken_back,
    ),
    (
        "an_interface_of_another_driver_is_not_touched",
        left::an_interface_of_another_driver_is_not_touched,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if arguments.iter().any(|argument| argument == "--ignored") {
            // Test runners ask for the ignored tests as well, of which there are none.
            return ExitCode::SUCCESS;
        }
        for (name, _) in CHECKS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, check) in CHECKS.iter().filter(|(name, _)| wanted(name)) {
        if let Err(error) = namespace::enter() {
            println!("test {name} ... FAILED: it cannot run here");
            println!("\nerror: {error}");
            return ExitCode::FAILURE;
        }
        match std::panic::catch_unwind(check) {
            Ok(()) => {
                println!("test {name} ... ok");
                passed += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(name);
            }
        }
    }
    let filtered = CHECKS.len() - passed - failed.len();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out",
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(text: &str) -> Prefix {
    text.parse().expect("a range")
}

fn tun() -> Tun {
    Tun::open(None).expect("a TUN interface in a namespace of our own")
}

/// Returns the plan for the addresses that the lt4132 was seen to report.
fn lt4132(through: &Through) -> Plan {
    let addresses = vec![
        Address::new(ip("10.169.198.77"), 30),
        Address::new(ip("2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"), 64),
    ];
    Plan::for_modem(
        addresses,
        &[ip("10.169.198.78"), ip("::")],
        through,
        None,
        1500,
    )
}

fn interfaces_get_the_name_asked_for() {
    let first = tun();
    let second = tun();
    assert_eq!((first.name(), second.name()), ("uwwan0", "uwwan1"));
    let third = Tun::open(Some("wwan7")).expect("an interface");
    assert_eq!(third.name(), "wwan7");
    assert!(!third.attached());
    let index = third.index();
    assert!(observe(index).is_ok_and(|there| !there.up));
    let echo = packet(
        ip("10.0.0.1"),
        ip("10.0.0.2"),
        1,
        64,
        &[8, 0, 0, 0, 0, 0, 0, 0],
        2,
    );
    let refused = third.send(&echo).expect_err("it is down");
    assert_eq!(refused.raw_os_error(), Some(5), "{refused}");
    let empty = third.receive(&mut [0; 100]).expect_err("nothing came");
    assert_eq!(empty.kind(), Io::WouldBlock);
    drop(third);
    assert_eq!(
        observe(index).expect_err("it is gone").kind,
        ErrorKind::Gone
    );
}

fn a_busy_or_foreign_name_is_explained() {
    let first = tun();
    let error = Tun::open(Some(first.name())).expect_err("it is open already");
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    let error = Tun::open(Some("lo")).expect_err("it is no TUN interface");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    let error = Tun::open(Some("a name much too long")).expect_err("it is no name");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

fn addresses_and_routes_are_there_and_go_again() {
    let tun = tun();
    let mut plan = lt4132(&Through::Everything);
    plan.mtu = 1430;
    plan.tx_queue_length = Some(77);
    let configuration = Configuration::apply(plan.clone(), &tun).expect("applied");
    let there = observe(tun.index()).expect("observed");
    assert!(there.up);
    assert_eq!(there.mtu, 1430);
    assert_eq!(there.addresses, plan.addresses);
    let routes: Vec<_> = there.routes.iter().map(ToString::to_string).collect();
    for want in [
        "0.0.0.0/0 via 10.169.198.78 metric 0",
        "10.169.198.76/30 metric 0",
        "::/0 metric 1024",
        "2a02:2121:2c4:7105::/64 metric 256",
    ] {
        assert!(
            routes.iter().any(|route| route == want),
            "no {want} among {routes:?}"
        );
    }
    assert_eq!(routes.len(), 4, "{routes:?}");
    // The kernel's choice of a source address shows that the addresses and routes are in use.
    for (far, own) in [
        ("1.1.1.1:9", "10.169.198.77"),
        ("[2606::1]:9", "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208"),
    ] {
        let any = if far.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.connect(far).expect("a route");
        assert_eq!(socket.local_addr().expect("bound").ip(), ip(own));
    }
    assert_eq!(
        configuration.changes().len(),
        5,
        "{:?}",
        configuration.changes()
    );
    drop(configuration);
    let there = observe(tun.index()).expect("observed");
    assert!(!there.up);
    assert_eq!((there.addresses, there.routes), (vec![], vec![]));
}

fn the_kernel_answers_ping_through_the_descriptor() {
    let tun = tun();
    let _configuration = Configuration::apply(lt4132(&Through::Everything), &tun).expect("applied");
    let data: Vec<u8> = (0..56).collect();
    let cases = [
        ("10.169.198.78", "10.169.198.77", 1, 8, 0),
        ("8.8.8.8", "10.169.198.77", 1, 8, 0),
        (
            "2001:db8::8",
            "2a02:2121:2c4:7105:5a2c:80ff:fe13:9208",
            58,
            128,
            129,
        ),
    ];
    for (from, to, protocol, request, reply) in cases {
        let mut message = vec![request, 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(&data);
        let echo = packet(ip(from), ip(to), protocol, 64, &message, 2);
        assert_eq!(tun.send(&echo).expect("sent"), echo.len());
        let header = if protocol == 1 { 20 } else { 40 };
        let answer = next_packet(&tun, |packet| packet.get(header) == Some(&reply));
        assert_eq!(
            answer[header + 4..],
            echo[header + 4..],
            "{from}: identifier, number and data"
        );
        assert_eq!(answer.len(), echo.len());
    }
    assert_eq!(
        tun.send(&[0xff; 30]).expect_err("no IP packet").kind(),
        Io::InvalidInput
    );
}

fn datagrams_flow_both_ways() {
    let tun = tun();
    let _configuration = Configuration::apply(lt4132(&Through::Everything), &tun).expect("applied");
    for (any, far) in [("0.0.0.0:0", "9.9.9.9:7"), ("[::]:0", "[2620:fe::fe]:7")] {
        let socket = UdpSocket::bind(any).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        socket.connect(far).expect("a route");
        socket.send(b"across").expect("sent");
        let header = if any.starts_with('[') { 40 } else { 20 };
        let sent = next_packet(&tun, |packet| packet.ends_with(b"across"));
        let (own, far): (SocketAddr, SocketAddr) = (
            socket.local_addr().expect("bound"),
            far.parse().expect("an address"),
        );
        assert_eq!(
            sent[header + 2..header + 4],
            7_u16.to_be_bytes(),
            "the destination port"
        );
        let mut datagram = Vec::new();
        datagram.extend(far.port().to_be_bytes());
        datagram.extend(own.port().to_be_bytes());
        datagram.extend([0, 12, 0, 0]);
        datagram.extend(b"back");
        tun.send(&packet(far.ip(), own.ip(), 17, 60, &datagram, 6))
            .expect("sent");
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).expect("the answer");
        assert_eq!(&buffer[..length], b"back");
    }
}

fn a_new_plan_touches_only_the_difference() {
    let tun = tun();
    let mut configuration =
        Configuration::apply(lt4132(&Through::Everything), &tun).expect("applied");
    let socket = UdpSocket::bind("10.169.198.77:0").expect("the address is there");
    socket.connect("8.8.8.8:9").expect("a route");

    // What stays must not be touched; the kernel would announce that.
    let monitor = Monitor::start();
    let mut plan = configuration.plan().clone();
    plan.addresses[1] = Address::new(ip("2001:db8:77::5"), 64);
    plan.routes.push(Route {
        destination: range("203.0.113.0/24"),
        gateway: None,
        metric: Some(5),
    });
    plan.mtu = 1400;
    configuration.replace(plan.clone()).expect("replaced");
    let changes = monitor.stop();
    assert!(
        !changes
            .iter()
            .any(|change| change.contains("10.169.198.77")),
        "{changes:?}"
    );
    assert!(
        changes
            .iter()
            .any(|change| change.contains("2001:db8:77::5")),
        "{changes:?}"
    );

    let there = observe(tun.index()).expect("observed");
    assert_eq!(there.addresses, plan.addresses);
    assert_eq!(there.mtu, 1400);
    let routes: Vec<_> = there.routes.iter().map(ToString::to_string).collect();
    assert!(
        routes.contains(&"203.0.113.0/24 metric 5".to_owned()),
        "{routes:?}"
    );
    assert!(
        routes.contains(&"::/0 metric 1024".to_owned()),
        "{routes:?}"
    );
    assert!(
        !routes.iter().any(|route| route.contains("2a02:")),
        "{routes:?}"
    );
    socket.send(b"still here").expect("the flow goes on");
    next_packet(&tun, |packet| packet.ends_with(b"still here"));

    configuration
        .replace(lt4132(&Through::Nothing))
        .expect("replaced");
    let there = observe(tun.index()).expect("observed");
    assert_eq!(there.routes.len(), 2, "{:?}", there.routes);
    drop(configuration);
    let there = observe(tun.index()).expect("observed");
    assert_eq!((there.addresses, there.routes), (vec![], vec![]));
}

fn a_new_plan_survives_what_the_kernel_drops_by_itself() {
    let tun = tun();
    let plan = |own: &[&str]| Plan {
        mtu: 1500,
        tx_queue_length: None,
        addresses: own.iter().map(|own| Address::new(ip(own), 24)).collect(),
        routes: vec![Route {
            destination: Prefix::ALL_V4,
            gateway: None,
            metric: None,
        }],
        ipv6: Ipv6::Static,
    };
    let mut configuration =
        Configuration::apply(plan(&["10.1.1.2", "10.1.1.3"]), &tun).expect("applied");
    // The address .3 is secondary to .2 and goes with it; the route goes with the last address.
    for own in [&["10.1.1.3"][..], &["10.2.2.2"], &["10.1.1.2", "10.1.1.3"]] {
        configuration.replace(plan(own)).expect("replaced");
        let there = observe(tun.index()).expect("observed");
        assert_eq!(there.addresses, plan(own).addresses);
        assert!(
            there
                .routes
                .iter()
                .any(|route| route.destination.is_default()),
            "{:?}",
            there.routes
        );
    }
}

fn gateways_off_the_link_are_reached() {
    let tun = tun();
    let addresses = vec![
        Address::new(ip("10.5.5.5"), 32),
        Address::new(ip("2001:db8::5"), 128),
    ];
    let gateways = [ip("10.6.6.6"), ip("fe80::1")];
    let plan = Plan::for_modem(addresses, &gateways, &Through::Everything, Some(300), 1500);
    let configuration = Configuration::apply(plan, &tun).expect("applied");
    let there = observe(tun.index()).expect("observed");
    let routes: Vec<_> = there.routes.iter().map(ToString::to_string).collect();
    for want in [
        "0.0.0.0/0 via 10.6.6.6 metric 300",
        "::/0 via fe80::1 metric 300",
    ] {
        assert!(
            routes.iter().any(|route| route == want),
            "no {want} among {routes:?}"
        );
    }
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(b"far away", "192.0.2.1:9").expect("sent");
    next_packet(&tun, |packet| packet.ends_with(b"far away"));
    drop(configuration);
    assert_eq!(observe(tun.index()).expect("observed").routes, []);
}

fn a_static_interface_has_no_addresses_of_the_kernels() {
    let tun = tun();
    let _configuration = Configuration::apply(lt4132(&Through::Everything), &tun).expect("applied");
    // The router advertisement is ignored.
    tun.send(&advertisement("fe80::1", "ff02::1"))
        .expect("sent");
    // The answer to a ping comes after any effect of the advertisement.
    let mut echo = vec![128, 0, 0, 0, 0, 1, 0, 1];
    echo.extend([0; 8]);
    let own = ip("2a02:2121:2c4:7105:5a2c:80ff:fe13:9208");
    tun.send(&packet(ip("2001:db8::9"), own, 58, 64, &echo, 2))
        .expect("sent");
    next_packet(&tun, |packet| packet.get(40) == Some(&129));
    let there = observe(tun.index()).expect("observed");
    assert_eq!(there.addresses, lt4132(&Through::Nothing).addresses);
    assert!(
        !there
            .routes
            .iter()
            .any(|route| route.gateway == Some(ip("fe80::1"))),
        "{:?}",
        there.routes
    );
}

fn slaac_completes_a_link_local_address() {
    for (through, default_route) in [(Through::Everything, true), (Through::Nothing, false)] {
        let tun = tun();
        let own = ip("fe80::5a2c:80ff:fe13:9208");
        let metric = Some(700);
        let plan = Plan::for_modem(vec![Address::new(own, 64)], &[], &through, metric, 1500);
        let configuration = Configuration::apply(plan, &tun).expect("applied");
        // The kernel asks for a router by itself.
        let solicitation = next_packet(&tun, |packet| packet.get(40) == Some(&133));
        assert_eq!(
            solicitation[8..24],
            match own {
                IpAddr::V6(own) => own.octets(),
                IpAddr::V4(_) => unreachable!("it is an IPv6 address"),
            }
        );
        tun.send(&advertisement("fe80::1", "ff02::1"))
            .expect("sent");
        let global = Address::new(ip("2001:db8:7:0:5a2c:80ff:fe13:9208"), 64);
        let deadline = Instant::now() + PATIENCE;
        let there = loop {
            let there = observe(tun.index()).expect("observed");
            if there.addresses.contains(&global) {
                break there;
            }
            assert!(
                Instant::now() < deadline,
                "no global address came: {there:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(there.addresses.len(), 2, "{:?}", there.addresses);
        let by_router = there.routes.iter().any(|route| {
            route.destination == Prefix::ALL_V6
                && route.gateway == Some(ip("fe80::1"))
                && route.metric == metric
        });
        assert_eq!(by_router, default_route, "{:?}", there.routes);
        drop(configuration);
    }
}

fn a_failed_plan_leaves_nothing() {
    let first = tun();
    let _first = Configuration::apply(lt4132(&Through::Everything), &first).expect("applied");
    let second = tun();
    let addresses = vec![Address::new(ip("10.3.3.3"), 24)];
    let plan = Plan::for_modem(addresses, &[], &Through::Everything, None, 1400);
    let error =
        Configuration::apply(plan.clone(), &second).expect_err("the default route is taken");
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("metric"), "{error}");
    let there = observe(second.index()).expect("observed");
    assert!(!there.up);
    assert_eq!(
        (there.mtu, there.addresses, there.routes),
        (1500, vec![], vec![])
    );

    let mut other = plan;
    other.routes[0].metric = Some(9);
    drop(Configuration::apply(other, &second).expect("another metric is free"));
    let still = observe(first.index()).expect("observed");
    assert!(
        still
            .routes
            .iter()
            .any(|route| route.destination == Prefix::ALL_V4)
    );
}

fn ip_program(arguments: &str) {
    let status = std::process::Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("the ip program (iproute2)");
    assert!(status.success(), "ip {arguments}: {status}");
}

fn an_interface_that_was_there_gets_its_state_back() {
    ip_program("tuntap add dev kept0 mode tun");
    ip_program("link set kept0 mtu 1111 txqueuelen 33");
    ip_program("address add 172.16.9.9/24 dev kept0");
    let tun = Tun::open(Some("kept0")).expect("attached");
    assert!(tun.attached());
    let mut plan = lt4132(&Through::Everything);
    plan.tx_queue_length = Some(44);
    let configuration = Configuration::apply(plan, &tun).expect("applied");
    let there = observe(tun.index()).expect("observed");
    assert!(there.up);
    assert_eq!((there.mtu, there.addresses.len()), (1500, 3));
    drop(configuration);
    let there = observe(tun.index()).expect("observed");
    assert!(!there.up);
    assert_eq!(there.mtu, 1111);
    assert_eq!(
        there.addresses,
        [Address::new(ip("172.16.9.9"), 24)],
        "it was not ours"
    );
    let index = tun.index();
    drop(tun);
    assert!(observe(index).is_ok(), "it stays");
}

fn an_interface_that_went_is_told() {
    let tun = tun();
    let mut configuration =
        Configuration::apply(lt4132(&Through::Everything), &tun).expect("applied");
    ip_program(&format!("link delete {}", tun.name()));
    let gone = tun.receive(&mut [0; 100]).expect_err("it is gone");
    assert_eq!(gone.raw_os_error(), Some(77), "{gone}");
    let error = configuration
        .replace(lt4132(&Through::Nothing))
        .expect_err("it is gone");
    assert_eq!(error.kind, ErrorKind::Gone, "{error}");
}
