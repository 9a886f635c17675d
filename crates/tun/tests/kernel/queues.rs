//! Tests of the queues of an offload interface, filled and read through the kernel.

use std::collections::HashMap;
use std::io::{ErrorKind as Io, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use uwwan_tun::plan::Through;
use uwwan_tun::{Address, Configuration, ErrorKind, Interface, Offload, Offloads, Plan, Tun};

use crate::packets::packet;
use crate::router::{offload, wait};
use crate::{PATIENCE, ip, range};

/// Returns an interface that is configured with a route to 192.0.2.0/24.
fn configured() -> (Offload, Configuration) {
    let interface = offload();
    let through = Through::Ranges(vec![range("192.0.2.0/24")]);
    let addresses = vec![Address::new(ip("10.7.7.2"), 24)];
    let plan = Plan::for_modem(addresses, &[], &through, None, 1500);
    let configuration = Configuration::apply(plan, &interface).expect("applied");
    (interface, configuration)
}

/// Returns a flow: a socket with a port of its own.
fn flow() -> UdpSocket {
    UdpSocket::bind("10.7.7.2:0").expect("a port")
}

fn send(flow: &UdpSocket, number: u32) {
    let sent = flow.send_to(&number.to_be_bytes(), "192.0.2.9:5000");
    assert_eq!(sent.expect("sent"), 4);
}

/// Returns the source port and the number of the next packet that a flow sent.
fn next(interface: &mut Offload) -> Option<(u16, u32)> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        match interface.receive(&mut [IoSliceMut::new(&mut buffer)]) {
            Ok(length) => {
                let ip = &buffer[10..length];
                if ip[0] == 0x45 && ip[9] == 17 && ip[16..20] == [192, 0, 2, 9] {
                    let port = u16::from_be_bytes([ip[20], ip[21]]);
                    let number = ip[28..32].try_into().expect("four bytes");
                    return Some((port, u32::from_be_bytes(number)));
                }
            }
            Err(error) if error.kind() == Io::WouldBlock => {
                if !wait(&*interface, Duration::from_millis(200)) {
                    return None;
                }
            }
            Err(error) => panic!("receive: {error}"),
        }
    }
    None
}

/// A packet of a later flow comes before those of a flow that has filled its queue. The order
/// within each flow stays, with answers or without.
pub fn one_flow_keeps_no_other_waiting() {
    let (mut interface, _configuration) = configured();
    assert!(
        interface.queues() > 1,
        "this kernel is too old for these checks"
    );
    let bulk = flow();
    let flows: Vec<UdpSocket> = (0..40).map(|_| flow()).collect();
    let port = |flow: &UdpSocket| flow.local_addr().expect("bound").port();
    let mut ahead = 0;
    for round in 0..3 {
        for number in 0..300 {
            send(&bulk, 1000 * round + number);
        }
        for flow in &flows {
            send(flow, 2 * round);
            send(flow, 2 * round + 1);
        }
        let mut seen: HashMap<u16, u32> = HashMap::new();
        let mut of_bulk = 0;
        for _ in 0..300 + 2 * flows.len() {
            let (from, number) = next(&mut interface).expect("none is lost");
            let before = seen.insert(from, number);
            assert!(
                before.is_none_or(|before| before + 1 == number),
                "{from}: {number}"
            );
            if from == port(&bulk) {
                of_bulk += 1;
            } else if of_bulk < 200 {
                ahead += 1;
            }
            if from != port(&bulk) || number.is_multiple_of(50) {
                // The kernel must not learn from an answer to which queue the flow belongs.
                let answer = [[5000, from], [8, 0]].map(|pair| pair.map(u16::to_be_bytes));
                let answer = answer.as_flattened().as_flattened();
                let answer = packet(ip("192.0.2.9"), ip("10.7.7.2"), 17, 64, answer, 6);
                let sent = interface.send(&[IoSlice::new(&[0; 10]), IoSlice::new(&answer)]);
                sent.expect("the kernel takes it");
            }
        }
        assert_eq!(of_bulk, 300);
    }
    // One flow in thirty-two shares the queue of the bulk flow by chance; that half of them do is
    // practically impossible.
    let all = 3 * 2 * flows.len();
    assert!(ahead > all / 2, "only {ahead} of {all} came early");
}

/// An interface with queues is not shared by accident, in either mode.
pub fn an_interface_with_queues_is_taken() {
    let first = offload();
    let name = Some(first.name());
    for error in [
        Offload::open(name, Offloads::TCP).expect_err("it is open already"),
        Tun::open(name).expect_err("it is open already"),
    ] {
        assert_eq!(error.kind, ErrorKind::Busy, "{error}");
        assert!(error.to_string().contains("another uwwan"), "{error}");
    }
}

/// An interface that root made with queues is read through all of them, by one reader at a time.
pub fn a_prepared_interface_keeps_its_queues() {
    crate::ip_program("tuntap add dev kept3 mode tun multi_queue");
    let name = Some("kept3");
    for _ in 0..2 {
        let interface = Offload::open(name, Offloads::TCP).expect("attached");
        assert!(interface.attached());
        assert!(interface.queues() > 1);
        let error = Offload::open(name, Offloads::TCP).expect_err("it is open already");
        assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    }
    let error = Tun::open(name).expect_err("one packet a call reads one queue");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("several queues"), "{error}");
}

/// A read reports that the interface was deleted, and a wait asks for that read.
pub fn a_deleted_interface_with_queues_is_told() {
    let (mut interface, _configuration) = configured();
    crate::ip_program(&format!("link delete {}", interface.name()));
    assert!(wait(&interface, Duration::from_secs(5)), "it is told");
    let mut buffer = [0; 2048];
    let mut read = || interface.receive(&mut [IoSliceMut::new(&mut buffer)]);
    // A queue that was read without a look is followed by one.
    let error = [read(), read()].into_iter().filter_map(Result::err).last();
    assert_eq!(error.and_then(|error| error.raw_os_error()), Some(77));
}
