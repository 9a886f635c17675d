//! The connection of a host that has imported the device.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::PollFlags;

use super::codec::{self, Command, FLAG_ZERO_PACKET, HEADER};
use crate::host_socket::{self, HostSocket, Protocol, Step};
use crate::report::{Recorder, Rule};
use crate::upstream::{HostGone, Request, Upstream};
use crate::urb::{Completed, Token, Urb, UrbStatus};

/// Length in bytes of the longest transfer that is accepted.
const MAX_TRANSFER: u32 = 1 << 20;
/// Length in bytes of an isochronous packet descriptor.
const ISO_DESCRIPTOR: usize = 16;

/// Error numbers of Linux, negated, as in the status fields of the protocol.
const EPIPE: i32 = -32;
const EPROTO: i32 = -71;
const EOVERFLOW: i32 = -75;
const EINVAL: i32 = -22;
const ECONNRESET: i32 = -104;
const ESHUTDOWN: i32 = -108;

/// The connection of one importing host.
pub(crate) struct Connection {
    socket: HostSocket<[u8; HEADER]>,
    recorder: Recorder,
    /// Sequence numbers of the unlinks that are under way, in their order.
    unlinks: VecDeque<u32>,
    /// Transfers whose end is reported by RET_UNLINK.
    unlinked: BTreeSet<Token>,
}

impl Connection {
    /// Takes over a socket in the transfer phase.
    ///
    /// # Errors
    /// Fails when the socket cannot be made non-blocking.
    pub fn new(socket: OwnedFd, recorder: Recorder) -> std::io::Result<Self> {
        Ok(Self {
            socket: HostSocket::new(socket)?,
            recorder,
            unlinks: VecDeque::new(),
            unlinked: BTreeSet::new(),
        })
    }

    fn refuse(&mut self, sequence: u32, status: i32) {
        self.socket
            .push(codec::ret_submit(sequence, status, 0), None);
    }
}

impl Protocol for Connection {
    type Head = [u8; HEADER];

    fn socket(&mut self) -> &mut HostSocket<Self::Head> {
        &mut self.socket
    }

    fn next(&mut self, input: &[u8], requests: &mut Vec<Request>) -> Result<Step, String> {
        let Some((header, rest)) = input.split_first_chunk::<HEADER>() else {
            return Ok(Step::Incomplete);
        };
        let command = Command::decode(header).map_err(|error| error.to_string())?;
        let (sequence, endpoint, is_in, flags, length, packets, setup) = match command {
            Command::Unlink { sequence, target } => {
                self.unlinks.push_back(sequence);
                requests.push(Request::Cancel(target.into()));
                return Ok(Step::Handled(HEADER));
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
            return Ok(Step::Incomplete);
        }
        let whole = HEADER + data + tail;
        if isochronous {
            self.refuse(sequence, EINVAL);
            return Ok(Step::Handled(whole));
        }
        if endpoint > 15 || (endpoint == 0 && setup.is_in() != is_in && setup.length > 0) {
            self.recorder.violation(Rule::Usb, || {
                format!("USB/IP transfer on endpoint {endpoint} against its setup stage's direction or outside 0 to 15")
            });
            self.refuse(sequence, EPROTO);
            return Ok(Step::Handled(whole));
        }
        let mut buffer = self.socket.buffer(length)?;
        if !is_in {
            buffer.bytes_mut()[..length].copy_from_slice(&rest[..length]);
            buffer.set_len(length);
        }
        let mut setup = setup;
        if endpoint == 0 && is_in {
            setup.request_type |= 0x80;
        }
        requests.push(Request::Submit(Urb {
            token: sequence.into(),
            endpoint: endpoint as u8 | if is_in { 0x80 } else { 0 },
            setup,
            buffer,
            wanted: length,
            zero_packet: flags & FLAG_ZERO_PACKET != 0,
        }));
        Ok(Step::Handled(whole))
    }
}

impl Upstream for Connection {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some(self.socket.descriptor())
    }

    fn receive(&mut self, requests: &mut Vec<Request>) -> Result<(), HostGone> {
        let recorder = self.recorder.clone();
        host_socket::receive(self, &recorder, requests)
    }

    fn has_more(&self) -> bool {
        self.socket.has_more()
    }

    fn cancelled(&mut self, token: Token, pending: bool) {
        let Some(unlink) = self.unlinks.pop_front() else {
            return;
        };
        let status = if pending {
            self.unlinked.insert(token);
            ECONNRESET
        } else {
            0
        };
        self.socket.push(codec::ret_unlink(unlink, status), None);
    }

    fn complete(&mut self, completed: Completed) {
        if completed.status == UrbStatus::Cancelled && self.unlinked.remove(&completed.token) {
            // RET_UNLINK reports the end of this transfer.
            self.socket.recycle(completed.buffer);
            return;
        }
        let status = match completed.status {
            UrbStatus::Done => 0,
            UrbStatus::Stall => EPIPE,
            UrbStatus::Overflow => EOVERFLOW,
            UrbStatus::Cancelled => ECONNRESET,
            UrbStatus::Gone => ESHUTDOWN,
            UrbStatus::Fault => EPROTO,
        };
        let actual = u32::try_from(completed.actual).unwrap_or(u32::MAX);
        let head = codec::ret_submit(completed.token as u32, status, actual);
        if completed.endpoint & 0x80 != 0 {
            self.socket.push(head, Some(completed.buffer));
        } else {
            self.socket.recycle(completed.buffer);
            self.socket.push(head, None);
        }
    }

    fn flush(&mut self) -> Result<(), HostGone> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_socket::MAX_ANSWERS;
    use crate::upstream::MAX_REQUESTS;
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

    /// Reads the requests that the host has sent until this call.
    fn receive(connection: &mut Connection) -> Result<Vec<Request>, HostGone> {
        let mut requests = Vec::new();
        connection.receive(&mut requests).map(|()| requests)
    }

    /// Reads requests as [`receive`] does, and returns the transfers, which all must be.
    fn urbs(connection: &mut Connection) -> Vec<Urb> {
        let requests = receive(connection).unwrap();
        let urb = |request| match request {
            Request::Submit(urb) => urb,
            other => panic!("{other:?}"),
        };
        requests.into_iter().map(urb).collect()
    }

    fn unlink(sequence: u32, target: u32) -> Vec<u8> {
        let words = [2, sequence, 0, 0, 0, target, 0, 0, 0, 0, 0, 0];
        words
            .iter()
            .flat_map(|word: &u32| word.to_be_bytes())
            .collect()
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
            seen.extend(urbs(&mut connection));
            rustix::io::write(&host, std::slice::from_ref(byte)).unwrap();
        }
        seen.extend(urbs(&mut connection));
        let urb = seen.pop().unwrap();
        assert!(seen.is_empty());
        assert_eq!((urb.token, urb.endpoint), (7, 1));
        assert_eq!(urb.buffer.filled(), b"hello");
        connection.complete(urb.end(UrbStatus::Done));
        connection.flush().unwrap();
        let mut answer = [0; 64];
        assert_eq!(rustix::io::read(&host, &mut answer), Ok(HEADER));
        assert_eq!(answer[..HEADER], codec::ret_submit(7, 0, 5));
    }

    #[test]
    fn an_unlinked_transfer_is_answered_once() {
        let (mut connection, host) = pair();
        let bytes = [submit(1, 2, true, 64, &[]), unlink(9, 1)].concat();
        rustix::io::write(&host, &bytes).unwrap();
        let mut requests = receive(&mut connection).unwrap();
        assert!(matches!(requests.pop(), Some(Request::Cancel(1))));
        let Some(Request::Submit(urb)) = requests.pop() else {
            panic!("{requests:?}");
        };
        connection.cancelled(1, true);
        connection.complete(urb.end(UrbStatus::Cancelled));
        connection.flush().unwrap();
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
            assert_eq!(receive(&mut connection).map(|_| ()), Err(HostGone));
        }
        let (mut connection, host) = pair();
        let mut iso = submit(1, 1, true, 10, &[]);
        iso[32..36].copy_from_slice(&2u32.to_be_bytes());
        iso.extend([0; 32]);
        rustix::io::write(&host, &iso).unwrap();
        assert!(
            urbs(&mut connection).is_empty(),
            "isochronous transfers are refused"
        );
        connection.flush().unwrap();
        let mut answer = [0; 64];
        assert_eq!(rustix::io::read(&host, &mut answer), Ok(HEADER));
        assert_eq!(answer[..HEADER], codec::ret_submit(1, EINVAL, 0));
        drop(host);
        assert_eq!(receive(&mut connection).map(|_| ()), Err(HostGone));
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
            let unknown = receive(&mut connection);
            assert!(unknown.is_ok_and(|requests| requests.is_empty()));
        }
        assert!(sent < 100_000);
        assert!(connection.socket.answers() <= MAX_ANSWERS);
    }

    /// The host unlinks transfers that do not exist, as fast as it can. They are handled a few at a
    /// time, and not at all while their answers are not read.
    #[test]
    fn a_flood_of_unlinks_is_taken_a_few_at_a_time() {
        let (mut connection, host) = pair();
        rustix::io::ioctl_fionbio(&host, true).unwrap();
        let many: Vec<u8> = (0..1000).flat_map(|n| unlink(n, n + 100_000)).collect();
        let (mut sent, mut idle) = (0, 0);
        while idle < 3 {
            let written = rustix::io::write(&host, &many[sent..]);
            sent = (sent + written.unwrap_or(0)) % many.len();
            let requests = receive(&mut connection).unwrap();
            assert!(requests.len() <= MAX_REQUESTS);
            idle = if written.is_err() && requests.is_empty() {
                idle + 1
            } else {
                0
            };
            for request in requests {
                let Request::Cancel(token) = request else {
                    panic!("{request:?}");
                };
                connection.cancelled(token, false);
            }
            connection.flush().unwrap();
        }
        assert!(connection.socket.answers() < MAX_ANSWERS + MAX_REQUESTS);
        assert!(connection.unlinks.is_empty() && connection.unlinked.is_empty());
        // Once the host reads, the rest of what it had sent is handled, without further data from
        // it.
        assert!(!connection.has_more());
        let mut answers = [0; 64 << 10];
        while rustix::io::read(&host, &mut answers).is_ok() {
            connection.flush().unwrap();
        }
        assert!(connection.has_more());
        assert!(!receive(&mut connection).unwrap().is_empty());
    }
}
