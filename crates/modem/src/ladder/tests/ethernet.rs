//! The short way up of a plain network device.

use super::*;
use crate::options::StaticAddresses;

fn bench(addresses: &[&str]) -> Bench {
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    let mut bench = Bench::new(Options {
        static_addresses: StaticAddresses {
            addresses: addresses.collect(),
            gateways: Vec::new(),
        },
        ..Options::default()
    });
    bench.quirk = &quirks::ETHERNET;
    bench.ethernet = Some(Ethernet {
        address: None,
        carrier: true,
    });
    bench
}

fn rungs(bench: &Bench) -> Vec<&str> {
    let done = bench.log.iter().filter_map(|line| line.strip_prefix("* "));
    done.filter_map(|line| line.split(':').next()).collect()
}

#[test]
fn no_rung_of_a_modem_is_climbed() {
    let bench = bench(&["192.0.2.7/24"]).climb();
    assert_eq!(
        rungs(&bench),
        [
            "found",
            "configuration",
            "claim",
            "data function",
            "host",
            "online"
        ]
    );
    assert_eq!(bench.asked, [], "{:#?}", bench.log);
    assert!(bench.said("host 192.0.2.7/24"));
    assert!(bench.ladder.is_online());
    // Nobody to keep alive, nobody to suspect.
    assert_eq!(bench.ladder.poll_timeout(), None);
}

#[test]
fn without_addresses_it_is_online_all_the_same() {
    let bench = bench(&[]).climb();
    assert!(bench.ladder.is_online());
    let addresses = bench.ladder.facts().addresses.clone().unwrap();
    assert_eq!((addresses.list().len(), addresses.mtu), (0, 1500));
}

#[test]
fn suspicion_and_losses_ask_nothing_of_it() {
    let mut bench = bench(&[]).climb();
    bench.ladder.handle(bench.now, Input::Suspicion);
    assert_eq!(bench.ladder.next_action(), None);
    let why = "the host's end failed".to_owned();
    let from = Rung::IpConfiguration;
    bench.ladder.handle(bench.now, Input::Lost { from, why });
    while let Some(action) = bench.ladder.next_action() {
        bench.perform(action);
    }
    bench.log.clear();
    bench.ladder.start(bench.now, from);
    while let Some(action) = bench.ladder.next_action() {
        bench.perform(action);
    }
    assert_eq!(rungs(&bench), ["host", "online"]);
}
