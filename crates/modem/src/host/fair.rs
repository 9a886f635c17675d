//! Interfaces of the kernel, and the flows of those with one queue, which the driver keeps apart itself
//! ([`uwwan_tun::flows`]).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use uwwan_tun::coalesce::Merge;
use uwwan_tun::flows::Flows;
use uwwan_tun::headers::VNET_HEADER;
use uwwan_tun::{Offload, Tap, Tun};

use super::data::{HostData, Large, Single};

/// Length of an Ethernet header in bytes (IEEE 802.3 section 3.1.1).
const ETHERNET: usize = 14;

/// Interface, and the packets taken out of its only queue.
struct Fair<I> {
    interface: I,
    flows: Flows,
}

/// Returns the half that moves packets of a TUN interface for single packets.
pub(super) fn packets(interface: Tun) -> HostData {
    let flows = Flows::new(0);
    HostData::Single(Box::new(Fair { interface, flows }))
}

/// Returns the half that moves packets of a TAP interface.
pub(super) fn frames(interface: Arc<Tap>) -> HostData {
    let flows = Flows::new(ETHERNET);
    HostData::Single(Box::new(Fair { interface, flows }))
}

/// Returns the half that moves packets of a TUN interface with offload.
pub(super) fn large(interface: Offload) -> HostData {
    if interface.queues() > 1 {
        return HostData::Large(Box::new(interface));
    }
    let flows = Flows::new(VNET_HEADER);
    HostData::Large(Box::new(Fair { interface, flows }))
}

impl<I: AsFd> AsFd for Fair<I> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interface.as_fd()
    }
}

impl Single for Fair<Tun> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |buffers: &mut [IoSliceMut<'_>]| self.interface.receive_vectored(buffers);
        self.flows.read(&mut [IoSliceMut::new(buffer)], read)
    }

    fn has_waiting(&self) -> bool {
        !self.flows.is_empty()
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.interface.send(datagram)
    }
}

impl Single for Fair<Arc<Tap>> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |buffers: &mut [IoSliceMut<'_>]| self.interface.receive_vectored(buffers);
        self.flows.read(&mut [IoSliceMut::new(buffer)], read)
    }

    fn has_waiting(&self) -> bool {
        !self.flows.is_empty()
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.interface.send(frame)
    }
}

impl Large for Fair<Offload> {
    fn writable(&self) -> BorrowedFd<'_> {
        self.interface.writable()
    }

    fn merge(&self) -> Merge {
        self.interface.merge()
    }

    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = |buffers: &mut [IoSliceMut<'_>]| self.interface.receive(buffers);
        self.flows.read(buffers, read)
    }

    fn receive_other(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = |buffers: &mut [IoSliceMut<'_>]| self.interface.receive(buffers);
        self.flows.read_other(buffers, read)
    }

    fn has_waiting(&self) -> bool {
        !self.flows.is_empty()
    }

    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.interface.send(buffers)
    }
}
