//! Tests of TAP interfaces, which are Ethernet interfaces to the kernel, with a chosen address and
//! carrier.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Instant;

use uwwan_tun::plan::{Ipv6, Through};
use uwwan_tun::{Address, Configuration, ErrorKind, Interface, Plan, Tap};

use crate::{PATIENCE, ip_program};

const ADDRESS: [u8; 6] = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55];

/// Returns the output of `ip link` for an interface.
fn link(name: &str) -> String {
    let output = Command::new("ip")
        .args(["-o", "link", "show", "dev", name])
        .output()
        .expect("iproute2 is there");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn plan() -> Plan {
    let addresses = vec![
        Address::new([192, 168, 77, 1], 24),
        Address::new("fd00:77::1".parse::<std::net::Ipv6Addr>().unwrap(), 64),
    ];
    Plan {
        ipv6: Ipv6::Host,
        ..Plan::for_modem(addresses, &[], &Through::Nothing, None, 1500)
    }
}

/// Returns the next frame of that Ethernet type.
fn frame(tap: &Tap, kind: u16) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2000];
    loop {
        match tap.receive(&mut buffer) {
            Ok(length) if buffer[12..14] == kind.to_be_bytes() => {
                return buffer[..length].to_vec();
            }
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
                assert!(Instant::now() < deadline, "no frame of type {kind:04x}");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

pub fn a_tap_is_an_ethernet() {
    let tap = Tap::open(None, Some(ADDRESS)).expect("a TAP");
    assert_eq!(tap.address().expect("read"), ADDRESS);
    // Without a carrier the addresses are set all the same, and not waited for.
    tap.set_carrier(false).expect("carrier off");
    let _configuration = Configuration::apply(plan(), &tap).expect("applied");
    let there = link(tap.name());
    assert!(there.contains("NO-CARRIER"), "{there}");
    assert!(there.contains("02:11:22:33:44:55"), "{there}");
    tap.set_carrier(true).expect("carrier on");
    let there = link(tap.name());
    assert!(there.contains("LOWER_UP"), "{there}");
    // The host asks for a neighbour's address, and receives the answer.
    let socket = UdpSocket::bind("192.168.77.1:0").expect("our address");
    socket.send_to(b"hello", "192.168.77.2:9").expect("sent");
    let question = frame(&tap, 0x0806);
    assert_eq!(question[..6], [0xff; 6], "to everybody");
    assert_eq!(question[6..12], ADDRESS, "from our address");
    let mut answer = question.clone();
    let them = [0x02, 0, 0, 0, 0, 2];
    answer[..6].copy_from_slice(&ADDRESS);
    answer[6..12].copy_from_slice(&them);
    answer[21] = 2;
    answer[22..28].copy_from_slice(&them);
    answer[28..32].copy_from_slice(&[192, 168, 77, 2]);
    answer[32..38].copy_from_slice(&ADDRESS);
    answer[38..42].copy_from_slice(&[192, 168, 77, 1]);
    tap.send(&answer).expect("taken");
    let datagram = frame(&tap, 0x0800);
    assert_eq!(datagram[..6], them);
    assert!(datagram.ends_with(b"hello"));
    // With a carrier the kernel makes its own link-local address, as on any Ethernet.
    frame(&tap, 0x86dd);
    let runt = tap.send(&[0; 13]).expect_err("no Ethernet header");
    assert_eq!(runt.kind(), std::io::ErrorKind::InvalidInput, "{runt}");
}

pub fn a_prepared_tap_gets_its_address_back() {
    ip_program("tuntap add dev kept1 mode tap");
    ip_program("link set kept1 address 02:00:00:00:00:99");
    let tap = Tap::open(Some("kept1"), Some(ADDRESS)).expect("attached");
    assert!(tap.attached());
    assert!(link("kept1").contains("02:11:22:33:44:55"));
    drop(tap);
    assert!(link("kept1").contains("02:00:00:00:00:99"));
    let group = Tap::open(Some("kept1"), Some([1; 6])).expect_err("a group's address");
    assert_eq!(group.kind, ErrorKind::Invalid, "{group}");
    ip_program("tuntap add dev kept2 mode tun");
    let other = Tap::open(Some("kept2"), None).expect_err("a TUN");
    assert!(
        other.to_string().contains("no plain TAP interface"),
        "{other}"
    );
}
