//! Test of a cable to a thread in a namespace of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use uwwan_tun::plan::Through;
use uwwan_tun::veth::Veth;
use uwwan_tun::{Address, Configuration, Interface, Plan, namespace};

use crate::ip;

fn plan(address: &str) -> Plan {
    let addresses = vec![Address::new(ip(address), 30)];
    Plan::for_modem(addresses, &[], &Through::Nothing, None, 1500)
}

pub fn a_cable_leads_to_another_namespace() {
    let (namespaces, namespace) = mpsc::channel();
    let (laid, cable_laid) = mpsc::channel();
    let (serving, served) = mpsc::channel();
    let far = std::thread::spawn(move || {
        namespace::enter_alone().expect("a namespace");
        namespaces
            .send(namespace::current().expect("its descriptor"))
            .expect("wanted");
        cable_laid.recv().expect("the cable is laid");
        let end = Veth::find("cable-far").expect("the far end");
        assert!(end.attached(), "it stays when this end is dropped");
        let _configuration = Configuration::apply(plan("10.9.0.2"), &end).expect("applied");
        let listener = TcpListener::bind("10.9.0.2:7").expect("listens");
        serving.send(()).expect("wanted");
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut four = [0; 4];
        stream.read_exact(&mut four).expect("four bytes");
        stream.write_all(&four).expect("sent back");
    });
    let end = Veth::lay(
        "cable-near",
        namespace.recv().expect("a namespace"),
        "cable-far",
    )
    .expect("laid");
    let configuration = Configuration::apply(plan("10.9.0.1"), &end).expect("applied");
    Veth::find("cable-far").err().expect("it is not here");
    laid.send(()).expect("wanted");
    served.recv().expect("somebody listens");
    let mut stream = TcpStream::connect("10.9.0.2:7").expect("connected");
    stream.write_all(b"ping").expect("sent");
    let mut four = [0; 4];
    stream.read_exact(&mut four).expect("four bytes");
    assert_eq!(&four, b"ping");
    far.join().expect("the far end is content");
    drop(configuration);
    drop(end);
    Veth::find("cable-near").err().expect("it is gone");
}
