//! Bytes over a Unix socket together with open descriptors (unix(7), `SCM_RIGHTS`).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Most descriptors beside one piece of bytes: the queues of an interface and the descriptor to write
/// through. The kernel closes the descriptors of a client that sends more.
const MOST: usize = 33;

/// Reads bytes, and puts the descriptors that came with them into `descriptors`. Returns the number of
/// bytes.
///
/// # Errors
/// Those of recvmsg(2).
pub(super) fn receive(
    socket: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let read = rustix::net::recvmsg(socket, &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let messages = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.extend(messages.flatten());
    Ok(read.bytes)
}

/// Sends bytes with descriptors beside the first of them. Returns the number of bytes sent.
///
/// # Errors
/// Those of sendmsg(2), and `EINVAL` for more descriptors than one piece of bytes may have.
pub(crate) fn send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let parts = [IoSlice::new(bytes)];
    retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut beside, SendFlags::NOSIGNAL))
}
