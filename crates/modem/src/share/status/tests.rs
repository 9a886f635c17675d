use super::client::REQUEST_TIME;
use super::*;
use crate::capture::{self, Capture, Captures, Destination};
use crate::raw::{self, RawEvent, To};
use std::time::Duration;
use uwwan_usb::descriptors::TransferKind;
use uwwan_usb::observed::{Moment, Observer, Seen};

struct Capturing(Arc<Captures>);

impl Responder for Capturing {
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn stop(&self) {}
    fn capture(
        &self,
        options: capture::Options,
        destination: Destination,
    ) -> Result<Capture, Failure> {
        self.0.start(options, destination)
    }
}

/// A client that does not read its capture delays neither the end nor other clients: the last
/// transfers reach a client when the capture's thread has written them.
#[test]
fn the_end_does_not_wait_for_captures() {
    let captures = Arc::<Captures>::default();
    let waker = Waker::new().unwrap();
    let mut service = StatusService {
        device: "1-4".into(),
        owners: String::new(),
        operators: String::new(),
        responder: Box::new(Capturing(Arc::clone(&captures))),
        changes: Arc::default(),
        waker: waker.clone(),
        clients: BTreeMap::new(),
        next: 0,
    };
    let now = Instant::now();
    let mut begin = || {
        let client = service.connect(now, Entrance::Private, Caller::Owner);
        let client = client.unwrap();
        service.receive(now, client, b"{\"command\":\"capture\"}\n");
        client
    };
    let (reads, leaves) = (begin(), begin());
    assert!(captures.is_active());
    // The transfers are more than may wait for the loop, so that the capture's thread cannot end by
    // itself.
    for id in 0..4 {
        captures.transfer(&Seen {
            bus: 1,
            address: 7,
            id,
            moment: Moment::Submitted,
            kind: TransferKind::Bulk,
            endpoint: 1,
            setup: None,
            length: 1 << 20,
            data: &vec![0; 1 << 20],
        });
    }
    service.disconnect(now, leaves);
    service.stop(now);
    assert!(!captures.is_active());
    assert_eq!(service.clients[&reads].phase, Phase::Capturing);
    let (mut read, mut set) = (0, crate::poll::PollSet::default());
    while service.take_finished(now).is_none() {
        let waiting = service.output(reads).len();
        read += waiting;
        service.wrote(now, reads, waiting);
        if waiting == 0 {
            set.clear();
            set.add(&waker, true, false);
            set.wait(Some(Duration::from_secs(60))).unwrap();
            waker.reset();
            service.work(now);
        }
    }
    assert!(read > 4 << 20, "{read} bytes");
}

/// Responder that keeps the orders to send, with the ends on which events are reported.
#[derive(Default)]
struct Sends(Arc<std::sync::Mutex<Vec<raw::Raw>>>);

impl Responder for Sends {
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn stop(&self) {}
    fn send(
        &self,
        to: To,
        transfers: Vec<Vec<u8>>,
        wait: Duration,
        waker: Waker,
    ) -> Result<raw::Listener, Failure> {
        let (order, listener) = raw::Raw::new(to, transfers, wait, Some(waker))?;
        self.0.lock().unwrap().push(order);
        Ok(listener)
    }
}

#[test]
fn bytes_follow_their_order_and_what_is_heard_follows_the_answer() {
    let sends = Sends::default();
    let orders = Arc::clone(&sends.0);
    let mut service = StatusService {
        device: "1-4".into(),
        owners: "root".into(),
        operators: "root, group uwwan (--operator)".into(),
        responder: Box::new(sends),
        changes: Arc::default(),
        waker: Waker::new().unwrap(),
        clients: BTreeMap::new(),
        next: 0,
    };
    let now = Instant::now();
    let order = br#"{"command":"send","to":"control","lengths":[3,0,2],"wait_ms":50}"#;
    let reply = |service: &mut StatusService, client| {
        service.work(now);
        let output = service.output(client).to_vec();
        service.wrote(now, client, output.len());
        let line = output.split(|byte| *byte == b'\n').next().unwrap();
        serde_json::from_slice::<Reply>(line).unwrap()
    };
    // An order is refused before a byte of it is taken when the caller is no owner, or when it is
    // too long.
    for (caller, line) in [
        (Caller::Operator, &order[..]),
        (
            Caller::Owner,
            br#"{"command":"send","to":"control","lengths":[],"wait_ms":50}"#,
        ),
        (
            Caller::Owner,
            br#"{"command":"send","to":"data","lengths":[4294967295],"wait_ms":50}"#,
        ),
        (
            Caller::Owner,
            br#"{"command":"send","to":"data","lengths":[1],"wait_ms":9999999}"#,
        ),
    ] {
        let client = service.connect(now, Entrance::Private, caller).unwrap();
        service.receive(now, client, &[line, b"\n"].concat());
        assert!(!reply(&mut service, client).ok);
        assert!(service.take_finished(now).is_some());
    }
    assert!(orders.lock().unwrap().is_empty());

    let client = service
        .connect(now, Entrance::Private, Caller::Owner)
        .unwrap();
    service.receive(now, client, &[&order[..], b"\nab"].concat());
    assert_eq!(service.room(client), 3);
    service.receive(now, client, b"cde");
    let mut raw = orders.lock().unwrap().pop().unwrap();
    let expected = [b"abc".to_vec(), Vec::new(), b"de".to_vec()];
    assert_eq!((raw.to, raw.transfers), (To::Control, expected.to_vec()));
    assert!(reply(&mut service, client).ok);
    assert!(raw.teller.came(now, &[1, 2], true));
    let heard = reply(&mut service, client).heard.unwrap();
    assert!(matches!(heard, RawEvent::Came { bytes, answers: true, .. } if bytes == [1, 2]));
    drop(raw.teller);
    service.work(now);
    assert!(service.take_finished(now).is_some());

    // A client that leaves is told of nothing more.
    let client = service
        .connect(now, Entrance::Private, Caller::Owner)
        .unwrap();
    service.receive(now, client, &[&order[..], b"\nabcde"].concat());
    let mut raw = orders.lock().unwrap().pop().unwrap();
    service.disconnect(now, client);
    assert!(!raw.teller.came(now, &[1], true));
    // A client that closes its sending half is told of nothing more either, and its place is free.
    let client = service
        .connect(now, Entrance::Private, Caller::Owner)
        .unwrap();
    service.receive(now, client, &[&order[..], b"\nabcde"].concat());
    let raw = orders.lock().unwrap().pop().unwrap();
    assert!(raw.teller.is_heard());
    let taken = service.output(client).len();
    service.wrote(now, client, taken);
    service.input_ended(now, client, 0);
    assert!(!raw.teller.is_heard());
    assert_eq!(service.take_finished(now), Some(client));
    // A client that announces more bytes than it sends is dropped in time.
    let client = service
        .connect(now, Entrance::Private, Caller::Owner)
        .unwrap();
    service.receive(now, client, &[&order[..], b"\na"].concat());
    service.work(now + REQUEST_TIME);
    assert_eq!(service.take_finished(now), Some(client));
    assert!(orders.lock().unwrap().is_empty());
}
