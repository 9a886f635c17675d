//! Tests of what a process that was killed has left on an interface that stays.

use std::sync::{Arc, Mutex};

use uwwan_tun::dns::Paths;
use uwwan_tun::left::{Left, Note};
use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Configuration, ErrorKind, Plan, Tun, observe};

use crate::{ip, ip_program, range};

/// Makes an interface that stays, with an address of the user's own, and attaches to it. Returns it, a
/// note of what is changed on it, and what that holds at present.
fn made(name: &str) -> (Tun, Note, impl Fn() -> Left) {
    ip_program(&format!("tuntap add dev {name} mode tun"));
    ip_program(&format!("address add 172.16.9.9/24 dev {name}"));
    let tun = Tun::open(Some(name)).expect("attached");
    let last: Arc<Mutex<Left>> = Arc::default();
    let kept = Arc::clone(&last);
    let note = Note::kept_by(move |left| *kept.lock().unwrap() = left.clone());
    (tun, note, move || last.lock().unwrap().clone())
}

pub fn what_a_killed_run_left_is_taken_back_whatever_the_name_is() {
    let (tun, note, noted) = made("left0");
    ip_program("link set left0 mtu 1111");
    let plan = |own: &str| {
        let through = Through::Ranges(vec![range("192.0.2.0/24"), range("2001:db8:2::/48")]);
        let addresses = vec![
            Address::new(ip(own), 24),
            Address::new(ip("2001:db8::2"), 64),
        ];
        Plan::for_modem(addresses, &[], &through, Some(7), 1500)
    };
    let mut configuration =
        Configuration::apply_noted(plan("10.1.1.2"), &tun, note).expect("applied");
    let early = noted();
    configuration.replace(plan("10.1.1.3")).expect("replaced");
    let late = noted();
    // A process that is killed restores nothing.
    std::mem::forget(configuration);
    ip_program("route add 198.51.100.0/24 dev left0 proto static");
    let paths = Paths::default();
    let busy = late.clone().take_back(&paths).expect_err("it is open");
    assert_eq!(busy.kind, ErrorKind::Busy, "{busy}");
    let index = tun.index();
    drop(tun);
    ip_program("link set left0 down");
    ip_program("link set left0 name other0");
    ip_program("link set other0 up");
    // All of an earlier note is in the later one, or was removed.
    let text = serde_json::to_string(&late).expect("written");
    let late: Left = serde_json::from_str(&text).expect("read");
    assert_ne!(early, late);
    let settings = &late.interface.as_ref().expect("noted").before.settings;
    assert!(
        settings.iter().all(|(name, _)| !name.contains('/')),
        "{settings:?}"
    );
    late.clone().take_back(&paths).expect("taken back");
    let there = observe(index).expect("it stays");
    assert_eq!(
        there.addresses,
        [Address::new(ip("172.16.9.9"), 24)],
        "it was not ours"
    );
    assert_eq!(there.routes, []);
    assert_eq!((there.up, there.mtu), (false, 1111));
    ip_program("link delete other0");
    late.take_back(&paths).expect("nothing is left of it");
}

pub fn routes_of_others_stay_when_a_killed_runs_are_taken_back() {
    let (tun, note, noted) = made("left1");
    ip_program("link set left1 up");
    let through = Through::Ranges(vec![range("192.0.2.0/24")]);
    let addresses = vec![Address::new(ip("10.1.1.2"), 24)];
    let plan = Plan::for_modem(addresses, &[], &through, Some(7), 1500);
    let configuration = Configuration::apply_noted(plan, &tun, note).expect("applied");
    std::mem::forget(configuration);
    ip_program("route add 198.51.100.0/24 dev left1 proto static");
    let index = tun.index();
    drop(tun);
    noted().take_back(&Paths::default()).expect("taken back");
    let there = observe(index).expect("it stays");
    assert!(there.up, "it was up before");
    let leads_to = |to: &str| {
        let mut routes = there.routes.iter();
        routes.any(|route| route.destination == range(to))
    };
    assert!(leads_to("198.51.100.0/24"), "it was not ours");
    assert!(!leads_to("192.0.2.0/24"));
    let mut own = there.addresses.iter().filter(|own| own.ip.is_ipv4());
    assert_eq!(own.next(), Some(&Address::new(ip("172.16.9.9"), 24)));
    assert_eq!(own.next(), None);
}

pub fn an_interface_of_another_driver_is_not_touched() {
    ip_program("link set lo up");
    // The loopback interface is a namespace's first.
    let index = 1;
    let before = observe(index).expect("observed").addresses;
    assert!(before.contains(&Address::new(ip("127.0.0.1"), 8)));
    let forged = format!(
        r#"{{"interface":{{"index":{index},"addresses":[{{"ip":"127.0.0.1","prefix":8}}],"routes":[],
            "before":{{"up":false,"mtu":null,"tx_queue_length":null,"gen_mode":null,"settings":[]}}}},
            "name_servers":null}}"#
    );
    let left: Left = serde_json::from_str(&forged).expect("read");
    let refused = left.take_back(&Paths::default()).expect_err("no TUN");
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    let there = observe(index).expect("it stays");
    assert_eq!((there.up, there.addresses), (true, before));
}
