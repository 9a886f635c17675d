//! A host that has imported the device: its socket, read and written without blocking.
//!
//! Makes the system calls `read` and `writev`. Buffers of transfers are pooled: in steady state
//! nothing is allocated. A host that does not read its answers is not read from either.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::codec::{self, Command, FLAG_ZERO_PACKET, HEADER};
use crate::answers::Answers;
use crate::report::{Recorder, Rule};
use crate::urb::{Completed, Token, Urb, UrbStatus};

/// Longest transfer accepted, in bytes.
const MAX_TRANSFER: u32 = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// Bytes of an isochronous packet descriptor.
const ISO_DESCRIPTOR: usize = 16;

const EPIPE: i32 = -32;
const EPROTO: i32 = -71;
const EOVERFLOW: i32 = -75;
const EINVAL: i32 = -22;
const ECONNRESET: i32 = -104;
const ESHUTDOWN: i32 = -108;

/// One importing host.
pub(crate) struct Connection {
    socket: OwnedFd,
    recorder: Recorder,
    input: Vec<u8>,
    /// Bytes of `input` that hold data, and how far it has been read.
    filled: usize,
    read: usize,
    answers: Answers<[u8; HEADER]>,
    unlinks: VecDeque<(u32, Token)>,
    unlinking: BTreeSet<Token>,
}

impl Connection {
    /// Takes over a socket in the transfer phase.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn new(socket: OwnedFd, recorder: Recorder) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            recorder,
            input: vec![0; CHUNK],
            filled: 0,
            read: 0,
            answers: Answers::new(),
            unlinks: VecDeque::new(),
            unlinking: BTreeSet::new(),
        })
    }

    /// For polling.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        self.answers.interest()
    }

    /// Reads what the host sent and starts its transfers. `false` when the host is gone or cannot
    /// be understood.
    pub fn receive(&mut self, mut submit: impl FnMut(Urb)) -> bool {
        // A read that leaves room has emptied the socket: no second one to be told so.
        let mut drained = false;
        loop {
            if self.answers.are_many() {
                return true;
            }
            while !self.answers.are_many() {
                match self.next_command(&mut submit) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => {
                        self.recorder.violation(Rule::Usb, || why);
                        return false;
                    }
                }
            }
            if drained {
                return true;
            }
            // Room for more: what is left of the last message moves to the front.
            self.input.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
            if self.filled == self.input.len() {
                let longer = self.input.len() * 2;
                self.input.resize(longer, 0);
            }
            match rustix::io::read(&self.socket, &mut self.input[self.filled..]) {
                Ok(0) => return false,
                Ok(length) => {
                    self.filled += length;
                    drained = self.filled < self.input.len();
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Handles one message if all of it is there.
    fn next_command(&mut self, submit: &mut impl FnMut(Urb)) -> Result<bool, String> {
        let waiting = &self.input[self.read..self.filled];
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else {
            return Ok(false);
        };
        let command = Command::decode(header).map_err(|error| error.to_string())?;
        let (sequence, endpoint, is_in, flags, length, packets, setup) = match command {
            Command::Unlink { sequence, target } => {
                self.read += HEADER;
                self.unlinks.push_back((sequence, target.into()));
                return Ok(true);
            }
            Command::Submit {
                sequence,
                endpoint,
                is_in,
                flags,
                length,
                packets,
                setup,
            } => (sequence, endpoint, is_in, flags, length, packets, setup),
        };
        if length > MAX_TRANSFER {
            return Err(format!("USB/IP transfer of {length} bytes"));
        }
        let length = length as usize;
        let data = if is_in { 0 } else { length };
        let isochronous = !matches!(packets, 0 | u32::MAX);
        let tail = match (isochronous, packets) {
            (false, _) => 0,
            (true, 1..=1024) => packets as usize * ISO_DESCRIPTOR,
            _ => return Err(format!("USB/IP transfer of {packets} isochronous packets")),
        };
        if rest.len() < data + tail {
            return Ok(false);
        }
        self.read += HEADER + data + tail;
        let start = self.read - data - tail;
        if isochronous {
            self.refuse(sequence, EINVAL);
            return Ok(true);
        }
        if endpoint > 15 || (endpoint == 0 && setup.is_in() != is_in && setup.length > 0) {
            self.recorder.violation(Rule::Usb, || {
                format!("USB/IP transfer on endpoint {endpoint} against its setup stage's direction or outside 0 to 15")
            });
            self.refuse(sequence, EPROTO);
            return Ok(true);
        }
        let mut buffer = self.answers.buffer(length, "USB/IP")?;
        if !is_in {
            buffer.bytes_mut()[..length].copy_from_slice(&self.input[start..start + length]);
            buffer.set_len(length);
        }
        let mut setup = setup;
        if endpoint == 0 && is_in {
            setup.request_type |= 0x80;
        }
        submit(Urb {
            token: sequence.into(),
            endpoint: endpoint as u8 | if is_in { 0x80 } else { 0 },
            setup,
            buffer,
            wanted: length,
            zero_packet: flags & FLAG_ZERO_PACKET != 0,
        });
        Ok(true)
    }

    fn refuse(&mut self, sequence: u32, status: i32) {
        self.answers
            .push(codec::ret_submit(sequence, status, 0), None);
    }

    /// The oldest request to take a transfer back: (its own sequence number, the transfer).
    pub fn next_unlink(&mut self) -> Option<(u32, Token)> {
        let (unlink, token) = self.unlinks.pop_front()?;
        self.unlinking.insert(token);
        Some((unlink, token))
    }

    /// Answers an unlink. `found`: the transfer was still pending.
    pub fn unlinked(&mut self, unlink: u32, token: Token, found: bool) {
        if !found {
            self.unlinking.remove(&token);
        }
        self.answers.push(
            codec::ret_unlink(unlink, if found { ECONNRESET } else { 0 }),
            None,
        );
    }

    /// Queues a transfer's answer.
    pub fn complete(&mut self, done: Completed) {
        if done.status == UrbStatus::Cancelled && self.unlinking.remove(&done.token) {
            // RET_UNLINK answers for it.
            self.answers.recycle(done.buffer);
            return;
        }
        let status = match done.status {
            UrbStatus::Done => 0,
            UrbStatus::Stall => EPIPE,
            UrbStatus::Overflow => EOVERFLOW,
            UrbStatus::Cancelled => ECONNRESET,
            UrbStatus::Gone => ESHUTDOWN,
            UrbStatus::Fault => EPROTO,
        };
        let is_in = done.endpoint & 0x80 != 0;
        let mut data = Some(done.buffer);
        if !is_in && let Some(buffer) = data.take() {
            self.answers.recycle(buffer);
        }
        let actual = u32::try_from(done.actual).unwrap_or(u32::MAX);
        self.answers
            .push(codec::ret_submit(done.token as u32, status, actual), data);
    }

    /// Writes answers, as many as the socket takes. `false` when the host is gone.
    pub fn flush(&mut self) -> bool {
        self.answers.flush(&self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::MAX_ANSWERS;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Connection, OwnedFd) {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (Connection::new(ours, Recorder::default()).unwrap(), theirs)
    }

    fn submit(sequence: u32, endpoint: u32, is_in: bool, length: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [
            1,
            sequence,
            0,
            u32::from(is_in),
            endpoint,
            0,
            length,
            0,
            0,
            0,
        ] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([0; 8]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn transfers_come_out_of_a_stream_cut_anywhere() {
        let (mut connection, host) = pair();
        let bytes = submit(7, 1, false, 5, b"hello");
        let mut seen = Vec::new();
        for byte in &bytes {
            assert!(connection.receive(|urb| seen.push(urb)));
            rustix::io::write(&host, std::slice::from_ref(byte)).unwrap();
        }
        assert!(connection.receive(|urb| seen.push(urb)));
        let urb = seen.pop().unwrap();
        assert!(seen.is_empty());
        assert_eq!((urb.token, urb.endpoint), (7, 1));
        assert_eq!(urb.buffer.filled(), b"hello");
        connection.complete(urb.end(UrbStatus::Done));
        assert!(connection.flush());
        let mut answer = [0; 64];
        assert_eq!(rustix::io::read(&host, &mut answer), Ok(HEADER));
        assert_eq!(answer[..HEADER], codec::ret_submit(7, 0, 5));
    }

    #[test]
    fn an_unlinked_transfer_is_answered_once() {
        let (mut connection, host) = pair();
        rustix::io::write(&host, &submit(1, 2, true, 64, &[])).unwrap();
        let mut unlink = Vec::new();
        for word in [2u32, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] {
            unlink.extend(word.to_be_bytes());
        }
        rustix::io::write(&host, &unlink).unwrap();
        let mut seen = Vec::new();
        assert!(connection.receive(|urb| seen.push(urb)));
        let (sequence, token) = connection.next_unlink().unwrap();
        assert_eq!((sequence, token), (9, 1));
        connection.unlinked(sequence, token, true);
        connection.complete(seen.pop().unwrap().end(UrbStatus::Cancelled));
        assert!(connection.flush());
        let mut answer = [0; 256];
        assert_eq!(rustix::io::read(&host, &mut answer), Ok(HEADER));
        assert_eq!(answer[..HEADER], codec::ret_unlink(9, ECONNRESET));
    }

    #[test]
    fn hostile_hosts_are_cut_off() {
        for bytes in [
            vec![0xff; HEADER],
            submit(1, 1, false, u32::MAX, &[]),
            submit(1, 1, true, MAX_TRANSFER + 1, &[]),
        ] {
            let (mut connection, host) = pair();
            rustix::io::write(&host, &bytes).unwrap();
            assert!(!connection.receive(|_| panic!("nothing to submit")));
        }
        let (mut connection, host) = pair();
        let mut iso = submit(1, 1, true, 10, &[]);
        iso[32..36].copy_from_slice(&2u32.to_be_bytes());
        iso.extend([0; 32]);
        rustix::io::write(&host, &iso).unwrap();
        assert!(connection.receive(|_| panic!("isochronous transfers are refused")));
        assert!(connection.flush());
        let mut answer = [0; 64];
        assert_eq!(rustix::io::read(&host, &mut answer), Ok(HEADER));
        assert_eq!(answer[..HEADER], codec::ret_submit(1, EINVAL, 0));
        drop(host);
        assert!(!connection.receive(|_| panic!("nothing to submit")));
    }

    #[test]
    fn a_host_that_does_not_read_is_not_read_from() {
        let (mut connection, host) = pair();
        let one = submit(1, 99, true, 8, &[]);
        let mut sent = 0usize;
        rustix::io::ioctl_fionbio(&host, true).unwrap();
        for _ in 0..100_000 {
            match rustix::io::write(&host, &one) {
                Ok(_) => sent += 1,
                Err(_) => break,
            }
            assert!(connection.receive(|_| ()));
        }
        assert!(sent < 100_000);
        assert!(connection.answers.len() <= MAX_ANSWERS);
    }
}
