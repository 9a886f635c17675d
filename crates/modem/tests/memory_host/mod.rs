//! The host interface as a pair of sockets: packets that the driver sends to the host are read from
//! the other socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use uwwan_modem::host::Single;
use uwwan_modem::status::{Addresses, Interface};
use uwwan_modem::{Failure, HostConfig, HostControl, HostData, HostEnd, HostProvider};

/// Address of the far side, whose network answers for every address.
const TARGET: [u8; 4] = [192, 0, 2, 1];
/// Address of the host on an Ethernet function, which gets none over MBIM.
const OWN: [u8; 4] = [10, 169, 198, 77];
const HOST: [u8; 6] = [0x02, 0x50, 0xf3, 0, 0, 1];

/// The host's side of the interface: packets of the host go in here and come out here.
pub struct MemoryHost {
    ends: Receiver<(OwnedFd, HostConfig)>,
    /// The socket in use, which has to exist as long as the driver's.
    end: Option<(OwnedFd, HostConfig)>,
}

/// Provider that makes the host interface once the driver has addresses.
pub struct Provider(Sender<(OwnedFd, HostConfig)>);

impl MemoryHost {
    pub fn new() -> (Provider, Self) {
        let (sender, ends) = channel();
        (Provider(sender), Self { ends, end: None })
    }

    /// Sends an echo request of `length` bytes through the device until it is answered.
    ///
    /// # Errors
    /// The step that failed, in words.
    pub fn echo(&mut self, length: usize, deadline: Instant) -> Result<(), String> {
        if self.end.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.end = Some(self.ends.recv_timeout(left).map_err(|e| e.to_string())?);
        }
        let (socket, config) = self.end.as_ref().ok_or("no end")?;
        let own = config.addresses.ipv4.map_or(OWN, |v4| v4.address.octets());
        let packet = echo_request(own, length);
        let mut sent = match config.ethernet {
            None => packet,
            Some(_) => [&[0xff; 6][..], &HOST, &[0x08, 0x00], &packet].concat(),
        };
        // An Ethernet frame has 60 bytes at least.
        if config.ethernet.is_some() {
            sent.resize(sent.len().max(60), 0);
        }
        let header = if config.ethernet.is_some() { 14 } else { 0 };
        let mut buffer = [0; 2048];
        let mut next = Instant::now();
        while Instant::now() < deadline {
            if next <= Instant::now() {
                // A link that has just come up may lose the first request.
                let _ = rustix::io::write(socket, &sent);
                next = Instant::now() + Duration::from_secs(1);
            }
            match rustix::io::read(socket, &mut buffer) {
                Ok(read) => {
                    let packet = buffer[..read].get(header..).unwrap_or_default();
                    let is_reply = packet.len() >= length
                        && packet[2..4] == (length as u16).to_be_bytes()
                        && packet[9] == 1
                        && packet[12..20] == [TARGET, own].concat()
                        && packet[20] == 0;
                    if is_reply {
                        return Ok(());
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err("the echo request is not answered".to_owned())
    }
}

/// Length of a short echo request, in bytes.
pub const SHORT: usize = 36;

/// Returns an echo request (RFC 792) of `length` bytes, an even number, from `own` to the far side.
fn echo_request(own: [u8; 4], length: usize) -> Vec<u8> {
    let [high, low] = (length as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 1, 0, 0, 64, 1, 0, 0];
    packet.extend(own);
    packet.extend(TARGET);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    let mut message = vec![8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
    message.resize(length - packet.len(), 0);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    packet.extend(message);
    packet
}

/// Returns the Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

impl HostProvider for Provider {
    fn bring_up(&mut self, config: &HostConfig) -> Result<HostEnd, Failure> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        self.0.send((theirs, config.clone())).unwrap();
        Ok(HostEnd {
            control: Box::new(Control(config.addresses.clone())),
            data: HostData::Single(Box::new(Data(ours))),
        })
    }
}

struct Control(Addresses);

impl HostControl for Control {
    fn reconfigure(&mut self, config: &HostConfig) -> Result<(), Failure> {
        self.0.clone_from(&config.addresses);
        Ok(())
    }

    fn interface(&self) -> Interface {
        Interface {
            name: "memory".into(),
            ..Interface::default()
        }
    }
}

struct Data(OwnedFd);

impl AsFd for Data {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Single for Data {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(&self.0, buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => Ok(length),
        }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, datagram)?)
    }
}
