use super::*;
use crate::host_socket::{MAX_ANSWERS, MAX_HELD};
use crate::knobs::Knobs;
use crate::upstream::MAX_REQUESTS;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Returns a connection, and the socket of a guest that has sent its hello.
fn pair() -> (Connection, OwnedFd) {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let presented = Arc::new(Presented::new(&Knobs::default(), None, &Default::default()));
    let connection = Connection::new(ours, Recorder::default(), presented).unwrap();
    (connection, theirs)
}

fn greeted() -> (Connection, OwnedFd) {
    let (mut connection, guest) = pair();
    rustix::io::write(&guest, &Encoder::hello()).unwrap();
    assert!(receive(&mut connection).unwrap().is_empty());
    connection.flush().unwrap();
    let told = read(&guest);
    // The bytes are hello, interfaces, endpoints and connect.
    assert_eq!(told.len(), 80 + 148 + 176 + 26);
    (connection, guest)
}

fn read(guest: &OwnedFd) -> Vec<u8> {
    rustix::io::ioctl_fionbio(guest, true).unwrap();
    let mut bytes = vec![0; 100_000];
    let length = rustix::io::read(guest, &mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

fn message(kind: u32, id: u64, body: &[u8]) -> Vec<u8> {
    let mut all = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    all.extend(id.to_le_bytes());
    all.extend(body);
    all
}

/// Reads the requests that the guest has sent until this call.
fn receive(connection: &mut Connection) -> Result<Vec<Request>, HostGone> {
    let mut requests = Vec::new();
    connection.receive(&mut requests).map(|()| requests)
}

/// Returns the transfers among the guest's requests.
fn submitted(requests: Vec<Request>) -> Vec<Urb> {
    let urb = |request| match request {
        Request::Submit(urb) => Some(urb),
        _ => None,
    };
    requests.into_iter().filter_map(urb).collect()
}

/// Returns the tokens of the transfers that the guest's requests cancel.
fn cancelled(requests: &[Request]) -> Vec<Token> {
    let token = |request: &Request| match request {
        Request::Cancel(token) => Some(*token),
        _ => None,
    };
    requests.iter().filter_map(token).collect()
}

fn requests(connection: &mut Connection, guest: &OwnedFd, bytes: &[u8]) -> Vec<Request> {
    rustix::io::write(guest, bytes).unwrap();
    receive(connection).unwrap()
}

fn urbs(connection: &mut Connection, guest: &OwnedFd, bytes: &[u8]) -> Vec<Urb> {
    submitted(requests(connection, guest, bytes))
}

#[test]
fn a_configuration_comes_with_its_endpoints() {
    let (mut connection, guest) = greeted();
    let mut urbs = urbs(&mut connection, &guest, &message(6, 77, &[3]));
    let urb = urbs.pop().unwrap();
    assert_eq!(urb.setup, SetupPacket::from_bytes([0, 9, 3, 0, 0, 0, 0, 0]));
    connection.complete(urb.end(UrbStatus::Done));
    connection.flush().unwrap();
    let told = read(&guest);
    assert_eq!(told.len(), 148 + 176 + 18);
    assert_eq!(told[148 + 176..], message(8, 77, &[0, 3]));
    // The data endpoints come with the alternate setting that has them.
    let slots = |told: &[u8]| told[16..48].iter().filter(|kind| **kind == 2).count();
    let before = slots(&told[148..]);
    let data = connection
        .layout
        .endpoints
        .iter()
        .find(|place| place.alternate > 0);
    let (interface, alternate) = data
        .map(|place| (place.interface, place.alternate))
        .unwrap();
    let mut urbs = self::urbs(
        &mut connection,
        &guest,
        &message(9, 78, &[interface, alternate]),
    );
    let urb = urbs.pop().unwrap();
    assert_eq!((urb.setup.request, urb.setup.index), (11, interface.into()));
    connection.complete(urb.end(UrbStatus::Done));
    connection.flush().unwrap();
    let told = read(&guest);
    assert_eq!(slots(&told[148..]), before + 2);
}

#[test]
fn refusals_change_nothing() {
    let (mut connection, guest) = greeted();
    let mut urbs = urbs(&mut connection, &guest, &message(6, 1, &[9]));
    connection.complete(urbs.pop().unwrap().end(UrbStatus::Stall));
    connection.flush().unwrap();
    assert_eq!(read(&guest), message(8, 1, &[4, 0]));
}

#[test]
fn transfers_come_out_of_a_stream_cut_anywhere() {
    let (mut connection, guest) = greeted();
    let mut body = vec![1, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    body.extend(b"hello");
    let mut seen = Vec::new();
    for byte in message(101, 9, &body) {
        seen.extend(submitted(receive(&mut connection).unwrap()));
        rustix::io::write(&guest, &[byte]).unwrap();
    }
    seen.extend(submitted(receive(&mut connection).unwrap()));
    let urb = seen.pop().unwrap();
    assert!(seen.is_empty());
    assert_eq!((urb.endpoint, urb.buffer.filled()), (1, &b"hello"[..]));
    connection.complete(urb.end(UrbStatus::Done));
    connection.flush().unwrap();
    assert_eq!(
        read(&guest),
        message(101, 9, &[1, 0, 5, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(connection.socket.held(), 0);
}

#[test]
fn a_cancelled_transfer_is_answered_once() {
    let (mut connection, guest) = greeted();
    let bytes = message(101, 5, &[0x81, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    let mut urbs = urbs(&mut connection, &guest, &bytes);
    let asked = requests(&mut connection, &guest, &message(21, 5, &[]));
    let token = cancelled(&asked)[0];
    assert_eq!(asked.len(), 1);
    let urb = urbs.pop().unwrap();
    assert_eq!((urb.token, urb.wanted), (token, 512));
    connection.complete(urb.end(UrbStatus::Cancelled));
    connection.flush().unwrap();
    assert_eq!(
        read(&guest),
        message(101, 5, &[0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    );
    // A transfer that does not exist is not cancelled.
    assert!(requests(&mut connection, &guest, &message(21, 5, &[])).is_empty());
}

#[test]
fn interrupts_are_listened_to_until_told_otherwise() {
    let (mut connection, guest) = greeted();
    connection.configured(3);
    let endpoint = connection
        .active()
        .find(|place| place.interrupt)
        .unwrap()
        .address;
    let mut urbs = urbs(&mut connection, &guest, &message(15, 0, &[endpoint]));
    assert_eq!(urbs.len(), LISTENING);
    let mut urb = urbs.pop().unwrap();
    urb.buffer.bytes_mut()[..2].copy_from_slice(b"hi");
    urb.buffer.set_len(2);
    connection.complete(urb.end(UrbStatus::Done));
    assert!(connection.has_more(), "another takes its place");
    connection.flush().unwrap();
    let mut packet = message(17, 0, &[0, endpoint]);
    packet.extend(message(103, 1, &[endpoint, 0, 2, 0, b'h', b'i']));
    assert_eq!(read(&guest), packet);
    let asked = requests(&mut connection, &guest, &message(16, 0, &[endpoint]));
    assert_eq!(cancelled(&asked).len(), LISTENING);
    assert_eq!(submitted(asked).len(), 1);
    connection.complete(urbs.pop().unwrap().end(UrbStatus::Cancelled));
    assert!(!connection.has_more());
    connection.flush().unwrap();
    assert_eq!(read(&guest), message(17, 0, &[0, endpoint]));
    // The endpoint is no interrupt endpoint.
    assert!(self::urbs(&mut connection, &guest, &message(15, 0, &[1])).is_empty());
    connection.flush().unwrap();
    assert_eq!(read(&guest), message(17, 0, &[2, 1]));
}

#[test]
fn nothing_after_a_reset_comes_before_it() {
    let (mut connection, guest) = greeted();
    let mut bytes = message(3, 0, &[]);
    bytes.extend(message(6, 1, &[3]));
    let asked = requests(&mut connection, &guest, &bytes);
    assert!(matches!(asked[..], [Request::ResetPort]));
    assert!(connection.has_more());
    assert_eq!(submitted(receive(&mut connection).unwrap()).len(), 1);
}

#[test]
fn hostile_guests_are_cut_off() {
    for bytes in [
        message(101, 1, &[1, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
        message(12, 1, &[0x81, 1, 1]),
        Encoder::hello(),
        vec![0xff; 64],
    ] {
        let (mut connection, guest) = greeted();
        rustix::io::write(&guest, &bytes).unwrap();
        assert_eq!(receive(&mut connection).map(|_| ()), Err(HostGone));
    }
    let (mut connection, guest) = greeted();
    drop(guest);
    assert_eq!(receive(&mut connection).map(|_| ()), Err(HostGone));
    let (mut connection, guest) = pair();
    rustix::io::write(&guest, &message(6, 1, &[3])).unwrap();
    assert_eq!(receive(&mut connection).map(|_| ()), Err(HostGone));
}

#[test]
fn a_guest_cannot_make_it_grow() {
    // The transfers never end.
    let (mut connection, guest) = greeted();
    let one = message(101, 5, &[0x81, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    let mut cut_off = false;
    for _ in 0..2 * MAX_PENDING {
        rustix::io::write(&guest, &one).unwrap();
        if receive(&mut connection).is_err() {
            cut_off = true;
            break;
        }
    }
    assert!(cut_off && connection.socket.held() <= MAX_HELD + MAX_TRANSFER);
    // One transfer is cancelled again and again.
    let (mut connection, guest) = greeted();
    let cancel = message(21, 5, &[]);
    rustix::io::write(&guest, &[one, cancel.repeat(1000)].concat()).unwrap();
    for _ in 0..3 {
        assert_eq!(receive(&mut connection).unwrap().len(), MAX_REQUESTS);
        assert!(connection.has_more());
    }
    // The answers are never read.
    let (mut connection, guest) = greeted();
    rustix::io::ioctl_fionbio(&guest, true).unwrap();
    let stop = message(16, 0, &[0x82]);
    while rustix::io::write(&guest, &stop).is_ok() {
        receive(&mut connection).unwrap();
    }
    assert!(connection.socket.answers() <= MAX_ANSWERS);
}
