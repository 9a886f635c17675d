//! Tests of interfaces beside other users and programs. What belongs to others is left, and what
//! they remove is noticed, added again, and reported with the process that removed it.

use std::process::Command;
use std::sync::mpsc::{self, Receiver};

use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Change, Configuration, ErrorKind, Offload, Offloads, Plan, Tun, Watch};

use crate::PATIENCE;

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status();
    assert!(status.expect("ip (iproute2)").success(), "ip {words}");
}

fn plan() -> Plan {
    let addresses = vec![
        Address::new("10.9.0.2".parse::<std::net::IpAddr>().unwrap(), 30),
        Address::new("2001:db8::2".parse::<std::net::IpAddr>().unwrap(), 64),
    ];
    let gateways = ["10.9.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    Plan::for_modem(addresses, &gateways, &Through::Everything, Some(700), 1400)
}

/// Waits for announcements until `fits` accepts the state.
fn until(changes: &Receiver<()>, what: &str, mut fits: impl FnMut() -> bool) {
    while !fits() {
        assert!(changes.recv_timeout(PATIENCE).is_ok(), "{what}");
    }
}

pub fn what_is_taken_away_is_put_back() {
    let tun = Tun::open(None).unwrap();
    let mut configuration = Configuration::apply(plan(), &tun).unwrap();
    let (sender, changes) = mpsc::channel();
    let watch = Watch::start(tun.index(), move || {
        let _ = sender.send(());
    })
    .unwrap();
    let all = configuration.changes();
    assert_eq!(configuration.missing().unwrap(), Vec::<Change>::new());
    let name = tun.name();
    for (attack, taken) in [
        (format!("addr flush dev {name}"), "address 10.9.0.2/30"),
        (format!("link set {name} down"), "interface"),
        ("route del default metric 700".into(), "route 0.0.0.0/0"),
        (format!("link set {name} mtu 1300"), "MTU 1400"),
        (format!("-6 route flush dev {name}"), "route ::/0"),
    ] {
        ip(&attack);
        until(&changes, &attack, || {
            let missing = configuration.missing().unwrap();
            missing
                .iter()
                .any(|change| change.to_string().contains(taken))
        });
        // The watch reports what is there.
        assert!(
            !configuration
                .changes()
                .iter()
                .any(|change| change.to_string().contains(taken)),
            "{attack}"
        );
        configuration.put_back().unwrap();
        assert_eq!(
            configuration.missing().unwrap(),
            Vec::<Change>::new(),
            "{attack}"
        );
        assert_eq!(configuration.changes(), all, "{attack}");
    }
    // `ip` gave its process id to the kernel, and has ended.
    let culprit = watch.take_culprit().expect("somebody");
    assert!(culprit.starts_with("process "), "{culprit}");
}

pub fn a_rival_default_route_is_told() {
    let tun = Tun::open(None).unwrap();
    let mut configuration = Configuration::apply(plan(), &tun).unwrap();
    let other = Tun::open(None).unwrap();
    let (sender, changes) = mpsc::channel();
    let watch = Watch::start(tun.index(), move || {
        let _ = sender.send(());
    })
    .unwrap();
    assert_eq!(configuration.rivals().unwrap(), Vec::<String>::new());
    let name = other.name();
    ip(&format!("link set {name} up"));
    ip(&format!("route add default dev {name} metric 900"));
    ip(&format!(
        "route add default dev {name} metric 100 proto dhcp"
    ));
    until(&changes, "a rival", || {
        !configuration.rivals().unwrap().is_empty()
    });
    let rivals = configuration.rivals().unwrap();
    assert_eq!(rivals.len(), 1, "{rivals:?}");
    for part in ["metric 100", name, "dhcp"] {
        assert!(rivals[0].contains(part), "{rivals:?}");
    }
    assert_eq!(configuration.missing().unwrap(), Vec::<Change>::new());
    drop(watch);
}

pub fn an_interface_of_another_user_is_left() {
    let own = rustix::process::geteuid().as_raw();
    ip(&format!("tuntap add name mine mode tun user {own}"));
    assert!(Tun::open(Some("mine")).unwrap().attached());
    if own != 0 {
        // In a user namespace there is no other user to make the interface for.
        return;
    }
    ip("tuntap add name theirs mode tun user 12345");
    let plain = Tun::open(Some("theirs")).expect_err("it is another user's");
    let offload = Offload::open(Some("theirs"), Offloads::TCP).expect_err("it is another user's");
    for error in [plain, offload] {
        assert_eq!(error.kind, ErrorKind::NoPermission, "{error}");
        assert!(error.to_string().contains("12345"), "{error}");
    }
}
