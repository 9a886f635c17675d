//! The half of a host interface that moves packets. It belongs to one thread at a time.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uwwan_tun::coalesce::Merge;

/// The half of a host interface that moves packets, by the kind of packets.
///
/// Its descriptor ([`AsFd`]) is non-blocking, and readable when the host has packets to send.
pub enum HostData {
    /// Host interface that carries one datagram or Ethernet frame in a call.
    Single(Box<dyn Single>),
    /// Host interface that carries large packets, each standing for many datagrams.
    Large(Box<dyn Large>),
}

impl HostData {
    /// Returns the descriptor that is writable when the host has room for a packet.
    #[must_use]
    pub fn writable(&self) -> BorrowedFd<'_> {
        match self {
            Self::Single(host) => host.as_fd(),
            Self::Large(host) => host.writable(),
        }
    }

    /// Returns the same as [`Single::has_waiting`].
    pub(crate) fn has_waiting(&self) -> bool {
        match self {
            Self::Single(host) => host.has_waiting(),
            Self::Large(host) => host.has_waiting(),
        }
    }
}

impl AsFd for HostData {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Single(host) => host.as_fd(),
            Self::Large(host) => host.as_fd(),
        }
    }
}

/// A host interface that carries one datagram or Ethernet frame in a call.
pub trait Single: AsFd + Send {
    /// Reads one datagram from the host into `buffer` and returns its length in bytes. Bytes that
    /// do not fit are cut off. Length 0, returned again and again, means that the other side is
    /// closed, and ends the host interface as an error does.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the host has no datagram. Any other error ends the data path.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns whether datagrams of the host wait here, so that there is one to receive although the
    /// descriptor may not be readable.
    fn has_waiting(&self) -> bool {
        false
    }

    /// Writes one datagram to the host and returns its length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the host has no room yet. Any other error drops this
    /// datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize>;
}

/// A host interface that carries packets behind a virtio header, large ones among them (see
/// [`uwwan_tun::offload`]).
pub trait Large: AsFd + Send {
    /// Returns the descriptor that is writable when the host has room for a packet.
    fn writable(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    /// Returns the kinds of datagrams that the host takes merged into one packet.
    fn merge(&self) -> Merge;

    /// Reads one packet with its virtio header into `buffers`, one after the other, and returns the
    /// number of bytes read, header included. Less than a header ends the host interface as an error
    /// does.
    ///
    /// # Errors
    /// Those of [`Single::receive`].
    fn receive(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Reads one packet as [`Large::receive`] does, of another flow than the packet that
    /// [`Large::receive`] returned last. Datagrams of that one may still wait to be sent.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when none is found, as always where flows are not kept apart;
    /// otherwise those of [`Single::receive`].
    fn receive_other(&mut self, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns the same as [`Single::has_waiting`].
    fn has_waiting(&self) -> bool {
        false
    }

    /// Writes one packet, gathered from buffers of which the first begins with the header, and
    /// returns the number of bytes written, header included.
    ///
    /// # Errors
    /// Those of [`Single::send`]. The datagrams of a large packet that is refused are tried one by
    /// one.
    fn send(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Slot of a data half, which outlives the data paths that use it. The half is in the slot while no
/// data path has taken it.
pub(crate) struct DataSlot(Mutex<Option<HostData>>);

impl DataSlot {
    /// Makes a slot with a data half in it.
    pub(crate) fn new(data: HostData) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(data))))
    }

    /// Takes the data half out of the slot until the returned value is dropped. Returns `None`
    /// while a data path has it.
    pub(crate) fn take(self: &Arc<Self>) -> Option<TakenData> {
        let data = self.lock().take()?;
        Some(TakenData {
            slot: Arc::clone(self),
            data: Some(data),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<HostData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A data half in use. Dropping it puts the half back in its slot.
pub(crate) struct TakenData {
    slot: Arc<DataSlot>,
    /// The data half, which is `None` only while this value is dropped.
    data: Option<HostData>,
}

impl Deref for TakenData {
    type Target = HostData;

    fn deref(&self) -> &HostData {
        self.data.as_ref().expect("not dropped")
    }
}

impl DerefMut for TakenData {
    fn deref_mut(&mut self) -> &mut HostData {
        self.data.as_mut().expect("not dropped")
    }
}

impl Drop for TakenData {
    fn drop(&mut self) {
        *self.slot.lock() = self.data.take();
    }
}
