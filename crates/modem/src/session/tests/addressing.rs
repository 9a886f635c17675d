//! Addresses of session 0, late, chosen or changed, and the host interface that gets them.

use super::bench::{Bench, good, ip, status};
use super::*;
use crate::options::StaticAddresses;

#[test]
fn an_address_may_come_late_or_never() {
    let nothing = || good(ip(false, false));
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, [nothing(), nothing()])
        .climb();
    assert!(bench.online);
    assert_eq!(bench.count(SessionAsk::Addresses), 3);
    // The modem may get addresses while the link is asked.
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, vec![nothing(); 4])
        .climb();
    assert!(bench.online && bench.injected > 0);
    assert_eq!(bench.count(SessionAsk::Addresses), 5);
    // An indication without addresses does not end the queries.
    let mut bench =
        Bench::new(SessionOptions::default()).answers(SessionAsk::Addresses, vec![nothing(); 20]);
    bench.start(Rung::Connect);
    while bench.injected == 0 {
        bench.work();
        if bench.injected == 0 {
            bench.pass();
        }
    }
    bench.indicate(bc::IP_CONFIGURATION, &ip(false, false));
    assert!(bench.session.poll_at.is_some());
    // After that the link is asked for addresses, over a data path without any.
    for silent in [nothing(), status(Status::NO_DEVICE_SUPPORT, Vec::new())] {
        let bench = Bench::new(SessionOptions::default())
            .answers(SessionAsk::Addresses, vec![silent; 20])
            .climb();
        assert!(bench.injected > 4, "{}", bench.injected);
        assert!(
            bench.failure().what.contains("no address in 25 s"),
            "{}",
            bench.failure()
        );
    }
    let chosen = SessionOptions {
        static_addresses: StaticAddresses {
            addresses: vec!["192.0.2.7/24".parse().unwrap()],
            gateways: vec!["192.0.2.1".parse().unwrap()],
        },
        ..SessionOptions::default()
    };
    let unsupported = status(Status::NO_DEVICE_SUPPORT, Vec::new());
    let bench = Bench::new(chosen.clone())
        .answers(SessionAsk::Addresses, [unsupported])
        .climb();
    assert!(bench.online && bench.injected == 0);
    let bench_told = Bench::new(chosen).climb();
    let addresses = bench_told.addresses.unwrap();
    assert_eq!(addresses.list(), ["192.0.2.7/24", "2001:db8::77/64"]);
    assert_eq!(addresses.gateway4, Some([192, 0, 2, 1].into()));
}

#[test]
fn new_addresses_reach_the_host() {
    let mut bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, [good(ip(true, false))])
        .climb();
    bench.log.clear();
    bench.indicate(bc::IP_CONFIGURATION, &ip(true, false));
    assert!(bench.log.is_empty(), "nothing new");
    bench.indicate(bc::IP_CONFIGURATION, &ip(true, true));
    assert!(
        bench.said("host 10.169.198.77/30 2001:db8::77/64") && bench.said("data"),
        "{:#?}",
        bench.log
    );
    assert!(bench.session.status().online);
    bench.indicate(bc::IP_CONFIGURATION, &ip(false, false));
    assert!(bench.session.status().online && bench.back.is_none());
}

/// Returns a session that is up with one family of the modem.
fn half(v4: bool) -> Bench {
    Bench::new(SessionOptions::default())
        .answers(SessionAsk::Addresses, [good(ip(v4, !v4))])
        .climb()
}

#[test]
fn a_family_the_modem_does_not_tell_is_asked_for_over_the_link() {
    for v4 in [true, false] {
        let mut bench = half(v4);
        let begun = bench.facts.begun;
        assert!(bench.online && bench.now == begun, "it waits for nothing");
        let text = "asking the network for one over the link";
        assert!(bench.said(text), "{:#?}", bench.log);
        bench.pass();
        bench.work();
        assert_eq!(bench.injected, 1);
        let (family, other) = (bench.session.link_families(), v4);
        assert_eq!((family.v4, family.v6), (!other, other));
        // No router answers: the session solicits ever more rarely, and stays up.
        while bench.now < begun + Duration::from_secs(24 * 3600) {
            bench.pass();
            bench.work();
        }
        assert!(bench.session.status().online && bench.back.is_none());
        assert!((25..45).contains(&bench.injected), "{}", bench.injected);
    }
}

#[test]
fn what_the_link_gives_is_added_to_what_the_modem_told() {
    let mut bench = half(true);
    bench.log.clear();
    bench.advertise();
    assert!(bench.said("over the link: 10.169.198.77/30, 2001:db8:1:2:"));
    let host = "host 10.169.198.77/30 2001:db8:1:2:";
    assert!(bench.said(host) && bench.said("data"), "{:#?}", bench.log);
    assert_eq!(bench.addresses.as_ref().unwrap().list().len(), 2);
    // A change of the modem's configuration leaves the link's address in place.
    bench.log.clear();
    bench.indicate(bc::IP_CONFIGURATION, &ip(true, false));
    assert!(bench.log.is_empty(), "{:#?}", bench.log);
    // When the modem reports that family after all, the link is asked no more.
    bench.indicate(bc::IP_CONFIGURATION, &ip(true, true));
    assert!(bench.said("host 10.169.198.77/30 2001:db8::77/64"));
    assert_eq!(bench.session.link_families(), LinkFamilies::default());
    assert!(bench.session.poll_timeout().is_none());
}

#[test]
fn a_family_the_network_does_not_give_is_not_asked_for() {
    let half = connect(
        0,
        ActivationState::ACTIVATED,
        NwError(NwError::PDP_TYPE_IPV4_ONLY_ALLOWED.0 + 100),
    );
    let bench = Bench::new(SessionOptions::default())
        .answers(SessionAsk::Activate, [good(half)])
        .answers(SessionAsk::Addresses, [good(ip(true, false))])
        .climb();
    assert!(bench.online && bench.session.poll_timeout().is_none());
    let single = SessionOptions {
        ip_type: IpType::Ipv4,
        ..SessionOptions::default()
    };
    let bench = Bench::new(single)
        .answers(SessionAsk::Addresses, [good(ip(true, false))])
        .climb();
    assert!(bench.online && bench.session.poll_timeout().is_none());
}

#[test]
fn a_host_that_goes_is_made_anew() {
    let mut bench = Bench::new(SessionOptions::default()).climb();
    bench
        .session
        .host_lost(bench.now, "the host interface failed");
    bench.work();
    let expected = Input::Lost {
        from: Rung::Host,
        why: "the host interface failed".into(),
    };
    assert_eq!(bench.back, Some(expected));
}

#[test]
fn a_host_that_refuses_is_told() {
    let mut bench = Bench::new(SessionOptions::default());
    bench.host = Some(
        Failure::new(FailureKind::Permission, "create a TUN interface")
            .because("not permitted")
            .next("run as root"),
    );
    let bench = bench.climb();
    assert_eq!(bench.failed().1, Rung::IpConfiguration);
    assert_eq!(bench.failure().rung(), Some(Rung::Host));
    assert_eq!(
        bench.failure().what,
        "create a TUN interface: not permitted"
    );
    assert_eq!(bench.failure().kind, FailureKind::Permission);
    assert_eq!(bench.failure().next, ["run as root"]);
}

fn network_device(addresses: &[&str]) -> Bench {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    let mut bench = Bench::new(SessionOptions {
        static_addresses: StaticAddresses {
            addresses: addresses.collect(),
            gateways: Vec::new(),
        },
        ..SessionOptions::default()
    });
    bench.facts.quirk = &quirks::ETHERNET;
    bench.facts.plain = true;
    bench.facts.ethernet = Some(Ethernet {
        address: None,
        carrier: true,
    });
    bench.start(Rung::Host);
    bench.run();
    bench
}

#[test]
fn a_network_device_has_the_addresses_of_the_user() {
    let mut bench = network_device(&["192.0.2.7/24"]);
    assert_eq!(bench.asked, [], "{:#?}", bench.log);
    assert!(bench.said("host 192.0.2.7/24") && bench.online);
    assert!(bench.addresses.is_some());
    // A plain network device has no connection that could have ended.
    bench.session.judged(
        Instant::now(),
        Verdict::NeverAnswered { asked: 3 },
        &Framing::bare(1514, 512),
        None,
    );
    bench.work();
    assert_eq!(bench.asked, []);
}

#[test]
fn without_addresses_a_network_device_is_online_all_the_same() {
    let bench = network_device(&[]);
    assert!(bench.online);
    let addresses = bench.session.status().addresses.unwrap();
    assert_eq!((addresses.list().len(), addresses.mtu), (0, 1500));
}

#[test]
fn a_link_whose_frames_are_short_of_ipv6_gets_ipv4() {
    let short = |ip_type: IpType| {
        let options = SessionOptions {
            ip_type,
            ..SessionOptions::default()
        };
        let mut bench = Bench::new(options);
        bench.facts.sizes = Sizes {
            segment: Some(1200),
            frame: Some(1200),
            ..Sizes::default()
        };
        bench.climb()
    };
    for ip_type in [IpType::Default, IpType::Ipv4v6, IpType::Ipv4] {
        let bench = short(ip_type);
        assert!(bench.online, "{:#?}", bench.log);
        assert_eq!(bench.families, [ContextIpType::IPV4]);
        // What the modem tells of IPv6 all the same is left out.
        let addresses = bench.addresses.as_ref().unwrap();
        assert_eq!(addresses.list(), ["10.169.198.77/30"]);
        assert_eq!(addresses.mtu, 1200);
        assert_eq!(
            bench.said("carries 1200 bytes, and IPv6 needs 1280"),
            ip_type != IpType::Ipv4,
            "{:#?}",
            bench.log
        );
    }
    let bench = short(IpType::Ipv6);
    assert!(!bench.online && bench.families.is_empty());
    let failure = bench.failure();
    assert!(failure.fatal, "{failure}");
    assert!(failure.next[0].contains("--ip-type ipv4"), "{failure}");
    assert!(failure.why[0].contains("1280"), "{failure}");
}
