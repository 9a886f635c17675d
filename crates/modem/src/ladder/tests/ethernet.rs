//! The short ladder of a plain network device.

use super::*;

fn climbed() -> Bench {
    let mut bench = Bench::new(Options::default());
    bench.quirk = &quirks::ETHERNET;
    bench.ethernet = true;
    bench.climb()
}

fn rungs(bench: &Bench) -> Vec<&str> {
    let done = bench.log.iter().filter_map(|line| line.strip_prefix("* "));
    done.filter_map(|line| line.split(':').next()).collect()
}

#[test]
fn no_rung_of_a_modem_is_climbed() {
    let bench = climbed();
    assert_eq!(
        rungs(&bench),
        ["found", "configuration", "claim", "data function"]
    );
    assert_eq!(bench.asked, [], "{:#?}", bench.log);
    assert!(bench.said("session 0 from host"));
    assert!(bench.ladder.is_online());
    // There is no control session to keep alive.
    assert_eq!(bench.ladder.poll_timeout(), None);
}

#[test]
fn losses_ask_nothing_of_it() {
    let mut bench = climbed();
    let why = "the host interface failed".to_owned();
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
    assert_eq!(bench.log, ["session 0 from host"]);
}
