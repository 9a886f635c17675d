//! A host stack against the network of the far side, over every kind of link.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{PATIENCE, address, connected, host};
use uwwan_netstack::client::{Client, TcpStream};
use uwwan_netstack::link::{PacketLink, Wait};
use uwwan_netstack::server::{DEFAULT_V4, DEFAULT_V6, Server, ServerConfig};
use uwwan_netstack::socket::SocketLink;
use uwwan_netstack::{Error, memory, pattern};

fn http(client: &Client, to: IpAddr, request: &str) -> TcpStream {
    let mut stream = client
        .connect(SocketAddr::new(to, 80), PATIENCE)
        .expect("a connection");
    stream.set_read_timeout(Some(PATIENCE));
    stream.set_write_timeout(Some(PATIENCE));
    stream
        .write_all(request.as_bytes())
        .expect("the request is written");
    stream
}

/// Reads up to the empty line behind the head.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(
            stream.read(&mut byte).expect("a byte of the head"),
            1,
            "{head:?}"
        );
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

fn download(client: &Client, to: IpAddr, bytes: u64) {
    let mut stream = http(
        client,
        to,
        &format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: x\r\n\r\n"),
    );
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nContent-Length: {bytes}\r\n")),
        "{head}"
    );
    let mut received = 0;
    let mut buffer = vec![0; 64 * 1024];
    while received < bytes {
        let length = stream.read(&mut buffer).expect("more of the body");
        assert_ne!(
            length, 0,
            "the body ended after {received} of {bytes} bytes"
        );
        assert_eq!(
            pattern::mismatch(received, &buffer[..length]),
            None,
            "after byte {received}"
        );
        received += length as u64;
    }
    assert_eq!(received, bytes);
}

fn upload(client: &Client, to: IpAddr, bytes: usize) {
    let mut body = vec![0; bytes];
    pattern::fill(3, &mut body);
    let mut stream = http(
        client,
        to,
        &format!("POST /upload HTTP/1.1\r\nContent-Length: {bytes}\r\n\r\n"),
    );
    stream.write_all(&body).expect("the body is written");
    stream.shutdown_write();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let crc = crc32fast::hash(&body);
    let want = format!("{{\"bytes\":{bytes},\"crc32\":\"{crc:08x}\"}}\n");
    assert!(answer.ends_with(&want), "{answer} does not end with {want}");
}

#[test]
fn any_address_answers_ping() {
    let (_server, client) = connected();
    for to in [
        "198.51.100.1",
        "8.8.8.8",
        "10.64.0.1",
        "2001:db8:64::1",
        "2606:4700::1111",
    ] {
        for payload in [0, 56, 1400] {
            client
                .ping(address(to), payload, PATIENCE)
                .unwrap_or_else(|e| panic!("{to}: {e}"));
        }
    }
    // The packet has three fragments in each direction.
    client
        .ping(address("8.8.8.8"), 4000, PATIENCE)
        .expect("a fragmented ping");
}

#[test]
fn a_family_without_address_is_unreachable() {
    let (_server, near) = memory::pair(memory::Capacity::default());
    let mut config = host();
    config.addresses.truncate(1);
    let client = Client::start(config, near).expect("a client");
    let to = address("2001:db8::9");
    assert!(matches!(
        client.ping(to, 8, PATIENCE),
        Err(Error::Unreachable(_))
    ));
    assert!(matches!(
        client.connect(SocketAddr::new(to, 80), PATIENCE),
        Err(Error::Unreachable(_))
    ));
}

#[test]
fn nobody_answers_in_time_on_a_dead_link() {
    let (_far, near) = memory::pair(memory::Capacity::default());
    let client = Client::start(host(), near).expect("a client");
    let soon = Duration::from_millis(50);
    assert!(matches!(
        client.ping(address("8.8.8.8"), 8, soon),
        Err(Error::Timeout { .. })
    ));
    let to = SocketAddr::new(address("8.8.8.8"), 80);
    assert!(matches!(
        client.connect(to, soon),
        Err(Error::Timeout { .. })
    ));
    assert!(matches!(
        client.resolve_v4("test.uwwan", soon),
        Err(Error::Timeout { .. })
    ));
}

#[test]
fn downloads_are_the_pattern() {
    let (server, client) = connected();
    for to in [
        DEFAULT_V4.into(),
        DEFAULT_V6.into(),
        address("93.184.216.34"),
    ] {
        for bytes in [0, 1, 7, 1460, 100_003, 9_000_000] {
            download(&client, to, bytes);
        }
    }
    assert_eq!(
        server.stop().generated_bytes,
        3 * (1 + 7 + 1460 + 100_003 + 9_000_000)
    );
}

#[test]
fn uploads_are_counted_and_checksummed() {
    let (server, client) = connected();
    for to in [DEFAULT_V4.into(), DEFAULT_V6.into()] {
        for bytes in [0, 5, 70_000, 5_000_000] {
            upload(&client, to, bytes);
        }
    }
    assert_eq!(server.stop().uploaded_bytes, 2 * (5 + 70_000 + 5_000_000));
}

#[test]
fn a_chunked_upload_gets_its_continue() {
    let (_server, client) = connected();
    let mut stream = http(
        &client,
        DEFAULT_V4.into(),
        "PUT /upload/name HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream
        .write_all(b"5\r\nhello\r\n0\r\n\r\n")
        .expect("the body is written");
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    let mut body = [0; 32];
    let length = stream.read(&mut body).expect("an answer");
    // The expected value is the CRC-32 of "hello" as zlib computes it.
    assert_eq!(&body[..length], b"{\"bytes\":5,\"crc32\":\"3610a686\"}\n");
}

#[test]
fn one_connection_carries_many_requests() {
    let (server, client) = connected();
    let mut stream = http(
        &client,
        DEFAULT_V4.into(),
        &"GET /bytes/3 HTTP/1.1\r\n\r\n".repeat(5),
    );
    for _ in 0..5 {
        head(&mut stream);
        let mut body = [0; 3];
        stream.read_exact(&mut body).expect("the body");
        assert_eq!(pattern::mismatch(0, &body), None);
    }
    assert_eq!(server.stop().connections, 1);
}

#[test]
fn bad_requests_are_refused_in_words() {
    let (_server, client) = connected();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", "404"),
        ("GET /bytes/12x HTTP/1.1\r\n\r\n", "400"),
        ("GET /bytes/99999999999999999999 HTTP/1.1\r\n\r\n", "400"),
        ("DELETE / HTTP/1.1\r\n\r\n", "405"),
        ("POST /upload HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("\u{1}\u{2}\u{3}\r\n\r\n", "400"),
        (&long, "400"),
    ] {
        let mut stream = http(&client, DEFAULT_V4.into(), request);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:.40}: {answer}"
        );
    }
}

#[test]
fn many_flows_at_once_each_get_their_own_data() {
    let (server, client) = connected();
    std::thread::scope(|scope| {
        for number in 0..12_u64 {
            let client = &client;
            scope.spawn(move || {
                if number % 3 == 0 {
                    upload(client, DEFAULT_V6.into(), 300_000);
                } else {
                    download(client, DEFAULT_V4.into(), 500_000 + number);
                }
            });
        }
    });
    assert_eq!(server.stop().connections, 12);
}

#[test]
fn names_resolve_by_family_and_unknown_ones_do_not() {
    let (_server, client) = connected();
    assert_eq!(
        client.resolve_v4("test.uwwan", PATIENCE).expect("found"),
        [IpAddr::from(DEFAULT_V4)]
    );
    assert_eq!(
        client.resolve_v6("TEST.uwwan.", PATIENCE).expect("found"),
        [IpAddr::from(DEFAULT_V6)]
    );
    for answer in [
        client.resolve_v4("nothing.example", PATIENCE),
        client.lookup("nothing.example", PATIENCE),
    ] {
        assert!(matches!(answer, Err(Error::NoSuchName(_))), "{answer:?}");
    }
    let answer = client.resolve_v4("ipv6.test.uwwan", PATIENCE);
    assert!(matches!(answer, Err(Error::NoAddress(_))), "{answer:?}");
    let both = client.lookup("test.uwwan", PATIENCE).expect("found");
    assert_eq!(both, [IpAddr::from(DEFAULT_V6), IpAddr::from(DEFAULT_V4)]);
    let one = client.lookup("ipv6.test.uwwan", PATIENCE).expect("found");
    assert!(one.iter().all(IpAddr::is_ipv6), "{one:?}");
    assert!(matches!(
        client.resolve_v4("a..b", PATIENCE),
        Err(Error::BadName(_))
    ));
    client
        .reconfigure(&host().addresses, &[])
        .expect("a sound configuration");
    assert!(matches!(
        client.resolve_v4("test.uwwan", PATIENCE),
        Err(Error::NoNameServer)
    ));
}

#[test]
fn datagrams_come_back_from_the_echo_port() {
    let (server, client) = connected();
    let socket = client.udp().expect("a socket");
    let mut buffer = [0; 2000];
    for to in ["198.51.100.1", "2001:db8:64::1", "9.9.9.9"] {
        let to = SocketAddr::new(address(to), 7);
        for length in [0, 1, 1200] {
            let mut data = vec![0; length];
            pattern::fill(5, &mut data);
            socket.send_to(&data, to).expect("sent");
            let (received, from) = socket.receive_from(&mut buffer, PATIENCE).expect("an echo");
            assert_eq!((&buffer[..received], from), (&data[..], to));
        }
    }
    assert_eq!(server.stop().echoed_datagrams, 9);
    let too_long = vec![0; 1453];
    let v6 = SocketAddr::new(DEFAULT_V6.into(), 7);
    assert!(matches!(
        socket.send_to(&too_long, v6),
        Err(Error::TooLarge(1453, 1452))
    ));
}

#[test]
fn discard_takes_everything() {
    let (server, client) = connected();
    let mut stream = client
        .connect(SocketAddr::new(DEFAULT_V4.into(), 9), PATIENCE)
        .expect("a connection");
    stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(&vec![7; 3_000_000]).expect("written");
    stream.shutdown_write();
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
    assert_eq!(server.stop().discarded_bytes, 3_000_000);
}

#[test]
fn a_port_without_service_refuses() {
    let (_server, client) = connected();
    let to = SocketAddr::new(DEFAULT_V4.into(), 81);
    assert!(matches!(client.connect(to, PATIENCE), Err(Error::Refused(refused)) if refused == to));
}

#[test]
fn one_percent_loss_costs_time_only() {
    let (far, near) = memory::pair(memory::Capacity::default());
    let _server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let client = Client::start(host(), Lossy::new(near, 100)).expect("a client");
    download(&client, DEFAULT_V4.into(), 2_000_000);
    upload(&client, DEFAULT_V6.into(), 2_000_000);
}

#[test]
fn a_socket_link_carries_the_same() {
    let (near, far) = SocketLink::pair().expect("a socket pair");
    let far = SocketLink::new(far).expect("a link");
    let _server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let client = Client::start(host(), near).expect("a client");
    client
        .ping(address("1.2.3.4"), 100, PATIENCE)
        .expect("a ping");
    download(&client, DEFAULT_V4.into(), 3_000_000);
    upload(&client, DEFAULT_V6.into(), 3_000_000);
}

#[test]
fn a_narrow_link_makes_senders_wait_and_loses_nothing() {
    let (far, near) = memory::pair(memory::Capacity {
        packets: 4,
        bytes: 8000,
    });
    let server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let client = Client::start(host(), near).expect("a client");
    download(&client, DEFAULT_V4.into(), 2_000_000);
    upload(&client, DEFAULT_V4.into(), 2_000_000);
    drop(server);
}

#[test]
fn flows_survive_a_new_configuration_with_the_same_address() {
    let (_server, client) = connected();
    let mut stream = http(
        &client,
        DEFAULT_V4.into(),
        "GET /bytes/100000 HTTP/1.1\r\n\r\n",
    );
    head(&mut stream);
    let mut more = host().addresses;
    more.push((address("10.99.0.2"), 24));
    client
        .reconfigure(&more, &[])
        .expect("a sound configuration");
    let mut body = vec![0; 100_000];
    stream.read_exact(&mut body).expect("the body");
    assert_eq!(pattern::mismatch(0, &body), None);
    let bad = [(address("224.0.0.1"), 24)];
    assert!(matches!(
        client.reconfigure(&bad, &[]),
        Err(Error::BadAddress(_, 24))
    ));
}

#[test]
fn the_end_of_either_side_reaches_everybody() {
    let (server, client) = connected();
    let mut stream = client
        .connect(SocketAddr::new(DEFAULT_V4.into(), 80), PATIENCE)
        .expect("a connection");
    drop(server);
    assert!(stream.read(&mut [0]).is_err());
    assert!(matches!(
        client.ping(address("8.8.8.8"), 8, PATIENCE),
        Err(Error::Stopped)
    ));

    let (_server, client) = connected();
    let mut stream = client
        .connect(SocketAddr::new(DEFAULT_V4.into(), 80), PATIENCE)
        .expect("a connection");
    drop(client);
    assert!(stream.read(&mut [0]).is_err());
}

#[test]
fn a_peer_that_has_vanished_ends_its_stream_and_a_silent_one_does_not() {
    let (far, near) = memory::pair(memory::Capacity::default());
    let _server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let link = Without(near, move |_: &[u8]| is_dead.load(Ordering::Relaxed));
    let mut config = host();
    config.stack.silence = Duration::from_millis(100);
    let client = Client::start(config, link).expect("a client");
    let to = SocketAddr::new(DEFAULT_V4.into(), 80);
    let mut stream = client.connect(to, PATIENCE).expect("a connection");
    // The read waits longer than a peer takes to count as vanished.
    stream.set_read_timeout(Some(Duration::from_secs(1)));
    let error = stream.read(&mut [0]).expect_err("nothing was asked for");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    dead.store(true, Ordering::Relaxed);
    stream.set_read_timeout(Some(PATIENCE));
    let error = stream.read(&mut [0]).expect_err("it has vanished");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Returns whether a packet asks a name server at that address, or at any address, for AAAA
/// records.
fn asks(packet: &[u8], at: Option<&str>, aaaa: bool) -> bool {
    let to = IpAddr::from(<[u8; 4]>::try_from(&packet[16..20]).expect("four bytes"));
    let (protocol, port) = (packet[9], &packet[22..24]);
    packet[0] == 0x45
        && protocol == 17
        && port == [0, 53]
        && at.is_none_or(|at| address(at) == to)
        && (!aaaa || packet.ends_with(&[0, 28, 0, 1]))
}

#[test]
fn a_silent_name_server_costs_time_only() {
    let (far, near) = memory::pair(memory::Capacity::default());
    let _server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let link = Without(near, |packet: &[u8]| {
        asks(packet, Some("192.0.2.53"), false)
    });
    let mut config = host();
    config.name_servers = vec![address("192.0.2.53"), DEFAULT_V4.into()];
    let client = Client::start(config, link).expect("a client");
    let both = client.lookup("test.uwwan", PATIENCE).expect("found");
    assert_eq!(both, [IpAddr::from(DEFAULT_V6), IpAddr::from(DEFAULT_V4)]);
}

#[test]
fn a_family_that_is_not_answered_is_no_name_that_does_not_exist() {
    let (far, near) = memory::pair(memory::Capacity::default());
    let _server = Server::spawn(ServerConfig::default(), far).expect("a server");
    let link = Without(near, |packet: &[u8]| asks(packet, None, true));
    let mut config = host();
    config.name_servers = vec![DEFAULT_V4.into()];
    let client = Client::start(config, link).expect("a client");
    let four = client.lookup("test.uwwan", PATIENCE).expect("found");
    assert_eq!(four, [IpAddr::from(DEFAULT_V4)]);
    let soon = Duration::from_millis(200);
    let answer = client.lookup("ipv6.test.uwwan", soon);
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    // The answer of the other family must have arrived by then.
    let answer = client.lookup("nothing.example", Duration::from_secs(2));
    assert!(matches!(answer, Err(Error::NoSuchName(_))), "{answer:?}");
}

/// A link that loses the packets to the network for which the function returns true.
struct Without<L, F>(L, F);

impl<L: PacketLink, F: Fn(&[u8]) -> bool + Send> PacketLink for Without<L, F> {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.0.receive(buffer)
    }
    fn ready(&mut self) -> bool {
        self.0.ready()
    }
    fn send(&mut self, packet: &[u8]) -> bool {
        (self.1)(packet) || self.0.send(packet)
    }
    fn closed(&self) -> bool {
        self.0.closed()
    }
    fn waiter(&self) -> Arc<dyn Wait> {
        self.0.waiter()
    }
}

/// A link that loses one packet of `one_in` in each direction, by a fixed pseudo-random sequence.
struct Lossy<L> {
    inner: L,
    one_in: u64,
    state: u64,
    lost: u64,
}

impl<L> Lossy<L> {
    fn new(inner: L, one_in: u64) -> Lossy<L> {
        Lossy {
            inner,
            one_in,
            state: 0x1234_5678_9abc_def1,
            lost: 0,
        }
    }

    fn unlucky(&mut self) -> bool {
        // The generator is Marsaglia's xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let unlucky = self.state.is_multiple_of(self.one_in);
        self.lost += u64::from(unlucky);
        unlucky
    }
}

impl<L: PacketLink> PacketLink for Lossy<L> {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let length = self.inner.receive(buffer)?;
            if !self.unlucky() {
                return Some(length);
            }
        }
    }
    fn ready(&mut self) -> bool {
        self.inner.ready()
    }
    fn send(&mut self, packet: &[u8]) -> bool {
        self.unlucky() || self.inner.send(packet)
    }
    fn closed(&self) -> bool {
        self.inner.closed()
    }
    fn waiter(&self) -> Arc<dyn Wait> {
        self.inner.waiter()
    }
}
