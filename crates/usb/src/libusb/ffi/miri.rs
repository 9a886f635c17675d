//! Tests of transfers, their memory and their ends in several threads, with libusb in Rust.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::fake::{BROUGHT, REFUSED, SILENT};
use super::handle::Handle;
use super::transfer::{Transfer, TransferRequest};
use crate::buffer::{Buffer, Memory};
use crate::descriptors::{Endpoint, TransferKind};
use crate::device::{Identity, Queue, Speed};
use crate::error::TransferError;
use crate::libusb::inner::Inner;
use crate::libusb::queue::LibusbQueue;
use crate::libusb::wake::Wake;
use crate::observed::Observation;

fn handle() -> Arc<Handle> {
    let node: OwnedFd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    Handle::open(node, Wake::new().unwrap()).unwrap()
}

fn inner(handle: &Arc<Handle>) -> Inner {
    let identity = Identity {
        vendor: 0x03f0,
        product: 0xa31d,
        bus: 1,
        address: 2,
        port: "1-1".to_owned(),
        speed: Speed::High,
        manufacturer: None,
        product_name: None,
        serial: None,
    };
    Inner::new(Arc::clone(handle), identity)
}

fn request(endpoint: u8, length: usize) -> TransferRequest {
    TransferRequest {
        kind: TransferKind::Bulk,
        endpoint,
        length,
        zero_packet: false,
        timeout: 0,
    }
}

fn queue(handle: &Arc<Handle>, address: u8) -> LibusbQueue {
    let endpoint = Endpoint {
        address,
        kind: TransferKind::Bulk,
        max_packet_size: 512,
        interval: 0,
    };
    let unobserved = Observation::default().queue(address, TransferKind::Bulk);
    LibusbQueue::new(Arc::new(inner(handle)), endpoint, unobserved).unwrap()
}

#[test]
fn memory_of_either_kind_goes_out_and_comes_back() {
    let handle = handle();
    for mapped in [false, true] {
        let mut transfer = Transfer::new(&handle).unwrap();
        let buffer = match mapped {
            true => Buffer::from_memory(Memory::Mapped(handle.map(64).unwrap()), 0),
            false => Buffer::heap(64),
        };
        transfer.submit(request(0x81, 40), buffer).unwrap();
        assert!(transfer.take().is_none());
        let again = transfer.submit(request(0x81, 40), Buffer::heap(64));
        assert!(again.is_err(), "it is in flight");
        // The value moves while its transfer is in flight.
        let mut transfer = Box::new(transfer);
        handle
            .handle_events(Duration::ZERO, Some(transfer.done()))
            .unwrap();
        let (buffer, moved, result) = transfer.take().unwrap();
        assert_eq!((moved, result), (40, Ok(())));
        assert!(buffer.bytes()[..40].iter().all(|byte| *byte == BROUGHT));
        assert_eq!(buffer.bytes()[40..], [0; 24]);
        // The same memory is sent again, with more payload than it was received with.
        let mut buffer = buffer;
        buffer.bytes_mut().fill(BROUGHT);
        transfer.submit(request(1, 64), buffer).unwrap();
        handle.handle_events(Duration::ZERO, None).unwrap();
        assert_eq!(transfer.take().unwrap().1, 64);
        assert!(transfer.take().is_none(), "an outcome is taken once");
    }
    assert_eq!(handle.descriptors(), [(0, true)]);
}

#[test]
fn what_is_refused_comes_back_at_once() {
    let handle = handle();
    let mut transfer = Transfer::new(&handle).unwrap();
    for bad in [request(REFUSED, 8), request(0x81, 9)] {
        let (buffer, _) = transfer.submit(bad, Buffer::heap(8)).unwrap_err();
        assert_eq!(buffer.bytes(), [0; 8]);
    }
    transfer.submit(request(0x81, 8), Buffer::heap(8)).unwrap();
    handle.handle_events(Duration::ZERO, None).unwrap();
    assert_eq!(transfer.take().unwrap().1, 8);
}

#[test]
fn a_transfer_ends_in_one_thread_while_another_waits_and_cancels() {
    let handle = handle();
    let stop = Arc::new(AtomicBool::new(false));
    assert!(handle.wake().begin_pump());
    let pump = std::thread::spawn({
        let (handle, stop) = (Arc::clone(&handle), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::SeqCst) {
                handle
                    .wake()
                    .as_pump(|| handle.handle_events(Duration::ZERO, None))
                    .unwrap();
                std::thread::yield_now();
            }
            handle.wake().end_pump();
        }
    });
    let inner = inner(&handle);
    let soon = || Instant::now() + Duration::from_secs(60);
    let mut transfer = Transfer::new(&handle).unwrap();
    for round in 0..4 {
        let endpoint = if round % 2 == 0 { 0x81 } else { SILENT };
        transfer
            .submit(request(endpoint, 16), Buffer::heap(16))
            .unwrap();
        if endpoint == SILENT {
            transfer.cancel();
        }
        assert!(inner.wait(transfer.done(), soon()));
        let (buffer, moved, result) = transfer.take().unwrap();
        match endpoint {
            SILENT => assert_eq!((moved, result), (0, Err(TransferError::Cancelled))),
            _ => assert_eq!(buffer.bytes(), [BROUGHT; 16]),
        }
    }
    stop.store(true, Ordering::SeqCst);
    pump.join().unwrap();
}

#[test]
fn a_queue_that_goes_cancels_what_it_has_in_flight() {
    let handle = handle();
    let mut queue = queue(&handle, SILENT);
    for _ in 0..3 {
        let buffer = queue.allocate(32);
        queue.submit(buffer).unwrap();
    }
    queue.submit(Buffer::heap(32)).unwrap();
    assert!(queue.try_next().is_none());
    assert_eq!(queue.pending(), 4);
    queue.cancel_all();
    let ended = queue.next(Duration::from_secs(60)).unwrap();
    assert_eq!(ended.result, Err(TransferError::Cancelled));
    drop(queue);
}

#[test]
fn a_wait_is_interrupted_from_another_thread() {
    let handle = handle();
    let pump = std::thread::spawn({
        let handle = Arc::clone(&handle);
        move || assert!(handle.wake().begin_pump())
    });
    pump.join().unwrap();
    let mut queue = queue(&handle, SILENT);
    queue.submit(Buffer::heap(32)).unwrap();
    let interrupter = queue.interrupter().unwrap();
    let waiter = std::thread::spawn(move || {
        let long = Duration::from_secs(36_000);
        // The interrupt ends the call in progress and every later one.
        let ended = (queue.next(long), queue.next(long), queue.pending());
        handle.wake().end_pump();
        drop(queue);
        ended
    });
    interrupter.interrupt();
    let (first, second, pending) = waiter.join().unwrap();
    assert!(first.is_none() && second.is_none());
    assert_eq!(pending, 1);
}

#[test]
fn leaks_what_does_not_end() {
    let handle = handle();
    let mut transfer = Transfer::new(&handle).unwrap();
    transfer
        .submit(request(SILENT, 16), Buffer::heap(16))
        .unwrap();
    drop(transfer);
    // The kernel may still write to the memory.
    handle.handle_events(Duration::ZERO, None).unwrap();
}
